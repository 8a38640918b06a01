"""Anomalies on their way into a verdict: counted all, the first few of each kind told in full, with their witnesses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from checkers.elle.graph import Edges
from results.history import HistoryError
from results.microops import VERBS
from results.transactions import Transactions
from results.verdict import Anomaly

Places: TypeAlias = Sequence[int] | NDArray[np.signedinteger[Any]]

MOST_TOLD = 5  # of one kind
_STATUS_NAMES = ("ok", "info", "fail")
_LONGEST = 48  # elements of a list that are shown


@dataclass
class Inference:
    """What one kind of history gives away: anomalies that need no cycle, and the dependencies for those that do."""

    findings: Findings
    edges: Edges  # without process and real time
    vertices: int  # transactions and hubs
    explain: Explain
    examined: int
    ambiguous: str = ""  # why nothing can be concluded, violation or not
    doubts: list[str] = field(default_factory=list)  # why a pass would claim too much
    measures: dict[str, Any] = field(default_factory=dict)
    certain: frozenset[str] | None = None  # kinds that hold whatever the model; None: all. Others refute that one alone


Explain = Callable[[int, int, int, str, str], str]  # kind, step here, step there, "T1", "T2" -> a sentence


class Findings:
    """The anomalies of a history by kind."""

    def __init__(self, history: Transactions) -> None:
        self.history = history
        self.counts: Counter[str] = Counter()
        self.told: dict[str, list[Anomaly]] = {}

    def add(self, kind: str, places: Places, tell: Callable[[int], tuple[str, Iterable[int]]]) -> None:
        """Count one anomaly per place; `tell` says of a place the sentence and the transactions that prove it."""
        if not len(places):
            return
        self.counts[kind] += len(places)
        told = self.told.setdefault(kind, [])
        for place in list(places)[: MOST_TOLD - len(told)]:
            summary, transactions = tell(int(place))
            told.append(Anomaly(kind, summary, [witness(self.history, t) for t in dict.fromkeys(transactions)]))

    def put(self, anomaly: Anomaly) -> None:
        """Count and tell one anomaly."""
        self.counts[anomaly.kind] += 1
        self.told.setdefault(anomaly.kind, []).append(anomaly)


def witness(history: Transactions, transaction: int, name: str = "") -> dict[str, Any]:
    """A transaction as a witness shows it."""
    shown: dict[str, Any] = {"transaction": name} if name else {}
    if history.index[transaction] >= 0:
        shown["index"] = int(history.index[transaction])
    if history.line[transaction]:
        shown["line"] = int(history.line[transaction])
    shown["process"] = history.names.of(int(history.process[transaction]))
    shown["type"] = _STATUS_NAMES[int(history.status[transaction])]
    shown["value"] = [
        [verb, key, cut(seen) if isinstance(seen, list) else seen] for verb, key, seen in history.value(transaction)
    ]
    return shown


def who(history: Transactions, transaction: int) -> str:
    """A transaction in a sentence that names it by its record."""
    index = int(history.index[transaction])
    place = f"record {index}" if index >= 0 else f"line {history.line[transaction]}"
    return f"the transaction of process {history.names.of(int(history.process[transaction]))} ({place})"


def cut(elements: list[Any]) -> list[Any]:
    """A list that people can still read: of a long one the beginning and the end."""
    if len(elements) <= _LONGEST:
        return elements
    return [*elements[:4], f"... {len(elements) - _LONGEST + 4} more ...", *elements[4 - _LONGEST :]]


def listing(elements: list[Any]) -> str:
    """A list in a sentence: [1 2 3]."""
    return f"[{' '.join(str(element) for element in cut(elements))}]"


def refuse_steps(history: Transactions, wrong: Places, why: str) -> None:
    """Raise HistoryError about the first of the wrong steps, if there are any."""
    if len(wrong):
        step = int(wrong[0])
        transaction = int(history.owner[step])
        number = step - history.steps(transaction).start
        what = f"[{VERBS[int(history.kind[step])]} {history.names.of(int(history.key[step]))} ..]"
        raise HistoryError(f"{history.at(transaction)}: value[{number}]: {what}: {why}")
