"""dedup: a transaction takes effect at most once (claim dedup; I-ONCE)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, TypeAlias

from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record, short
from results.store import RunInfo
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

# A record is stamped after the step that it tells of, on a starved machine long after: half the time-out is waited.
WAITED = 0.5
TOO_NEW = "too-new"
Included: TypeAlias = tuple[int, str]  # height, batch


class Dedup(Judge):
    """A transaction takes effect at most once over all clans and heights, however often it is submitted or included.

    Anomalies: double-effect, disagreement (honest nodes applied different transactions), and, in runs without faults
    and behaviours, duplicate-inclusion. A copy that aborted as too-new was rightly included again and is no duplicate,
    nor is that of a secondary who had waited out the inclusion time-out, as it must (2.5; a slow machine, not a fault).
    Examined: applied transactions, plus the copies seen in a duplicates workload (none seen there: UNKNOWN).
    """

    property: ClassVar[str] = "dedup"
    columnar: ClassVar[str] = "checkers.columnar.dedup"

    def judge(self, index: Index) -> Verdict:
        executed, anomalies = agreed(index.events("execute"))
        effects: dict[str, list[TraceEvent]] = {}
        aborts: Counter[str] = Counter()
        too_new: Counter[str] = Counter()
        for event in executed.values():
            for tx in event["applied"]:
                effects.setdefault(tx, []).append(event)
            for tx, reason in event["aborted"]:
                aborts[reason] += 1
                too_new[tx] += reason == TOO_NEW
        anomalies += [double(tx, events) for tx, events in effects.items() if len(events) > 1]
        placed = {tx: [(final.height, batch) for final, batch in found] for tx, found in index.inclusions.items()}
        copies = Copies(index.info, index.undisturbed, placed, too_new)
        anomalies += copies.judged(index.events("received"), index.events("include"))
        inclusions = sum(map(len, index.inclusions.values()))
        return concluded(index.workload(), len(effects), anomalies, inclusions, copies, _submitted(index), aborts)


class Copies:
    """Transactions that were included more than once, though no copy of them was too new."""

    def __init__(
        self, info: RunInfo, undisturbed: bool, inclusions: Mapping[str, Sequence[Included]], too_new: Counter[str]
    ) -> None:
        """`inclusions` by transaction, in order; those that are included once do not matter."""
        self._info, self._undisturbed, self._too_new = info, undisturbed, too_new
        self._more = {
            tx: placed for tx, placed in inclusions.items() if len(placed) - min(too_new[tx], len(placed)) > 1
        }
        self.extra = sum(len(placed) - 1 - too_new[tx] for tx, placed in self._more.items())
        self.waited = 0  # inclusions by secondaries after the time-out

    def judged(self, received: Iterable[TraceEvent], includes: Sequence[TraceEvent]) -> list[Anomaly]:
        """Duplicates that nobody had a reason for."""
        patient = _patient(self._info, received, includes)
        waited = Counter(tx for tx, placed in self._more.items() for _, batch in placed if (tx, batch) in patient)
        self.waited = sum(waited.values())
        if not self._undisturbed:
            return []
        hasty = {tx: p for tx, p in self._more.items() if len(p) - waited[tx] - self._too_new[tx] > 1}
        return _duplicates(includes, hasty)


def concluded(
    workload: str, effects: int, anomalies: list[Anomaly], inclusions: int, copies: Copies, submitted: int,
    aborts: Mapping[str, int],
) -> Verdict:  # fmt: skip
    """The verdict."""
    examined = effects
    doubts = []
    if workload == "duplicates" and effects:
        examined += submitted + copies.extra
        if submitted + copies.extra == 0:
            doubts.append("a duplicates workload in which no transaction was seen twice: it tested nothing")
    measures = {
        "applied": effects,
        "inclusions": inclusions,
        "duplicate_inclusions": copies.extra,
        "included_after_the_timeout": copies.waited,
        "copies_submitted": submitted,
        "aborted": dict(sorted(aborts.items())),
    }
    return conclude("dedup", examined, anomalies, measures, "no transaction was applied", doubts)


def agreed(executions: Iterable[TraceEvent]) -> tuple[dict[tuple[int, int], TraceEvent], list[Anomaly]]:
    """One execute record per (clan, height), that of most nodes; honest records that applied others are anomalies.

    A restarted node executes again; equal records count once.
    """
    versions: dict[tuple[int, int], dict[tuple[str, ...], list[TraceEvent]]] = {}
    for event in executions:
        at = (event["clan"], event["height"])
        versions.setdefault(at, {}).setdefault(tuple(event["applied"]), []).append(event)
    executed: dict[tuple[int, int], TraceEvent] = {}
    anomalies = []
    for at in sorted(versions):
        records = sorted(versions[at].values(), key=lambda events: (-len(events), events[0]["applied"]))
        executed[at] = records[0][0]
        if len(records) > 1:
            one, other = records[0][0], records[1][0]
            summary = (
                f"{one['node']} and {other['node']} applied different transactions in clan {at[0]} at height {at[1]}"
            )
            anomalies.append(Anomaly("disagreement", summary, [record(one), record(other)]))
    return executed, anomalies


def double(tx: str, events: list[TraceEvent]) -> Anomaly:
    told = " and ".join(f"clan {e['clan']} height {e['height']}" for e in events)
    return Anomaly("double-effect", f"transaction {short(tx)} took effect in {told}", [record(e) for e in events[:2]])


def _patient(info: RunInfo, received: Iterable[TraceEvent], includes: Iterable[TraceEvent]) -> set[tuple[str, str]]:
    """(transaction, batch) of the inclusions by secondaries who had held it for the inclusion time-out."""
    timeout = int(WAITED * float(info.parameters.get("inclusion_timeout_ms", 2000)) * MS)
    since: dict[tuple[str, str], int] = {}
    for event in received:
        if event["role"] == "secondary":
            since.setdefault((event["tx"], event["node"]), int(event["time"]))
    waited: set[tuple[str, str]] = set()
    for event in includes:
        begun = since.get((event["tx"], event["node"]))
        if event["role"] == "secondary" and begun is not None and int(event["time"]) - begun >= timeout:
            waited.add((event["tx"], event["batch"]))
    return waited


def _duplicates(events: Iterable[TraceEvent], duplicated: Mapping[str, Sequence[Included]]) -> list[Anomaly]:
    """Inclusions beyond the first in a run where every primary was honest and in time."""
    includes: dict[str, list[TraceEvent]] = {}
    for event in events:
        if event["tx"] in duplicated:
            includes.setdefault(event["tx"], []).append(event)
    anomalies = []
    for tx, placed in duplicated.items():
        told = " and ".join(f"batch {short(batch)} (height {height})" for height, batch in placed)
        roles = ", ".join(f"{e['node']} as {e['role']}" for e in includes.get(tx, ())) or "nobody on record"
        summary = f"transaction {short(tx)} was included in {told}, in a run without faults; included by {roles}"
        witness = [{"tx": tx, "batch": batch, "height": height} for height, batch in placed]
        anomalies.append(Anomaly("duplicate-inclusion", summary, [*witness, *map(record, includes.get(tx, ()))]))
    return anomalies


def _submitted(index: Index) -> int:
    """Submissions beyond the first that gateways accepted and sent on; what a client meant to submit does not count."""
    gateways: dict[str, set[str]] = {}
    for event in index.events("forward"):
        gateways.setdefault(event["tx"], set()).add(event["node"])
    return sum(len(names) - 1 for names in gateways.values())
