"""`claims.html` and `claims.md`: observed against claimed, with rules, figures, and the runs that findings rest on.

Both are made of the JSON document of `moonquake claims`, so that all three say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from results.report.numbers import HEADS, cells, count, interval, number
from results.report.theme import PALETTE, Figure, blank, page

Found = dict[str, Any]
MOODS = {
    "HOLDS": ("pass", "HOLDS"),
    "REFUTED": ("fail", "REFUTED"),
    "INCONCLUSIVE": ("unknown", "INCONCLUSIVE"),
}
ROW = 22  # px of a chart's height for each line


def render(found: Found) -> str:
    """The page: self-contained, complete without its charts."""
    claims = [{**claim, "cells": [cells(figure) for figure in claim["figures"]]} for claim in found["claims"]]
    made = found["made"]
    return page(
        "claims.html",
        title="Claims",
        kicker="observed against claimed",
        outcome=_outcome(found),
        figures=charts(found["claims"]),
        summary=_summary(found),
        stopped=made.get("stopped", ""),
        errors=made.get("errors", []),
        rows=[_row(claim) for claim in found["claims"]],
        differences=[claim for claim in found["claims"] if claim["differs"]],
        claims=claims,
        moods=MOODS,
    )


def markdown(found: Found) -> str:
    """The same as text."""
    lines = ["# Claims: observed against claimed", ""]
    lines += [f"- {name}: {value}" for name, value in _summary(found).items()]
    if found["made"].get("stopped"):
        lines.append(f"- stopped early: {found['made']['stopped']}")
    lines += ["", "| claim | finding | estimate | 95 % interval | N | why |", "|---|---|---|---|---|---|"]
    for claim in found["claims"]:
        row = [
            claim["id"], claim["finding"], number(claim["estimate"]), interval(claim), count(claim["n"]), claim["why"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(_escaped(cell) for cell in row) + " |")
    for claim in found["claims"]:
        if claim["tier"] == 1:
            lines += ["", f"## {claim['id']}: {claim['finding']}", "", claim["statement"], "", f"**{claim['why']}**"]
            lines += ["", f"Rule: {claim['rule']}."] if claim["rule"] else []
            lines += ["", f"Differs: {claim['differs']}"] if claim["differs"] else []
            lines += _figures(claim["figures"])
            lines += ["", f"    {claim['reproduce']}"]
    return "\n".join(lines) + "\n"


def _figures(figures: Sequence[Found]) -> list[str]:
    if not figures:
        return []
    rows = ["", f"| {' | '.join(HEADS)} |", "|---|---|---|---|---|"]
    return rows + ["| " + " | ".join(_escaped(str(cell)) for cell in cells(figure)) + " |" for figure in figures]


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _outcome(found: Found) -> tuple[str, str]:
    counts = found["counts"]
    mood = "fail" if counts["REFUTED"] else "unknown" if counts["INCONCLUSIVE"] else "pass"
    words = [f"{count} {word}" for word, count in counts.items() if count]
    return mood, " · ".join(words) or "nothing was decided"


def _summary(found: Found) -> dict[str, str]:
    made = found["made"]
    summary = {word.lower(): str(count) for word, count in found["counts"].items()}
    if "from" in made:
        return summary | {"evidence": f"{made['runs']} run directories in {made['from']}"}
    if "of" in made:
        summary["simulated runs"] = f"{made['runs']} of {made['of']}"
        summary["CPU time"] = f"{made['cpu_seconds']:.0f} s"
    return summary


def _row(claim: Found) -> list[Any]:
    mood, word = MOODS[claim["finding"]]
    return [claim["id"], ["badge", mood, word], claim["why"], interval(claim), count(claim["n"])]


# ---------------------------------------------------------------- charts
def charts(claims: Sequence[Found]) -> list[Figure]:
    """The charts that there is something to draw in."""
    found = []
    rates = [c for c in claims if c["unit"].startswith("violations a run") and c["n"]]
    if rates:
        note = (
            "Exact 95 % intervals of the share of runs within the bound in which the claim was violated; in brackets"
            " the number of judged runs. An interval from 0 is what 0 of N runs can say."
        )
        found.append(Figure("rates", "Violations within the bound", note, _intervals(rates, "share of runs", _rate)))
    recoveries = _named(claims, "recovery: ")
    if recoveries:
        note = "Mean and 95 % bootstrap interval over runs, by the one fault or behaviour of the run; in brackets N."
        chart = _intervals(recoveries, "Delta from the heal to the first new block", _figure)
        found.append(Figure("recovery", "Recovery by kind of fault", note, chart))
    sensitivities = _named(claims, "sensitivity: ")
    if sensitivities:
        note = "Mean latency up to a common horizon less that of fault-free runs; unfinished operations count in full."
        chart = _intervals(sensitivities, "ms slower than without a fault", _figure)
        found.append(Figure("sensitivity", "Sensitivity by kind of fault", note, chart))
    return found


def _named(claims: Sequence[Found], start: str) -> list[Found]:
    """Figures of a name with an interval, one a group."""
    figures = [f for c in claims for f in c["figures"] if f["name"].startswith(start) and f["low"] is not None]
    return sorted(figures, key=lambda figure: float(figure["value"]))


def _rate(claim: Found) -> tuple[str, float]:
    return f"{claim['id']} (N={claim['n']})", float(claim["estimate"])


def _figure(figure: Found) -> tuple[str, float]:
    group = figure["name"].rpartition(": ")[2].removesuffix(", mean")
    return f"{group} (N={figure['n']})", float(figure["value"])


def _intervals(items: Sequence[Found], axis: str, told: Any) -> go.Figure:
    """A point with its interval for each item, one below the other."""
    figure = blank("", axis)
    names, values = zip(*(told(item) for item in items), strict=True)
    figure.add_trace(
        go.Scatter(
            x=list(values),
            y=list(names),
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [item["high"] - value for item, value in zip(items, values, strict=True)],
                "arrayminus": [value - item["low"] for item, value in zip(items, values, strict=True)],
                "thickness": 2,
                "color": PALETTE[0],
            },
            mode="markers",
            marker={"size": 8, "color": PALETTE[0], "symbol": "diamond"},
            hovertemplate="%{y}: %{x:.3g}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_yaxes(automargin=True, rangemode="normal", tickfont={"size": 11})
    figure.update_layout(height=110 + ROW * len(items))
    return figure
