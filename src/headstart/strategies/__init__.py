"""Strategies: lists of stages, their one-line notation, aliases, presets and lengths."""
