"""Labels to class indices or numbers, whatever type the file gave them.

The same label may come as ``1`` from JSON, as ``1.0`` from a column with gaps and as ``"1"`` from
CSV. Each value therefore has one spelling: whole numbers without a point, truth values as
``True`` and ``False``, text without the space around it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import no_column, row_numbers, some
from headstart.data.classnames import class_names, read_named
from headstart.errors import DataError, HeadstartError, did_you_mean, raise_all
from headstart.tasks.spec import TaskSpec
from headstart.untrusted import quoted

Classes = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

MANY = 20
"""Distinct values above which labels are looked at with suspicion."""

_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_SIGNED = re.compile(r"[+-]?\d+")
_NUMBERED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class LabelMap:
    """Class names in the order of the logits.

    Args:
        names: The names; a name's place is its class index.

    Raises:
        DataError: If a name is empty, or two are read alike.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        spelled = [_spelling(name) for name in self.names]
        alike = [n for n, word in zip(self.names, spelled, strict=True) if spelled.count(word) > 1]
        if alike or None in spelled:
            found = f"{some(map(repr, alike))}, which are read alike" if alike else "an empty name"
            fix = "Rename the class where the rows come from."
            raise DataError("a name of its own for each class", found, fix)

    @classmethod
    def infer(cls, values: Iterable[Any], *, where: str = "the training rows") -> LabelMap:
        """Take the classes from the labels of the training rows.

        Missing labels are passed over if there are classes without them: ``encode`` tells them.

        Args:
            values: Labels, (n,): text, whole numbers or truth values.
            where: Which rows, for messages.

        Returns:
            Names in order: numbers by value, everything else by alphabet.

        Raises:
            DataError: If all labels are the same or missing, or they look like no classes.
        """
        codes, names = _coded(values)
        missing = codes < 0
        if "-1" in names and _minus_one_is_none(names, names):
            missing |= codes == names.index("-1")
            names = [name for name in names if name != "-1"]
        faults: list[HeadstartError] = list(_class_faults(names, len(codes), where))
        if missing.any() and (faults or not names):
            faults.insert(0, _missing(missing, where))
        raise_all(faults)
        return cls(_in_order(names))

    def encode(
        self,
        values: Iterable[Any],
        *,
        where: str = "the rows",
        aliases: Mapping[str, int] | None = None,
    ) -> Classes:
        """Turn labels into class indices.

        Args:
            values: Labels, (n,).
            where: Which rows, for messages.
            aliases: Further spellings and the class index of each, see ``index_aliases``.

        Returns:
            Class indices, (n,).

        Raises:
            DataError: If labels are missing or unknown; every unknown one is named with its count.
        """
        known = dict(aliases or {})
        known.update((_spelling(name) or name, index) for index, name in enumerate(self.names))
        codes, names = _coded(values)
        table = np.array([known.get(name, -1) for name in names] + [-1], np.int64)
        # The last entry of the table, at -1, is for the values that are missing.
        indices: Classes = table[codes]
        missing = codes < 0
        if "-1" not in known and "-1" in names:
            missing |= codes == names.index("-1")
        faults = [_missing(missing, where)] if missing.any() else []
        if (unknown := (indices < 0) & ~missing).any():
            faults.append(_unknown_labels(codes, names, unknown, self.names, where))
        raise_all(faults)
        return indices

    @property
    def numbered(self) -> bool:
        """Whether the classes have no names but those that transformers makes of numbers."""
        return all(_NUMBERED.fullmatch(name) for name in self.names)

    @property
    def id2label(self) -> dict[int, str]:
        """Names by class index, as in a model's config."""
        return dict(enumerate(self.names))

    @property
    def label2id(self) -> dict[str, int]:
        """Class indices by name, as in a model's config."""
        return {name: index for index, name in enumerate(self.names)}


def index_aliases(names: tuple[str, ...]) -> dict[str, int]:
    """Return the spellings by which a class of declared order may be called beside its name.

    Args:
        names: Class names in order.

    Returns:
        Class indices by their digits, and for two classes by ``False`` and ``True``; none if the
        names themselves are whole numbers, since ``1`` would then be ambiguous.
    """
    if any(_SIGNED.fullmatch(name) for name in names):
        return {}
    truth = {"False": 0, "True": 1} if len(names) == 2 else {}
    return {**truth, **{str(index): index for index in range(len(names))}}


