"""The numbers beside a finding: shares and spreads over its samples, each with its N and its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from results.claim import Bound, Compare, Figure, Interval, Printed, Sample, Share, Spread, Uniform
from results.metrics import sensitivity
from results.sampling import Simulated, readings
from results.stats import bootstrap_mean, bootstrap_ratio, quantile, zero_of_n

OVER_RUNS = "bootstrap over runs"


def total(samples: Sequence[Sample], measure: str) -> float:
    """The sum of a measure over samples; lists and tables count by their sums."""
    return sum(sum(_numbers(sample.measures.get(measure))) for sample in samples)


def of_rule(
    rule: Bound | Interval | Uniform, inside: Sequence[Sample], outside: Sequence[Sample]
) -> tuple[Figure, ...]:
    """All figures that the rule asks for and the samples have."""
    found: list[Figure] = []
    for share in rule.shares:
        found += _share(share, inside)
    for spread in rule.spreads:
        found += _spread(spread, outside if spread.past else inside)
    for compare in rule.compares:
        found += _compare(compare, inside)
    return tuple(found)


def of_printed(rule: Printed, exact: float, simulated: Simulated) -> tuple[Figure, ...]:
    """Every reading of the printed number, the simulation, and what the number means in years."""
    found = [Figure("printed", rule.printed, None, None, 0, "", "as the paper prints it")]
    found += [
        Figure(r.words().rpartition(":")[0], r.value, None, None, 0, "", "hypergeometric, exact fractions")
        for r in readings(rule.nodes, rule.clans, rule.byzantine)
        if r.division.byzantine >= rule.byzantine
    ]
    share = simulated.hits / simulated.draws
    found.append(
        Figure("share of simulated draws", share, simulated.low, simulated.high, simulated.draws, "", "Clopper-Pearson")
    )
    if rule.per_day:
        years = 1 / (exact * rule.per_day * 365.25)
        found.append(Figure("years between bad draws", years, None, None, 0, "years", f"{rule.per_day:g} draws a day"))
    return tuple(found)


def _share(share: Share, samples: Sequence[Sample]) -> Iterator[Figure]:
    pairs = [
        (total([s], share.hits), total([s], share.of))
        for s in samples
        if share.of in s.measures and s.group.endswith(share.only)
    ]
    hits, whole = sum(hit for hit, _ in pairs), sum(of for _, of in pairs)
    if not whole:
        return
    if hits:
        low, high = _over_runs([hit for hit, _ in pairs], [of for _, of in pairs])
        method = f"{OVER_RUNS} ({len(pairs)})"
    else:
        low, high, method = 0.0, zero_of_n(int(whole)), "0 of N, one-sided"
    yield Figure(share.name, hits / whole, low, high, int(whole), "", method)


def _over_runs(parts: Sequence[float], wholes: Sequence[float]) -> tuple[float | None, float | None]:
    """The interval of a ratio; a single run has none."""
    return bootstrap_ratio(parts, wholes) if len(parts) > 1 else (None, None)


def _spread(spread: Spread, samples: Sequence[Sample]) -> Iterator[Figure]:
    """Mean with its interval over runs, and the largest value; or the same for each group."""
    grouped: dict[str, list[list[float]]] = {}
    for sample in samples:
        if not sample.group.endswith(spread.only) or spread.experiment not in ("", sample.experiment):
            continue
        value = sample.measures.get(spread.measure)
        parts = value if isinstance(value, dict) else {sample.group if spread.by_group else "": value}
        for group, part in parts.items():
            numbers = list(_numbers(part))
            if numbers:
                grouped.setdefault(group, []).append(numbers)
    for group, runs in grouped.items():
        values = sorted(value for run in runs for value in run)
        low, high = _over_runs([sum(run) for run in runs], [len(run) for run in runs])
        name = f"{spread.name}: {group}" if group else spread.name
        mean = sum(values) / len(values)
        yield Figure(f"{name}, mean", mean, low, high, len(values), spread.unit, f"{OVER_RUNS} ({len(runs)})")
        if len(values) > len(runs):
            yield Figure(f"{name}, p99", quantile(values, 0.99), None, None, len(values), spread.unit, "nearest rank")
            yield Figure(f"{name}, max", values[-1], None, None, len(values), spread.unit, "")


def _compare(compare: Compare, samples: Sequence[Sample]) -> Iterator[Figure]:
    """Sensitivity of each group: restricted means up to the common horizon, with the lost ones said."""
    mine = [s for s in samples if s.experiment == compare.experiment and compare.measure in s.measures]
    groups: dict[str, list[Sample]] = {}
    for sample in mine:
        groups.setdefault(sample.group, []).append(sample)
    baseline = [value for s in groups.pop(compare.baseline, []) for value in s.measures[compare.measure]]
    for group, some in groups.items():
        altered = [value for s in some for value in s.measures[compare.measure]]
        unfinished = int(total(some, compare.unfinished))
        if not baseline or not (altered or unfinished):
            continue
        found = sensitivity(baseline, altered, compare.horizon, unfinished, any(_stuck(s) for s in some))
        method = f"bootstrap; {found.censored} censored" + ("; liveness was lost: infinite" if found.lost else "")
        count = len(altered) + unfinished
        yield Figure(f"{compare.name}: {group}", found.value, found.low, found.high, count, compare.unit, method)


def _stuck(sample: Sample) -> bool:
    return sample.statuses.get("liveness") == "FAIL"


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _numbers(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)


def mean_of(samples: Sequence[Sample], measure: str) -> tuple[float, float, float, int] | None:
    """Mean, interval over runs, and number of values of a measure; None where no sample has any."""
    runs = [list(_numbers(s.measures.get(measure))) for s in samples]
    runs = [run for run in runs if run]
    if not runs:
        return None
    low, high = bootstrap_mean([sum(run) / len(run) for run in runs])
    count = sum(len(run) for run in runs)
    return sum(sum(run) for run in runs) / count, low, high, count
