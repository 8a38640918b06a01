"""The system under test: sans-I/O protocol cores and the real process round them."""
