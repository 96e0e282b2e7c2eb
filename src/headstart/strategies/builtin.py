"""The field's names for strategies: an alias is a line, and a line can be written anywhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alias:
    """A short name for a strategy line."""

    line: str
    summary: str


ALIASES: dict[str, Alias] = {
    "default": Alias(
        "head(until=optimum) > full",
        "what is done where nothing else is asked for: a head at its optimum, then fine-tuning",
    ),
    "ft": Alias("full", "plain fine-tuning from a random head"),
    "lp": Alias("head", "linear probing: the head alone on frozen features"),
    "lp-ft": Alias("head > full", "linear probing, then fine-tuning (Kumar et al. 2022)"),
    "few": Alias(
        "head(until=optimum) >> full(epochs=10, steps=80)+contrast >> head(until=optimum)",
        "the default where sentence vectors are read and the rows of a class are few: they are "
        "drawn together, then a head is fitted to them",
    ),
    "setfit": Alias(
        "head(until=optimum) >> full+contrast >> head(until=optimum)",
        "the same for as long as fine-tuning takes, as SetFit does (arXiv 2209.11055)",
    ),
    "eh-ft": Alias("bitfit > full", "efficient head fine-tuning with BitFit (arXiv 2210.16771)"),
    "eh-ft-bitfit": Alias("bitfit > full", "the same as eh-ft"),
    "eh-ft-lora": Alias("lora > full", "efficient head fine-tuning with LoRA"),
    "eh-ft-prefix": Alias("prefix > full", "efficient head fine-tuning with prefix tuning"),
    "eh-ft-reserve": Alias("bitfit >> full", "eh-ft that keeps the tuned biases"),
    "eh-ft-lora-reserve": Alias("lora >> full", "eh-ft-lora that merges the low-rank change"),
}

OVER_SEEDS: dict[str, str] = {"soup": "headstart study soup DIR --strategy LINE --out RUN"}
"""Techniques that act over the seeds of a study, not inside a stage: the command of each.

Each is a module of ``headstart.study``.
"""
