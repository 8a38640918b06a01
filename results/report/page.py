"""The page of a run: verdicts first, then what happened, then the evidence. Templates escape everything a run says."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from results.report import charts, linear, timeline, words
from results.report.around import chart_around
from results.report.sequence import draw, lifelines
from results.report.theme import Figure, page
from results.store import Run
from results.verdict import Verdict

_MAX_ANOMALIES = 30
_MAX_CHARTS = 3
_MAX_SEQUENCE_BYTES = 4_000_000
SEQUENCE = "sequence.svg"
_WHOLE = 8  # lifelines of a chart that can still be read when it is as wide as the page


class SequenceImage(msgspec.Struct, frozen=True):
    """A message-sequence chart for an img element. `whole`: it shrinks to the width of the page. One with more
    lifelines could not be read then; it scrolls in its box, as all do on a telephone."""

    address: str
    whole: bool


def render(run: Run) -> str:
    """The whole page as one HTML document without a single reference to the network."""
    info = run.info
    every = words.anomalies(run)
    return page(
        "page.html",
        title=info.name,
        kicker="run report",
        outcome=words.outcome(run),
        figures=[
            Figure("timeline", "Time line: heights and views per node", timeline.note(run), timeline.timeline(run)),
            Figure("latency", "Latency per finality phase", _latency_note(run), charts.latency(run)),
            Figure("throughput", "Throughput", _THROUGHPUT, charts.throughput(run)),
        ],
        latencies=charts.latency_rows(run),
        notes=info.notes,
        description=str(info.scenario.get("description", "")),
        facts=words.facts(run),
        verdicts=[_verdict_row(verdict, run) for verdict in words.in_order(run.verdicts)],
        anomalies=_anomalies(run),
        hidden=max(0, len(every) - _MAX_ANOMALIES),
        pictures=[_image(picture.encode()) for picture in linear.pictures(run.verdicts).values()],
        sequence=_shrunk(run),
        metrics=words.metrics(run),
        left_out=run.metrics.left_out,
        receipts=list(words.receipts(run)),
        roster=words.roster(run),
        parameters=words.parameters(run),
        command="\n".join(words.again(run)),
        versions=words.versions(run),
    )


_THROUGHPUT = "Completed client operations a second, by outcome: ok happened, fail never will, info is unknown."


def _anomalies(run: Run) -> list[dict[str, Any]]:
    """The first ones, and a chart for the first one of each of a few properties."""
    rows = []
    charted: set[str] = set()
    for verdict, anomaly in words.anomalies(run)[:_MAX_ANOMALIES]:
        picture: SequenceImage | None = None
        if verdict.property not in charted and len(charted) < _MAX_CHARTS:
            chart = chart_around(run, verdict, anomaly)
            if chart is not None:
                charted.add(verdict.property)
                picture = _sequence(draw(chart).encode())
        rows.append(
            {
                "property": verdict.property,
                "kind": anomaly.kind,
                "summary": anomaly.summary,
                "records": len(anomaly.witness),
                "witness": words.witness(anomaly),
                "picture": picture,
            }
        )
    return rows


def _shrunk(run: Run) -> SequenceImage | None:
    """The sequence chart that `moonquake shrink` left, if there is one."""
    path = run.directory / SEQUENCE
    if not path.is_file() or path.stat().st_size > _MAX_SEQUENCE_BYTES:
        return None
    return _sequence(path.read_bytes())


def _sequence(svg: bytes) -> SequenceImage:
    return SequenceImage(_image(svg), lifelines(svg) <= _WHOLE)


def _image(svg: bytes) -> str:
    """An address for an img element: an image runs no script."""
    return "data:image/svg+xml;base64," + b64encode(svg).decode()


def _verdict_row(verdict: Verdict, run: Run) -> dict[str, Any]:
    return {
        "property": verdict.property,
        "status": verdict.status.value,
        "mood": verdict.status.value.lower(),
        "wanted": verdict.property in (run.info.expect.get("violate") or []),
        "examined": f"{verdict.examined:,}",
        "observed": words.observed(verdict),
        "anomalies": len(verdict.anomalies),
        "bound": words.bound(verdict),
    }


def _latency_note(run: Run) -> str:
    if not charts.distributions(run):
        return "No transaction reached a finality phase."
    text = (
        "Share of transactions that had reached a phase within so many ms of their acceptance by the first gateway, and"
        " of honest blocks that a node had committed within so many ms of their proposal."
    )
    if run.info.md_ms:
        text += " Dotted: what is promised for an undisturbed network, in message delays (md)."
    return text
