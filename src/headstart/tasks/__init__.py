"""What is to be learned: columns, input shape, target and metrics, as data."""
