"""The length of each stage in optimizer steps.

The epochs that a user asks for are those of fine-tuning, the main stage: the last one that takes
steps. A stage before it that carries no length of its own goes on until its head has learned,
within a bound, and comes on top. A total, or a share on any stage, asks for the equal-budget form
instead: all stages together then take exactly as many steps as plain fine-tuning would, and the
main stage takes what stages that have ended early leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.errors import ConfigError, NotationError
from headstart.strategies.stages import Stage, Strategy, Until

LEAST_STEPS = 40
"""Steps below which a stage is not ended because its head has learned."""
LOWEST_BOUND, HIGHEST_BOUND = 100, 1000
"""Between these, the steps of fine-tuning are the upper bound of such a stage."""


@dataclass(frozen=True)
class Length:
    """The length of one stage.

    Args:
        steps: Optimizer steps, or their upper bound where ``until`` is not ``end``; of ``optimum``
            those that are taken only where features cannot be stored.
        least: Steps before which ``learned`` does not end the stage.
        until: What ends it.
    """

    steps: int
    least: int
    until: Until

    @property
    def expected(self) -> int:
        """Steps that are likely to be taken at most: none where the head is fitted instead."""
        return 0 if self.until == "optimum" else self.steps

    @property
    def shown(self) -> str:
        """The steps for a table."""
        if self.until == "optimum":
            return "none"
        return f"{'≤ ' if self.until != 'end' else ''}{self.steps:,}"


def lengths(
    strategy: Strategy,
    *,
    rows: int,
    batch_size: int,
    epochs: float,
    total_epochs: float | None = None,
    share: float | None = None,
) -> tuple[Length, ...]:
    """Turn epochs, shares and bounds into steps for every stage.

    Args:
        strategy: The stages.
        rows: Training rows.
        batch_size: Rows per optimizer step, over all devices.
        epochs: Epochs of the main stage; the total where a stage carries a share.
        total_epochs: Epochs of all stages together.
        share: A preset's: the share of the total that a stage before the main one takes where its
            line gives no length. If ``None``, such a stage goes on until its head has learned,
            and where a total is asked for, for an equal share of it at most.

    Returns:
        One length for each stage.

    Raises:
        ConfigError: If the stages do not add up to the total that was asked for.
    """
    per_epoch = math.ceil(rows / batch_size)
    total = max(1, round((total_epochs or epochs) * per_epoch))
    stages, main = strategy.stages, strategy.main
    own = [_own(stage, per_epoch, total) for stage in stages]
    is_open = [number is None and i != main for i, number in enumerate(own)]
    asked = total_epochs is not None or any(s.share is not None for s in stages)
    undecided = any(o and s.until is None for o, s in zip(is_open, stages, strict=True))
    divided = asked or (share is not None and undecided)
    if divided:
        steps = _divide(strategy, own, total, share)
        found = steps[main] + _other_steps(strategy, steps)
        if asked and found != total:
            raise ConfigError(
                f"stages that add up to the total of {_steps(total)}",
                _steps(found),
                f"Leave {stages[main].trains} without a length, or drop the total and every share.",
            )
        adaptive = [o and share is None for o in is_open]
    else:
        most = own[main] or total
        bound = min(max(most, LOWEST_BOUND), HIGHEST_BOUND)
        steps = [n or (most if i == main else bound) for i, n in enumerate(own)]
        adaptive = is_open
    return tuple(_length(s, n, a) for s, n, a in zip(stages, steps, adaptive, strict=True))


def _other_steps(strategy: Strategy, steps: Sequence[int]) -> int:
    """Count the steps of all stages but the main one; a head that is fitted takes none."""
    counted = zip(strategy.stages, steps, strict=True)
    return sum(n for i, (s, n) in enumerate(counted) if i != strategy.main and s.until != "optimum")


def _divide(
    strategy: Strategy, own: Sequence[int | None], total: int, share: float | None
) -> list[int]:
    """Divide a total among the stages; the main one takes what the others leave."""
    stages, main = strategy.stages, strategy.main
    default = max(1, round(total * (share or 1 / len(stages))))
    steps = [number or default for number in own]
    taken = _other_steps(strategy, steps)
    rest = total - taken
    final = own[main] or rest
    taking = [s.share or 0 for i, s in enumerate(stages) if i == main or s.until != "optimum"]
    if math.isclose(sum(taking), 1):
        final = rest  # each share is rounded; this one makes the sum exact
    if final < 1 or (final > rest and stages[main].share is not None):
        raise NotationError(
            strategy.line or strategy.name,
            *stages[main].place,
            f"stages that fit into {_steps(total)} in all",
            f"{_steps(taken)} beside {stages[main].trains} and {final} in it",
            "Shorten the stages or raise the total; shares must not add up to more than 1.",
        )
    steps[main] = final
    return steps


def _steps(number: int) -> str:
    return f"{number} step{'s' * (number != 1)}"


def _own(stage: Stage, per_epoch: int, total: int) -> int | None:
    """Return the length that a stage's line gives, in steps; of two the shorter one."""
    given = [
        None if stage.epochs is None else max(1, round(stage.epochs * per_epoch)),
        stage.steps,
        None if stage.share is None else max(1, round(stage.share * total)),
    ]
    return min((steps for steps in given if steps is not None), default=None)


def _length(stage: Stage, steps: int, adaptive: bool) -> Length:
    until = stage.until or ("learned" if adaptive else "end")
    return Length(steps, min(LEAST_STEPS, steps), until)
