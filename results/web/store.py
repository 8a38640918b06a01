"""The run store as `serve` sees it: which runs there are, what they came to, and nothing outside the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from results.history import UNDECODABLE
from results.verdict import Status

RECORDS = ("run.json", "history.jsonl", "trace.jsonl", "trace.parquet", "verdicts.json", "report.html", "sequence.svg")
PAGES = ("campaign.html", "frontier.html", "night.html", "teeth.html", "claims.html")  # of many runs
FRESH_S = 20.0  # a run without an end whose files have been silent for longer was broken off
_BAD = frozenset("/\\\0")
_LONGEST = 255  # of a name: what file systems take
_DEEPEST = 3  # folders above a page: frontier/ATTACK/UTC
State: TypeAlias = Literal["running", "broken off", "interrupted", "not judged", "as expected", "surprise", "unknown"]
STATES: tuple[State, ...] = (
    "surprise", "unknown", "as expected", "running", "not judged", "interrupted", "broken off",
)  # fmt: skip
MOODS: dict[State, str] = {
    "as expected": "pass", "surprise": "fail", "unknown": "unknown", "running": "plain", "not judged": "unknown",
    "interrupted": "unknown", "broken off": "unknown",
}  # fmt: skip


class NotFoundError(LookupError):
    """There is no such run in the store, or the path leads out of it."""


class Brief(msgspec.Struct):
    """What the list needs of run.json."""

    name: str
    seed: int
    backend: str
    layer: str
    regime: str
    started_utc: str = ""
    interrupted: bool = False
    incomplete: str = ""
    as_expected: bool | None = None


class _Judged(msgspec.Struct):
    property: str
    status: Status


class Entry(msgspec.Struct, frozen=True):
    """A run of the list. `key`: scenario directory and name of the run directory."""

    key: tuple[str, str]
    brief: Brief
    state: State
    failed: tuple[str, ...]
    unknown: tuple[str, ...]
    passed: int

    @property
    def mood(self) -> str:
        """The badge's colour."""
        return MOODS[self.state]

    @property
    def observed(self) -> str:
        """The verdicts in one line."""
        parts = [
            f"{word} {', '.join(names)}" for word, names in (("FAIL", self.failed), ("UNKNOWN", self.unknown)) if names
        ]
        return "; ".join([*parts, f"{self.passed} PASS"]) if parts or self.passed else ""


class Filter(msgspec.Struct, frozen=True):
    """What to list; empty fields do not narrow. Dates are YYYY-MM-DD, both ends inclusive."""

    scenario: str = ""
    backend: str = ""
    verdict: str = ""
    since: str = ""
    until: str = ""

    def takes(self, entry: Entry) -> bool:
        """Is it wanted?"""
        day = entry.brief.started_utc[:8]
        return (
            (not self.scenario or self.scenario.lower() in entry.brief.name.lower())
            and self.backend in ("", entry.brief.backend)
            and self.verdict in ("", entry.state)
            and (not self.since or day >= self.since.replace("-", ""))
            and (not self.until or day <= self.until.replace("-", ""))
        )


