"""Where in a backbone something lies; names without torch, for whoever reads what was measured."""

from __future__ import annotations

BELOW, ABOVE = "embeddings", "above"
"""What is neither in a layer nor above the layers, and what comes after them."""
