"""Files and frames become rows of numbers."""
