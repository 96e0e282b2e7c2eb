"""Scores that the validation rows do not define: told, and refused where they decide something."""

from __future__ import annotations

from headstart.config import FitConfig
from headstart.data.rows import Rows
from headstart.errors import DataError
from headstart.steps.types import Splits, gold_labels
from headstart.strategies.stages import Strategy
from headstart.tasks.metrics import undefined


def undefined_scores(splits: Splits) -> list[str]:
    """Warn of metrics that validation rows do not define; a sentence for each part of them."""
    parts = {
        "The validation rows": splits.validation,
        "The rows for the final score": splits.untouched,
    }
    found = {where: _of(splits, rows) for where, rows in parts.items() if rows is not None}
    return [f"{where} leave {told}." for where, told in found.items() if told]


def require_score(splits: Splits, by: str) -> None:
    """Refuse validation rows that do not define the score, by which something is decided.

    ``by`` says what needs it. Raises ``DataError`` if they do not.
    """
    if told := _of(splits, splits.validation):
        raise DataError(
            f"validation rows that define the score, for {by}",
            f"rows that leave {told}",
            "Give more validation rows, with different labels, or choose other --metrics.",
        )


def require_score_of_choices(config: FitConfig, strategy: Strategy, splits: Splits) -> None:
    """Refuse rows that do not define the score where a run chooses by it.

    Raises ``DataError`` if they do not.
    """
    choices = {
        "--select best": config.select == "best",
        "until=plateau": any(stage.until == "plateau" for stage in strategy.stages),
        "--tune-threshold": config.tune_threshold,
    }
    if asked := [name for name, chosen in choices.items() if chosen]:
        require_score(splits, " and ".join(asked))


def _of(splits: Splits, rows: Rows) -> str:
    return undefined(splits.task.metrics, splits.kind.flat(gold_labels(rows)))
