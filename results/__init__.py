"""What a run leaves behind: history, trace, verdicts, statistics, reports."""
