"""From data to a Run."""
