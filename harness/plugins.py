"""Finding faults, behaviours, checkers and workloads by name, in the harness's words (see faults/registry.py).

A plug-in is a registered entry point, or `path/to/file.py:Class`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from faults import registry
from harness.outcome import UsageError, nearest


def registered(group: str) -> dict[str, type]:
    """The classes of `moonquake.<group>` by name, in name order."""
    return registry.registered(f"moonquake.{group}")


def load(group: str, use: str) -> type[Any]:
    """The class behind a name or `file.py:Class`. Raises UsageError naming the nearest name, or what the file lacks."""
    if not is_file(use) and use not in registered(group):
        raise UsageError(
            f"no {group[:-1]} named {use!r}; {nearest(use, list(registered(group)))}"
            f" (`moonquake list {group}` describes them; path/to/file.py:Class works too)"
        )
    try:
        return registry.find(f"moonquake.{group}", use)
    except ValueError as error:
        raise UsageError(str(error)) from error


def build(group: str, use: str, parameters: dict[str, Any], *first: Any) -> Any:
    """An instance: `first` by position, `parameters` by name. Raises UsageError in the plug-in's own words."""
    kind: Any = load(group, use)
    if first:
        kind = partial(kind, *first)
    try:
        return registry.construct(kind, use, parameters)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def is_file(use: str) -> bool:
    """Does `use` name a file rather than a registered plug-in?"""
    return ".py:" in use


def file_of(use: str) -> Path:
    """The file of `path/to/file.py:Class`, absolute."""
    return Path(use.rpartition(":")[0]).expanduser().resolve()
