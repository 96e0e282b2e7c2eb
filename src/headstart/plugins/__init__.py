"""What is found by name: registries, the cards of what they hold, and what was measured of it."""
