"""`python -m nodes NODE_JSON`: one honest node."""

from __future__ import annotations

import sys
from pathlib import Path

from nodes.runtime.main import BAD_CONFIG, run_node


def main() -> int:
    """Run the node that node.json describes; returns the exit code (nodes/runtime/main.py)."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m nodes NODE_JSON\n")
        return BAD_CONFIG
    return run_node(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
