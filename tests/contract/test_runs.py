"""What holds for every run of every registered tuner, on many families."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import headstart as hs
import tiny
from alike import ALL, chosen, first, spread
from headstart.models.checkpoints.loading import load_classifier
from headstart.models.head_choice import Target
from headstart.training.optim import rate_factor
from headstart.tuners import TUNERS
from tiny_runs import Watch, frame, inputs, same, saved, scores, watched
from tiny_tuners import PAIRS, REFUSALS

FAMILIES = [f for f in tiny.FAMILIES if f not in ("electra", "xlm-roberta", "camembert")]
CASES = [pair for pair in PAIRS if pair[1] in FAMILIES]
MERGEABLE = [name for name in TUNERS if not TUNERS.get(name).no_merge]
FORMATS = ("{}(steps=4) >> full(steps=3)", "{}(steps=4)")
MERGED = [
    (tuner, family, form)
    for tuner in MERGEABLE
    for family in ("bert", "modernbert")
    for form in FORMATS
    if (tuner, family) not in REFUSALS
]
# All tests of a case follow one another, so that the process that has its run has them too.
each_case = pytest.mark.parametrize(("tuner", "family"), spread(CASES, times=1), scope="module")
STEPS = (4, 3)
SENTENCES = ["a b c d e f", "u v w", "a great film x y z , and b c", "the"]


def line(tuner: str) -> str:
    return f"{tuner}(steps={STEPS[0]}) > full(steps={STEPS[1]})"


@dataclass
class Run:
    """A finished run from a checkpoint, its source, and what was seen of it."""

    watch: Watch
    folder: Path
    source: Path


Runs = Callable[..., Run]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Gives the run of a line on a family, carried out when it is first asked for."""
    folder, done = tmp_path_factory.mktemp("runs"), {}

    def get(line: str, family: str, **more: Any) -> Run:
        key = repr((line, family, sorted(more.items())))
        if key not in done:
            settings = inputs(folder, family, **more)
            out = folder / f"run{len(done)}"
            # Few steps teach little; whether a head has learned is another test's matter.
            watch = watched(strategy=line, guard=False, out=out, **settings)
            done[key] = Run(watch, out, Path(settings["model"]))
        return done[key]

    return get


def test_the_contract_covers_every_tuner_and_many_families() -> None:
    assert len(set(FAMILIES)) >= 6
    assert set(TUNERS) >= {"bitfit", "full", "head", "lora", "prefix", "top"}
    refused = sum(family in FAMILIES for _, family in REFUSALS)
    assert len(CASES) == len(TUNERS) * len(FAMILIES) - refused >= 69
    assert len(MERGEABLE) >= 5
    refused = sum((t, family) in REFUSALS for t in MERGEABLE for family in ("bert", "modernbert"))
    assert len(MERGED) == 4 * len(MERGEABLE) - 2 * refused
    assert len(CASES) + len(MERGED) >= 150
    few = chosen(spread(CASES, times=1))
    assert ({t for t, _ in few}, {f for _, f in few}) == ({*TUNERS}, {*FAMILIES})


@each_case
def test_stage_1_hands_on_the_head_and_nothing_else(tuner: str, family: str, runs: Runs) -> None:
    run = runs(line(tuner), family)
    first, second = run.watch.stages
    checkpoint = load_classifier(str(run.source), Target(("bad", "good")))

    changed = first.fingerprint != first.handed_fingerprint  # while the tuner was attached
    assert TUNERS.get(tuner).changes_weights or not changed
    assert first.handed_fingerprint == second.fingerprint == checkpoint.fingerprint()
    assert same(first.last_head, first.handed_head)
    assert same(first.last_head, second.head)
    moved = {name for name in first.head if not torch.equal(first.head[name], second.head[name])}
    assert moved == set(first.head)
    assert any(name.endswith("bias") for name in moved)
    assert [s.handed_on for s in run.watch.result.stages] == ["head", "model"]


