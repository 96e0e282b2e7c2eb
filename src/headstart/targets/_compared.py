"""How predictions are compared and believed, where a kind of target says nothing of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headstart.data.labels import Labels

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Compared:
    """What a kind of target need not have."""

    def p_better(self, gains: Scores) -> float:
        """Test whether one model is better than another: by default a sign test.

        Args:
            gains: Differences of ``row_scores``, none of them 0, at least one.

        Returns:
            The one-sided p-value.
        """
        from scipy import stats

        up = int((gains > 0).sum())
        return float(stats.binomtest(up, len(gains), alternative="greater").pvalue)

    def collapsed(self, logits: Floats, labels: Labels) -> str:  # noqa: ARG002
        """Say whether a model has learned nothing, or predicts the same for every row.

        Args:
            logits: Of the validation rows, (n, outputs).
            labels: Their labels.

        Returns:
            A sentence, or nothing.
        """
        return ""

    def probability_errors(self, logits: Floats, labels: Labels) -> dict[str, float]:  # noqa: ARG002
        """Measure how far the probabilities can be believed.

        Args:
            logits: (n, outputs), finite.
            labels: Of the same rows.

        Returns:
            Log loss, Brier score and ECE; nothing where that has no meaning.
        """
        return {}
