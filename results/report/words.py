"""How a run's verdicts, receipts and facts are put into words: shared by the HTML page, Markdown and JUnit XML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from results.report import frames
from results.report.numbers import cells
from results.store import Run
from results.verdict import Anomaly, Status, Verdict

MAX_WITNESS_CHARS = 20_000
_MAX_VALUE_CHARS = 240
_ORDER = (Status.FAIL, Status.UNKNOWN, Status.PASS)
_PARAMETERS_SHOWN = ("delta_ms", "variant", "inclusion_timeout_ms", "equivocation", "family_size", "max_batch_delay_ms")


def outcome(run: Run) -> tuple[str, str]:
    """(mood, word) of the whole run."""
    if run.info.interrupted:
        return "unknown", "INTERRUPTED"
    if run.info.as_expected is None:
        return "unknown", "INCONCLUSIVE"
    return ("pass", "AS EXPECTED") if run.info.as_expected else ("fail", "A SURPRISE")


def facts(run: Run) -> dict[str, str]:
    """What kind of run it was."""
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
        "started": when(info.started_utc),
    }


def when(stamp: str) -> str:
    """ "20260102T030405Z" as people read it; other text unchanged."""
    if len(stamp) != 16 or not stamp[:8].isdigit():
        return stamp
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]} UTC"


def in_order(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """What failed first, then what is unknown, then what passed."""
    return sorted(verdicts, key=lambda verdict: _ORDER.index(verdict.status))


def observed(verdict: Verdict) -> str:
    """Its measures, or why it is UNKNOWN."""
    if verdict.status is Status.UNKNOWN:
        return verdict.reason
    return "; ".join(f"{_words(k)} {value(v)}" for k, v in verdict.measures.items() if not _is_bound(k))


def bound(verdict: Verdict) -> str:
    """The bounds it was held against."""
    return "; ".join(f"{_words(k)} {value(v)}" for k, v in verdict.measures.items() if _is_bound(k))


def anomalies(run: Run) -> list[tuple[Verdict, Anomaly]]:
    """Every anomaly with its verdict."""
    return [(verdict, anomaly) for verdict in run.verdicts for anomaly in verdict.anomalies]


def witness(anomaly: Anomaly) -> str:
    """The records that prove it, as JSON."""
    return cut(json.dumps(anomaly.witness, indent=1, sort_keys=True), MAX_WITNESS_CHARS)


def receipts(run: Run) -> Iterator[dict[str, str]]:
    """One a fault, or a behaviour of a node: use, kind, targets, active, mood, bite, counts, evidence."""
    for window in frames.windows(run).to_dict("records"):
        for receipt in window["receipts"] or [{}]:
            bit, healed = bool(receipt.get("bit")), receipt.get("heal_verified")
            heal = "" if healed is None else ("heal verified. " if healed else "heal NOT verified. ")
            counted = ("matched", "changed", "dropped", "injected")
            fault = window["kind"] == "fault"  # there `injected` is a time, not a count
            counts = [None if fault and key == "injected" else receipt.get(key) for key in counted]
            yield {
                "use": str(window["use"]),
                "kind": str(window["kind"]),
                "targets": str(receipt.get("node") or _targets(window["targets"])),
                "active": f"{window['start']:.1f}–{window['stop']:.1f} s",
                "mood": "pass" if bit else "unknown",
                "bite": "bit" if bit else "did not bite",
                "counts": " / ".join("–" if count is None else f"{count:,}" for count in counts),
                "evidence": heal + str(receipt.get("evidence", "")),
            }


def metrics(run: Run) -> list[list[str]]:
    """One row a metric: figure, value, 95 % interval, N, how."""
    return [cells(msgspec.structs.asdict(figure)) for figure in run.metrics.figures]


def roster(run: Run) -> list[list[str]]:
    """One row a committee: name, members, Byzantine, how many of the tolerated, quorum."""
    info = run.info
    limits = info.thresholds
    committees = [("tribe", info.tribe, limits.get("faults", "?"), limits.get("quorum", "?"))]
    clans = limits.get("clans") or [{} for _ in info.clans]
    for number, (clan, limit) in enumerate(zip(info.clans, clans, strict=True)):
        committees.append((f"clan {number}", clan, limit.get("faults", "?"), limit.get("majority", "?")))
    rows = []
    for name, members, faults, quorum in committees:
        bad = [node for node in members if node in info.byzantine]
        rows.append([name, ", ".join(members), ", ".join(bad) or "none", f"{len(bad)} of {faults}", str(quorum)])
    return rows


def parameters(run: Run) -> str:
    """The protocol's parameters that matter most."""
    return ", ".join(f"{k} = {run.info.parameters[k]}" for k in _PARAMETERS_SHOWN if k in run.info.parameters)


def versions(run: Run) -> str:
    """What ran, and where."""
    return ", ".join(f"{k} {v}" for k, v in {**run.info.versions, **run.info.machine}.items())


def again(run: Run) -> list[str]:
    """The commands that show it again."""
    info, place = run.info, _place(run.directory)
    scenario = f"{place}/scenario.toml" if (run.directory / "scenario.toml").is_file() else info.name
    commands = [f"run {scenario} --backend {info.backend} --seed {info.seed}", f"check {place}"]
    if info.backend == "sim":
        commands.insert(0, f"replay {place}")
    return [f"moonquake {command}" for command in commands]


def _place(directory: Path) -> str:
    """The directory as seen from here, `latest` followed."""
    whole = directory.resolve()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)


def _count(things: Sequence[Any], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _is_bound(key: str) -> bool:
    return "bound" in key or "limit" in key


def _words(key: str) -> str:
    return key.replace("_", " ")


def _targets(targets: Sequence[str]) -> str:
    return ", ".join(targets[:8]) + (f" … {len(targets)} in all" if len(targets) > 8 else "")


def value(measure: Any) -> str:
    """A measure, however it is nested; distributions with their N."""
    if isinstance(measure, float):
        return f"{measure:,.0f}" if abs(measure) >= 100 else f"{measure:,.3g}"
    if isinstance(measure, dict) and "p50" in measure:
        parts = (f"{key} {value(measure[key])}" for key in ("p50", "p99", "max") if key in measure)
        return f"{', '.join(parts)} (N={measure.get('n', '?')})"
    if isinstance(measure, dict):
        text = ", ".join(f"{_words(str(k))} {value(v)}" for k, v in measure.items()) or "none"
    elif isinstance(measure, list | tuple):
        text = ", ".join(value(v) for v in measure) or "none"
    else:
        text = f"{measure:,}" if type(measure) is int else str(measure)
    return cut(text, _MAX_VALUE_CHARS)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, and where the rest is."""
    return text if len(text) <= limit else text[:limit] + " … (cut; the whole is in verdicts.json)"
