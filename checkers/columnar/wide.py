"""The honest evidence of a run as columns: what `checkers.index.Index` is for records.

Rows are in the order of `Index.all_events`: by time, then by the name of the node, a node's own order kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np

from checkers.arithmetic import Bounds
from checkers.columnar.groups import Flags, Ints, grouped, spread
from checkers.evidence import Notary
from checkers.index import once, undisturbed, workload
from results.history import HistoryError, Operation
from results.store import Run
from results.trace import TraceEvent
from results.trace_columns import Table, TraceColumns, ValueTable

EXPLAINED_MOST = 20_000  # suspects of one kind that are taken apart and explained


class Rows:
    """The records of one event that honest nodes and gateways left."""

    def __init__(self, wide: Wide, table: Table) -> None:
        self._table = table
        node = wide.codes[table.node]
        rank = wide.rank(table)
        at: Ints | None = None
        if not wide.trusted.all():
            at = np.flatnonzero(wide.trusted[node])
            node, rank = node[at], rank[at]
        if (rank[1:] < rank[:-1]).any():
            order = np.argsort(rank)
            at = order if at is None else at[order]
            node, rank = node[order], rank[order]
        self._wide = wide
        self._at = at
        self.node: Ints = node  # codes: places in Wide.names
        self.rank: Ints = rank  # place among all records

    def __len__(self) -> int:
        return len(self.node)

    @property
    def time(self) -> Ints:
        return self._cut(self._table.time)

    @property
    def incarnation(self) -> Ints:
        return self._cut(self._table.incarnation)

    def ints(self, field: str, missing: int | None = None) -> Ints:
        """A field that is a whole number in every record, or else counts as `missing`; raises HistoryError without."""
        return self._cut(self._table.ints(field, missing))

    def ids(self, field: str, optional: bool = False) -> Ints:
        """A field as numbers of values; with `optional`, ABSENT where a record does not have it."""
        return self._cut(self._table.ids(field, optional))

    def stamps(self, field: str) -> Ints:
        """A whole number that a record may lack, or have as something else: equal where the values are equal."""
        return self._cut(self._table.anything(field))

    def records(self, rows: Ints | Flags) -> list[TraceEvent]:
        """These records, whole; of very many the first. Which: places, or a flag for each."""
        places: Ints = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        self._wide.left_out += max(0, len(places) - EXPLAINED_MOST)
        places = places[:EXPLAINED_MOST]
        return self._table.records(places if self._at is None else self._at[places])

    def _cut(self, column: Ints) -> Ints:
        return column if self._at is None else column[self._at]


class Wide:
    """Columns of one run's honest events. Raises HistoryError on a damaged trace."""

    def __init__(self, run: Run) -> None:
        assert run.columns is not None
        self._run = run
        self.left_out = 0  # suspects that nobody looked at
        self.info = run.info
        self.bounds = Bounds(self.info)
        self.notary = Notary(self.info)
        self.signatures_most = run.signatures_most
        self.trace: TraceColumns = run.columns
        assert self.trace.ordered  # or raises
        self.values: ValueTable = self.trace.values
        corrupted = set(self.info.byzantine)
        everyone = [*self.info.tribe, *self.info.gateways]
        self.honest = tuple(node for node in everyone if node not in corrupted)
        self._name_nodes()
        self.trusted: Flags = np.array([name in self.honest for name in self.names], np.bool_)
        self._rows: dict[str, Rows] = {}
        last = [int(rows.time[-1]) for rows in map(self.rows, self.trace.counts) if len(rows)]
        self.end = self.info.end or max(last, default=0)
        heard = {code for event in self.trace.counts for code in np.unique(self.rows(event).node).tolist()}
        self.heard = tuple(self.names[code] for code in sorted(heard))
        self.mute = tuple(node for node in self.honest if node not in self.heard)
        births = self.records("start", "restart")
        starts = Counter(event["node"] for event in births)
        faulty = corrupted | set(self.info.crashed) | set(self.info.amnesiac) | set(self.mute)
        faulty |= {node for node in self.info.gateways if starts[node] > 1}
        self.steady = tuple(node for node in everyone if node not in faulty)

    def rows(self, event: str) -> Rows:
        """The honest records of one event."""
        if event not in self._rows:
            self._rows[event] = Rows(self, self.trace.table(event))
        return self._rows[event]

    def records(self, *events: str) -> list[TraceEvent]:
        """All honest records of rare events, as `Index.events` gives them. Raises HistoryError if they are not rare."""
        for event in events:
            if len(self.rows(event)) > EXPLAINED_MOST:
                raise HistoryError(
                    f"{self.trace.path}: {len(self.rows(event))} records of {event}: too many to look at"
                )
        return [record for event in events for record in self.rows(event).records(np.arange(len(self.rows(event))))]

    @property
    def history(self) -> Sequence[Operation]:
        """Client and nemesis operations in file order."""
        return self._run.history

    @property
    def undisturbed(self) -> bool:
        """No fault and no corrupted replica was declared."""
        return undisturbed(self.info)

    @property
    def workload(self) -> str:
        """The workload's kind, "" if the scenario has none."""
        return workload(self.info)

    def codes_of(self, names: Collection[str]) -> Flags:
        """By code: is the node one of these?"""
        return np.array([name in set(names) for name in self.names], np.bool_)

    def rank(self, table: Table) -> Ints:
        """The place of a table's records in the order of the whole trace."""
        return table.row if self._ranks is None else self._ranks[table.row]

    def items(self, lists: Ints) -> tuple[Ints, Ints]:
        """The elements of lists one after the other, and which of `lists` each is of."""
        starts, ends = self.values.starts[lists], self.values.starts[lists + 1]
        lengths = ends - starts
        return self.values.elements[spread(starts, lengths)], np.repeat(np.arange(len(lists)), lengths)

    def quorums(self, lists: Ints, threshold: int) -> Flags:
        """Which of these lists (each there once) name so many different nodes of the tribe and nothing else."""
        members = np.zeros(len(self.values), np.bool_)
        members[[number for name in self.info.tribe if (number := self.values.find(name)) >= 0]] = True
        elements, owner = self.items(lists)
        fit = np.diff(self.values.starts)[lists] >= threshold
        fit[owner[~members[elements]]] = False
        once_each = grouped(owner, elements)
        fit[owner[once_each.counts()[once_each.key] > 1]] = False
        return fit

    def _name_nodes(self) -> None:
        """Codes for the nodes, in the order of their names."""
        present = np.zeros(len(self.values), np.bool_)
        for event in self.trace.counts:
            present[self.trace.table(event).node] = True
        numbers = np.flatnonzero(present)
        named = []
        for number in numbers.tolist():
            name = self.values.of(number)
            if not isinstance(name, str):
                raise HistoryError(f"{self.trace.path}: a record whose `node` is {str(name)[:40]!r}")
            named.append((name, number))
        named.sort()
        self.names = [name for name, _ in named]
        self.codes: Ints = np.full(len(self.values), -1, np.int16 if len(named) < 30_000 else np.int64)
        self.codes[[number for _, number in named]] = np.arange(len(named))

    @cached_property
    def _ranks(self) -> Ints | None:
        """By row: its place in the order by time, node, row; None if that is the order of the rows."""
        time = np.zeros(len(self.trace), np.int64)
        node = np.zeros(len(self.trace), self.codes.dtype)
        for event in self.trace.counts:
            table = self.trace.table(event)
            time[table.row], node[table.row] = table.time, self.codes[table.node]
        if not ((time[1:] == time[:-1]) & (node[1:] < node[:-1])).any():
            return None
        order = np.lexsort((node, time))  # stable
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks


def wide_of(run: Run) -> Wide:
    """The columns of a run, made once per Run object."""
    return once(run, Wide)
