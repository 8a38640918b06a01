"""A picture of register operations round the place where no order was found, or where the search for one gave up.

Drawn from what the checker `linearizable` leaves in a verdict: the witness of each anomaly, or `undecided` in the
measures of an UNKNOWN. Bars are operations from invocation to end, one row a process; the horizontal axis is the order
of the records, not time.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from results.verdict import Status, Verdict

PROPERTY = "linearizable"
ROW, BAR, STEP, LEFT, MARGIN, LINE = 34, 22, 46, 110, 16, 18  # pixels
COLOURS = {  # role -> (fill, stroke)
    "placed": ("#d8f3e8", "#00664a"),
    "stopped": ("#ffd2c2", "#a32a00"),
    "cause": ("#ffe9b0", "#7a5600"),
    "concurrent": ("#eceef2", "#5a5a5a"),
}
LEGEND = {
    "placed": "can be put in this order",
    "stopped": "no place found",
    "cause": "part of the contradiction",
    "concurrent": "under way at the time",
}
_CHARACTERS = 14  # of a value in a bar


def write_pictures(directory: Path, verdicts: Sequence[Verdict]) -> list[Path]:
    """Write one SVG file per anomaly or undecided key into `directory`, which must exist; returns their paths.

    Raises OSError where that cannot be written. Nothing is written for a verdict that passed.
    """
    written = []
    for name, picture in pictures(verdicts).items():
        path = directory / name
        path.write_text(picture, encoding="utf-8")
        written.append(path)
    return written


def pictures(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """File name -> SVG, for every FAIL and UNKNOWN of the checker `linearizable` that says where it stopped."""
    drawn = [draw(operations, title) for title, operations in _stops(verdicts)]
    return {f"{PROPERTY}-{number}.svg": picture for number, picture in enumerate(drawn, 1)}


def _stops(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    for verdict in verdicts:
        if verdict.property != PROPERTY:
            continue
        if verdict.status is Status.FAIL:
            yield from ((anomaly.summary, anomaly.witness) for anomaly in verdict.anomalies)
        for one in verdict.measures.get("undecided", ()):
            yield one["summary"], one["operations"]


def draw(operations: Sequence[Mapping[str, Any]], title: str) -> str:
    """An SVG of operations as the checker describes them (checkers/linear/explain.py), titled by a sentence.

    Needed of each: process, f, value, begin, end (None: open), role; `place` and `could_hold` are drawn if there.
    """
    moments = sorted({m for one in operations for m in (one["begin"], one["end"]) if m is not None})
    column = {moment: LEFT + STEP * rank for rank, moment in enumerate(moments)}
    right = LEFT + STEP * (len(moments) + 1)
    width = max(right + MARGIN, 760)
    lines = textwrap.wrap(title, (width - 2 * MARGIN) // 7)
    top = MARGIN + LINE * len(lines) + 30
    processes = list(dict.fromkeys(one["process"] for one in sorted(operations, key=lambda one: int(one["begin"]))))
    rows = {process: top + ROW * number for number, process in enumerate(processes)}
    bottom = top + ROW * len(rows)
    parts = [_text(MARGIN, MARGIN + LINE * (n + 1) - 6, line, weight=600) for n, line in enumerate(lines)]
    for process, y in rows.items():
        parts.append(_text(MARGIN, y + BAR - 6, f"process {process}"))
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y + BAR / 2}" y2="{y + BAR / 2}" stroke="#d9dce1"/>')
    for one in operations:
        end = right if one["end"] is None else column[one["end"]]
        parts.append(_bar(one, column[one["begin"]], end, rows[one["process"]]))
        if one["role"] == "stopped":
            parts.append(_limit(one, end, top, bottom))
    parts += _legend(bottom + 34)
    height = bottom + 34 + LINE + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _bar(one: Mapping[str, Any], begin: int, end: int, y: int) -> str:
    fill, stroke = COLOURS[one["role"]]
    dash = ' stroke-dasharray="4 3"' if one["end"] is None else ""
    place = f"{one['place']}: " if "place" in one else ""
    records = f"record {one['begin']}" + (", still open" if one["end"] is None else f" to {one['end']}")
    hint = escape(f"process {one['process']}, {records}: {_label(one, 400)}")
    return (
        f'<g><title>{hint}</title><rect x="{begin}" y="{y}" width="{max(end - begin, 4)}" height="{BAR}" rx="4" '
        f'fill="{fill}" stroke="{stroke}"{dash}/>{_text(begin + 5, y + BAR - 7, place + _label(one, _CHARACTERS))}</g>'
    )


def _label(one: Mapping[str, Any], characters: int) -> str:
    def short(value: Any) -> str:
        shown = json.dumps(value, ensure_ascii=False)
        return shown if len(shown) <= characters else shown[: characters - 1] + "…"

    if one["f"] == "cas" and isinstance(one["value"], list):
        return "→".join(short(value) for value in one["value"])
    return f"{'w' if one['f'] == 'write' else 'r'} {short(one['value'])}"


def _limit(one: Mapping[str, Any], x: int, top: int, bottom: int) -> str:
    held = [json.dumps(value, ensure_ascii=False) for value in one.get("could_hold", ())][:6]
    note = f"here it could hold {', '.join(held)}" if held else "no further"
    stroke = COLOURS["stopped"][1]
    line = f'<line x1="{x}" x2="{x}" y1="{top - 12}" y2="{bottom}" stroke="{stroke}" stroke-dasharray="2 3"/>'
    return line + _text(x - 4, bottom + 14, note, colour=stroke, anchor="end" if x > 400 else "start")


def _legend(y: int) -> list[str]:
    parts = []
    for number, (role, meaning) in enumerate(LEGEND.items()):
        x = MARGIN + 185 * number
        fill, stroke = COLOURS[role]
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="12" rx="2" fill="{fill}" stroke="{stroke}"/>')
        parts.append(_text(x + 20, y + 10, meaning))
    return parts


def _text(x: float, y: float, words: str, weight: int = 400, colour: str = "#1c1c1c", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" font-weight="{weight}" text-anchor="{anchor}">{escape(words)}</text>'
