"""A message-sequence chart as one SVG: lifelines side by side, time downwards, what contradicts itself in two colours.

Colours (Okabe-Ito) tell subjects apart, letters do too; dashes tell kinds of messages apart. It follows the reader's
light or dark scheme, and stands on its own: no script, no font, no reference to anything outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

import msgspec

LANE, LEFT, TOP, RIGHT = 178, 84, 128, 190  # px
LINE = 14  # px of one line of text
GAP = (34, 120)  # px between two moments: at least, at most (labels may need more)
PX_A_MS = 0.5
COLOURS = 4  # subjects with a colour of their own; others are grey
PAD = 16


class Lifeline(msgspec.Struct, frozen=True):
    """A node. `role` is written below its name."""

    name: str
    byzantine: bool = False
    role: str = ""


class Arrow(msgspec.Struct, frozen=True):
    """A message. `arrived` None: it was stopped. `style`: proposal | vote | commit | certificate | timeout | data."""

    sent: int  # ns
    arrived: int | None
    sender: str
    receiver: str
    style: str
    subject: str = ""
    title: str = ""  # shown on hovering


class Mark(msgspec.Struct, frozen=True):
    """Something at a node. `strong`: part of the witness."""

    time: int  # ns
    node: str
    text: str
    subject: str = ""
    strong: bool = False


class Band(msgspec.Struct, frozen=True):
    """A time in which a fault was on."""

    start: int  # ns
    stop: int
    text: str


class Chart(msgspec.Struct, frozen=True):
    """`subjects`: hash -> letter of what colours stand for, in order; `notes` go below the chart."""

    title: str
    lifelines: list[Lifeline]
    arrows: list[Arrow]
    marks: list[Mark]
    bands: list[Band] = []
    subjects: dict[str, str] = {}
    notes: list[str] = []


STYLES = {
    "proposal": "proposal",
    "vote": "vote",
    "commit": "commit vote",
    "certificate": "certificate",
    "timeout": "timeout",
    "data": "data",
}
CSS = """
.mqs { color-scheme: light dark; --ink: #1c1c1c; --soft: #5a5a5a; --paper: #ffffff; --band: #d55e0026; --bad: #a32a00;
  --s0: #0072b2; --s1: #c04e00; --s2: #00785a; --s3: #a8548a; --other: #767676;
  font: 12px/1.2 system-ui, sans-serif; fill: var(--ink); }
