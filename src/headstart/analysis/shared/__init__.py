"""Helpers that several analyses share."""
