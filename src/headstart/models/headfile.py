"""Head files: a trained head on its own, with what it takes to know where it fits.

A head folder holds ``head.safetensors`` and ``head.json`` (shapes, label names, the fingerprint of
the backbone that it was trained on, how it came about).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save

from headstart.errors import HeadstartError, ModelError, raise_all
from headstart.files.contents import UnreadableError
from headstart.files.home import path_of
from headstart.files.jsonfile import read_table
from headstart.files.schema import Scores, as_record
from headstart.files.tensors import read_tensors
from headstart.files.writing import sync, whole_file
from headstart.models.backbone import SplitModel
from headstart.models.checkpoints.folders import recover, require_finished
from headstart.models.checkpoints.loading import load_saved
from headstart.models.checkpoints.model_config import is_decoder
from headstart.models.checkpoints.source import CONFIG, find_model
from headstart.models.heads import EACH_STATE, POOLINGS, EncoderClassifier
from headstart.models.kinds import MODEL_CLASSES, kind_of_architecture
from headstart.models.rescale import require_divisible
from headstart.results import finite
from headstart.untrusted import shown

WEIGHTS, RECORD = "head.safetensors", "head.json"
FORMAT_VERSION = 1
MOST_LABELS = 5
"""Labels that a head's short description names."""


class _Record(BaseModel):
    """What stands in ``RECORD``: a head but for its tensors, and their shapes."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    model_class: str
    labels: tuple[str, ...]
    fingerprint: str
    backbone: str = ""
    pooling: str = ""
    strategy: str = ""
    scores: Scores = Field(default_factory=dict)
    multilabel: bool = False
    version: int
    shapes: dict[str, list[int]]


@dataclass
class Head:
    """A trained head.

    Args:
        tensors: Its tensors by name, on the CPU.
        model_class: Class whose head it is, for example ``BertForSequenceClassification``.
        labels: Class names in the order of the logits; empty for a number.
        fingerprint: The backbone's, from ``SplitModel.fingerprint``.
        backbone: Where that backbone came from.
        pooling: How the backbone's output becomes the head's input, in words.
        strategy: The stages that trained it.
        scores: Validation metrics of the head on that backbone, with nothing else attached.
        multilabel: Whether each label is predicted by itself, several or none in a row.
        version: Version of this form.
    """

    tensors: dict[str, torch.Tensor]
    model_class: str
    labels: tuple[str, ...]
    fingerprint: str
    backbone: str = ""
    pooling: str = ""
    strategy: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    multilabel: bool = False
    version: int = FORMAT_VERSION

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in self.tensors.items()
        )
        labels = ", ".join(map(shown, self.labels[:MOST_LABELS])) or "a number"
        more = f" and {n} more" if (n := len(self.labels) - MOST_LABELS) > 0 else ""
        return f"Head({self.model_class}: {shapes}; predicts {labels}{more})"

    @classmethod
    def of(cls, split: SplitModel, labels: Sequence[str], **about: Any) -> Head:
        """Copy the head of a model."""
        return cls(
            split.head_state(),
            type(split.model).__name__,
            tuple(labels),
            split.fingerprint(),
            pooling=describe_pooling(split),
            multilabel=_is_multilabel(split),
            **about,
        )

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Head:
        """Load a head from a head folder, a run, or a checkpoint, on the hub too, that carries one.

        Raises ``HeadstartError`` if there is no head, its run failed, or its files are damaged.
        """
        recover(path_of(source))
        model = find_model(str(source))
        path = path_of(source)
        require_finished(path)
        for folder in (path, path / "head"):
            if (folder / RECORD).is_file():
                return cls._read(folder)
        if path.name in (WEIGHTS, RECORD) and path.is_file():
            raise ModelError("a head's folder", f"the file {path}", f"Give {path.parent}")
        if path.is_dir() and not (Path(model) / CONFIG).is_file():
            raise ModelError(
                f"a head folder with {RECORD}, or a run or checkpoint with {CONFIG}",
                f"{path} with neither",
                "Give the folder that `headstart head extract` or a run wrote.",
            )
        split, target = load_saved(str(source))
        return cls.of(split, target.labels, backbone=model)

    @classmethod
    def _read(cls, folder: Path) -> Head:
        try:
            record = read_table(folder / RECORD)
            version = record.get("version")
            if version == FORMAT_VERSION:
                about = as_record(_Record, record)
                tensors = read_tensors(folder / WEIGHTS)
        except (OSError, UnreadableError) as error:
            raise ModelError(
                f"a head folder with {RECORD} and {WEIGHTS}",
                f"{folder}: {error}",
                "Write it again with `headstart head extract`.",
            ) from None
        if version != FORMAT_VERSION:
            raise ModelError(
                f"a head folder of version {FORMAT_VERSION}",
                f"{folder} of version {version}",
                "Use the version of headstart that wrote it, or extract the head again.",
            )
        if {name: list(t.shape) for name, t in tensors.items()} != about.shapes:
            raise ModelError(
                f"{WEIGHTS} with the shapes that {RECORD} names",
                f"other tensors in {folder}",
                "The two files do not belong together; extract the head again.",
            )
        return cls(tensors, **about.model_dump(exclude={"shapes"}))

    def save(self, folder: str | Path) -> None:
        """Write the head folder.

        Each file is written beside its place and moved there, the record last: a folder with a
        record is whole. The folder is created if need be; a head that it holds is replaced, other
        files stay.
        """
        path = path_of(folder)
        path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.record(), indent=1, ensure_ascii=False)
        with whole_file(path / RECORD) as record, whole_file(path / WEIGHTS) as weights:
            weights.write(save(self.tensors))
            record.write(f"{text}\n".encode())
            for file in (weights, record):  # what a full disk refuses, it refuses here
                file.flush()
                os.fsync(file.fileno())
            (path / RECORD).unlink(missing_ok=True)
        sync(path)

    def record(self) -> dict[str, Any]:
        """Return everything but the values, as plain data."""
        record = {k: v for k, v in vars(self).items() if k != "tensors"}
        shapes = {name: list(t.shape) for name, t in self.tensors.items()}
        scores = finite(self.scores)
        return {**record, "labels": list(self.labels), "scores": scores, "shapes": shapes}

    def apply(
        self, split: SplitModel, labels: Sequence[str], *, ignore_backbone: bool = False
    ) -> None:
        """Load the head into a model, bit for bit, after checking that it fits.

        Args:
            split: The model.
            labels: The class names that the model shall predict.
            ignore_backbone: Whether another backbone than the head's own is allowed.

        Raises:
            HeadstartError: If shapes, labels or the backbone differ; all differences are told.
                Classes that nobody has named, LABEL_0 and so on, fit labels 0 and so on.
        """
        faults: list[HeadstartError] = []
        numbers = [str(index) for index in range(len(labels))]
        numbered = list(labels) == numbers and list(self.labels) == [f"LABEL_{n}" for n in numbers]
        several = _is_multilabel(split)
        if (tuple(labels) != self.labels and not numbered) or several != self.multilabel:
            part = f"{_HIDDEN} " if len(self.tensors) > MOST_OF_ONE_MAP else ""
            faults.append(
                ModelError(
                    f"a head for {_describe_labels(labels, several=several)}",
                    f"one for {_describe_labels(self.labels, several=self.multilabel)}",
                    f"Use data with the head's labels. {part}{_NEW}",
                )
            )
        if self._reads_other_vector(split):
            faults.append(self._other_pooling(split))
        elif not self._has_form_of(split, outputs=len(labels) == len(self.labels)):
            faults.append(self._other_form(split))
        elif not ignore_backbone:
            faults += self._other_backbone(split)
        raise_all(faults)
        split.load_head(self.tensors)

    def apply_hidden(
        self, split: SplitModel, outputs: int, *, ignore_backbone: bool = False
    ) -> None:
        """Load all of the head but its last linear map into a model.

        Args:
            split: The model; its last map stays as it is.
            outputs: Logits that it gives for each input text.
            ignore_backbone: Whether another backbone than the head's own is allowed.

        Raises:
            HeadstartError: If the head is nothing but its last map, or does not fit.
        """
        last = {id(p) for p in require_divisible(split, outputs, _NEW).parameters()}
        wanted = {name: p for name, p in split.head.items() if id(p) not in last}
        kept = {name: t for name, t in self.tensors.items() if name in wanted}
        if self._reads_other_vector(split):
            raise self._other_pooling(split)
        if {n: t.shape for n, t in kept.items()} != {n: p.shape for n, p in wanted.items()}:
            raise self._other_form(split)
        if not wanted:
            raise ModelError(
                "a head with parameters before its last map, for --head-part hidden",
                f"one that is only the map {_form(self.tensors)}",
                "Use heads with a hidden layer or a query on both tasks (--head-type mlp, "
                f"--pooling attention). {_NEW}",
            )
        raise_all([] if ignore_backbone else self._other_backbone(split))
        split.load_head({**split.head_state(), **kept})

    def _other_backbone(self, split: SplitModel) -> list[HeadstartError]:
        own = split.fingerprint()
        if own == self.fingerprint:
            return []
        return [
            ModelError(
                f"a head trained on this backbone ({own})",
                f"one trained on {self.backbone or 'another'} ({self.fingerprint})",
                "Give that backbone as --model, or pass --ignore-backbone-mismatch.",
            )
        ]

    def _reads_other_vector(self, split: SplitModel) -> bool:
        """Return whether two heads of ours pool in other ways, which no shape would tell."""
        both = isinstance(split.model, EncoderClassifier) and self.model_class == _OWN
        return both and _pooling_of(self.pooling) != _pooling_of(describe_pooling(split))

    def _other_pooling(self, split: SplitModel) -> ModelError:
        return ModelError(
            f"a head that reads the {describe_pooling(split)}",
            f"one that reads the {self.pooling}",
            f"Pass --pooling {_pooling_of(self.pooling)}. {_NEW}",
        )

    def _has_form_of(self, split: SplitModel, *, outputs: bool) -> bool:
        """Return whether the tensors are those of a model, the number of outputs set aside or not.

        The labels already tell where it differs.
        """
        first = 0 if outputs else 1
        wanted = {name: p.shape[first:] for name, p in split.head.items()}
        return wanted == {name: t.shape[first:] for name, t in self.tensors.items()}

    def _other_form(self, split: SplitModel) -> ModelError:
        model_class = type(split.model).__name__
        own, given = _head_type(split.head), _head_type(self.tensors)
        if own != given:
            fix = f"Pass --head-type {given}."
        elif model_class != self.model_class:
            fix = "Use a head of the same model class."
        else:
            fix = f"Give the head's own backbone as --model: {self.backbone or 'not recorded'}."
        return ModelError(
            f"a head of the form {_form(split.head)} ({own}, {model_class})",
            f"one of the form {_form(self.tensors)} ({given}, {self.model_class})",
            f"{fix} {_NEW}",
        )


_NEW = "Or leave --head out, and a new head is trained."
_HIDDEN = "Or add --head-part hidden, which takes all of it but the last map."
_OWN = EncoderClassifier.__name__
MOST_OF_ONE_MAP = 2
"""Tensors of a single linear map; a head with more has parts that do not depend on the labels."""


def _form(tensors: Mapping[str, torch.Tensor]) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))


def _head_type(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return what --head-type calls a head with such tensors."""
    if "head.out.weight" not in tensors:
        return "native"
    return "mlp" if "head.dense.weight" in tensors else "linear"


