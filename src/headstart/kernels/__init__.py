"""Faster arithmetic for training on a processor: the same mathematics as torch's own operations."""
