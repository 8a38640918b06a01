"""dedup on columns: transactions that are twice among those applied, or in two batches that count."""

from __future__ import annotations

from collections import Counter

import numpy as np

from checkers import dedup as rule
from checkers.columnar.chain import chain_of
from checkers.columnar.groups import Groups, Ints, grouped
from checkers.columnar.wide import Wide
from results.verdict import Anomaly, Verdict


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.dedup`."""
    executed, anomalies = _agreed(wide)
    rows, chain = wide.rows("execute"), chain_of(wide)
    applied, owner = wide.items(rows.ids("applied")[executed])
    effects = grouped(applied)
    anomalies += _doubles(wide, executed, applied, owner, effects)
    aborts, too_new = _aborts(wide, executed)
    txs, height, batch = chain.inclusions
    placed = grouped(txs)
    copied = np.flatnonzero(placed.counts()[placed.key] > 1)
    inclusions: dict[str, list[rule.Included]] = {}
    for place in copied.tolist():
        name = str(wide.values.of(int(batch[place])))
        inclusions.setdefault(chain.text(int(txs[place])), []).append((int(height[place]), name))
    copies = rule.Copies(wide.info, wide.undisturbed, inclusions, too_new)
    told = [
        wide.rows(event).records(np.isin(wide.rows(event).ids("tx"), txs[copied])) for event in ("received", "include")
    ]
    anomalies += copies.judged(*told)
    forward = wide.rows("forward")
    submitted = len(grouped(forward.ids("tx"), forward.node)) - len(grouped(forward.ids("tx")))
    return rule.concluded(wide.workload, len(effects), anomalies, len(txs), copies, submitted, aborts)


def _agreed(wide: Wide) -> tuple[Ints, list[Anomaly]]:
    """The execute record of each (clan, height), in that order, and disagreements."""
    rows = wide.rows("execute")
    clan, height, applied = rows.ints("clan"), rows.ints("height"), rows.ids("applied")
    places = grouped(clan, height)
    first = places.firsts()
    split = np.flatnonzero(places.differing(applied))
    events = rows.records(split)
    chosen, anomalies = rule.agreed(events)
    number = {id(event): place for event, place in zip(events, split.tolist(), strict=False)}
    for event in chosen.values():
        first[places.key[number[id(event)]]] = number[id(event)]
    first = first[first >= 0]
    return first[np.lexsort((height[first], clan[first]))], anomalies


def _doubles(wide: Wide, executed: Ints, applied: Ints, owner: Ints, effects: Groups) -> list[Anomaly]:
    """Transactions applied more than once, in the order of their first effects."""
    twice = np.flatnonzero(effects.counts()[effects.key] > 1)
    where = np.unique(owner[twice])
    records = dict(zip(where.tolist(), wide.rows("execute").records(executed[where]), strict=False))
    found: dict[int, list[int]] = {}
    for place in twice.tolist():
        found.setdefault(int(applied[place]), []).append(int(owner[place]))
    return [
        rule.double(str(wide.values.of(tx)), [records[at] for at in places if at in records])
        for tx, places in found.items()
    ]


def _aborts(wide: Wide, executed: Ints) -> tuple[Counter[str], Counter[str]]:
    """How many aborts there are by reason, and how many copies of a transaction were too new."""
    lists = wide.rows("execute").ids("aborted")[executed]
    pairs, _ = wide.items(lists)
    aborts: Counter[str] = Counter()
    too_new: Counter[str] = Counter()
    for pair, count in zip(*(found.tolist() for found in np.unique(pairs, return_counts=True)), strict=True):
        tx, reason = wide.values.of(pair)
        aborts[reason] += count
        too_new[tx] += count * (reason == rule.TOO_NEW)
    return aborts, too_new
