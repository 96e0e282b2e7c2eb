"""What a run writes, and reads back: its folder, log, model card."""
