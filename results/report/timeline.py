"""The time line of a run: heights, views and a lane per node over one axis, so that zooming moves all three.

Many nodes would hide each other: beyond MAX_NODES only the conspicuous ones (corrupted, restarted, hit, in a witness)
get a line of their own, then others up to the limit; what is left is drawn as a band from the lowest to the highest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from results.report import frames
from results.report.theme import BEHAVIOUR_COLOUR, DASHES, FAULT_COLOUR, GRID, PALETTE, blank, plain_text
from results.store import Run

MAX_NODES = 24
MAX_POINTS = 1500  # of one line
MAX_TICKS = 400  # of one lane and kind
_OTHERS = "#767676"


def timeline(run: Run) -> go.Figure:
    """The figure. Faults are bands over all three parts and bars in the lanes of the nodes they hit."""
    shown = conspicuous(run)
    hidden = [node for node in everyone(run) if node not in set(shown)]
    lanes = list(reversed(shown))
    height = 560 + 17 * len(lanes)
    room = (17 * len(lanes) + 30) / height  # of the lanes
    figure = blank("height")
    figure.update_layout(
        height=height,
        hovermode="closest",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        yaxis={"domain": [room + (1 - room) * 0.42, 1]},
        yaxis2=_axis("view", [room + 0.04, room + (1 - room) * 0.36]),
        yaxis3={
            "domain": [0, room], "range": [-0.7, len(lanes) - 0.3], "showgrid": False, "zeroline": False,
            "tickvals": list(range(len(lanes))), "ticktext": [_label(run, node) for node in lanes],
            "tickfont": {"size": 11},
        },
    )  # fmt: skip
    figure.update_xaxes(anchor="y3")
    _curves(figure, run, shown, frames.heights(run), "height", "y")
    _curves(figure, run, shown, frames.views(run), "view", "y2")
    _band(figure, frames.heights(run), hidden)
    windows = frames.windows(run)
    _bands(figure, windows)
    _lane_marks(figure, run, lanes)
    _lane_bars(figure, windows, lanes)
    return figure


def everyone(run: Run) -> list[str]:
    """Nodes of the tribe, then gateways."""
    return [*run.info.tribe, *run.info.gateways]


def conspicuous(run: Run, limit: int = MAX_NODES) -> list[str]:
    """The nodes to draw one by one, in the tribe's order: all, or those that something happened to and some others."""
    nodes = everyone(run)
    if len(nodes) <= limit:
        return nodes
    info = run.info
    named = [record.get("node") for v in run.verdicts for a in v.anomalies for record in a.witness]
    first = [*info.byzantine, *info.crashed, *info.amnesiac, *frames.restarts(run)["node"], *named, *nodes]
    chosen = set(list(dict.fromkeys(node for node in first if node in set(nodes)))[:limit])
    return [node for node in nodes if node in chosen]


def note(run: Run) -> str:
    """What is to be seen, with its N."""
    shown, all_of_them = conspicuous(run), everyone(run)
    finals, restarts = frames.heights(run), frames.restarts(run)
    text = (
        "Drag to zoom, double-click to return. Bands are faults. Below, a lane per node: ticks are finalisations, open"
        " triangles time-outs, crosses restarts; bars are the faults that hit the node (orange) and its own behaviours"
        " if it is Byzantine (purple). Gateways are dashed, Byzantine nodes dotted."
        f" N = {len(finals):,} finalisations at {len(all_of_them)} nodes, {len(restarts)} restarts."
    )
    if len(shown) < len(all_of_them):
        text += f" {len(all_of_them) - len(shown)} further nodes are the grey band from their lowest to highest height."
    return text


def _label(run: Run, node: str) -> str:
    return f"{plain_text(node)} <b>BYZ</b>" if node in run.info.byzantine else plain_text(node)


def _axis(title: str, domain: Sequence[float]) -> dict[str, Any]:
    return {"title": {"text": title}, "domain": list(domain), "gridcolor": GRID, "zeroline": False}


