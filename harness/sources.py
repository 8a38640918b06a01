"""A digest of this code: what other code made proves nothing about this one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("checkers", "faults", "harness", "nodes", "results")


def code_digest(
    rooms: Sequence[str] = ROOMS,
    kinds: Sequence[str] = ("py",),
    apart: tuple[str, ...] = (),
    tests: Sequence[Path] = (),
) -> str:
    """SHA-256 over the files of these kinds in the rooms, by path, but for those whose path begins with one of `apart`;
    and over the Python files below `tests`."""
    places = [(ROOT, ROOT / room, kind) for room in rooms for kind in kinds]
    places += [(place.parent, place, "py") for place in tests]
    named = {
        path.relative_to(base).as_posix(): path for base, place, kind in places for path in place.rglob(f"*.{kind}")
    }
    sha = hashlib.sha256()
    for name, path in sorted(named.items()):
        if not name.startswith(apart):
            data = path.read_bytes()
            sha.update(f"{name}:{len(data)}\n".encode() + data)
    return sha.hexdigest()
