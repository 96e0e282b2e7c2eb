"""Pictures decoded: whatever they are stored as becomes RGB, and it is told what that loses."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headstart.errors import ConfigError
from headstart.files.contents import UnreadableError
from headstart.inputs.media.media import Medium, array_digest

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""Those that are read. Pillow knows others, some of which start programs (EPS)."""
MOST_STRETCHED = 100
"""How many times longer than wide a picture may be. One whose short side is brought to a size grows
by the other."""
_WHITE = (255, 255, 255, 255)
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_PLAIN = ("1", "L", "P", "RGB")
_EIGHT_OF_SIXTEEN = 257  # 65535 / 255
TRANSPARENT = "transparent parts, which are put on white"
DEEP = "more than 8 bits a channel, of which the first 8 are kept"
COLOURS = "colours other than RGB (such as CMYK), converted without their profile"
FRAMES = "several frames, of which the first is read"


@dataclass(frozen=True)
class Picture:
    """A picture of a row. ``lost`` is what its conversion to RGB loses, as words for a message."""

    medium: Medium
    lost: tuple[str, ...] = field(default=(), compare=False, repr=False)


def pillow() -> Any:
    """Import ``PIL.Image``. Raises ``ConfigError`` if it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise ConfigError(
            "Pillow, which reads pictures", "no module PIL", "pip install 'headstart[image]'"
        ) from None
    return Image


def picture_digest(value: Any) -> str | None:
    """Return a digest of a Pillow image or an array in memory; ``None`` for anything else."""
    if isinstance(value, np.ndarray):
        return array_digest(value)
    if isinstance(value, pillow().Image):
        try:
            return array_digest(np.asarray(value), value.mode)
        except Exception as error:  # noqa: BLE001  a lazy image is decoded here; see ``decode``
            raise UnreadableError(_reason(error)) from None
    return None


def decode(content: Any) -> tuple[Image, tuple[str, ...]]:
    """Decode a picture to RGB, turned as its EXIF data say, and tell what the conversion loses.

    ``content`` is bytes of one of ``FORMATS``, a Pillow image, or an array: (H, W), (H, W, C) or
    (C, H, W) with 1, 3 or 4 channels of bytes, of 16 bits, or of numbers from 0 to 1. Raises
    ``UnreadableError`` if it is damaged, too large, or no picture.
    """
    if isinstance(content, np.ndarray):
        content = _of_array(content)
    # Pillow's plugins raise whatever a damaged file leads them to.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _converted(_opened(content) if isinstance(content, bytes) else content)
    except UnreadableError:
        raise
    except Exception as error:  # noqa: BLE001
        raise UnreadableError(_reason(error)) from None


def _opened(data: bytes) -> Any:
    image = pillow().open(io.BytesIO(data), formats=FORMATS)
    _require_size(image)
    return image


def _require_size(image: Any) -> None:
    width, height = image.size
    most = pillow().MAX_IMAGE_PIXELS or 2**27
    if not width or not height:
        raise UnreadableError("a picture without pixels")
    if width * height > most:
        raise UnreadableError(f"{width} × {height} pixels, more than {most:,}")
    if max(width, height) > MOST_STRETCHED * min(width, height):
        raise UnreadableError(f"a strip of {width} × {height} pixels")


def _converted(image: Any) -> tuple[Image, tuple[str, ...]]:
    from PIL import ImageOps

    _require_size(image)
    lost = []
    if getattr(image, "n_frames", 1) > 1 and image.format not in ("MPO", "JPEG"):
        lost.append(FRAMES)
    if any("16" in str(tile[3]) for tile in getattr(image, "tile", ())):
        lost.append(DEEP)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            lost.append(TRANSPARENT)
        image = pillow().alpha_composite(pillow().new("RGBA", image.size, _WHITE), image)
    elif image.mode.startswith(("I", "F")):
        image, deep = _of_numbers(np.asarray(image))
        lost += [DEEP] if deep else []
    elif image.mode not in _PLAIN:
        lost.append(COLOURS)
    return image.convert("RGB"), tuple(dict.fromkeys(lost))


def _of_numbers(values: npt.NDArray[Any]) -> tuple[Any, bool]:
    """Return a picture of one channel with 8 bits, and whether there were more."""
    low, high = float(values.min()), float(values.max())
    if np.issubdtype(values.dtype, np.floating):
        if not (low >= 0 and high <= 1):
            raise UnreadableError("numbers other than from 0 to 1")
        return pillow().fromarray((values * 255).round().astype(np.uint8)), True
    if low < 0 or high > 65535:
        raise UnreadableError("whole numbers of more than 16 bits")
    return pillow().fromarray((values // _EIGHT_OF_SIXTEEN).astype(np.uint8)), True


def _of_array(values: npt.NDArray[Any]) -> Any:
    found = f"an array of shape {values.shape} and type {values.dtype}"
    if not values.size:
        raise UnreadableError(f"a picture without pixels, {found}")
    channels = (1, 3, 4)
    if values.ndim == 3 and values.shape[2] not in channels and values.shape[0] in channels:
        values = np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in channels):
        raise UnreadableError(f"{found}, which is none of (H, W), (H, W, C) and (C, H, W)")
    if np.issubdtype(values.dtype, np.floating):
        if not (values.min() >= 0 and values.max() <= 1):
            raise UnreadableError(f"{found}, whose numbers are not from 0 to 1")
        values = (values * 255).round().astype(np.uint8)
    elif values.dtype == np.uint16:
        values = (values // _EIGHT_OF_SIXTEEN).astype(np.uint8)
    elif values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    elif values.dtype != np.uint8:
        raise UnreadableError(f"{found}; it takes uint8, uint16, or numbers from 0 to 1")
    return pillow().fromarray(np.ascontiguousarray(values))


def _reason(error: Exception) -> str:
    name = type(error).__name__
    if name == "UnidentifiedImageError":
        return f"something other than a picture ({', '.join(FORMATS)})"
    if name == "DecompressionBombError":
        return f"more than {pillow().MAX_IMAGE_PIXELS:,} pixels"
    if "truncated" in str(error) or isinstance(error, EOFError):
        return "a picture that is cut off"
    told = next(iter(str(error).splitlines()), "")[:80]
    return f"a damaged picture ({told or name})"