class Store:
    """The runs under `root`. `now` tells the wall-clock time in seconds, to tell a running run from a dead one."""

    def __init__(self, root: Path, now: Callable[[], float]) -> None:
        self.root = root.resolve()
        self._now = now

    def entries(self) -> list[Entry]:
        """All runs, the newest first. Directories that are no runs are passed over."""
        found = [entry for directory in self._directories() if (entry := self.entry(directory)) is not None]
        return sorted(found, key=lambda entry: (entry.brief.started_utc, entry.key), reverse=True)

    def _directories(self) -> Iterator[Path]:
        for path in self.root.glob("*/*/run.json"):
            directory = path.parent
            if not (directory.is_symlink() or directory.parent.is_symlink() or path.is_symlink()):
                yield directory

    def entry(self, directory: Path) -> Entry | None:
        """The run in a directory, or None if its run.json is none."""
        brief = _read(directory / "run.json", Brief)
        if brief is None:
            return None
        judged: list[_Judged] = _read(directory / "verdicts.json", list[_Judged]) or []
        names = {status: tuple(v.property for v in judged if v.status is status) for status in Status}
        state = self._state(directory, brief, bool(judged))
        key = (directory.parent.name, directory.name)
        return Entry(key, brief, state, names[Status.FAIL], names[Status.UNKNOWN], len(names[Status.PASS]))

    def _state(self, directory: Path, brief: Brief, judged: bool) -> State:
        if brief.interrupted:
            return "interrupted"
        if brief.incomplete:
            return "running" if self._now() - _touched(directory) < FRESH_S else "broken off"
        if not judged:
            return "running" if self._now() - _touched(directory) < FRESH_S else "not judged"
        if brief.as_expected is None:
            return "unknown"
        return "as expected" if brief.as_expected else "surprise"

    def locate(self, scenario: str, name: str) -> Path:
        """The run directory of that name. Raises NotFoundError for anything that is not a run inside the store."""
        for part in (scenario, name):
            if not part or part.startswith(".") or _BAD & set(part):
                raise NotFoundError("no such run")
        try:
            directory = (self.root / scenario / name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise NotFoundError("no such run") from None
        if directory.parent.parent != self.root or not (directory / "run.json").is_file():
            raise NotFoundError("no such run")
        if any((directory / record).is_symlink() for record in RECORDS):
            raise NotFoundError("no such run")  # its records are somebody else's files
        return directory

    def page(self, place: str, file: str) -> Path:
        """A page about many runs, in a folder of the store ("search/x"). Raises NotFoundError for everything else."""
        parts = place.split("/")
        plain = all(part and not part.startswith(".") and not _BAD & set(part) for part in parts)
        if not plain or file not in PAGES or len(parts) > _DEEPEST or max(map(len, parts)) > _LONGEST:
            raise NotFoundError("no such page")
        path = self.root.joinpath(*parts, file)
        if any(step.is_symlink() for step in (path, *path.parents[: len(parts)])) or not path.is_file():
            raise NotFoundError("no such page")
        return path

    def pages(self) -> list[tuple[str, str]]:
        """(folder, file) of the pages about many runs, the newest first."""
        found = []
        for pattern in (f"{'*/' * depth}{file}" for depth in range(1, _DEEPEST + 1) for file in PAGES):
            for path in self.root.glob(pattern):
                key = (path.parent.relative_to(self.root).as_posix(), path.name)
                with contextlib.suppress(NotFoundError, OSError):
                    found.append((self.page(*key).stat().st_mtime, key))
        return [key for _, key in sorted(found, reverse=True)]

    def latest(self) -> tuple[str, str]:
        """The key of the newest run. Raises NotFoundError for an empty store."""
        found = self.entries()
        if not found:
            raise NotFoundError("the store is empty")
        return found[0].key


def _touched(directory: Path) -> float:
    """When something was last written there."""
    patterns = ("*", "nodes/*/data/trace.jsonl", "nodes/*/trace.jsonl")
    return max((_written(path) for pattern in patterns for path in directory.glob(pattern)), default=0.0)


def _written(path: Path) -> float:
    """When a file was last written; 0 for a link, and for one that has gone since it was seen."""
    try:
        return 0.0 if path.is_symlink() else path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path, kind: Any) -> Any:
    """A small JSON file, or None if it is not there or something else; read again only when it has changed."""
    try:
        if path.is_symlink():
            return None
        stat = path.stat()
    except OSError:
        return None
    return _decoded(str(path), stat.st_mtime_ns, stat.st_size, kind if isinstance(kind, type) else _Verdicts)


class _Verdicts:
    """Stands for list[_Judged], which cannot be hashed as a type."""


@lru_cache(maxsize=20_000)
def _decoded(path: str, mtime_ns: int, size: int, kind: type) -> Any:
    del mtime_ns, size  # part of the key only
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=list[_Judged] if kind is _Verdicts else kind)
    except (OSError, *UNDECODABLE):
        return None
