"""Where a system stops holding: faulty nodes against verdicts, many seeds a point (architecture section 7).

One sample is one simulated, judged run. It is `violated` if a watched property failed, `held` if all passed and every
declared fault bit, `unknown` otherwise: an attack that did not bite shows nothing. Past the claimed bound a failure
counts only if the attack bit, too.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal

import msgspec

from harness.backends.sim.backend import SimBackend
from harness.executors import LostError, Pool, results
from harness.expectations import NEVER, RECEIPTS
from harness.frontier_attacks import Attack, Values
from harness.outcome import Exit, UsageError
from harness.plan import resolve
from harness.scenario import parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.stats import binomial_interval
from results.verdict import Status

CONFIDENCE = 0.95
INTERRUPTED = "interrupted with Ctrl-C"
Result = Literal["violated", "held", "unknown"]


class Task(msgspec.Struct, frozen=True):
    """One sample to take. `values`: the scenario's; `past`: b is past the claimed bound."""

    n: int
    b: int
    seed: int
    values: Values
    properties: tuple[str, ...]
    past: bool


class Sample(msgspec.Struct, frozen=True):
    """One sample, taken. `defects`: anomalies of any property that no adversary can cause."""

    n: int
    b: int
    seed: int
    result: Result
    anomalies: tuple[str, ...] = ()  # "property: kind"
    defects: tuple[str, ...] = ()
    reason: str = ""  # of an unknown
    digest: str = ""


class Point(msgspec.Struct, frozen=True):
    """All samples of one (n, b); `low` and `high` bound the rate of violations among those that were judged."""

    n: int
    b: int
    runs: int
    violations: int
    low: float
    high: float
    held: int
    unknown: int
    defects: int
    state: Literal["broken", "held", "open"]  # open: nothing violated, but not everything was judged


class Size(msgspec.Struct, frozen=True):
    """What was found for one n. `breaks_at`: so many must be able to break it; None: nothing is said."""

    n: int
    promised_bound: int
    claimed_bound: int
    breaks_at: int | None
    observed_bound: int | None  # None: open
    as_expected: bool | None


# ---------------------------------------------------------------- what to sample
def tasks(
    attack: Attack, sizes: Sequence[int], counts: Sequence[int], seeds: Sequence[int]
) -> tuple[list[Task], dict[tuple[int, int], Values]]:
    """All samples, one seed of every point before the next seed of any; and the scenarios by point.

    Raises UsageError for a size or a count that makes no sense.
    """
    scenarios: dict[tuple[int, int], Values] = {}
    for n in sizes:
        if n < attack.smallest:
            raise UsageError(f"--n {n}: the {attack.size} of {attack.name!r} has at least {attack.smallest} members")
        beyond = [b for b in counts if not 0 <= b <= attack.most(n)]
        if beyond:
            raise UsageError(f"--b {beyond[0]}: with n = {n} from 0 to {attack.most(n)} can be faulty, and one see it")
        for b in counts or range(attack.most(n) + 1):
            scenarios[n, b] = values = attack.scenario(n, b)
            resolve(parse(values, Source(values["name"])), seeds[0], SimBackend.scheme)
    return [
        Task(n, b, seed, values, attack.properties, b > attack.claimed(n))
        for seed in seeds
        for (n, b), values in scenarios.items()
    ], scenarios


def sample(task: Task) -> Sample:
    """Take one sample. A run that cannot be carried out is unknown, with the traceback."""
    try:
        found = trial(parse(task.values, Source(task.values["name"])), task.seed)
    except Exception:
        return Sample(task.n, task.b, task.seed, "unknown", reason=traceback.format_exc())
    finally:
        gc.collect()  # a run is one large cycle: a worker that collects seldom would keep it
    result, reason = judged(found, task.properties, task.past)
    anomalies = tuple(f"{name}: {kind}" for name, kind in found.anomalies())
    defects = tuple(f"{name}: {kind}" for name, kind in found.anomalies() if kind in NEVER)
    return Sample(task.n, task.b, task.seed, result, anomalies, defects, reason, found.digest)


def judged(found: Trial, properties: Sequence[str], past: bool) -> tuple[Result, str]:
    """The result of a trial, and of an unknown the reason."""
    watched = [v for v in found.verdicts if v.property in properties]
    bite = [v for v in found.verdicts if v.property == RECEIPTS]
    doubts = [f"{v.property}: {v.reason}" for v in bite if v.status is not Status.PASS]
    if not bite or not watched:
        doubts.append(f"nobody judged {', '.join((*properties, RECEIPTS))}")
    if any(v.status is Status.FAIL for v in watched) and not (past and doubts):
        return "violated", ""
    doubts += [f"{v.property}: {v.reason}" for v in watched if v.status is Status.UNKNOWN]
    return ("unknown", "; ".join(doubts)) if doubts else ("held", "")


