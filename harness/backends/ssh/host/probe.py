"""`python -m harness.backends.ssh.host.probe`: what this host cannot do, and why, as one JSON object."""

from __future__ import annotations

import json
import sys

from harness.backends.ssh.host import disk
from harness.backends.ssh.host import filter as packets


def missing() -> dict[str, str]:
    """By what it is about: cut, shape, disk."""
    why = disk.probe()
    return {**packets.probe(), **({"disk": why} if why else {})}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(missing()))
