"""In which order the versions of registers came: what can be told from reads, writes, sessions and real time.

A version is the number of the step that wrote it; the initial one of key k is `steps + k`. Which inference is sound
depends on the model that is asked for: a transaction overwrites what it read under snapshot isolation and repeatable
read; later ones of a session, or later ones in real time, see no older version under the strong models.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields

import numpy as np

from checkers.elle.graph import strongly_connected
from checkers.elle.steps import Steps
from results.microops import Flags, Ints, Narrow
from results.transactions import NEVER, Transactions

OWN, OVERWRITES, SESSION, IN_TIME, INITIAL, NO_REASON = range(6)
MOST_RINGS = 64
MOST_PAIRS = 8_000_000  # pairs of touches that real time orders, all keys together


@dataclass(frozen=True, slots=True)
class Order:
    """before < after, each pair once; `reason` as above, proven by the steps `here` and `there`."""

    before: Ints
    after: Ints
    reason: Ints
    here: Ints
    there: Ints

    def where(self, mask: Flags | Ints) -> Order:
        """The pairs that `mask` selects."""
        return Order(self.before[mask], self.after[mask], self.reason[mask], self.here[mask], self.there[mask])


@dataclass(frozen=True, slots=True)
class Touches:
    """What each transaction does to each key: the version it finds (`enters`) and the one it leaves, with the steps."""

    transaction: Ints
    key: Ints
    enters: Ints
    enters_step: Ints
    leaves: Ints
    leaves_step: Ints


def touches(history: Transactions, steps: Steps, seen: Ints, alive: Flags) -> Touches:
    """Of transactions that are alive. `seen`: the version that each external read of them saw, -1 if nobody's."""
    size = len(history.owner)
    first_read = steps.external & (steps.previous < 0) & (seen >= 0)
    reads, writes = np.flatnonzero(first_read), np.flatnonzero(steps.last_write)
    count = int(steps.segment.max(initial=-1)) + 1
    read_of, write_of = np.full(count, -1), np.full(count, -1)
    read_of[steps.segment[reads]] = reads
    write_of[steps.segment[writes]] = writes
    some = np.flatnonzero((read_of >= 0) | (write_of >= 0))
    read, write = read_of[some], write_of[some]
    enters_step, leaves_step = np.where(read >= 0, read, write), np.where(write >= 0, write, read)
    version = np.where(steps.write, np.arange(size), seen)
    kept = alive[history.owner[enters_step]]
    enters_step, leaves_step = enters_step[kept], leaves_step[kept]
    return Touches(
        history.owner[enters_step].astype(np.int64), steps.key[enters_step], version[enters_step], enters_step,
        version[leaves_step], leaves_step,
    )  # fmt: skip


def overwrites(touched: Touches) -> Order:
    """A transaction that read a version and wrote the key wrote the later one."""
    both = touched.enters != touched.leaves
    return _order(
        OVERWRITES, touched.enters[both], touched.leaves[both], touched.enters_step[both], touched.leaves_step[both]
    )


def own(history: Transactions, steps: Steps, alive: Flags) -> Order:
    """Of two writes of one transaction the second is later."""
    later = np.flatnonzero(steps.write & (steps.previous_write >= 0) & alive[history.owner])
    earlier = steps.previous_write[later]
    return _order(OWN, earlier, later, earlier, later)


def by_session(history: Transactions, touched: Touches) -> Order:
    """What a process leaves is no later than what it finds next."""
    order = np.lexsort(
        (history.invoked[touched.transaction], touched.key, history.process[touched.transaction])
    )  # by process, then key, then time
    a, b = order[:-1], order[1:]
    process = history.process[touched.transaction]
    same = (process[a] == process[b]) & (touched.key[a] == touched.key[b])
    same &= history.completed[touched.transaction[a]] != NEVER
    return _pairs(SESSION, touched, a[same], b[same])


