"""Readers of every kind of file, for content that may be damaged or made to do harm."""
