"""Replica that follows a script: who gets which proposal, vote, timeout and certificate, in which view.

For witnesses, attacks C1-C17 of protocol.md 5.3 written out move by move: the scenario file is the attack. Steps are
taken in order, each as soon as it can be taken: when what it waits for was heard and what it needs exists (a
certificate needs Q votes, so under correct rules a step may never come). Everything else is done by the honest core,
but for what `mute` holds back. An attack that did not get past step `at_least` (default: the last one) has not bitten.

    mute  = [{ views = [23, 24] }]
    steps = [
      { do = "propose", kind = "optimistic", view = 24, name = "O", on = "@23", to = ["n0"] },
      { do = "vote", kind = "optimistic", block = "O", to = ["n2"], heard = "VOTE 24 n0" },
    ]

Actions (script.Step has all keys):

    propose              a new block `name` of `view` on the block `on`, or `block` once more, with the justification
                         that its `kind` needs (fallback: a timeout certificate of the `signers`)
    vote                 this node's vote of `kind` for `block`; `times` repeats it
    timeout              this node's timeout of `view` with the certificate of block `lock`, however old
    certificate          a certificate for `block` (of `kind`), heard or made of the votes that were heard
    timeout-certificate  of exactly the `signers`, whose timeouts must have been heard or sent
    forge                a certificate of `kind` for `block` in the name of `signers`; foreign signatures are made up
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

from msgspec.structs import replace

from faults.byzantine.overheard import Overheard
from faults.byzantine.port import Behaviour, BehaviourReceipt, CorruptedNode
from faults.byzantine.primitives import MS, commit_vote, timeout, vote
from faults.byzantine.script import Step, parse_at_least, parse_heard, parse_mute, parse_steps
from nodes.crypto import bitmap_of
from nodes.messages import (
    Block,
    BlockCertificate,
    BlockRequest,
    BlockResponse,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    TimeoutCertificate,
    VoteKind,
    block_hash,
)


class Scripted(Behaviour):
    name: ClassVar[str] = "scripted"
    attacks: ClassVar[tuple[str, ...]] = tuple(f"C{number}" for number in range(1, 18))
    breaks_at: ClassVar[str] = "f+1 in the tribe, or 1 with a mutant (the witnesses)"
    aims_at: ClassVar[str] = "I-U, I-D, I-PFX, I-CERT: fork, ancestry, prefix, timeouts"

    def __init__(self, steps: Any = (), mute: Any = (), at_least: Any = None) -> None:
        super().__init__()
        self._steps = parse_steps(steps)
        self._mute = parse_mute(mute)
        if not self._steps:
            raise ValueError("a script needs `steps`; this one would do nothing")
        self._at_least = parse_at_least(at_least, len(self._steps))
        self._done = BehaviourReceipt()  # what was done; told as the receipt once the script came far enough
        self._heard = Overheard()
        self._named: dict[str, bytes] = {}
        self._next = 0
        self._since: int | None = None  # when the next step's conditions were first satisfied (ns)
        self._asked: list[tuple[NodeId, bytes]] = []

    # ------------------------------------------------------------ hooks
    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self._heard.learn(message)
        if isinstance(message, BlockRequest) and message.block in self._named.values():
            self._asked.append((sender, message.block))
            return None  # the core does not know the block
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self._heard.learn(message)
        if self._muted(message):
            self._done.dropped += 1
            self._tell()
            return
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        asked, self._asked = self._asked, []
        for sender, block in asked:
            yield sender, BlockResponse((self._heard.blocks[block],))
        while self._next < len(self._steps):
            step = self._steps[self._next]
            message = self._take(node, step)
            if message is None:
                return
            self._next, self._since = self._next + 1, None
            self._heard.learn(message)
            self.receipt.matched += 1
            self._done.injected += len(step.to) * step.times
            self._tell()
            yield from ((to, message) for to in step.to for _ in range(step.times))

    def _tell(self) -> None:
        if self._next >= self._at_least:
            self.receipt.dropped, self.receipt.injected = self._done.dropped, self._done.injected

    def _muted(self, message: Any) -> bool:
        tag = str(message.__struct_config__.tag)
        view = getattr(getattr(message, "block", None), "view", None) or getattr(message, "view", None)
        return any(
            view is not None and rule.views[0] <= view <= rule.views[1] and (not rule.kinds or tag in rule.kinds)
            for rule in self._mute
        )

    # ------------------------------------------------------------ steps
    def _take(self, node: CorruptedNode, step: Step) -> Message | None:
        """The step's message, or None while it cannot be taken."""
        heard = parse_heard(self._next + 1, step.heard) if step.heard else None
        if node.view < step.at_view or (heard and not self._heard.said(heard.kind, heard.view, heard.by)):
            return None
        if self._since is None:
            self._since = node.now
        if node.now < self._since + int(step.after_ms * MS):
            return None
        match step.do:
            case "propose":
                return self._propose(node, step)
            case "timeout":
                return self._timeout(node, step)
            case "timeout-certificate":
                return self._heard.timeout_certificate(node, step.view, step.signers)
        block = self._block(step.block)
        if block is None:
            return None
        match step.do:
            case "vote":
                view = self._heard.blocks[block].view
                if step.kind == "commit":
                    return commit_vote(node, view, block)
                return vote(node, cast(VoteKind, step.kind), view, block)
            case "certificate":
                return self._heard.certificate(node, block, cast(VoteKind | None, step.kind))
            case _:
                return _forged(node, step, self._heard.blocks[block].view, block)

    def _block(self, name: str) -> bytes | None:
        """The block of that name, once it and its body are known."""
        identity = self._heard.proposed.get(int(name[1:])) if name.startswith("@") else self._named.get(name)
        return identity if identity in self._heard.blocks else None

    def _propose(self, node: CorruptedNode, step: Step) -> Message | None:
        block = self._heard.blocks.get(self._named[step.block]) if step.block in self._named else self._new(node, step)
        if block is None:
            return None
        identity = block_hash(block)
        signature = node.sign(node.domain.proposal(str(step.kind), block.view, identity))
        message: Message
        if step.kind == "optimistic":
            message = OptimisticProposal(block, signature)
        elif step.kind == "normal":
            above = self._block(step.justify) if step.justify else block.parent
            certificate = None if above is None else self._heard.certificate(node, above)
            if certificate is None:
                return None
            message = NormalProposal(block, certificate, signature)
        else:
            justification = self._justification(node, step, step.tc or block.view - 1)
            if justification is None:
                return None
            message = FallbackProposal(block, justification, signature)
        if step.name:
            self._named[step.name] = identity
        return message

    def _justification(self, node: CorruptedNode, step: Step, view: int) -> TimeoutCertificate | None:
        """The timeout certificate of the step's signers, with another certificate inside if the step says so."""
        certificate = self._heard.timeout_certificate(node, view, step.signers)
        if certificate is None or not step.high:
            return certificate
        block = self._block(step.high)
        high = None if block is None else self._heard.certificate(node, block)
        return None if high is None else replace(certificate, high=high)

    def _new(self, node: CorruptedNode, step: Step) -> Block | None:
        """It differs in time, by its place in the script, from its siblings and from what the core would propose."""
        parent = self._block(step.on)
        if parent is None:
            return None
        above = self._heard.blocks[parent]
        time_ms = max(above.timestamp_ms, node.now // MS) + self._next + 1
        return Block(above.chain, above.epoch, step.view, above.height + 1, parent, node.id, time_ms, ())

    def _timeout(self, node: CorruptedNode, step: Step) -> Message | None:
        block = self._block(step.lock)
        lock = None if block is None else self._heard.certificate(node, block)
        if lock is None:
            return None
        return timeout(node, step.view, lock)


def _forged(node: CorruptedNode, step: Step, view: int, block: bytes) -> BlockCertificate:
    kind = cast(VoteKind, step.kind)
    own = node.sign(node.domain.vote(kind, view, block))
    signers: Sequence[NodeId] = [member for member in node.committee.tribe if member in step.signers]
    signatures = tuple(own if member == node.id else bytes(64) for member in signers)
    return BlockCertificate(node.domain.epoch, kind, view, block, bitmap_of(node.committee.tribe, signers), signatures)
