"""What is wrong with the records of a large trace (as `checkers.soundness`)."""

from __future__ import annotations

import numpy as np

from checkers import soundness as rule
from checkers.columnar.groups import grouped, previous
from checkers.columnar.wide import EXPLAINED_MOST, Wide
from checkers.index import once
from results.trace_columns import ABSENT


def flaws(wide: Wide) -> tuple[str, ...]:
    """Why this run's records do not carry a pass; empty if they do. Made once."""
    return once(wide, _flaws)


def _flaws(wide: Wide) -> tuple[str, ...]:
    found = [*rule.history_flaws(wide.history), *rule.roster_flaws(wide.info), *rule.declared_flaws(wide.info)]
    found += rule.straggler_flaws(wide)
    if wide.info.target == "supra":
        births = wide.records("start", "restart")
        found += _traces(wide) + rule.restart_flaws(wide.info, births) + _causes(wide) + _lives(wide) + _views(wide)
        found += rule.client_flaws(wide.history, _phases(wide))
    return tuple(dict.fromkeys(found))


def _traces(wide: Wide) -> list[str]:
    """First and last record of each node."""
    first: dict[int, tuple[int, str]] = {}
    last: dict[int, int] = {}
    for event in wide.trace.counts:
        rows = wide.rows(event)
        codes, begins = np.unique(rows.node, return_index=True)
        times = np.zeros(len(wide.names), np.int64)
        times[rows.node] = rows.time  # of one node the last assignment stays
        for code, begin in zip(codes.tolist(), begins.tolist(), strict=True):
            first[code] = min(first.get(code, (1 << 62, "")), (int(rows.rank[begin]), event))
            last[code] = max(last.get(code, 0), int(times[code]))
    order = sorted(first, key=lambda code: first[code])
    finals = wide.rows("finalise")
    busy = max(0, int(finals.time[-1])) if len(finals) else 0
    halted = {wide.names[code] for code in np.unique(wide.rows("halt").node).tolist()}
    begun = {wide.names[code]: first[code][1] for code in order}
    return rule.trace_flaws(wide, begun, {wide.names[code]: last[code] for code in order}, busy, halted)


def _causes(wide: Wide) -> list[str]:
    """Blocks that are certified or final before anybody proposed them."""
    propose = wide.rows("propose")
    time = np.full(len(wide.values), np.iinfo(np.int64).min, np.int64)
    proposer = np.zeros(len(wide.values), np.int64)
    time[propose.ids("block")[::-1]] = propose.time[::-1]
    proposer[propose.ids("block")[::-1]] = propose.node[::-1]
    found: list[str] = []
    for event in ("finalise", "certify"):
        rows = wide.rows(event)
        block = rows.ids("block")
        early = np.flatnonzero(rows.time < time[block])
        pairs = grouped(rows.node[early], proposer[block[early]]).representatives()
        found += [
            rule.too_early(wide.names[rows.node[place]], event, wide.names[proposer[block[place]]])
            for place in early[pairs].tolist()
        ]
    return found


def _lives(wide: Wide) -> list[str]:
    """Incarnations that fall; a start counts anew."""
    size = 1 + max([0, *(int(wide.rows(event).rank[-1]) for event in wide.trace.counts if len(wide.rows(event)))])
    node = np.full(size, -1, wide.codes.dtype)
    life = np.zeros(size, np.int64)
    anew = np.zeros(size, np.bool_)
    for event in wide.trace.counts:
        rows = wide.rows(event)
        node[rows.rank], life[rows.rank], anew[rows.rank] = rows.node, rows.incarnation, event == "start"
    if (life == life[0]).all() if len(life) else True:
        return []
    before = previous(node)
    fallen = np.flatnonzero((node >= 0) & (before != ABSENT) & ~anew & (life < life[before]))[:EXPLAINED_MOST].tolist()
    return [rule.runs_back(wide.names[node[at]], "incarnation", int(life[at]), int(life[before[at]])) for at in fallen]


def _views(wide: Wide) -> list[str]:
    """Views that fall within an incarnation."""
    enter = wide.rows("enter")
    view = enter.ints("view")
    before = previous(grouped(enter.node, enter.incarnation).key)
    last = np.where(before == ABSENT, -1, view[before])
    return [
        rule.runs_back(wide.names[enter.node[place]], "view", int(view[place]), int(last[place]))
        for place in np.flatnonzero(view <= last)[:EXPLAINED_MOST].tolist()
    ]


def _phases(wide: Wide) -> list[dict[str, object]]:
    """The records of gateways that tell of the transactions of the history."""
    gateway = wide.rows("gateway")
    hashes = sorted({operation.tx for operation in wide.history if len(operation.tx) == 64})
    if not hashes or not len(gateway):
        return []
    phases = [wide.values.find(phase) for phase in rule.CLIENT_PHASES]
    told = np.isin(gateway.ids("tx"), wide.values.numbers(hashes)) & np.isin(gateway.ids("phase"), phases)
    return [event for part in np.array_split(np.flatnonzero(told), 1 + int(told.sum()) // 10_000)
            for event in gateway.records(part)]  # fmt: skip
