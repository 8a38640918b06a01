"""Executes the finalised order again, for every clan, from genesis, and keeps what came out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from checkers.answers import answers
from checkers.encoding import Tx
from checkers.index import Index, Placed, once
from checkers.ledger import Ledger, Reads, clan_of, permuted


@dataclass(frozen=True)
class Outcome:
    """One block as seen by one clan; roots are the certified (chained) ones, hex; transaction ids hex."""

    clan: int
    height: int
    block: str
    previous_root: str
    root: str
    applied: tuple[str, ...]
    aborted: tuple[tuple[str, str], ...]


class Replay:
    """Independent re-execution. `stopped[clan]` says why a clan ends below the tip ("" if it does not).

    `accounts` holds (balance, next sequence number) after the block, for each answer that a wallet was given.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._horizon_ms = index.end // 1_000_000
        clans = len(index.info.clans)
        chain, accounts, holds = index.info.chain, index.info.accounts, index.notary.holds
        self.ledgers = [Ledger(c, clans, chain, accounts, holds) for c in range(clans)]
        self.genesis_total = sum(ledger.total() for ledger in self.ledgers)
        self.outcomes: dict[tuple[int, int], Outcome] = {}
        self.applied: dict[str, list[tuple[int, int]]] = {}  # tx -> [(clan, height)]
        self.aborted: dict[str, list[tuple[int, int, str]]] = {}
        self.reads: dict[str, Reads] = {}
        self.txs: dict[str, Tx] = {}
        self.accounts: dict[tuple[int, bytes], tuple[int, int]] = {}  # (height, address) that wallets were told of
        self._asked: dict[int, list[bytes]] = {}  # height -> those addresses
        for answer in answers(index):
            self._asked.setdefault(answer.height, []).append(answer.address)
        self.reached = [0] * clans
        self.stopped = [""] * clans
        for clan in range(clans):
            self._run(clan)

    @cached_property
    def complete(self) -> bool:
        """Was every clan executed up to the tip of an undisputed chain?"""
        return not any(self.stopped) and not self._index.chain[1]

    def where_it_stopped(self) -> dict[str, str]:
        """Measures for a verdict: per clan, the last height executed and why no further."""
        return {
            f"clan {c}": f"executed to height {height}" + (f"; then {why}" if why else "")
            for c, (height, why) in enumerate(zip(self.reached, self.stopped, strict=True))
        }

    def _run(self, clan: int) -> None:
        ledger = self.ledgers[clan]
        previous = ledger.genesis_root
        self._remember(ledger, 0)
        for place in self._index.placed:
            txs, why = self._transactions(clan, place)
            if why:
                self.stopped[clan] = why
                return
            root = self._block(ledger, place, txs, previous)
            self._remember(ledger, place.final.height)
            self.reached[clan] = place.final.height
            previous = root
        self.stopped[clan] = self._index.chain[1]

    def _remember(self, ledger: Ledger, height: int) -> None:
        for address in self._asked.get(height, ()):
            if clan_of(address, ledger.clans) == ledger.clan:
                self.accounts[height, address] = ledger.accounts.get(address, (0, 0))

    def _transactions(self, clan: int, place: Placed) -> tuple[list[Tx], str]:
        """The clan's transactions in payload order, or why they cannot be known."""
        height = place.final.height
        if place.unknown:
            return [], f"height {height} orders batch {place.unknown[0][:10]}.., of which no honest node knew the clan"
        bodies = self._index.bodies[0]
        txs: list[Tx] = []
        for batch, key in place.effective:
            if key.clan == clan:
                if batch not in bodies:
                    return [], f"no honest node left the body of batch {batch[:10]}.. (height {height})"
                txs.extend(bodies[batch].txs)
        if place.final.timestamp_ms is None and any(tx.expiry_ms < self._horizon_ms for tx in txs):
            return [], f"the finalise records of height {height} lack timestamp_ms, and a transaction may have expired"
        return txs, ""

    def _block(self, ledger: Ledger, place: Placed, txs: list[Tx], previous: bytes) -> bytes:
        applied: list[str] = []
        aborted: list[tuple[str, str]] = []
        at = (ledger.clan, place.final.height)
        for tx in permuted(txs, bytes.fromhex(place.final.block)):
            self.txs[tx.id] = tx
            reason, reads = ledger.execute(tx, place.final.timestamp_ms or 0)
            if reason:
                aborted.append((tx.id, reason))
                self.aborted.setdefault(tx.id, []).append((*at, reason))
            else:
                applied.append(tx.id)
                self.applied.setdefault(tx.id, []).append(at)
                self.reads[tx.id] = reads
        root = ledger.root(previous)
        self.outcomes[at] = Outcome(*at, place.final.block, previous.hex(), root.hex(), tuple(applied), tuple(aborted))
        return root


def replay_of(index: Index) -> Replay:
    """The re-execution of a run, made once per index."""
    return once(index, Replay)
