"""xrbc-agreement: one effect per batch slot, whatever its proposer signed (claim xrbc-equivocation; I-BATCH)."""

from __future__ import annotations

from typing import Any, ClassVar

from checkers.index import Index, Key
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class XrbcAgreement(Judge):
    """All honest nodes execute the same batch for each (clan, proposer, sequence number), the first in the chain.

    Two certificates for one slot may exist, one effect may not, unless the cluster runs EQ-BOTH. Anomalies:
    disagreement (two nodes executed different batches of one slot), two-effects (one node executed two, under
    EQ-FIRST), wrong-choice (what a node executed at a height is not what the finalised order makes effective there),
    honest-equivocation (an honest proposer with its disk signed two batches of one slot), double-availability-vote (an
    honest node with its disk voted for two batches of one slot). Examined: executed slots.
    """

    property: ClassVar[str] = "xrbc-agreement"

    def judge(self, index: Index) -> Verdict:
        events = index.events("execute")
        slots, unknown = _slots(index, events)
        both = index.info.parameters.get("equivocation", "first") == "both"
        anomalies: list[Anomaly] = []
        for key, by_node in slots.items():
            anomalies += _effects(key, by_node, both)
        anomalies += _choices(index, events)
        signed: dict[Key, list[str]] = {}
        for batch, key in index.keys.items():
            signed.setdefault(key, []).append(batch)
        equivocated = {key: sorted(batches) for key, batches in signed.items() if len(batches) > 1}
        anomalies += _honest(index, equivocated) + _double_votes(index)
        certified = {event["batch"] for event in index.events("available")}
        measures: dict[str, Any] = {
            "nodes": len({event["node"] for event in events}),
            "equivocated_slots": len(equivocated),
            "slots_with_two_certificates": sum(len(certified & set(b)) > 1 for b in equivocated.values()),
            "void_batches": sum(len(place.void) for place in index.placed),
        }
        doubts = [f"no honest node knew the slots of {unknown} executed batches"] if unknown else []
        return conclude(self.property, len(slots), anomalies, measures, "no batch was executed", doubts)


_Effects = dict[str, dict[str, TraceEvent]]  # node -> batches of one slot in the order of their execution -> record


def _slots(index: Index, events: list[TraceEvent]) -> tuple[dict[Key, _Effects], int]:
    """What each node executed per slot, by height (a restarted node repeats itself), and batches of unknown slot."""
    slots: dict[Key, _Effects] = {}
    unknown: set[str] = set()
    for event in sorted(events, key=lambda e: (int(e["height"]), int(e["time"]))):
        for batch in event["batches"]:
            key = index.keys.get(batch)
            if key is None:
                unknown.add(batch)
            else:
                slots.setdefault(key, {}).setdefault(event["node"], {}).setdefault(batch, event)
    return slots, len(unknown)


def _effects(key: Key, by_node: _Effects, both: bool) -> list[Anomaly]:
    """At most one disagreement and one double effect per slot. Under EQ-BOTH a node that lags has a part of it all."""
    anomalies = []
    slot = f"batch {key.seq} of {key.proposer} in clan {key.clan}"
    longest = max(by_node.values(), key=len)
    told = {node: tuple(batches) for node, batches in by_node.items()}
    most = next(node for node, batches in by_node.items() if batches is longest)
    other = next((node for node, held in told.items() if held != told[most][: len(held)]), None)
    if other is not None:
        summary = (
            f"{slot}: {most} executed {' and '.join(map(short, told[most]))},"
            f" {other} executed {' and '.join(map(short, told[other]))}"
        )
        witness = [record(event) for node in (most, other) for event in by_node[node].values()]
        anomalies.append(Anomaly("disagreement", summary, witness))
    if len(longest) > 1 and not both:
        summary = f"{slot} took effect {len(longest)} times at {most}: {' and '.join(map(short, longest))}"
        anomalies.append(Anomaly("two-effects", summary, [record(event) for event in longest.values()]))
    return anomalies


def _choices(index: Index, events: list[TraceEvent]) -> list[Anomaly]:
    """Every execution of a height of the undisputed chain holds what that chain makes effective, in its order."""
    due: dict[tuple[int, int], list[str]] = {}
    for place in index.placed:
        if place.unknown:
            break  # a slot that is not known may void any later batch
        for clan in range(len(index.info.clans)):
            due[clan, place.final.height] = [batch for batch, key in place.effective if key.clan == clan]
    anomalies = []
    seen: set[tuple[object, ...]] = set()
    for event in events:
        at = (event["clan"], event["height"])
        if at not in due or event["batches"] == due[at] or (event["node"], *at) in seen:
            continue
        seen.add((event["node"], *at))
        summary = (
            f"{event['node']} executed {_names(event['batches'])} at height {at[1]} of clan {at[0]};"
            f" the finalised order makes {_names(due[at])} effective"
        )
        anomalies.append(Anomaly("wrong-choice", summary, [record(event), {"height": at[1], "effective": due[at]}]))
    return anomalies


def _honest(index: Index, equivocated: dict[Key, list[str]]) -> list[Anomaly]:
    """An honest proposer never signs two batches of one number; one that lost its disk may."""
    trusted = set(index.info.tribe) - {*index.info.byzantine, *index.info.amnesiac}
    suspects = {batch: key for key, batches in equivocated.items() if key.proposer in trusted for batch in batches}
    firsts: dict[str, TraceEvent] = {}
    for event in index.events("available", "availability_vote", "batch", "body"):
        if event["batch"] in suspects:
            firsts.setdefault(event["batch"], event)
    anomalies = []
    for key, batches in equivocated.items():
        if key.proposer in trusted:
            summary = f"{key.proposer} is honest, yet signed {_names(batches)} as batch {key.seq} of clan {key.clan}"
            witness = [record(firsts[batch]) for batch in batches]
            anomalies.append(Anomaly("honest-equivocation", summary, witness))
    return anomalies


def _double_votes(index: Index) -> list[Anomaly]:
    """One availability vote a slot, over all lives of a node that kept its disk."""
    first: dict[tuple[str, Key], TraceEvent] = {}
    anomalies = []
    for event in index.events("availability_vote"):
        slot = (event["node"], Key(event["clan"], event["proposer"], event["seq"]))
        before = first.setdefault(slot, event)
        if before["batch"] != event["batch"] and event["node"] not in index.info.amnesiac:
            summary = (
                f"{event['node']} voted for {short(before['batch'])} and for {short(event['batch'])} as batch"
                f" {event['seq']} of {event['proposer']} in clan {event['clan']}"
            )
            anomalies.append(Anomaly("double-availability-vote", summary, [record(before), record(event)]))
    return anomalies


def _names(batches: list[str]) -> str:
    return " and ".join(map(short, batches)) or "nothing"
