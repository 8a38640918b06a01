"""responsiveness: blocks come and are finalised at the speed of the actual network, not of Delta (L-RESP)

It takes two runs of one cluster that differ in their message delay alone: `moonquake check RUN --against OTHER`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import Any

import msgspec

from checkers.evidence import EvidenceError
from checkers.index import Index, index_of
from checkers.judge import conclude, crashed, record, tempered
from checkers.soundness import flaws
from checkers.spans import Span, commits, periods, unmeasurable
from results.history import HistoryError
from results.stats import bootstrap_mean
from results.store import Run, RunInfo
from results.verdict import Anomaly, Status, Verdict

PROPERTY = "responsiveness"
LOW, HIGH = 0.9, 1.1  # of the elasticity: 1 is proportional to the delay, 0 does not depend on it
APART = 1.5  # how far apart the delays must be at least: nearer ones tell nothing within such bounds
FEWEST = 10  # blocks of each run
SAME = ("target", "backend", "tribe", "gateways", "clans", "parameters", "leaders")  # fields of run.json
OWN = ("latency", "jitter_ms")  # of a scenario's [network]: what may differ


class Followed(msgspec.Struct, frozen=True):
    """How a span of time follows the delay: d ln(time) / d ln(delay), with its 95 % interval and the means (ms)."""

    elasticity: float
    low: float
    high: float
    means_ms: tuple[float, float]
    blocks: tuple[int, int]


def compare(one: Run, other: Run) -> Verdict:
    """The verdict on two runs; UNKNOWN with a reason for runs that cannot be read or compared.

    Passes if the intervals of both elasticities lie within 0.9 to 1.1, fails if one lies wholly outside. Anomalies:
    period, commit. Examined: blocks. The bounds leave room for what a machine itself takes, beside the network.
    """
    try:
        first, second = index_of(one), index_of(other)
        return tempered(judge(first, second), [*flaws(first), *flaws(second)])
    except (HistoryError, EvidenceError) as error:
        return Verdict(PROPERTY, Status.UNKNOWN, 0, reason=str(error))
    except Exception:
        return crashed(PROPERTY)


def judge(one: Index, other: Index) -> Verdict:
    """The verdict on two readable runs, in either order."""
    fast, slow = sorted((one, other), key=lambda index: index.info.md_ms)
    doubts = incomparable(fast, slow)
    anomalies: list[Anomaly] = []
    measures: dict[str, Any] = {"md_ms": [fast.info.md_ms, slow.info.md_ms], "delta_ms": fast.bounds.delta_ms}
    examined = 0
    for kind, what, spans in () if doubts else QUANTITIES:
        mine, theirs = spans(fast), spans(slow)
        if min(len(mine), len(theirs)) < FEWEST:
            doubts.append(f"{min(len(mine), len(theirs))} blocks tell of the {what} in one run, where {FEWEST} must")
            continue
        found = followed(fast.info.md_ms, mine, slow.info.md_ms, theirs)
        measures[kind] = msgspec.to_builtins(found)
        examined += sum(found.blocks)
        if found.high < LOW or found.low > HIGH:
            anomalies.append(_broken(kind, what, found, (fast, mine), (slow, theirs)))
        elif found.low < LOW or found.high > HIGH:
            doubts.append(
                f"the elasticity of the {what} lies between {found.low:.3f} and {found.high:.3f}, partly outside"
                f" {LOW} to {HIGH}; give longer runs, or delays farther apart"
            )
    return conclude(PROPERTY, examined, anomalies, measures, "nothing was measured", doubts)


def followed(fast_ms: float, fast: Sequence[Span], slow_ms: float, slow: Sequence[Span]) -> Followed:
    """The elasticity of the mean; the interval takes the far ends of both means' bootstrap intervals."""
    spans = [[span * md for span, *_ in found] for md, found in ((fast_ms, fast), (slow_ms, slow))]
    means = [sum(values) / len(values) for values in spans]
    (fast_low, fast_high), (slow_low, slow_high) = map(bootstrap_mean, spans)
    ratio = log(slow_ms / fast_ms)
    return Followed(
        round(log(means[1] / means[0]) / ratio, 4),
        round(log(slow_low / fast_high) / ratio, 4),
        round(log(slow_high / fast_low) / ratio, 4),
        (round(means[0], 3), round(means[1], 3)),
        (len(fast), len(slow)),
    )


def incomparable(fast: Index, slow: Index) -> list[str]:
    """Why the two runs say nothing about each other, in words; empty if they do."""
    one, other = fast.info, slow.info
    reasons = [f"{info.name}: {why}" for info, why in ((one, unmeasurable(fast)), (other, unmeasurable(slow))) if why]
    reasons += [f"{info.name}: the run was interrupted" for info in (one, other) if info.interrupted]
    differ = [name for name in SAME if getattr(one, name) != getattr(other, name)]
    if _network(one) != _network(other):
        differ.append("network (beside its latency)")
    if differ:
        reasons.append(f"the runs differ in {', '.join(differ)}: only the message delay may differ")
    if not reasons and other.md_ms < APART * one.md_ms:
        reasons.append(
            f"the message delays are {one.md_ms:g} and {other.md_ms:g} ms: the greater must be {APART} times the other"
        )
    if not reasons and other.md_ms > fast.bounds.delta_ms:
        reasons.append(f"a message delay of {other.md_ms:g} ms is beyond Delta = {fast.bounds.delta_ms:g} ms")
    if not reasons and one.parameters.get("idle_delay_ms"):
        reasons.append("idle leaders wait in these runs (idle_delay_ms): their blocks follow the load")
    return reasons


def _network(info: RunInfo) -> dict[str, Any]:
    declared: dict[str, Any] = info.scenario.get("network") or {}
    return {name: value for name, value in declared.items() if name not in OWN}


def _commits(index: Index) -> list[Span]:
    """One span a block: nodes finalise one block at nearly one time, so they are not independent."""
    by_block: dict[str, list[Span]] = {}
    for span in commits(index):
        by_block.setdefault(span[2]["block"], []).append(span)
    return [
        (sum(span for span, *_ in found) / len(found), found[0][1], found[0][2]) for found in by_block.values()
    ]  # fmt: skip


QUANTITIES: tuple[tuple[str, str, Callable[[Index], list[Span]]], ...] = (
    ("period", "time between consecutive blocks", periods),
    ("commit", "time from proposal to finalisation", _commits),
)


def _broken(
    kind: str, what: str, found: Followed, fast: tuple[Index, list[Span]], slow: tuple[Index, list[Span]]
) -> Anomaly:
    summary = (
        f"the {what} is {found.means_ms[0]:.0f} ms at a message delay of {fast[0].info.md_ms:g} ms and"
        f" {found.means_ms[1]:.0f} ms at {slow[0].info.md_ms:g} ms: elasticity {found.elasticity:.3f} (95 %:"
        f" {found.low:.3f} to {found.high:.3f}), not {LOW} to {HIGH}; Delta is {fast[0].bounds.delta_ms:g} ms in both"
    )
    witness: list[dict[str, Any]] = []
    for (index, spans), mean in zip((fast, slow), found.means_ms, strict=True):
        usual = min(spans, key=lambda span: abs(span[0] * index.info.md_ms - mean))
        witness += [{**record(event), "md_ms": index.info.md_ms} for event in usual[1:]]
    return Anomaly(kind, summary, witness)
