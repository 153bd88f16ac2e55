"""Data or a run, explained."""
