"""The kind of input that a saved model reads."""

from __future__ import annotations

from headstart.inputs import INPUTS
from headstart.inputs._base import InputKind
from headstart.models.kinds import ModelKind


def kind_of_model(model: ModelKind) -> type[InputKind]:
    """Find a kind of input by the model class that reads it.

    Of texts, which one class reads singly and in pairs, it is the single ones.
    """
    kinds = [kind for kind in map(INPUTS.get, INPUTS) if kind.model == model]
    return kinds[-1]