# ---------------------------------------------------------------- sampling
def measure(wanted: Iterable[Task], pool: Pool, take: Callable[[Sample], None]) -> str:
    """Take the samples, as many at a time as the pool has workers, in whatever order they are ready.

    Returns why it stopped early, or "". What was taken until then stays.
    """
    try:
        for taken in results(pool, sample, wanted):
            take(taken)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BrokenProcessPool, LostError) as error:
        return f"a worker process died ({error}): is there enough memory? fewer --workers need less"
    return ""


# ---------------------------------------------------------------- what it amounts to
def points(samples: Iterable[Sample]) -> list[Point]:
    """The samples counted, by n and b."""
    grouped: dict[tuple[int, int], list[Sample]] = {}
    for taken in samples:
        grouped.setdefault((taken.n, taken.b), []).append(taken)
    return [_point(n, b, grouped[n, b]) for n, b in sorted(grouped)]


def _point(n: int, b: int, samples: Sequence[Sample]) -> Point:
    counts = {result: sum(s.result == result for s in samples) for result in ("violated", "held", "unknown")}
    violations, held, unknown = counts["violated"], counts["held"], counts["unknown"]
    low, high = binomial_interval(violations, violations + held, CONFIDENCE)
    state: Literal["broken", "held", "open"] = "broken" if violations else "open" if unknown else "held"
    defects = sum(bool(s.defects) for s in samples)
    return Point(n, b, len(samples), violations, low, high, held, unknown, defects, state)


def found(attack: Attack, n: int, measured: Sequence[Point]) -> Size:
    """What the points of one n amount to."""
    mine = sorted((p for p in measured if p.n == n), key=lambda p: p.b)
    breaks = None if attack.breaks is None else attack.breaks(n)
    claimed = attack.claimed(n)
    return Size(n, attack.promised(n), claimed, breaks, _observed(mine), _as_expected(mine, claimed, breaks))


def _observed(mine: Sequence[Point]) -> int | None:
    """The most faulty nodes with which it still held, if every lesser count that was tried held as well."""
    held = -1
    for point in mine:
        if point.state == "open":
            return None
        if point.state == "broken":
            return held if held == point.b - 1 else None
        held = point.b
    return held if mine else None


def _as_expected(mine: Sequence[Point], claimed: int, breaks: int | None) -> bool | None:
    within = [p for p in mine if p.b <= claimed]
    past = [p for p in mine if breaks is not None and p.b >= breaks]
    if any(p.defects for p in mine) or any(p.state == "broken" for p in within):
        return False
    if breaks is not None and past and all(p.state == "held" for p in past):
        return False
    shown = breaks is None or any(p.state == "broken" for p in past)
    return True if shown and within and all(p.state == "held" for p in within) else None


def verdict(sizes: Sequence[Size], stopped: str = "") -> Exit:
    """The exit code: one surprise outweighs everything, anything open or broken off makes the rest inconclusive."""
    if any(size.as_expected is False for size in sizes):
        return Exit.SURPRISE
    return Exit.INCONCLUSIVE if stopped or any(size.as_expected is None for size in sizes) else Exit.AS_EXPECTED


def document(attack: Attack, sizes: Sequence[int], samples: Sequence[Sample], stopped: str = "") -> dict[str, Any]:
    """The JSON shape of `frontier` (architecture section 7), and what stands behind the numbers.

    `observed_bound` and `claimed_bound` are numbers if there is one n, else {"n": number}; `sizes` has them always.
    """
    measured = points(samples)
    results = [found(attack, n, measured) for n in sizes]
    observed: dict[str, int | None] = {str(size.n): size.observed_bound for size in results}
    claimed = {str(size.n): size.claimed_bound for size in results}
    one = str(sizes[0]) if len(sizes) == 1 else ""
    return {
        "points": msgspec.to_builtins(measured),
        "observed_bound": observed[one] if one else observed,
        "claimed_bound": claimed[one] if one else claimed,
        "attack": attack.name,
        "summary": attack.summary,
        "counted": attack.size,
        "properties": list(attack.properties),
        "confidence": CONFIDENCE,
        "sizes": msgspec.to_builtins(results),
        "anomalies": _tally(name for s in samples if s.result == "violated" for name in s.anomalies),
        "unknown_reasons": _tally(s.reason.strip().splitlines()[-1][:300] for s in samples if s.result == "unknown"),
        "stopped": stopped,
        "exit": int(verdict(results, stopped)),
    }


def _tally(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
