"""Choosing how to train: a search for a strategy within a budget of time, and linear probes."""
