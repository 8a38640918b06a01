"""Systems that are not ours, as they were released: one system, one file (docs/own-target.md)."""
