"""Fuzzing of everything that reads a file from outside: `python -m tests.fuzzing TARGET RUNS` (needs atheris)."""
