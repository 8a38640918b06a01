"""Which code made a run: in run.json, so that a replay can say why it differs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

from harness import sources

PACKAGES = ("moonquake", "msgspec", "PyNaCl")
DECIDING = ("faults", "harness", "nodes")  # what these hold decides a trace; checkers and results only read it


def versions() -> dict[str, str]:
    """Interpreter, packages, and `code`: a digest of the sources that decide a run."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "code": code_digest(),
    }


def code_digest() -> str:
    """16 hex digits over the Python files of the rooms that decide a run."""
    return sources.code_digest(DECIDING)[:16]


def changed(recorded: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """name -> (recorded, now) of every version that differs; what the run did not record is not compared."""
    now = versions()
    return {name: (old, now.get(name, "")) for name, old in recorded.items() if now.get(name, "") != old}
