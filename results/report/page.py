"""The page: verdicts first, then what happened, then the evidence. The template escapes everything that a run says."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from results.report import charts, frames, linear
from results.store import Run
from results.verdict import Status, Verdict

_MAX_WITNESS_CHARS = 20_000
_MAX_ANOMALIES = 30
_MAX_SEQUENCE_BYTES = 4_000_000
SEQUENCE = "sequence.svg"
_MAX_VALUE_CHARS = 240
_PARAMETERS_SHOWN = ("delta_ms", "variant", "inclusion_timeout_ms", "equivocation", "family_size", "max_batch_delay_ms")


def render(run: Run) -> str:
    """The whole page as one HTML document without a single reference to the network."""
    info = run.info
    mood, word = _outcome(run)
    every = [(verdict, anomaly) for verdict in run.verdicts for anomaly in verdict.anomalies]
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(asset("page.html"))
    return template.render(
        info=info,
        mood=mood,
        word=word,
        description=str(info.scenario.get("description", "")),
        facts=_facts(run),
        verdicts=[_verdict_row(verdict) for verdict in run.verdicts],
        anomalies=[
            {
                "property": verdict.property,
                "kind": anomaly.kind,
                "summary": anomaly.summary,
                "records": len(anomaly.witness),
                "witness": _cut(json.dumps(anomaly.witness, indent=1, sort_keys=True), _MAX_WITNESS_CHARS),
            }
            for verdict, anomaly in every[:_MAX_ANOMALIES]
        ],
        hidden=max(0, len(every) - _MAX_ANOMALIES),
        pictures=[_image(picture.encode()) for picture in linear.pictures(run.verdicts).values()],
        sequence=_sequence(run),
        receipts=_receipt_rows(run),
        charts=_charts(run),
        roster=_roster(run),
        parameters=", ".join(f"{k} = {info.parameters[k]}" for k in _PARAMETERS_SHOWN if k in info.parameters),
        command=_again(run),
        versions=", ".join(f"{k} {v}" for k, v in {**info.versions, **info.machine}.items()),
        style=Markup(asset("style.css")),
        script=Markup(asset("paint.js")),
        plotly=Markup(get_plotlyjs()),
    )


def asset(name: str) -> str:
    """The text of a file of this package."""
    return files("results.report").joinpath(name).read_text(encoding="utf-8")


def _sequence(run: Run) -> str:
    """The sequence chart that `moonquake shrink` left, as an address ("": there is none). An image runs no script."""
    path = run.directory / SEQUENCE
    if not path.is_file() or path.stat().st_size > _MAX_SEQUENCE_BYTES:
        return ""
    return _image(path.read_bytes())


def _image(picture: bytes) -> str:
    """An SVG as an address: what it says stays in the page, and no script in it can run."""
    return "data:image/svg+xml;base64," + b64encode(picture).decode()


def _outcome(run: Run) -> tuple[str, str]:
    if run.info.interrupted:
        return "unknown", "INTERRUPTED"
    if run.info.as_expected is None:
        return "unknown", "INCONCLUSIVE"
    return ("pass", "AS EXPECTED") if run.info.as_expected else ("fail", "A SURPRISE")


def _facts(run: Run) -> dict[str, str]:
    info = run.info
    violate = info.expect.get("violate") or []
    named = f": {', '.join(info.byzantine)}" if info.byzantine else ""
    nodes = (_count(info.tribe, "tribe node"), _count(info.clans, "clan"), _count(info.gateways, "gateway"))
    return {
        "regime": f"{info.regime} the claimed bound",
        "expected": f"must violate {', '.join(violate)}" if violate else "every property holds",
        "backend": f"{info.backend}, network faults by {info.layer}",
        "nodes": ", ".join(nodes),
        "Byzantine": f"{len(info.byzantine)}{named}",
        "mean message delay (md)": f"{info.md_ms:g} ms",
        "seed": str(info.seed),
        "started": info.started_utc,
    }


def _again(run: Run) -> str:
    info = run.info
    commands = [f"run {info.name} --backend {info.backend} --seed {info.seed}", f"check {run.directory}"]
    if info.backend == "sim":
        commands.append(f"replay {run.directory}")
    return "\n".join(f"moonquake {command}" for command in commands)


def _count(things: Sequence[Any], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    observed = "; ".join(f"{_words(k)} {_short(v)}" for k, v in verdict.measures.items() if not _is_bound(k))
    return {
        "property": verdict.property,
        "status": verdict.status.value,
        "mood": verdict.status.value.lower(),
        "examined": f"{verdict.examined:,}",
        "observed": verdict.reason if verdict.status is Status.UNKNOWN else observed,
        "anomalies": len(verdict.anomalies),
        "bound": "; ".join(f"{_words(k)} {_short(v)}" for k, v in verdict.measures.items() if _is_bound(k)),
    }


def _receipt_rows(run: Run) -> list[dict[str, str]]:
    rows = []
    for window in frames.windows(run).to_dict("records"):
        for receipt in window["receipts"] or [{}]:
            bit, healed = bool(receipt.get("bit")), receipt.get("heal_verified")
            heal = "" if healed is None else ("heal verified. " if healed else "heal NOT verified. ")
            counted = ("matched", "changed", "dropped", "injected")
            fault = window["kind"] == "fault"  # there `injected` is a time, not a count
            counts = [None if fault and key == "injected" else receipt.get(key) for key in counted]
            rows.append(
                {
                    "use": str(window["use"]),
                    "kind": str(window["kind"]),
                    "targets": str(receipt.get("node") or _targets(window["targets"])),
                    "active": f"{window['start']:.1f}–{window['stop']:.1f} s",
                    "mood": "pass" if bit else "unknown",
                    "bite": "bit" if bit else "did not bite",
                    "counts": " / ".join("–" if count is None else f"{count:,}" for count in counts),
                    "evidence": heal + str(receipt.get("evidence", "")),
                }
            )
    return rows


def _charts(run: Run) -> list[dict[str, Any]]:
    described: list[tuple[str, str, str, go.Figure]] = [
        (
            "timeline",
            "Finalised height per node",
            "Bands are faults, bars along the top Byzantine behaviours, crosses restarts; "
            "gateways are dashed, Byzantine nodes dotted.",
            charts.timeline(run),
        ),
        ("latency", "Latency per finality phase", _latency_note(run), charts.latency(run)),
        ("throughput", "Throughput", "Completed client operations a second, by outcome.", charts.throughput(run)),
    ]
    return [
        {"name": name, "title": title, "note": note, "data": embedded(figure)}
        for name, title, note, figure in described
    ]


def embedded(figure: go.Figure) -> Markup:
    """A figure as JSON that is safe inside a script element."""
    return Markup(figure.to_json().replace("<", "\\u003c"))


def _latency_note(run: Run) -> str:
    table, md = frames.phases(run), run.info.md_ms
    parts = []
    for phase in frames.PHASES:
        values = table.loc[table["phase"] == phase, "latency_ms"]
        if len(values):
            p50, p99 = float(values.quantile(0.5)), float(values.quantile(0.99))
            in_md = f" = {p50 / md:.1f} md" if md else ""
            parts.append(f"{frames.PHASE_NAMES[phase]} p50 {p50:.0f} ms{in_md}, p99 {p99:.0f} ms (N={len(values)})")
    return "; ".join(parts) or "No transaction reached a finality phase."


def _roster(run: Run) -> list[dict[str, str]]:
    info = run.info
    limits = info.thresholds
    committees = [("tribe", info.tribe, limits.get("faults", "?"), limits.get("quorum", "?"))]
    clans = limits.get("clans") or [{} for _ in info.clans]
    for number, (clan, limit) in enumerate(zip(info.clans, clans, strict=True)):
        committees.append((f"clan {number}", clan, limit.get("faults", "?"), limit.get("majority", "?")))
    rows = []
    for name, members, faults, quorum in committees:
        bad = [node for node in members if node in info.byzantine]
        rows.append(
            {
                "name": name,
                "members": ", ".join(members),
                "byzantine": ", ".join(bad) or "none",
                "used": f"{len(bad)} of {faults}",
                "quorum": str(quorum),
            }
        )
    return rows


def _is_bound(key: str) -> bool:
    return "bound" in key or "limit" in key


def _words(key: str) -> str:
    return key.replace("_", " ")


def _targets(value: Sequence[str]) -> str:
    return ", ".join(value[:8]) + (f" … {len(value)} in all" if len(value) > 8 else "")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
    if isinstance(value, dict) and "p50" in value:
        return f"p50 {_short(value['p50'])}, p99 {_short(value['p99'])}, max {_short(value['max'])} (N={value['n']})"
    if isinstance(value, dict):
        text = ", ".join(f"{_words(str(k))} {_short(v)}" for k, v in value.items()) or "none"
    elif isinstance(value, list | tuple):
        text = ", ".join(_short(v) for v in value) or "none"
    else:
        text = f"{value:,}" if type(value) is int else str(value)
    return _cut(text, _MAX_VALUE_CHARS)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + " … (cut; the whole is in verdicts.json)"
