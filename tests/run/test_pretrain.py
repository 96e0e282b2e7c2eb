"""Stage 1 alone, on a model and a data set of the user's own."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

import headstart as hs
import tiny
from alike import spread
from headstart.errors import ConfigError, DataError, HeadstartError, ModelError
from headstart.models.backbone import SplitModel
from headstart.tuners import TUNERS
from tiny_runs import Tensors, copies, frame, same


def own_model(labels: int = 2, family: str = "bert", **more: Any) -> Any:
    return tiny.build(family, num_labels=labels, **more)


def tokenised(rows: int = 48, family: str = "bert", **more: Any) -> list[dict[str, Any]]:
    table, tokenizer = frame(rows), tiny.tokenizer(family)
    return [
        {**tokenizer(text, **more), "label": int(label == "good")}
        for text, label in zip(table["sentence"], table["label"], strict=True)
    ]


FAST: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "head_lr": 1e-2}
NO_RATE: dict[str, dict[str, Any]] = {"head": {"lr": None}}
"""The head alone has one rate, its own."""


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any head count as one that has learned, so that a few steps will do."""
    monkeypatch.setattr("headstart.steps.stages.guard.LEARNED", -2.0)


@pytest.mark.parametrize("length", ["epochs=3", "steps=9", "share=0.5"])
def test_a_length_is_given_once(length: str) -> None:
    with pytest.raises(ConfigError, match="epochs, or a length in the line"):
        hs.pretrain_head(own_model(), tokenised(8), f"lora({length})", epochs=2)


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize(
    ("family", "tuner"), spread(itertools.product(("bert", "roberta"), TUNERS), times=1)
)
def test_only_the_head_is_trained(tuner: str, family: str) -> None:
    model, rows = own_model(family=family), tokenised(family=family)
    before, split = copies(model.state_dict()), SplitModel(model)
    frozen = next(iter(split.backbone.values()))
    frozen.requires_grad_(False)
    kept = [(type(m), m.training) for m in model.modules()]
    rate = 1e-3 if tuner in ("full", "top") else 1e-2
    rates = {"lr": rate} | NO_RATE.get(tuner, {})
    returned = hs.pretrain_head(model, rows, tuner, **FAST | rates)
    assert returned is model
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == set(split.head)
    assert before.keys() == model.state_dict().keys()
    assert [(type(m), m.training) for m in model.modules()] == kept
    trainable = {n: p.requires_grad for n, p in model.named_parameters()}
    assert [n for n, on in trainable.items() if not on] == [next(iter(split.backbone))]
    assert all(p.grad is None for p in model.parameters())


def test_a_rate_of_what_does_not_train_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Write head_lr=0\.01"):
        hs.pretrain_head(own_model(), tokenised(), "head", lr=0.01)


def test_it_says_when_nothing_was_learned_and_leaves_the_head() -> None:
    model, rows = own_model(), tokenised()
    before = copies(model.state_dict())
    with pytest.warns(UserWarning, match="did not learn") as told:
        hs.pretrain_head(model, rows, epochs=1, lr=1e-7, head_lr=1e-7)
    assert len(told) == 2
    assert all(Path(w.filename).name == "test_pretrain.py" for w in told)
    assert same(copies(model.state_dict()), before)


@pytest.mark.usefixtures("easy")
def test_a_model_in_evaluation_mode_trains_with_dropout_all_the_same() -> None:
    rows = tokenised()
    heads = []
    for training in (True, False):
        model = own_model()
        model.train(training)
        hs.pretrain_head(model, rows, **FAST)
        assert model.training == training
        heads.append(SplitModel(model).head_state())
    assert same(*heads)


@pytest.mark.usefixtures("easy")
def test_a_seed_gives_a_head() -> None:
    rows = tokenised()
    heads = [
        SplitModel(hs.pretrain_head(own_model(), rows, **FAST, seed=seed)).head_state()
        for seed in (0, 0, 1)
    ]
    assert same(heads[0], heads[1])
    assert not same(heads[0], heads[2])


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_gradient_checkpointing_of_the_callers_own_changes_nothing(family: str) -> None:
    rows, plain, own = tokenised(family=family), own_model(family=family), own_model(family=family)
    now = getattr(own, "activation_checkpointing_enable", None)  # the name since 5.24
    (now or own.gradient_checkpointing_enable)({"use_reentrant": False})
    before = [m for m in own.modules() if getattr(m, "gradient_checkpointing", False)]
    assert before
    heads = [
        SplitModel(hs.pretrain_head(model, rows, **FAST)).head_state() for model in (plain, own)
    ]
    assert same(*heads)
    assert [m for m in own.modules() if getattr(m, "gradient_checkpointing", False)] == before


