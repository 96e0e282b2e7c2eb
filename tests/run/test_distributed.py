"""Two processes compute what one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import headstart as hs
import tiny_kinds
import tiny_sound
from alike import ALL
from launching import forked_twice, two_processes
from tiny_runs import frame, inputs, saved

pytestmark = pytest.mark.slow

LINES = {
    "eh-ft": "bitfit(steps=7) > full(steps=8)",
    "reserve": "lora(steps=3) >> full(steps=5)",
    "lp-ft": "head(steps=6) > full(steps=5)",
    "prefix": "prefix(steps=3) > full(steps=2)",
    "parts": "full(steps=6)",
    "contrast": "head(steps=3) >> full(steps=7)+contrast(0.9)",
    "memory": "lora(steps=3) > full(steps=4)",
    "best": "full(steps=6, lr=1e-3)",
    "windows": "head(steps=3) > full(steps=4)",
    "tags in windows": "head(steps=3) > full(steps=4)",
    "several labels": "head(steps=3) > full(steps=4)",
    "pictures": "head(steps=3) > full(steps=4)",
    "sounds": "head(steps=3) > full(steps=4)",
}
MORE: dict[str, dict[str, Any]] = {
    "parts": {"micro_batch_size": 3},
    "contrast": {"micro_batch_size": 3},
    "memory": {"micro_batch_size": 3, "gradient_checkpointing": True, "offload_optimizer": True},
    "best": {"select": "best", "selection": "carve"},
    "windows": {"max_length": 6, "long_texts": "windows"},
    "tags in windows": {"micro_batch_size": 3},
    "several labels": {"tune_threshold": True},
}
CHILD = """
import json, sys
import headstart as hs
for settings in json.load(open(sys.argv[1])):
    hs.fit(**settings)
    print("done", flush=True)
"""


@pytest.fixture(scope="module", params=["forked", pytest.param("launched", marks=ALL)])
def folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The same runs by one process and by two."""
    folder = tmp_path_factory.mktemp("distributed")
    # The last step of an epoch has a single row, so that one process has none.
    frame(25).to_csv(folder / "train.csv", index=False)
    plain = {"dropout": 0, "guard": False, "threads": 1, "eval_every": 2}
    common = {
        name: tiny_kinds.settings(name, folder / "rows" / name, **plain)
        if name in tiny_kinds.KINDS
        else inputs(folder, **plain)
        for name in LINES
    }
    # What else is drawn while it trains depends on the batch, so on the number of processes.
    still = {"mask_time_prob": 0.0, "layerdrop": 0.0, "feat_proj_dropout": 0.0}
    tiny_sound.save(folder / "rows" / "sounds" / "wav2vec2", "wav2vec2", **still)
    one, two = (
        [
            {
                **common[name],
                **MORE.get(name, {}),
                "strategy": line,
                "out": str(folder / where / name),
            }
            for name, line in LINES.items()
        ]
        for where in ("one", "two")
    )
    for settings in one:
        hs.fit(**settings)
    (folder / "settings.json").write_text(json.dumps(two))
    if request.param == "launched":
        output = two_processes(CHILD, folder, folder / "settings.json")
        assert output.count("done") >= len(LINES)
    else:
        forked_twice(CHILD, folder / "settings.json")
    return folder / "one", folder / "two"


@pytest.mark.parametrize("name", LINES)
def test_losses_and_scores_are_the_same(name: str, folders: tuple[Path, Path]) -> None:
    one, two = (hs.RunResult.read(folder / name / "result.json") for folder in folders)
    assert one.machine["processes"] == 1
    assert two.machine["processes"] == 2
    assert two.data == one.data
    for first, second in zip(one.stages, two.stages, strict=True):
        assert (first.steps, first.tokens) == (second.steps, second.tokens)
        assert first.train_adjusted_score == pytest.approx(second.train_adjusted_score, abs=1e-5)
        for left, right in zip(first.curve, second.curve, strict=True):
            assert left.step == right.step
            assert left.train_loss == pytest.approx(right.train_loss, abs=1e-4)
            assert left.scores["loss"] == pytest.approx(right.scores["loss"], abs=1e-4)
        losses = [p.train_loss for p in first.curve[1:]]
        assert len(set(losses)) == len(losses)
    assert one.last == pytest.approx(two.last, abs=1e-4)
    assert one.untouched == pytest.approx(two.untouched, abs=1e-4)


@pytest.mark.parametrize("name", LINES)
def test_the_models_are_the_same(name: str, folders: tuple[Path, Path]) -> None:
    one, two = (saved(folder / name) for folder in folders)
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", LINES)
def test_one_process_writes(name: str, folders: tuple[Path, Path]) -> None:
    for folder in folders:
        lines = (folder / name / "log.txt").read_text().splitlines()
        assert sum("INFO strategy:" in line for line in lines) == 1
        stages = LINES[name].count(">") + 1 - LINES[name].count(">>")
        assert sum(", attempt 1, " in line for line in lines) == stages
    names = [sorted(p.name for p in (folder / name).rglob("*")) for folder in folders]
    assert names[0] == names[1]
