"""Names of the parts of a backbone, without torch."""

from __future__ import annotations

BELOW, ABOVE = "embeddings", "above"
"""What is neither in a layer nor above the layers, and what comes after them."""
