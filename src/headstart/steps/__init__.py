"""The only place that wires everything: settings -> data, model, stages -> result."""
