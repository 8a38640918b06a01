"""What a night leaves behind: `runs/nights/<utc>/night.jsonl`, one line per finished piece of work.

A piece counts once its line is on the disk, so that a night which is killed loses only the piece that was running, and
of a search not even that: its chunks have a file of their own, with which it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from harness.journal import Journal, create, read, reopen
from harness.outcome import UsageError
from harness.sources import code_digest

NIGHTS, FILE = "nights", "night.jsonl"
Kind = Literal["regression", "scenario", "search", "frontier", "teeth"]
Status = Literal["ok", "failure", "flake", "unknown"]


class Failure(msgspec.Struct, frozen=True):
    """A surprise. `again`: how often it came back with the same seed, of how many tries; `filed`: its regression
    scenario, `known` if that was there before this night."""

    property: str
    anomaly: str
    summary: str
    run: str = ""
    again: tuple[int, int] = (0, 0)
    filed: str = ""
    known: bool = False


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finished piece of work. `flake`: a surprise that did not come back with the same seed."""

    kind: Kind
    name: str
    seed: int
    runs: int
    seconds: float
    status: Status
    failures: tuple[Failure, ...] = ()
    reason: str = ""
    run: str = ""
    figures: dict[str, float] = {}


class Header(msgspec.Struct, frozen=True):
    """What makes a night. `code`: a digest of the sources."""

    started: str  # UTC
    budget_s: float
    backend: str
    code: str


class Line(msgspec.Struct, omit_defaults=True):
    """One line: the header, a piece, or the end."""

    night: Header | None = None
    piece: Piece | None = None
    ended: str = ""


class Night:
    """A night as its file tells it."""

    def __init__(self, directory: Path, lines: Sequence[Line]) -> None:
        first = lines[0].night if lines else None
        if first is None:
            raise UsageError(f"{directory / FILE}: does not begin with its night; it was broken off before it began")
        self.directory = directory
        self.header = first
        self.pieces = [line.piece for line in lines if line.piece]
        self.ended = lines[-1].ended

    @property
    def seconds(self) -> float:
        """Seconds of work that were recorded."""
        return sum(piece.seconds for piece in self.pieces)


def begin(directory: Path, header: Header) -> tuple[Night, Journal[Line]]:
    """A new night. Raises RecordingError."""
    journal = create(directory / FILE, Line, "--runs")
    line = Line(night=header)
    journal.append(line)
    return Night(directory, [line]), journal


def go_on(root: Path, backend: str) -> tuple[Night, Journal[Line]]:
    """The newest night that was broken off. Raises UsageError when there is none, or other code made it."""
    broken = [night for night in nights(root) if not night.ended]
    if not broken:
        raise UsageError(f"--resume: no night under {root / NIGHTS} was broken off; run it without --resume")
    night = broken[-1]
    if night.header.code != code_digest():
        raise UsageError(
            f"{night.directory}: was made by other code than this; its results would not be this code's. Run it without"
            " --resume"
        )
    if night.header.backend != backend:
        raise UsageError(f"{night.directory}: ran with --backend {night.header.backend}; go on with the same")
    return night, reopen(night.directory / FILE, Line)


def nights(root: Path) -> list[Night]:
    """All nights under `root`, the oldest first; one whose file is damaged or empty is left out."""
    found = []
    for path in sorted((root / NIGHTS).glob(f"*/{FILE}")):
        try:
            found.append(Night(path.parent, read(path, Line)))
        except UsageError:
            continue
    return found
