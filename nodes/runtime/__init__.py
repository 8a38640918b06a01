"""The shell round the cores: links, log, control port, gateway HTTP, `python -m nodes`."""
