"""Summaries of the change observer's tensors: by part, by kind and over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from headstart.analysis._base import Case, Side
from headstart.observers._places import ABOVE, BELOW

Tensor = Mapping[str, Any]
Keep = Callable[[Tensor], bool]


def absolute(found: Iterable[Tensor]) -> float | None:
    """Return the mean absolute change over all elements of some tensors; ``None`` of nothing."""
    chosen = list(found)
    whole = sum(t["size"] for t in chosen)
    return sum(t["size"] * t["change"] for t in chosen) / whole if whole else None


def relative(found: Iterable[Tensor]) -> float | None:
    """Return the mean absolute change of some tensors, divided by their mean absolute value.

    ``None`` if everything was 0 before.
    """
    chosen = list(found)
    before = sum(t["size"] * t["before"] for t in chosen)
    return sum(t["size"] * t["change"] for t in chosen) / before if before else None


def by_seed(
    side: Side, keep: Keep, measure: Callable[[Iterable[Tensor]], float | None]
) -> dict[int, float]:
    """Measure the change of some tensors in every run, by seed, where there is one."""
    found = {
        seed: measure(t for t in side.runs[seed].measured["tensors"] if keep(t))
        for seed in sorted(side.runs)
    }
    return {seed: value for seed, value in found.items() if value is not None}


def tensors(case: Case, bias: bool) -> list[Tensor]:
    """Return every place where a run of a case has a weight, or a bias.

    One tensor for each part and kind, in the order of the model.
    """
    every = [t for side in case.sides for run in side.runs.values()
             for t in run.measured["tensors"] if t["bias"] == bias]  # fmt: skip
    return list({(t["part"], t["kind"]): t for t in reversed(every)}.values())[::-1]


def parts(chosen: Sequence[Tensor]) -> list[str]:
    """Return the parts of a backbone from bottom to top.

    ``embeddings``, ``layer 0`` and so on, ``above``, as far as there is anything.
    """
    return sorted({t["part"] for t in chosen}, key=_height)


def _height(part: str) -> tuple[int, int]:
    ends = {BELOW: (0, 0), ABOVE: (2, 0)}
    return ends[part] if part in ends else (1, int(part.removeprefix("layer ")))


def kinds(chosen: Sequence[Tensor]) -> list[str]:
    """Return the kinds of tensor: those of the layers first, in the order of the model."""
    inside = [t["kind"] for t in chosen if t["part"] not in {BELOW, ABOVE}]
    return list(dict.fromkeys([*inside, *(t["kind"] for t in chosen)]))


def only(bias: bool, part: str | None = None, kind: str | None = None) -> Keep:
    """Return what chooses weights, or biases, of a part, of a kind, or of both; all if ``None``."""
    return lambda t: t["bias"] == bias and part in {None, t["part"]} and kind in {None, t["kind"]}


def in_layers(tensor: Tensor) -> bool:
    """Return whether something is a weight in one of the encoder layers."""
    return not tensor["bias"] and tensor["part"] not in {BELOW, ABOVE}


def shortest(names: Sequence[str]) -> dict[str, str]:
    """Shorten dotted names to the last words that tell each from the others.

    For example ``attention.self.query`` to ``query``.
    """
    made = {}
    for name in names:
        words = name.split(".")
        ends = (".".join(words[-n:]) for n in range(1, len(words) + 1))
        made[name] = next(
            end for end in ends
            if end == name or not any(f".{o}".endswith(f".{end}") for o in names if o != name)
        )  # fmt: skip
    return made
