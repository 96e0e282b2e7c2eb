"""Who takes part: lines of headstart, and what a user would otherwise take."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _sets import Drawn

MAX_LENGTH = 128


@dataclass(frozen=True)
class Contestant:
    """One way to a classifier.

    ``kind`` is the function that trains it; ``settings`` what it is told, the key of its results.
    """

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)


def line(strategy: str | None = None, **settings: Any) -> Contestant:
    """Return headstart with a strategy line; its default if there is none."""
    given = {"strategy": strategy} if strategy else {}
    return Contestant("headstart", {**given, **settings})


def default() -> Contestant:
    """Return headstart as it comes; what that means is part of the key of its results."""
    from headstart.steps.few_rows import FEW
    from headstart.strategies.builtin import ALIASES
    from headstart.strategies.presets import fine_tuning_rate, get_preset
    from headstart.targets import TARGETS
    from headstart.techniques.contrast import LEAST

    rates = [
        fine_tuning_rate(size, solved=solved, still=not solved)
        for size in (10**7, 10**8)
        for solved in (True, False)
    ]
    lines = [ALIASES[name].line for name in ("default", "few")]
    told = (
        f"{lines} {FEW} {LEAST} {TARGETS.get('classes').strengths} {get_preset('default')} {rates}"
    )
    return line("default", means=hashlib.sha256(told.encode()).hexdigest()[:12])


RIVALS = {
    "default": default(),
    "ft": line("full(epochs=6)", head_type="native"),
    "ft20": line("full(epochs=20)", head_type="native"),
    "lp-ft": line("head > full(epochs=6)", head_type="native"),
    "eh-ft-lora": line("lora > full(epochs=6)", head_type="native"),
    "lr": Contestant("lr"),
    "tfidf": Contestant("tfidf"),
    "ft20-pooled": line("full(epochs=20)"),
    "trainer": Contestant("trainer", {"epochs": 20, "lr": 5e-5, "batch": 32}),
    "eh-ft": line("bitfit > full", head_type="native"),
    "setfit": Contestant("setfit", {"version": "1.2"}),
}


@dataclass(frozen=True)
class Outcome:
    """What a contestant made of the rows.

    Probabilities of the judged rows are (n, classes), the classes in sorted order. Seconds are
    those of the processor, on one thread, from the call to the trained model: where other work
    goes on they tell more than those of the clock.
    """

    probabilities: np.ndarray
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)


def train(who: Contestant, model: str, text: tuple[str, ...], rows: Drawn, seed: int) -> Outcome:
    """Train a contestant and let it judge the rows.

    ``text`` are columns; ``seed`` decides the head, the order and whatever else is drawn.
    """
    return KINDS[who.kind](who.settings, model, text, rows, seed)


def _headstart(
    settings: dict[str, Any], model: str, text: tuple[str, ...], rows: Drawn, seed: int
) -> Outcome:
    from headstart.config import FitConfig
    from headstart.inputs._rows import build_rows
    from headstart.run import run_in_memory
    from headstart.steps.calibrate import final_logits
    from headstart.steps.callback import Observer

    class Last(Observer):
        """Takes the time when training is over, then predicts the rows to judge."""

        def end(self) -> dict[str, Any]:
            plan = self.plan
            seconds = time.process_time() - began
            kind = plan.splits.kind
            built = build_rows(rows.judge, plan.task, kind, where="the judged rows")
            encoded = plan.preprocessor.encode(built)
            order = np.argsort(np.array(kind.names))
            logits = final_logits(plan, encoded)[:, order]
            return {"seconds": seconds, "logits": logits}

    # A few training rows to evaluate along the way: nothing that chooses sees the judged rows.
    few = rows.train.groupby("label", sort=False).head(1).head(16)
    given = {name: value for name, value in settings.items() if name != "means"}
    config = FitConfig.build(
        {
            "max_length": MAX_LENGTH, **given, "model": model, "train": "(rows)",
            "validation": "(rows)", "text": text, "label": "label", "target": "classes",
            "seed": seed, "threads": 1, "eval_every": 10**6,
        }
    )  # fmt: skip
    began = time.process_time()
    trained = run_in_memory(
        config, frames={"train": rows.train, "validation": few}, observer=Last()
    )
    result, found = trained.result, trained.measured
    facts = {
        "line": result.strategy, "stages": [s.stage for s in result.stages],
        "steps": [s.steps for s in result.stages], "ended": [s.ended for s in result.stages],
        "adjusted_score": [s.train_adjusted_score for s in result.stages],
        "guard": len(result.guard), "precision": result.machine["precision"],
        "training_seconds": [round(s.training_seconds, 2) for s in result.stages],
    }  # fmt: skip
    return Outcome(_softmax(found["logits"]), found["seconds"], facts)


def _lr(
    settings: dict[str, Any], model: str, text: tuple[str, ...], rows: Drawn, seed: int
) -> Outcome:
    """LogisticRegression on mean-pooled features of the frozen encoder."""
    began = time.process_time()
    features = _features(model, text, rows.train)
    fitted = _cross_validated(settings, features, rows.train["label"], seed)
    seconds = time.process_time() - began
    return Outcome(fitted.predict_proba(_features(model, text, rows.judge)), seconds)


def _tfidf(
    settings: dict[str, Any], _model: str, text: tuple[str, ...], rows: Drawn, seed: int
) -> Outcome:
    from sklearn.feature_extraction.text import TfidfVectorizer

    began = time.process_time()
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    features = words.fit_transform(rows.train[list(text)].agg(" ".join, axis=1))
    fitted = _cross_validated(settings, features, rows.train["label"], seed)
    seconds = time.process_time() - began
    judged = words.transform(rows.judge[list(text)].agg(" ".join, axis=1))
    return Outcome(fitted.predict_proba(judged), seconds)


def _cross_validated(settings: dict[str, Any], features: Any, labels: Any, seed: int) -> Any:
    """Fit a logistic regression, C by cross-validation; a class's only row is never held out."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline

    del settings
    counts = pd.Series(labels).map(pd.Series(labels).value_counts()).to_numpy()
    plain = make_pipeline(LogisticRegression(max_iter=1000))
    several = np.flatnonzero(counts > 1)
    if not len(several):
        return plain.fit(features, labels)
    folds = StratifiedKFold(min(5, int(counts[several].min())), shuffle=True, random_state=seed)
    held_out = [several[part] for _, part in folds.split(several, labels.iloc[several])]
    everything = np.arange(len(counts))
    pairs = [(np.setdiff1d(everything, out), out) for out in held_out]
    grid = {"logisticregression__C": [0.1, 1.0, 10.0, 100.0]}

    def score(fitted: Any, rows: Any, gold: Any) -> float:
        return -float(log_loss(gold, fitted.predict_proba(rows), labels=fitted.classes_))

    return GridSearchCV(plain, grid, cv=pairs, scoring=score).fit(features, labels)


