"""When a stage ends before its last step.

``LearnedRule`` looks at the loss on the training rows as they are trained on, which costs
nothing: the stage has served its purpose once that is well below the loss of a constant guess.
``PlateauRule`` looks at the validation score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


def chance_loss(labels: npt.NDArray[np.generic], classes: int) -> float:
    """Return the loss of the best guess that ignores the input.

    Args:
        labels: Class indices or numbers, (n,).
        classes: Number of classes; 0 for a number.

    Returns:
        The entropy of the class shares in nats, or the variance.
    """
    if not classes:
        return float(np.var(labels.astype(np.float64)))
    shares = np.bincount(labels.astype(np.int64), minlength=classes) / len(labels)
    return float(-sum(s * math.log(s) for s in shares if s > 0))


@dataclass
class LearnedRule:
    """Ends a stage when its training loss is well below chance.

    Args:
        chance: Loss of the best constant guess.
        least: Share of that loss which must be gone before levelling off counts.
        gain: Gain per window, as a share of ``chance``, below which it counts as level.
        patience: Level windows in a row that end the stage.
        enough: Share of ``chance`` that, once gone, ends the stage at once. Waiting for the loss to
            level off would mean learning a few hundred rows by heart, which did harm.
    """

    chance: float
    least: float = 0.1
    gain: float = 0.02
    patience: int = 2
    enough: float = 0.2
    best: float = math.inf
    level: int = field(default=0)

    def update(self, loss: float) -> bool:
        """Take in the mean training loss of one more window.

        Args:
            loss: Mean loss over the window's rows.

        Returns:
            Whether the stage may end.
        """
        gained = (self.best - loss) / self.chance if self.chance else 0.0
        self.level = 0 if gained > self.gain else self.level + 1
        self.best = min(self.best, loss)
        skill = 1 - self.best / self.chance if self.chance else 0.0
        return skill >= self.enough or (skill >= self.least and self.level >= self.patience)


@dataclass
class PlateauRule:
    """Ends a stage when the validation score has stopped rising.

    Args:
        patience: Evaluations in a row without a new best that end the stage.
    """

    patience: int = 2
    best: float = -math.inf
    level: int = 0

    def update(self, score: float) -> bool:
        """Take in one more validation score.

        Args:
            score: Higher is better.

        Returns:
            Whether the stage may end.
        """
        self.level = 0 if score > self.best else self.level + 1
        self.best = max(self.best, score)
        return self.level >= self.patience
