"""The training loop and what it stands on: runtime, optimizer, evaluation, checkpoints."""
