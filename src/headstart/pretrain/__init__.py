"""Heads alone: stage 1 on a model and rows of the user's own, and linear probes."""
