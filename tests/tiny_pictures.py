"""Tiny random models that read pictures, their image processors, and pictures to tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

_VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "patch_size": 4, "image_size": 16,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "deit": _VIT,
    "beit": _VIT | {"out_indices": [1], "use_relative_position_bias": True},
    "dinov2": _VIT | {"layerscale_value": 0.5},
    "swin": {
        "embed_dim": 32, "depths": [1, 1], "num_heads": [2, 4], "window_size": 2, "image_size": 16,
        "patch_size": 2,
    },
    "convnext": {
        "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2,
        "image_size": 16,
    },
    "resnet": {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
    },
}  # fmt: skip
SIZE = 16
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def save(folder: Path, family: str = "vit", seed: int = 0, **settings: Any) -> Path:
    """Save a tiny model with its image processor."""
    config = AutoConfig.for_model(family, architectures=[], **FAMILIES[family] | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder


def picture(colour: str, seed: int, size: tuple[int, int] = (20, 18)) -> Image.Image:
    """Make a picture of one of ``COLOURS`` with noise, by which each seed's differs."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-40, 41, (size[1], size[0], 3))
    values = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(values)


def folder_of_classes(folder: Path, rows: int = 8, seed: int = 0) -> Path:
    """Write PNG files, a folder for each colour, and return the folder."""
    for place, colour in enumerate(COLOURS):
        (folder / colour).mkdir(parents=True)
        for row in range(rows):
            name = folder / colour / f"{row}.png"
            picture(colour, 1000 * seed + 100 * place + row).save(name)
    return folder


def frame(rows: int = 8, seed: int = 0) -> pd.DataFrame:
    """Return a table of pictures in memory with their colours as labels."""
    found = [
        (picture(colour, 1000 * seed + 100 * place + row), colour)
        for row in range(rows)
        for place, colour in enumerate(COLOURS)
    ]
    return pd.DataFrame(found, columns=["image", "label"])
