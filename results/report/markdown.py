"""A run as Markdown: for issues, pull requests and chats. The same order as the page: verdicts first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from results.report import charts, words
from results.report.numbers import HEADS
from results.store import Run

_MAX_ANOMALIES = 10


def render_markdown(run: Run) -> str:
    """The document. What a run says is text in it: no markup of others comes through."""
    mood, word = words.outcome(run)
    del mood
    lines = [f"# {text(run.info.name)}: {word}", ""]
    description = str(run.info.scenario.get("description", ""))
    if description:
        lines += [text(description), ""]
    lines += [f"- **{text(key)}**: {text(value)}" for key, value in words.facts(run).items()]
    lines += [f"- note: {text(note)}" for note in run.info.notes]
    verdicts = words.in_order(run.verdicts)
    lines += ["", "## Verdicts", ""]
    lines += table(
        ("property", "verdict", "examined (N)", "observed", "bound"),
        [(v.property, v.status.value, f"{v.examined:,}", words.observed(v), words.bound(v)) for v in verdicts],
    )
    lines += _anomalies(run)
    rows, left_out = words.metrics(run), run.metrics.left_out
    if rows or left_out:
        lines += ["", "## Metrics", "", *(table(HEADS, rows) if rows else [])]
        lines += ["", *(f"- not counted: {text(reason)}" for reason in left_out)] if left_out else []
    receipts = list(words.receipts(run))
    lines += ["", "## Faults and receipts", ""]
    keys = ("use", "kind", "targets", "active", "bite", "counts", "evidence")
    heads = (
        "fault or behaviour",
        "kind",
        "targets",
        "active",
        "bite",
        "matched / changed / dropped / injected",
        "evidence",
    )
    lines += table(heads, [[row[key] for key in keys] for row in receipts]) if receipts else ["No fault was declared."]
    latencies = charts.latency_rows(run)
    if latencies:
        lines += ["", "## Latency", ""]
        lines += table(("from acceptance (blocks: proposal)", "N", "p50", "p90", "p99", "longest"), latencies)
    lines += [
        "",
        "## Again",
        "",
        *(f"    {command}" for command in words.again(run)),
        "",
        text(words.versions(run)),
        "",
    ]
    return "\n".join(lines)


def _anomalies(run: Run) -> list[str]:
    every = words.anomalies(run)
    lines = ["", "## Anomalies", ""] if every else []
    for verdict, anomaly in every[:_MAX_ANOMALIES]:
        lines.append(f"- **{text(verdict.property)}: {text(anomaly.kind)}** ({len(anomaly.witness)} records): "
                     f"{text(anomaly.summary)}")  # fmt: skip
    if len(every) > _MAX_ANOMALIES:
        lines.append(f"- {len(every) - _MAX_ANOMALIES} more in verdicts.json")
    return lines


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; cells are escaped."""
    return [
        f"| {' | '.join(map(text, heads))} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(map(text, row))} |" for row in rows),
    ]


def text(value: str) -> str:
    """Others' words in one line, with everything escaped that Markdown or HTML would take for more."""
    flat = " ".join(value.split())
    return re.sub(r"([\\`*_\[\]<>|#~!])", r"\\\1", flat.replace("&", "&amp;"))
