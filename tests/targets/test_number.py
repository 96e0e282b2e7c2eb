"""Numbers: told from classes, and read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headstart.errors import DataError, Faults
from headstart.targets.number import looks_numeric, read_numbers


@pytest.mark.parametrize(
    ("values", "target"),
    [
        ([0.5, 1.0], "number"),
        (["0.5", "1", ""], "number"),
        ([0.0, 1.0], "classes"),
        ([0, 1, 2], "classes"),
        (["1.0", "2.0"], "classes"),
        (["good", "bad"], "classes"),
        (["0.5", "good"], "classes"),
        ([True, False], "classes"),
        (["nan", "inf"], "classes"),
        ([None, ""], "classes"),
        (list(range(60)) * 3, "classes"),
    ],
)
def test_fractions_are_numbers(values: list[object], target: str) -> None:
    assert looks_numeric(values) == (target == "number")


def test_a_few_bad_cells_do_not_make_numbers_classes() -> None:
    numbers = [str(n / 10) for n in range(60)]
    assert looks_numeric([*numbers, "3,5", "nan", "inf"])
    assert not looks_numeric([*numbers[:15], "n/a"])
    assert not looks_numeric([*(str(n) for n in range(30)), *["other"] * 40])


def test_a_decimal_comma_is_pointed_out() -> None:
    with pytest.raises(DataError, match=r"'3,5' in 1 row \(2\).*decimal comma"):
        read_numbers(["1.5", "3,5"])
    with pytest.raises(DataError) as caught:
        read_numbers(["1.5", "inf"])
    assert "comma" not in str(caught.value)


def test_many_whole_numbers_may_be_either() -> None:
    with pytest.raises(DataError, match="--target number or --target classes"):
        looks_numeric(list(range(60)))


def test_numbers_are_read_from_every_type() -> None:
    assert read_numbers(["1.5", " 2 ", 3, 4.5, "-1"]).tolist() == [1.5, 2.0, 3.0, 4.5, -1.0]
    assert read_numbers(pd.Series([1, 2])).dtype == np.float64


def test_faulty_numbers_are_told_together() -> None:
    with pytest.raises(Faults) as caught:
        read_numbers([1.0, "good", "", None, "nan", "1_0", True], where="training")
    missing, wrong = caught.value.faults
    assert "2 rows (3, 4)" in str(missing)
    assert "'good', 'nan', '1_0', True in 4 rows (2, 5, 6, 7)" in str(wrong)
    assert "--target classes" in str(wrong)
