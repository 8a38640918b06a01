"""Transfers at the edges of the ledger's rules: to oneself, of all there is, of one more, several at once, short-lived.

Nobody is sent money but the sender himself and sinks, addresses that no wallet has the key of. So what an account holds
depends on its own transactions alone, and is known exactly when the next one is made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import ClassVar

from harness.genesis import Wallet
from harness.workloads.port import BALANCE, Task, World, fraction, positive
from nodes.messages import MAX_MOPS, Transfer, sha256

LIFETIMES = (0.0, 0.4, 0.6, 0.8, 4.0)  # Delta: too late at once; on the way to a batch, or to a block; in time
RECENT = 64  # addresses that are asked for: those of the newest transactions, whose effects are on their way
KINDS = {  # name -> how often, relative to the others
    "several": 6,
    "all to oneself": 6,
    "one too many to oneself": 6,
    "the second cannot be paid": 6,
    "the rest to oneself": 6,
    "to oneself and away": 6,
    "everything away": 1,  # leaves an account on which little can be tried
}


class Edges:
    """Transactions that just can or just cannot be paid, in one or several transfers, and questions for balances.

    Of all operations `reads` ask for a balance; of the transactions `short_lived` expire after one of `lifetimes` (in
    units of Delta): at the gateway's door, on the way, or not before they are executed.
    """

    name: ClassVar[str] = "edges"

    def __init__(
        self,
        world: World,
        rng: Random,
        max_amount: int = 1000,
        max_transfers: int = 4,
        reads: float = 0.2,
        short_lived: float = 0.1,
        lifetimes: Sequence[float] = LIFETIMES,
    ) -> None:
        self._rng = rng
        self._max_amount = positive("max_amount", max_amount)
        self._max_transfers = positive("max_transfers", max_transfers, MAX_MOPS)
        if max_transfers < 2:
            raise ValueError(f"max_transfers must be at least 2, not {max_transfers}: one transfer is no edge")
        self._reads = fraction("reads", reads)
        self._short_lived = fraction("short_lived", short_lived)
        if world.committee is None:
            raise ValueError("edges: this workload needs a cluster with genesis accounts")
        self._committee = world.committee
        self._lifetimes_ms = _lifetimes_ms(lifetimes, self._committee.config.parameters.delta_ms)
        self._genesis = {bytes.fromhex(a.address): a.balance for a in self._committee.config.accounts}
        self._balances: dict[bytes, list[int]] = {}  # sender -> what it holds before each of its transactions
        self._sinks: list[list[bytes]] = [[] for _ in range(world.clans)]
        self._tries = 0
        self._recent: deque[bytes] = deque(maxlen=RECENT)

    def next(self, sender: Wallet, seq: int) -> Task:
        """A transaction of the sender at some edge of what it holds, or a question for somebody's balance."""
        if self._rng.random() < self._reads:
            address = self._rng.choice([sender.address, *self._recent])
            return Task(BALANCE, {"address": address.hex()}, ())
        kind = self._rng.choices([*KINDS], [*KINDS.values()])[0]
        held = self.held(sender.address, seq)
        transfers = self._transfers(kind, sender, held)
        self._balances[sender.address][seq + 1 :] = [left(sender.address, held, transfers)]
        self._recent.extend(dict.fromkeys([sender.address, *(transfer.to for transfer in transfers)]))
        lifetime_ms = self._rng.choice(self._lifetimes_ms) if self._rng.random() < self._short_lived else None
        moves = [{"to": transfer.to.hex(), "amount": transfer.amount} for transfer in transfers]
        value = {"from": sender.address.hex(), "seq": seq, "holds": held, "edge": kind, "transfers": moves}
        return Task("transfer", value, transfers, lifetime_ms=lifetime_ms)

    def held(self, sender: bytes, seq: int) -> int:
        """What the sender holds before its transaction `seq`, if all that were made before it were executed.

        A number that is asked for again (its transaction expired, or was never sent) starts from the same balance; one
        that was passed over changed nothing.
        """
        known = self._balances.setdefault(sender, [self._genesis.get(sender, 0)])
        known.extend(known[-1:] * (seq + 1 - len(known)))
        return known[seq]

    def _transfers(self, kind: str, sender: Wallet, held: int) -> tuple[Transfer, ...]:
        """Transfers of that kind; `part` is what can be paid in any case."""
        own, part = sender.address, self._amount(held)
        match kind:
            case "several":
                return self._several(sender.clan, held)
            case "all to oneself":
                return (Transfer(own, held),)
            case "one too many to oneself":
                return (Transfer(own, held + 1),)
            case "the second cannot be paid":
                return (Transfer(self._sink(sender.clan), part), Transfer(self._sink(sender.clan), held - part + 1))
            case "the rest to oneself":
                return (Transfer(self._sink(sender.clan), part), Transfer(own, held - part))
            case "to oneself and away":
                return (Transfer(own, self._rng.randint(part, held)), Transfer(self._sink(sender.clan), part))
        return (Transfer(self._sink(sender.clan), part), Transfer(self._sink(sender.clan), held - part))

    def _several(self, clan: int, held: int) -> tuple[Transfer, ...]:
        """Two or more transfers to sinks that can all be paid."""
        transfers: list[Transfer] = []
        for _ in range(self._rng.randint(2, self._max_transfers)):
            amount = self._amount(held)
            held -= amount
            transfers.append(Transfer(self._sink(clan), amount))
        return tuple(transfers)

    def _amount(self, held: int) -> int:
        """Something that can be paid; 0 only if there is nothing."""
        return self._rng.randint(min(1, held), min(held, self._max_amount))

    def _sink(self, clan: int) -> bytes:
        """An address of that clan which nobody sends from: a fresh one, or every other time one that was used before.

        Derived by counting, so that a seed gives the same ones; a hash is no key that anybody could sign with.
        """
        sinks = self._sinks[clan]
        if sinks and self._rng.random() < 0.5:
            return self._rng.choice(sinks[-RECENT:])
        while True:
            self._tries += 1
            address = sha256(b"SINK", self._tries.to_bytes(8, "big"))
            if self._committee.clan_of_key(address) == clan:
                sinks.append(address)
                return address


def left(sender: bytes, held: int, transfers: Sequence[Transfer]) -> int:
    """What the sender holds after the transfers, made in order; all that it held if one of them cannot be paid."""
    funds = held
    for transfer in transfers:
        if transfer.amount > funds:
            return held
        funds -= transfer.amount if transfer.to != sender else 0
    return funds


def _lifetimes_ms(lifetimes: Sequence[float], delta_ms: int) -> list[int]:
    """The lifetimes in ms. Raises ValueError naming the option."""
    if not isinstance(lifetimes, list | tuple) or not lifetimes:
        raise ValueError(f"lifetimes must be a list of numbers of at least 0, in units of Delta, not {lifetimes!r}")
    for lifetime in lifetimes:
        if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not 0 <= lifetime <= 1e6:
            raise ValueError(f"lifetimes: {lifetime!r} is no number of Deltas from 0 to a million")
    return [int(lifetime * delta_ms) for lifetime in lifetimes]
