"""The function that is minimised."""
