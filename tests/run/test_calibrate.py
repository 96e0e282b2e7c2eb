"""A calibrated run: the same model, its logits divided by a temperature from held-out rows."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMultipleChoice, AutoModelForSequenceClassification, pipeline

import headstart as hs
import tiny
from headstart.cli.shared.tables import closing
from headstart.errors import ConfigError, DataError, ModelError
from headstart.models.backbone import SplitModel
from headstart.models.heads import EncoderClassifier, HeadSpec
from headstart.models.rescale import divide_logits, require_divisible
from headstart.run import run_in_memory
from headstart.study.identity import Digests
from headstart.tasks.calibration import fit_temperature, log_loss, measure
from tiny_runs import Watch, frame, inputs, same, saved, scores, watched

LINE = "bitfit(steps=4) > full(steps=8, lr=1e-2, head_lr=1e-2)"


def noisy(rows: int, seed: int) -> pd.DataFrame:
    """Make rows a quarter of whose labels are wrong, so that no temperature is at a bound."""
    table = frame(rows, seed)
    wrong = np.random.default_rng(seed).random(rows) < 0.25
    other = table["label"].map({"good": "bad", "bad": "good"})
    return table.assign(label=table["label"].where(~wrong, other))


VALIDATION = noisy(60, 2)


def run(tmp_path: Path, name: str, **more: Any) -> hs.RunResult:
    given = {"train": noisy(60, 1), "validation": VALIDATION, "strategy": LINE, "guard": False}
    return watched(out=tmp_path / name, **inputs(tmp_path) | given | more).result


def plain_logits(out: Path) -> np.ndarray:
    """Compute the logits of the validation rows by transformers alone."""
    model = AutoModelForSequenceClassification.from_pretrained(out / "model").eval()
    batch = tiny.tokenizer()(list(VALIDATION["sentence"]), padding=True, return_tensors="pt")
    with torch.no_grad():
        found: np.ndarray = model(**batch).logits.double().numpy()
    return found


def labels_of(result: hs.RunResult) -> np.ndarray:
    return VALIDATION["label"].map(result.task["labels"].index).to_numpy()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, hs.RunResult, hs.RunResult]:
    """The same run without calibration and with it."""
    folder = tmp_path_factory.mktemp("pair")
    return folder, run(folder, "plain"), run(folder, "calibrated", calibrate=True)


Pair = tuple[Path, hs.RunResult, hs.RunResult]


def test_plain_transformers_gives_the_divided_logits(pair: Pair) -> None:
    folder, _, result = pair
    before, after = (plain_logits(folder / name) for name in ("plain", "calibrated"))
    temperature = result.calibration["temperature"]
    assert temperature == pytest.approx(fit_temperature(before, labels_of(result)).value, rel=1e-3)
    assert abs(temperature - 1) > 0.05
    np.testing.assert_allclose(after, before / temperature, atol=2e-6, rtol=2e-6)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    assert log_loss(after, labels_of(result)) < log_loss(before, labels_of(result))
    text = VALIDATION["sentence"][0]
    answer: Any = pipeline("text-classification", str(folder / "calibrated" / "model"))(text)
    expected = torch.tensor(after[0]).softmax(-1).max().item()
    assert answer[0]["score"] == pytest.approx(expected, abs=1e-5)


def test_the_record_holds_what_was_done(pair: Pair) -> None:
    folder, plain, result = pair
    found, gold = result.calibration, labels_of(result)
    assert plain.calibration == {}
    assert (found["rows"], found["origin"], found["same_rows"]) == (60, "validation file", True)
    before = measure(plain_logits(folder / "plain"), gold)
    assert found["before"] == pytest.approx(before, abs=1e-5)
    # Judged by halves, not by the rows that the temperature is best on.
    flattered = measure(plain_logits(folder / "calibrated"), gold)
    assert found["judged_by"] == "2-fold cross-fitting"
    assert found["after"]["log_loss"] > flattered["log_loss"] + 1e-4
    assert hs.RunResult.read(folder / "calibrated" / "result.json").calibration == found


def test_scores_are_those_of_the_saved_model(pair: Pair) -> None:
    folder, plain, result = pair
    assert hs.evaluate(folder / "calibrated", VALIDATION) == pytest.approx(result.scores)
    assert result.scores["accuracy"] == plain.scores["accuracy"]
    assert result.scores["loss"] < plain.scores["loss"]
    # Along the stages nothing was calibrated yet.
    assert result.stages[-1].end == plain.stages[-1].end


def test_only_the_last_linear_map_differs(pair: Pair) -> None:
    folder, _, result = pair
    before, after = (
        load_file(folder / name / "model" / "model.safetensors") for name in ("plain", "calibrated")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    # The pretrained head has its own place, before fine-tuning, and is left alone.
    heads = [load_file(folder / n / "head" / "head.safetensors") for n in ("plain", "calibrated")]
    assert same(*heads)
    config = json.loads((folder / "calibrated" / "model" / "config.json").read_text())
    assert config["calibration_temperature"] == result.calibration["temperature"]
    assert "calibration" not in (folder / "plain" / "model" / "config.json").read_text()


def test_a_final_head_is_that_of_the_saved_model(tmp_path: Path) -> None:
    result = run(tmp_path, "run", strategy="full(steps=12, lr=3e-2)", calibrate=True)
    head = load_file(tmp_path / "run" / "head" / "head.safetensors")
    model = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert result.calibration["temperature"] != 1
    assert all(torch.equal(model[name], tensor) for name, tensor in head.items())


def test_card_and_closing_lines_tell_it(pair: Pair) -> None:
    folder, plain, result = pair
    card = (folder / "calibrated" / "model" / "README.md").read_text()
    told, found = closing(result), result.calibration
    for text in (card, told):
        assert f"{found['temperature']:.3f}" in text
        assert "fitted on 60 rows, validation file: the same rows that the scores are about" in text
        assert "2-fold cross-fitting" in text
        assert f"{found['before']['ece']:.4f}" in text
        assert f"{found['after']['brier']:.4f}" in text
    assert "alibrat" not in closing(plain)
    assert "alibrat" not in (folder / "plain" / "model" / "README.md").read_text()


def test_carved_rows_fit_and_untouched_rows_judge(tmp_path: Path) -> None:
    more = {"selection": "carve", "train": noisy(200, 1)}
    plain = run(tmp_path, "plain", **more)
    result = run(tmp_path, "run", calibrate=True, **more)
    found, gold = result.calibration, labels_of(result)
    assert (found["rows"], found["same_rows"]) == (40, False)
    assert found["origin"].startswith("20% carved")
    assert found["judged_by"] == "60 validation rows that no selection has seen"
    after = plain_logits(tmp_path / "run")
    assert found["before"] == pytest.approx(measure(plain_logits(tmp_path / "plain"), gold))
    assert found["after"] == pytest.approx(measure(after, gold), abs=1e-5)
    assert found["temperature"] != pytest.approx(fit_temperature(after, gold).value)
    assert hs.evaluate(tmp_path / "run", VALIDATION) == pytest.approx(result.untouched)
    assert result.selecting["loss"] < plain.selecting["loss"]
    # What judges has no say in the temperature.
    flipped = VALIDATION.assign(label=VALIDATION["label"].to_numpy()[::-1])
    other = run(tmp_path, "other", calibrate=True, validation=flipped, **more)
    assert other.calibration["temperature"] == found["temperature"]
    assert not any("no score selects" in w for w in result.warnings)


def test_the_best_state_is_the_one_that_is_calibrated(tmp_path: Path) -> None:
    result = run(tmp_path, "run", select="best", eval_every=1, calibrate=True)
    assert hs.evaluate(tmp_path / "run", VALIDATION) == pytest.approx(result.best)
    assert result.last == result.stages[-1].end
    assert result.best["loss"] < result.stages[-1].best["loss"]


def test_in_memory_the_logits_are_those_of_the_scores(tmp_path: Path) -> None:
    settings = inputs(tmp_path, strategy=LINE, calibrate=True, guard=False)
    noisy(60, 1).to_csv(settings["train"], index=False)
    VALIDATION.to_csv(settings["validation"], index=False)
    trained = run_in_memory(hs.FitConfig.build(settings))
    loss = log_loss(trained.logits, labels_of(trained.result))
    assert trained.result.calibration["temperature"] != 1
    assert trained.result.scores["loss"] == pytest.approx(loss, abs=1e-6)


def test_a_resumed_run_is_calibrated_alike(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", calibrate=True)
    given = {"train": noisy(60, 1), "validation": VALIDATION}

    def at_step(attempt: int, step: int) -> None:
        if (attempt, step) == (2, 8):
            signal.raise_signal(signal.SIGINT)

    settings = inputs(tmp_path, strategy=LINE, guard=False) | given
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=Watch(at_step), out=tmp_path / "run", calibrate=True, **settings)
    resumed = hs.fit(out=tmp_path / "run", resume=True, **given)
    assert resumed.calibration == whole.calibration
    assert scores(resumed) == scores(whole)
    assert same(saved(tmp_path / "run"), saved(tmp_path / "whole"))


def test_a_model_without_errors_is_left_alone(tmp_path: Path) -> None:
    line = "full(steps=30, lr=3e-2, head_lr=3e-2)"
    easy = {"train": frame(60, 1), "validation": frame(24, 2), "strategy": line}
    plain, result = run(tmp_path, "plain", **easy), run(tmp_path, "run", calibrate=True, **easy)
    assert result.scores == plain.scores
    assert result.scores["accuracy"] == 1
    assert result.calibration["temperature"] == 1
    assert result.calibration["before"] == result.calibration["after"]
    assert result.calibration["bound"] == "lowest"
    assert "alibrated:" not in closing(result)
    assert "## Calibration" not in (tmp_path / "run" / "model" / "README.md").read_text()
    (warning,) = result.warnings
    assert warning.startswith("Not calibrated: the held-out rows determine no temperature")
    assert same(saved(tmp_path / "plain"), saved(tmp_path / "run"))


def test_a_multiple_choice_model_is_calibrated(tmp_path: Path) -> None:
    rows = noisy(80, 1)
    good = rows["sentence"].str.contains("[a-f]")
    table = pd.DataFrame({"sentence": "it is", "one": rows["sentence"]})
    table["two"] = np.where(good, "u v w", "a b c")
    table["label"] = (rows["label"] == "bad").astype(int)
    more = {"train": table[:50], "validation": table[50:], "choices": ("one", "two")}
    more |= {"strategy": "full(steps=30, lr=1e-2, head_lr=1e-2)"}
    plain, result = run(tmp_path, "plain", **more), run(tmp_path, "run", calibrate=True, **more)
    temperature = result.calibration["temperature"]
    assert temperature != 1
    batch = tiny.batch(choices=2)
    with torch.no_grad():
        before, after = (
            AutoModelForMultipleChoice.from_pretrained(r.out / "model").eval()(**batch).logits
            for r in (plain, result)
        )
    torch.testing.assert_close(after, before / temperature, atol=2e-6, rtol=2e-6)


CASES = [(family, "native") for family in tiny.FAMILIES] + [("bert", "linear"), ("bert", "mlp")]


@pytest.mark.parametrize(("family", "head"), CASES)
@pytest.mark.parametrize("classes", [2, 3])
@torch.no_grad()
def test_every_family_divides_its_logits(family: str, head: str, classes: int) -> None:
    native: Any = tiny.build(family, num_labels=classes)
    split = SplitModel(native)
    if head != "native":
        spec = HeadSpec.linear(classes) if head == "linear" else HeadSpec.mlp(classes)
        split = SplitModel(EncoderClassifier(getattr(native, native.base_model_prefix), spec))
    batch, fingerprint = tiny.batch(), split.fingerprint()
    before = split.model.eval()(**batch).logits
    divide_logits(split, classes, 1.7)
    torch.testing.assert_close(split.model(**batch).logits, before / 1.7, atol=1e-6, rtol=1e-5)
    assert split.fingerprint() == fingerprint


def test_a_head_that_ends_in_no_linear_map_is_refused() -> None:
    model: Any = tiny.build("bert", num_labels=3)
    model.classifier = torch.nn.Bilinear(32, 32, 3)
    with pytest.raises(ModelError, match="a linear map with 3 outputs"):
        require_divisible(SplitModel(model), 3)


def test_what_has_no_probabilities_is_refused_before_training(tmp_path: Path) -> None:
    table = frame(24).assign(label=np.linspace(0, 1, 24))
    settings = inputs(tmp_path) | {"train": table, "validation": None, "calibrate": True}
    with pytest.raises(ConfigError, match="give --target classes"):
        hs.plan(**settings)
    with pytest.raises(DataError, match=r"two classes or more .* all good \(validation file\)"):
        run(
            tmp_path,
            "run",
            calibrate=True,
            validation=pd.DataFrame([{"sentence": "a b", "label": "good"}]),
        )
    assert not (tmp_path / "run").exists()


def test_the_plan_tells_which_rows_fit_the_temperature(tmp_path: Path) -> None:
    settings = inputs(tmp_path, train=frame(60))
    told = dict(hs.plan(calibrate=True, **settings).facts)["calibration"]
    assert told == "a temperature, fitted on 12 held-out rows, which also carry the scores"
    carved = dict(hs.plan(calibrate=True, selection="carve", **settings).facts)["calibration"]
    assert carved == "a temperature, fitted on 12 held-out rows"
    assert "calibration" not in dict(hs.plan(**settings).facts)


def test_a_model_made_from_a_calibrated_one_does_not_claim_its_temperature(pair: Pair) -> None:
    folder, _, _ = pair
    run(folder, "second", model=str(folder / "calibrated"), strategy="full(steps=1)")
    config = (folder / "second" / "model" / "config.json").read_text()
    assert "calibration_temperature" not in config


def test_calibration_is_part_of_a_runs_identity(tmp_path: Path) -> None:
    settings = inputs(tmp_path)
    one, two = (
        Digests().of_run(hs.FitConfig.build({**settings, "calibrate": c})) for c in (False, True)
    )
    assert one != two
