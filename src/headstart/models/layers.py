"""The encoder layers of a base model, and the modules after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from headstart.errors import ModelError

_ANY = "*"


class Layer(NamedTuple):
    """One encoder layer.

    XLM and FlauBERT keep the parts of a layer in lists of their own: ``attentions``, ``ffns`` and
    the norms. Such a layer's name has a ``*`` in place of the list's, and its module is a
    dictionary of the parts by list, which the model itself does not call.
    """

    name: str
    """In the whole model, as ``roberta.encoder.layer.0`` or ``transformer.*.0``."""
    module: nn.Module

    @property
    def in_parts(self) -> bool:
        """Whether the model keeps it in several lists."""
        return _ANY in self.name

    def leads(self) -> tuple[str, ...]:
        """Return what the names of everything inside it begin with."""
        if not self.in_parts:
            return (f"{self.name}.",)
        return tuple(f"{self.name.replace(_ANY, key)}." for key, _ in self.module.named_children())

    def holds(self, name: str) -> bool:
        """Return whether a parameter or module lies inside it."""
        return name.startswith(self.leads())

    def within(self, name: str) -> str:
        """Return the name that something inside it has there; the same in every layer.

        As ``attention.self.query.weight``; with the list's name in front where there are several,
        as ``attentions.q_lin.weight``.
        """
        if not self.in_parts:
            return name.removeprefix(f"{self.name}.")
        before, after = self.name.split(_ANY)
        key, _, rest = f"{name.removeprefix(before)}.".partition(f"{after}.")
        return f"{key}.{rest}".rstrip(".")

    def named_modules(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Yield what lies inside it: the name in the whole model, the name within, the module."""
        for inner, module in self.module.named_modules():
            if self.in_parts:
                key, dot, rest = inner.partition(".")
                name = f"{self.name.replace(_ANY, key)}{dot}{rest}"
            else:
                name = f"{self.name}.{inner}"
            if inner:
                yield name, inner, module


def find_layers(base: nn.Module) -> list[Layer]:
    """Return the encoder layers of a base model from bottom to top, by their names in it.

    They are the members of the module list that holds the most parameters, together with those of
    the lists of the same length beside it. Raises ``ModelError`` if it keeps its layers in no
    module list.
    """
    lists = _lists(base)
    if len(lists) == 1:
        ((name, members),) = lists.items()
        return [Layer(f"{name}.{i}", layer) for i, layer in enumerate(members)]
    parent = next(iter(lists)).rpartition(".")[0]
    lead = f"{parent}.{_ANY}" if parent else _ANY
    parts = [
        {name.rpartition(".")[2]: members[i] for name, members in lists.items()}
        for i in range(len(next(iter(lists.values()))))
    ]
    return [Layer(f"{lead}.{i}", nn.ModuleDict(part)) for i, part in enumerate(parts)]


def is_above(base: nn.Module, name: str) -> bool:
    """Return whether a tensor of a base model comes after its encoder layers.

    It then lies in a child of the base model that follows the last one with layers, or in a pooler,
    which GTE and NomicBERT name before their layers.
    """
    children = [child for child, _ in base.named_children()]
    holders = [children.index(found.split(".", 1)[0]) for found in _lists(base)]
    above = {*children[max(holders) + 1 :], "pooler"}
    return name.partition(".")[0] in above


def _lists(base: nn.Module) -> dict[str, nn.ModuleList]:
    """Return the list with the layers, or those of them that each hold a part of every layer."""
    lists = {n: m for n, m in base.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    # MarkupLM has more embedding tables in lists than a small one of it has in layers.
    built = {n: m for n, m in lists.items() if any(list(member.children()) for member in m)}
    if not lists:
        raise ModelError(
            "a base model that keeps its encoder layers in a module list",
            f"{type(base).__name__}, which has none",
            "Use the tuner 'head' or 'full', which need no layers.",
        )
    name, chosen = max(
        (built or lists).items(), key=lambda item: sum(p.numel() for p in item[1].parameters())
    )
    parent = name.rpartition(".")[0]
    return {
        n: m
        for n, m in lists.items()
        if n == name or (n.rpartition(".")[0] == parent and len(m) == len(chosen))
    }
