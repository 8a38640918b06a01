"""How a program that is not ours is had: looked for, and provided by `moonquake doctor --fix`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

Progress = Callable[[str], None]


class Packaged(Protocol):
    """One program. Classes: `debian.DebianPackage`; others may be written next to their target."""

    @property
    def name(self) -> str:
        """As `Site.binary` knows it."""
        ...

    @property
    def version(self) -> str:
        """Pinned, or what is known to work."""
        ...

    def find(self) -> Path | None:
        """The program if it is here, without doing anything."""
        ...

    def provide(self, progress: Progress) -> Path:
        """The program, fetched or built into the state directory if need be. Raises MachineError with the cure."""
        ...


def provide(programs: Iterable[Packaged], progress: Progress) -> dict[str, Path]:
    """Name -> path of every program, provided if need be. Raises MachineError with the cure."""
    return {program.name: program.provide(progress).resolve() for program in programs}
