"""accusations: whoever an honest node accuses is guilty, and its evidence proves it to anybody (I-ACC)."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any, ClassVar

from checkers.culprits import proofs
from checkers.evidence import EvidenceError
from checkers.index import Index
from checkers.judge import Judge, conclude, record
from checkers.signedwords import Signed, guilt, signed_words
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Accusations(Judge):
    """Every accusation by an honest node carries statements that the accused signed and no honest replica signs all.

    Votes, proposals, availability votes and batch headers are decoded from the evidence and verified against the
    public keys; two availability certificates of one slot convict its proposer as far as a clan is within its bound.
    Anomalies: honest-accused (of an honest replica that kept its disk), worthless-evidence (cannot be decoded, is not
    signed by the accused, or contradicts nothing). Measures: accusations by kind, the share of them against Byzantine
    replicas, who was accused, and who contradicted himself in certificates without being accused. Examined: distinct
    accusations.
    """

    property: ClassVar[str] = "accusations"

    def judge(self, index: Index) -> Verdict:
        distinct: dict[tuple[str, str, str], TraceEvent] = {}
        for event in index.events("accuse"):
            distinct.setdefault((event["culprit"], event["kind"], event["evidence"]), event)
        trusted = set(index.honest) - set(index.info.amnesiac)
        anomalies: list[Anomaly] = []
        for event in distinct.values():
            if event["culprit"] in trusted:
                summary = f"{event['node']} accuses {event['culprit']}, which is honest, of {event['kind']}"
                anomalies.append(Anomaly("honest-accused", summary, [record(event)]))
            fault = _fault(index, event)
            if fault:
                summary = f"{event['node']} accuses {event['culprit']} of {event['kind']} with evidence that {fault}"
                anomalies.append(Anomaly("worthless-evidence", summary, [record(event)]))
        accused = {event["culprit"] for event in distinct.values()}
        guilty = [event for event in distinct.values() if event["culprit"] in index.info.byzantine]
        measures: dict[str, Any] = {
            "by_kind": dict(sorted(Counter(event["kind"] for event in distinct.values()).items())),
            "accused": sorted(accused),
            "right_share": round(len(guilty) / len(distinct), 4) if distinct else 0.0,
            "contradicted_but_not_accused": sorted({proof.culprit for proof in proofs(index)} - accused),
        }
        return conclude(self.property, len(distinct), anomalies, measures, "no honest node accused anybody")


def _fault(index: Index, event: TraceEvent) -> str:
    """Why the evidence proves nothing, or ""."""
    try:
        words = signed_words(base64.b64decode(event["evidence"], validate=True))
    except (EvidenceError, ValueError) as error:
        return f"cannot be decoded ({error})"
    for word in words:
        fault = _unsigned(index, event["culprit"], word)
        if fault:
            return fault
    return "" if guilt(words) else "contradicts nothing: an honest replica may sign all of it"


def _unsigned(index: Index, culprit: str, word: Signed) -> str:
    """Why a statement is not the culprit's, or ""."""
    if word.author != culprit:
        return f"is by {word.author}"
    for signer, statement, signature in word.signatures(index):
        if not index.notary.signed(signer, statement, signature):
            return f"{signer} did not sign"
    return word.fault(index)
