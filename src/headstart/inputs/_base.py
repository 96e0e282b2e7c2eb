"""The contract of every kind of input: from columns of a table to what a model is given.

::

    model, heads             which ``AutoModelFor…`` reads it, and which heads it can carry
    missing, read            the cells of a table, checked
    table                    what a user gives to ``predict`` as such a table
    for_training, for_saved  the preprocessor that belongs to a model
    usage                    how a model card tells of it

A preprocessor turns rows into ``Examples``, from which batches are made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.data.examples import Examples
from headstart.data.rows import Rows
from headstart.models.backbone import SplitModel
from headstart.models.head_choice import Target
from headstart.models.kinds import ModelKind
from headstart.tasks.spec import InputShape, TaskSpec

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class InputSettings:
    """What settings or a saved model say about how rows are read.

    Args:
        source: The model: folder or hub name.
        trust_remote_code: Whether code that comes with the model may run.
        max_length: Longest input in tokens; ``None`` leaves it open.
        default_length: What is taken where nothing else is said.
        long_texts: What becomes of longer texts; ``None`` is as in training.
        window_overlap: Tokens that windows of longer texts share.
        pooling: What the head reads.
        max_seconds: Longest sound in seconds; ``None`` leaves it open.
        augment: Whether pictures that are trained on are changed at random.
    """

    source: str
    trust_remote_code: bool = False
    max_length: int | None = None
    default_length: int = 512
    long_texts: Literal["cut", "windows"] | None = None
    window_overlap: int | None = None
    pooling: str = "native"
    max_seconds: float | None = None
    augment: bool = True


class Preprocessor(ABC):
    """Turns rows into what a model is given.

    Args:
        processor: What transformers calls so: a tokenizer, an image processor, a feature extractor.
    """

    tokenizer: Any = None
    """The tokenizer of a model that reads text, else ``None``."""
    max_length: int | None = None
    """Longest input in tokens, where inputs have such a length."""
    overlap: int | None = None
    """Tokens that the windows of longer rows share; ``None`` where they are cut."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    @abstractmethod
    def encode(self, rows: Rows) -> Examples:
        """Prepare the rows of a run, whose preparation may be kept for the next run."""

    @abstractmethod
    def encode_parts(self, rows: Rows, task: TaskSpec | None) -> Iterator[Examples]:
        """Prepare rows to predict, in order, so many at a time that memory suffices."""

    def warnings(self, examples: Examples, where: str) -> list[str]:  # noqa: ARG002
        """Tell in sentences what is lost in preparation."""
        return []

    def facts(self, splits: Mapping[str, Examples]) -> dict[str, str]:  # noqa: ARG002
        """Describe the rows by split (``training``, ``validation`` and others) for the plan."""
        return {}

    def write_config(self, config: Any) -> None:  # noqa: B027
        """Write into a model's configuration what its rows were prepared by."""


class InputKind(ABC):
    """A kind of input; nothing of it is ever made, its methods are those of the class.

    ``frame`` are rows that have all columns of the ``task``, which may not be known for a saved
    model; ``where`` says which rows, for messages; ``target`` is what the model predicts.
    """

    name: ClassVar[InputShape]
    """As a task's ``shape`` calls it."""
    model: ClassVar[ModelKind]
    """Which model class reads it."""
    noun: ClassVar[str]
    """What a row gives, in messages: ``texts``."""
    advice: ClassVar[str]
    """How to name its columns to a model that knows none: a sentence."""
    windows: ClassVar[bool] = False
    """Whether rows over the longest input can be read in windows."""
    pooling: ClassVar[str] = "first"
    """What a head of headstart's own reads if nothing is said."""
    augments: ClassVar[bool] = False
    """Whether rows are changed at random while they are trained on."""
    lasts: ClassVar[bool] = False
    """Whether an input has a length in seconds."""
    sentence_vectors: ClassVar[bool] = False
    """Whether a model made for sentence vectors pools it as it does a text."""
    pipeline: ClassVar[str] = "text-classification"
    """The task of transformers' ``pipeline`` that a saved model is for."""
    usage: ClassVar[str]
    """How plain transformers uses the saved model, as code for the model card; ``{folder}`` is
    where it is."""

    @classmethod
    @abstractmethod
    def missing(cls, frame: pd.DataFrame, task: TaskSpec) -> Mask:
        """Return a mask, (n,), of the rows that have nothing in a column that is read."""

    @classmethod
    @abstractmethod
    def read(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool) -> Rows:
        """Read the inputs of a table, in its order, without labels.

        With ``keep_empty`` a missing input is an empty one, where there can be such. Raises
        ``HeadstartError`` for all faults together, with row numbers. Raises ``HeadstartError`` for
        all faults together, with row numbers.
        """

    @classmethod
    @abstractmethod
    def table(cls, values: Any, task: TaskSpec | None) -> tuple[pd.DataFrame, TaskSpec]:
        """Make a table, and the task by which it is read, of what is given to ``predict``.

        That is one input, or several. Raises ``DataError`` if it is something else than such
        inputs.
        """

    @classmethod
    @abstractmethod
    def for_training(
        cls, split: SplitModel, target: Target, settings: InputSettings
    ) -> Preprocessor:
        """Make the preprocessor of a model that is to be trained; its configuration may be changed.

        Raises ``HeadstartError`` if model and settings do not fit.
        """

    @classmethod
    @abstractmethod
    def for_saved(cls, split: SplitModel, target: Target, settings: InputSettings) -> Preprocessor:
        """Make the preprocessor of a model that was trained, as the user and its run's record say.

        Raises ``HeadstartError`` if they do not fit.
        """

    @classmethod
    def answers(cls, task: TaskSpec | None, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the answers in the order of the logits.

        They are the labels, or the columns of the candidates.
        """
        return tuple(labels)
