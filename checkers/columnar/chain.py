"""The finalised chain of a large trace: what counts in it, and what it holds (as `Index.placed` and more)."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from checkers.columnar.groups import Flags, Ints, grouped
from checkers.columnar.wide import Wide
from checkers.encoding import Body
from checkers.index import bodies_of, once
from results.trace_columns import ABSENT


class Chain:
    """Arrays over the batches of the undisputed chain in its order. Batches and transactions are numbers of values."""

    def __init__(self, wide: Wide) -> None:
        self._wide = wide
        finals = wide.rows("finalise")
        height, block = finals.ints("height"), finals.ids("block")
        groups = grouped(height)
        first = groups.representatives()
        first = first[np.argsort(height[first])]
        forked = np.zeros(groups.size, np.bool_)
        forked[groups.key[groups.differing(block)]] = True
        fit = (height[first] == np.arange(1, len(first) + 1)) & ~forked[groups.key[first]]
        first = first[: int(np.argmin(fit)) if not fit.all() else len(fit)]
        self.first: Ints = first  # places among the finalise records, one a height
        self.batch, at = wide.items(finals.ids("batches")[first])
        self.height: Ints = height[first][at] if len(first) else np.empty(0, np.int64)
        self.heights = len(first)
        self._own: list[Ints] = []  # transactions of bodies that no `batch` record has like that
        self._more: dict[str, int] = {}  # numbers of transactions that are no values

    @cached_property
    def bodies(self) -> dict[str, Body]:
        """Batch id -> body, as far as bodies are on record."""
        rows = self._wide.rows("body")
        distinct = grouped(rows.ids("batch"), rows.ids("data")).representatives()
        found: dict[str, Body] = {}
        for start in range(0, len(distinct), 1000):
            found |= bodies_of(rows.records(distinct[start : start + 1000]))[0]
        return found

    @cached_property
    def slot(self) -> Ints:
        """By number of a batch: a number of its slot, ABSENT if nobody knew it."""
        wide, values = self._wide, self._wide.values
        columns: list[tuple[Ints, Ints, Ints, Ints]] = []
        for event in ("available", "availability_vote", "batch"):
            rows = wide.rows(event)
            columns.append((rows.ids("batch"), rows.ints("clan"), rows.ids("proposer"), rows.ints("seq")))
        names = {str(values.of(int(number))): int(number) for c in columns for number in np.unique(c[2]).tolist()}
        bodies = list(self.bodies.values())
        if bodies:
            own = [names.setdefault(body.proposer, -2 - len(names)) for body in bodies]
            ids = values.numbers([body.id for body in bodies])
            columns.append((ids, *np.array([(b.clan, name, b.seq) for b, name in zip(bodies, own, strict=True)]).T))
        batch, *slots = (np.concatenate(column) for column in zip(*columns, strict=True))
        found = np.full(len(values), ABSENT, np.int64)
        found[batch] = grouped(*slots).key
        return found

    @cached_property
    def effective(self) -> Flags:
        """Which batches of the chain count: EQ-FIRST, the first one of a slot; EQ-BOTH, all. Unknown slots do not."""
        slot = self.slot[self.batch]
        known: Flags = slot != ABSENT
        if self._wide.info.parameters.get("equivocation", "first") == "both":
            return known
        counts = np.zeros(len(slot), np.bool_)
        places = np.flatnonzero(known)
        counts[places[grouped(slot[places]).representatives()]] = True
        return counts

    @cached_property
    def contents(self) -> Ints:
        """By number of a batch: the number of the list of its transactions, ABSENT if nobody knew them.

        The transactions of a body are no value of the trace, unless they are those of a `batch` record: their numbers
        go on where those of the values end, and `inside` knows them.
        """
        rows, values = self._wide.rows("batch"), self._wide.values
        found = np.full(len(values), ABSENT, np.int64)
        found[rows.ids("batch")] = rows.ids("txs")
        bodies = list(self.bodies.values())
        numbers = values.numbers([body.id for body in bodies])
        ids = [tx.id for body in bodies for tx in body.txs]
        txs = values.numbers(ids)
        for place in np.flatnonzero(txs == ABSENT).tolist():
            txs[place] = self._more.setdefault(ids[place], len(values) + len(self._more))
        ends = np.cumsum([len(body.txs) for body in bodies], dtype=np.int64)
        for number, own in zip(numbers.tolist(), np.split(txs, ends[:-1]) if bodies else (), strict=True):
            if found[number] == ABSENT or not np.array_equal(values.items(int(found[number])), own):
                found[number] = len(values) + len(self._own)
                self._own.append(own)
        return found

    def text(self, tx: int) -> str:
        """The id of a transaction, in hex."""
        values = self._wide.values
        return str(values.of(tx)) if tx < len(values) else list(self._more)[tx - len(values)]

    def inside(self, lists: Ints) -> tuple[Ints, Ints]:
        """The transactions in lists of `contents`, and which of the lists each is in."""
        own = np.flatnonzero(lists >= len(self._wide.values))
        elements, owner = self._wide.items(np.where(lists < len(self._wide.values), lists, 0))
        if not len(own):
            return elements, owner
        keep = ~np.isin(owner, own)
        held = [self._own[int(lists[place]) - len(self._wide.values)] for place in own.tolist()]
        elements = np.concatenate([elements[keep], *held])
        owner = np.concatenate([owner[keep], np.repeat(own, [len(txs) for txs in held])])
        order = np.argsort(owner, kind="stable")
        return elements[order], owner[order]

    @cached_property
    def sizes(self) -> Ints:
        """By number of a batch: how many transactions it holds, 0 if nobody knew."""
        known = np.flatnonzero(self.contents != ABSENT)
        _, owner = self.inside(self.contents[known])
        found = np.zeros(len(self.contents), np.int64)
        found[known] = np.bincount(owner, minlength=len(known))
        return found

    @cached_property
    def inclusions(self) -> tuple[Ints, Ints, Ints]:
        """(transaction, height, batch) of every inclusion in an effective batch, in order."""
        batch, height = self.batch[self.effective], self.height[self.effective]
        lists = self.contents[batch]
        txs, owner = self.inside(lists[lists != ABSENT])
        return txs, height[lists != ABSENT][owner], batch[lists != ABSENT][owner]

    @cached_property
    def known(self) -> Flags:
        """By height: are the slots and the transactions of all its batches known?"""
        unknown = (self.slot[self.batch] == ABSENT) | (self.contents[self.batch] == ABSENT)
        found = np.ones(self.heights + 1, np.bool_)
        found[0] = False
        found[self.height[unknown]] = False
        return found


def chain_of(wide: Wide) -> Chain:
    """The chain of a run, made once."""
    return once(wide, Chain)
