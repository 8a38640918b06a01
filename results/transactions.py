"""The transactions of a history as columns: what the transactional checkers work on (millions of them fit in memory).

A transaction is an operation with `f` "txn" whose value lists micro-operations: ["append", key, value], ["w", key,
value], ["r", key, result]. Jepsen's semantics: ok happened, fail never did, info may or may not have.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from results.history import HistoryError
from results.microops import NAMED, NIL, READ, VERBS, Bytes, Columns, Flags, Ints, Names, Narrow, StepError, flatten
from results.records import NULL, Record
from results.steptext import plain_columns

OK, INFO, FAIL = 0, 1, 2
_STATUS = {"ok": OK, "info": INFO, "fail": FAIL}
_INVOKE = 3
_KINDS = {**_STATUS, "invoke": _INVOKE}
NEVER = int(np.iinfo(np.int64).max)  # completion of a transaction whose end nobody saw
FINAL_PHASES = ("", "exec", "execution")  # an ok at an earlier phase may still be undone: unknown
_NEMESIS = "nemesis"
_LAST = frozenset(FINAL_PHASES)


@dataclass(frozen=True, slots=True)
class Transactions:
    """n transactions in order of completion, open ones last; m micro-operations in their order.

    `invoked` and `completed` are ranks: a transaction precedes another in real time iff its completion has the lower
    rank. Keys and values are integers, `names` says what they stand for. `result` of a read is the value it saw or NIL,
    or, where `listed`, the number of the list it saw: elements[starts[i]:starts[i + 1]].
    """

    source: str
    status: Ints  # n: OK, INFO, FAIL
    process: Ints  # n
    invoked: Ints  # n
    completed: Ints  # n, NEVER but for those that ended ok
    index: Ints  # n: index of the completing (else the invoking) record
    line: Ints  # n: its line in the source, 0 if that is not known
    owner: Narrow  # m: transaction
    kind: Bytes  # m: APPEND, WRITE, READ
    key: Ints  # m
    result: Ints  # m: what was written or read
    listed: Flags  # m
    starts: Ints  # lists + 1
    elements: Ints
    names: Names
    others: dict[str, int]  # operations that are no transactions, by f
    premature: int  # ok operations of an earlier phase, taken as info
    gaps: int  # how often the indices skip some: records are missing

    def __len__(self) -> int:
        return len(self.status)

    def steps(self, transaction: int) -> range:
        """The numbers of a transaction's micro-operations."""
        start, stop = np.searchsorted(self.owner, [transaction, transaction + 1])
        return range(int(start), int(stop))

    def seen(self, step: int) -> Any:
        """What a read saw or a write wrote, in the history's own values: a list, a value or None."""
        result = int(self.result[step])
        if not self.listed[step]:
            return self.names.of(result)
        return [self.names.of(int(v)) for v in self.elements[self.starts[result] : self.starts[result + 1]]]

    def value(self, transaction: int) -> list[list[Any]]:
        """The transaction as the history has it."""
        return [
            [VERBS[int(self.kind[s])], self.names.of(int(self.key[s])), self.seen(s)] for s in self.steps(transaction)
        ]

    def at(self, transaction: int) -> str:
        """Where the history has a transaction."""
        return f"{self.source}:{self.line[transaction]}" if self.line[transaction] else self.source


class UnpairedError(HistoryError):
    """Invocations and their ends do not fit together."""


def load(source: str, chunks: Iterable[list[Record]]) -> Transactions:
    """The transactions among the records, paired and flattened.

    Records count in the order of their indices, or else of their times (equal times: concurrent), or else of the file.
    Raises HistoryError, naming line and field, on what no client can have recorded; UnpairedError on records that
    contradict each other.
    """
    with _paused_collector():
        loader = _Loader(source)
        for records, ranks in _ranked(source, chunks):
            loader.take(records, ranks)
        return loader.whole()


