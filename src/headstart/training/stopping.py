"""Rules by which a stage ends before its last step.

``LearnedRule`` looks at the training rows as they are trained on, which costs nothing: the stage
has served its purpose once they are predicted well above chance. ``PlateauRule`` looks at the
validation score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class LearnedRule:
    """Ends a stage when its head predicts the training rows well above chance.

    It looks at which class wins and not at the loss: a head has found its direction long before its
    weights are large enough to lower the loss, and a head that goes on until they are has learned
    a few hundred rows by heart.

    Args:
        enough: Adjusted score on a window of training rows that ends the stage at once.
        least: Adjusted score from which levelling off ends it too.
        gain: Gain per window below which it counts as level.
        patience: Level windows in a row that end the stage.
    """

    enough: float = 0.3
    least: float = 0.15
    gain: float = 0.02
    patience: int = 3
    best: float = 0.0
    level: int = 0

    def update(self, score: float) -> bool:
        """Record the score on one more window, as trained on; return whether the stage may end."""
        self.level = 0 if score > self.best + self.gain else self.level + 1
        self.best = max(self.best, score)
        level = self.best >= self.least and self.level >= self.patience
        return score >= self.enough or level


@dataclass
class PlateauRule:
    """Ends a stage when the validation score has stopped rising.

    Then ``patience`` evaluations in a row have had no new best.
    """

    patience: int = 2
    best: float = -math.inf
    level: int = 0

    def update(self, score: float) -> bool:
        """Record one more validation score, higher is better; return whether the stage may end."""
        self.level = 0 if score > self.best else self.level + 1
        self.best = max(self.best, score)
        return self.level >= self.patience