@each_case
def test_only_what_the_plan_says_trains(tuner: str, family: str, runs: Runs) -> None:
    run = runs(line(tuner), family)
    plan = hs.plan(
        **inputs(run.source.parent, family), strategy=line(tuner), out=run.source.parent / "x"
    )
    stages = zip(run.watch.stages, plan.counts, run.watch.result.stages, strict=True)
    for seen, count, result in stages:
        changed = {n for n in seen.before if not torch.equal(seen.before[n], seen.after[n])}
        assert changed <= seen.trainable
        assert set(seen.head) <= changed
        size = sum(seen.before[n].numel() for n in seen.trainable)
        assert size == count.trainable == result.trainable["head"] + result.trainable["tuner"]
        assert count.frozen == result.trainable["frozen"]
        assert size + count.frozen == sum(t.numel() for t in seen.before.values())
    first, second = run.watch.stages
    assert second.trainable == set(second.before)
    assert bool(first.trainable - set(first.head)) == (tuner != "head")
    assert not plan_leaves_a_trace(run)


def plan_leaves_a_trace(run: Run) -> bool:
    """Whether the second stage has parameters that plain transformers would not have."""
    plain: Any = AutoModelForSequenceClassification.from_pretrained(run.folder / "model")
    return set(run.watch.stages[1].before) != {name for name, _ in plain.named_parameters()}


@each_case
def test_every_stage_has_an_optimizer_and_a_schedule_of_its_own(
    tuner: str, family: str, runs: Runs
) -> None:
    watch = runs(line(tuner), family).watch
    for seen, result, steps in zip(watch.stages, watch.result.stages, STEPS, strict=True):
        assert seen.moments == 0
        warmup = round(0.1 * steps)
        factors = [rate_factor(step, steps, warmup) for step in range(steps)]
        assert factors[0] == 1
        peaks = {result.lr, result.head_lr} if result.trainable["tuner"] else {result.head_lr}
        assert [set(rates) for rates in seen.rates] == [{p * f for p in peaks} for f in factors]


@each_case
def test_nothing_of_the_tuner_is_saved(tuner: str, family: str, runs: Runs) -> None:
    run = runs(line(tuner), family)
    written = load_file(run.folder / "model" / "model.safetensors")
    with torch.device("meta"):
        fresh = AutoModelForSequenceClassification.from_config(run.watch.split.model.config)
    assert set(written) == set(fresh.state_dict())
    trained = {name: p.detach() for name, p in run.watch.split.model.named_parameters()}
    assert all(torch.equal(trained[name], written[name]) for name in trained)
    names = {file.name for file in run.folder.iterdir()}
    assert names == {"model", "head", "result.json", "settings.yaml", "log.txt"}


@each_case
def test_one_seed_gives_the_same_bits(tuner: str, family: str, runs: Runs, tmp_path: Path) -> None:
    run = runs(line(tuner), family)
    settings = inputs(run.source.parent, family)
    torch.manual_seed(1234)  # whatever was drawn before must not matter
    again = watched(strategy=line(tuner), guard=False, out=tmp_path / "again", **settings)
    assert same(saved(run.folder), saved(tmp_path / "again"))
    assert scores(run.watch.result) == scores(again.result)


@pytest.mark.parametrize("tuner", first(TUNERS, every=4))
def test_another_seed_gives_other_bits(tuner: str, runs: Runs) -> None:
    both = runs(line(tuner), "bert"), runs(line(tuner), "bert", seed=1)
    first, second = (run.watch.stages[0] for run in both)
    assert not same(first.head, second.head)
    assert first.rows != second.rows
    assert first.fingerprint == second.fingerprint


@each_case
def test_strategies_share_head_and_order(tuner: str, family: str, runs: Runs) -> None:
    plain = runs(f"full(steps={STEPS[1]})", family).watch.stages[0]
    first, second = runs(line(tuner), family).watch.stages
    assert same(plain.head, first.head)
    assert plain.rows == second.rows == first.rows[: STEPS[1]]
    assert len(first.rows) == STEPS[0]
    epoch = [row for step in second.rows for row in step]
    assert sorted(epoch) == list(range(24))