def in_time(history: Transactions, touched: Touches) -> tuple[Order, int]:
    """What a transaction leaves is no later than what is found by those that begin after it: the pairs that no others
    imply. Also: for how many keys there were too many pairs, so that they were left out."""
    ranks = np.unique(np.concatenate([history.invoked, history.completed[history.completed != NEVER]]))
    scale = len(ranks) + 2
    begin = touched.key * scale + np.searchsorted(ranks, history.invoked[touched.transaction])
    end = touched.key * scale + np.searchsorted(ranks, history.completed[touched.transaction])  # NEVER: above all
    order = np.argsort(begin, kind="stable")
    begins = begin[order]
    earliest_end = np.minimum.accumulate(end[order][::-1])[::-1]  # of all that begin here or later
    first = np.searchsorted(begins, end, "right")
    there = first < len(begins)
    there[there] = touched.key[order[first[there]]] == touched.key[there]
    a, first = np.flatnonzero(there), first[there]
    count = np.searchsorted(begins, earliest_end[first], "right") - first
    keys = touched.key[a]
    cost = np.bincount(keys, weights=count, minlength=1)
    cheap = np.zeros(len(cost), np.bool_)
    by_cost = np.argsort(cost, kind="stable")
    cheap[by_cost[np.cumsum(cost[by_cost]) <= MOST_PAIRS]] = True
    a, first, count = a[cheap[keys]], first[cheap[keys]], count[cheap[keys]]
    left = np.repeat(a, count)
    right = order[np.repeat(first, count) + np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)]
    return _pairs(IN_TIME, touched, left, right), int((~cheap).sum())


def _pairs(reason: int, touched: Touches, a: Ints, b: Ints) -> Order:
    differ = touched.leaves[a] != touched.enters[b]
    a, b = a[differ], b[differ]
    return _order(reason, touched.leaves[a], touched.enters[b], touched.leaves_step[a], touched.enters_step[b])


def _order(reason: int, before: Ints | Narrow, after: Ints, here: Ints | Narrow, there: Ints) -> Order:
    return Order(before.astype(np.int64), after, np.full(len(before), reason), here.astype(np.int64), there)


def merged(parts: list[Order]) -> Order:
    """All pairs of several orders, each once, with the first reason given."""
    before, after, reason, here, there = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("before", "after", "reason", "here", "there")
    )
    order = np.lexsort((np.arange(len(before)), after, before))
    whole = Order(before[order], after[order], reason[order], here[order], there[order])
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (whole.before[1:] != whole.before[:-1]) | (whole.after[1:] != whole.after[:-1])
    return whole.where(fresh)


def cyclic(order: Order, versions: int) -> Ints:
    """The number of the pairs that lie on a cycle of versions."""
    labels = strongly_connected(order.before, order.after, versions)
    if labels is None:
        return np.empty(0, np.int64)
    return np.flatnonzero((labels[order.before] >= 0) & (labels[order.before] == labels[order.after]))


def shortest_ring(order: Order) -> list[tuple[int, ...]]:
    """The pairs (before, after, reason, here, there) of a shortest cycle, of those through the first MOST_RINGS."""
    pairs = [tuple(row) for row in np.stack([getattr(order, field.name) for field in fields(Order)], axis=1).tolist()]
    out: dict[int, list[tuple[int, ...]]] = {}
    for pair in pairs:
        out.setdefault(pair[0], []).append(pair)
    best: list[tuple[int, ...]] = []
    for start in pairs[:MOST_RINGS]:
        came: dict[int, tuple[int, ...]] = {start[1]: start}
        queue = deque([start[1]])
        while queue and start[0] not in came:
            for pair in out.get(queue.popleft(), ()):
                if pair[1] not in came:
                    came[pair[1]] = pair
                    queue.append(pair[1])
        ring = [came[start[0]]]
        while ring[-1] != start:
            ring.append(came[ring[-1][0]])
        if not best or len(ring) < len(best):
            best = ring[::-1]
    return best
