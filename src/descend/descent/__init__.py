"""From an objective to its minimum."""
