"""Carrying out a strategy's stages on a model."""
