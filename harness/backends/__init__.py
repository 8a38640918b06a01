"""Where the nodes live: processes on loopback, or containers."""
