"""How a program that is not ours is had: looked for, and provided by `moonquake doctor --fix`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

Progress = Callable[[str], None]


class Packaged(Protocol):
    """One program. Classes: `debian.DebianPackage`; others may be written next to their target."""

    name: str  # as `Site.binary` knows it
    version: str  # pinned, or what is accepted

    def find(self) -> Path | None:
        """The program if it is here, without doing anything."""
        ...

    def provide(self, progress: Progress) -> Path:
        """The program, fetched or built into the state directory if need be. Raises MachineError with the cure."""
        ...
