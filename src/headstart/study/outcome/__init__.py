"""The results of a study: statistics, comparisons, tables."""
