"""What a run store holds that a campaign's page shows beside it: the newest frontier of each attack, the newest kill
matrix; with the day and the build that each is of, since another build's is no word on this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from results.history import UNDECODABLE
from results.report.words import when

FRONTIER, TEETH = "frontier.json", "teeth.json"
NEEDED = {
    FRONTIER: ("attack", "summary", "counted", "points", "sizes"),
    TEETH: ("mutants", "clean_runs", "false_alarms"),
}
BUILD = 12  # characters of a build's digest that people read
Found = Mapping[str, Any]


class Beside(msgspec.Struct, frozen=True):
    """`left_out`: files that are there and are none of what their names say."""

    frontiers: tuple[dict[str, Any], ...] = ()
    teeth: dict[str, Any] | None = None
    left_out: tuple[str, ...] = ()


def store_of(campaign: Path) -> Path | None:
    """The run store that a campaign's directory (STORE/search/NAME) is in; None for one that was moved."""
    return campaign.parent.parent if campaign.parent.name == "search" else None


def newest(store: Path | None) -> Beside:
    """Of every attack its newest frontier; of the mutants the newest sitting that had all of them, else the newest."""
    if store is None:
        return Beside()
    left_out: list[str] = []
    frontiers: dict[str, dict[str, Any]] = {}
    for found in _read(store, f"frontier/*/*/{FRONTIER}", left_out):
        frontiers[str(found["attack"])] = found
    sittings = sorted(_read(store, f"teeth/*/{TEETH}", left_out), key=lambda found: found.get("whole") is True)
    teeth = sittings[-1] if sittings else None
    return Beside(tuple(frontiers[name] for name in sorted(frontiers)), teeth, tuple(left_out))


def made(found: Found, build: str = "") -> str:
    """When and of which build: a sentence. `build`: that of the page it is shown on."""
    day, code = str(found.get("utc", "")), str(found.get("code", ""))
    words = f"Of {when(day)}" if day else "Of a day that was not recorded"
    if not code:
        return f"{words}, of a build that was not recorded."
    if not build:
        return f"{words}, build {code[:BUILD]}."
    same = "the same build" if code == build else f"build {code[:BUILD]}: another than this search's {build[:BUILD]}"
    return f"{words}, {same}."


def _read(store: Path, pattern: str, left_out: list[str]) -> Iterator[dict[str, Any]]:
    """Documents by the names of their directories, which begin with a date or a number: the oldest first."""
    for path in sorted(store.glob(pattern), key=lambda path: path.parent.name):
        try:
            found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except OSError as error:
            left_out.append(f"{path}: cannot be read: {error.strerror}")
            continue
        except UNDECODABLE as error:
            left_out.append(f"{path}: {error}")
            continue
        missing = [key for key in NEEDED[path.name] if key not in found]
        if missing:
            left_out.append(f"{path}: has no {', '.join(missing)}")
        else:
            yield found
