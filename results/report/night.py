"""`night.html`: what a night found, what its budget went to, and the nights before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from results.report.theme import PALETTE, Figure, blank, page

OUTCOMES = {0: ("pass", "NO FAILURE"), 1: ("fail", "FAILURES"), 2: ("unknown", "INCONCLUSIVE")}


def render(night: Mapping[str, Any], trend: Sequence[Mapping[str, Any]]) -> str:
    """The page of a night's summary; `trend`: summaries of this and earlier nights, the oldest first."""
    numbers = {
        "runs": night["runs"],
        "pieces of work": night["pieces"],
        "failures": len(night["failures"]),
        "new": night["new_failures"],
        "flakes": len(night["flakes"]),
        "unknown": night["unknown"],
        "seconds of work": f"{night['seconds']:.0f} of {night['budget_s']:.0f}",
        "backend": night["backend"],
    }
    return page(
        "night.html",
        title=f"Night of {night['started']}",
        kicker="night",
        outcome=OUTCOMES[night["exit"]],
        lead=_lead(night),
        numbers=numbers,
        failures=[row for entry in night["failures"] for row in _rows(entry)],
        flakes=[row for entry in night["flakes"] for row in _rows(entry)],
        unknowns=[[entry["work"], str(entry["seed"]), entry["reason"]] for entry in night["unknowns"]],
        changes=[
            [c["figure"], f"{c['value']:.4g}", f"{c['usual']:.4g}", str(c["nights"]),
             ["badge", "pass", "better"] if c["better"] else ["badge", "unknown", "worse"]]
            for c in night["changes"]
        ],
        kinds=[
            [kind, str(k["pieces"]), str(k["runs"]), f"{k['seconds']:.0f}", str(k["surprises"])]
            for kind, k in night["kinds"].items()
        ],
        figures=[_trend(trend)] if len(trend) > 1 else [],
    )  # fmt: skip


def _lead(night: Mapping[str, Any]) -> str:
    cut = " It was interrupted." if night["interrupted"] else ""
    return (
        f"{night['runs']} runs in {night['pieces']} pieces of work, {len(night['failures'])} failures, of which"
        f" {night['new_failures']} new, {len(night['flakes'])} flakes and {night['unknown']} unknown.{cut}"
    )


def _rows(entry: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            entry["work"],
            str(entry["seed"]),
            f"{f['property']}: {f['summary']}",
            f"{f['again'][0]} of {f['again'][1]}" if f["again"][1] else "same seed, same run",
            (f"{f['filed']} (known)" if f["known"] else f["filed"]) or "",
        ]
        for f in entry["failures"]
    ]


def _trend(nights: Sequence[Mapping[str, Any]]) -> Figure:
    figure = blank("runs", "night")
    names = [night["started"] for night in nights]
    for number, kind in enumerate(dict.fromkeys(kind for night in nights for kind in night["kinds"])):
        runs = [night["kinds"].get(kind, {"runs": 0})["runs"] for night in nights]
        figure.add_trace(go.Bar(x=names, y=runs, name=kind, marker_color=PALETTE[number % len(PALETTE)]))
    failures = [len(night["failures"]) for night in nights]
    figure.add_trace(
        go.Scatter(x=names, y=failures, name="failures", yaxis="y2", mode="lines+markers", line={"color": PALETTE[7]})
    )
    figure.update_layout(
        barmode="stack", xaxis={"type": "category"},
        yaxis2={"title": {"text": "failures"}, "overlaying": "y", "side": "right", "rangemode": "tozero"},
    )  # fmt: skip
    return Figure("trend", "Night after night", f"Runs by kind of work, and failures, in {len(nights)} nights.", figure)