def _pooling_of(words: str) -> str:
    """Return what --pooling calls what a head of ours reads."""
    return next((name for name, told in POOLINGS.items() if words.startswith(told)), "first")


def _is_multilabel(split: SplitModel) -> bool:
    config: Any = getattr(split.model, "config", None)
    return getattr(config, "problem_type", None) == "multi_label_classification"


def _describe_labels(labels: Sequence[str], *, several: bool) -> str:
    of_a_row = ", several in a row" if several else ""
    told = f"the labels {[*map(shown, labels)]}, in this order{of_a_row}"
    return told if labels else "a number"


_OF_WORDS = "vector of each word's first token"


def describe_pooling(split: SplitModel) -> str:
    """Describe what the head reads of the backbone's output, and what of that is pretrained."""
    config: Any = getattr(split.model, "config", None)
    if isinstance(split.model, EncoderClassifier):
        spec = split.model.head.spec
        more = f" and {spec.spans} span vectors" if spec.spans else ""
        return f"{({**POOLINGS, EACH_STATE: _OF_WORDS})[spec.pooling]}{more}"
    if getattr(split.base, "main_input_name", "input_ids") in MODEL_CLASSES["audio"].inputs:
        return f"what {type(split.model).__name__} pools of the sound's places"
    words = kind_of_architecture([type(split.model).__name__]) == "tokens"
    if words or is_decoder(config):
        return _OF_WORDS if words else "last token vector"
    if any(".pooler." in name for name in split.backbone):
        return "first token through the checkpoint's own pooler"
    if any("pooler" in name for name in split.head):
        return "first token through a pooler that belongs to the head"
    return f"{getattr(config, 'classifier_pooling', None) or 'first token'} vector"
