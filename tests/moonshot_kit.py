"""Shared by the Moonshot tests: clusters of MoonshotCore on the driver, hand-made messages, judgements of the trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from nodes.committee import ClusterConfig, Committee, LeaderSchedule
from nodes.crypto import Domain, Ed25519Verifier, assemble
from nodes.messages import (
    AvailabilityCertificate,
    Block,
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    block_hash,
)
from nodes.moonshot.core import MoonshotCore
from nodes.moonshot.leaders import Leaders
from nodes.moonshot.state import genesis_block, genesis_certificate
from nodes.port import Effect, Emit, Expire, Multicast, Node, Receive, Send, Start
from tests.driver import MS, Driver, domain_of, signer_of, small_config

MD = 10  # ms: the driver's default message delay


class NoPayload:
    """A PayloadSource without batches; `refuse` names blocks (by view) whose payload is called bad."""

    def __init__(self, refuse: Sequence[int] = ()) -> None:
        self.refuse = refuse

    def collect(self, now: int, taken: frozenset[bytes]) -> tuple[AvailabilityCertificate, ...]:
        return ()

    def fault(self, block: Block, taken: frozenset[bytes]) -> str | None:
        return "bad payload" if block.view in self.refuse else None


class SharedVerifier(Ed25519Verifier):
    """Real verification, once a signature for all nodes of a test: keeps clusters of cores quick."""

    _known: ClassVar[dict[tuple[bytes, bytes, bytes], bool]] = {}

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        key = (public_key, statement, signature)
        known = self._known.get(key)
        if known is None:
            if len(self._known) > 50_000:
                self._known.clear()
            known = self._known[key] = super().verify(public_key, statement, signature)
        return known


def batch_certificate(number: int) -> AvailabilityCertificate:
    """A payload entry; consensus does not look inside."""
    return AvailabilityCertificate(0, 0, 0, "n0", number, number.to_bytes(32, "big"), 1, 100, 0, b"\x01", (bytes(64),))


def core_of(config: ClusterConfig, name: str, payload: Any = None, observer: bool = False) -> MoonshotCore:
    signer = None if observer else signer_of(name)
    return MoonshotCore(name, Committee(config), domain_of(config), signer, SharedVerifier(), payload or NoPayload())


def cluster(
    config: ClusterConfig,
    names: Iterable[str] | None = None,
    delay: Callable[[str, str, Message], int | None] | None = None,
    seed: int = 0,
    build: Callable[[str], Node] | None = None,
) -> Driver:
    """A driver with a core for every tribe node and an observer for every gateway (or for `names` only)."""
    committee = Committee(config)
    everyone = list(names) if names is not None else [*committee.tribe, *committee.gateways]
    # The driver starts nodes one by one and a message to one that is not up is lost: the first leader starts last.
    first = Leaders(committee.tribe, config.leaders)(1)
    everyone.sort(key=lambda name: name == first)
    make = build or (lambda name: core_of(config, name, observer=name.startswith("g")))
    return Driver(committee, make, everyone, delay, seed)


# ---------------------------------------------------------------- what happened
def finalised(driver: Driver, node: str) -> list[tuple[int, str]]:
    """(height, block) in the order in which `node` finalised."""
    return [(f["height"], f["block"]) for _, who, event, f in driver.trace if event == "finalise" and who == node]


def assert_no_fork(driver: Driver, honest: Iterable[str]) -> None:
    """All honest nodes agree on the block of each height, and nobody finalises a height twice or leaves a gap."""
    agreed: dict[int, str] = {}
    for node in honest:
        chain = finalised(driver, node)
        assert [h for h, _ in chain] == list(range(1, len(chain) + 1)), f"{node} has gaps: {chain}"
        for height, block in chain:
            assert agreed.setdefault(height, block) == block, f"{node} forks at height {height}"


def assert_votes_clean(driver: Driver, honest: Iterable[str]) -> None:
    """I-VOTE: one vote a kind and view, o and n equal, never n and f, no vote that a timeout bars."""
    for node in honest:
        votes: dict[tuple[int, str], str] = {}
        timed_out = 0
        for _, who, event, f in driver.trace:
            if who != node:
                continue
            if event == "timeout":
                timed_out = max(timed_out, f["view"])
            if event != "vote":
                continue
            view, kind, block = f["view"], f["kind"], f["block"]
            assert votes.setdefault((view, kind), block) == block
            assert timed_out < (view - 1 if kind == "optimistic" else view), f"{node}: {f} after timeout {timed_out}"
        for (view, kind), block in votes.items():
            if kind == "normal":
                assert (view, "fallback") not in votes
                assert votes.get((view, "optimistic"), block) == block


# ---------------------------------------------------------------- hand-made objects of a config
class Forge:
    """Signs anything as anybody: the tools of a Byzantine coalition, and of tests that script one core."""

    def __init__(self, config: ClusterConfig) -> None:
        self.committee = Committee(config)
        self.domain: Domain = domain_of(config)
        self.genesis = genesis_block(self.domain)
        self.genesis_qc = genesis_certificate(self.domain)

    def block(self, parent: Block, view: int, proposer: str, tag: int = 0, **changes: Any) -> Block:
        fields: dict[str, Any] = {
            "chain": self.domain.chain,
            "epoch": self.domain.epoch,
            "view": view,
            "height": parent.height + 1,
            "parent": block_hash(parent),
            "proposer": proposer,
            "timestamp_ms": parent.timestamp_ms + tag,
            "payload": (),
        }
        return Block(**(fields | changes))

    def opt(self, block: Block, by: str | None = None) -> OptimisticProposal:
        return OptimisticProposal(block, self._propose("optimistic", block, by))

    def nrm(self, block: Block, qc: BlockCertificate, by: str | None = None) -> NormalProposal:
        return NormalProposal(block, qc, self._propose("normal", block, by))

    def fbk(self, block: Block, tc: TimeoutCertificate, by: str | None = None) -> FallbackProposal:
        return FallbackProposal(block, tc, self._propose("fallback", block, by))

    def vote(self, kind: Any, block: Block, voter: str) -> Vote:
        h = block_hash(block)
        return Vote(kind, block.view, h, voter, signer_of(voter).sign(self.domain.vote(kind, block.view, h)))

    def cmt(self, block: Block, voter: str) -> CommitVote:
        h = block_hash(block)
        return CommitVote(block.view, h, voter, signer_of(voter).sign(self.domain.commit(block.view, h)))

    def tmo(self, view: int, lock: BlockCertificate, voter: str) -> Timeout:
        return Timeout(view, lock, voter, signer_of(voter).sign(self.domain.timeout(view, lock.view)))

    def qc(self, kind: Any, block: Block, voters: Iterable[str]) -> BlockCertificate:
        signatures = {v: self.vote(kind, block, v).signature for v in voters}
        bits, ordered = assemble(self.committee.tribe, signatures, len(signatures))
        return BlockCertificate(self.domain.epoch, kind, block.view, block_hash(block), bits, ordered)

    def cqc(self, block: Block, voters: Iterable[str]) -> CommitCertificate:
        signatures = {v: self.cmt(block, v).signature for v in voters}
        bits, ordered = assemble(self.committee.tribe, signatures, len(signatures))
        return CommitCertificate(self.domain.epoch, block.view, block_hash(block), bits, ordered)

    def tc(self, view: int, locks: dict[str, BlockCertificate]) -> TimeoutCertificate:
        """Timeouts of `view` with these locks; its high certificate is the highest of them."""
        signatures = {v: self.tmo(view, lock, v).signature for v, lock in locks.items()}
        bits, ordered = assemble(self.committee.tribe, signatures, len(signatures))
        views = tuple(locks[v].view for v in self.committee.tribe if v in locks)
        high = max(locks.values(), key=lambda lock: lock.view)
        return TimeoutCertificate(self.domain.epoch, view, high, bits, views, ordered)

    def _propose(self, kind: str, block: Block, by: str | None) -> bytes:
        statement = self.domain.proposal(kind, block.view, block_hash(block))
        return signer_of(by or block.proposer).sign(statement)


class Script:
    """One core under test, fed message by message; remembers everything it did."""

    def __init__(self, config: ClusterConfig, name: str, payload: Any = None, observer: bool = False) -> None:
        self.core = core_of(config, name, payload, observer)
        self.now = 0
        self.effects: list[Effect] = list(self.core.step(0, Start()))

    def hear(self, sender: str, *messages: Message) -> list[Effect]:
        """Deliver; returns the effects of these messages."""
        new: list[Effect] = []
        for message in messages:
            self.now += MS
            new += self.core.step(self.now, Receive(sender, message))
        self.effects += new
        return new

    def expire(self, timer: str = "view") -> list[Effect]:
        """Let a timer of the core go off."""
        self.now += MS
        new = list(self.core.step(self.now, Expire(f"moonshot:{timer}")))
        self.effects += new
        return new

    def climb(self, forge: Forge, top: int) -> tuple[list[Block], list[BlockCertificate]]:
        """Bring the core to view `top`+1 on the ladder, with all bodies; it votes on the way."""
        blocks, certificates = ladder(forge, top)
        for view in range(1, top + 1):
            self.hear("n0", forge.nrm(blocks[view], certificates[view - 1]))
        self.hear("n0", certificates[top])
        assert self.core.view == top + 1
        return blocks, certificates

    def sent(self, kind: type[Any]) -> list[Any]:
        """Messages of a type that left, in order."""
        return [e.message for e in self.effects if isinstance(e, Send | Multicast) and isinstance(e.message, kind)]

    def votes(self, view: int) -> list[tuple[str, bytes]]:
        """(kind, block) of the votes that left for a view."""
        return [(v.kind, v.block) for v in self.sent(Vote) if v.view == view]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [e.fields for e in self.effects if isinstance(e, Emit) and e.event == event]


def ladder(forge: Forge, top: int, by: str = "n0") -> tuple[list[Block], list[BlockCertificate]]:
    """Blocks and normal certificates of views 0..top, each on the one before, all by one leader (see `one_leader`)."""
    blocks, certificates = [forge.genesis], [forge.genesis_qc]
    for view in range(1, top + 1):
        blocks.append(forge.block(blocks[-1], view, by))
        certificates.append(forge.qc("normal", blocks[-1], ("n0", "n2", "n3")))
    return blocks, certificates


def one_leader(n: int = 4, leader: str = "n0", **parameters: Any) -> ClusterConfig:
    """A cluster in which `leader` (Byzantine, in the scripts) leads every view."""
    return small_config(n, leaders=LeaderSchedule(kind="fixed", order=(leader,)), **parameters)


def small(n: int = 4, **parameters: Any) -> ClusterConfig:
    """n tribe nodes, round-robin leaders, one gateway."""
    return small_config(n, **parameters)
