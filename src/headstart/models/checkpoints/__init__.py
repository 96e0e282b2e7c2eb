"""Checkpoints found, read, checked and written."""
