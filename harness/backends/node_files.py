"""A node's files on this host, whatever it runs in: what is private, and what survives the loss of its disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

OBSERVATIONS = ("trace.jsonl", "incarnation")  # the lab's, not the node's memory: a wipe spares them


def wipe_disk(data: Path) -> None:
    """Lose a node's disk: everything in its data directory but the lab's own observations."""
    for path in data.iterdir():
        if path.name in OBSERVATIONS:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_private(path: Path, data: bytes) -> None:
    """Write a file for the owner's eyes only: it holds keys. An older one is replaced, whatever its mode was."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
