"""The files of a run: its folder, log and model card."""
