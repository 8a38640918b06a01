"""A night: a time budget spent over suites, searches, frontiers and mutants, by what was least covered."""
