"""The trend of the nights: what each night's JSON document says of itself, over time.

A night is `nights/<utc>/night.json` under the store (or `nights/<utc>.json`). Of its fields those of FIELDS are shown
that it has: numbers as they are, lists and objects by their length. Others are left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import plotly.graph_objects as go

from results.history import UNDECODABLE
from results.report.theme import DASHES, PALETTE, SYMBOLS, Figure, blank
from results.report.words import when

FIELDS = ("runs", "failures", "new_failures", "flakes", "unknown", "errors", "survivors", "false_alarms", "runs_per_s")
TROUBLE = ("failures", "new_failures", "flakes", "unknown", "errors", "survivors", "false_alarms")
MAX_BYTES = 20_000_000


def read(root: Path) -> list[dict[str, Any]]:
    """The nights under `root`, the oldest first: {"night", "outcome", field: number}. Other files are skipped."""
    found = []
    for path in sorted({*root.glob("nights/*/night.json"), *root.glob("nights/*.json")}):
        if path.is_symlink() or path.parent.is_symlink() or path.stat().st_size > MAX_BYTES:
            continue
        try:
            night = msgspec.json.decode(path.read_bytes())
        except (OSError, *UNDECODABLE):
            continue
        if isinstance(night, dict):
            name = path.parent.name if path.name == "night.json" else path.stem
            found.append(_row(str(night.get("started_utc") or night.get("started") or name), night))
    return sorted(found, key=lambda row: str(row["night"]))


def _row(name: str, night: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"night": name, "outcome": night.get("exit")}
    for field in FIELDS:
        value = night.get(field)
        if isinstance(value, int | float):
            row[field] = value
        elif isinstance(value, list | dict):
            row[field] = len(value)
    return row


def columns(nights: list[dict[str, Any]]) -> list[str]:
    """The fields that some night has."""
    return [field for field in FIELDS if any(field in night for night in nights)]


def table(nights: list[dict[str, Any]]) -> list[list[Any]]:
    """A row a night, the newest first."""
    badges = {0: ("pass", "AS EXPECTED"), 1: ("fail", "A SURPRISE"), 2: ("unknown", "INCONCLUSIVE")}
    rows = []
    for night in reversed(nights):
        mood, word = badges.get(night["outcome"], ("plain", "not said"))
        cells = [f"{night[field]:,}" if field in night else "" for field in columns(nights)]
        rows.append([when(night["night"]), ["badge", mood, word], *cells])
    return rows


def figures(nights: list[dict[str, Any]]) -> list[Figure]:
    """Runs a night, and what went wrong in it."""
    names = [when(night["night"]) for night in nights]
    found = []
    for name, title, fields in (("runs", "Runs a night", ("runs",)), ("trouble", "Trouble a night", TROUBLE)):
        figure = blank("count", "night")
        for place, field in enumerate(field for field in fields if field in columns(nights)):
            figure.add_trace(
                go.Scatter(
                    x=names,
                    y=[night.get(field) for night in nights],
                    mode="lines+markers",
                    name=field.replace("_", " "),
                    line={"color": PALETTE[place % len(PALETTE)], "dash": DASHES[place % len(DASHES)]},
                    marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 8},
                )
            )
        figure.update_xaxes(type="category")
        if figure.data:
            found.append(Figure(name, title, f"N = {len(nights)} nights.", figure))
    return found
