"""The trend of the nights: what each night's summary.json says, over time (`moonquake nightly` writes them).

A night is `nights/<utc>/summary.json` under the store. Of its fields those of FIELDS are shown that it has: numbers as
they are, lists by their length. Files that are none are passed over, and so is what a night's page says elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import plotly.graph_objects as go

from results.history import UNDECODABLE
from results.report.theme import DASHES, PALETTE, SYMBOLS, Figure, blank
from results.report.words import when

FOLDER, SUMMARY, PAGE = "nights", "summary.json", "night.html"
FIELDS = ("runs", "pieces", "ok", "failures", "new_failures", "flakes", "unknown", "seconds")
TROUBLE = ("failures", "new_failures", "flakes", "unknown")
OUTCOMES = {0: ("pass", "NO FAILURE"), 1: ("fail", "FAILURES"), 2: ("unknown", "INCONCLUSIVE")}
MAX_BYTES = 20_000_000


def read(root: Path) -> list[dict[str, Any]]:
    """The nights under `root`, the oldest first: {"name", "night", "outcome", "backend", field: number}."""
    found = []
    for path in sorted(root.glob(f"{FOLDER}/*/{SUMMARY}")):
        if any(place.is_symlink() for place in (path, path.parent, path.parent.parent)):
            continue
        try:
            night = msgspec.json.decode(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
        except (OSError, *UNDECODABLE):
            continue
        if isinstance(night, dict):
            found.append(_row(path.parent.name, night))
    return sorted(found, key=lambda row: (str(row["night"]), row["name"]))


def _row(name: str, night: dict[str, Any]) -> dict[str, Any]:
    started, code = night.get("started"), night.get("exit")
    row: dict[str, Any] = {
        "name": name,
        "night": started if isinstance(started, str) else name,
        "outcome": code if isinstance(code, int) else None,
        "backend": str(night.get("backend", "")),
    }
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


def rows(nights: list[dict[str, Any]], pages: Collection[tuple[str, str]]) -> list[dict[str, Any]]:
    """What the table shows of each night, the newest first. `pages`: (folder, file) of those that are there."""
    return [
        {
            "name": night["name"],
            "when": when(night["night"]),
            "outcome": OUTCOMES.get(night["outcome"], ("plain", "not said")),
            "backend": night["backend"],
            "page": (f"{FOLDER}/{night['name']}", PAGE) in pages,
            "cells": [
                (name.replace("_", " "), f"{night[name]:,}" if name in night else "") for name in columns(nights)
            ],
        }
        for night in reversed(nights)
    ]


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
