"""Labels in one spelling each, and classes as indices, whatever type the file gave them.

The same label may come as ``1`` from JSON, as ``1.0`` from a column with gaps and as ``"1"`` from
CSV. Each value therefore has one spelling: whole numbers without a point, truth values as
``True`` and ``False``, text without the space around it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data._faults import no_column, row_numbers, some
from headstart.data.tables.classnames import class_names, read_named
from headstart.errors import DataError, HeadstartError, did_you_mean, raise_all
from headstart.tasks.spec import TaskSpec
from headstart.untrusted import quoted

Labels = npt.NDArray[Any]
"""Those of some rows, in the form of their kind of target: (n,) or (n, labels)."""
Classes = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

MANY = 20
"""Distinct values above which labels are looked at with suspicion."""

_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_SIGNED = re.compile(r"[+-]?\d+")
_NUMBERED = re.compile(r"LABEL_\d+")


class LabelReader(Protocol):
    """Reads the labels of a table: a kind of target."""

    def read(self, frame: pd.DataFrame, task: TaskSpec, *, where: str) -> Labels:
        """Return the label of each row; ``where`` says in messages which rows they are."""


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
        spelled = [spelling(name) for name in self.names]
        counts = Counter(spelled)
        alike = [n for n, word in zip(self.names, spelled, strict=True) if counts[word] > 1]
        if alike or None in counts:
            found = f"{some(map(repr, alike))}, which are read alike" if alike else "an empty name"
            fix = "Rename the class where the rows come from."
            raise DataError("a name of its own for each class", found, fix)

    @classmethod
    def infer(cls, values: Iterable[Any], *, where: str = "the training rows") -> LabelMap:
        """Make the map from the labels of the training rows.

        Names are in order: numbers by value, everything else by alphabet. Missing labels are passed
        over if there are classes without them: ``encode`` tells them. Raises ``DataError`` if all
        labels are the same or missing, or they look like no classes.
        """
        codes, names = coded(values)
        missing = codes < 0
        if "-1" in names and _minus_one_is_none(names, names):
            missing |= codes == names.index("-1")
            names = [name for name in names if name != "-1"]
        labelled = int((~missing).sum())
        faults: list[HeadstartError] = list(_class_faults(names, labelled, where))
        if missing.any() and (faults or not names):
            faults.insert(0, missing_labels(missing, where))
        raise_all(faults)
        return cls(in_order(names))

    def encode(
        self,
        values: Iterable[Any],
        *,
        where: str = "the rows",
        aliases: Mapping[str, int] | None = None,
    ) -> Classes:
        """Turn labels into class indices, (n,).

        ``aliases`` are further spellings and the class index of each, see ``index_aliases``. Raises
        ``DataError`` if labels are missing or unknown; every unknown one is named with its count.
        """
        known = dict(aliases or {})
        known.update((spelling(name) or name, index) for index, name in enumerate(self.names))
        codes, names = coded(values)
        table = np.array([known.get(name, -1) for name in names] + [-1], np.int64)
        # The last entry of the table, at -1, is for the values that are missing.
        indices: Classes = table[codes]
        missing = codes < 0
        if "-1" not in known and "-1" in names:
            missing |= codes == names.index("-1")
        faults = [missing_labels(missing, where)] if missing.any() else []
        if (unknown := (indices < 0) & ~missing).any():
            faults.append(_unknown_labels(codes, names, unknown, self.names, where))
        raise_all(faults)
        return indices

    @property
    def numbered(self) -> bool:
        """Whether the classes have no names but those that transformers makes of numbers."""
        return all(_NUMBERED.fullmatch(name) for name in self.names)


def index_aliases(names: tuple[str, ...]) -> dict[str, int]:
    """Return the spellings by which a class of declared order may be called beside its name.

    Class indices by their digits, and for two classes by ``False`` and ``True``; none if the names
    themselves are whole numbers, since ``1`` would then be ambiguous.
    """
    if any(_SIGNED.fullmatch(name) for name in names):
        return {}
    truth = {"False": 0, "True": 1} if len(names) == 2 else {}
    return {**truth, **{str(index): index for index in range(len(names))}}


def label_column(
    frame: pd.DataFrame, column: str, *, where: str, named: bool = True
) -> pd.Series[Any]:
    """Return the labels: those of ``datasets`` by their names, all others as they stand there.

    The column is (n,), missing where ``datasets`` has -1. Without ``named`` its integers stay.
    Raises ``DataError`` if there is no such column; the message suggests near names.
    """
    if column not in frame.columns:
        raise no_column("label", column, frame.columns, where)
    if class_names(frame, column) is None:
        return frame[column]
    if named:
        return read_named(frame, column)
    cells = frame[column].astype(object)
    return cells.where(cells != -1, None)


def missing_cells(values: Iterable[Any]) -> npt.NDArray[np.bool_]:
    """Return a mask, (n,), of the cells that are empty."""
    return coded(values)[0] < 0


def without_class(values: Iterable[Any], names: tuple[str, ...] | None) -> npt.NDArray[np.bool_]:
    """Return a mask, (n,), of the rows without class: an empty cell, or -1 that is no class."""
    codes, found = coded(values)
    missing = codes < 0
    known = names if names is not None else found
    if "-1" in found and _minus_one_is_none(known, found):
        missing |= codes == found.index("-1")
    return missing


def _minus_one_is_none(known: Sequence[str], found: Sequence[str]) -> bool:
    """Return whether -1 says that a class is not known: data sets number theirs from 0."""
    if "-1" not in known:
        return True
    numbered = all(_SIGNED.fullmatch(name) for name in found)
    return known is found and numbered and ("0" in found or len(found) == 1)


def coded(values: Iterable[Any]) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Number the different labels, (n,): the place of each one's spelling, and the spellings.

    A missing label has -1. Raises ``DataError`` if a cell holds several values, or truth values
    stand among numbers.
    """
    cells = pd.Series(values if isinstance(values, pd.Series) else list(values), dtype=object)
    _refuse_truth_among_numbers(cells)
    try:
        codes, uniques = pd.factorize(cells)
    except TypeError:
        raise DataError(
            "one value in every label cell",
            f"a {next(type(c).__name__ for c in cells if c.__hash__ is None)}",
            "Write one label for each row, or give --target multilabel for several.",
        ) from None
    places: dict[str, int] = {}
    spellings = [spelling(value) for value in uniques]
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


