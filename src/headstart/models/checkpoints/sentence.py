"""Checkpoints that were made for sentence vectors: what they pool, read and written.

sentence-transformers keeps beside a backbone a list of modules, ``modules.json``, and a folder for
the settings of each. A model that was trained to give sentence vectors knows most about a text in
the vector that it pools so, which is often not the one that its classification class reads. Nothing
is pickled, and nothing here needs that library.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers.utils import cached_file

from headstart.files.jsonfile import read_json
from headstart.models.heads import PooledHead

MODULES = "modules.json"
_POOLING = {"mean": "mean", "cls": "first"}
"""sentence-transformers' names of what is pooled, and ours."""


def sentence_pooling(source: str) -> str | None:
    """Return what a checkpoint for sentence vectors pools: ``mean`` or ``first``.

    ``None`` where it says nothing of sentence vectors, or pools in another way. ``source`` is a
    folder, or a hub name that has been looked up.
    """
    modules = _read(source, MODULES)
    if not isinstance(modules, list):
        return None
    kinds = [m for m in modules if isinstance(m, dict) and isinstance(m.get("path"), str)]
    pooling = [m["path"] for m in kinds if str(m.get("type", "")).endswith("Pooling")]
    settings = _read(source, f"{pooling[0]}/config.json") if len(pooling) == 1 else None
    if not isinstance(settings, dict):
        return None
    named = settings.get("pooling_mode")
    modes = [k for k, on in settings.items() if k.startswith("pooling_mode_") and on is True]
    told = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    name = named if isinstance(named, str) else told.get(modes[0]) if len(modes) == 1 else None
    return _POOLING.get(str(name))


def is_sentence_head(head: PooledHead) -> bool:
    """Return whether a head has sentence-transformers' form: one linear map of what is pooled."""
    spec = head.spec
    return spec.kind == "linear" and not spec.spans and spec.pooling in _POOLING.values()


def write_modules(head: PooledHead, folder: Path, longest: int) -> None:
    """Write a head beside its backbone, so that sentence-transformers gives logits for vectors.

    ``longest`` is the longest input in tokens.
    """
    width, outputs = head.out.in_features, head.out.out_features
    mean = head.spec.pooling == "mean"
    types = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(types.items())
    ]
    pooling = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": not mean,
        "pooling_mode_mean_tokens": mean,
    }
    dense = {
        "in_features": width, "out_features": outputs, "bias": True,
        "activation_function": f"{nn.Identity.__module__}.{nn.Identity.__name__}",
    }  # fmt: skip
    for name, value in {
        MODULES: modules,
        "sentence_bert_config.json": {"max_seq_length": longest, "do_lower_case": False},
        "1_Pooling/config.json": pooling,
        "2_Dense/config.json": dense,
    }.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    tensors = {f"linear.{name}": p.detach().cpu() for name, p in head.out.named_parameters()}
    save_file(tensors, folder / "2_Dense" / "model.safetensors")


def _read(source: str, name: str) -> Any:
    """Return the content of a JSON file of a checkpoint; ``None`` where it has no such file."""
    try:
        path: str | None = str(Path(source) / name)
        if not Path(source).is_dir():
            path = cached_file(
                source, name, _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
                _raise_exceptions_for_gated_repo=False,
            )  # fmt: skip
        return read_json(Path(path)) if path else None
    except (OSError, ValueError):
        return None