@pytest.fixture
def trained(easy: None) -> Tensors:
    """What comes out for plain lists."""
    model = own_model()
    start = copies(model.state_dict())
    hs.pretrain_head(model, tokenised(), **FAST)
    assert not same(copies(model.state_dict()), start)
    return copies(model.state_dict())


def as_dataset(rows: list[dict[str, Any]]) -> Any:
    return Dataset.from_list(rows)


def as_torch(rows: list[dict[str, Any]]) -> Any:
    return Dataset.from_list(rows).with_format("torch")


def as_labels(rows: list[dict[str, Any]]) -> Any:
    return [
        {**{k: v for k, v in row.items() if k != "label"}, "labels": row["label"]} for row in rows
    ]


def as_generator(rows: list[dict[str, Any]]) -> Any:
    return (row for row in rows)


def as_booleans(rows: list[dict[str, Any]]) -> Any:
    return [row | {"label": bool(row["label"])} for row in rows]


def as_padded(rows: list[dict[str, Any]]) -> Any:
    """As ``padding="max_length"`` leaves them."""
    assert {len(row["input_ids"]) for row in rows} != {32}
    return tokenised(len(rows), padding="max_length", max_length=32)


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize(
    "form", [as_dataset, as_torch, as_labels, as_generator, as_booleans, as_padded]
)
def test_rows_may_have_many_forms(
    form: Callable[[list[dict[str, Any]]], Any], trained: Tensors
) -> None:
    other = own_model()
    hs.pretrain_head(other, form(tokenised()), **FAST)
    assert same(copies(other.state_dict()), trained)


def test_numbers_are_learned_in_their_own_units() -> None:
    rows = [
        {**row, "label": 1000.0 + 50 * (2 * row["label"] - 1) + i % 3}
        for i, row in enumerate(tokenised())
    ]
    model = own_model(labels=1)
    hs.pretrain_head(model, rows, **FAST | {"epochs": 20})
    with torch.no_grad():
        found = [float(model(input_ids=torch.tensor([r["input_ids"]])).logits) for r in rows]
    labels = [r["label"] for r in rows]
    assert np.mean(found) == pytest.approx(np.mean(labels), abs=25)
    assert np.corrcoef(found, labels)[0, 1] > 0.8


@pytest.mark.usefixtures("easy")
def test_a_pooler_that_the_checkpoint_lacks_is_part_of_the_head() -> None:
    model, rows = own_model(), tokenised()
    before = copies(model.state_dict())
    names = [n for n in before if ".pooler." in n]
    hs.pretrain_head(model, rows, new_parameters=names, **FAST)
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {*names, "classifier.weight", "classifier.bias"}


@pytest.mark.usefixtures("easy")
def test_an_interrupt_gives_the_model_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.training.loop import StageLoop

    step = StageLoop._step

    def pressed(self: StageLoop, *args: Any) -> None:
        step(self, *args)
        if self.state.step == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(StageLoop, "_step", pressed)
    # A process that was started in the background ignores Ctrl-C until it is told otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for tuner in TUNERS:
        model = own_model()
        before, shape = copies(model.state_dict()), [type(m) for m in model.modules()]
        with pytest.raises(KeyboardInterrupt):
            hs.pretrain_head(model, tokenised(), tuner, **FAST | NO_RATE.get(tuner, {}))
        assert same(copies(model.state_dict()), before)
        assert [type(m) for m in model.modules()] == shape
        assert not model.training


