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
        """Prepare the rows of a run, whose preparation may be kept for the next run.

        Args:
            rows: The rows.

        Returns:
            Them as the model reads them.
        """

    @abstractmethod
    def encode_parts(self, rows: Rows, task: TaskSpec | None) -> Iterator[Examples]:
        """Prepare rows to predict, so many at a time that memory suffices.

        Args:
            rows: The rows.
            task: How they were read, if that is known.

        Returns:
            Them as the model reads them, in order.
        """

    def warnings(self, examples: Examples, where: str) -> list[str]:  # noqa: ARG002
        """Tell what is lost in preparation.

        Args:
            examples: The rows.
            where: Which rows, for messages: ``training rows``.

        Returns:
            Warnings, each a sentence.
        """
        return []

    def facts(self, splits: Mapping[str, Examples]) -> dict[str, str]:  # noqa: ARG002
        """Describe the rows for the plan.

        Args:
            splits: The rows by split: ``training``, ``validation`` and others.

        Returns:
            Facts by name.
        """
        return {}

    def write_config(self, config: Any) -> None:  # noqa: B027
        """Write into a model's configuration what its rows were prepared by.

        Args:
            config: The configuration.
        """


class InputKind(ABC):
    """A kind of input; nothing of it is ever made, its methods are those of the class."""

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
        """Tell which rows have nothing in a column that is read.

        Args:
            frame: The rows.
            task: Which columns are read.

        Returns:
            A mask, (n,).
        """

    @classmethod
    @abstractmethod
    def read(cls, frame: pd.DataFrame, task: TaskSpec, *, where: str, keep_empty: bool) -> Rows:
        """Read the inputs of a table.

        Args:
            frame: The rows, which have all columns of the task.
            task: Which columns mean what.
            where: Which rows, for messages.
            keep_empty: Whether a missing input is an empty one, where there can be such.

        Returns:
            The rows without labels, in the table's order.

        Raises:
            HeadstartError: For all faults together, with row numbers.
        """

    @classmethod
    @abstractmethod
    def table(cls, values: Any, task: TaskSpec | None) -> tuple[pd.DataFrame, TaskSpec]:
        """Make a table of what a user gives to ``predict``.

        Args:
            values: One input, or several.
            task: How the model's rows are read, if that is known.

        Returns:
            A table, and the task by which it is read.

        Raises:
            DataError: If it is something else than such inputs.
        """

    @classmethod
    @abstractmethod
    def for_training(
        cls, split: SplitModel, target: Target, settings: InputSettings
    ) -> Preprocessor:
        """Make the preprocessor of a model that is to be trained.

        Args:
            split: The model; its configuration may be changed.
            target: What it predicts.
            settings: What the user says.

        Returns:
            The preprocessor.

        Raises:
            HeadstartError: If model and settings do not fit.
        """

    @classmethod
    @abstractmethod
    def for_saved(cls, split: SplitModel, target: Target, settings: InputSettings) -> Preprocessor:
        """Make the preprocessor of a model that was trained.

        Args:
            split: The model.
            target: What it predicts.
            settings: What the user and the record of its run say.

        Returns:
            The preprocessor.

        Raises:
            HeadstartError: If they do not fit.
        """

    @classmethod
    def answers(cls, task: TaskSpec | None, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the answers in the order of the logits.

        Args:
            task: How rows are read, if that is known.
            labels: The model's labels.

        Returns:
            The labels, or the columns of the candidates.
        """
        return tuple(labels)
