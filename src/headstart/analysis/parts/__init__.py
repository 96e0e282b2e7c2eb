"""What the analyses are made of."""
