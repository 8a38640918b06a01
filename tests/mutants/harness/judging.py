"""Traps in what judges a run: checkers that cannot fire, or that look away."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from checkers.index import Index
from faults.byzantine.equivocating_leader import EquivocatingLeader
from faults.byzantine.port import CorruptedNode
from faults.byzantine.sealing import Proposal, reseal
from harness.mutants import Function, Patch
from harness.traps import Trap
from nodes.messages import Block
from results.verdict import Status, Verdict

QUORUM = "checkers.arithmetic:tribe_quorum"


def compares_with_itself(original: Function) -> Function:
    """The checker stores what it sees before it compares: it finds nothing, whatever it examined."""

    def judge(self: Any, index: Index) -> Verdict:
        verdict: Verdict = original(self, index)
        return replace(verdict, status=Status.PASS, anomalies=[], examined=max(1, verdict.examined), reason="")

    return judge


def any_commit_will_do(original: Function) -> Function:
    """Liveness holds as soon as one replica, an honest one or not, finalised something after the heal."""

    def judge(self: Any, index: Index) -> Verdict:
        if any(e["event"] == "finalise" and int(e["time"]) > index.info.heal for e in index._history.trace):  # type: ignore[attr-defined]
            return Verdict("liveness", Status.PASS, 1)
        verdict: Verdict = original(self, index)
        return verdict

    return judge


def looks_away(original: Function) -> Function:
    """Index leaves out every node that is behind the highest."""

    def init(self: Index, run: Any) -> None:
        original(self, run)
        tips: dict[str, int] = {}
        for event in self.events("finalise"):
            tips[event["node"]] = max(tips.get(event["node"], 0), event["height"])
        kept = {node for node in self.honest if tips.get(node, 0) >= max(tips.values(), default=0) - 1}
        self.honest = tuple(node for node in self.honest if node in kept)
        self.steady = tuple(node for node in self.steady if node in kept)
        self.mute = tuple(node for node in self.mute if node in kept)
        self.all_events = [event for event in self.all_events if event["node"] in kept]
        self._by_name.clear()
        for event in self.all_events:
            self._by_name.setdefault(event["event"], []).append(event)

    return init


def without_payload(original: Function) -> Function:
    """The payload is not part of a block's hash."""

    def block_hash(block: Block) -> bytes:
        found: bytes = original(replace(block, payload=()))
        return found

    return block_hash


def payload_only(original: Function) -> Function:
    """EquivocatingLeader's two blocks differ in their payload, and in nothing else."""

    def variant(self: EquivocatingLeader, node: CorruptedNode, proposal: Proposal) -> Proposal:
        return reseal(node, proposal, replace(proposal.block, payload=proposal.block.payload[1:]))

    return variant


def borrowed(original: Function) -> Function:
    """The judges use the formula of the system under test, with the mistake of mutant A2 in it."""
    return lambda n: 2 * ((n - 1) // 3) + 1


MUTANTS = (
    Trap(
        "I3", "the checker of forks compares what it stored with itself",
        (Patch("checkers.fork:Fork.judge", compares_with_itself),), ("fork", "prefix"), "trap-fork-past",
    ),
    Trap(
        "I3b", "the same, where a bug of the system makes the fork",
        (Patch("checkers.fork:Fork.judge", compares_with_itself),), ("prefix", "ancestry"), "mm6", "MM6",
    ),
    Trap(
        "I4", "one commit of any replica is enough for liveness",
        (Patch("checkers.liveness:Liveness.judge", any_commit_will_do),), ("liveness",), "e5", "E5",
    ),
    Trap(
        "I8", "the judges skip twinned replicas and honest ones that lag",
        (Patch("checkers.index:Index.__init__", looks_away),), ("liveness",), "e5", "E5",
    ),
    Trap(
        "I11", "the payload is no part of a block's id",
        (
            Patch("nodes.messages:block_hash", without_payload, everywhere=True),
            Patch("faults.byzantine.equivocating_leader:EquivocatingLeader._variant", payload_only),
        ),
        ("fork", "receipts"), "trap-banned",
    ),
    Trap(
        "I12", "the judges use the system's own quorum function",
        (Patch(QUORUM, borrowed, everywhere=True), Patch("harness.regime:tribe_quorum", borrowed)),
        ("fork",), "fault-free-6", "A2",
    ),
)  # fmt: skip