def _style(run: Run, node: str, place: int) -> dict[str, Any]:
    corrupted = node in run.info.byzantine
    dash = "dot" if corrupted else "dash" if node in run.info.gateways else DASHES[place // len(PALETTE) % len(DASHES)]
    return {"color": PALETTE[place % len(PALETTE)], "width": 1.5 if corrupted else 2, "dash": dash, "shape": "hv"}


def thinned(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most about `most` rows, evenly spread, the last one always among them."""
    if len(rows) <= most:
        return rows
    kept = np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))
    return rows.iloc[kept]


def _curves(figure: go.Figure, run: Run, nodes: Iterable[str], table: pd.DataFrame, what: str, axis: str) -> None:
    for place, node in enumerate(nodes):
        rows, name = thinned(table[table["node"] == node], MAX_POINTS), plain_text(node)
        figure.add_trace(
            go.Scatter(
                x=rows["seconds"].round(4).to_numpy(),
                y=rows[what].to_numpy(),
                yaxis=axis,
                name=f"{name} (Byzantine)" if node in run.info.byzantine else name,
                legendgroup=node,
                showlegend=what == "height",
                mode="lines",
                line=_style(run, node, place),
                hovertemplate=name + ": " + what + " %{y}, %{x:.3f} s<extra></extra>",
            )
        )


def _band(figure: go.Figure, table: pd.DataFrame, hidden: Sequence[str]) -> None:
    """Lowest and highest height of the nodes that have no line."""
    rows = table[table["node"].isin(set(hidden))]
    if rows.empty:
        return
    bins = pd.cut(rows["seconds"], 300, labels=False)
    wide = rows.assign(bin=bins).pivot_table(index="bin", columns="node", values="height", aggfunc="max").ffill()
    at = rows.assign(bin=bins).groupby("bin")["seconds"].max().loc[wide.index]
    for values, name, fill in ((wide.min(axis=1), "lowest", None), (wide.max(axis=1), "highest", "tonexty")):
        figure.add_trace(
            go.Scatter(
                x=at.round(3).tolist(), y=values.fillna(0).tolist(), mode="lines", fill=fill,
                fillcolor="rgba(118,118,118,.25)", line={"color": _OTHERS, "width": 0.5, "shape": "hv"},
                name=f"{len(hidden)} others", showlegend=fill is not None,
                hovertemplate=name + " of the others %{y:.0f}, %{x:.2f} s<extra></extra>",
            )
        )  # fmt: skip


def _bands(figure: go.Figure, windows: pd.DataFrame) -> None:
    faults = windows[windows["kind"] == "fault"]
    for row, window in enumerate(faults.to_dict("records")):
        figure.add_shape(
            type="rect", xref="x", yref="paper", x0=window["start"], x1=window["stop"], y0=0, y1=1,
            fillcolor=FAULT_COLOUR, opacity=0.13, line={"width": 0}, layer="below",
        )  # fmt: skip
        figure.add_annotation(
            x=window["start"], y=0.985 - 0.032 * (row % 5), xref="x", yref="paper", text=plain_text(window["use"]),
            showarrow=False, xanchor="left", yanchor="top", font={"size": 11, "color": FAULT_COLOUR},
        )  # fmt: skip


def _lane_marks(figure: go.Figure, run: Run, lanes: Sequence[str]) -> None:
    place = {node: index for index, node in enumerate(lanes)}
    kinds = (
        ("finalises", frames.heights(run), "line-ns", {"size": 9, "line": {"width": 1, "color": PALETTE[0]}}, "height"),
        ("times out", frames.timeouts(run), "triangle-up-open", {"size": 8, "color": PALETTE[7]}, "view"),
        ("restarts", frames.restarts(run), "x", {"size": 10, "color": FAULT_COLOUR}, "recovered"),
    )
    for name, table, symbol, marker, told in kinds:
        parts = [thinned(rows, MAX_TICKS) for node, rows in table.groupby("node") if node in place]
        if not parts:
            continue
        rows = pd.concat(parts)
        figure.add_trace(
            go.Scatter(
                x=rows["seconds"].round(4).to_numpy(), y=rows["node"].map(place).to_numpy(), yaxis="y3",
                mode="markers", name=name, marker={"symbol": symbol, **marker}, customdata=rows[[told]].to_numpy(),
                text=[plain_text(node) for node in rows["node"]], showlegend=True,
                hovertemplate="%{text} " + name + ", " + told + " %{customdata[0]}, %{x:.3f} s<extra></extra>",
            )
        )  # fmt: skip


def _lane_bars(figure: go.Figure, windows: pd.DataFrame, lanes: Sequence[str]) -> None:
    place = {node: index for index, node in enumerate(lanes)}
    for window in windows.to_dict("records"):
        fault = window["kind"] == "fault"
        hit = {end for target in window["targets"] for end in target.split(">")} & set(place)
        for node in sorted(hit):
            y = place[node] + (0.28 if fault else -0.42)
            figure.add_shape(
                type="rect", xref="x", yref="y3", x0=window["start"], x1=window["stop"], y0=y, y1=y + 0.14,
                fillcolor=FAULT_COLOUR if fault else BEHAVIOUR_COLOUR, opacity=0.9, line={"width": 0}, layer="above",
            )  # fmt: skip
