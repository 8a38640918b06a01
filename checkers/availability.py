"""availability: what is certified can be retrieved by every honest clan node (claim daqc-availability; I-DA)."""

from __future__ import annotations

from typing import Any, ClassVar

from checkers.index import MS, Final, Index
from checkers.judge import Judge, conclude, record, short
from checkers.lives import unwritten
from checkers.reverified import availability
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Availability(Judge):
    """Every finalised batch is held by every never-faulty honest member of its clan by the end of the run.

    And a vote for a batch means that its voter holds it, so that no certificate is for what nobody has. Anomalies:
    lost-batch, undersigned-certificate (not M distinct valid votes of the clan), uncertified-batch (final, but never
    certified), corrupt-body (an honest node executed bytes that are not the batch), vote-without-batch (an honest node
    voted for what it did not hold), held-by-nobody (certified, final or not, and no honest member of the clan ever had
    it). Excluded and counted: void batches (their slot was taken), missing bodies of batches finalised, or networks
    healed, less than retrieve_ms before the end, and held-by-nobody if an honest voter was killed and its records of
    the batch and of its vote may be lost with it. Examined: (batch, member).
    """

    property: ClassVar[str] = "availability"

    def judge(self, index: Index) -> Verdict:
        found = availability(index)
        anomalies = [_undersigned(event, fault) for event, fault in found.invalid]
        doubts = list(found.doubts)
        for event in index.bodies[1]:
            summary = f"{event['node']} executed a body that does not hash to its batch {short(event['batch'])}"
            anomalies.append(Anomaly("corrupt-body", summary, [record(event)]))
        anomalies += _uncertified(index)
        held = _holders(index)
        unheld, unwritten_votes = _held_by_nobody(index, found.valid, held)
        anomalies += _voted_blindly(index, held) + unheld
        grace = int(index.bounds.retrieve_ms * MS)
        late = pairs = 0
        delays: list[float] = []
        lost: list[Anomaly] = []
        if index.chain[1] and index.finals:
            doubts.append(index.chain[1])
        for place in index.placed:
            doubts += [f"no honest node knew the clan of finalised batch {short(batch)}" for batch in place.unknown]
            for batch, key in place.effective:
                members = [node for node in index.info.clans[key.clan] if node in index.steady]
                times = held.get(batch, {})
                missing = [node for node in members if node not in times]
                pairs += len(members) - len(missing)
                if max(place.final.time, index.info.heal) + grace > index.end:
                    late += len(missing)
                    missing = []
                pairs += len(missing)
                delays += [max(0, times[node] - place.final.time) / MS for node in members if node in times]
                if missing:
                    lost.append(_lost(index, place.final, batch, missing, sorted(times)))
        measures: dict[str, Any] = {
            "certificates": found.count,
            "excluded_late": late,
            "excluded_unwritten": unwritten_votes,
            "excluded_void": sum(len(place.void) for place in index.placed),
            "held_after_final_ms": figures(delays),
            "retrieved": sum(1 for event in index.events("retrieve") if event["ok"]),
            "retrieve_ms": index.bounds.retrieve_ms,
        }
        return conclude(self.property, pairs, anomalies + lost, measures, "no finalised batch to examine", doubts)


def _holders(index: Index) -> dict[str, dict[str, int]]:
    """Batch -> honest node -> when it first held the body."""
    held: dict[str, dict[str, int]] = {}
    for event in index.events("batch", "body"):
        times = held.setdefault(event["batch"], {})
        times[event["node"]] = min(int(event["time"]), times.get(event["node"], int(event["time"])))
    return held


def _voted_blindly(index: Index, held: dict[str, dict[str, int]]) -> list[Anomaly]:
    """Votes of never-faulty nodes that never recorded the body (2.3); who was killed may have lost that record."""
    anomalies, steady = [], set(index.steady)
    for event in index.events("availability_vote"):
        if event["node"] not in held.get(event["batch"], {}) and event["node"] in steady:
            what = f"batch {short(event['batch'])} of {event['proposer']}"
            summary = f"{event['node']} voted that it holds {what}, and never recorded that it does"
            anomalies.append(Anomaly("vote-without-batch", summary, [record(event)]))
    return anomalies


def _held_by_nobody(
    index: Index, certificates: list[TraceEvent], held: dict[str, dict[str, int]]
) -> tuple[list[Anomaly], int]:
    """Certified batches that no honest member of their clan ever recorded: M voters, and none of them honest. And how
    many are none, for an honest voter was killed before it could write that it held the batch."""
    anomalies, excused = [], 0
    told: set[str] = set()
    first: dict[str, int] = {}
    for event in certificates:
        first[event["batch"]] = min(int(event["time"]), first.get(event["batch"], int(event["time"])))
    for event in certificates:
        members = set(index.info.clans[event["clan"]]) & set(index.honest)
        if event["batch"] in told or members & held.get(event["batch"], {}).keys():
            continue
        told.add(event["batch"])
        if _unwritten(index, event, members, first[event["batch"]]):
            excused += 1
            continue
        summary = (
            f"batch {short(event['batch'])} has a certificate of {', '.join(event['signers'])}, and no honest"
            f" member of clan {event['clan']} ever held it"
        )
        anomalies.append(Anomaly("held-by-nobody", summary, [record(event)]))
    return anomalies, excused


def _unwritten(index: Index, certificate: TraceEvent, members: set[str], first: int) -> bool:
    """An honest signer has no record of its vote, and was killed so that the vote may fall where nothing was written:
    after the last record of that life, and so before the certificate (`first` seen) that holds the vote."""
    spans = unwritten(index)
    recorded = {e["node"] for e in index.events("availability_vote") if e["batch"] == certificate["batch"]}
    signers = [node for node in certificate["signers"] if node in members and node not in recorded]
    return any(last <= first for node in signers for last, _ in spans.get(node, ()))


def _uncertified(index: Index) -> list[Anomaly]:
    """Blocks order certificates only (2.6): a batch in a final block was certified, and honest nodes saw it."""
    certified = {event["batch"] for event in index.events("available")}
    anomalies = []
    for blocks in index.finals.values():
        for final in blocks:
            for batch in final.batches:
                if certified and batch not in certified:
                    summary = (
                        f"{final.node} finalised batch {short(batch)} at height {final.height} without a certificate"
                    )
                    order = {"event": "finalise", "node": final.node, "time": final.time, "height": final.height}
                    anomalies.append(Anomaly("uncertified-batch", summary, [{**order, "batch": batch}]))
    return anomalies


def _lost(index: Index, final: Final, batch: str, missing: list[str], holders: list[str]) -> Anomaly:
    waited = (index.end - max(final.time, index.info.heal)) / MS
    summary = (
        f"batch {short(batch)} was finalised at height {final.height}; {', '.join(missing)} of its clan still did not"
        f" hold it {waited:.0f} ms later (honest holders: {', '.join(holders) or 'none'})"
    )
    attempts = [record(e) for e in index.events("retrieve") if e["batch"] == batch and e["node"] in missing]
    order = {"event": "finalise", "node": final.node, "time": final.time, "height": final.height, "batch": batch}
    return Anomaly("lost-batch", summary, [order, *attempts[:4]])


def _undersigned(event: TraceEvent, fault: str) -> Anomaly:
    summary = f"{event['node']} accepted an availability certificate for {short(event['batch'])}: {fault}"
    return Anomaly("undersigned-certificate", summary, [record(event)])
