"""A random walk of a forked tribe: honest replicas sign by nodes.moonshot.rules, an adversary leads every view.

It delivers what it likes to whom it likes, makes every certificate that honest signatures and its own make possible,
and lies in its time-outs. Signatures are left out: what forensics has to go by are the statements behind all
certificates that were made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from checkers.arithmetic import tribe_quorum
from nodes.messages import NO_HASH, Block, BlockCertificate
from nodes.moonshot import rules
from nodes.moonshot.state import Replica
from results.evidence import Statement

GENESIS = b"\0" * 32
GENESIS_QC = BlockCertificate(0, "normal", 0, GENESIS, b"", ())


@dataclass
class Fork:
    """What a walk came to. `shown`: node -> statements in certificates; `conflict`: how two commits contradict."""

    byzantine: set[str]
    shown: dict[str, list[Statement]] = field(default_factory=dict)
    conflict: str = ""  # same-view | cross-view


class Walk:
    """One walk over n replicas, of which the last `b` are Byzantine."""

    def __init__(self, n: int, b: int, rng: Random) -> None:
        self.names = [f"n{number}" for number in range(n)]
        self.honest = {name: Replica(lock=GENESIS_QC) for name in self.names[: n - b]}
        self.rng, self.quorum = rng, tribe_quorum(n)
        self.out = Fork(set(self.names[n - b :]))
        self.blocks = {GENESIS: Block("c", 0, 0, 0, NO_HASH, "", 0, ())}
        self.certified: dict[bytes, BlockCertificate] = {GENESIS: GENESIS_QC}
        self.given_up: dict[int, list[tuple[int, bytes]]] = {}  # view -> highest locks of its timeout certificates
        self.votes: dict[tuple[str, int, bytes], set[str]] = {}
        self.timeouts: dict[int, dict[str, BlockCertificate]] = {}
        self.committed: list[bytes] = []

    def run(self, steps: int) -> Fork:
        """Walk until two committed blocks contradict each other, or for so many steps."""
        moves = (self._propose, self._split, self._show, self._show, self._expire, self._give_up)
        for _ in range(steps):
            self.rng.choice(moves)()
            self._certify()
            if self._forked():
                break
        return self.out

    # ---------------------------------------------------------------- the adversary's moves
    def _propose(self) -> None:
        """A block of some view, old or new, is proposed to some honest replicas in one of the three ways."""
        view = self._view()
        old = [block for block in self.blocks.values() if block.view == view]
        parents = sorted((qc.view, block) for block, qc in self.certified.items() if qc.view < view)[-3:]
        fresh = len(old) < 3 and (not old or self.rng.random() < 0.4)
        block = self._block(view, self.rng.choice(parents)[1]) if fresh else self.rng.choice(old)
        for name in self._some():
            self.rng.choice((self._optimistic, self._normal, self._fallback))(name, block)

    def _split(self) -> None:
        """Two blocks of one view on one parent, each shown to a half of the honest replicas in the same way."""
        view = self._view()
        (parent,) = [block for _, block in sorted((qc.view, b) for b, qc in self.certified.items() if qc.view < view)][
            -1:
        ]
        way = self.rng.choice((self._optimistic, self._normal))
        blocks = [self._block(view, parent), self._block(view, parent)]
        names = sorted(self.honest)
        self.rng.shuffle(names)
        for place, name in enumerate(names):
            way(name, blocks[place % 2])

    def _block(self, view: int, parent: bytes) -> Block:
        identity = self.rng.randbytes(32)
        height = self.blocks[parent].height + 1
        self.blocks[identity] = Block("c", 0, view, height, parent, identity.hex(), 0, ())
        return self.blocks[identity]

    def _optimistic(self, name: str, block: Block) -> None:
        state = self.honest[name]
        if rules.may_vote_optimistic(state, block):
            state.opt_view, state.opt_block = block.view, bytes.fromhex(block.proposer)
            self._cast(name, "optimistic", block)

    def _normal(self, name: str, block: Block) -> None:
        qc = self.certified.get(block.parent)
        if qc is None or not rules.normal_fits(block, qc):
            return
        self._on_certificate(name, qc)
        state = self.honest[name]
        if rules.may_vote_normal(state, block, bytes.fromhex(block.proposer)):
            state.normal_view = block.view
            self._cast(name, "normal", block)

    def _fallback(self, name: str, block: Block) -> None:
        if not any(high == block.parent for _, high in self.given_up.get(block.view - 1, ())):
            return
        self._on_certificate(name, self.certified[block.parent])
        self._on_timeout(name, block.view - 1)
        state = self.honest[name]
        if rules.may_vote_fallback(state, block):
            state.fallback_view = block.view
            self._cast(name, "fallback", block)

    def _show(self) -> None:
        """Some honest replicas get a certificate."""
        qc = self.certified[self.rng.choice(sorted(self.certified))]
        for name in self._some():
            self._on_certificate(name, qc)

    def _expire(self) -> None:
        for name in self._some():
            self._time_out(name, self.honest[name].view)

    def _give_up(self) -> None:
        """A timeout certificate out of honest time-outs, those with the lowest locks, and lies."""
        view = self._view()
        sent = sorted(self.timeouts.get(view, {}).items(), key=lambda item: (item[1].view, item[0]))
        own = sorted(self.out.byzantine)
        chosen = sent[: max(0, self.quorum - len(own))]
        if len(chosen) + len(own) < self.quorum:
            return
        high = max((qc for _, qc in chosen), key=lambda qc: qc.view, default=GENESIS_QC)
        self.given_up.setdefault(view, []).append((high.view, high.block))
        locks = [*((name, qc.view) for name, qc in chosen), *((name, 0) for name in own)]
        for name, lock in locks:
            self._reveal(name, Statement("timeout", view, "", lock_view=lock))
        for name in self._some():
            self._on_timeout(name, view)

    def _certify(self) -> None:
        """Whatever has enough votes with the adversary's becomes a certificate, commits count at once."""
        for (kind, view, block), voters in sorted(self.votes.items()):
            everybody = voters | self.out.byzantine
            if len(everybody) < self.quorum:
                continue
            for name in sorted(everybody):
                self._reveal(name, Statement(kind, view, "", block.hex()))
            if kind == "commit":
                self._commit(block)
            elif block not in self.certified:
                self.certified[block] = BlockCertificate(0, kind, view, block, b"", ())  # type: ignore[arg-type]
                for one, other in ((block, self.blocks[block].parent), *self._children(block)):
                    if other in self.certified and rules.two_chain(self.blocks[other].view, self.blocks[one].view):
                        self._commit(other)

    # ---------------------------------------------------------------- honest replicas
    def _on_certificate(self, name: str, qc: BlockCertificate) -> None:
        state = self.honest[name]
        if qc.view == 0:
            return
        commit = rules.may_commit_vote(state, qc)
        if rules.advances_lock(state, qc):
            state.lock = qc
        if commit:
            state.note_commit_vote(qc.view, qc.block)
            self._cast(name, "commit", self.blocks[qc.block])
        if rules.enters(state, qc.view):
            state.view = qc.view + 1

    def _on_timeout(self, name: str, view: int) -> None:
        for _, high in self.given_up.get(view, ())[:1]:
            self._on_certificate(name, self.certified[high])
        state = self.honest[name]
        if rules.enters(state, view):
            self._time_out(name, view)
            state.view = view + 1

    def _time_out(self, name: str, view: int) -> None:
        state = self.honest[name]
        if rules.may_time_out(state, view):
            state.timed_out.add(view)
            state.timeout_view = max(state.timeout_view, view)
            self.timeouts.setdefault(view, {})[name] = state.lock

    def _cast(self, name: str, kind: str, block: Block) -> None:
        self.votes.setdefault((kind, block.view, bytes.fromhex(block.proposer)), set()).add(name)

    # ---------------------------------------------------------------- bookkeeping
    def _view(self) -> int:
        """The view that some honest replica is in, or the one before."""
        return max(1, self.rng.choice([state.view for state in self.honest.values()]) - (self.rng.random() < 0.25))

    def _some(self) -> list[str]:
        return [name for name in self.honest if self.rng.random() < 0.6]

    def _children(self, parent: bytes) -> list[tuple[bytes, bytes]]:
        return [(block, parent) for block in sorted(self.certified) if self.blocks[block].parent == parent]

    def _reveal(self, name: str, statement: Statement) -> None:
        held = self.out.shown.setdefault(name, [])
        if statement not in held:
            held.append(statement)

    def _commit(self, block: bytes) -> None:
        if block not in self.committed:
            self.committed.append(block)

    def _forked(self) -> bool:
        for number, one in enumerate(self.committed):
            for other in self.committed[:number]:
                if not self._extends(one, other) and not self._extends(other, one):
                    same = self.blocks[one].view == self.blocks[other].view
                    self.out.conflict = "same-view" if same else "cross-view"
                    return True
        return False

    def _extends(self, block: bytes, ancestor: bytes) -> bool:
        while block in self.blocks and self.blocks[block].height > self.blocks[ancestor].height:
            block = self.blocks[block].parent
        return block == ancestor
