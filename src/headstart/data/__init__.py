"""From rows in a file to batches of tokens."""
