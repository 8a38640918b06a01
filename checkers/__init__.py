"""What judges a run. Shares no code with what it judges."""
