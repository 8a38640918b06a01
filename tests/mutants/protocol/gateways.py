"""More of groups C, E and F of teeth.md section 2: what gateways tell early or never, stamps, pools, the order.

They were found missing by changing lines of the cores at random: no checker noticed these.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from harness.mutants import Function, Mutant, Patch
from nodes.gateway.core import GatewayCore
from nodes.gateway.tracker import Entry
from nodes.messages import AvailabilityCertificate
from nodes.port import Effect, Ordered
from nodes.xrbc.pool import Pool

GATEWAY = "nodes.gateway.core:GatewayCore."
PROPOSER = "nodes.moonshot.proposer:"


# ---------------------------------------------------------------- F: what a gateway tells
def when_forwarded(original: Function) -> Function:
    """GatewayCore._progress tells `pre` of whatever it knows."""

    def progress(self: GatewayCore, now: int, entry: Entry, out: list[Effect]) -> None:
        entry.available = True
        original(self, now, entry, out)

    return progress


def when_available(original: Function) -> Function:
    """GatewayCore._progress tells `ord`, for the height after the newest, once the batch is certified."""

    def progress(self: GatewayCore, now: int, entry: Entry, out: list[Effect]) -> None:
        if entry.available:
            entry.ordered = entry.ordered or self.height + 1
        original(self, now, entry, out)

    return progress


def when_executed(original: Function) -> Function:
    """GatewayCore._settle tells an abort as soon as it was executed here."""

    def settle(self: GatewayCore, now: int, clan: int, out: list[Effect]) -> None:
        coverage = self._coverage[clan]
        covered = coverage.covered
        for entry in tuple(self._uncovered[clan]):
            if entry.result is not None and entry.result.reason:
                coverage.covered = max(covered, entry.result.height)
                self._progress(now, entry, out)
                coverage.covered = covered
        original(self, now, clan, out)

    return settle


def of_effects_only(original: Function) -> Function:
    """GatewayCore._on_ordered takes no notice of aborts."""

    def on_ordered(self: GatewayCore, now: int, notice: Ordered, out: list[Effect]) -> None:
        original(self, now, replace(notice, aborted=()), out)

    return on_ordered


def always_duplicate(original: Function) -> Function:
    """GatewayCore._on_ordered calls every abort a duplicate."""

    def on_ordered(self: GatewayCore, now: int, notice: Ordered, out: list[Effect]) -> None:
        original(self, now, replace(notice, aborted=tuple((tx, "duplicate") for tx, _ in notice.aborted)), out)

    return on_ordered


# ---------------------------------------------------------------- C, E: blocks
def stamped(stamp: Callable[[int], int]) -> Callable[[Function], Function]:
    """A leader stamps its block with something else than its clock's time."""

    def wrap(original: Function) -> Function:
        return lambda **fields: original(**fields | {"timestamp_ms": stamp(fields["timestamp_ms"])})

    return wrap


def overlooks(original: Function) -> Function:
    """Pool.collect leaves out one batch in four, for good."""

    def collect(self: Pool, now_ms: int, taken: frozenset[bytes]) -> tuple[AvailabilityCertificate, ...]:
        chosen: tuple[AvailabilityCertificate, ...] = original(self, now_ms, taken)
        return tuple(certificate for certificate in chosen if certificate.batch[0] % 4)

    return collect


def as_included(original: Function) -> Function:
    """The order of execution is that of the payload, which its proposer chose."""
    return lambda block, transactions: list(transactions)


MUTANTS = (
    Mutant(
        "F9p", "F", "2.1 pre", "a gateway tells preconfirmed what it has merely forwarded",
        (Patch(GATEWAY + "_progress", when_forwarded),), ("acknowledged",), ("early-preconfirmation",), "fault-free-4",
    ),
    Mutant(
        "F9o", "F", "2.1 ord", "a gateway tells ordered what is merely available",
        (Patch(GATEWAY + "_progress", when_available),),
        ("acknowledged",), ("early-order", "wrong-height"), "fault-free-4",
    ),
    Mutant(
        "F9a", "F", "2.1 finality", "a gateway tells an abort that no state certificate covers",
        (Patch(GATEWAY + "_settle", when_executed),), ("acknowledged",), ("early-abort",), "f4",
    ),
    Mutant(
        "F9n", "F", "2.1 finality", "a gateway never tells an abort",
        (Patch(GATEWAY + "_on_ordered", of_effects_only),), ("finality-bounds",), ("unfinished",), "f9n",
    ),
    Mutant(
        "F9r", "F", "2.7", "a gateway tells every abort as a duplicate",
        (Patch(GATEWAY + "_on_ordered", always_duplicate),), ("acknowledged",), ("unfounded-abort",), "f4",
    ),
    Mutant(
        "C23", "C", "1.4 Block timestamp", "a leader stamps its block with the time of genesis",
        (Patch(PROPOSER + "Block", stamped(lambda ms: 0)),), ("payload",), ("wrong-timestamp",), "fault-free-4",
    ),
    Mutant(
        "C24", "C", "1.4 Block timestamp", "a leader stamps its block ahead of its clock, as far as voters let it",
        (Patch(PROPOSER + "Block", stamped(lambda ms: ms + 300)),), ("payload",), ("wrong-timestamp",), "fault-free-4",
    ),
    Mutant(
        "E30", "E", "2.6", "a certified batch in four is never put into a block",
        (Patch("nodes.xrbc.pool:Pool.collect", overlooks),),
        ("preconfirmation", "censorship", "finality-bounds"), (), "e30",
    ),
    Mutant(
        "F7o", "F", "2.7 order", "transactions are executed in the order that the proposers chose",
        (Patch("nodes.execution.core:permute", as_included),), ("state-root",), (), "f7",
    ),
)  # fmt: skip
