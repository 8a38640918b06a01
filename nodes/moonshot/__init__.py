"""Commit Moonshot (protocol.md section 1): the ordering core of a tribe node, sans-I/O."""
