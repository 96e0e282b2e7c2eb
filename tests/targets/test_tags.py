"""Tags of words: read from lists, text and spans; what does not fit is told with its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tiny_tags
from headstart.data.ragged import joined, ragged
from headstart.data.rows import Rows
from headstart.data.tables.classnames import ITEM_NAMES
from headstart.errors import HeadstartError
from headstart.inputs._rows import build_rows
from headstart.targets._base import TargetKind
from headstart.targets.tags import Tags
from headstart.tasks.metrics import DEFAULTS
from headstart.tasks.spec import TaskSpec
from headstart.tasks.userfile import from_columns

WORDS = [["Ada", "Byron", "lives"], ["in", "London"]]
TAGS = [["B-per", "I-per", "O"], ["O", "B-loc"]]
NAMES = ("O", "B-loc", "B-per", "I-loc", "I-per")


def task(text: str = "tokens", label: str = "tags", **more: Any) -> TaskSpec:
    return from_columns((text,), label, target="tags", **more)


def table(words: list[Any] = WORDS, tags: list[Any] = TAGS) -> pd.DataFrame:
    return pd.DataFrame(
        {"tokens": pd.Series(words, dtype=object), "tags": pd.Series(tags, dtype=object)}
    )


def read(frame: pd.DataFrame, own: TaskSpec | None = None) -> tuple[Rows, TargetKind]:
    own = Tags.declared(frame, own or task())
    kind = Tags.learn(frame, own, where="the rows")
    return build_rows(frame, own, kind, where="the rows"), kind


def named(rows: Rows, kind: TargetKind) -> list[list[str]]:
    assert rows.labels is not None
    return [[kind.names[i] for i in row] for row in rows.labels]


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (WORDS, TAGS),
        ([tuple(w) for w in WORDS], [np.array(t) for t in TAGS]),
        (
            ['["Ada", "Byron", "lives"]', '["in", "London"]'],
            ['["B-per", "I-per", "O"]', '["O", "B-loc"]'],
        ),
        (["Ada Byron lives", "in  London "], ["B-per I-per O", "O B-loc"]),
        (WORDS, ["B-per I-per O", "O B-loc"]),
    ],
)
def test_words_and_tags_come_as_lists_as_json_and_with_spaces(words: Any, tags: Any) -> None:
    rows, kind = read(table(words, tags))
    assert [row.words for row in rows.inputs] == [tuple(w) for w in WORDS]
    assert named(rows, kind) == TAGS
    assert kind.names == NAMES


def test_integers_have_the_names_of_the_data_set_or_of_the_task() -> None:
    frame = table(tags=[[2, 3, 0], [0, 1]])
    labels = ("O", "B-loc", "B-per", "I-per")
    assert named(*read(frame, task(labels=labels))) == TAGS
    frame.attrs[ITEM_NAMES] = {"tags": labels}
    assert named(*read(frame)) == TAGS
    shifted = ("B-per", "I-per", "O", "B-loc")  # another order: O is put first all the same
    frame = table(tags=[[0, 1, 2], [2, 3]])
    rows, kind = read(frame, task(labels=shifted))
    assert kind.names[0] == "O"
    assert named(rows, kind) == TAGS


@pytest.mark.parametrize("wrapped", [False, True])
def test_spans_of_characters_become_tags(wrapped: bool) -> None:
    spans: Any = [
        [{"start": 0, "end": 9, "label": "per"}],
        [{"start": 3, "end": 9, "label": "loc"}],
    ]
    spans = (
        [{"entities": [[s["start"], s["end"], s["label"]] for s in row]} for row in spans]
        if wrapped
        else spans
    )
    frame = table(["Ada Byron lives", "in London."], spans)
    rows, kind = read(frame)
    assert named(rows, kind) == [["B-per", "I-per", "O"], ["O", "B-loc", "O"]]
    assert rows.inputs[1].words == ("in", "London", ".")


def test_lists_and_spans_are_recognised_and_other_tables_are_not() -> None:
    open_ = from_columns(("tokens",), "tags")
    found = Tags.recognises
    assert found(table(), open_, where="the rows")
    assert found(
        table(["Ada"], [[{"start": 0, "end": 3, "label": "per"}]]), open_, where="the rows"
    )
    assert not found(table(["Ada", "Bo"], [["joy"], ["love", "joy"]]), open_, where="the rows")
    assert not found(table(["Ada", "Bo"], ["x", "y"]), open_, where="the rows")
    assert not found(table(["Ada Bo", "Bo"], ["O O", "O"]), open_, where="the rows")


def test_parts_of_speech_are_measured_word_by_word() -> None:
    frame = table(tags=[["NOUN", "NOUN", "VERB"], ["ADP", "NOUN"]])
    assert Tags.declared(frame, task()).metrics == ("accuracy", "macro_f1")
    assert Tags.declared(table(), task()).metrics == DEFAULTS["tags"]
    rows, kind = read(frame)
    told = kind.answers(np.eye(3, dtype=np.float32)[joined(rows.labels)] * 9, rows)  # type: ignore[arg-type]
    assert [span["label"] for span in told.values[0]] == ["NOUN", "NOUN", "VERB"]


FAULTS: dict[str, tuple[Any, Any, str]] = {
    "counts": (
        WORDS,
        [["B-per", "O"], ["O", "B-loc"]],
        r"1 row \(1\), the first with 3 words and 2 tags",
    ),
    "scheme": (
        WORDS,
        [["O", "I-per", "O"], ["B-per", "B-loc"]],
        r"IOB2.*'I-per' behind 'O'.*1 row \(1\)",
    ),
    "other type": (WORDS, [["B-per", "I-loc", "O"], ["B-per", "B-loc"]], r"'I-loc' behind 'B-per'"),
    "no list": (WORDS, [["B-per", "I-per", "O"], 7], r"a list of tags.*7 in 1 row \(2\)"),
    "a gap": (WORDS, [["B-per", "I-per", "O"], None], r"a label in every row.*1 row \(2\)"),
    "an empty tag": (WORDS, [["B-per", "", "O"], ["O", "B-loc"]], r"a list of tags.*1 row \(1\)"),
    "an empty word": ([["Ada", " ", "x"], ["in", "y"]], TAGS, r"an empty word in 1 row \(1\)"),
    "no words": (
        [[], ["in", "y"]],
        [[], ["O", "B-loc"]],
        r"none \(an empty list or cell\) in 1 row \(1\)",
    ),
    "no text": ([["Ada", None, "x"], ["in", "y"]], TAGS, r"a list of words.*1 row \(1\)"),
    "one tag": (WORDS, [["O"] * 3, ["O"] * 2], "two tags or more"),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_what_does_not_fit_is_told_with_its_rows(name: str) -> None:
    words, tags, wanted = FAULTS[name]
    with pytest.raises(HeadstartError, match=wanted):
        read(table(words, tags))


SPANS: dict[str, tuple[Any, str]] = {
    "outside": ({"start": 0, "end": 99, "label": "x"}, "spans inside their text"),
    "backwards": ({"start": 3, "end": 3, "label": "x"}, "spans inside their text"),
    "cut": ({"start": 1, "end": 9, "label": "x"}, "spans of whole words"),
    "blank": ({"start": 3, "end": 4, "label": "x"}, "spans with a word in them"),
    "overlap": ({"start": 4, "end": 15, "label": "x"}, "spans that do not overlap"),
    "form": ({"from": 4, "end": 15}, "spans with start, end and label"),
}


@pytest.mark.parametrize("name", list(SPANS))
def test_faulty_spans_are_told_with_their_rows(name: str) -> None:
    span, wanted = SPANS[name]
    good = {"start": 4, "end": 9, "label": "per"}
    frame = table(["Ada Byron lives", "Ada Byron lives"], [[good], [good, span]])
    with pytest.raises(HeadstartError, match=rf"{wanted}.*1 row \(2\)"):
        read(frame)


def test_a_tag_that_training_has_not_is_told() -> None:
    _, kind = read(table())
    other = table(tags=[["B-org", "I-org", "O"], ["O", "B-loc"]])
    with pytest.raises(HeadstartError, match=r"'B-org' in 1 row \(1\), 'I-org'"):
        build_rows(other, task(), kind, where="the validation rows")


def test_validation_follows_the_scheme_of_training() -> None:
    _, kind = read(table())
    other = table(tags=[["I-per", "I-per", "O"], ["O", "I-loc"]])
    with pytest.raises(HeadstartError, match=r"IOB2.*2 rows \(1, 2\)"):
        build_rows(other, task(), kind, where="the validation rows")


def test_entities_are_told_with_place_text_and_score() -> None:
    frame = tiny_tags.with_spans(4)
    rows, kind = read(frame, task("text", "entities"))
    assert rows.labels is not None
    logits = 9 * np.eye(len(kind.names), dtype=np.float32)[joined(rows.labels)]
    told = kind.answers(logits, rows)
    plain = [[{k: s[k] for k in ("start", "end", "label")} for s in row] for row in told.values]
    assert plain == frame["entities"].tolist()
    first = told.values[0][0]
    assert first["text"] == frame["text"][0][first["start"] : first["end"]]
    assert 0.99 < first["score"] < 1
    assert told.tags is not None
    assert told.tags[0][0] == "O"


def test_rows_are_compared_by_their_wrong_entities() -> None:
    kind, labels = Tags(NAMES), ragged([[2, 4, 0], [0, 1]])
    right = 9 * np.eye(5, dtype=np.float32)[joined(labels)]
    wrong = 9 * np.eye(5, dtype=np.float32)[[2, 0, 0, 0, 1]]
    assert kind.row_scores(right, labels).tolist() == [0, 0]
    assert kind.row_scores(wrong, labels).tolist() == [-2, 0]
