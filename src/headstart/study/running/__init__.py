"""The runs of a study carried out, in one process or many."""
