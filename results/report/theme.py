"""The look that every page shares: one template, one style sheet, one palette, one copy of Plotly a page.

A page of your own is a template beside this file and a call:

    {% extends "base.html" %}
    {% from "parts.html" import badge, chart, facts, table %}
    {% block lead %}<p class="lead">{{ summary }}</p>{{ facts({"N": 12}) }}{% endblock %}
    {% block body %}
      <section><h2>Kills</h2>{{ table(["mutant", ["runs", "number"], "verdict"],
                                       [["MM3", 1, ["badge", "pass", "killed"]]]) }}</section>
      {% for figure in figures %}{{ chart(figure) }}{% endfor %}
    {% endblock %}

    page("mine.html", title="Teeth", kicker="kill matrix", outcome=("pass", "AS EXPECTED"), summary="...",
         figures=[Figure("matrix", "Kill matrix", "What is to be seen, with N.", go_figure)])

`title`, `kicker` (what kind of page) and `outcome` (mood and word, or None) go into the header; everything else is the
template's own. Moods are pass, fail, unknown and plain. Everything is escaped; there is no need for `| safe`, ever.
Figures begin with `blank(y, x)` and take their colours from PALETTE, in order: each has a partner for dark pages, which
`paint.js` puts in its place, so write them exactly as they stand here. Colour is never the only difference: add dashes,
symbols or names. Tables of class `cards` (what `table` makes) fold into cards below 600 px; give cells written by hand
a `data-label`.

Pages refer to nothing outside themselves. Their policy allows two scripts, each by its hash: so a text that slipped
through the escaping could still not run.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import plotly.graph_objects as go
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

# After Okabe-Ito. Light -> dark page; all at least 3:1 against their page, and apart for colour-blind eyes, too: no two
# nearer than 14 (CIELAB) under simulated protanopia, deuteranopia or tritanopia (tests/unit/test_report_colours.py).
COLOURS = {
    "#0072B2": "#6CBCF0",
    "#D55E00": "#FF9D4A",
    "#00A35A": "#6FF0B0",
    "#B5609A": "#E6A3CD",
    "#804000": "#F0E07A",
    "#4E1DB4": "#7A78FF",
    "#5C5C5C": "#8A8A8A",
    "#1D1D1D": "#E5E5E5",
}
PALETTE = tuple(COLOURS)
FAULT_COLOUR = PALETTE[1]
BEHAVIOUR_COLOUR = PALETTE[3]
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon")
GRID = "rgba(128,128,128,.25)"
_REPORT = "results.report"


class Figure:
    """A chart of a page. `name` is its id in the page, `note` says what is to be seen and over how many (N)."""

    def __init__(self, name: str, title: str, note: str, figure: go.Figure) -> None:
        self.name = name
        self.title = title
        self.note = note
        self.height = int(figure.layout.height or 380)
        self.data = embedded(figure)


def blank(y: str, x: str = "seconds from the start of the run") -> go.Figure:
    """A figure in the reports' style, without data; `x` and `y` name the axes."""
    figure = go.Figure()
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        colorway=PALETTE,
        font={"family": "system-ui, sans-serif", "size": 13},
        margin={"l": 56, "r": 16, "t": 24, "b": 44},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        height=380,
        xaxis={"title": {"text": x}, "gridcolor": GRID, "zeroline": False, "automargin": True},
        yaxis={
            "title": {"text": y}, "gridcolor": GRID, "zeroline": False, "rangemode": "tozero", "automargin": True
        },
    )  # fmt: skip
    return figure


def page(
    template: str,
    *,
    title: str,
    kicker: str,
    outcome: tuple[str, str] | None = None,
    figures: Sequence[Figure] = (),
    linked: bool = False,
    package: str = _REPORT,
    **context: Any,
) -> str:
    """A page as HTML. `linked`: style and scripts come from /assets of the server; else they are in the page.

    `template` is a file of `package`, or of this one. Raises jinja2 errors for a template that is wrong.
    """
    own: dict[str, Any] = {"style": "", "paint": "", "plotly": "", "policy": ""}
    if not linked:
        paint = asset("paint.js") if figures else ""
        own = {
            "style": Markup(asset("style.css")),
            "paint": Markup(paint),
            "plotly": Markup(packed_plotly()) if figures else "",
            "policy": policy(paint),
        }
    return _environment(package).get_template(template).render(
        **own, title=title, kicker=kicker, outcome=outcome, figures=list(figures), linked=linked,
        colours=Markup(json.dumps(COLOURS)), **context,
    )  # fmt: skip


def policy(paint: str) -> str:
    """The content security policy of a self-contained page: its own two scripts or none, and nothing from outside."""
    scripts = f"{_hash(paint)} {_plotly_hash()}" if paint else "'none'"
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {scripts}"


def plain_text(text: Any) -> str:
    """A text that others wrote, as a chart may show it: Plotly reads a little markup, links too."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def embedded(figure: go.Figure) -> Markup:
    """A figure as JSON that is safe inside a script element."""
    return in_script(figure.to_json())


def in_script(text: str) -> Markup:
    """JSON text that no browser takes for the end of a script element, or for a comment in it."""
    return Markup(text.replace("<", "\\u003c"))


def in_json(value: Any) -> Markup:
    """Any value as JSON that is safe inside a script element."""
    return in_script(msgspec.json.encode(value).decode())


def asset(name: str, package: str = _REPORT) -> str:
    """The text of a file of a package. Raises FileNotFoundError."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


@cache
def packed_plotly() -> str:
    """Plotly's script, gzipped, in base64: 2 MB a page instead of 5."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 6, mtime=0)).decode()


@cache
def _plotly_hash() -> str:
    return _hash(get_plotlyjs())


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def _environment(package: str) -> Environment:
    def load(name: str) -> str | None:
        for place in dict.fromkeys((package, _REPORT)):
            if files(place).joinpath(name).is_file():
                return asset(name, place)
        return None

    return Environment(
        loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=False, cache_size=50
    )