def _features(model: str, text: tuple[str, ...], frame: pd.DataFrame) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model)
    columns = [frame[column].astype(str).tolist() for column in text]
    order = np.argsort([sum(map(len, parts)) for parts in zip(*columns, strict=True)])
    found = np.zeros((len(frame), encoder.config.hidden_size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            parts = [[column[i] for i in rows] for column in columns]
            batch = tokenizer(
                *parts, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt"
            )
            states = encoder(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (states * mask).sum(1) / mask.sum(1)
            found[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return found


def _trainer(
    settings: dict[str, Any], model: str, text: tuple[str, ...], rows: Drawn, seed: int
) -> Outcome:
    """Hugging Face's Trainer as it comes."""
    import transformers

    began = time.process_time()
    names = sorted(set(rows.train["label"]))
    transformers.set_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=len(names)
    )

    def encoded(frame: pd.DataFrame) -> list[dict[str, Any]]:
        parts = [frame[column].astype(str).tolist() for column in text]
        ids = tokenizer(*parts, truncation=True, max_length=MAX_LENGTH)
        labels = [names.index(label) for label in frame["label"]]
        return [
            {**{key: ids[key][i] for key in ids}, "labels": label} for i, label in enumerate(labels)
        ]

    with tempfile.TemporaryDirectory() as out:
        arguments = transformers.TrainingArguments(
            out, per_device_train_batch_size=settings["batch"], per_device_eval_batch_size=64,
            num_train_epochs=settings["epochs"], learning_rate=settings["lr"], seed=seed,
            use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True,
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=network, args=arguments, train_dataset=encoded(rows.train),
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        trainer.train()
        seconds = time.process_time() - began
        logits = trainer.predict(encoded(rows.judge)).predictions
    return Outcome(_softmax(logits), seconds)


SETFIT = Path(__file__).with_name("_setfit_worker.py")


def _setfit(
    settings: dict[str, Any], model: str, text: tuple[str, ...], rows: Drawn, seed: int
) -> Outcome:
    """SetFit, in an environment of its own: its dependencies are not the project's."""
    python = Path(os.environ.get("SETFIT_PYTHON", ""))
    if not python.is_file():
        raise FileNotFoundError("SETFIT_PYTHON names no Python; see --setfit")
    with tempfile.TemporaryDirectory() as folder:
        for name, frame in (("train", rows.train), ("judge", rows.judge)):
            joined = frame[list(text)].astype(str).agg(" ".join, axis=1)
            table = pd.DataFrame({"text": joined, "label": frame["label"]})
            table.to_json(Path(folder, f"{name}.json"), orient="records")
        command = [str(python), str(SETFIT), folder, model, str(seed), str(MAX_LENGTH)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        told = json.loads(Path(folder, "found.json").read_text(encoding="utf-8"))
        return Outcome(np.load(Path(folder, "found.npy")), told["seconds"], settings)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return found


KINDS: dict[str, Callable[[dict[str, Any], str, tuple[str, ...], Drawn, int], Outcome]] = {
    "headstart": _headstart,
    "lr": _lr,
    "tfidf": _tfidf,
    "trainer": _trainer,
    "setfit": _setfit,
}