PLAIN = """
import json, sys
sys.modules["headstart"] = sys.modules["peft"] = None  # importing them now fails
import numpy as np, torch, transformers
from transformers import AutoTokenizer, pipeline

torch.set_num_threads(1)
answers = {}
for number, case in enumerate(json.load(open(sys.argv[1]))):
    folder, first, second = case["folder"], case["first"], case["second"]
    auto = getattr(transformers, f"AutoModelFor{case['kind']}")
    model, info = auto.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(first, second, padding=True, return_tensors="pt")
    several = case["kind"] == "MultipleChoice"
    batch = {name: values[None] if several else values for name, values in batch.items()}
    with torch.no_grad():
        answers[f"{number}"] = model.eval()(**batch).logits.numpy()
    if case["kind"] == "SequenceClassification" and second is None:
        # A few read the folder, as above.
        parts = {"model": model, "tokenizer": tokenizer} if number % 4 else {"model": folder}
        told = pipeline("text-classification", **parts)(first)
        for kind in ("label", "score"):
            answers[f"{number}/{kind}"] = np.array([t[kind] for t in told])
np.savez(sys.argv[2], **answers)
"""
"""Does what a user does who has never heard of headstart."""


@dataclass
class Saved:
    """A saved model and what to ask it.

    ``kind`` is the ``AutoModelFor…``; ``second`` are the second texts of pairs, if there are any.
    """

    run: Run
    kind: str = "SequenceClassification"
    first: tuple[str, ...] = tuple(SENTENCES)
    second: tuple[str, ...] | None = None


def choice_run(folder: Path) -> Run:
    """Trains on premises with two candidates, of which the one with the same letters is right."""
    rows = frame(24)
    table = pd.DataFrame(
        {
            "premise": rows["sentence"],
            "choice1": np.where(rows["label"] == "good", "a b c", "w x y"),
            "choice2": np.where(rows["label"] == "good", "u v w", "d e f"),
            "label": np.arange(24) % 2,
        }
    )
    settings = inputs(folder) | {"text": ("premise",), "choices": ("choice1", "choice2")}
    settings |= {"train": table, "validation": table[:10]}
    out = folder / "choice"
    watch = watched(strategy=line("bitfit"), guard=False, out=out, **settings)
    return Run(watch, out, folder / "bert")


def number_run(folder: Path) -> Run:
    """Trains until numbers of mean 1000 and standard deviation 50 are learned."""
    rows = frame(64)
    values = np.where(rows["label"] == "good", 1050.0, 950.0)
    table = pd.DataFrame({"sentence": rows["sentence"], "label": values + np.linspace(-3, 3, 64)})
    settings = inputs(folder) | {"train": table, "validation": table[:16]}
    out = folder / "number"
    first, second = "steps=60, lr=1e-2, head_lr=1e-2", "steps=100, lr=1e-3, head_lr=1e-2"
    watch = watched(strategy=f"bitfit({first}) > full({second})", out=out, **settings)
    return Run(watch, out, folder / "bert")


def run_without_pooler(folder: Path) -> Run:
    """Trains from a BERT checkpoint that has no pooler, as sentence encoders often have none."""
    model: Any = tiny.build("bert")
    model.bert.pooler = None
    model.bert.save_pretrained(folder / "bare" / "bert")
    tiny.tokenizer("bert").save_pretrained(folder / "bare" / "bert")
    settings = inputs(folder / "bare")
    out = folder / "bare-run"
    watch = watched(strategy=line("lora"), guard=False, out=out, **settings)
    assert any("pooler" in name for name in watch.stages[0].head)
    return Run(watch, out, folder / "bare" / "bert")


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=ALL)])
def models(
    request: pytest.FixtureRequest, runs: Runs, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Saved]:
    folder = tmp_path_factory.mktemp("others")
    few, merged = CASES, MERGED
    if request.param == "few":
        few = [(a, b) for a, b in chosen(spread(CASES, times=1))]
        merged = [(a, b, c) for a, b, c in chosen(spread(MERGED, times=1))]
    found = {f"{tuner} {family}": Saved(runs(line(tuner), family)) for tuner, family in few}
    for tuner, family, form in merged:
        made = form.format(tuner)
        found[f"{made} {family}"] = Saved(runs(made, family))
    tuners = {tuner for tuner, *_ in few}, {tuner for tuner, *_ in merged}
    assert tuners == ({*TUNERS}, {*MERGEABLE})
    assert {family for _, family in few} == {*FAMILIES}
    assert len(found) == len(few) + len(merged)
    pair = ("a b c", "a b c"), ("u v w", "d e f")
    found["choice"] = Saved(choice_run(folder), "MultipleChoice", *pair)
    found["number"] = Saved(number_run(folder))
    found["no pooler"] = Saved(run_without_pooler(folder))
    return found


