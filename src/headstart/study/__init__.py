"""Studies: a grid of runs, shared out, never repeated, and what they say."""
