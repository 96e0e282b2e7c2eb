"""The place of a parameter among the encoder layers."""

from __future__ import annotations

from headstart.models.backbone import SplitModel


class Layers:
    """Counts groups of parameters from the top: head, top layer, the one below, embeddings.

    Raises ``ModelError`` if it keeps its layers in no list.
    """

    def __init__(self, split: SplitModel) -> None:
        self._split = split
        self._layers = [*reversed(split.layers())]
        self.groups = len(self._layers) + 1
        """Layers, and one for the embeddings."""

    def group(self, name: str) -> int:
        """Return the group of a parameter.

        0 for the head and what else lies outside the base model, 1 for the top layer and what is
        above the layers, and so on down to ``groups`` for the embeddings.
        """
        split = self._split
        if name in split.head or not name.startswith(f"{split.prefix}."):
            return 0
        if split.is_above_layers(name):
            return 1
        own = (i for i, layer in enumerate(self._layers, 1) if layer.holds(name))
        return next(own, self.groups)