@pytest.fixture(scope="module")
def answers(
    models: dict[str, Saved], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What plain transformers says, by model: logits, and label and score of the pipeline."""
    folder = tmp_path_factory.mktemp("plain")
    cases = [
        {"folder": str(m.run.folder / "model"), "kind": m.kind, "first": m.first,
         "second": m.second}
        for m in models.values()
    ]  # fmt: skip
    (folder / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, folder / "cases.json", folder / "answers.npz"],
        capture_output=True, text=True, cwd=folder, env=without_headstart(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(folder / "answers.npz")
    kinds = {"logits": "", "label": "/label", "score": "/score"}
    return {
        name: {k: found[f"{i}{end}"] for k, end in kinds.items() if f"{i}{end}" in found}
        for i, name in enumerate(models)
    }


def without_headstart() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


@torch.no_grad()
def own_logits(model: Saved) -> Any:
    """Logits of the model that is still in the memory of the run's process."""
    second = None if model.second is None else list(model.second)
    batch = AutoTokenizer.from_pretrained(model.run.folder / "model")(
        list(model.first), second, padding=True, return_tensors="pt"
    )
    if model.kind == "MultipleChoice":
        batch = {name: values[None] for name, values in batch.items()}
    return model.run.watch.split.model.eval()(**batch).logits.numpy()


def test_plain_transformers_gives_the_same_logits(
    models: dict[str, Saved], answers: dict[str, dict[str, Any]]
) -> None:
    assert len(models) >= len(TUNERS) + len(MERGEABLE) + 3
    for name, model in models.items():
        wanted = own_logits(model)
        # Products may differ in the last bit with where a tensor lies in memory.
        np.testing.assert_allclose(
            answers[name]["logits"], wanted, atol=1e-6, rtol=1e-6, err_msg=name
        )
        assert np.ptp(answers[name]["logits"], axis=None) > 0


def test_the_pipeline_gives_the_same_classes(
    models: dict[str, Saved], answers: dict[str, dict[str, Any]]
) -> None:
    covered = 0
    for name, model in models.items():
        if model.kind == "MultipleChoice" or name == "number":
            continue
        logits = torch.from_numpy(answers[name]["logits"]).double()
        probabilities = logits.softmax(-1).numpy()
        wanted = [("bad", "good")[i] for i in probabilities.argmax(1)]
        assert answers[name]["label"].tolist() == wanted
        np.testing.assert_allclose(answers[name]["score"], probabilities.max(1), atol=1e-5)
        ours = hs.load(model.run.folder).predict(SENTENCES) if "bert" in name else []
        assert [p.label for p in ours] == wanted[: len(ours)]
        covered += 1
    assert covered == len(models) - 2


def test_numbers_come_in_the_users_own_units(
    models: dict[str, Saved], answers: dict[str, dict[str, Any]]
) -> None:
    result = models["number"].run.watch.result
    assert result.data["number_mean"] == pytest.approx(1000, abs=2)
    assert result.data["number_scale"] == pytest.approx(50, abs=2)
    logits = answers["number"]["logits"][:2, 0]
    np.testing.assert_allclose(logits, [1050, 950], atol=20)
    # The pipeline passes the number on as it is.
    np.testing.assert_allclose(answers["number"]["score"][:2], logits, rtol=1e-5)
    told = hs.load(models["number"].run.folder).predict(SENTENCES[:2])
    np.testing.assert_allclose([p.label for p in told], logits, rtol=1e-5)
    assert [p.probabilities for p in told] == [{}, {}]
