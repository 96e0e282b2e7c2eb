from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.data.checks import (
    check_training,
    class_balance,
    duplicate_rows,
    length_warnings,
)
from headstart.data.labels import LabelMap
from headstart.data.rows import Rows
from headstart.data.tokens.encode import encode
from headstart.errors import DataError

LABELS = LabelMap(("no", "maybe", "yes"))


def test_duplicates_are_counted_whatever_their_labels() -> None:
    train = Rows([(("a", "b"),), (("c", "d"),)], np.array([0, 1]))
    validation = Rows([(("a", "b"),), (("b", "a"),), (("a", "b"),)], np.array([1, 0, 0]))
    assert duplicate_rows(train, validation) == 2
    assert duplicate_rows(validation, train) == 1


def test_another_target_in_the_same_text_is_no_duplicate() -> None:
    text = [(("a b", None),)]
    assert duplicate_rows(Rows(text, spans=[((0, 0, 1),)]), Rows(text, spans=[((0, 2, 3),)])) == 0
    assert duplicate_rows(Rows(text, spans=[((0, 0, 1),)]), Rows(text, spans=[((0, 0, 1),)])) == 1


def test_class_balance() -> None:
    assert class_balance(np.array([0, 2, 2]), LABELS) == {"no": 1, "maybe": 0, "yes": 2}


def test_training_needs_two_classes() -> None:
    with pytest.raises(DataError, match="only 'yes' in 2 rows"):
        check_training(np.array([2, 2]), LABELS)


def test_a_class_without_rows_is_warned_of() -> None:
    assert check_training(np.repeat([0, 1, 2], 5), LABELS) == []
    (warning,) = check_training(np.repeat([0, 2], 5), LABELS)
    assert "'maybe'" in warning


def test_rare_classes_and_odd_names_are_warned_of() -> None:
    classes = np.repeat([0, 1, 2], [5, 4, 9])
    (warning,) = check_training(classes, LABELS)
    assert "fewer than 5" in warning
    assert warning.endswith("'maybe' (4).")
    (warning,) = check_training(np.repeat([0, 1, 2], 5), LabelMap(("No", "no", "yes")))
    assert "case alone" in warning
    assert "'No', 'no'" in warning
    (warning,) = check_training(np.repeat([0, 1, 2], 5), LabelMap(("38", "no", "yes")))
    assert "the fewer are '38'." in warning
    names = LabelMap(("1.5", "2", "n/a"))
    (warning,) = check_training(np.repeat([0, 1, 2], 5), names)
    assert "the fewer are 'n/a'." in warning
    assert check_training(np.repeat([0, 1, 2], 5), LabelMap(("1", "2", "3"))) == []


def test_cut_rows_and_targets_are_warned_of(tokenizer: Any) -> None:
    rows = Rows([(("a b c d", None),), (("a", None),)], spans=[((0, 6, 7),), ((0, 0, 1),)])
    assert length_warnings(encode(rows, tokenizer, 64), "training rows") == []
    cut, lost = length_warnings(encode(rows, tokenizer, 5), "training rows")
    assert "1 of 2 training rows (50%) are longer than 5 tokens" in cut
    assert "In 1 of 2 training rows a target was cut off" in lost
