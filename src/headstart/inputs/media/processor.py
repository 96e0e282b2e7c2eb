"""The image processor of a model: loaded, and made sure that both belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from headstart.errors import ModelError
from headstart.inputs.media.picture import pillow
from headstart.inputs.media.pixels import Scaling, resized
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.model_config import NO_MODEL
from headstart.models.checkpoints.source import locate, quiet, short
from headstart.models.evaluating import evaluating
from headstart.models.heads import EncoderClassifier

FILE = "preprocessor_config.json"
_LARGEST = 4096
"""Pixels of a side above which a size in a processor's file is a mistake or meant to do harm."""
_TRIED = ((40, 30), (30, 40), (64, 64))
"""Widths and heights of pictures that are tried."""
_PIXELS_OF_A_PLACE = 16**2


def load_scaling(source: str, *, trust_remote_code: bool = False) -> Scaling:
    """Load a model's image processor and find out how it changes values.

    Raises ``HeadstartError`` if Pillow or the processor's file is missing, or the processor does
    something else than bring each picture to one size and scale its values.
    """
    pillow()
    folder = locate(source)
    try:
        with quiet():
            processor = transformers.AutoImageProcessor.from_pretrained(
                folder, backend="pil", trust_remote_code=trust_remote_code
            )
    # The file may hold anything, and names a class.
    except (OSError, ImportError, *NO_MODEL) as error:
        raise ModelError(
            f"an image processor beside the model, which {FILE} describes",
            f"{folder}: {short(error)}",
            f"Copy {FILE} from the model's origin; a model that reads text has none.",
        ) from None
    _require_size(processor, folder)
    try:
        with quiet():
            return _scaling(processor)
    except (OSError, AssertionError, *NO_MODEL) as error:
        raise ModelError(
            "an image processor that brings every picture to one size and scales its values",
            f"{type(processor).__name__} of {folder}: {short(error)}",
            f"Compare {FILE} with that of the model's origin, or choose another model.",
        ) from None


def _require_size(processor: Any, folder: str) -> None:
    sizes = [getattr(processor, name, None) for name in ("size", "crop_size", "pad_size")]
    numbers = [
        value
        for size in sizes
        if size is not None
        for value in (dict(size).values() if not isinstance(size, int) else [size])
        if isinstance(value, int | float)
    ]
    if any(not 0 < number <= _LARGEST for number in numbers):
        raise ModelError(
            f"an image processor whose sizes are from 1 to {_LARGEST} pixels",
            f"{max(numbers, key=abs)} in {FILE} of {folder}",
            "Compare it with that of the model's origin.",
        )


def _scaling(processor: Any) -> Scaling:
    """Try pictures of several shapes; raise what ``NO_MODEL`` names if something is not known."""
    rng = np.random.default_rng(0)
    tried = [
        pillow().fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        for width, height in _TRIED
    ]
    pixels = [resized(processor, picture) for picture in tried]
    shapes = {part.shape for part in pixels}
    if len(shapes) > 1 or pixels[0].ndim != 3 or len(pixels[0]) != 3:
        shown = ", ".join(map(str, sorted(shapes)))
        raise ValueError(f"pictures of several shapes give {shown}, not one with 3 channels")
    plain = getattr(processor, "do_normalize", False)
    mean, std = (
        _channels(getattr(processor, name)) if plain else _channels(neutral)
        for name, neutral in (("image_mean", 0.0), ("image_std", 1.0))
    )
    scale = float(processor.rescale_factor) if getattr(processor, "do_rescale", False) else 1.0
    resample = getattr(processor, "resample", None)
    found = Scaling(
        processor, pixels[0].shape, scale, mean, std, 2 if resample is None else int(resample)
    )
    for picture, part in zip(tried, pixels, strict=True):
        wanted = torch.from_numpy(
            np.asarray(processor(images=[picture], return_tensors="np")["pixel_values"][0])
        )
        given = found.values(torch.from_numpy(part[None]))[0]
        if wanted.shape != given.shape or not torch.allclose(wanted.float(), given, atol=1e-4):
            raise ValueError("its values are no scaled bytes")
    return found


def _channels(value: Any) -> tuple[float, ...]:
    values = np.broadcast_to(np.asarray(value, np.float64), (3,))
    return tuple(map(float, values))


@torch.no_grad()
def count_places(split: SplitModel, scaling: Scaling, source: str) -> int:
    """Give the base model a picture, to see that it reads it and how many places it makes of it.

    It is one for 256 pixels where that is more than its states. Raises ``ModelError`` if it reads
    pictures of another size, or gives no states that a head of headstart's own could read.
    """
    channels, height, width = scaling.shape
    device = next(split.model.parameters()).device
    try:
        with evaluating(split.model), quiet():
            states = split.base(
                pixel_values=torch.zeros(1, channels, height, width, device=device)
            ).last_hidden_state
    except NO_MODEL as error:
        size = getattr(split.model.config, "image_size", None)
        raise ModelError(
            "an image processor whose pictures the model reads",
            f"{width} × {height} pixels by {FILE}, and {source} does not: {short(error)}",
            f"Set size in {FILE} to what the model was trained with"
            + (f": {size} by its config.json." if size else "."),
        ) from None
    if isinstance(split.model, EncoderClassifier) and not (
        states.ndim == 3 and states.shape[-1] == split.model.config.hidden_size
    ):
        raise ModelError(
            "a model that gives a list of vectors for a picture, for a head of headstart's own",
            f"{type(split.base).__name__}, which gives states of shape {tuple(states.shape[1:])}",
            "Use --head-type native.",
        )
    places = states.shape[1] if states.ndim == 3 else 1
    return max(places, -(-(height * width) // _PIXELS_OF_A_PLACE))
