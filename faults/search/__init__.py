"""Generators of schedules: pure functions from a base scenario and a seed to a complete scenario, as plain values."""
