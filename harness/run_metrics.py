"""The metrics of one run (teeth.md section 4), each with its N: how hard an attack hit, not only whether something
broke.

Shares have exact intervals as if what they count were independent, which inside one run it is not: intervals over many
runs are those of `moonquake claims`.
"""

from __future__ import annotations

import traceback
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from checkers.index import MS, Index, index_of
from harness import measures
from results import metrics
from results.claim import Figure
from results.metrics import RunMetrics
from results.stats import binomial_interval, quantile, zero_of_n
from results.store import Run

SECOND = 1000 * MS
RANK = "nearest rank"
EXACT = "Clopper-Pearson, as if independent"
ZERO = "0 of N, one-sided, as if independent"
LEAST_BASELINE = 3  # whole seconds before the first fault


def of_run(run: Run) -> RunMetrics:
    """All metrics that the run has something to say to; what cannot be counted is left out, with the reason.

    Raises HistoryError on damaged records.
    """
    if run.columns is not None:
        return RunMetrics((), ("all: the run is judged by trace.parquet; metrics are counted from trace.jsonl alone",))
    index = index_of(run)
    figures: list[Figure] = []
    left_out: list[str] = []
    for name, group in GROUPS.items():
        try:
            figures += list(group(index))
        except Exception:  # records of whatever kind: a metric that cannot be had must not cost the report
            left_out.append(f"{name}: {traceback.format_exc().strip().splitlines()[-1][:300]}")
    return RunMetrics(tuple(figures), tuple(left_out))


# ---------------------------------------------------------------- groups
def _recovery(index: Index) -> Iterator[Figure]:
    if not any(fault.kind == "fault" for fault in index.info.faults):
        return
    nodes = sum(node in index.info.tribe for node in index.steady)
    deltas = measures.recoveries(index)
    delta_ms = index.bounds.delta_ms
    yield from _spread("recovery: heal to first new block", [d * delta_ms for d in deltas], "ms")
    yield from _spread("recovery in Delta", deltas, "Delta", longest_only=True)
    yield from _share("nodes that never recovered", nodes - len(deltas), nodes)
    yield from _throughput(index)


def _throughput(index: Index) -> Iterator[Figure]:
    """Until as much is executed a second as before the first fault; only if the load outlasts the heal."""
    info = index.info
    first = min(fault.start for fault in info.faults if fault.kind == "fault")
    done: dict[str, int] = {}
    for event in index.events("gateway"):
        if event["phase"] == "exec":
            done.setdefault(event["tx"], int(event["time"]))
    times = sorted(done.values())
    seconds = (first - info.load_start) // SECOND
    if seconds < LEAST_BASELINE or info.load_end - info.heal < LEAST_BASELINE * SECOND:
        return
    before = bisect_left(times, first) - bisect_left(times, first - seconds * SECOND)
    if not before:
        return
    back = metrics.back_to_rate(info.heal, info.load_end, times, before / seconds, SECOND)
    if back is not None:
        how = f"95 % of {before / seconds:.3g} a second for 3 s"
        yield Figure("recovery: heal to throughput as before", back / MS, None, None, len(times), "ms", how)


def _quality(index: Index) -> Iterator[Figure]:
    found = measures.chain_quality(index)
    if found is None:
        return
    how = "honest blocks' share over honest nodes' share; 1: no harm"
    yield Figure("chain quality", found.ratio, None, None, found.blocks, "", how)
    yield from _share("blocks of Byzantine proposers", found.blocks - found.honest, found.blocks)


def _inclusion(index: Index) -> Iterator[Figure]:
    delays = measures.inclusion_delays(index)
    waited = [delay.time / MS for delay in delays if delay.time is not None]
    chances = [float(delay.opportunities) for delay in delays if delay.opportunities is not None]
    yield from _spread("inclusion delay", waited, "ms")
    yield from _spread("honest leaders until inclusion", chances, "views")
    yield from _share("transactions never included", len(delays) - len(waited), len(delays))


def _duplicates(index: Index) -> Iterator[Figure]:
    found = measures.copies(index)
    yield from _share("duplicate inclusions", found.again, found.included)
    yield from _share("transactions that took effect twice", found.executed, found.applied)


def _blast(index: Index) -> Iterator[Figure]:
    certificates, lies = measures.state_certificates(index)
    yield from _share("state certificates that lie", len(lies), len(certificates))
    blast = measures.bad_clans(index)
    if lies or blast.clans:
        transactions = len(index.inclusions)
        yield Figure("blast radius: transactions under false roots", blast.transactions, None, None, transactions)
        yield Figure("blast radius: clans", blast.clans, None, None, len(index.info.clans))
        if blast.until_detection is not None:
            yield Figure("blast radius: until a gateway refused", blast.until_detection / MS, None, None, 1, "ms")
    lost = measures.lost_batches(index)["lost_transactions"]
    if lost:
        how = "in ordered batches that no honest node held"
        yield Figure("blast radius: transactions lost", lost, None, None, len(index.inclusions) + lost, "", how)


GROUPS: dict[str, Callable[[Index], Iterator[Figure]]] = {
    "recovery": _recovery,
    "chain quality": _quality,
    "inclusion delay": _inclusion,
    "duplicates": _duplicates,
    "blast radius": _blast,
}


# ---------------------------------------------------------------- rows
def _share(name: str, hits: int, of: int) -> Iterator[Figure]:
    """A share with its interval; nothing where there is nothing to share."""
    if of <= 0:
        return
    if hits:
        low, high = binomial_interval(hits, of)
        yield Figure(name, hits / of, low, high, of, "", EXACT)
    else:
        yield Figure(name, 0.0, 0.0, zero_of_n(of), of, "", ZERO)


def _spread(name: str, values: Sequence[float], unit: str, longest_only: bool = False) -> Iterator[Figure]:
    """Median, p99 and the largest; nothing where there is no value."""
    ordered = sorted(values)
    if not ordered:
        return
    for rank, share in () if longest_only else (("p50", 0.5), ("p99", 0.99)):
        yield Figure(f"{name}, {rank}", quantile(ordered, share), None, None, len(ordered), unit, RANK)
    yield Figure(f"{name}, max", ordered[-1], None, None, len(ordered), unit)