@contextmanager
def _paused_collector() -> Iterator[None]:
    """Millions of small lists, none of them in a cycle: looking for garbage among them costs more than parsing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# ---------------------------------------------------------------- order
def _ranked(source: str, chunks: Iterable[list[Record]]) -> Iterator[tuple[list[Record], Sequence[int]]]:
    """Chunks in order, with the rank of each record; one big chunk if they have to be sorted first."""
    last: int | None = None
    iterator = iter(chunks)
    for records in iterator:
        indices = _increasing(records, last)
        if indices is None:
            if last is not None:
                raise HistoryError(f"{source}: the indices stop increasing at {_place(source, records)}; sort the file")
            yield _sorted(source, [*records, *(record for rest in iterator for record in rest)])
        elif indices:
            last = indices[-1]
            yield records, indices


def _increasing(records: list[Record], last: int | None) -> list[int] | None:
    """The indices if there are any and they increase, from `last` on; else None."""
    indices = [record.index for record in records if record.index is not None]
    if len(indices) != len(records) or (indices and last is not None and indices[0] <= last):
        return None
    array = np.array(indices, np.int64)
    return indices if bool((array[1:] > array[:-1]).all()) else None


def _sorted(source: str, records: list[Record]) -> tuple[list[Record], Sequence[int]]:
    indices = [record.index for record in records if record.index is not None]
    if len(indices) == len(records):
        records.sort(key=lambda record: record.index or 0)
        indices.sort()
        for before, after in pairwise(records):
            if before.index == after.index:
                raise HistoryError(f"{source}: index {after.index} occurs twice (lines {before.line}, {after.line})")
        return records, indices
    times = [record.time for record in records if record.time is not None]
    if len(times) == len(records):
        records.sort(key=lambda record: record.time or 0)
        return records, sorted(times)
    return records, range(len(records))


def _place(source: str, records: list[Record]) -> str:
    return next((f"{source}:{record.line}" for record in records if record.line), source)


# ---------------------------------------------------------------- pairing
class _Loader:
    """Pairs invocations with their ends and collects the columns, chunk by chunk."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._open: dict[int | str | None, tuple[int, Record]] = {}
        self._names = Names()
        self._others: Counter[str] = Counter()
        self._premature = 0
        self._gaps = 0
        self._last: int | None = None  # the last index
        self._heads: list[Ints] = []  # one 6 x n table a chunk: status, process, invoked, completed, index, line
        self._columns: list[Columns] = []

    def take(self, records: list[Record], ranks: Sequence[int]) -> None:
        """Account for records in their order."""
        if records and records[0].index is not None and records[-1].index is not None:
            skipped = records[-1].index - records[0].index + 1 - len(records)
            self._gaps += skipped > 0 or (self._last is not None and records[0].index != self._last + 1)
            self._last = records[-1].index
        if not self._pair(records, ranks):
            self._go_through(records, ranks)
        for _, record in self._open.values():  # not to hold the whole chunk's text in memory
            record.value = msgspec.Raw(bytes(record.value))

    def _pair(self, records: list[Record], ranks: Sequence[int]) -> bool:
        """Pair transactions of processes with numbers, all at once; False, and nothing done, if there is more to it."""
        if {record.f for record in records} != {"txn"} or not {record.phase for record in records} <= _LAST:
            return False
        waiting = list(self._open.values())
        whole = [record for _, record in waiting] + records
        processes = [record.process for record in whole]
        if set(map(type, processes)) != {int} or not all(-NAMED < process < NAMED for process in set(processes)):  # type: ignore[operator]
            return False
        rank = np.array([*(invoked for invoked, _ in waiting), *ranks], np.int64)
        kind = np.fromiter(map(_KINDS.__getitem__, [record.type for record in whole]), np.int64, len(whole))
        process = np.array(processes, np.int64)
        order = np.argsort(process, kind="stable")
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = process[order[1:]] != process[order[:-1]]
        starts = np.flatnonzero(fresh)
        odd = (np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))) % 2 == 1
        if ((kind[order] == _INVOKE) == odd).any():
            return False  # somebody invokes twice or ends what never began: said by the other way
        ends = order[odd]
        pairs = np.argsort(ends)
        ends, begins = ends[pairs], order[np.flatnonzero(odd) - 1][pairs]
        completed = np.where(kind[ends] == OK, rank[ends], NEVER)
        index = [-1 if (found := whole[end].index) is None else found for end in ends.tolist()]
        line = [whole[end].line for end in ends.tolist()]
        values = [whole[end].value for end in ends.tolist()]
        for place in np.flatnonzero(kind[ends] != OK).tolist():
            if bytes(values[place]) == NULL_TEXT:
                values[place] = whole[int(begins[place])].value
        open_ = np.setdiff1d(order[~odd], begins, assume_unique=True).tolist()
        self._open = {whole[place].process: (int(rank[place]), whole[place]) for place in open_}
        self._keep(np.array([kind[ends], process[ends], rank[begins], completed, index, line], np.int64), values)
        return True

    def _go_through(self, records: list[Record], ranks: Sequence[int]) -> None:
        """The same one by one, whatever the records are. Raises UnpairedError."""
        heads: list[tuple[int, ...]] = []
        values: list[msgspec.Raw] = []
        waiting = self._open
        for record, rank in zip(records, ranks, strict=True):
            process = record.process
            if process == _NEMESIS:
                continue
            if record.type == "invoke":
                if process in waiting:
                    raise self._error(record, f"process {process} invokes again before its last operation has ended")
                waiting[process] = (rank, record)
                continue
            if process not in waiting:
                raise self._error(record, f"process {process} ends an operation that it never invoked")
            invoked, invocation = waiting.pop(process)
            self._end(record, rank, invoked, invocation, heads, values)
        self._keep(_table(heads), values)

    def _end(
        self, record: Record, rank: int, invoked: int, invocation: Record, heads: list[tuple[int, ...]],
        values: list[msgspec.Raw],
    ) -> None:  # fmt: skip
        f = record.f
        if f != invocation.f:
            raise self._error(record, f"f: process {record.process} ends {f!r}, but had invoked {invocation.f!r}")
        if f != "txn" and f is not None:
            self._others[f] += 1
            return
        status, value = _STATUS[record.type], record.value
        if status == OK and record.phase not in FINAL_PHASES:
            status = INFO
            self._premature += 1
        if status != OK:
            if bytes(value) == NULL_TEXT:
                value = invocation.value
            rank = NEVER
        process = record.process
        number = process if type(process) is int else self._names.number(process)
        heads.append((status, number, invoked, rank, -1 if record.index is None else record.index, record.line))
        values.append(value)

    def whole(self) -> Transactions:
        """Everything, with what is still open as info."""
        heads: list[tuple[int, ...]] = []
        values: list[msgspec.Raw] = []
        for invoked, record in self._open.values():
            self._end(msgspec.structs.replace(record, type="info"), NEVER, invoked, record, heads, values)
        self._keep(_table(heads), values)
        return _assembled(
            self._source, self._heads, self._columns, self._names, dict(self._others), self._premature, self._gaps
        )

    def _keep(self, heads: Ints, values: list[msgspec.Raw]) -> None:
        if not values:
            return
        try:
            plain = plain_columns(values)
            self._columns.append(flatten(values, self._names) if plain is None else plain)
        except StepError as error:
            line = int(heads[5, error.place])
            raise HistoryError(f"{self._source}:{line or '?'}: {error}") from error
        self._heads.append(heads)

    def _error(self, record: Record, message: str) -> UnpairedError:
        line = f":{record.line}" if record.line else f": record {record.index}" if record.index is not None else ""
        return UnpairedError(f"{self._source}{line}: {message}")


