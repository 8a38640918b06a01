"""Two runs side by side: verdicts, latency distributions, recovery."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from results.report import charts, frames, words
from results.report.theme import PALETTE, Figure, blank
from results.store import Run
from results.verdict import Verdict

RECOVERY = ("recovery_ms", "largest_gap_ms")
NAMES = {"recovery_ms": "heal to first new commit", "largest_gap_ms": "longest gap between commits after it"}


def figures(a: Run, b: Run) -> list[Figure]:
    """The latency distributions of both runs: a phase each where there is anything to draw."""
    both = charts.distributions(a), charts.distributions(b)
    drawn = []
    for number, name in enumerate(dict.fromkeys([*both[0], *both[1]])):
        figure = blank("share", "ms")
        for place, (letter, run, values) in enumerate((("A", a, both[0].get(name)), ("B", b, both[1].get(name)))):
            if values is not None:
                charts.add_ecdf(figure, f"{letter} (N={len(values):,})", values, place, run.info.md_ms)
        charts.widen(figure, [values for values in (found.get(name) for found in both) if values is not None])
        figure.update_yaxes(tickformat=".0%", range=[0, 1.03])
        figure.update_layout(height=320)
        note = "; ".join(
            f"{letter} {_middle(values)}" for letter, values in zip("AB", (d.get(name) for d in both), strict=True)
        )
        drawn.append(Figure(f"latency{number}", f"Latency: {name}", note, figure))
    return [*drawn, Figure("heights", "Height of the foremost honest node", _HEIGHTS, _foremost(a, b))]


_HEIGHTS = "From the start of each run's load. Where a line is flat, nobody honest finalised anything."


def _middle(values: np.ndarray[Any, Any] | None) -> str:
    if values is None:
        return "never reached it"
    p50, p99 = (float(np.quantile(values, share, method="inverted_cdf")) for share in (0.5, 0.99))
    return f"p50 {p50:,.0f} ms, p99 {p99:,.0f} ms (N={len(values):,})"


def _foremost(a: Run, b: Run) -> go.Figure:
    figure = blank("height", "seconds from the start of the load")
    for place, (letter, run) in enumerate((("A", a), ("B", b))):
        table = frames.heights(run)
        table = table[table["node"].isin(set(run.info.honest))].sort_values("seconds")
        top = table.assign(height=table["height"].cummax()).drop_duplicates("height")
        kept = np.unique(np.linspace(0, max(len(top) - 1, 0), min(len(top), 2000)).round().astype(int))
        top = top.iloc[kept] if len(top) else top
        figure.add_trace(
            go.Scatter(
                x=(top["seconds"] - run.info.load_start / frames.SECOND).round(3).tolist(),
                y=top["height"].tolist(),
                mode="lines",
                name=f"{letter} (N={len(table):,} finalisations)",
                line={"color": PALETTE[place], "dash": ("solid", "dash")[place], "shape": "hv"},
                hovertemplate="height %{y}, %{x:.2f} s<extra></extra>",
            )
        )
    return figure


def fact_rows(a: Run, b: Run) -> list[list[Any]]:
    """What kind of runs they are; rows in which they differ are marked."""
    left, right = words.facts(a), words.facts(b)
    return [
        [key, left[key], right[key], ["badge", "unknown", "differs"] if left[key] != right[key] else ""]
        for key in left
        if key != "started"
    ]


def verdict_rows(a: Run, b: Run) -> list[list[Any]]:
    """A row a property: status and N in both runs, and whether they agree."""
    left, right = ({verdict.property: verdict for verdict in run.verdicts} for run in (a, b))
    return [
        [name, *_told(left.get(name)), *_told(right.get(name)), _agree(left.get(name), right.get(name))]
        for name in dict.fromkeys([*left, *right])
    ]


def _told(verdict: Verdict | None) -> list[Any]:
    if verdict is None:
        return [["badge", "plain", "not judged"], ""]
    return [["badge", verdict.status.value.lower(), verdict.status.value], f"{verdict.examined:,}"]


def _agree(a: Verdict | None, b: Verdict | None) -> Any:
    if a is None or b is None:
        return ""
    return "" if a.status is b.status else ["badge", "unknown", "differs"]


def recovery_rows(a: Run, b: Run) -> list[list[str]]:
    """What the liveness checker measured: a row a figure and run, with N."""
    rows = []
    for letter, run in (("A", a), ("B", b)):
        measures = next((v.measures for v in run.verdicts if v.property == "liveness"), {})
        for key in RECOVERY:
            value = measures.get(key)
            if isinstance(value, dict) and "p50" in value:
                cells = [f"{value[name]:,.0f} ms" for name in ("p50", "p99", "max")]
                rows.append([f"{NAMES[key]}, {letter}", str(value.get("n", "?")), *cells])
    return rows
