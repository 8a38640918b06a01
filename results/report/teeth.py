"""`teeth.html`: which mutants which checkers kill, as one self-contained page without a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from results.report.beside import TEETH
from results.report.theme import page


def render_teeth(found: dict[str, Any]) -> str:
    """The page of what `moonquake teeth` found (its JSON document)."""
    rows, lab = found["mutants"], found["lab"]
    return page(
        "teeth.html",
        title="Would a green run have caught the bug?",
        kicker="teeth",
        outcome=_outcome(found),
        found=found,
        killed=sum(row["killed"] for row in rows),
        noticed=sum(row["caught"] for row in lab),
        checkers=sorted({name for row in rows for name in row["by"]} | set(found["checkers"])),
        verdict=_verdict,
        cell=_cell,
    )


def write_teeth(directory: Path, found: dict[str, Any]) -> Path:
    """Write teeth.html, and teeth.json for the pages of campaigns; returns the page's path.

    Raises OSError where nothing can be written.
    """
    (directory / TEETH).write_bytes(msgspec.json.encode(found) + b"\n")
    path = directory / "teeth.html"
    path.write_text(render_teeth(found), encoding="utf-8")
    return path


def _outcome(found: dict[str, Any]) -> tuple[str, str]:
    if found["survivors"] or found["unnoticed"] or found["false_alarms"]:
        return "fail", "NOT ALWAYS"
    doubtful = found["gaps"] or found["interrupted"] or found["unplayed"]
    return ("unknown", "INCONCLUSIVE") if doubtful else ("pass", "YES, AS FAR AS PLAYED")


def _verdict(row: dict[str, Any]) -> tuple[str, str]:
    if row["killed"]:
        return "pass", "killed"
    return ("unknown", "not played") if row["errors"] or not row["seeds"] else ("fail", "SURVIVED")


def _cell(row: dict[str, Any], checker: str) -> str:
    """W for the witness, then in how many random runs."""
    random = sum(share["by"].get(checker, 0) for share in row["random"].values())
    return ("W" if checker in row["by"] else "") + (f" {random}" if random else "")
