"""Rows in blocks, and sums over them: threads, processes, a cluster."""
