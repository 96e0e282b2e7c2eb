"""A precision that a model's own code cannot compute in is found out before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import headstart as hs
import tiny
import tiny_families
from headstart.models.backbone import SplitModel
from headstart.training.machine.precision import settle_precision
from headstart.training.machine.runtime import Runtime
from tiny_runs import frame

SPARSE = {"block_size": 4, "num_random_blocks": 1}


class Rows:
    """A loader of one batch, whose first row is the longest."""

    def __init__(self, length: int) -> None:
        self._batch = tiny.batch(4, length)
        self.lengths: Any = self._batch["attention_mask"].sum(1).numpy()
        self.left_padded = False
        self.row_of = None
        self.units = None

    def batch(self, rows: Any) -> dict[str, torch.Tensor]:
        return {name: tensor[torch.from_numpy(rows)] for name, tensor in self._batch.items()}

    def padded(self, rows: Any) -> bool:
        return True

    def vocabulary(self) -> Any:
        return None


def _split(family: str, **settings: Any) -> SplitModel:
    torch.manual_seed(0)
    config = tiny_families.config_of(family, **settings)
    return SplitModel(AutoModelForSequenceClassification.from_config(config).train())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("family", "length", "settled", "settings"),
    [
        ("bert", 12, "bf16", {}),
        ("ibert", 12, "bf16", {}),
        ("deberta", 12, "fp32", {}),
        ("xmod", 12, "fp32", {}),
        ("big_bird", 12, "bf16", SPARSE),
        ("big_bird", 100, "fp32", SPARSE),  # long rows take another path through its code
    ],
)
def test_a_trial_decides_and_leaves_no_trace(
    family: str, length: int, settled: str, settings: dict[str, Any], training: bool
) -> None:
    split, runtime = _split(family, **settings), Runtime("cpu", "bf16")
    digest, state = split.fingerprint(), torch.get_rng_state()
    told = settle_precision(split, [Rows(8), Rows(length)], runtime, training=training)
    assert runtime.precision == settled
    assert bool(told) == (settled == "fp32")
    assert split.fingerprint() == digest
    assert torch.equal(torch.get_rng_state(), state)
    assert split.model.training
    assert all(p.grad is None for p in split.model.parameters())
    if told:
        assert type(split.base).__name__ in told
        assert type(split.base).__name__ in runtime.describe()["precision_reason"]
        with runtime.autocast():
            dtype = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        assert dtype == torch.float32


def test_numbers_that_are_not_finite_count_as_failing() -> None:
    split, runtime = _split("bert"), Runtime("cpu", "bf16")
    dense: Any = split.model.classifier
    dense.register_forward_hook(
        lambda _module, _args, out: out + (torch.inf if out.dtype == torch.bfloat16 else 0)
    )
    assert "no finite number" in settle_precision(split, [Rows(12)], runtime)
    assert runtime.precision == "fp32"


@pytest.mark.parametrize("wrong", [True, False])
def test_a_convolution_in_groups_that_gives_noise_in_bf16_is_found_out(wrong: bool) -> None:
    split, runtime = _split("bert"), Runtime("cpu", "bf16")
    layer = torch.nn.Conv1d(32, 32, 3, groups=2)  # computed rightly everywhere
    base: Any = split.base
    base.add_module("local", layer)
    layer.register_forward_hook(
        lambda _module, _args, out: -out if wrong and out.dtype == torch.bfloat16 else out
    )
    told = settle_precision(split, [Rows(12)], runtime)
    assert ("local is computed wrongly" in told) == wrong
    assert runtime.precision == ("fp32" if wrong else "bf16")


@pytest.mark.parametrize("training", [True, False])
def test_a_head_that_fails_in_fp32_on_a_base_in_bf16_is_found_out(training: bool) -> None:
    split, runtime = _split("bert"), Runtime("cpu", "bf16")
    linear = split.model.classifier
    split.model.classifier = torch.nn.Sequential(linear)

    def needs_bf16(*_: Any) -> None:
        if runtime.precision == "bf16" and not torch.is_autocast_enabled("cpu"):
            raise TypeError("mat1 and mat2 must have the same dtype")

    linear.register_forward_pre_hook(needs_bf16)
    assert "same dtype" in settle_precision(split, [Rows(12)], runtime, training=training)
    assert runtime.precision == "fp32"


def test_what_has_another_cause_than_precision_is_not_hidden() -> None:
    split, runtime = _split("bert"), Runtime("cpu", "bf16")

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    split.base.register_forward_pre_hook(full)
    assert settle_precision(split, [Rows(12)], runtime) == ""
    assert runtime.precision == "bf16"


def test_a_run_says_it_in_the_plan_and_its_scores_come_out_again(tmp_path: Path) -> None:
    rows = frame(16)
    settings: dict[str, Any] = {
        "model": str(tiny_families.save_pretrained("deberta", tmp_path / "deberta")),
        "train": rows, "validation": rows, "text": "sentence", "batch_size": 8, "device": "cpu",
        "precision": "bf16", "strategy": "bitfit(steps=2) > full(steps=2)", "guard": False,
    }  # fmt: skip
    plan = hs.plan(**settings)
    assert "fp32" in dict(plan.facts)["device"]
    assert any("not in bf16" in note for note in plan.notes)
    result = hs.fit(**settings, out=tmp_path / "run")
    assert result.machine["precision"] == "fp32"
    texts = list(rows.sentence)
    plain, asked = (
        [one.probabilities for one in hs.load(tmp_path / "run", precision=precision).predict(texts)]
        for precision in ("auto", "bf16")
    )
    assert plain == asked
    right = np.mean([max(p, key=p.__getitem__) for p in plain] == rows.label)
    assert right == pytest.approx(result.scores["accuracy"])
    linear = hs.probe(**{k: v for k, v in settings.items() if k not in ("strategy", "guard")},
                      seeds=[0], lrs=[1e-2])  # fmt: skip
    assert len(linear) == 1
