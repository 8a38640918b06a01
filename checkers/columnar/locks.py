"""locks on columns: what each lock, vote and time-out of a node is compared with is its last lock before."""

from __future__ import annotations

import numpy as np

from checkers import locks as rule
from checkers.columnar.certificates import certificates
from checkers.columnar.groups import Flags, Ints, found, previous
from checkers.columnar.wide import EXPLAINED_MOST, Rows, Wide
from checkers.judge import conclude
from checkers.lives import forgetful
from results.trace import TraceEvent
from results.trace_columns import ABSENT
from results.verdict import Anomaly, Verdict

Told = list[tuple[int, int, list[Anomaly]]]  # node, rank, anomalies


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.locks`."""
    locks, held = wide.rows("lock"), certificates(wide)
    kept = ~wide.codes_of(forgetful(wide.info))
    told = _raised(wide, locks, kept) + _votes(wide, locks, kept) + _timeouts(wide, locks, kept)
    anomalies = [anomaly for _, _, found in sorted(told, key=lambda t: t[:2]) for anomaly in found]
    examined = int(kept[locks.node].sum())
    measures = {"locks": examined, **held.measures()}
    return conclude("locks", examined, anomalies, measures, rule.NOTHING, held.judged.doubts)


def _raised(wide: Wide, locks: Rows, kept: Flags) -> Told:
    """Locks that are not newer than the one before, or not certified."""
    view, block = locks.ints("view"), locks.ids("block")
    last = previous(locks.node)
    good = found((view, block), certificates(wide).blocks())
    suspect = kept[locks.node] & (((last != ABSENT) & (view <= view[last]) & (block != block[last])) | ~good)
    places = np.flatnonzero(suspect)
    befores = _befores(locks, last[places])
    return [
        (int(locks.node[place]), int(locks.rank[place]), rule.raised(before, event, bool(good[place])))
        for place, before, event in zip(places.tolist(), befores, locks.records(places), strict=False)
    ]


def _held(locks: Rows, rows: Rows) -> Ints:
    """For each of `rows` the last lock of its node before it, ABSENT if there is none."""
    order = np.argsort(locks.node, kind="stable")
    span = 1 + max([0, *locks.rank[-1:].tolist(), *rows.rank[-1:].tolist()])
    ends = locks.node[order].astype(np.int64) * span + locks.rank[order]
    last: Ints = np.searchsorted(ends, rows.node.astype(np.int64) * span + rows.rank) - 1
    if not len(order):
        return last
    last = np.where((last >= 0) & (locks.node[order[last]] == rows.node), order[last], ABSENT)
    return last


def _votes(wide: Wide, locks: Rows, kept: Flags) -> Told:
    """Votes for children of blocks newer than the lock."""
    votes = wide.rows("vote")
    views = np.full(len(wide.values) + 1, ABSENT, np.int64)  # the last stands for no parent
    for event in ("vote", "propose", "certify"):
        rows = wide.rows(event)
        views[rows.ids("block")] = rows.ints("view")
    held = _held(locks, votes)
    parent = votes.ids("parent", optional=True)
    above = views[parent]
    suspect = kept[votes.node] & (held != ABSENT) & (parent != ABSENT)
    suspect[suspect] = above[suspect] > locks.ints("view")[held[suspect]]
    places = np.flatnonzero(suspect)
    befores = _befores(locks, held[places])
    return [
        (
            int(votes.node[place]),
            int(votes.rank[place]),
            rule.resting(before, event, {event["parent"]: int(above[place])}),
        )
        for place, before, event in zip(places.tolist(), befores, votes.records(places), strict=False)
    ]


def _timeouts(wide: Wide, locks: Rows, kept: Flags) -> Told:
    """Time-outs that tell another lock."""
    timeouts = wide.rows("timeout")
    view, told = timeouts.ints("view"), timeouts.ints("lock_view")
    held = _held(locks, timeouts)
    other = held != ABSENT
    other[other] = told[other] != locks.ints("view")[held[other]]
    places = np.flatnonzero(kept[timeouts.node] & ((told >= view) | other))
    befores = _befores(locks, held[places])
    return [
        (int(timeouts.node[place]), int(timeouts.rank[place]), rule.resting(before, event, {}))
        for place, before, event in zip(places.tolist(), befores, timeouts.records(places), strict=False)
    ]


def _befores(locks: Rows, places: Ints) -> list[TraceEvent | None]:
    """The records of these locks; None for ABSENT."""
    distinct, which = np.unique(places[:EXPLAINED_MOST], return_inverse=True)
    there = distinct[distinct != ABSENT]
    records = dict(zip(there.tolist(), locks.records(there), strict=True))
    return [records.get(int(distinct[place])) for place in which.tolist()]
