"""Classes: what is said of rows that are all of one class."""

from __future__ import annotations

import numpy as np

from headstart.targets.classes import Classes

KIND = Classes(("bad", "good"))
TRAIN = np.array([0, 1] * 10)


def test_validation_rows_of_one_class_are_told_before_and_prove_no_collapse() -> None:
    (told,) = KIND.check(TRAIN, np.array([1, 1, 1]))
    assert told.startswith("All validation rows belong to good, so their scores cannot tell")
    assert KIND.check(TRAIN, np.array([0, 1])) == []
    good = np.tile(np.array([[0, 1]], np.float32), (3, 1))
    assert KIND.collapsed(good, np.array([1, 1, 1])) == ""
    assert KIND.collapsed(good, np.array([1, 0, 1])) == "The model predicts one class only: good."
    mixed = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    assert "no better than chance" in KIND.collapsed(mixed, np.array([0, 0, 1, 1]))