NULL_TEXT = bytes(NULL)


def _table(heads: list[tuple[int, ...]]) -> Ints:
    """Six rows of numbers."""
    return np.array(heads, np.int64).reshape(-1, 6).T


def _assembled(
    source: str,
    heads: list[Ints],
    parts: list[Columns],
    names: Names,
    others: dict[str, int],
    premature: int,
    gaps: int,
) -> Transactions:
    table = np.concatenate(heads, axis=1) if heads else np.empty((6, 0), np.int64)
    counts = _joined([part.counts for part in parts])
    owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    before = 0
    for part in parts:
        part.result[part.listed] += before
        before += len(part.lengths)
    kind = np.concatenate([part.kind for part in parts]) if parts else np.empty(0, np.int8)
    result = _joined([part.result for part in parts])
    listed = np.concatenate([part.listed for part in parts]) if parts else np.empty(0, np.bool_)
    unknown = (kind == READ) & (table[0][owner] != OK)
    result[unknown] = NIL
    listed &= ~unknown
    lengths = _joined([part.lengths for part in parts])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Transactions(
        source, table[0], table[1], table[2], table[3], table[4], table[5], owner, kind,
        _joined([part.key for part in parts]), result, listed, starts,
        _joined([part.elements for part in parts]), names, others, premature, gaps,
    )  # fmt: skip


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
