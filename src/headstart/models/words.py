"""Token classifiers of transformers, asked for the logits of some tokens only."""

from __future__ import annotations

from typing import Any

import torch


def ask_for_words(model: Any) -> None:
    """Let a model of the class ``AutoModelForTokenClassification`` take ``word_places``.

    With it, its logits are those of these tokens alone, (words, outputs); without, it is what it
    was. The model gets a class of the same name, derived from its own.
    """
    known = type(model)

    def forward(
        self: Any, *inputs: Any, word_places: torch.Tensor | None = None, **named: Any
    ) -> Any:
        """Compute logits.

        With ``word_places``, (words,), those of these tokens of the batch laid end to end.
        """
        output = known.forward(self, *inputs, **named)
        if word_places is not None:
            output.logits = output.logits.flatten(0, 1)[word_places]
        return output

    own = {"forward": forward, "__module__": known.__module__, "__doc__": known.__doc__}
    model.__class__ = type(known.__name__, (known,), own)
