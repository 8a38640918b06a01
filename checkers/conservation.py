"""conservation: no value appears or vanishes, and wallets were told what happened to it (claim dedup; I-ONCE)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.replay import Replay, replay_of
from results.history import Operation
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Conservation(Judge):
    """Balances add up, are explained by the applied transfers alone, and clients' outcomes match them.

    Two books are compared: what honest nodes say they applied (plain debits and credits, from the bodies), and the
    independent re-execution, whose roots must be the nodes'. Anomalies: negative-balance, unexplained-balance,
    value-created (the sum differs from genesis), lost-ack (an ok operation never applied), applied-twice,
    failed-but-applied. Balances are compared at the height where bodies end. Examined: finished client operations
    and accounts.
    """

    property: ClassVar[str] = "conservation"

    def judge(self, index: Index) -> Verdict:
        replay = replay_of(index)
        executed = _executed(index)
        places: dict[str, list[TraceEvent]] = {}
        for event in executed:
            for tx in event["applied"]:
                places.setdefault(tx, []).append(event)
        anomalies, operations = _operations(index, places)
        executed = [event for event in executed if event["height"] <= replay.reached[event["clan"]]]
        books, negative, unread = _books(index, executed)
        anomalies += negative
        moved = sum(len(e["applied"]) for e in executed)
        doubts = [f"the bodies of {unread} applied transactions are missing"] if unread else []
        accounts = 0
        total = sum(ledger.total() for ledger in replay.ledgers)
        if not unread and moved:
            accounts = len(books)
            anomalies += _compare(books, replay)
        if places and not accounts:
            doubts.append("honest nodes applied transactions, but no balance could be compared (see the measures)")
        if total != replay.genesis_total:
            summary = f"balances add up to {total}, genesis held {replay.genesis_total}"
            anomalies.append(Anomaly("value-created", summary, [record(event) for event in executed[-1:]]))
        if any(_another_root(event, replay) for event in executed):
            doubts.append("honest nodes hold another state than re-execution gets (see state-root)")
        measures: dict[str, Any] = {
            "operations": operations,
            "accounts_compared": accounts,
            "transactions_applied": moved,
            "total": total,
            **replay.where_it_stopped(),
        }
        examined = operations + accounts
        nothing = "no client operation finished and no transfer was applied"
        return conclude(self.property, examined, anomalies, measures, nothing, doubts)


def _another_root(event: TraceEvent, replay: Replay) -> bool:
    mine = replay.outcomes.get((event["clan"], event["height"]))
    return mine is not None and mine.root != event["root"]


def _executed(index: Index) -> list[TraceEvent]:
    """One execute record per (clan, height), in height order."""
    first: dict[tuple[int, int], TraceEvent] = {}
    for event in index.events("execute"):
        first.setdefault((event["height"], event["clan"]), event)
    return [first[at] for at in sorted(first)]


def _operations(index: Index, places: dict[str, list[TraceEvent]]) -> tuple[list[Anomaly], int]:
    """Finished client operations against what was applied."""
    anomalies = []
    count = 0
    others = _not_refused(index.history)
    for operation in finished(index.history):
        applied = places.get(operation.tx, [])
        told = f"process {operation.process} was told {operation.type!r} for transaction {short(operation.tx)}"
        count += 1
        if operation.type == "ok" and not applied:
            anomalies.append(Anomaly("lost-ack", f"{told}, which no honest node applied", [witness(operation)]))
        elif operation.type == "fail" and applied and operation.tx not in others:
            where = f"clan {applied[0]['clan']} height {applied[0]['height']}"
            summary = f"{told}, but it was applied in {where}"
            anomalies.append(Anomaly("failed-but-applied", summary, [witness(operation), record(applied[0])]))
        elif len(applied) > 1 or sum(event["applied"].count(operation.tx) for event in applied) > 1:
            where = " and ".join(f"clan {e['clan']} height {e['height']}" for e in applied)
            anomalies.append(
                Anomaly(
                    "applied-twice", f"{told}; it was applied in {where}", [witness(operation), *map(record, applied)]
                )
            )
    return anomalies, count


def _not_refused(history: Iterable[Operation]) -> set[str]:
    """Transactions that some operation submitted without being told that it failed: the same bytes may be submitted
    again, by a process whose first try never left it, and then they may well be applied."""
    pending: Counter[str] = Counter()
    for operation in history:
        if operation.process != "nemesis" and operation.tx:
            pending[operation.tx] += (operation.type == "invoke") - (operation.type == "fail")
    return {tx for tx, count in pending.items() if count > 0}


def finished(history: Iterable[Operation]) -> list[Operation]:
    """Client operations with a definite end and a transaction id."""
    return [o for o in history if o.process != "nemesis" and o.type in ("ok", "fail") and o.tx]


def witness(operation: Operation) -> dict[str, Any]:
    """A history record as a witness."""
    return {
        "index": operation.index,
        "time": operation.time,
        "process": operation.process,
        "type": operation.type,
        "f": operation.f,
        "value": operation.value,
        "tx": operation.tx,
        "phase": operation.phase,
    }


def _books(index: Index, executed: list[TraceEvent]) -> tuple[dict[str, int], list[Anomaly], int]:
    """Balances from genesis by the transfers that honest nodes applied, overdrafts, and how many bodies are missing."""
    txs = {tx.id: tx for held in index.bodies[0].values() for tx in held.txs}
    books = dict(index.info.accounts)
    anomalies: list[Anomaly] = []
    unread = 0
    for event in executed:
        for name in event["applied"]:
            if name not in txs:
                unread += 1
                continue
            tx = txs[name]
            sender = tx.sender.hex()
            for operation in tx.operations:
                if operation[0] != "t":
                    continue
                books[sender] = books.get(sender, 0) - operation[2]
                books[operation[1].hex()] = books.get(operation[1].hex(), 0) + operation[2]
                if books[sender] < 0 and not unread:
                    summary = (
                        f"account {short(sender)} falls to {books[sender]} by transaction {short(name)}"
                        f" (clan {event['clan']} height {event['height']}), which honest nodes applied"
                    )
                    anomalies.append(Anomaly("negative-balance", summary, [record(event)]))
    return books, anomalies, unread


def _compare(books: dict[str, int], replay: Replay) -> list[Anomaly]:
    """Balances that the applied transfers do not explain."""
    state = {address.hex(): balance for ledger in replay.ledgers for address, (balance, _) in ledger.accounts.items()}
    anomalies = []
    for address in sorted(books.keys() | state.keys()):
        booked, executed = books.get(address, 0), state.get(address, 0)
        if booked != executed:
            summary = (
                f"account {short(address)}: the transfers that honest nodes applied leave {booked},"
                f" executing the finalised order leaves {executed}"
            )
            anomalies.append(
                Anomaly("unexplained-balance", summary, [{"account": address, "booked": booked, "executed": executed}])
            )
    return anomalies
