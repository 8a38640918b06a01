"""What wallets were told of balances: the `balance` operations of the history that ended ok."""

from __future__ import annotations

from dataclasses import dataclass

from checkers.evidence import unhex
from checkers.index import Index, once
from results.history import HistoryError, Operation

BALANCE = "balance"


@dataclass(frozen=True)
class Answer:
    """One answer of a gateway: what an account held, and its next sequence number, once block `height` was executed."""

    operation: Operation
    address: bytes
    balance: int
    seq: int
    height: int


def answers(index: Index) -> list[Answer]:
    """The answers in the order of the history; made once per index. Raises HistoryError on a value of another shape."""
    return once(index, _answers)


def _answers(index: Index) -> list[Answer]:
    return [_answer(o) for o in index.history if o.f == BALANCE and o.type == "ok" and o.process != "nemesis"]


def _answer(operation: Operation) -> Answer:
    value = operation.value if isinstance(operation.value, dict) else {}
    figures = [figure for name in ("balance", "seq", "height") if type(figure := value.get(name)) is int]
    if not isinstance(value.get("address"), str) or len(figures) < 3:
        raise HistoryError(
            f"history record {operation.index}: an answered balance must be"
            f' {{"address", "balance", "seq", "height"}}, not {operation.value!r:.80}'
        )
    return Answer(operation, unhex(value["address"], 32, "address"), *figures)
