"""votes on columns: views in which a node voted for two blocks or in two exclusive kinds, or after a time-out."""

from __future__ import annotations

import numpy as np

from checkers import votes as rule
from checkers.certified import COMMIT
from checkers.columnar.certificates import certificates
from checkers.columnar.groups import Flags, Ints, found, grouped
from checkers.columnar.wide import Rows, Wide
from checkers.judge import conclude
from results.trace import TraceEvent
from results.trace_columns import ABSENT
from results.verdict import Anomaly, Verdict


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.votes`."""
    votes, held = wide.rows("vote"), certificates(wide)
    bound = wide.codes_of(wide.info.tribe) & ~wide.codes_of(wide.info.amnesiac)
    mine = bound[votes.node]
    view, kind, block = votes.ints("view"), votes.ids("kind"), votes.ids("block")
    words = {name: wide.values.find(name) for name in ("optimistic", "normal", "fallback", COMMIT)}
    groups = grouped(votes.node, view)
    both = groups.any(kind == words["normal"]) & groups.any(kind == words["fallback"])
    timeout = _timeouts(wide, votes)
    barred = timeout != ABSENT
    barred[barred] = wide.rows("timeout").ints("view")[timeout[barred]] >= (
        view[barred] - (kind[barred] == words["optimistic"])
    )
    again = groups.any(mine & (groups.differing(block) | both | barred))
    hollow = mine & (kind == words[COMMIT]) & ~found((view, block), held.blocks())
    anomalies = _told(wide, votes, mine & again, hollow, timeout)
    trusted = set(wide.honest) - set(wide.info.amnesiac)
    accusations = wide.rows("accuse")
    culprits = np.isin(accusations.ids("culprit"), [wide.values.find(name) for name in sorted(trusted)])
    anomalies += rule.accused(accusations.records(culprits), trusted)
    examined = int(mine.sum())
    measures = {"votes": examined, **held.measures()}
    return conclude("votes", examined, anomalies, measures, rule.NOTHING, held.judged.doubts)


def _timeouts(wide: Wide, votes: Rows) -> Ints:
    """For each vote the time-out of the highest view (the first such) that its node had signed before, or ABSENT."""
    timeouts = wide.rows("timeout")
    found = np.full(len(votes), ABSENT, np.int64)
    if not len(timeouts):
        return found
    view = timeouts.ints("view")
    for code in np.unique(timeouts.node).tolist():
        own = np.flatnonzero(timeouts.node == code)
        top = np.maximum.accumulate(view[own])
        highest = np.maximum.accumulate(np.where(np.append(True, top[1:] > top[:-1]), np.arange(len(own)), 0))
        cast = np.flatnonzero(votes.node == code)
        last = np.searchsorted(timeouts.rank[own], votes.rank[cast]) - 1
        found[cast] = np.where(last >= 0, own[highest[last]], ABSENT)
    return found


def _told(wide: Wide, votes: Rows, again: Flags, hollow: Flags, timeout: Ints) -> list[Anomaly]:
    """The anomalies of suspect votes, node by node in the order of the votes."""
    places = np.flatnonzero(again | hollow)
    events = votes.records(places)
    books: dict[tuple[str, int], rule.Book] = {}
    timeouts: dict[int, TraceEvent | None] = {ABSENT: None}
    told: list[tuple[int, list[Anomaly]]] = []
    for place, event in zip(places.tolist(), events, strict=False):
        anomalies: list[Anomaly] = []
        if again[place]:
            book = books.setdefault((event["node"], event["view"]), rule.Book())
            number = int(timeout[place])
            if number not in timeouts:
                timeouts[number] = wide.rows("timeout").records(np.array([number]))[0]
            book.timeout = timeouts[number]
            anomalies += rule.contradictions(book, event)
        if hollow[place]:
            anomalies.append(rule.uncertified(event))
        told.append((int(votes.node[place]), anomalies))
    return [anomaly for _, found in sorted(told, key=lambda t: t[0]) for anomaly in found]