def label_column(
    frame: pd.DataFrame, task: TaskSpec, *, where: str, named: bool = True
) -> pd.Series[Any]:
    """Return the labels: those of ``datasets`` by their names, all others as they stand there.

    Args:
        frame: The rows.
        task: The task, which names the column. For a number the integers stay, unless the names
            of the classes are numbers all of them.
        where: Which rows, for messages.
        named: Whether the integers of ``datasets`` are replaced by the names of their classes.

    Returns:
        The column, (n,); missing where ``datasets`` has -1.

    Raises:
        DataError: If there is no such column; the message suggests near names.
    """
    if task.label not in frame.columns:
        raise no_column("label", task.label, frame.columns, where)
    names = class_names(frame, task.label)
    if names is None:
        return frame[task.label]
    if task.target == "number":
        named = all(math.isfinite(to_number(name)) for name in names)
    if named:
        return read_named(frame, task.label)
    cells = frame[task.label].astype(object)
    return cells.where(cells != -1, None)


def unlabelled(
    values: Iterable[Any], task: TaskSpec, names: tuple[str, ...] | None
) -> npt.NDArray[np.bool_]:
    """Tell which rows have no label.

    Args:
        values: Labels, (n,).
        task: The task; -1 is a label like others where it is a number.
        names: The classes, where they are known.

    Returns:
        A mask, (n,).
    """
    codes, found = _coded(values)
    missing = codes < 0
    known = names if names is not None else found
    if task.target == "classes" and "-1" in found and _minus_one_is_none(known, found):
        missing |= codes == found.index("-1")
    return missing


def _minus_one_is_none(known: Sequence[str], found: Sequence[str]) -> bool:
    """Tell whether -1 says that a class is not known: data sets number theirs from 0."""
    if "-1" not in known:
        return True
    numbered = all(_SIGNED.fullmatch(name) for name in found)
    return known is found and numbered and ("0" in found or len(found) == 1)


def guess_target(values: Iterable[Any]) -> Literal["classes", "number"]:
    """Tell whether labels are classes or numbers: decimal fractions are numbers.

    A column of many fractions stays one of numbers if a few of its cells are none.

    Args:
        values: Labels, (n,).

    Returns:
        ``classes`` or ``number``.

    Raises:
        DataError: If the labels are so many different whole numbers that they may be either.
    """
    codes, names = _coded(values)
    numbers = [number for name in names if math.isfinite(number := to_number(name))]
    slips = len(names) - len(numbers)
    if not numbers or (slips and (len(numbers) <= MANY or slips > len(numbers) / 2)):
        return "classes"
    if not all(number.is_integer() for number in numbers):
        return "number"
    if slips:
        return "classes"
    if _too_many(names, len(codes)):
        raise DataError(
            "labels that are clearly classes or clearly numbers",
            f"{len(names)} different whole numbers in {len(codes)} rows",
            "Say which: --target number or --target classes.",
        )
    return "classes"


def read_numbers(values: Iterable[Any], *, where: str = "the rows") -> Numbers:
    """Turn labels into numbers.

    Args:
        values: Labels, (n,): numbers, or text that spells them.
        where: Which rows, for messages.

    Returns:
        Numbers, (n,).

    Raises:
        DataError: If labels are missing or are no finite numbers.
    """
    cells = list(values)
    numbers = np.array([to_number(cell) for cell in cells], np.float64)
    wrong = ~np.isfinite(numbers)
    missing = np.zeros(len(cells), np.bool_)
    missing[wrong] = [_spelling(cells[place]) is None for place in np.flatnonzero(wrong)]
    faults = [_missing(missing, where)] if missing.any() else []
    if (others := wrong & ~missing).any():
        texts = dict.fromkeys(repr(cells[place]) for place in np.flatnonzero(others))
        comma = any(_DECIMAL_COMMA.fullmatch(str(cells[i]).strip()) for i in np.flatnonzero(others))
        fix = "Write a point instead of the decimal comma. " if comma else ""
        fix += "Correct these cells; a model of classes is trained with --target classes."
        found = f"{some(texts)} in {row_numbers(others)} of {where}"
        faults.append(DataError("a number in every label cell", found, fix))
    raise_all(faults)
    return numbers


