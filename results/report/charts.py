"""The report's charts (Plotly). Okabe-Ito colours: distinct for colour-blind readers; shapes carry the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from results.report import frames
from results.report.theme import BEHAVIOUR_COLOUR, FAULT_COLOUR, PALETTE, blank
from results.store import Run

_BIN_S = 0.5


def shade(figure: go.Figure, windows: pd.DataFrame) -> None:
    """Faults as bands, behaviours as thin bars along the top; each labelled once."""
    for row, window in enumerate(windows.to_dict("records")):
        fault = window["kind"] == "fault"
        colour = FAULT_COLOUR if fault else BEHAVIOUR_COLOUR
        figure.add_shape(
            type="rect",
            xref="x",
            yref="y domain",
            x0=window["start"],
            x1=window["stop"],
            y0=0 if fault else 0.965 - 0.03 * (row % 3),
            y1=1 if fault else 0.985 - 0.03 * (row % 3),
            fillcolor=colour,
            opacity=0.14 if fault else 0.7,
            line={"width": 0},
            layer="below",
        )
        figure.add_annotation(
            x=window["start"],
            y=0.93 - 0.07 * (row % 4),
            xref="x",
            yref="y domain",
            text=str(window["use"]),
            showarrow=False,
            xanchor="left",
            font={"size": 11, "color": colour},
        )


def timeline(run: Run) -> go.Figure:
    """Finalised height per node over time, faults shaded, restarts marked, Byzantine nodes dotted."""
    figure = blank("finalised height")
    heights = frames.heights(run)
    byzantine = set(run.info.byzantine)
    order = [*run.info.tribe, *run.info.gateways]
    for index, node in enumerate(order):
        rows = heights[heights["node"] == node]
        corrupted = node in byzantine
        figure.add_trace(
            go.Scatter(
                x=rows["seconds"].tolist(),
                y=rows["height"].tolist(),
                name=f"{node} (Byzantine)" if corrupted else node,
                mode="lines",
                line={
                    "color": PALETTE[index % len(PALETTE)],
                    "width": 1.5 if corrupted else 2,
                    "dash": "dot" if corrupted else ("solid" if node in run.info.tribe else "dash"),
                    "shape": "hv",
                },
                customdata=rows["view"].tolist(),
                hovertemplate=node + ": height %{y}, view %{customdata}, %{x:.2f} s<extra></extra>",
            )
        )
    for restart in frames.restarts(run).to_dict("records"):
        known = heights[(heights["node"] == restart["node"]) & (heights["seconds"] <= restart["seconds"])]
        figure.add_trace(
            go.Scatter(
                x=[restart["seconds"]],
                y=[int(known["height"].max()) if len(known) else 0],
                mode="markers",
                marker={"symbol": "x", "size": 11, "color": FAULT_COLOUR},
                name=f"{restart['node']} restarts",
                showlegend=False,
                hovertemplate=f"{restart['node']} restarts, {restart['recovered']} log records<extra></extra>",
            )
        )
    shade(figure, frames.windows(run))
    figure.update_layout(height=440)
    return figure


def latency(run: Run) -> go.Figure:
    """Distribution of latency per finality phase: share of transactions within x ms of acceptance."""
    figure = blank("share of transactions", "ms from acceptance at the gateway")
    table = frames.phases(run)
    for index, phase in enumerate(frames.PHASES):
        values = np.sort(table.loc[table["phase"] == phase, "latency_ms"].to_numpy(dtype=float))
        if len(values) == 0:
            continue
        share = np.arange(1, len(values) + 1) / len(values)
        figure.add_trace(
            go.Scatter(
                x=values.round(2).tolist(),
                y=share.round(5).tolist(),
                mode="lines",
                line={"shape": "hv", "width": 2.5, "color": PALETTE[index]},
                name=f"{frames.PHASE_NAMES[phase]} (N={len(values)})",
                hovertemplate="%{y:.1%} within %{x:.0f} ms<extra></extra>",
            )
        )
    figure.update_yaxes(tickformat=".0%")
    return figure


def throughput(run: Run) -> go.Figure:
    """Client operations completed a second, by outcome, with faults shaded."""
    figure = blank("operations a second")
    table = frames.operations(run)
    end = max(run.info.end / frames.SECOND, float(table["seconds"].max()) if len(table) else 0.0, 1.0)
    edges = np.arange(0, end + _BIN_S, _BIN_S)
    for kind, colour, symbol in (
        ("ok", PALETTE[2], "circle"),
        ("fail", PALETTE[1], "square"),
        ("info", PALETTE[5], "x"),
    ):
        values = table.loc[table["type"] == kind, "seconds"].to_numpy(dtype=float)
        if len(values) == 0:
            continue
        counts, _ = np.histogram(values, bins=edges)
        figure.add_trace(
            go.Scatter(
                x=(edges[:-1] + _BIN_S / 2).round(3).tolist(),
                y=(counts / _BIN_S).tolist(),
                mode="lines+markers",
                marker={"symbol": symbol, "size": 5},
                line={"color": colour, "width": 2},
                name=f"{kind} (N={len(values)})",
                hovertemplate="%{y:.0f}/s at %{x:.1f} s<extra></extra>",
            )
        )
    shade(figure, frames.windows(run))
    return figure
