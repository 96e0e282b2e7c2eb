"""The description of a task: columns, input shape, target and metrics, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

InputShape = Literal["single", "pair", "choice", "tokens", "image", "audio"]
Target = Literal["classes", "multilabel", "number", "tags"]


@dataclass(frozen=True)
class Span:
    """A stretch of text inside one of the text columns.

    Exactly one way of finding it is given: character offsets, an index of white-space separated
    words, or, with neither, the first occurrence of the text itself.

    Args:
        column: The text column that contains the span.
        text: Column that holds the span's own words; needed unless ``start`` and ``end`` are.
        start: Column with the offset of the span's first character.
        end: Column with the offset one past its last character.
        word_index: Column with the index of the span's first white-space separated word.
    """

    column: str
    text: str | None = None
    start: str | None = None
    end: str | None = None
    word_index: str | None = None


@dataclass(frozen=True)
class TaskSpec:
    """A task as data; adding one takes one of these and nothing else.

    Args:
        name: Unique name; also the folder's name under ``--data``.
        shape: ``single`` text, ``pair`` of texts, ``choice`` among several second texts,
            ``tokens`` of a text, ``image`` or ``audio``.
        text: Text columns: one for ``single``, two for ``pair``; for ``choice`` the columns that
            are joined by a space to the first text.
        image: Column with an image, or its path (``image`` only).
        audio: Column with sound, or its path (``audio`` only).
        words: How a cell of text is parted (``tokens`` only): ``text`` finds words and signs in it,
            in ``spaces`` words stand between spaces. Lists are words as they are.
        choices: Columns with the candidate second texts (``choice`` only).
        label: Label column.
        label_columns: Columns of 0 and 1, one a label, in place of ``label`` (``multilabel``).
        label_separator: What stands between the labels in a cell of text (``multilabel``).
        target: ``classes``, ``multilabel`` (any number of labels a row), ``number`` (regression) or
            ``tags`` (a label for each word).
        labels: Class names in the order of the integer labels; ``None`` takes them from the
            training rows.
        metrics: Names from ``headstart.tasks.metrics``; the first-named are the official ones,
            and the task's score is the mean of them all.
        spans: Targets inside the text.
        span_use: ``mark`` puts marks around the spans in the text (any head); ``vectors`` gives
            the head the summed token vectors of each span (EH-FT, appendix; needs a head of
            ours).
        values: For a column, what its raw values are replaced by before the text is built, for
            example COPA's ``{"question": {"cause": "because"}}``.
        hub: Data set on the hub as (path, configuration name).
        splits: Names of the training and validation split on the hub and in a task folder.
        paper_epochs: Total epochs of the paper's runs, of which a tenth were stage 1; ``None``
            where the paper has no such task.
        version: Raised whenever a change alters scores.
        summary: One line for ``headstart tasks``.
    """

    name: str
    shape: InputShape
    text: tuple[str, ...]
    metrics: tuple[str, ...]
    image: str | None = None
    audio: str | None = None
    words: Literal["text", "spaces"] = "text"
    choices: tuple[str, ...] = ()
    label: str = "label"
    label_columns: tuple[str, ...] = ()
    label_separator: str | None = None
    target: Target = "classes"
    labels: tuple[str, ...] | None = None
    spans: tuple[Span, ...] = ()
    span_use: Literal["mark", "vectors"] = "mark"
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hub: tuple[str, str | None] | None = None
    splits: tuple[str, str] = ("train", "validation")
    paper_epochs: int | None = None
    version: int = 1
    summary: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every input column the task reads, without the label, each once, in order."""
        spans = (c for s in self.spans for c in (s.text, s.start, s.end, s.word_index) if c)
        media = filter(None, (self.image, self.audio))
        return tuple(dict.fromkeys((*self.text, *media, *self.choices, *spans)))

    @property
    def answers(self) -> tuple[str, ...]:
        """The label column, or the columns of the labels."""
        return self.label_columns or (self.label,)


TASK_KEYS = {
    "name": "what to call the task; else the file's name",
    "shape": "single (a text), pair, choice (multiple choice), tokens (words, with target tags), "
    "image or audio; else what the columns and the target allow",
    "text": "the text column, or a list of two for a pair; must be there without image or audio",
    "image": "the column with images or their paths, in place of text",
    "audio": "the column with sound or its paths, in place of text",
    "words": "how a text is parted, for target tags: text (words and signs are found in it) or "
    "spaces (words stand between spaces); else text",
    "choices": "a list of the columns with the candidates of a multiple choice",
    "label": "the label column; else label",
    "label_columns": "a list of columns of 0 and 1, one a label, for several labels a row",
    "label_separator": "what stands between the labels in a cell, for several labels a row",
    "target": "classes, multilabel (several labels a row), number or tags (a label a word); else "
    "classes",
    "labels": "a list of the class names in order; else those in the training rows",
    "metrics": "a list of metrics, whose mean is the score; else accuracy, micro_f1 and macro_f1, "
    "pearson and spearman, or entity_f1",
    "spans": "a list of targets in the text, each with the keys of a span",
    "span_use": "mark (the text is marked) or vectors (for a head of headstart); else mark",
    "values": "words for the raw values of a column: {column: {value: word}}",
    "hub": "a data set on the hub: path or path:configuration",
    "splits": "a list of two, the names of training and validation split on the hub and in --data",
    "paper_epochs": "the epochs of all stages together under --preset paper, a whole number",
    "version": "a whole number, raised when a change alters scores; else 1",
    "summary": "what the task asks, in one line",
}
"""What a task file may hold: its keys, and what each accepts; behind the semicolon its default."""

SPAN_KEYS = {
    "column": "the text column to look in; must be there",
    "text": "the column with the target's words; not needed beside start and end",
    "start": "the column with the place of the target's first character, counted from 0",
    "end": "the column with the place behind its last character",
    "word_index": "the column with the number of its first word, counted from 0; beside text",
}
"""The same for each span in it."""
