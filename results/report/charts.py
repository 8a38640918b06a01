"""The report's smaller charts: latency as distributions, throughput. The time line is in `timeline`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from results.report import frames
from results.report.theme import DASHES, FAULT_COLOUR, PALETTE, blank, plain_text
from results.store import Run

_BIN_S = 0.5
MAX_POINTS = 2000  # of one distribution
WIDE = 8.0  # longest over median: from here on the axis is logarithmic
# What the guide promises on an undisturbed network (claims.toml: daqc-2md, commit-3md, end-to-end-5.5md).
PROMISES = (("certificate", 2.0), ("commit", 3.0), ("end to end", 5.5))
COMMIT = "block committed"


def distributions(run: Run) -> dict[str, np.ndarray[Any, Any]]:
    """Name -> latencies in ms, ascending: each finality phase that was reached, and blocks from proposal to commit."""
    table = frames.phases(run)
    found = {
        frames.PHASE_NAMES[phase]: np.sort(table.loc[table["phase"] == phase, "latency_ms"].to_numpy(dtype=float))
        for phase in frames.PHASES
    }
    found[COMMIT] = np.sort(frames.commits(run)["latency_ms"].to_numpy(dtype=float))
    return {name: values for name, values in found.items() if len(values)}


def ecdf(values: np.ndarray[Any, Any]) -> tuple[list[float], list[float]]:
    """Steps of the empirical distribution of ascending `values`, at most MAX_POINTS, from a share of 0 to 1."""
    share = np.arange(1, len(values) + 1) / len(values)
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_POINTS)).round().astype(int))
    return (
        [round(float(values[0]), 3), *values[kept].round(3).tolist()],
        [0.0, *share[kept].round(5).tolist()],
    )


def latency(run: Run) -> go.Figure:
    """Share of transactions (of blocks) within x ms of acceptance (of the proposal), with the promises in md."""
    found, md = distributions(run), run.info.md_ms
    figure = blank("share", "ms from acceptance (blocks: from proposal)")
    for place, (name, values) in enumerate(found.items()):
        add_ecdf(figure, f"{name} (N={len(values):,})", values, place, md)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.03])
    widen(figure, list(found.values()))
    for row, (name, promised) in enumerate(PROMISES if md else ()):
        figure.add_vline(x=promised * md, line={"color": PALETTE[6], "width": 1, "dash": "dot"})
        at = promised * md
        figure.add_annotation(
            x=float(np.log10(at)) if figure.layout.xaxis.type == "log" else at, y=0.02 + 0.075 * row, xref="x",
            yref="y domain", text=f"{promised:g} md {name}", showarrow=False, xanchor="left", yanchor="bottom",
            font={"size": 11, "color": PALETTE[6]},
        )  # fmt: skip
    return figure


def widen(figure: go.Figure, found: Sequence[np.ndarray[Any, Any]]) -> None:
    """A logarithmic axis with ticks written out, where some distribution's end lies far beyond its middle."""
    if not found or max(v[-1] / max(float(np.median(v)), 1e-9) for v in found) <= WIDE:
        return
    low, high = max(min(float(v[0]) for v in found), 0.1), max(float(v[-1]) for v in found)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    shown = [tick for tick in ticks if low / 2.6 <= tick <= high * 2.6]
    figure.update_xaxes(type="log", tickvals=shown, ticktext=[f"{tick:,g}" for tick in shown])


def add_ecdf(figure: go.Figure, name: str, values: np.ndarray[Any, Any], place: int, md_ms: float) -> None:
    """Draw one distribution; `place` chooses colour and dash."""
    x, y = ecdf(values)
    md = [round(value / md_ms, 2) for value in x] if md_ms else []
    in_md = " = %{customdata} md" if md_ms else ""
    figure.add_trace(
        go.Scatter(
            x=x, y=y, customdata=md, mode="lines", name=name,
            line={"shape": "hv", "width": 2.5, "color": PALETTE[place % len(PALETTE)],
                  "dash": DASHES[place % len(DASHES)]},
            hovertemplate="%{y:.1%} within %{x:.1f} ms" + in_md + "<extra></extra>",
        )
    )  # fmt: skip


def latency_rows(run: Run) -> list[list[str]]:
    """One row a distribution: name, N, p50, p90, p99, longest, each in ms and in md where the run has one."""
    md = run.info.md_ms
    rows = []
    for name, values in distributions(run).items():
        points = [float(np.quantile(values, share, method="inverted_cdf")) for share in (0.5, 0.9, 0.99, 1.0)]
        rows.append(
            [name, f"{len(values):,}", *(f"{p:,.0f} ms" + (f" = {p / md:.1f} md" if md else "") for p in points)]
        )
    return rows


def throughput(run: Run) -> go.Figure:
    """Client operations completed a second, by outcome, with faults shaded."""
    figure = blank("operations a second")
    table = frames.operations(run)
    end = max(run.info.end / frames.SECOND, float(table["seconds"].max()) if len(table) else 0.0, 1.0)
    edges = np.arange(0, end + _BIN_S, _BIN_S)
    for kind, colour, symbol in (
        ("ok", PALETTE[2], "circle"),
        ("fail", PALETTE[4], "square"),
        ("info", PALETTE[1], "x"),
    ):
        values = table.loc[table["type"] == kind, "seconds"].to_numpy(dtype=float)
        if len(values) == 0:
            continue
        counts, _ = np.histogram(values, bins=edges)
        figure.add_trace(
            go.Scatter(
                x=(edges[:-1] + _BIN_S / 2).round(3).tolist(), y=(counts / _BIN_S).tolist(), mode="lines+markers",
                marker={"symbol": symbol, "size": 5}, line={"color": colour, "width": 2},
                name=f"{kind} (N={len(values):,})", hovertemplate="%{y:.0f}/s at %{x:.1f} s<extra></extra>",
            )
        )  # fmt: skip
    shade(figure, frames.windows(run))
    return figure


def shade(figure: go.Figure, windows: pd.DataFrame) -> None:
    """Faults as bands with their names."""
    for row, window in enumerate(windows[windows["kind"] == "fault"].to_dict("records")):
        figure.add_shape(
            type="rect", xref="x", yref="y domain", x0=window["start"], x1=window["stop"], y0=0, y1=1,
            fillcolor=FAULT_COLOUR, opacity=0.13, line={"width": 0}, layer="below",
        )  # fmt: skip
        figure.add_annotation(
            x=window["start"], y=0.98 - 0.07 * (row % 4), xref="x", yref="y domain", text=plain_text(window["use"]),
            showarrow=False, xanchor="left", yanchor="top", font={"size": 11, "color": FAULT_COLOUR},
        )  # fmt: skip
