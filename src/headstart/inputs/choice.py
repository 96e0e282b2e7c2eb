"""A text with candidates, one of which is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from headstart.data.rows import Rows, TextPair
from headstart.errors import ConfigError, DataError
from headstart.inputs.text.text import TextInput
from headstart.tasks.spec import TaskSpec


class Choice(TextInput):
    """A text with candidates, one of which is chosen."""

    name = "choice"
    model = "choice"
    noun = "candidates to choose from"
    advice = "Give a task file with choices as --task; `headstart tasks --help` says what it holds."
    usage = """```python
from transformers import AutoModelForMultipleChoice
model = AutoModelForMultipleChoice.from_pretrained("{folder}")
```"""

    @classmethod
    def read(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool) -> Rows:
        """Read premises and candidates; see ``InputKind.read``."""
        if task.span_use == "vectors":
            fix = "Use span_use: mark, which works with every head."
            raise ConfigError("span vectors in one text or a pair", "shape choice", fix)
        return super().read(frame, task, where=where, keep_empty=keep_empty)

    @classmethod
    def combine(cls, task: TaskSpec, texts: Mapping[str, list[str]]) -> list[tuple[TextPair, ...]]:
        """Put the texts of columns together to rows."""
        columns = [texts[name] for name in task.text]
        firsts = map(" ".join, zip(*columns, strict=True))
        seconds = zip(*(texts[name] for name in task.choices), strict=True)
        return [tuple((a, b) for b in several) for a, several in zip(firsts, seconds, strict=True)]

    @classmethod
    def table(cls, values: Any, task: TaskSpec | None) -> tuple[pd.DataFrame, TaskSpec]:
        """Refuse plain texts: a row has columns for its candidates."""
        raise DataError(
            "rows with all columns that the model reads: candidates, or target spans",
            "plain texts",
            "Use predict_frame with a data frame.",
        )

    @classmethod
    def answers(cls, task: TaskSpec | None, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the columns of the candidates."""
        return task.choices if task else ()


INPUT = Choice
