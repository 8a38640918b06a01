"""certificates: every certificate that an honest node accepted verifies again from the trace alone (I-CERT)."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from checkers.certified import certified
from checkers.index import Index
from checkers.judge import Judge, conclude, record
from checkers.reverified import availability, states, timeouts
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

BLOCK = ("optimistic", "normal", "fallback", "commit")


class Certificates(Judge):
    """Block, commit, timeout, availability and state certificates: quorum, members, and each signature.

    With the checkers' own arithmetic and libsodium, against the statement of this chain, epoch and cycle; what honest
    nodes did with them is no matter here. Anomalies, by kind of certificate: invalid-block-certificate,
    invalid-timeout-certificate, invalid-availability-certificate, invalid-state-certificate. Records without
    signatures, and steps that left no certificate at all (a finalised block, a final batch, an execution that went
    on), are doubts. Examined: distinct certificates.
    """

    property: ClassVar[str] = "certificates"

    def judge(self, index: Index) -> Verdict:
        blocks, clock, held, roots = certified(index), timeouts(index), availability(index), states(index)
        anomalies = [
            _invalid(f"invalid-{kind}-certificate", event, fault)
            for kind, found in (
                ("block", blocks.invalid),
                ("timeout", clock.invalid),
                ("availability", held.invalid),
                ("state", roots.invalid),
            )
            for event, fault in found
        ]
        kinds = Counter(event["kind"] for event in (*blocks.valid, *(event for event, _ in blocks.invalid)))
        counts = {kind: kinds[kind] for kind in BLOCK}
        counts |= {"timeout": clock.count, "availability": held.count, "state": roots.count}
        doubts = [*blocks.doubts, *clock.doubts, *held.doubts, *roots.doubts, *_missing(index, counts)]
        if clock.unsigned:
            doubts.append(f"{clock.unsigned} timeout certificates were recorded without their signatures")
        measures: dict[str, Any] = {**counts, "signatures": index.notary.verified}
        nothing = "no honest node recorded a certificate"
        return conclude(self.property, sum(counts.values()), anomalies, measures, nothing, doubts)


def _invalid(kind: str, event: TraceEvent, fault: str) -> Anomaly:
    what = kind.split("-")[1]
    where = f"of view {event['view']}" if "view" in event else f"of clan {event['clan']}"
    return Anomaly(kind, f"{event['node']} accepted a {what} certificate {where}: {fault}", [record(event)])


def _missing(index: Index, counts: dict[str, int]) -> list[str]:
    """Kinds of certificates that cannot all be missing after what honest nodes did."""
    finals = index.events("finalise")
    by_timeout = any(event["via"] == "timeout" for event in index.events("enter"))
    seen = (
        (bool(finals), sum(counts[kind] for kind in BLOCK), "blocks were finalised, but no block certificate recorded"),
        (by_timeout, counts["timeout"], "views were left by time-outs, but no timeout certificate recorded"),
        (
            any(e["batches"] for e in finals),
            counts["availability"],
            "batches are final, but none is certified",
        ),
    )
    return [f"{what}: there is nothing to verify again" for due, count, what in seen if due and not count]
