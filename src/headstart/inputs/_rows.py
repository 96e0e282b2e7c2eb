"""A table and a task to rows: inputs and labels, checked."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from headstart.data.labels import LabelReader
from headstart.data.rows import Rows, column_faults
from headstart.data.tables.classnames import with_names
from headstart.errors import gathering, raise_all
from headstart.inputs import INPUTS
from headstart.tasks.spec import TaskSpec


def build_rows(
    frame: pd.DataFrame,
    task: TaskSpec,
    reader: LabelReader | None,
    *,
    where: str,
    keep_empty: bool = False,
) -> Rows:
    """Make rows of a table.

    Labels need not be there without a ``reader``. ``where`` is what messages call the rows: ``the
    training rows``. With ``keep_empty`` a missing text is an empty one, but a fault all the same
    where a target is looked for in it. Raises ``HeadstartError`` for all faults together: missing
    columns; empty texts, targets that are not in their text, values without a replacement, faulty
    labels, with row numbers.
    """
    faults = column_faults(frame, task, where=where, need_labels=reader is not None)
    raise_all(faults)
    frame, kind = with_names(frame, task.columns), INPUTS.get(task.shape)
    answers, rows = None, Rows([])
    with gathering(faults):
        rows = kind.read(frame, task, where=where, keep_empty=keep_empty)
    with gathering(faults):
        answers = reader.read(frame, task, where=where) if reader else None
    raise_all(faults)
    return replace(rows, labels=answers)
