"""Linearizability of registers: reading calls from a history, zone check, general search, explanation."""
