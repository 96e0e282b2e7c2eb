"""A model seen as two parts: the pretrained backbone and the head that sits on it.

The split follows the definition in the documentation: the head is what the checkpoint did not
provide, plus whatever lies outside the base model. No head is ever found by guessing its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from headstart.errors import ModelError
from headstart.models.layers import Layer, find_layers, is_above


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    """Return a tensor's values as raw bytes in row-major order, whatever its type and device."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def saved_buffers(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a module's saved buffers (running statistics and the like) by name."""
    for inner, part in module.named_modules():
        for key, buffer in part._buffers.items():
            if buffer is not None and key not in part._non_persistent_buffers_set:
                yield f"{inner}.{key}", buffer


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of parameters: those that train in the head and in the tuner, and frozen ones."""

    head: int
    tuner: int
    frozen: int

    @property
    def trainable(self) -> int:
        """All trainable numbers."""
        return self.head + self.tuner


class SplitModel:
    """A classifier together with the knowledge of which of its parameters are the head.

    Parameters are held as objects, so that wrapping a module (as LoRA does) or moving the model
    to a device does not change what belongs where.

    Args:
        model: Module whose ``forward(**batch)`` returns an object with ``logits``. The attribute
            named by its ``base_model_prefix`` is the base model.
        head_names: Names, as in ``model.named_parameters()``, of the parameters that the
            checkpoint did not provide. What lies outside the base model is added to them.

    Attributes:
        unused_head: What to give as ``--head`` to start from the head that the checkpoint carries
            and that is not in the model; empty if there is none.

    Raises:
        ModelError: If the model has no base model or no head.
    """

    def __init__(self, model: nn.Module, head_names: Iterable[str] = ()) -> None:
        self.model = model
        self.unused_head = ""
        self.prefix = cast(str, getattr(model, "base_model_prefix", ""))
        if not self.prefix or not isinstance(getattr(model, self.prefix, None), nn.Module):
            raise ModelError(
                "a model with a head on a base model (an AutoModelFor… class)",
                f"{type(model).__name__}, which has no base model inside",
                "Load the checkpoint with AutoModelForSequenceClassification or a similar class.",
            )
        given = set(head_names)
        inside = f"{self.prefix}."
        named = dict(model.named_parameters())
        self.head = {
            name: p for name, p in named.items() if name in given or not name.startswith(inside)
        }
        self.backbone = {name: p for name, p in named.items() if name not in self.head}
        if not self.head:
            raise ModelError(
                "a model with a classification head",
                f"{type(model).__name__}, all of whose parameters belong to its base model",
                "Load the checkpoint with AutoModelForSequenceClassification or a similar class.",
            )

    @property
    def base(self) -> nn.Module:
        """The base model: embeddings, encoder layers and, in some families, a pooler."""
        return cast(nn.Module, getattr(self.model, self.prefix))

    def layers(self) -> list[Layer]:
        """Return the encoder layers from bottom to top, by their names in the whole model.

        Raises ``ModelError`` if the base model keeps its layers in no module list.
        """
        return [
            layer._replace(name=f"{self.prefix}.{layer.name}") for layer in find_layers(self.base)
        ]

    def above_layers(self) -> list[str]:
        """Return the names of backbone parameters that come after the encoder layers.

        They lie in children of the base model that follow the layers: a pretrained pooler, a final
        norm.
        """
        return [name for name in self.backbone if self.is_above_layers(name)]

    def is_above_layers(self, name: str) -> bool:
        """Return whether a tensor of the base model comes after the encoder layers.

        It then lies in a child of the base model that follows the layers, or in a pooler.
        """
        inside = f"{self.prefix}."
        return name.startswith(inside) and is_above(self.base, name.removeprefix(inside))

    def buffers(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the base model's saved buffers (running statistics and the like) by name."""
        for name, buffer in saved_buffers(self.base):
            yield f"{self.prefix}.{name}", buffer

    def load_buffers(self, values: Mapping[str, torch.Tensor]) -> None:
        """Put values into the base model's saved buffers, whichever tensors these are by now.

        Moving the model to a device puts new tensors in their place, and so do some modules, as
        those of I-BERT.
        """
        device = next(self.model.parameters()).device
        for name, value in values.items():
            module, _, key = name.rpartition(".")
            self.model.get_submodule(module)._buffers[key] = value.to(device, copy=True)

    def known_buffers(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return those of some tensors, by name in the whole model, that ``load_buffers`` takes."""
        return {name: tensors[name] for name, _ in self.buffers() if name in tensors}

    def fingerprint(self) -> str:
        """Return a digest of the backbone's exact bits.

        Names are taken relative to the base model, so the same backbone under two model classes has
        the same fingerprint. ``sha256:`` and 32 hexadecimal digits.
        """
        digest = hashlib.sha256()
        tensors = {**self.backbone, **dict(self.buffers())}
        for name in sorted(tensors):
            tensor = tensors[name]
            short = name.removeprefix(f"{self.prefix}.")
            digest.update(f"{short}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(tensor_bytes(tensor))
        return f"sha256:{digest.hexdigest()[:32]}"

    def head_state(self) -> dict[str, torch.Tensor]:
        """Return copies of the head's tensors by name, weights and biases alike."""
        return {name: p.detach().cpu().clone() for name, p in self.head.items()}

    @torch.no_grad()
    def load_head(self, state: dict[str, torch.Tensor]) -> None:
        """Copy a head in, bit for bit: every tensor by name, as from ``head_state``.

        Raises ``ModelError`` if names or shapes differ; all differences are told.
        """
        faults = [f"{n} is missing" for n in self.head if n not in state]
        faults += [f"{n} is not part of this head" for n in state if n not in self.head]
        faults += [
            f"{n} has shape {tuple(state[n].shape)} instead of {tuple(p.shape)}"
            for n, p in self.head.items()
            if n in state and state[n].shape != p.shape
        ]
        if faults:
            raise ModelError(
                f"a head that fits {type(self.model).__name__}",
                "; ".join(faults),
                "Use a head that was trained on the same model class and number of classes.",
            )
        for name, parameter in self.head.items():
            parameter.copy_(state[name])

    def train_only(self, tuner: dict[str, nn.Parameter], *, head: bool = True) -> ParameterCount:
        """Make the given parameters trainable and, by default, the head; freeze all others.

        This is the only place that decides what trains.
        """
        trained = self.head if head else {}
        chosen = {id(p) for p in (*trained.values(), *tuner.values())}
        frozen = 0
        for parameter in self.model.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
            frozen += 0 if id(parameter) in chosen else parameter.numel()
        heads = {id(p): p.numel() for p in trained.values()}
        tuners = {id(p): p.numel() for p in tuner.values() if id(p) not in heads}
        return ParameterCount(sum(heads.values()), sum(tuners.values()), frozen)


class Snapshot:
    """Copies of some tensors, to put them back bit for bit.

    The copies stay on the tensors' own device.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._live = dict(tensors)
        self._copies = {name: t.detach().clone() for name, t in tensors.items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Copy every remembered value back."""
        for name, tensor in self._live.items():
            tensor.copy_(self._copies[name])


class BufferSnapshot:
    """Copies of a base model's saved buffers, to put them back bit for bit after a stage."""

    def __init__(self, split: SplitModel) -> None:
        self._split = split
        self._copies = {name: b.detach().clone() for name, b in split.buffers()}

    def restore(self) -> None:
        """Put every remembered value back."""
        self._split.load_buffers(self._copies)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return for a checkpoint what is remembered, and the values by now."""
        now = dict(self._split.buffers())
        found = {f"buffers/before/{name}": tensor for name, tensor in self._copies.items()}
        return found | {f"buffers/now/{name}": tensor for name, tensor in now.items()}

    def resume(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a checkpoint."""
        before, now = (
            {n.removeprefix(lead): t for n, t in tensors.items() if n.startswith(lead)}
            for lead in ("buffers/before/", "buffers/now/")
        )
        self._copies |= before
        self._split.load_buffers(now)
