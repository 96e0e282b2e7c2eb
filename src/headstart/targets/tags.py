"""A tag for each word of a row (entities, parts of speech)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import row_numbers, some
from headstart.data.checks import FEW
from headstart.data.labels import LabelMap, Labels, in_order
from headstart.data.ragged import joined, parted, ragged, sizes
from headstart.data.rows import Rows
from headstart.data.tables.classnames import item_names
from headstart.data.tokens.words import LISTS, as_json
from headstart.errors import DataError, raise_all
from headstart.models.head_choice import ProblemType
from headstart.targets._adjusted import no_better
from headstart.targets._answers import Answers
from headstart.targets._base import Floats, Mask, Scores
from headstart.targets._spans import marked_spans, no_tags, read_tags, unknown_tags
from headstart.targets.classes import Classes
from headstart.tasks._tags import OUTSIDE, Scheme, breaks, counts, entities, scheme_of
from headstart.tasks.calibration import softmax
from headstart.tasks.metrics import DEFAULTS
from headstart.tasks.spec import Target, TaskSpec
from headstart.untrusted import quoted, shown


@dataclass(frozen=True)
class Tags(Classes):
    """A class for each word: of a row an array of their indices, of all rows an array of arrays.

    Logits are those of all words end to end; what is counted, counts words.

    Args:
        names: Tags in the order of the logits.
        scheme: How the training rows mark entities; ``None`` where they mark none, or for a saved
            model.
    """

    name: ClassVar[Target] = "tags"
    problem_type: ClassVar[ProblemType] = "token_classification"
    tag = "token-classification"
    calibrates = False
    shape = "tokens"

    scheme: Scheme | None = None

    @classmethod
    def recognises(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> bool:  # noqa: ARG003
        """Recognise lists of words beside as long lists of tags, and text beside spans."""
        if task.shape != "single" or task.label not in frame.columns:
            return False
        pairs = zip(frame[task.text[0]].tolist(), frame[task.label].tolist(), strict=True)
        first = next(((as_json(a), as_json(b)) for a, b in pairs if _some(a) and _some(b)), None)
        if first is None:
            return False
        words, tags = first
        if isinstance(words, LISTS):
            return isinstance(tags, LISTS)
        spans = isinstance(tags, LISTS) and isinstance(tags[0], dict) and "start" in tags[0]
        return bool(isinstance(words, str) and spans)

    @classmethod
    def declared(cls, frame: pd.DataFrame, task: TaskSpec) -> TaskSpec:
        """Take names that are declared; decide how text is parted, and what is measured.

        Text beside tags is words with spaces between, beside spans it is text. Where tags have no
        scheme of entities, their accuracy and macro F1 take the place of the entities' F1.
        """
        names = task.labels or item_names(frame, task.label)
        spans = marked_spans(frame, task)
        lists = any(isinstance(as_json(cell), LISTS) for cell in frame[task.text[0]].tolist())
        task = replace(task, labels=names, words="text" if spans or lists else "spaces")
        if spans or task.metrics != DEFAULTS["tags"]:
            return task
        try:
            rows = read_tags(frame, task, where="the rows")
        except DataError:  # is told when they are read
            return task
        plain = scheme_of([names] if names else rows) is None
        return replace(task, metrics=("accuracy", "macro_f1")) if plain else task

    @classmethod
    def learn(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Self:
        """Take the tags that are declared, else those of the rows, O first."""
        rows = read_tags(frame, task, where=where)
        scheme = scheme_of(rows)
        if task.labels:
            return cls(LabelMap(_ordered(task.labels)).names, scheme)
        found = {tag for row in rows for tag in row}
        if scheme == "IOB2":  # so that a longer entity than in these rows has tags
            found |= {f"I-{tag[2:]}" for tag in found if tag.startswith("B-")}
        if len(found) < 2:
            raise DataError(
                "two tags or more",
                f"{some(map(quoted, found)) or 'none'} in {len(rows)} rows of {where}",
                "Check the label column.",
            )
        return cls(LabelMap(_ordered(in_order(found))).names, scheme)

    @classmethod
    def unlabelled(
        cls,
        frame: pd.DataFrame,
        task: TaskSpec,
        names: tuple[str, ...] | None,  # noqa: ARG003
        *,
        where: str,  # noqa: ARG003
    ) -> Mask:
        """Find empty cells; an empty list is no empty cell. See ``TargetKind.unlabelled``."""
        return no_tags(frame, task)

    def read(self, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Labels:
        """Read an array of tags for each row; see ``TargetKind.read``.

        Raises ``HeadstartError`` if tags do not fit their words, are unknown, or break their
        scheme.
        """
        rows = read_tags(frame, task, where=where)
        raise_all(unknown_tags(rows, self.names, where))
        scheme = self.scheme or scheme_of(rows)
        wrong = [i for i, row in enumerate(rows) if scheme and breaks(row, scheme)]
        if scheme and wrong:
            row = rows[wrong[0]]
            place = breaks(row, scheme)[0]
            before = repr(row[place - 1]) if place else "nothing"
            raise DataError(
                f"tags that follow {scheme} in {where}",
                f"{row[place]!r} behind {before}, and others like it, in {row_numbers(wrong)}",
                _SCHEMES[scheme],
            )
        known = {name: place for place, name in enumerate(self.names)}
        return ragged([known[tag] for tag in row] for row in rows)

    def flat(self, labels: Labels) -> Labels:
        """Return the tags of all words end to end; see ``TargetKind.flat``."""
        return joined(labels) if labels.dtype == object else labels

    def tags(self, guesses: Labels, labels: Labels) -> tuple[Labels, Labels]:
        """Return sequences of names; see ``TargetKind.tags``."""
        return self._named(labels), self._named(ragged(parted(guesses, sizes(labels))))

    def _named(self, rows: Labels) -> Labels:
        found, names = np.empty(len(rows), object), np.array(self.names, object)
        for place, row in enumerate(rows):
            found[place] = names[np.asarray(row, np.int64)].tolist()
        return found

    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Group rows by the rarest of their tags; those without words are a group too."""
        totals = np.bincount(joined(labels), minlength=self.outputs)
        rarest = [min(set(row.tolist()), key=lambda tag: (totals[tag], tag), default=self.outputs)
                  for row in labels]  # fmt: skip
        return np.array(rarest, np.int64)

    def check(self, train: Labels, held_out: Labels) -> list[str]:
        """Check that words differ in their tags, and warn of rare ones; see ``TargetKind``.

        Raises ``DataError`` if all words have the same tag.
        """
        words, others = joined(train), set(joined(held_out).tolist())
        found = np.bincount(words, minlength=self.outputs).tolist()
        if sum(count > 0 for count in found) < 2:
            only = [quoted(n) for n, c in zip(self.names, found, strict=True) if c]
            there = f"only {only[0]} in {len(words)} words" if only else "no words"
            raise DataError("two tags or more in the training rows", there, "Check the columns.")
        named = list(zip(self.names, found, strict=True))
        absent = [quoted(name) for name, count in named if not count]
        rare = [f"{quoted(name)} ({count})" for name, count in named if 0 < count < FEW]
        unseen = [
            quoted(name) for i, (name, count) in enumerate(named) if count and i not in others
        ]
        numbers = [n for n in self.names if n.isdecimal()]
        told = (
            (
                len(numbers) == len(self.names),
                "The tags are numbers without names, so no entities can be told from them; "
                "name them by labels in a task file.",
            ),
            (absent, f"No training word has the tag {some(absent)}, so it cannot be learned."),
            (rare, f"Tags of fewer than {FEW} training words are hard to learn: {some(rare)}."),
            (unseen, f"No validation word has the tag {some(unseen)}; no score tells of it."),
        )
        return [sentence for items, sentence in told if items]

    def describe(self, labels: Labels) -> dict[str, str]:
        """Say how often each tag, or each type of entity, occurs; see ``TargetKind``."""
        words = joined(labels)
        rows = self._named(labels).tolist()
        scheme = scheme_of([self.names])
        if scheme is None:
            found = Counter(self.names[i] for i in words.tolist())
            what = "words with a tag"
        else:
            found = Counter(kind for row in rows for kind, _, _ in entities(row))
            what = "entities"
        told = [f"{shown(name)} {count:,}" for name, count in found.most_common(15)]
        more = ", …" if len(found) > len(told) else ""
        facts = {"words": f"{len(words):,} in {len(labels):,} rows", what: ", ".join(told) + more}
        return {"tags": ", ".join(map(shown, self.names)), **facts}

    def chance_loss(self, labels: Labels) -> float:
        """Return the entropy of the words' tags; see ``TargetKind.chance_loss``."""
        return super().chance_loss(self.flat(labels))

    def class_counts(self, labels: Labels) -> list[int]:
        """Count the words with each tag; see ``TargetKind.class_counts``."""
        return super().class_counts(self.flat(labels))

    def answers(self, logits: Floats, rows: Rows | None = None) -> Answers:
        """Return the entities of each row, and its tags; see ``TargetKind.answers``."""
        if rows is None:
            raise RuntimeError("tags are told with the words that they belong to")
        lengths = np.array([len(words) for words in rows.inputs], np.int64)
        tags = self._named(ragged(parted(self.predict(logits), lengths)))
        chances = softmax(logits).max(axis=1)
        values, at = np.empty(len(rows), object), 0
        scheme = scheme_of([self.names])
        for place, (words, own) in enumerate(zip(rows.inputs, tags, strict=True)):
            found = entities(own) if scheme else [(t, i, i + 1) for i, t in enumerate(own)]
            scores = chances[at : at + len(words)]
            at += len(words)
            values[place] = [
                {
                    "start": words.starts[first],
                    "end": words.end(end - 1),
                    "label": kind,
                    "text": words.text[words.starts[first] : words.end(end - 1)],
                    "score": float(scores[first:end].mean()),
                }
                for kind, first, end in found
            ]
        return Answers(values, {}, tags)

    def row_scores(self, logits: Floats, labels: Labels) -> Scores:
        """Return minus the wrong entities of each row, or minus its wrong words."""
        guesses = self.predict(logits)
        if scheme_of([self.names]):
            right, told, true = counts(*self.tags(guesses, labels)).T
            return np.asarray(2 * right - told - true, np.float64)
        wrong = (guesses != self.flat(labels)).astype(np.int64)
        return -np.array([part.sum() for part in parted(wrong, sizes(labels))], np.float64)

    def collapsed(self, logits: Floats, labels: Labels) -> str:
        """Say whether one tag alone is predicted, or no better than by chance."""
        if len(np.unique(words := self.flat(labels))) < 2:
            return ""
        guesses = np.unique(self.predict(logits))
        if len(guesses) == 1:
            return f"The model predicts one tag for every word: {shown(self.names[guesses[0]])}."
        return no_better(self, logits, words)

    def probability_errors(self, logits: Floats, labels: Labels) -> dict[str, float]:
        """Measure log loss, Brier score and ECE of the words' tags; see ``TargetKind``."""
        return super().probability_errors(logits, self.flat(labels))


_SCHEMES = {
    "IOB2": "An entity begins with B-: write B- at its first word.",
    "IOB1": "An entity begins with I-, with B- only right behind one of the same type.",
    "IOBES": "An entity of several words goes from B- over I- to E-, one of a single word is S-.",
}


def _ordered(names: Any) -> tuple[str, ...]:
    """Put O first, which is then what is predicted for words that the model does not see."""
    return tuple(sorted(map(str, names), key=lambda name: (name != OUTSIDE,)))


def _some(cell: Any) -> bool:
    found = as_json(cell)
    several = isinstance(found, (*LISTS, str)) and getattr(found, "ndim", 1) > 0
    return several and len(found) > 0


TARGET = Tags
