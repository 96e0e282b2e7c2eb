"""Named sets of hyper-parameters: ours, measured on small models and data, and the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headstart.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Preset:
    """Values for whatever the user leaves open.

    Args:
        summary: Where the values come from.
        epochs: Epochs of fine-tuning.
        least_steps: Optimizer steps of fine-tuning below which few rows starve it: it then takes
            more epochs, ``most_epochs`` at most.
        most_epochs: Epochs up to which that goes.
        batch_size: Rows per optimizer step.
        max_length: Longest input in tokens.
        weight_decay: AdamW's decoupled weight decay; biases and norms have none.
        betas: AdamW's moment decay rates.
        eps: AdamW's denominator term.
        clip: Largest norm of the gradient.
        warmup: Share of a stage's steps over which the learning rate rises.
        share: Share of the total for stages before the last; ``None`` lets such a stage run
            until its head has learned.
        head: Kind of head, see ``headstart.models.heads``.
        rates: Learning rates (tuner's, head's) by tuner; others take the tuner's own defaults.
    """

    summary: str
    epochs: float = 6.0
    least_steps: int = 60
    most_epochs: float = 12.0
    batch_size: int = 32
    max_length: int = 256
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    clip: float = 1.0
    warmup: float = 0.1
    share: float | None = None
    head: str = "native"
    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)


PRESETS: dict[str, Preset] = {
    "default": Preset("for small and base-sized encoders and a few thousand rows"),
    "paper": Preset(
        "the authors' runs on RoBERTa-large and BERT-large (arXiv 2210.16771, appendix)",
        epochs=20,
        least_steps=0,
        max_length=512,
        clip=0.1,
        share=0.1,
        head="mlp",
        rates={
            "full": (1e-5, 1e-5),
            "bitfit": (5e-4, 5e-4),
            "lora": (5e-4, 5e-4),
            "prefix": (5e-3, 5e-3),
            "head": (1e-3, 1e-3),
        },
    ),
}


def get_preset(name: str) -> Preset:
    """Return a preset by name. Raises ``ConfigError`` if there is none of that name."""
    if name not in PRESETS:
        raise ConfigError("the name of a preset", repr(name), did_you_mean(name, PRESETS))
    return PRESETS[name]


def fine_tuning_rate(parameters: int, *, solved: bool = False, still: bool = False) -> float:
    """Return the default learning rate for training a whole backbone.

    Larger encoders need smaller steps; the tiers are the usual choices of the literature (Devlin et
    al. 2019 for base sizes, Mosbach et al. 2021 for large ones), the first is measured. ``solved``
    says that the head is at its optimum already, and so need not be found by large steps: half the
    rate for small encoders, measured. ``still`` says that no head trains, which large steps would
    spoil: twice that rate, measured. ``parameters`` are the numbers in the backbone.
    """
    if still:
        return 2 * fine_tuning_rate(parameters, solved=True)
    if parameters < 60_000_000:
        return 5e-5 if solved else 1e-4
    return 2e-5 if parameters < 250_000_000 else 1e-5
