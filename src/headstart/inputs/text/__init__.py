"""Texts: cells of a table, tokens, long texts."""
