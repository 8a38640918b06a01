"""forensics: a safety violation names its culprits by their own signatures, and nobody honest (I-ACCT)."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from checkers.certified import COMMIT, certified
from checkers.culprits import DENIED, needed, proofs, signed
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.evidence import Proof
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Forensics(Judge):
    """Every violation of agreement is explained by at least 2Q-n nodes whose signatures contradict each other.

    Violations: certificates for two blocks in one view, each such view; two finalised blocks at one height, the lowest.
    Anomalies: too-few-culprits (by signatures: an implementation's fault, no adversary's), honest-accused (the
    signatures of an honest node that kept its disk contradict each other). A violation whose timeout certificate no
    honest node recorded is UNKNOWN, and so is a run with nothing to explain. Examined: violations.
    """

    property: ClassVar[str] = "forensics"

    def judge(self, index: Index) -> Verdict:
        found = proofs(index)
        least = needed(len(index.info.tribe))
        anomalies, doubts = _accused(index, found), list(signed(index).doubts)
        explained = [*_views(index, found), *_fork(index, found)]
        for what, witness, culprits, missing in explained:
            if len(culprits) >= least:
                continue
            summary = f"{what}: only {len(culprits)} of {least} culprits have signed a contradiction"
            summary += f" ({', '.join(culprits)})" if culprits else ""
            if missing:
                doubts.append(f"{summary}; {missing}")
            else:
                anomalies.append(Anomaly("too-few-culprits", summary, [record(event) for event in witness]))
        guilty = list(dict.fromkeys(proof.culprit for proof in found))
        measures: dict[str, Any] = {
            "culprits": guilty,
            "needed": least,
            "byzantine_unproven": [node for node in index.info.byzantine if node not in guilty],
            "lost_their_disk": [node for node in guilty if node in index.info.amnesiac],
            "rules_broken": sorted({proof.rule for proof in found}),
        }
        return conclude(
            self.property, len(explained), anomalies, measures, "no violation of agreement to explain", doubts
        )


_Explained = tuple[str, list[TraceEvent], list[str], str]  # violation, records, culprits, what nobody recorded


def _accused(index: Index, found: list[Proof]) -> list[Anomaly]:
    """Proofs against those who were honest all along."""
    trusted = set(index.info.tribe) - {*index.info.byzantine, *index.info.amnesiac}
    return [
        Anomaly(
            "honest-accused",
            f"{proof.culprit} is honest, yet signed {proof.first.told()} and {proof.second.told()}: {proof.rule}",
            [msgspec.to_builtins(proof)],
        )
        for proof in found
        if proof.culprit in trusted
    ]


def _views(index: Index, found: list[Proof]) -> list[_Explained]:
    """Views with certificates for two blocks, with who contradicted himself in that view."""
    guilty: dict[int, dict[str, None]] = {}
    for proof in found:
        if proof.rule != DENIED:
            guilty.setdefault(proof.first.view, {})[proof.culprit] = None
    kinds: dict[tuple[int, str], set[str]] = {}
    for event in certified(index).valid:
        kinds.setdefault((event["view"], event["block"]), set()).add(event["kind"])
    explained = []
    for view, blocks in certified(index).by_view().items():
        if len(blocks) < 2:
            continue
        each = [kinds[view, block] for block in sorted(blocks)]
        missing = ""
        if any(held == {COMMIT} for held in each):
            missing = "a block has commit votes, but nobody recorded its own certificate"
        elif {"optimistic", "fallback"} <= set().union(*each) and view - 1 not in signed(index).given_up:
            missing = f"no honest node recorded the timeout certificate of view {view - 1}"
        what = f"view {view} has certificates for {' and '.join(short(block) for block in sorted(blocks))}"
        explained.append((what, [blocks[block] for block in sorted(blocks)], list(guilty.get(view, ())), missing))
    return explained


def _fork(index: Index, found: list[Proof]) -> list[_Explained]:
    """The lowest height with two final blocks; a branch off a committed block goes over a timeout certificate."""
    height = next((height for height, blocks in index.finals.items() if len(blocks) > 1), None)
    if height is None:
        return []
    finals = index.finals[height]
    firsts: dict[str, TraceEvent] = {}
    for event in index.events("finalise"):
        if event["height"] == height:
            firsts.setdefault(event["block"], event)
    lowest = min(final.view for final in finals)
    fallbacks = {e["view"] for e in certified(index).valid if e["kind"] == "fallback" and e["view"] > lowest}
    unrecorded = sorted(view - 1 for view in fallbacks if view - 1 not in signed(index).given_up)
    missing = f"no honest node recorded the timeout certificate of view {unrecorded[0]}" if unrecorded else ""
    what = f"height {height} has final blocks {' and '.join(short(final.block) for final in finals)}"
    return [(what, list(firsts.values()), list(dict.fromkeys(proof.culprit for proof in found)), missing)]
