"""Tasks as data: columns, input shape, target and metrics."""
