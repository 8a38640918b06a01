"""accountability: a transaction that a secondary had to rescue leaves one record, against its primary (2.5 a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from checkers.evidence import EvidenceError, unhex
from checkers.families import family
from checkers.inclusion import timeline, timeout_ns
from checkers.index import MS, Final, Index, Key
from checkers.judge import Judge, conclude, record, short
from results.stats import binomial_interval
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

Receipts: TypeAlias = dict[tuple[str, str], int]  # (tx, member) -> when (ns, by its own clock) it signed that it had it


@dataclass(frozen=True)
class _Rescue:
    """A transaction first ordered in a batch of somebody else than its primary."""

    tx: str
    family: tuple[str, ...]
    batch: str
    proposer: str
    final: Final

    @property
    def primary(self) -> str:
        return self.family[0]


class Accountability(Judge):
    """Each rescued transaction has exactly one record, made with its batch, and it names the right primary.

    The record is what a finalised batch of a secondary says, with the secondary's `include`; the primary is recomputed
    from the ranking. Anomalies: missing-record, wrong-record (another primary, a secondary's record by or for a batch
    of the primary itself, or a secondary outside the family), duplicate-record, forged-receipt (an honest gateway took
    one that its member never signed). Blame, as measures with exact
    intervals: a record punishes only with the primary's signed receipt of long enough before, and while its batches
    were not full (2.5 a, b); then it is right (the primary is Byzantine) or false (honest), else unattributed. A record
    on the chain is the same for all (byzantine_recorded, honest_recorded: by whom it names). False blame limits the
    claim and is no violation. Records of Byzantine secondaries and of such as crashed are not asked for, only counted.
    Examined: rescued transactions.
    """

    property: ClassVar[str] = "accountability"

    def judge(self, index: Index) -> Verdict:
        records: dict[tuple[str, str], list[TraceEvent]] = {}
        for event in index.events("include"):
            records.setdefault((event["tx"], event["batch"]), []).append(event)
        rescued, anomalies, doubts = _ordered(index, records)
        unrecorded = 0
        steady = set(index.steady)
        for rescue in rescued:
            found = [e for e in records.get((rescue.tx, rescue.batch), ()) if e["role"] == "secondary"]
            if not found and rescue.proposer not in steady:
                unrecorded += 1
                continue
            anomalies += _faults(rescue, found)
        receipts, forged = _receipts(index)
        anomalies += forged
        measures = {"rescued": len(rescued), "by_unheard_secondaries": unrecorded, **_blame(index, rescued, receipts)}
        nothing = "no transaction was rescued by a secondary: no record was due"
        return conclude(self.property, len(rescued), anomalies, measures, nothing, [*doubts, *_unread(index)])


def _ordered(
    index: Index, records: dict[tuple[str, str], list[TraceEvent]]
) -> tuple[list[_Rescue], list[Anomaly], list[str]]:
    """The rescued transactions, and records made for batches of the primary itself."""
    keys: dict[str, Key] = index.keys
    rescued: list[_Rescue] = []
    anomalies: list[Anomaly] = []
    doubts: list[str] = []
    for tx, placed in index.inclusions.items():
        final, batch = placed[0]
        key = keys[batch]
        try:
            members = family(index, tx, key.clan)
        except EvidenceError as error:
            doubts.append(str(error))
            continue
        if key.proposer != members[0]:
            rescued.append(_Rescue(tx, members, batch, key.proposer, final))
            continue
        wrong = [e for e in records.get((tx, batch), ()) if e["role"] == "secondary" or e["primary"] != members[0]]
        if wrong:
            summary = (
                f"transaction {short(tx)} is in a batch of its primary {members[0]}, yet {wrong[0]['node']} recorded"
                f" {wrong[0]['primary']} as the primary, and itself as {wrong[0]['role']}"
            )
            anomalies.append(Anomaly("wrong-record", summary, [record(event) for event in wrong]))
    return rescued, anomalies, doubts


def _faults(rescue: _Rescue, found: list[TraceEvent]) -> list[Anomaly]:
    """What is wrong with the records of one rescue."""
    told = f"transaction {short(rescue.tx)}, rescued by {rescue.proposer} at height {rescue.final.height}"
    if not found:
        summary = f"{told}, has no record against its primary {rescue.primary}"
        witness = {"tx": rescue.tx, "batch": rescue.batch, "height": rescue.final.height, "primary": rescue.primary}
        return [Anomaly("missing-record", summary, [witness])]
    anomalies = []
    for event in found:
        if event["primary"] != rescue.primary or event["node"] != rescue.proposer:
            summary = (
                f"{told}: {event['node']} recorded {event['primary']} as the primary, but it is {rescue.primary}"
                if event["primary"] != rescue.primary
                else f"{told}: the record is by {event['node']}"
            )
            anomalies.append(Anomaly("wrong-record", summary, [record(event)]))
    if rescue.proposer not in rescue.family:
        summary = f"{told}, who is not of its family {', '.join(rescue.family)}"
        anomalies.append(Anomaly("wrong-record", summary, [record(found[0])]))
    if len(found) > 1:
        summary = f"{told}, has {len(found)} records where one is due"
        anomalies.append(Anomaly("duplicate-record", summary, [record(event) for event in found]))
    return anomalies


def _blame(index: Index, rescued: Sequence[_Rescue], receipts: Receipts) -> dict[str, Any]:
    """Whom the records hit, by the penalty test of 2.5 (a): counts, and shares of all rescues with exact intervals."""
    corrupted = set(index.info.byzantine)
    counts = dict.fromkeys(("right_blame", "false_blame", "unattributed", "unattributed_byzantine", "excused_full"), 0)
    for rescue in rescued:
        since = receipts.get((rescue.tx, rescue.primary))
        blamed = since is not None and _punished(index, rescue, since)
        if blamed and since is not None and timeline(index).saturated(since, rescue.final.time):
            blamed = False
            counts["excused_full"] += 1
        if not blamed:
            counts["unattributed"] += 1
            counts["unattributed_byzantine"] += rescue.primary in corrupted
        elif rescue.primary in corrupted:
            counts["right_blame"] += 1
        else:
            counts["false_blame"] += 1
    total = len(rescued)
    honest = sum(rescue.primary not in corrupted for rescue in rescued)
    told: dict[str, Any] = {**counts, "byzantine_recorded": total - honest, "honest_recorded": honest}
    for name in ("right_blame", "false_blame", "unattributed", "byzantine_recorded", "honest_recorded"):
        low, high = binomial_interval(told[name], total)
        told[f"{name}_rate"] = round(told[name] / total, 4) if total else 0.0
        told[f"{name}_interval"] = [round(low, 4), round(high, 4)]
    return told


def _punished(index: Index, rescue: _Rescue, since: int) -> bool:
    """Does a receipt of `since` make the record a penalty, by what is on the chain alone?

    The rescue came after the inclusion time-out, so it was no secondary in haste; and the chain went on for a slack
    more without a batch of the primary that holds the transaction.
    """
    timeout = timeout_ns(index)
    due = since + timeout + _slack(index)
    own = (
        _block_time(final)
        for final, batch in index.inclusions[rescue.tx]
        if index.keys[batch].proposer == rescue.primary
    )
    newest = max((_block_time(final) for final in index.chain[0][-1:]), default=0)
    return since + timeout <= _block_time(rescue.final) and newest >= due and all(time > due for time in own)


def _receipts(index: Index) -> tuple[Receipts, list[Anomaly]]:
    """What was signed, and the receipts that were forged: these do not count."""
    found: Receipts = {}
    forged: list[Anomaly] = []
    for event in index.events("receipt"):
        fields = (unhex(event["tx"], 32, "transaction"), event["member"], event["received_ms"])
        signature = unhex(event["signature"], 64, f"receipt of {event['member']}")
        if index.notary.signed(event["member"], index.notary.statement("receipt", *fields), signature):
            at = (event["tx"], event["member"])
            found[at] = min(event["received_ms"] * MS, found.get(at, event["received_ms"] * MS))
        else:
            summary = f"{event['node']} took a receipt for {short(event['tx'])} that {event['member']} never signed"
            forged.append(Anomaly("forged-receipt", summary, [record(event)]))
    return found, forged


def _block_time(final: Final) -> int:
    """The block's own time stamp, which everybody can read from the chain; else when it was first finalised."""
    return final.time if final.timestamp_ms is None else final.timestamp_ms * MS


def _slack(index: Index) -> int:
    """From the deadline to a block that could hold the batch (ns): batch delay, certificate, queue and proposal."""
    return int((float(index.info.parameters.get("max_batch_delay_ms", 100)) + 4 * index.bounds.md_ms) * MS)


def _unread(index: Index) -> list[str]:
    doubts = [index.chain[1]] if index.chain[1] and index.finals else []
    unknown = sum(len(place.unknown) for place in index.placed)
    unread = unknown + sum(batch not in index.contents for place in index.placed for batch, _ in place.effective)
    if unread:
        doubts.append(f"no honest node knew the transactions of {unread} finalised batches")
    return doubts
