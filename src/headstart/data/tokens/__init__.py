"""Texts as tokens: cut or in windows, kept on disk, gathered to batches."""
