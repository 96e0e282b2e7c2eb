"""The identity of a run: a digest of everything that decides its result but the machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.config import FitConfig
from headstart.configfile import TRUST
from headstart.files.home import path_of
from headstart.models.checkpoints.source import locate
from headstart.steps.settings import decide_hyperparameters, find_task
from headstart.strategies.stages import Strategy
from headstart.tasks.builtin import read_task_folder
from headstart.tasks.spec import TaskSpec
from headstart.tuners import TUNERS
from headstart.tuners._bind import read_strategy

FORM = 1  # of what is digested
_OF_A_MODEL = {".json", ".txt", ".model", ".safetensors", ".bin", ".py"}
_NOT_PART = {
    "out", "resume", "overwrite", "device", "threads", "checkpoint_minutes", "checkpoint_steps",
    "model", "train", "validation", "data", "task", "strategy", "head", "micro_batch_size",
    "gradient_checkpointing", "offload_optimizer", "budget",
}  # fmt: skip
"""Settings that do not decide a result, or that stand in the digest by what they lead to."""


_NONE_BY_DEFAULT = {
    "encoding": None, "empty_text": "error", "missing_label": "error", "long_texts": "cut",
    "window_overlap": None,
}  # fmt: skip
"""Settings that are part of a digest where they say something, so that older ones stay valid."""


class Digests:
    """Computes identities; each file is read once."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, int, int], str] = {}
        self._models: dict[str, Any] = {}

    def of_run(self, config: FitConfig) -> str:
        """Return a run's identity, 24 hexadecimal digits.

        Raises ``HeadstartError`` if the strategy, the task, its rows or the model cannot be found.
        """
        strategy, task = read_strategy(config.strategy), find_task(config)
        numbers = decide_hyperparameters(config, task)
        given = {
            k: v
            for k, v in config.plain().items()
            if k not in _NOT_PART and (k, v) not in _NONE_BY_DEFAULT.items()
        }
        given[TRUST] = False  # whether a model's own code may run does not decide what it does
        decided = {
            "form": FORM,
            "settings": given,
            "preset": asdict(numbers.preset),
            "lengths": [numbers.epochs, numbers.total_epochs, numbers.share, numbers.head],
            "strategy": strategy.name,
            "rates": _default_rates(strategy),
            "task": _plain(asdict(task)),
            "rows": self._rows(config, task),
            "model": self._model(config.model),
            "head": self._head(config.head),
        }
        text = json.dumps(decided, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def of_rows(self, config: FitConfig) -> str:
        """Return a digest of a run's rows, 24 hexadecimal digits.

        Raises ``HeadstartError`` if the task or its rows cannot be found.
        """
        text = json.dumps(self._rows(config, find_task(config)), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _rows(self, config: FitConfig, task: TaskSpec) -> Any:
        if config.train:
            sources = [config.train, config.validation]
            return [self._source(source) for source in sources if source]
        if config.data:
            files = read_task_folder(config.data, task)
            return {name: self._source(str(files[name])) for name in ("train", "validation")}
        return task.hub

    def _source(self, source: str) -> Any:
        path = path_of(source)
        if path.is_dir():
            return self._all(path, (p for p in path.rglob("*") if p.is_file()))
        return self._file(path) if path.is_file() else source

    def _model(self, name: str) -> Any:
        if name not in self._models:
            self._models[name] = self._folder(locate(name))
        return self._models[name]

    def _head(self, name: str | None) -> Any:
        return None if name is None else self._source(name)

    def _folder(self, source: str) -> Any:
        path = Path(source)
        if not path.is_dir():
            return source
        own = (p for p in path.iterdir() if p.suffix in _OF_A_MODEL and p.is_file())
        return self._all(path, own)

    def _all(self, root: Path, paths: Iterable[Path]) -> dict[str, str]:
        # Splits of a saved data set have files of one name in folders of their own.
        return {p.relative_to(root).as_posix(): self._file(p) for p in sorted(paths)}

    def _file(self, path: Path) -> str:
        about = path.stat()
        key = (str(path.resolve()), about.st_size, about.st_mtime_ns)
        if key not in self._files:
            with path.open("rb") as file:
                self._files[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._files[key]


def _default_rates(strategy: Strategy) -> list[tuple[float, float]]:
    tuners = [TUNERS.get(stage.trains) for stage in strategy.stages]
    return [(tuner.lr, tuner.head_lr) for tuner in tuners]


def _plain(value: Any) -> Any:
    """Return plain data without what has an address instead of a content."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__
