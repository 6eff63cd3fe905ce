"""What was measured and what comes of it, data to measure with, and how far simulations are off."""