def _coded(values: Iterable[Any]) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Return for each value the place of its spelling, -1 if missing, and the spellings."""
    cells = pd.Series(values if isinstance(values, pd.Series) else list(values), dtype=object)
    _refuse_truth_among_numbers(cells)
    try:
        codes, uniques = pd.factorize(cells)
    except TypeError:
        raise DataError(
            "one value in every label cell",
            f"a {next(type(c).__name__ for c in cells if isinstance(c, list | dict | set))}",
            "Write one label for each row.",
        ) from None
    places: dict[str, int] = {}
    spellings = [_spelling(value) for value in uniques]
    merged = [-1 if s is None else places.setdefault(s, len(places)) for s in spellings]
    return np.array([*merged, -1], np.intp)[codes], list(places)


def _refuse_truth_among_numbers(cells: pd.Series[Any]) -> None:
    kinds = cells.map(type)
    truth = kinds.isin((bool, np.bool_)).to_numpy()
    if not truth.any():
        return
    number = np.array([isinstance(c, Real | np.number) for c in cells]) & ~truth
    number &= cells.notna().to_numpy()
    if number.any():
        raise DataError(
            "labels that are truth values throughout, or numbers throughout",
            f"truth values in {row_numbers(truth)}, numbers in {row_numbers(number)}",
            "Write them in one way, for example true and false, or 1 and 0.",
        )


def _spelling(value: Any) -> str | None:
    """Return a label's one spelling; ``None`` if the cell is empty."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float | np.floating):
        number = float(value)
        whole = number.is_integer()
        return None if math.isnan(number) else str(int(number)) if whole else repr(number)
    text = str(value).strip()
    if text.casefold() in {"true", "false"}:
        return text.capitalize()
    whole_text = _WHOLE.fullmatch(text)
    return (whole_text[1] if whole_text else text) or None


def to_number(value: Any) -> float:
    """Return a cell as a number.

    Args:
        value: A cell of any type.

    Returns:
        The number; not-a-number if it is none, or a truth value.
    """
    if isinstance(value, bool | np.bool_) or (isinstance(value, str) and "_" in value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _in_order(names: list[str]) -> tuple[str, ...]:
    numbers = {name: to_number(name) for name in names}
    if all(math.isfinite(number) for number in numbers.values()):
        return tuple(sorted(names, key=lambda name: (numbers[name], name)))
    return tuple(sorted(names))


def _too_many(names: list[str], rows: int) -> bool:
    return len(names) > MANY and len(names) > rows / 2


def _class_faults(names: list[str], rows: int, where: str) -> Iterator[DataError]:
    if len(names) == 1:
        found = f"only {quoted(names[0])} in {rows} rows of {where}"
        fix = "Check the label column, or add rows of another class."
        yield DataError("at least two classes", found, fix)
    fractions = [name for name in names if not to_number(name).is_integer()]
    numeric = all(math.isfinite(to_number(name)) for name in names)
    if numeric and len(fractions) > MANY:
        found = f"{len(names)} different numbers ({some(fractions)}) in {where}"
        yield DataError("classes as labels", found, "For numbers, use --target number.")
    elif _too_many(names, rows):
        found = f"{len(names)} different ones in {rows} rows: {some(map(quoted, names))}"
        fix = "Check which column holds the labels"
        fix += "; for numbers, use --target number." if numeric else "."
        yield DataError(f"labels that repeat in {where}", found, fix)


def _missing(which: npt.NDArray[np.bool_], where: str) -> DataError:
    return DataError(
        f"a label in every row of {where}",
        f"none (an empty cell, or -1 beside other classes) in {row_numbers(which)}",
        "Add the labels, or leave these rows out by --missing-label drop; a class of its own is "
        "better called by a word.",
    )


def _unknown_labels(
    codes: npt.NDArray[np.intp],
    names: list[str],
    unknown: npt.NDArray[np.bool_],
    known: tuple[str, ...],
    where: str,
) -> DataError:
    strange = [names[code] for code in dict.fromkeys(codes[unknown].tolist())]
    counted = (
        f"{quoted(n)} in {row_numbers(unknown & (codes == names.index(n)))}" for n in strange
    )
    fix = "Correct these labels or remove the rows; a model knows the labels of its training rows."
    if all(math.isfinite(n) and not n.is_integer() for n in map(to_number, strange)):
        fix = "A model of numbers is trained with --target number."
    elif (hint := did_you_mean(strange[0], known)).startswith("Did"):
        fix = f"{hint} {fix}"
    expected = f"the labels {some(map(quoted, known))} in {where}"
    return DataError(expected, some(counted), fix)
