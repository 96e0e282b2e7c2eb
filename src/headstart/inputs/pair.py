"""Two texts a row, which the model reads together."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.data.rows import TextPair
from headstart.inputs.text.text import TextInput
from headstart.tasks.spec import TaskSpec


class Pair(TextInput):
    """Two texts a row, which the model reads together."""

    name = "pair"
    model = "sequence"
    noun = "pairs of texts"
    advice = "Pass --text COLUMN twice, or --task NAME."
    windows = True
    sentence_vectors = True

    @classmethod
    def combine(cls, task: TaskSpec, texts: Mapping[str, list[str]]) -> list[tuple[TextPair, ...]]:
        """Put the texts of columns together to rows: a pair for each."""
        first, second = task.text
        return [(pair,) for pair in zip(texts[first], texts[second], strict=True)]


INPUT = Pair
