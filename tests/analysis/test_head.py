"""``headstart analyze head``: what is compared, what is said of it, and what is refused."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tiny_records
import tiny_runs
from alike import ALL
from headstart.analysis._base import Case, Side
from headstart.analysis._page import page
from headstart.analysis.head import ANALYSIS, findings, variants
from headstart.cli import main
from headstart.errors import ConfigError
from headstart.report.read import Run

OPTIONS = {"tuner": "bitfit", "other_tuner": None, "other_task": None, "other_data": None}
CONTROLS = ["whole head", "weights only", "biases only", "shuffled", "fresh norm", "other seed"]


def test_every_control_has_the_same_strategy_and_its_own_measure() -> None:
    made = variants(OPTIONS)
    assert [v.name for v in made] == ["fresh head", *CONTROLS, "head of lora"]
    assert [v.strategy for v in made] == ["full", *["bitfit > full"] * 7]
    assert len({json.dumps(v.measure) for v in made}) == len(made)
    assert made[-1].measure == {
        "name": "head", "control": "other tuner", "other": {"strategy": "lora > full"},
    }  # fmt: skip


def test_the_other_tuner_is_another_one() -> None:
    assert variants({**OPTIONS, "tuner": "lora(r=4)"})[-1].name == "head of bitfit"
    assert variants({**OPTIONS, "other_tuner": "bitfit(lr=1e-2)"})[-1].strategy == "bitfit > full"
    with pytest.raises(ConfigError, match="another tuner for --other-tuner"):
        variants({**OPTIONS, "other_tuner": "bitfit"})


@pytest.mark.parametrize("tuner", ["head > lora", "bitfit >> lora", "nothing", "lora(", ""])
def test_what_is_not_one_tuner_is_refused(tuner: str) -> None:
    with pytest.raises(ConfigError):
        variants({**OPTIONS, "tuner": tuner})


def other_task(folder: Path, task: str = "cola", classes: int = 2) -> dict[str, str]:
    """Write rows of another task."""
    folder.mkdir(exist_ok=True)
    for name in ("train", "validation"):
        frame = pd.DataFrame({"label": [i % classes for i in range(12)]})
        for column in ("sentence", "premise", "hypothesis"):
            frame[column] = [f"{'abc'[i % classes]} {'xyz'[i % 3]}" for i in range(12)]
        frame.to_csv(folder / f"{name}.csv", index=False)
    return {"other_task": task, "other_data": str(folder)}


def test_other_rows_of_the_other_task_are_another_run(tmp_path: Path) -> None:
    options = {**OPTIONS, **other_task(tmp_path)}
    before = variants(options)[-1]
    assert before.name == "head of cola"
    assert before.measure is not None
    assert before.measure["other"] == {"task": "cola", "data": str(tmp_path)}
    assert variants(options)[-1].measure == before.measure
    with (tmp_path / "train.csv").open("a") as file:
        file.write("1,a b,a,b\n")
    assert variants(options)[-1].measure != before.measure


def test_other_rows_that_are_not_there_or_nobodys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--other-task beside --other-data"):
        variants({**OPTIONS, "other_data": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"a folder or a file for --other-data; found .*/none"):
        variants({**OPTIONS, "other_task": "cola", "other_data": str(tmp_path / "none")})


def measured(place: int, seed: int, given_up: str = "") -> dict[str, Any]:
    """Return what the observer says of a head that doubles its norm."""
    points = [
        {"step": step, "norm": 1.0 + step / 100, "cosine": 1.0 - step / 1000,
         "whole_norm": 2.0, "whole_cosine": 1.0}
        for step in (0, 50, 100)
    ]  # fmt: skip
    return {
        "pretrained": f"sha256:{seed}", "start": f"sha256:{seed}{place}", "points": points,
        "cosine_to_pretrained": 0.5, "values": [1.0, float(place)], "given_up": given_up,
        "notes": [f"bitfit did not learn: adjusted score 0.0{seed}; trying once more."]
        * bool(given_up),
    }  # fmt: skip


def case(gains: Mapping[str, float], seeds: int = 10, lost: Sequence[int] = ()) -> Case:
    """Return runs that differ from plain fine-tuning by gains and a little by chance."""
    chance, sides = random.Random(0), []  # noqa: S311
    for place, variant in enumerate(variants(OPTIONS)):
        runs = {}
        for seed in range(seeds):
            axes = tiny_records.axes(variant.strategy, seed)
            score = 0.7 + seed / 100 + gains.get(variant.name, 0.0) + chance.gauss(0, 0.0005)
            given_up = "stage 1 did not learn" if seed in lost and place else ""
            runs[seed] = Run(
                f"{place}-{seed}", axes, tiny_records.result(axes, score),
                measured(place, seed, given_up),
            )  # fmt: skip
        sides.append(Side(variant, runs))
    return Case("reviews", "tiny-model", None, {}, sides)


def test_what_helps_is_named_and_what_does_not_is_not() -> None:
    gains = {"whole head": 0.05, "weights only": 0.05, "fresh norm": 0.02}
    answer, *others = findings([case(gains)]).sentences
    assert answer.startswith("reviews: the pretrained head helps (+5.")
    helps, less = answer.split("Less than the whole head: ")
    assert "so does weights only (+5" in helps
    assert "fresh norm (+2" in helps
    assert "shuffled" not in helps
    assert "weights only" not in less
    assert all(f"{name} (-5.0 " in less for name in ("biases only", "other seed"))
    assert "fresh norm (-3.0 " in less
    assert "shuffled (-4.9" in less or "shuffled (-5.0" in less
    assert not any("no adjusted p can be below" in text for text in others)


def test_a_head_that_costs_is_said_to_cost() -> None:
    gains = {"whole head": -0.05, "shuffled": -0.03}
    answer, *others = findings([case(gains)]).sentences
    assert "the pretrained head costs against plain fine-tuning (-5.0 " in answer
    assert any(t.startswith("Worse than plain fine-tuning: shuffled (-2.9 ") for t in others)
    better = next(text for text in others if text.startswith("Better than the whole head"))
    assert "weights only" in better
    assert "fresh norm (+5.0 " in better
    assert "shuffled (+2.0 " in better


def test_without_a_difference_no_part_is_said_to_help() -> None:
    answer, *others = findings([case({})]).sentences
    assert "cannot be told from chance" in answer
    assert "so no part of it can be said to help" in answer
    unsure = next(text for text in others if text.startswith("Neither from plain"))
    assert "that is not to say that they are equal: weights only, biases only" in unsure


def test_too_few_seeds_are_named() -> None:
    answer, *others = findings([case({"whole head": 0.05}, seeds=4)]).sentences
    assert "cannot be told from chance" in answer
    limit = next(text for text in others if "no adjusted p can be below" in text)
    assert "With 4 seeds and 7 comparisons" in limit
    assert "below 0.88:" in limit
    assert "9 seeds can" in limit


def test_p_is_adjusted_over_the_controls() -> None:
    whole = findings([case({"whole head": 0.05}, seeds=8)]).values[1]
    assert whole["against_plain"]["p"] == pytest.approx(2 / 2**8)
    assert whole["against_plain"]["adjusted"] == pytest.approx(7 * 2 / 2**8)
    assert whole["against_plain"]["seeds"] == 8
    assert whole["against_whole"] is None


def test_seeds_without_a_pretrained_head_are_left_out_and_named() -> None:
    found = findings([case({"whole head": 0.05}, lost=[2, 5])])
    assert "Left out, because stage 1 did not learn: seeds 2, 5." in found.sentences
    told = next(text for text in found.sentences if text.startswith("With seed 2,"))
    assert told.startswith("With seed 2, bitfit did not learn: adjusted score 0.02. More steps")
    table = {row[0]: row[1] for row in found.tables[0].rows}
    assert table["fresh head"] == "10"
    assert table["whole head"] == table["shuffled"] == "8"
    assert found.values[1]["against_plain"]["seeds"] == 8


def test_pretrained_heads_that_differ_are_named() -> None:
    one = case({})
    assert not any("did not give the same head" in t for t in findings([one]).sentences)
    changed = dict(one.sides[3].runs[4].measured) | {"pretrained": "sha256:other"}
    run = one.sides[3].runs[4]
    one.sides[3].runs[4] = Run(run.id, run.axes, run.result, changed)  # type: ignore[index]
    told = [t for t in findings([one]).sentences if "did not give the same head" in t]
    assert len(told) == 1
    assert "seed 4" in told[0]


def test_nothing_to_compare_is_said() -> None:
    only = case({})
    half = Case(only.task, only.model, None, {}, [only.sides[0], *only.sides[2:]])
    assert "nothing to compare yet" in findings([half]).sentences[0]


def test_tables_and_figures_hold_every_head() -> None:
    found = findings([case({"whole head": 0.05})])
    names = ["fresh head", *CONTROLS, "head of lora"]
    for table in found.tables:
        assert [row[0] for row in table.rows] == names
        assert all(len(row) == len(table.head) for row in table.rows)
    heads = {row[0]: row[1:] for row in found.tables[1].rows}
    assert heads["fresh head"] == ["1.00", "2.00", "25.84", "-", "1.000"]
    assert heads["whole head"][3:] == ["0.500", f"{1 / 2**0.5:.3f}"]
    scores, norms, turns = found.figures
    assert [len(trace["x"]) for trace in scores.data] == [10] * 8 + [8]
    assert scores.data[-1]["name"] == "mean"
    assert [trace["name"] for trace in norms.data] == names
    assert norms.data[0]["x"] == [0, 50, 100]
    assert norms.data[0]["y"] == [1.0, 1.5, 2.0]
    # arccos of 0.95 and of 0.9
    assert turns.data[0]["y"] == pytest.approx([0.0, 18.1949, 25.8419], abs=1e-4)
    text = page(ANALYSIS.title, found, "headstart analyze head")
    assert all(figure.id in text for figure in found.figures)
    ids = re.findall(r'<[^>]*\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 5
    assert json.loads(json.dumps(found.values, allow_nan=False)) == found.values


def words(folder: Path, out: Path, *more: str) -> list[str]:
    """Return a command line on tiny rows."""
    inputs = tiny_runs.inputs(folder)
    told = [f"--{name}={inputs[name]}" for name in ("model", "train", "validation", "text")]
    own = ("batch_size=8", "epochs=1", "guard=false", "device=cpu", "precision=fp32")
    told += [f"--set={assignment}" for assignment in own]
    return ["analyze", "head", *told, "--seeds=1", f"--out={out}", "--quiet", *more]


@ALL
@pytest.mark.slow
def test_the_command_carries_it_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = other_task(tmp_path / "cola")
    more = [f"--other-task={rows['other_task']}", f"--other-data={rows['other_data']}"]
    out = tmp_path / "x"
    steps = ["--tuner=bitfit(steps=2)", "--other-tuner=head(steps=2)"]
    assert main(words(tmp_path, out, *steps, *more)) == 0
    printed = capsys.readouterr().out
    values = json.loads((out / "head.json").read_text())
    names = ["fresh head", *CONTROLS, "head of head(steps=2)", "head of cola"]
    assert [value["head"] for value in values] == names
    assert all(value["seeds"] == [0] for value in values)
    likeness = {v["head"]: v["cosine_with_pretrained_at_step_0"][0] for v in values}
    assert likeness["whole head"] == pytest.approx(1)
    assert likeness["weights only"] == pytest.approx(1)
    assert likeness["fresh norm"] == pytest.approx(1)
    assert abs(likeness["shuffled"]) < 0.9
    assert "head of cola" in printed
    text = (out / "head.html").read_text()
    assert "What in the pretrained head helps" in text
    assert "Norm of the head" in text


def test_another_task_that_does_not_fit_is_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = other_task(tmp_path / "cb", "cb", 3)
    more = ["--other-task=cb", f"--other-data={rows['other_data']}"]
    assert main(words(tmp_path, tmp_path / "x", *more)) == 2
    told = capsys.readouterr().err
    assert "another task with 2 classes (bad, good)" in told
    assert "cb with 3 classes (entailment, contradiction, neutral)" in told
    assert "Name a task that fits by --other-task" in told
    assert not (tmp_path / "x").exists()


def test_a_budget_of_all_stages_is_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [w.replace("epochs=1", "total_epochs=2") for w in words(tmp_path, tmp_path / "x")]
    assert main(given) == 2
    told = capsys.readouterr().err
    assert "a length of its own for the last stage" in told
    assert "--set epochs=3" in told
    assert not (tmp_path / "x").exists()
