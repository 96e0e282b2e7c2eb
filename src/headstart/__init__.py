"""Fine-tune pretrained encoders from a pretrained head."""

__version__ = "0.1.0"
