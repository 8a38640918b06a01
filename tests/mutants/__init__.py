"""Mutants of recorded runs: what must never stay a pass."""
