"""Reports: what a study says, as one page that needs nothing else, without torch."""