WRONG: list[tuple[dict[str, Any], type[HeadstartError], str]] = [
    ({"dataset": []}, DataError, "tokenised rows; found none"),
    ({"dataset": [{"text": "a", "label": 0}]}, DataError, "found row 0 with label, text"),
    ({"label_column": "stars"}, DataError, "stars"),
    ({"dataset": [*tokenised(4), {"input_ids": [0, 5, 2]}]}, DataError, "row 4 with input_ids"),
    ({"dataset": [r | {"label": 2 * r["label"]} for r in tokenised(4)]}, DataError, "found 0 to 2"),
    (
        {"dataset": [r | {"label": r["label"] - 1} for r in tokenised(4)]},
        DataError,
        "found -1, which says that it is not known",
    ),
    (
        {"dataset": [r | {"label": 0.5 + r["label"]} for r in tokenised(4)]},
        DataError,
        "num_labels=1",
    ),
    ({"dataset": [r | {"label": str(r["label"])} for r in tokenised(4)]}, DataError, "Map names"),
    ({"dataset": [r | {"label": 1} for r in tokenised(4)]}, DataError, "found 1 in every row"),
    ({"dataset": [r | {"label": [0, 1]} for r in tokenised(4)]}, DataError, "class indices"),
    ({"dataset": [r | {"input_ids": [[0, 5], [0, 6]]} for r in tokenised(4)]}, DataError, "row 0"),
    ({"dataset": [r | {"input_ids": []} for r in tokenised(4)]}, DataError, "row 0"),
    (
        {"dataset": [r | {"input_ids": [0, 5, 2]} for r in tokenised(4)]},
        DataError,
        "all of one length",
    ),
    ({"tuner": "bitfit > lora"}, ConfigError, "Name a single stage"),
    ({"tuner": "bitfitt"}, ConfigError, "Did you mean 'bitfit'"),
    ({"tuner": "lora(r=0)"}, ConfigError, "1 or more"),
    ({"tuner": "bitfit(steps=2)"}, ConfigError, "epochs, or a length in the line"),
    ({"batch_size": 0}, ConfigError, "greater than or equal to 1"),
    ({"lr": -1.0}, ConfigError, "greater than 0"),
    ({"epochs": 0}, ConfigError, "greater than 0"),
    ({"seed": "x"}, ConfigError, "valid integer"),
    ({"dataset": {"train": tokenised(4)}}, DataError, 'dataset["train"]'),
    ({"dataset": pd.DataFrame({"text": ["a"]})}, DataError, "Tokenise the rows first"),
    (
        {"dataset": [{"input_ids": [5, 5000], "label": n % 2} for n in range(4)]},
        DataError,
        "token 5000",
    ),
    (
        {"dataset": [{"input_ids": [5] * 200, "label": n % 2} for n in range(4)]},
        DataError,
        "at most 160 tokens",
    ),
    ({"model": tiny.build("bert", kind="choice")}, ModelError, "found BertForMultipleChoice"),
    ({"model": "bert"}, ModelError, "found str"),
    ({"model": tiny.build("bert").bert}, ModelError, "AutoModelForSequenceClassification"),
]


@pytest.mark.parametrize(("wrong", "kind", "told"), WRONG)
def test_wrong_input_is_told_of_and_changes_nothing(
    wrong: dict[str, Any], kind: type[HeadstartError], told: str
) -> None:
    model = own_model()
    before = copies(model.state_dict())
    given: dict[str, Any] = {"model": model, "dataset": tokenised(8), "epochs": 1} | wrong
    with pytest.raises(kind) as error:
        hs.pretrain_head(**given)
    assert told in str(error.value)
    assert same(copies(model.state_dict()), before)


@pytest.mark.usefixtures("easy")
def test_the_model_goes_on_with_the_hugging_face_trainer(tmp_path: Path) -> None:
    source = tiny.save_pretrained("bert", tmp_path / "bert")
    model: Any = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2)
    tokenizer = tiny.tokenizer()
    rows = Dataset.from_pandas(frame(16).replace({"label": {"good": 1, "bad": 0}}).infer_objects())
    rows = rows.map(lambda row: tokenizer(row["sentence"], truncation=True))

    model = hs.pretrain_head(model, rows, tuner="bitfit", **FAST)
    start = copies(model.state_dict())
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=2, report_to=[], use_cpu=True, save_strategy="no",
        per_device_train_batch_size=8, learning_rate=1e-3, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    outcome = trainer.train()
    assert outcome.global_step == 2
    assert np.isfinite(outcome.training_loss)
    moved = {n for n, t in model.state_dict().items() if not torch.equal(t, start[n])}
    assert {"classifier.weight", "bert.embeddings.word_embeddings.weight"} <= moved


@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize("tuner", ["bitfit", "head", "lora", "full"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_precision_model_comes_back_as_it_was(tuner: str, dtype: torch.dtype) -> None:
    model = own_model().to(dtype)
    before, split = copies(model.state_dict()), SplitModel(model)
    hs.pretrain_head(model, tokenised(), tuner, **FAST | {"lr": 1e-3} | NO_RATE.get(tuner, {}))
    assert {t.dtype for t in model.parameters()} == {dtype}
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == set(split.head)
