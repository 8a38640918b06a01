"""Tells the story of a small, valid run: what honest nodes would have recorded, with real keys, hashes and roots.

Bodies, identities, signatures and roots come from `nodes`, so that the checkers' own versions of them are compared
with another implementation. Blocks are 200 ms apart; everything about block h happens in [h * 200, h * 200 + 190] ms.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

from nodes import census
from nodes.committee import Committee, list_shard
from nodes.crypto import Ed25519Verifier, bitmap_of
from nodes.execution.ledger import Ledger
from nodes.execution.ordering import concatenate, permute
from nodes.messages import (
    NO_HASH,
    Append,
    AvailabilityCertificate,
    Batch,
    BatchHeader,
    Block,
    Operation,
    Read,
    Transaction,
    Transfer,
    batch_id,
    block_hash,
    encode,
    tx_id,
    tx_root,
    unsigned,
)
from nodes.port import Emit, Expire
from nodes.supra import SupraNode
from tests.driver import domain_of, seed_of, signer_of, small_config
from tests.golden.story import Record, Story

__all__ = ["World", "seed_of"]

MS = 1_000_000
STEP_MS = 200


class World:
    """Builds the story. `plan` per block: how many transactions each clan gets; `copies`: each is included twice."""

    def __init__(
        self,
        n: int = 4,
        clans: int = 1,
        gateways: int = 1,
        plan: Iterable[int] = (2, 2, 0, 0),
        copies: bool = False,
        seed: int = 0,
    ) -> None:
        self.rng = Random(seed)
        self.config = small_config(n, clans, gateways, accounts=8)
        self.committee = Committee(self.config)
        self.domain = domain_of(self.config)
        self.signers = {node: signer_of(node) for node in (*self.committee.tribe, *self.committee.gateways)}
        self.everyone = (*self.committee.tribe, *self.committee.gateways)
        self.ledgers = [Ledger(self.committee, self.domain, c, Ed25519Verifier()) for c in range(clans)]
        self.wallets: list[list[str]] = [[] for _ in range(clans)]
        for i in range(8):
            self.wallets[self.committee.clan_of_key(signer_of(f"acct{i}").public_key)].append(f"acct{i}")
        self.lists = [[k for k in range(64) if self._list_clan(k) == c][:2] for c in range(clans)]
        self.seqs: dict[str, int] = {}
        self.batch_seqs: dict[str, int] = {}
        self.history: list[Record] = []
        self.processes: dict[bytes, int] = {}  # transaction -> the client that submits it
        self.trace: list[Record] = []
        self.parent = NO_HASH
        self.copies = copies
        self._again: list[Transaction] = []
        self.stores = {role[0]: self._stores(role[0]) for role in (self.committee.tribe, self.committee.gateways)}
        for node in self.everyone:
            self._emit(0, node, "start")
            self._emit(0, node, "enter", view=1, via="start")
        self.height = 0
        for count in plan:
            self._block(count)
        if copies:
            self._block(0)

    # ---------------------------------------------------------------- the whole
    def story(self) -> Story:
        config = self.config
        end = (self.height + 1) * STEP_MS * MS
        info: Record = {
            "scenario": {"name": "golden", "workload": {"kind": "transfers"}},
            "name": "golden",
            "seed": 0,
            "backend": "process",
            "layer": "toxiproxy",
            "target": "supra",
            "expect": {"hold": True},
            "regime": "within",
            "chain": config.chain,
            "epoch": config.epoch,
            "cycle": config.cycle,
            "tribe": list(self.committee.tribe),
            "gateways": list(self.committee.gateways),
            "clans": [list(clan) for clan in config.clans],
            "public_keys": {node: key.hex() for node, key in self.committee.keys.items()},
            "honest": list(self.committee.tribe),
            "byzantine": [],
            "parameters": {"delta_ms": 500, "inclusion_timeout_ms": 2000, "equivocation": "first"},
            "accounts": {account.address: account.balance for account in config.accounts},
            "beacon": config.beacon,
            "leaders": {"kind": "round-robin"},
            "md_ms": 50.0,
            "load_start": 100 * MS,
            "load_end": end - 50 * MS,
            "heal": 100 * MS,
            "end": end,
        }
        story = Story(info, self.history, sorted(self.trace, key=lambda e: int(e["time"])))
        story.tell()
        return story

    # ---------------------------------------------------------------- one block
    def _block(self, count: int) -> None:
        self.height += 1
        at = self.height * STEP_MS
        batches: list[Batch] = []
        again, self._again = self._again, []
        for clan in range(len(self.ledgers)):
            fresh = [self._transaction(clan) for _ in range(count)] if self.wallets[clan] else []
            batches += self._batches(at, clan, fresh, rank=0)
            if self.copies:
                self._again += fresh
                old = [t for t in again if self.committee.clan_of_key(t.sender) == clan]
                batches += self._batches(at, clan, old, rank=1)
        payload = tuple(self._certify_batch(at + 30, batch) for batch in batches)
        leader = self.committee.tribe[self.height % len(self.committee.tribe)]
        fields = (self.config.chain, self.config.epoch, self.height, self.height, self.parent, leader, at, payload)
        block = Block(*fields)
        self._consensus(at, block)
        for clan in range(len(self.ledgers)):
            held = [batch for batch in batches if batch.header.clan == clan]
            self._execute(at + 150, clan, block, held)
        for node in self.everyone:
            role = self.committee.gateways if node in self.committee.gateways else self.committee.tribe
            full = {store: min(self.height, 20) for store in self.stores[role[0]]}
            self._emit(at + 180, node, "buffers", view=self.height + 1, final=self.height, sizes=full)
        self.parent = block_hash(block)

    def _stores(self, node: str) -> list[str]:
        """The stores that a census of this node names."""
        core = SupraNode(node, self.config, self.signers[node], Ed25519Verifier())
        told = core.step(0, Expire(census.TIMER))[0]
        assert isinstance(told, Emit)
        return list(told.fields["sizes"])

    def _transaction(self, clan: int) -> Transaction:
        wallet = self.rng.choice(self.wallets[clan])
        to = signer_of(self.rng.choice(self.wallets[clan])).public_key
        operations: tuple[Operation, ...] = (Transfer(to, self.rng.randrange(1, 40)),)
        if self.lists[clan] and self.rng.random() < 0.5:
            key = self.rng.choice(self.lists[clan])
            operations = (Append(key, self.rng.randrange(-99, 99)), Read(key))
        signer = signer_of(wallet)
        seq = self.seqs.get(wallet, 0)
        self.seqs[wallet] = seq + 1
        raw = Transaction(self.config.chain, signer.public_key, seq, 10**9, operations, b"", bytes(64))
        signature = signer.sign(self.domain.transaction(tx_id(raw)))
        return msgspec.structs.replace(unsigned(raw), signature=signature)

    def _batches(self, at: int, clan: int, transactions: list[Transaction], rank: int) -> list[Batch]:
        """Transactions through gateway and family into one batch per proposer (the family's member of that rank)."""
        by_proposer: dict[str, list[Transaction]] = {}
        for transaction in transactions:
            tx = tx_id(transaction)
            family = self.committee.family(tx, clan)
            by_proposer.setdefault(family[min(rank, len(family) - 1)], []).append(transaction)
            if rank == 0:
                self._submit(at, transaction, list(family))
        return [self._batch(at + 10, clan, p, tuple(txs), rank) for p, txs in sorted(by_proposer.items())]

    def _submit(self, at: int, transaction: Transaction, family: list[str]) -> None:
        tx, gateway = tx_id(transaction).hex(), self.committee.gateways[0]
        self._emit(at, gateway, "gateway", tx=tx, phase="accepted")
        self._emit(at, gateway, "forward", tx=tx, family=family)
        for rank, member in enumerate(family):
            role = "secondary" if rank else "primary"
            self._emit(at + 5, member, "received", tx=tx, role=role, **{"from": gateway})
            signature = self.signers[member].sign(self.domain.receipt(tx_id(transaction), member, at + 5)).hex()
            self._emit(at + 10, gateway, "receipt", tx=tx, member=member, received_ms=at + 5, signature=signature)
        self.history.append(self._operation(at, "invoke", transaction))

    def _operation(self, at: int, kind: str, transaction: Transaction) -> Record:
        first = transaction.operations[0]
        if isinstance(first, Transfer):
            name = "transfer"
            value: Any = {"from": transaction.sender.hex(), "to": first.to.hex(), "amount": first.amount}
        else:
            name = "txn"
            value = [self._micro(o) for o in transaction.operations]
        process = self.processes.setdefault(tx_id(transaction), len(self.processes))
        return {
            "index": 0, "time": at * MS, "process": process, "type": kind, "f": name, "value": value,
            "tx": tx_id(transaction).hex(), "gateway": self.committee.gateways[0],
        }  # fmt: skip

    @staticmethod
    def _micro(operation: Operation) -> list[Any]:
        if isinstance(operation, Append):
            return ["append", operation.key, operation.value]
        return ["r", operation.key if isinstance(operation, Read) else None, None]

    def _batch(self, at: int, clan: int, proposer: str, transactions: tuple[Transaction, ...], rank: int) -> Batch:
        seq = self.batch_seqs.get(proposer, 0)
        self.batch_seqs[proposer] = seq + 1
        size = sum(len(encode(t)) for t in transactions)
        domain = (self.config.chain, self.config.epoch, self.config.cycle)
        header = BatchHeader(*domain, clan, proposer, seq, tx_root(transactions), len(transactions), size, at)
        batch = batch_id(header)
        txs = [tx_id(t).hex() for t in transactions]
        for tx in txs:
            role = "secondary" if rank else "primary"
            self._emit(at, proposer, "include", tx=tx, batch=batch.hex(), role=role, primary=proposer)
        for node in (*self.config.clans[clan], *self.committee.gateways):
            fields = {"batch": batch.hex(), "proposer": proposer, "clan": clan, "seq": seq, "txs": txs, "bytes": size}
            self._emit(at + 5, node, "batch", **fields)
        slot = {name: fields[name] for name in ("batch", "proposer", "clan", "seq")}
        for node in self.config.clans[clan]:
            self._emit(at + 5, node, "availability_vote", **slot)
        return Batch(header, transactions, self.signers[proposer].sign(self.domain.batch(batch)))

    def _certify_batch(self, at: int, batch: Batch) -> AvailabilityCertificate:
        h, identity = batch.header, batch_id(batch.header)
        members = self.config.clans[h.clan]
        voters = members[: self.committee.majority(h.clan)]
        facts = (h.clan, h.proposer, h.seq, identity, h.tx_count, h.byte_length, h.created_ms)
        signatures = tuple(self.signers[v].sign(self.domain.available(*facts)) for v in voters)
        fields = {
            "batch": identity.hex(), "proposer": h.proposer, "clan": h.clan, "seq": h.seq, "tx_count": h.tx_count,
            "byte_length": h.byte_length, "created_ms": h.created_ms, "signers": list(voters),
            "signatures": [s.hex() for s in signatures],
        }  # fmt: skip
        for node in self.everyone:
            self._emit(at, node, "available", **fields)
        for transaction in batch.transactions:
            self._told(at, tx_id(transaction).hex(), "pre")
        return AvailabilityCertificate(h.epoch, h.cycle, *facts, bitmap_of(members, voters), signatures)

    def _told(self, at: int, tx: str, phase: str, **more: Any) -> None:
        gateway = self.committee.gateways[0]
        if not any(e["event"] == "gateway" and e["tx"] == tx and e["phase"] == phase for e in self.trace):
            self._emit(at, gateway, "gateway", tx=tx, phase=phase, **more)

    def _consensus(self, at: int, block: Block) -> None:
        identity = block_hash(block)
        batches = [c.batch.hex() for c in block.payload]
        common = {"view": block.view, "height": block.height, "block": identity.hex(), "parent": block.parent.hex()}
        self._emit(at + 40, block.proposer, "propose", **common, kind="normal", payload_bytes=0, batches=batches)
        voters = self.committee.tribe[-self.committee.quorum :]
        vote = {"view": block.view, "block": identity.hex()}
        more = {"kind": "normal", "parent": block.parent.hex(), "proposer": block.proposer}
        for node in voters:
            self._emit(at + 90, node, "vote", **vote, **more)
        for node in self.everyone:
            self._emit(at + 90, node, "certify", **certificate(self, "normal", block.view, identity.hex(), voters))
            self._emit(at + 90, node, "lock", **vote)
            if node in voters:
                self._emit(at + 90, node, "vote", **vote, kind="commit")
            self._emit(at + 90, node, "enter", view=block.view + 1, via="certificate")
        for node in self.everyone:
            self._emit(at + 140, node, "certify", **certificate(self, "commit", block.view, identity.hex(), voters))
        more = {
            "proposer": block.proposer,
            "batches": batches,
            "rule": "commit-votes",
            "timestamp_ms": block.timestamp_ms,
        }
        for node in self.everyone:
            self._emit(at + 141, node, "finalise", **common, **more)

    def _execute(self, at: int, clan: int, block: Block, batches: list[Batch]) -> None:
        identity = block_hash(block)
        outcome = self.ledgers[clan].execute(block.timestamp_ms, permute(identity, concatenate(batches)))
        common = {"height": block.height, "clan": clan, "block": identity.hex(), "root": outcome.root.hex()}
        common["prev_root"] = outcome.previous_root.hex()
        applied, ids = [tx.hex() for tx in outcome.applied], [batch_id(b.header).hex() for b in batches]
        for node in (*self.config.clans[clan], *self.committee.gateways):
            for batch in batches:
                data = base64.b64encode(encode(batch)).decode()
                self._emit(at, node, "body", batch=batch_id(batch.header).hex(), data=data)
            aborted = [[tx.hex(), reason] for tx, reason in outcome.aborted]
            self._emit(at, node, "execute", **common, batches=ids, void=[], applied=applied, aborted=aborted)
        voters = self.config.clans[clan][: self.committee.majority(clan)]
        fields = state_certificate(self, common, voters)
        for node in (*self.config.clans[clan], *self.committee.gateways):
            self._emit(at + 20, node, "state_certificate", **fields)
        for batch in batches:
            for transaction in batch.transactions:
                self._answer(at, clan, block.height, transaction, outcome.reads, applied)

    def _answer(
        self, at: int, clan: int, height: int, transaction: Transaction, reads: dict[bytes, Any], applied: list[str]
    ) -> None:
        tx = tx_id(transaction)
        if tx.hex() not in applied:
            return
        self._told(at - 5, tx.hex(), "ord", height=height, clan=clan)
        self._told(at + 25, tx.hex(), "exec", root_ok=True, height=height, clan=clan)
        done = self._operation(at + 30, "ok", transaction)
        if done["f"] == "txn":
            lists = iter(reads.get(tx, ()))
            done["value"] = [["r", m[1], list(next(lists))] if m[0] == "r" else m for m in done["value"]]
        self.history.append(done | {"phase": "exec"})

    def _list_clan(self, key: int) -> int:
        return self.committee.clan_of_key(list_shard(key))

    def _emit(self, at_ms: int, node: str, event: str, **fields: Any) -> None:
        record = {"time": at_ms * MS, "node": node, "incarnation": 1, "event": event, **fields}
        self.trace.append(copy.deepcopy(record))  # stories are altered record by record: they must share nothing


def certificate(world: World, kind: str, view: int, block: str, voters: Iterable[str]) -> Record:
    """Fields of a valid `certify` record signed by `voters`."""
    raw = bytes.fromhex(block)
    statement = world.domain.commit(view, raw) if kind == "commit" else world.domain.vote(kind, view, raw)
    signed = {voter: world.signers[voter].sign(statement).hex() for voter in voters}
    return {"view": view, "kind": kind, "block": block, "signers": list(signed), "signatures": list(signed.values())}


def state_certificate(world: World, roots: Record, voters: Iterable[str]) -> Record:
    """Fields of a valid `state_certificate` record over `roots` (clan, height, block, prev_root, root)."""
    block, previous, root = (bytes.fromhex(roots[name]) for name in ("block", "prev_root", "root"))
    statement = world.domain.root(roots["clan"], roots["height"], block, previous, root)
    signed = {voter: world.signers[voter].sign(statement).hex() for voter in voters}
    return {**roots, "signers": list(signed), "signatures": list(signed.values())}