@media screen and (prefers-color-scheme: dark) { .mqs { --ink: #e6e6e6; --soft: #a8adb5; --paper: #14171c;
  --band: #ff9d4a2e; --bad: #ffb199; --s0: #6cbcf0; --s1: #ff9d4a; --s2: #4fd0a8; --s3: #e6a3cd; --other: #8d939b; } }
.mqs .paper { fill: var(--paper); } .mqs .title { font-size: 16px; font-weight: 650; }
.mqs .soft { fill: var(--soft); } .mqs .name { font-size: 14px; font-weight: 650; }
.mqs .life { stroke: var(--soft); stroke-width: 1; } .mqs .life.byz { stroke: var(--bad); stroke-dasharray: 7 4; }
.mqs .head { fill: var(--paper); stroke: var(--ink); } .mqs .head.byz { stroke: var(--bad); stroke-width: 2; }
.mqs .bad { fill: var(--bad); } .mqs .tick { stroke: var(--soft); stroke-width: .5; opacity: .35; }
.mqs .band { fill: var(--band); } .mqs .band-text { fill: var(--bad); font-weight: 600; }
.mqs .s0 { --c: var(--s0); } .mqs .s1 { --c: var(--s1); } .mqs .s2 { --c: var(--s2); } .mqs .s3 { --c: var(--s3); }
.mqs .sx { --c: var(--other); } .mqs .ink { --c: var(--ink); } .mqs .tip { fill: var(--c); }
.mqs .arrow { stroke: var(--c); stroke-width: 1.3; fill: none; opacity: .85; }
.mqs .proposal { stroke-width: 2.4; opacity: 1; } .mqs .commit { stroke-dasharray: 6 3; }
.mqs .certificate { stroke-dasharray: 1.5 3; } .mqs .timeout { stroke-dasharray: 9 3 2 3; }
.mqs .data { stroke-width: 1.8; } .mqs .sx.arrow, .mqs .sx.tip { opacity: .4; }
.mqs .cross { stroke: var(--bad); stroke-width: 2; }
.mqs .dot { fill: var(--paper); stroke: var(--c); stroke-width: 1.6; } .mqs .dot.strong { fill: var(--c); }
.mqs .plate { fill: var(--paper); opacity: .86; } .mqs .plate.strong { opacity: 1; stroke: var(--c); stroke-width: 2; }
.mqs .text { fill: var(--ink); } .mqs .text.strong { font-weight: 700; fill: var(--c); }
"""


def draw(chart: Chart) -> str:
    """The chart as an SVG document."""
    return _Drawing(chart).document()


def lifelines(svg: bytes) -> int:
    """How many lifelines a document of `draw` has."""
    return svg.count(b'<rect class="head')


class _Drawing:
    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.x = {life.name: LEFT + LANE // 2 + i * LANE for i, life in enumerate(chart.lifelines)}
        self.labels: dict[tuple[int, str], list[Mark]] = {}
        for mark in chart.marks:
            if mark.node in self.x:
                self.labels.setdefault((mark.time, mark.node), []).append(mark)
        self.top = TOP + LINE * len(chart.bands)  # what is on from the beginning is named above
        self.y = self._rows()
        self.bottom = max(self.y.values(), default=self.top) + LINE * (2 + self._lines(max(self.y, default=0)))
        below = max((round(7.4 * len(note)) for note in chart.notes), default=0) + 2 * PAD  # notes are written whole
        self.width = max(LEFT + LANE * len(chart.lifelines) + RIGHT - LANE // 2, below)
        self.height = self.bottom + 2 * PAD + LINE * (3 + len(chart.notes))
        self.colour = {subject: f"s{i}" for i, subject in enumerate(chart.subjects) if i < COLOURS}

    # ------------------------------------------------------------ places
    def _rows(self) -> dict[int, int]:
        """y of every moment: later is lower, and there is room for its labels."""
        moments = {mark.time for mark in self.chart.marks} | {arrow.sent for arrow in self.chart.arrows}
        moments |= {arrow.arrived for arrow in self.chart.arrows if arrow.arrived is not None}
        rows: dict[int, int] = {}
        y = self.top
        ordered = sorted(moments)
        least = GAP[0] + 5 * len(self.x)  # arrows across a wide chart need some slope
        for now, following in pairwise([*ordered, *ordered[-1:]]):
            rows[now] = y
            gap = min(GAP[1], max(least, round((following - now) / 1e6 * PX_A_MS)))
            y += max(gap, LINE * self._lines(now) + LINE)
        return rows

    def _lines(self, time: int) -> int:
        return max((len(marks) for (at, _), marks in self.labels.items() if at == time), default=0)

    def at(self, time: int) -> float:
        """y of any time, between the moments too."""
        known = sorted(self.y)
        if not known or time <= known[0]:
            return self.y[known[0]] - PAD if known and time < known[0] else self.top
        if time >= known[-1]:
            return self.y[known[-1]] + (PAD if time > known[-1] else 0)
        for a, b in pairwise(known):
            if a <= time <= b:
                return self.y[a] + (self.y[b] - self.y[a]) * (time - a) / (b - a)
        raise AssertionError("every time lies between two moments")

    def paint(self, subject: str) -> str:
        """The class that colours a subject."""
        return self.colour.get(subject, "sx")

    # ------------------------------------------------------------ parts
    def document(self) -> str:
        chart = self.chart
        said = "; ".join(f"{mark.node} {mark.text}" for mark in chart.marks if mark.strong)
        style = CSS.replace("\n", " ").strip()
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mqs" role="img" aria-labelledby="mqs-t mqs-d"'
            f' viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}">',
            f'<title id="mqs-t">{escape(chart.title)}</title><desc id="mqs-d">{escape(said)}</desc>',
            f"<style>{style}</style>",
            f'<rect class="paper" width="{self.width}" height="{self.height}"/>',
            _text(PAD, 26, chart.title, "title"),
            *self._legend(),
            *self._bands(),
            *self._lifelines(),
            *(part for arrow in sorted(chart.arrows, key=self._layer) for part in self._arrow(arrow)),
            *self._marks(),
            *self._notes(),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _layer(self, arrow: Arrow) -> tuple[bool, bool]:
        """What matters lies on top: arrows about a subject, and of these the proposals."""
        return arrow.subject in self.colour, arrow.style == "proposal"

    def _notes(self) -> Iterable[str]:
        for row, note in enumerate(self.chart.notes):
            kind = "soft" if row else "band-text"
            yield _text(PAD, self.bottom + 2 * PAD + LINE * (1 + row) + 4 * bool(row), note, kind)

    def _legend(self) -> Iterable[str]:
        x = PAD
        for subject, letter in self.chart.subjects.items():
            text = f"{letter} = {subject[:10]}"
            yield f'<rect class="{self.paint(subject)} tip" x="{x}" y="42" width="12" height="12" rx="2"/>'
            yield _text(x + 18, 52, text, "text")
            x += 34 + 7 * len(text)
        for style in [s for s in STYLES if any(arrow.style == s for arrow in self.chart.arrows)]:
            yield f'<path class="ink arrow {style}" d="M{x} 48h30"/>'
            yield _text(x + 36, 52, STYLES[style], "text")
            x += 54 + 7 * len(STYLES[style])
        if any(arrow.arrived is None for arrow in self.chart.arrows):
            yield _cross(x + 6, 48)
            yield _text(x + 16, 52, "stopped", "text")

    def _bands(self) -> Iterable[str]:
        for row, band in enumerate(self.chart.bands):
            top, bottom = self.at(band.start), self.at(band.stop)
            wide, high = LANE * len(self.chart.lifelines), max(4, bottom - top)
            yield f'<rect class="band" x="{LEFT}" y="{top:.0f}" width="{wide}" height="{high:.0f}"/>'
            yield _text(LEFT + 4, top - 4 - LINE * row, band.text, "band-text")

    def _lifelines(self) -> Iterable[str]:
        right = LEFT + LANE * len(self.chart.lifelines)
        for time, y in self.y.items():
            yield f'<path class="tick" d="M{LEFT - 6} {y}H{right}"/>'
            yield _text(LEFT - 12, y + 4, f"{time / 1e6:,.0f} ms", "soft", "end")
        for life in self.chart.lifelines:
            x, byz = self.x[life.name], " byz" if life.byzantine else ""
            yield f'<path class="life{byz}" d="M{x} {TOP - 26}V{self.bottom}"/>'
            yield f'<rect class="head{byz}" x="{x - 48}" y="66" width="96" height="38" rx="6"/>'
            yield _text(x, 83, life.name, f"name{' bad' if life.byzantine else ''}", "middle")
            role = "Byzantine" if life.byzantine else life.role
            yield _text(x, 98, role, "bad" if life.byzantine else "soft", "middle")

    def _arrow(self, arrow: Arrow) -> Iterable[str]:
        if arrow.sender not in self.x or arrow.receiver not in self.x:
            return
        x1, x2, y1 = self.x[arrow.sender], self.x[arrow.receiver], float(self.y[arrow.sent])
        paint = self.paint(arrow.subject)
        step = 1 if x2 > x1 else -1
        title = f"<title>{escape(arrow.title)}</title>"
        if arrow.arrived is None:
            middle, y2 = (x1 + x2) / 2, y1 + LINE
            yield f'<path class="{paint} arrow {arrow.style}" d="M{x1} {y1:.0f}L{middle:.0f} {y2:.0f}">{title}</path>'
            yield _cross(middle, y2)
            return
        y2 = float(self.y[arrow.arrived])
        end, slope = x2 - 7 * step, (y2 - y1) / (x2 - x1)
        yield (
            f'<path class="{paint} arrow {arrow.style}" d="M{x1} {y1:.0f}L{end} {y2 - 7 * step * slope:.1f}">'
            f"{title}</path>"
        )
        yield f'<path class="{paint} tip" d="{_tip(x2, y2, x1, y1)}"/>'

    def _marks(self) -> Iterable[str]:
        for (time, node), marks in self.labels.items():
            x, y = self.x[node], self.y[time]
            for row, mark in enumerate(marks):
                strong, paint = " strong" if mark.strong else "", self.paint(mark.subject)
                top = y + 3 + LINE * row
                wide = 8 + (7.4 if mark.strong else 6.6) * len(mark.text)
                place = f'x="{x + 8}" y="{top}" width="{wide:.0f}" height="{LINE}" rx="3"'
                yield f'<rect class="{paint} plate{strong}" {place}/>'
                yield _text(x + 12, top + 11, mark.text, f"{paint} text{strong}")
            strong = " strong" if any(mark.strong for mark in marks) else ""
            shown = next((mark for mark in marks if mark.strong), marks[0])
            radius = 6 if strong else 3.5
            yield f'<circle class="{self.paint(shown.subject)} dot{strong}" cx="{x}" cy="{y}" r="{radius}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "") -> str:
    anchored = f" text-anchor={quoteattr(anchor)}" if anchor else ""
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}"{anchored}>{escape(text)}</text>'


def _cross(x: float, y: float) -> str:
    return f'<path class="cross" d="M{x - 4:.0f} {y - 4:.0f}l8 8m0-8l-8 8"/>'


def _tip(x: float, y: float, from_x: float, from_y: float) -> str:
    """An arrow's head with its point at (x, y)."""
    dx, dy = x - from_x, y - from_y
    length = (dx * dx + dy * dy) ** 0.5
    ux, uy = dx / length, dy / length
    bx, by = x - 9 * ux, y - 9 * uy
    return f"M{x} {y:.0f}L{bx - 4 * uy:.1f} {by + 4 * ux:.1f}L{bx + 4 * uy:.1f} {by - 4 * ux:.1f}Z"


def letters(subjects: Sequence[str]) -> dict[str, str]:
    """A, B, C, ... for hashes, in order, each once."""
    return {subject: chr(ord("A") + i) for i, subject in enumerate(dict.fromkeys(subjects)) if i < 26}
