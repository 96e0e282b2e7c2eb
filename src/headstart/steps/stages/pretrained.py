"""The checkpoint's backbone, to go back to where a merge has overwritten it."""

from __future__ import annotations

from typing import Any

from headstart.models.backbone import BufferSnapshot, Snapshot, SplitModel


class PretrainedBackbone:
    """Remembers a backbone: its values, which parameters it has, and its configuration."""

    def __init__(self, split: SplitModel) -> None:
        self._split, self._names = split, set(split.backbone)
        self._values, self._buffers = Snapshot(split.backbone), BufferSnapshot(split)
        self._settings = dict(vars(self._config))

    @property
    def _config(self) -> Any:
        return self._split.base.config

    def restore(self) -> None:
        """Make the backbone bit for bit what it was; parameters that a merge added go."""
        for name in set(self._split.backbone) - self._names:
            module, _, key = name.rpartition(".")
            self._split.model.get_submodule(module).register_parameter(key, None)
            del self._split.backbone[name]
        self._values.restore()
        self._buffers.restore()
        vars(self._config).clear()
        vars(self._config).update(self._settings)
