"""`frontier.html`: how many faulty nodes it takes, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from results.report.theme import PALETTE, SYMBOLS, Figure, blank, page

_OUTCOMES = {0: ("pass", "AS EXPECTED"), 1: ("fail", "A SURPRISE"), 2: ("unknown", "INCONCLUSIVE")}
_ANSWERS = {True: ("pass", "yes"), False: ("fail", "NO"), None: ("unknown", "unknown")}


def render_frontier(found: dict[str, Any]) -> str:
    """The page of a measured frontier (the JSON document of `moonquake frontier`)."""
    share = f"{100 * found['confidence']:.0f} %"
    note = (
        f"Share of judged runs in which a watched property was violated, with exact {share} intervals. A dotted line"
        " stands where the claimed bound ends. Runs in which the attack did not bite are in no share."
    )
    return page(
        "frontier.html",
        title=found["attack"],
        kicker="frontier",
        outcome=_OUTCOMES[found["exit"]],
        figures=[Figure("frontier", "Faulty nodes against violations", note, rates(found))],
        found=found,
        answers=_ANSWERS,
    )


def write_frontier(directory: Path, found: dict[str, Any]) -> Path:
    """Write frontier.html, and return its path. Raises OSError where nothing can be written."""
    path = directory / "frontier.html"
    path.write_text(render_frontier(found), encoding="utf-8")
    return path


def rates(found: Mapping[str, Any]) -> go.Figure:
    """Rate of violations over faulty nodes, a line a size, with its interval and its claimed bound.

    Sizes stand a little beside each other, so that none hides another.
    """
    figure = blank("share of runs violated", f"faulty nodes in the {found['counted']}")
    step = min(0.07, 0.6 / len(found["sizes"]))
    for place, size in enumerate(found["sizes"]):
        beside = step * (place - (len(found["sizes"]) - 1) / 2)
        points = [p for p in found["points"] if p["n"] == size["n"] and p["violations"] + p["held"]]
        shares = [p["violations"] / (p["violations"] + p["held"]) for p in points]
        colour = PALETTE[place % len(PALETTE)]
        figure.add_trace(
            go.Scatter(
                x=[p["b"] + beside for p in points],
                customdata=[p["b"] for p in points],
                y=shares,
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [p["high"] - share for p, share in zip(points, shares, strict=True)],
                    "arrayminus": [share - p["low"] for p, share in zip(points, shares, strict=True)],
                    "thickness": 1.2,
                },
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 9},
                name=f"n = {size['n']}",
                hovertemplate="%{y:.0%} with %{customdata} faulty<extra>n = " + str(size["n"]) + "</extra>",
            )
        )
        figure.add_vline(x=size["claimed_bound"] + 0.5 + beside, line={"color": colour, "width": 1, "dash": "dot"})
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.05])
    figure.update_xaxes(dtick=1)
    return figure
