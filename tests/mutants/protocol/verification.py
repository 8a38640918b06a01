"""What each replica must verify before it believes it: mutants that believe one thing more (sections 0, 1.4, 2.3, 2.6).

They were found missing by taking one check after the other out of the cores: the attacks that these stop had no
scenario, or it was not judged by the checker that sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from harness.mutants import Function, Mutant, Patch
from nodes.messages import Block
from nodes.moonshot.engine import Engine
from nodes.moonshot.proposals import Candidate
from nodes.xrbc.pool import Pool

CORE = "nodes.moonshot.core:MoonshotCore."
ACCEPTABLE = "nodes.moonshot.engine:Engine._acceptable"
POOL = "nodes.xrbc.pool:Pool.block_fault"
GATEWAY = "nodes.gateway.core:GatewayCore."
SECOND_NS = 1_000_000_000


class _Believes:
    """A verifier that finds every signature good."""

    def verify(self, key: bytes, statement: bytes, signature: bytes) -> bool:
        return True


def unverified(original: Function) -> Function:
    """A method that asks `self.verifier` or `self._verifier` nothing."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = "verifier" if hasattr(self, "verifier") else "_verifier"
        kept = getattr(self, name)
        setattr(self, name, _Believes())
        try:
            return original(self, *args, **kwargs)
        finally:
            setattr(self, name, kept)

    return method


def no_fault(original: Function) -> Function:
    return lambda *args, **kwargs: None


def but(words: str) -> Callable[[Function], Function]:
    """The faults that a text names are overlooked."""

    def wrap(original: Function) -> Function:
        def fault(*args: Any, **kwargs: Any) -> str | None:
            found: str | None = original(*args, **kwargs)
            return None if found is not None and words in found else found

        return fault

    return wrap


def as_if(changed: Callable[[Engine, Block, Block], Block]) -> Callable[[Function], Function]:
    """Engine._acceptable looks at a block as it should be, on its parent."""

    def wrap(original: Function) -> Function:
        def acceptable(self: Engine, candidate: Candidate) -> bool:
            parent = self.chain.get(candidate.block.parent)
            if parent is not None:
                candidate = replace(candidate, block=changed(self, candidate.block, parent))
            good: bool = original(self, candidate)
            return good

        return acceptable

    return wrap


def without_payload_rules(original: Function) -> Function:
    """Pool.block_fault of an empty block."""
    return lambda self, block, taken: original(self, replace(block, payload=()), taken)


def once_each(original: Function) -> Function:
    """Pool.block_fault looks at each batch of a block once."""

    def block_fault(self: Pool, block: Block, taken: frozenset[bytes]) -> str | None:
        distinct = {certificate.batch: certificate for certificate in block.payload}
        found: str | None = original(self, replace(block, payload=tuple(distinct.values())), taken)
        return found

    return block_fault


def without_ancestors(original: Function) -> Function:
    """Pool.block_fault knows final batches only."""
    return lambda self, block, taken: original(self, block, frozenset())


def without_finals(original: Function) -> Function:
    """Pool.block_fault does not know what is final."""

    def block_fault(self: Pool, block: Block, taken: frozenset[bytes]) -> str | None:
        kept, self.finalised = self.finalised, set()
        found: str | None = original(self, block, taken)
        self.finalised = kept
        return found

    return block_fault


def anybody(original: Function) -> Function:
    """header_fault takes a batch from anybody, whoever it is said to be of."""
    return lambda header, sender, *args: original(header, header.proposer, *args)


MUTANTS = (
    Mutant(
        "A15", "A", "1.4 onOPT", "a proposal is believed without its leader's signature",
        (Patch(CORE + "_on_proposal", unverified),), ("votes", "proposals"), (), "c18-impersonator-at",
    ),
    Mutant(
        "A16", "A", "1.4 onTMO", "a time-out is counted without its sender's signature",
        (Patch(CORE + "_on_timeout", unverified),),
        ("timeouts", "certificates"), ("invalid-timeout-certificate",), "c18-impersonator-at",
    ),
    Mutant(
        "A17", "A", "2.3", "a batch is believed to be of whom it names, unsigned and from anybody",
        (
            Patch("nodes.xrbc.check:header_fault", anybody),
            Patch("nodes.xrbc.check:proposal_fault", but("bad signature"), everywhere=True),
        ),
        ("votes", "accusations", "xrbc-agreement"), (), "c18-impersonator-at",
    ),
    Mutant(
        "G9", "G", "2.3", "a batch is taken with any body",
        (Patch("nodes.xrbc.check:body_fault", no_fault, everywhere=True),),
        ("state-root", "availability"), (), "d3-swapped-body-at",
    ),
    Mutant(
        "G10", "G", "2.7 STATECERT", "a state vote is counted without its voter's signature",
        (Patch("nodes.execution.votes:StateVotes.add", unverified),),
        ("state-root", "certificates"), ("invalid-state-certificate",), "c18-impersonator-at",
    ),
    Mutant(
        "G11", "G", "0 (1)-(4)", "a state certificate is believed unverified",
        (Patch("nodes.execution.votes:StateVotes.fault", no_fault),),
        ("state-root", "certificates"), ("invalid-state-certificate",), "c18-impersonator-at",
    ),
    Mutant(
        "F30", "F", "2.5 (a)", "a gateway takes receipts that their members never signed",
        (Patch(GATEWAY + "_on_receipt", unverified),), ("accountability",), ("forged-receipt",), "f30",
    ),
    Mutant(
        "C25", "C", "1.2 height", "a block need not be one higher than its parent",
        (Patch(ACCEPTABLE, as_if(lambda self, block, parent: replace(block, height=parent.height + 1))),),
        ("prefix", "fork"), (), "c23-header-liar-at",
    ),
    Mutant(
        "C26", "C", "1.4 Block timestamp", "a block may be older than its parent",
        (Patch(ACCEPTABLE, as_if(lambda self, block, parent: (
            replace(block, timestamp_ms=max(block.timestamp_ms, parent.timestamp_ms))
        ))),),
        ("payload",), ("timestamp-fell",), "c23-header-liar-at",
    ),
    Mutant(
        "C27", "C", "1.4 Block timestamp", "a block may be of any time to come",
        (Patch(ACCEPTABLE, as_if(lambda self, block, parent: (
            replace(block, timestamp_ms=max(parent.timestamp_ms, min(block.timestamp_ms, self.out.now_ms)))
        ))),),
        ("liveness",), ("stalled", "slow-recovery", "halted"), "c23-header-liar-at",
    ),
    Mutant(
        "C28", "C", "2.6 valid(block)", "the payload of a block is not looked at",
        (Patch(POOL, without_payload_rules),), ("payload", "availability"), (), "c22-payload-forger-at",
    ),
    Mutant(
        "C29", "C", "2.6 unique", "a block may hold a batch twice",
        (Patch(POOL, once_each),), ("payload",), ("batch-twice",), "c22-payload-forger-at",
    ),
    Mutant(
        "C30", "C", "2.6 not in ancestors", "a block may hold a batch of an ancestor that is not final yet",
        (Patch(POOL, without_ancestors),), ("payload",), ("batch-twice",), "c22-payload-forger-at",
    ),
    Mutant(
        "C31", "C", "2.6 not in ancestors", "a block may hold a batch that is final already",
        (Patch(POOL, without_finals),), ("payload",), ("batch-twice",), "c22-payload-forger-at",
    ),
)  # fmt: skip
