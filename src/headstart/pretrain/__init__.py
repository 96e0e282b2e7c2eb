"""The head's first stage alone, on a model and rows of the user's own."""
