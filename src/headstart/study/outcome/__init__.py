"""What a study's runs say: statistics, comparisons, tables."""
