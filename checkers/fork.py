"""fork: no two honest nodes ever finalise different blocks at one height (claim no-fork; I-PFX, I-U, I-CERT)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from checkers.arithmetic import tribe_quorum
from checkers.certified import Certified, certified
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

CONTENT = ("height", "view", "parent", "proposer", "timestamp_ms", "batches")  # bound by a block's hash
NOTHING = "no honest node finalised a block"


class Fork(Judge):
    """No two honest nodes finalise different blocks at one height, and no view has certificates for two blocks.

    Anomalies: fork, payload-differs (one hash, two contents), two-certificates, invalid-certificate (accepted by an
    honest node, but not Q distinct valid votes of the tribe), unjustified (final, yet no honest node saw it certified
    in its view). Examined: (node, height) pairs over all incarnations.
    """

    property: ClassVar[str] = "fork"
    columnar: ClassVar[str] = "checkers.columnar.fork"

    def judge(self, index: Index) -> Verdict:
        finals, held = index.events("finalise"), certified(index)
        anomalies = forks(finals) + contents(finals)
        anomalies += certificates(held) + timeouts(index.info.tribe, index.events("timeout_certificate"))
        if held.count:
            anomalies += unjustified(finals, {(event["block"], event["view"]) for event in index.events("certify")})
        pairs = {(event["node"], event["height"]) for event in finals}
        nodes = sorted({node for node, _ in pairs})
        measures = {
            "nodes": len(nodes),
            "heights": len(index.finals),
            "certificates": held.count,
            "signatures": index.notary.verified,
        }
        doubts = [*held.doubts, *untested(nodes, held.count, index.info.target)]
        return conclude(self.property, len(pairs), anomalies, measures, NOTHING, doubts)


def untested(nodes: Sequence[str], certificates: int, target: str) -> list[str]:
    """Why the absence of forks says nothing, given who finalised anything."""
    doubts = []
    if nodes and not certificates and target == "supra":
        doubts.append("blocks were finalised, but no honest node recorded a certificate")
    if len(nodes) == 1:
        doubts.append(f"only {nodes[0]} finalised anything; a fork takes two honest nodes")
    return doubts


def forks(finals: Iterable[TraceEvent]) -> list[Anomaly]:
    """Heights at which different blocks are final; `finals` by time."""
    firsts: dict[int, dict[str, TraceEvent]] = {}
    for event in finals:
        firsts.setdefault(event["height"], {}).setdefault(event["block"], event)
    anomalies = []
    for height in sorted(firsts):
        records = sorted(firsts[height].values(), key=lambda e: (int(e["time"]), e["block"]))
        if len(records) > 1:
            told = "; ".join(f"{r['node']} finalised {short(r['block'])} in view {r['view']}" for r in records)
            summary = f"height {height}: {told}; neither extends the other"
            anomalies.append(Anomaly("fork", summary, [record(r) for r in records]))
    return anomalies


def contents(finals: Iterable[TraceEvent]) -> list[Anomaly]:
    """A block hash must bind its height, view, parent and payload: equal at all honest nodes."""
    versions: dict[str, dict[tuple[object, ...], TraceEvent]] = {}
    for event in finals:
        content = tuple(str(event.get(name)) for name in CONTENT)
        versions.setdefault(event["block"], {}).setdefault(content, event)
    anomalies = []
    for block, contents in versions.items():
        if len(contents) > 1:
            first, other = list(contents.values())[:2]
            differs = [name for name in CONTENT if first.get(name) != other.get(name)]
            summary = (
                f"block {short(block)} has one hash but another {' and '.join(differs)}"
                f" at {other['node']} than at {first['node']}"
            )
            anomalies.append(Anomaly("payload-differs", summary, [record(e) for e in contents.values()]))
    return anomalies


def certificates(held: Certified) -> list[Anomaly]:
    """Certificates must be valid; valid ones must name one block a view, whatever their kind."""
    anomalies: list[Anomaly] = []
    for event, fault in held.invalid:
        summary = (
            f"{event['node']} accepted a {event['kind']} certificate for {short(event['block'])}"
            f" in view {event['view']} that is invalid: {fault}"
        )
        anomalies.append(Anomaly("invalid-certificate", summary, [record(event)]))
    for view, found in held.by_view().items():
        blocks = [found[block] for block in sorted(found)]
        if len(blocks) > 1:
            both = sorted(set(blocks[0]["signers"]) & set(blocks[1]["signers"]))
            told = " and ".join(f"{short(e['block'])} ({e['kind']}, seen by {e['node']})" for e in blocks)
            summary = f"view {view} has valid certificates for {told}; {', '.join(both)} signed both"
            anomalies.append(Anomaly("two-certificates", summary, [record(e) for e in blocks]))
    return anomalies


def unjustified(finals: Iterable[TraceEvent], certified: set[tuple[str, int]]) -> list[Anomaly]:
    """Every final block has a certificate, a (block, view): its child, or the votes for it, could not be without."""
    anomalies = []
    for event in finals:
        at = (event["block"], event["view"])
        if at not in certified:
            certified.add(at)  # told once
            summary = (
                f"{event['node']} finalised {short(event['block'])} at height {event['height']}, but no honest node"
                f" saw a certificate for it in view {event['view']}"
            )
            anomalies.append(Anomaly("unjustified", summary, [record(event)]))
    return anomalies


def timeouts(tribe: Sequence[str], events: Iterable[TraceEvent]) -> list[Anomaly]:
    """Timeout certificates are recorded without their signatures: the signers alone are counted."""
    quorum = tribe_quorum(len(tribe))
    anomalies = []
    for event in events:
        voters = set(event["signers"]) & set(tribe)
        if len(voters) < quorum or len(event["signers"]) != len(voters):
            summary = (
                f"{event['node']} accepted a timeout certificate of view {event['view']} signed by"
                f" {', '.join(event['signers'])}: {quorum} different nodes of the tribe are needed"
            )
            anomalies.append(Anomaly("invalid-certificate", summary, [record(event)]))
    return anomalies
