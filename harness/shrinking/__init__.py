"""Shrinking: from a run that fails to the smallest scenario that fails in the same way, a chart and a story."""
