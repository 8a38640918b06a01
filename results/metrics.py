"""Metrics of the lab (teeth.md section 4): how hard an attack hits, not only whether something broke.

Pure functions over plain values, so that each can be checked by hand. Times are of one unit throughout (the caller's);
nothing here knows a checker's verdict.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Sequence

import msgspec

from results.claim import Figure
from results.stats import BOOTSTRAP_SEED, DRAWS


class RunMetrics(msgspec.Struct, frozen=True):
    """metrics.json of a run directory: numbers with their N, and what could not be counted and why."""

    figures: tuple[Figure, ...] = ()
    left_out: tuple[str, ...] = ()


# ---------------------------------------------------------------- recovery
def recovery(heal: int, finalised: Sequence[tuple[int, str]], new: Collection[str]) -> int | None:
    """Time from the heal to a node's first finalisation, at or after it, of a block in `new` (proposed since); None if
    there is none. `finalised`: (time, block) of one node, by time."""
    return next((time - heal for time, block in finalised if time >= heal and block in new), None)


def back_to_rate(
    heal: int, end: int, times: Sequence[int], baseline: float, window: int, share: float = 0.95, windows: int = 3
) -> int | None:
    """Time from the heal until throughput is back: the start of the first of `windows` consecutive windows that all
    reach `share` of `baseline` (events a window). `times`: ascending. None if that is not so before `end`."""
    if window <= 0 or baseline <= 0:
        raise ValueError(f"a window of {window} and a baseline of {baseline} measure nothing; both must be above 0")
    good = 0
    for start in range(heal, end - window + 1, window):
        count = bisect_left(times, start + window) - bisect_left(times, start)
        good = good + 1 if count >= share * baseline else 0
        if good == windows:
            return start - (windows - 1) * window - heal
    return None


def catch_up(
    heal: int, heights: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]], slack: int
) -> int | None:
    """Time from the heal until a node that was cut off is at most `slack` blocks below the others.

    Both lists: (time, height) of finalisations by time; of the others, that of their median node. None: never.
    """
    times = [time for time, _ in others]
    for time, height in heights:
        known = bisect_right(times, time)
        if time >= heal and (not known or others[known - 1][1] - height <= slack):
            return time - heal
    return None


# ---------------------------------------------------------------- sensitivity
class Sensitivity(msgspec.Struct, frozen=True):
    """Restricted mean latency of the altered run less that of the baseline, both up to the same horizon.

    Positive: slower. `low`..`high`: 95 % bootstrap interval. `censored`: transactions of the altered run that were
    unfinished at the horizon and count as just finished there. `lost`: liveness was lost, the true score is infinite.
    """

    value: float
    low: float
    high: float
    horizon: float
    censored: int
    lost: bool


def sensitivity(
    baseline: Sequence[float], altered: Sequence[float], horizon: float, unfinished: int = 0, lost: bool = False
) -> Sensitivity:
    """Stabl's score with a common horizon (each run's own would make a pure shift invisible), its sign kept.

    `unfinished` transactions of the altered run have no latency; they are censored at the horizon as the late ones are.
    Raises ValueError where a run has no transaction at all, or the horizon is not above 0.
    """
    import numpy as np

    if horizon <= 0 or not baseline or not (altered or unfinished):
        raise ValueError("sensitivity needs a horizon above 0 and a transaction in either run")
    before = np.minimum(np.asarray(baseline, dtype=float), horizon)
    after = np.minimum(np.asarray([*altered, *[horizon] * unfinished], dtype=float), horizon)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = [sample[rng.integers(0, len(sample), (DRAWS, len(sample)))].mean(axis=1) for sample in (after, before)]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    censored = unfinished + sum(value > horizon for value in altered)
    return Sensitivity(float(after.mean() - before.mean()), float(low), float(high), horizon, censored, lost)


# ---------------------------------------------------------------- Byzantine impact
class Quality(msgspec.Struct, frozen=True):
    """`honest` of `blocks` finalised blocks are of honest proposers; `ratio`: their share over the honest share of
    nodes (1: no harm, below 1: the adversary has more than its part)."""

    blocks: int
    honest: int
    ratio: float


def chain_quality(proposers: Sequence[str], tribe: Sequence[str], byzantine: Collection[str]) -> Quality:
    """Quality of a finalised chain, by its blocks' proposers. Raises ValueError without blocks or honest nodes."""
    nodes = sum(node not in byzantine for node in tribe)
    if not proposers or not nodes:
        raise ValueError("the quality of a chain needs a block, and an honest node that could have proposed it")
    honest = sum(proposer not in byzantine for proposer in proposers)
    return Quality(len(proposers), honest, honest / len(proposers) / (nodes / len(tribe)))


# ---------------------------------------------------------------- censorship and duplicates
class Delay(msgspec.Struct, frozen=True):
    """Of one transaction: `time` from its arrival to its inclusion, `views` passed, and in how many of them an honest
    leader could have included it. All None: never included."""

    time: int | None
    views: int | None
    opportunities: int | None


def inclusion_delay(
    arrived: int, included: int | None, views: Sequence[tuple[int, str]], byzantine: Collection[str]
) -> Delay:
    """The delay of a transaction. `views`: (time of entry, leader) by time; a view counts if it began in
    (arrived, included]."""
    if included is None:
        return Delay(None, None, None)
    entries = [bisect_right(views, moment, key=lambda view: view[0]) for moment in (arrived, included)]
    passed = [leader for _, leader in views[entries[0] : entries[1]]]
    return Delay(included - arrived, len(passed), sum(leader not in byzantine for leader in passed))


class Duplicates(msgspec.Struct, frozen=True):
    """`included`: inclusions of transactions, `again`: those beyond each transaction's first, `wasted`: their share of
    all inclusions, `executed`: transactions that took effect more than once, of the `applied` that took effect."""

    included: int
    again: int
    wasted: float
    executed: int
    applied: int


def duplicates(included: Sequence[str], applied: Sequence[str]) -> Duplicates:
    """Counts over the transactions of the finalised order, in all its batches, and over those that took effect."""
    again = len(included) - len(set(included))
    effects = Counter(applied)
    executed = sum(count > 1 for count in effects.values())
    return Duplicates(len(included), again, again / len(included) if included else 0.0, executed, len(effects))


# ---------------------------------------------------------------- clans
class Blast(msgspec.Struct, frozen=True):
    """What a bad clan did until it was noticed: transactions under false certificates, clans hit, and the time from the
    first false one to the first refusal (None: nobody noticed)."""

    transactions: int
    clans: int
    until_detection: int | None


def blast_radius(false: Sequence[tuple[int, int, Sequence[str]]], refusals: Sequence[int]) -> Blast:
    """`false`: (time, clan, transactions) of each certificate that lies; `refusals`: times at which somebody who checks
    refused one. Counted are those up to the first refusal at or after the first lie, or all of them."""
    if not false:
        return Blast(0, 0, None)
    first = min(time for time, _, _ in false)
    noticed = min((time for time in refusals if time >= first), default=None)
    hit = [item for item in false if noticed is None or item[0] <= noticed]
    transactions = {tx for _, _, some in hit for tx in some}
    return Blast(len(transactions), len({clan for _, clan, _ in hit}), None if noticed is None else noticed - first)
