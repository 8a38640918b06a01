"""Mutants of the lab itself (harness/traps.py): each is a trap of teeth.md section 1, and must be noticed."""
