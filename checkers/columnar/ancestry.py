"""ancestry on columns: the way down from every certified block, on numbers instead of hashes."""

from __future__ import annotations

import numpy as np

from checkers import ancestry as rule
from checkers.columnar.certificates import Certificates, certificates
from checkers.columnar.groups import Flags, Groups, Ints
from checkers.columnar.wide import EXPLAINED_MOST, Wide
from results.trace_columns import ABSENT
from results.verdict import Anomaly, Verdict


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.ancestry`."""
    held, finals = certificates(wide), wide.rows("finalise")
    parents, genesis = _parents(wide)
    order = np.lexsort((held.kind == held.commit, held.view))
    first = _firsts(wide, held.block, order[held.good[order]])  # the first certificate of each block, by view
    block, view = finals.ids("block"), finals.ints("view")
    rules = [wide.values.find(name) for name in rule.DIRECT]
    ruled = np.flatnonzero(np.isin(finals.ids("rule", optional=True), rules))
    direct = _firsts(wide, block, ruled[np.argsort(view[ruled], kind="stable")])
    alone = first[~np.isin(held.block[first], block[direct])]
    committed = _ordered(wide, view[direct], block[direct])
    every = _ordered(
        wide, np.concatenate([held.view[alone], view[direct]]), np.concatenate([held.block[alone], block[direct]])
    )
    known = np.flatnonzero(parents != ABSENT)
    above = dict(zip(known.tolist(), parents[known].tolist(), strict=True))
    certificate = dict(zip(held.block[first].tolist(), first.tolist(), strict=True))
    commit = dict(zip(block[direct].tolist(), direct.tolist(), strict=True))

    lost = list(rule.astray(every, committed, above, set(np.flatnonzero(genesis).tolist())))[:EXPLAINED_MOST]
    named = sorted({number for pair in lost for number in pair})
    event = held.records({number: certificate[number] for number in named if number not in commit})
    places = [commit[number] for number in named if number in commit]
    event |= zip((n for n in named if n in commit), finals.records(np.array(places, np.int64)), strict=True)
    anomalies = [rule.abandoned(event[number], event[due]) for number, due in lost]
    placed = first[parents[held.block[first]] != ABSENT]
    anomalies += _misplaced(wide, held, parents, genesis, placed, certificate)
    bare = len(first) - len(placed)
    doubts = held.judged.doubts
    return rule.concluded(len(placed), anomalies, len(first), len(direct), bare, doubts, held.measures())


def _firsts(wide: Wide, block: Ints, order: Ints) -> Ints:
    """Of rows in this order those that are the first of their block."""
    return order[Groups(block[order], len(wide.values)).representatives()]


def _ordered(wide: Wide, view: Ints, block: Ints) -> list[tuple[int, int]]:
    """(view, block) in order; blocks of one view in the order of their hashes."""
    pairs = list(zip(view.tolist(), block.tolist(), strict=True))
    if len(np.unique(view)) == len(view):
        return sorted(pairs)
    return sorted(pairs, key=lambda pair: (pair[0], str(wide.values.of(pair[1]))))


def _parents(wide: Wide) -> tuple[Ints, Flags]:
    """By number of a block: its parent, ABSENT if nobody recorded it; and whether it stands for the genesis."""
    parents = np.full(len(wide.values), ABSENT, np.int64)
    genesis = np.zeros(len(wide.values), np.bool_)
    for event in ("finalise", "vote", "propose"):  # what is told first stays, proposals before votes before blocks
        rows = wide.rows(event)
        parent = rows.ids("parent", optional=True)
        there = np.flatnonzero((parent != ABSENT) & (parent != wide.values.null))[::-1]
        parents[rows.ids("block")[there]] = parent[there]
        genesis[parent[there][rows.ints("height", missing=0)[there] == 1]] = True
    return parents, genesis


def _misplaced(
    wide: Wide, held: Certificates, parents: Ints, genesis: Flags, placed: Ints, certificate: dict[int, int]
) -> list[Anomaly]:
    """Certified blocks whose parent is not certified in the view before."""
    views = np.full(len(wide.values), ABSENT, np.int64)
    numbers, places = np.array(list(certificate)), np.array(list(certificate.values()))
    if len(numbers):
        views[numbers] = held.view[places]
    parent = parents[held.block[placed]]
    below = np.where(genesis[parent], 0, views[parent])
    suspects = placed[below != held.view[placed] - 1][:EXPLAINED_MOST].tolist()
    above = {place: int(parents[held.block[place]]) for place in suspects}
    events = held.records({place: place for place in suspects})
    lower = held.records({number: certificate[number] for number in above.values() if number in certificate})
    return [
        anomaly
        for place, number in above.items()
        for anomaly in rule.misplaced(
            events[place], str(wide.values.of(number)), lower.get(number), bool(genesis[number])
        )
    ]
