"""One text a row."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.data.rows import TextPair
from headstart.inputs.text.text import TextInput
from headstart.tasks.spec import TaskSpec


class Single(TextInput):
    """One text a row."""

    name = "single"
    model = "sequence"
    noun = "single texts"
    advice = "Pass --text COLUMN, or --task NAME."
    windows = True
    sentence_vectors = True

    @classmethod
    def combine(cls, task: TaskSpec, texts: Mapping[str, list[str]]) -> list[tuple[TextPair, ...]]:
        """Put the texts of columns together to rows: a pair without second text for each."""
        return [((text, None),) for text in texts[task.text[0]]]


INPUT = Single
