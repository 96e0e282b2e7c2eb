"""The six steps of a run, and what they share; ``headstart.run`` takes them in order."""
