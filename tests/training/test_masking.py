"""Steps that never wait for the device, with the masks that transformers would make."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

import tiny
from alike import spread
from headstart.models.backbone import SplitModel
from headstart.strategies.plan import Length
from headstart.targets.classes import Classes
from headstart.training.loader import BatchLoader
from headstart.training.loop import StageLoop
from headstart.training.machine.masking import known_padding
from headstart.training.machine.runtime import Runtime
from headstart.training.optim import OptimizerSettings
from headstart.training.state import StageSetup
from headstart.training.step_reports import StepReports

WAITING = {"_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "_unique2", "equal"}
"""Operations that on a GPU wait until it has done everything that was begun."""
NOT_OURS = {"deberta-v2": 1}
"""Copies of a number that a family's own code makes in each forward pass."""


class Waits(TorchDispatchMode):
    """Notes what would wait for a GPU: numbers read, boolean indices, copies from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made, name = func(*args, **(kwargs or {})), func.overloadpacket.__name__
        by_mask = name in {"index", "index_put"} and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        )
        if by_mask or name in WAITING:
            self.found.append(name)
        if name == "_to_copy":
            self.copies += args[0].device != made.device
        return made


def batch(family: str, lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    made = tiny.batch(len(lengths), max(lengths))
    kept = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    made["attention_mask"] = kept.long()
    made["input_ids"] = made["input_ids"].masked_fill(~kept, tiny.PAD)
    names = ["input_ids", "attention_mask"]
    names += ["token_type_ids"] if family in tiny.WITH_SEGMENTS and "token_type_ids" in made else []
    return {name: made[name] for name in names}


@pytest.mark.parametrize("lengths", [(9, 9, 9), (9, 4, 6)])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_same_logits_without_a_question(
    family: str, attention: str, lengths: tuple[int, ...]
) -> None:
    model: Any = tiny.build(family)
    if getattr(model, "_supports_sdpa", False):
        model.set_attn_implementation(attention)
    inputs = batch(family, lengths)
    with torch.no_grad():
        expected = model(**inputs).logits
        with known_padding(len(set(lengths)) > 1), Waits() as waits:
            found = model(**inputs).logits
    assert waits.found == []
    assert torch.equal(found, expected)
    assert ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] is sdpa_mask


@pytest.mark.parametrize("lengths", [(9, 9, 9), (9, 4, 6)])
def test_what_hides_nothing_is_left_out(
    monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, ...]
) -> None:
    seen, plain = [], torch.nn.functional.scaled_dot_product_attention

    def attend(*args: Any, **kwargs: Any) -> torch.Tensor:
        seen.append(kwargs["attn_mask"] is not None)
        return plain(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    padded = len(set(lengths)) > 1
    with torch.no_grad(), known_padding(padded):
        tiny.build("bert")(**batch("bert", lengths))
    assert set(seen) == {padded}


def test_without_it_transformers_waits() -> None:
    with torch.no_grad(), Waits() as waits:
        tiny.build("bert")(**batch("bert", (9, 4, 6)))
    assert waits.found


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("until", ["end", "learned"])
def test_no_step_waits(
    make_loop: Callable[..., StageLoop],
    monkeypatch: pytest.MonkeyPatch,
    until: Any,
    head_only: bool,
) -> None:
    loop = make_loop(Length(5, 1, until), dropout=0.1, head_only=head_only, eval_every=100)
    monkeypatch.setattr(loop.runtime, "kernels", contextlib.nullcontext)  # those of a processor
    loop.step_reports = StepReports(loop.runtime, lag=2)
    step, found = loop._step, []

    def watched(*args: Any) -> None:
        with Waits() as waits:
            step(*args)
        found.append(waits.found)

    monkeypatch.setattr(loop, "_step", watched)
    loop.run()
    assert found == [[]] * loop.state.step


@pytest.mark.parametrize(
    ("family", "micro"),
    spread([(family, micro) for family in tiny.FAMILIES for micro in (None, 2)], times=1),
)
def test_batches_are_all_that_goes_to_the_device(
    make_loader: Callable[..., Any], runtime: Runtime, family: str, micro: int | None
) -> None:
    """Torch's device without memory stands in for a GPU: no number can be read from it."""
    runtime.device = torch.device("meta")
    split = SplitModel(tiny.build(family))
    split.model.train()
    loader = make_loader(12)
    loader._device = runtime.device
    settings = OptimizerSettings(1e-3, 1e-2, clip=0.1)
    setup = StageSetup(Length(3, 1, "learned"), settings, 5, 0, micro_batch_size=micro)
    kind = Classes(("a", "b"))
    loop = StageLoop(split.model, split.head, split.backbone, loader, kind, dict, setup, runtime)
    with Waits() as waits:
        for _ in range(2):
            loop._step(loop.model, loop.optimizer)
    inputs = 3 + NOT_OURS.get(family, 0)
    assert waits.copies == inputs * len(loader.asked)


def test_a_feed_knows_what_is_padded(make_loader: Callable[..., Any]) -> None:
    for loader in (make_loader(20), make_loader(6, choices=2)):
        known: BatchLoader = loader
        for rows in torch.combinations(torch.arange(len(loader.lengths))).numpy():
            mask = loader.batch(rows)["attention_mask"]
            assert known.padded(rows) == (not bool(mask.all()))
