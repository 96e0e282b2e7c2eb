"""The Python interface: predictions, measurements, and stage 1 for a model of one's own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import headstart as hs
import tiny
from headstart.errors import ConfigError, DataError, HeadstartError, ModelError, RunError
from tiny_runs import frame, inputs

SHORT = "full(steps=12, lr=3e-2, head_lr=3e-2)"


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on single texts."""
    folder = tmp_path_factory.mktemp("single")
    hs.fit(**inputs(folder, strategy=SHORT, out=folder / "run"))
    return folder / "run"


def pairs(rows: int = 24) -> pd.DataFrame:
    """Make pairs of texts; they agree where their letters do."""
    table = frame(rows)
    second = np.where(np.arange(rows) % 2 == 0, "a b c", "x y z")
    same_letters = (table["label"] == "good") == (np.arange(rows) % 2 == 0)
    return pd.DataFrame(
        {"one": table["sentence"], "two": second, "same": np.where(same_letters, "yes", "no")}
    )


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on pairs of texts."""
    folder = tmp_path_factory.mktemp("paired")
    settings = inputs(folder) | {"train": pairs(), "validation": pairs(10), "text": ("one", "two")}
    hs.fit(**settings, label="same", strategy=SHORT, out=folder / "run")
    return folder / "run"


def test_a_text_is_classified(single: Path) -> None:
    classifier = hs.load(single)
    assert classifier.labels == ("bad", "good")
    found = classifier.predict(["a b c d e", "u v w x y"])
    assert [p.label for p in found] == ["good", "bad"]
    for prediction in found:
        assert list(prediction.probabilities) == ["bad", "good"]
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert max(prediction.probabilities, key=lambda k: prediction.probabilities[k]) == (
            prediction.label
        )
    assert classifier.predict("a b c d e") == classifier.predict(["a b c d e"])
    assert classifier.predict([]) == []


def test_the_order_of_texts_does_not_matter(single: Path) -> None:
    texts = frame(40, 7)["sentence"].tolist()
    forward = hs.load(single).predict(texts)
    backward = hs.load(single).predict(texts[::-1])[::-1]
    assert [p.label for p in forward] == [p.label for p in backward]
    told = [[p.probabilities["good"] for p in way] for way in (forward, backward)]
    assert told[0] == pytest.approx(told[1], abs=1e-6)


def test_pairs_are_classified(paired: Path) -> None:
    classifier = hs.load(paired)
    one, other = classifier.predict([("a b c", "a b c"), ("a b c", "u v w")])
    assert one.probabilities != other.probabilities
    assert {one.label, other.label} <= {"yes", "no"}
    table = pd.DataFrame({"one": ["a b c"], "two": ["u v w"]})
    assert classifier.predict_frame(table)["p_yes"][0] == pytest.approx(other.probabilities["yes"])


@pytest.mark.parametrize(("which", "given"), [("single", ("a", "b")), ("paired", "a b")])
def test_texts_must_be_of_the_models_shape(
    which: str, given: Any, request: pytest.FixtureRequest
) -> None:
    classifier = hs.load(request.getfixturevalue(which))
    right: Any = "a" if which == "single" else ("a", "b")
    with pytest.raises(DataError, match="at position 1"):
        classifier.predict([right, given])


def test_a_frame_keeps_rows_columns_and_index(single: Path) -> None:
    table = pd.DataFrame(
        {
            "id": [3, 1, 2],
            "sentence": ["u v w x", "a b c d e f", "b c"],
            "note": [None, "x", float("nan")],
        },
        index=pd.Index([30, 10, 10], name="key"),
    )
    before = table.copy()
    found = hs.load(single).predict_frame(table)
    pd.testing.assert_frame_equal(table, before)
    assert list(found.columns) == ["id", "sentence", "note", "prediction", "p_bad", "p_good"]
    pd.testing.assert_frame_equal(found[["id", "sentence", "note"]], before)
    one_by_one = hs.load(single).predict(table["sentence"].tolist())
    assert found["prediction"].tolist() == [p.label for p in one_by_one]
    told = [p.probabilities["good"] for p in one_by_one]
    assert found["p_good"].tolist() == pytest.approx(told, abs=1e-6)
    np.testing.assert_allclose(found["p_bad"] + found["p_good"], 1)


def test_probabilities_stand_under_their_own_labels(tmp_path: Path) -> None:
    """In the order of the model, also where the alphabet has another one."""
    plain = tiny.build("bert", num_labels=3)
    names = {0: "new", 1: "bad", 2: "Average"}
    config: Any = plain.config
    config.id2label, config.label2id = names, {name: i for i, name in names.items()}
    plain.save_pretrained(tmp_path)  # type: ignore[operator]
    tiny.tokenizer().save_pretrained(tmp_path)
    texts = ["a b c", "u v w x", "a great film"]
    classifier = hs.load(tmp_path)
    assert classifier.labels == tuple(names.values())
    with torch.no_grad():
        tokens = tiny.tokenizer()(texts, padding=True, return_tensors="pt")
        wanted = plain(**tokens).logits.softmax(1).numpy()
    assert len({*np.round(wanted[0], 3)}) == 3
    table = pd.DataFrame({"text": texts})
    found = classifier.use_columns(text=("text",)).predict_frame(table)
    assert [name for name in found if name.startswith("p_")] == [f"p_{n}" for n in names.values()]
    listed = classifier.predict(texts)
    for index, name in names.items():
        told = [p.probabilities[name] for p in listed]
        np.testing.assert_allclose(found[f"p_{name}"], wanted[:, index], atol=1e-5)
        np.testing.assert_allclose(told, wanted[:, index], atol=1e-5)
    best = [names[int(i)] for i in wanted.argmax(1)]
    assert found["prediction"].tolist() == [p.label for p in listed] == best


def test_a_frame_needs_the_columns_of_training(single: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'sentense'"):
        hs.load(single).predict_frame(pd.DataFrame({"sentense": ["a"]}))
    other = pd.DataFrame({"body": ["a b c d", "u v w x"], "answer": ["good", "bad"]})
    classifier = hs.load(single).use_columns(text=("body",), label="answer")
    assert classifier.predict_frame(other)["prediction"].tolist() == ["good", "bad"]
    assert classifier.evaluate_frame(other)["accuracy"] == 1


@pytest.mark.parametrize("which", ["single", "paired"])
def test_the_recorded_score_is_measured_again(which: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    result = hs.RunResult.read(run / "result.json")
    data = pairs(10) if which == "paired" else run.parent / "validation.csv"
    for source in (run, run / "model"):
        assert hs.evaluate(source, data) == pytest.approx(result.scores, abs=1e-6)


def test_a_plain_checkpoint_is_measured_when_it_is_told_the_columns(
    single: Path, tmp_path: Path
) -> None:
    model: Any = AutoModelForSequenceClassification.from_pretrained(single / "model")
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    data = single.parent / "validation.csv"
    assert [p.label for p in hs.load(tmp_path).predict(["a b c d e", "u v w x y"])] == [
        "good",
        "bad",
    ]
    with pytest.raises(DataError, match="--text COLUMN"):
        hs.evaluate(tmp_path, data)
    measured = hs.evaluate(tmp_path, data, text=("sentence",))
    # Nothing says in which precision it was trained, so the machine's fastest is taken.
    assert measured == pytest.approx(hs.evaluate(single, data), rel=0.02)


def test_a_backbone_alone_cannot_predict(single: Path) -> None:
    with pytest.raises(ModelError, match="a trained head"):
        hs.load(single.parent / "bert")
    with pytest.raises(ModelError):
        hs.load(single.parent / "nothing-here")


def test_many_rows_are_computed_in_parts(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = frame(20, 7)["sentence"].tolist()
    whole = hs.load(single).predict(texts)
    monkeypatch.setattr("headstart.inputs.text.longtexts.ROWS_AT_ONCE", 7)
    parts = hs.load(single).predict(texts)
    assert [p.label for p in whole] == [p.label for p in parts]


# pretrain_head


def test_columns_that_are_added_may_not_be_there(single: Path) -> None:
    table = pd.DataFrame({"sentence": ["a b"], "p_good": [1.0]})
    with pytest.raises(DataError, match="p_good") as error:
        hs.load(single).predict_frame(table)
    assert "Rename or remove" in error.value.fix


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "int"),
        ([3], "int at position 0"),
        ([None], "NoneType at position 0"),
        ([("a", "b", "c")], "str and str and str"),
        ({"text": "a"}, "dict"),
        (pd.DataFrame({"sentence": ["a"]}), "a DataFrame"),
    ],
)
def test_what_is_no_text(single: Path, given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        hs.load(single).predict(given)


def test_a_fit_takes_paths_and_data_sets_and_gives_what_load_takes(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    settings = inputs(tmp_path)
    rows = Dataset.from_pandas(frame(24), preserve_index=False)
    held_out = DatasetDict({"validation": Dataset.from_pandas(frame(10), preserve_index=False)})
    settings |= {"model": Path(settings["model"]), "train": rows, "validation": held_out}
    result = hs.fit(**settings, strategy=SHORT, out=tmp_path / "run")
    assert (result.data["train_rows"], result.data["validation_rows"]) == (24, 10)
    assert hs.load(result).predict("a b c d e")[0].label == "good"
    assert hs.evaluate(result, held_out, split="validation") == pytest.approx(
        result.scores, abs=1e-6
    )


def test_a_table_stands_for_rows_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a DataFrame as model"):
        hs.fit(**inputs(tmp_path) | {"model": frame(4)}, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="train=…"):
        hs.plan(**inputs(tmp_path) | {"train": "(data frame)"})


def test_a_choice_is_named_by_its_column(tmp_path: Path) -> None:
    table = frame(12).rename(columns={"sentence": "plot"})
    table = table.assign(end1="a b", end2="u v", label=np.where(table["label"] == "good", 0, 1))
    settings = {"train": table, "validation": table, "text": "plot", "choices": ("end1", "end2")}
    result = hs.fit(**inputs(tmp_path) | settings, strategy="full(steps=1)", out=tmp_path / "run")
    found = hs.load(result).predict_frame(table)
    assert list(found.columns[-3:]) == ["prediction", "p_end1", "p_end2"]
    likelier = np.where(found["p_end1"] > found["p_end2"], "end1", "end2")
    assert found["prediction"].tolist() == likelier.tolist()


def test_columns_may_be_numbered(tmp_path: Path) -> None:
    table = frame(24).set_axis([0, 1], axis="columns")
    settings = inputs(tmp_path) | {"train": table, "validation": None, "text": 0, "label": 1}
    result = hs.fit(**settings, strategy="full(steps=1)", out=tmp_path / "run")
    assert result.data["train_rows"] == 19
    assert hs.load(result).predict_frame(table)["prediction"].isin(["good", "bad"]).all()
    with pytest.raises(DataError, match="text column '3'"):
        hs.plan(**settings | {"text": 3})


@pytest.mark.parametrize("given", [{"sentence": ["a"] * 999}, [{"sentence": "a"}] * 999, 3])
def test_what_is_no_table_is_not_shown_whole(given: Any, tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match="a data frame or a Dataset as the data for") as error:
        hs.plan(**inputs(tmp_path) | {"train": given, "validation": given})
    assert len(str(error.value)) < 500
    assert "the data for validation" in str(error.value)


def test_a_table_has_no_splits(single: Path) -> None:
    with pytest.raises(DataError, match="no splits, and 'test' asked for"):
        hs.evaluate(single, frame(10), split="test")


def test_a_run_goes_on_by_its_folder_alone(tmp_path: Path) -> None:
    class Impatient(hs.Callback):
        def step(self, step: int, loss: float) -> None:
            if step == 5:
                signal.raise_signal(signal.SIGINT)

    settings = inputs(tmp_path) | {"train": frame(24)}
    with pytest.raises(KeyboardInterrupt):
        hs.fit(callback=Impatient(), **settings, strategy=SHORT, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="Give the same table again"):
        hs.fit(resume=True, out=tmp_path / "run")
    result = hs.fit(resume=True, out=tmp_path / "run", train=frame(24))
    assert result.stages[0].steps == 12
    whole = hs.fit(**settings, strategy=SHORT, out=tmp_path / "whole")
    assert result.last == whole.last
    with pytest.raises(RunError, match="nothing left to do"):
        hs.fit(resume=True, out=tmp_path / "run")


def test_a_final_head_belongs_to_the_model_that_was_fine_tuned(single: Path) -> None:
    head = hs.Head.from_pretrained(single / "head")
    assert head.backbone == str(single / "model")
    data = single.parent / "train.csv"
    more = {"train": data, "text": "sentence", "label": "label", "strategy": "full"}
    hs.plan(model=single / "model", head=single / "head", **more)
    with pytest.raises(ModelError, match=rf"trained on {single / 'model'} "):
        hs.plan(model=single.parent / "bert", head=single / "head", **more)