def spelling(value: Any) -> str | None:
    """Return a label's one spelling; ``None`` if the cell is empty."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float | np.floating):
        number = float(value)
        whole = number.is_integer()
        return None if math.isnan(number) else str(int(number)) if whole else repr(number)
    told = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = told.strip()
    if text.casefold() in {"true", "false"}:
        return text.capitalize()
    whole_text = _WHOLE.fullmatch(text)
    return (whole_text[1] if whole_text else text) or None


def to_number(value: Any) -> float:
    """Return a cell as a number; not-a-number if it is none, or a truth value."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, str) and "_" in value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Sort labels: numbers by value, everything else by alphabet."""
    numbers = {name: to_number(name) for name in names}
    if all(math.isfinite(number) for number in numbers.values()):
        return tuple(sorted(names, key=lambda name: (numbers[name], name)))
    return tuple(sorted(names))


def too_many(names: list[str], rows: int) -> bool:
    """Return whether so many different labels look like no classes."""
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
    elif too_many(names, rows):
        found = f"{len(names)} different ones in {rows} rows: {some(map(quoted, names))}"
        fix = "Check which column holds the labels"
        fix += "; for numbers, use --target number." if numeric else "."
        yield DataError(f"labels that repeat in {where}", found, fix)


def missing_labels(which: npt.NDArray[np.bool_], where: str) -> DataError:
    """Make the error for rows without a label."""
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
    if mark := _joined_by(strange, known):
        fix = f"If rows have several labels, add --label-separator '{mark}'. {fix}"
    expected = f"the labels {some(map(quoted, known))} in {where}"
    return DataError(expected, some(counted), fix)


def _joined_by(strange: Sequence[str], known: Sequence[str]) -> str | None:
    """Return what joins parts of known labels to those that are not known, if anything does."""
    for mark in ";|,":
        parts = {part.strip() for name in known for part in name.split(mark)}
        if any(mark in name and {p.strip() for p in name.split(mark)} <= parts for name in strange):
            return mark
    return None
