"""Stored features of a frozen backbone, and heads trained on them."""
