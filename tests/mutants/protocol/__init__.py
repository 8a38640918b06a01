"""Mutants of the cores (harness/mutants.py): each breaks one rule of protocol.md and is killed by its witness."""
