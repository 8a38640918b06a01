"""What shrinking takes away: each pass offers a search changes of its scenario, the promising and cheap ones first.

A pass only ever makes a scenario smaller by its own measure (fewer entries, a narrower window, a lower number, a name
where chance was), so repeating all of them comes to an end.
"""

from __future__ import annotations

from harness.shrinking import edits
from harness.shrinking.edits import BEHAVIOURS, FAULTS, Path, get, put
from harness.shrinking.minimal import ddmin, squeeze
from harness.shrinking.pinning import pinned
from harness.shrinking.renaming import keep, spread
from harness.shrinking.search import Pass, Search
from nodes.committee import tribe_faults

RATES = (1, 2, 5, 10, 20, 50)  # operations a second
CLIENTS = (1, 2, 4, 8, 16)
SECONDS = (1, 2, 3, 5, 8, 12, 20, 30, 60)  # of load
QUIET = ("1s", "2s", "4s")
PLAIN_LATENCY = "uniform:50"
ROUND_MS = 100  # at least; else two message delays, in which a view does its work
ESSENTIAL = ("use", "from", "until", "victims", "groups", "nodes", "topology", "options")  # other keys are options
SIZES = (4, 5, 6, 7, 8, 9, 10, 13, 16, 25, 31, 50, 100, 200)  # of tribes, tried in this order
SINGLES = 10  # honest nodes that are taken out one at a time


def pin(search: Search) -> None:
    """Name what chance chose, so that later changes do not move the choice."""
    named = pinned(search.values, search.trial.info, search.trial.run.history)
    search.attempt("chance replaced by what it chose", named)


# ---------------------------------------------------------------- faults, behaviours, victims
def fewer_faults(search: Search) -> None:
    """Drop faults."""
    ddmin(
        get(search.values, FAULTS, []),
        lambda part: search.attempt(f"{len(part)} faults", put(search.values, FAULTS, part or None)),
    )


def fewer_behaviours(search: Search) -> None:
    """Drop behaviours; with the last one the corrupted nodes become honest."""
    ddmin(
        get(search.values, BEHAVIOURS, []),
        lambda part: search.attempt(
            f"{len(part)} behaviours",
            put(search.values, BEHAVIOURS, part) if part else edits.corrupting(search.values, []),
        ),
    )


def merge(search: Search) -> None:
    """Two faults, or behaviours, that differ in their windows only become one."""
    for path in (FAULTS, BEHAVIOURS):
        present = get(search.values, path, [])
        for i, first in enumerate(present):
            for j in range(i + 1, len(present)):
                both = edits.union(first, present[j])
                if both is None:
                    continue
                joined = [both if k == i else entry for k, entry in enumerate(present) if k != j]
                if search.attempt("two windows joined", put(search.values, path, joined)):
                    return


def more_honest(search: Search) -> None:
    """Turn Byzantine nodes honest, and lower what the adversary may do besides."""
    nodes = get(search.values, ("adversary", "nodes"), 0)
    if isinstance(nodes, list):
        ddmin(nodes, lambda part: search.attempt(f"{len(part)} Byzantine", edits.corrupting(search.values, part)))
    for key in ("crashes", "amnesiacs"):
        path: Path = ("adversary", key)
        for number in range(get(search.values, path, 0)):
            if search.attempt(f"{number} {key}", put(search.values, path, number or None)):
                break


def fewer_names(search: Search) -> None:
    """Take names out of what faults and behaviours list: victims, groups, links, kinds, the steps of a script."""
    for path, _ in edits.entries(search.values):
        for place in edits.lists(search.values, path):
            ddmin(
                get(search.values, place, []),
                lambda part, place=place: search.attempt(  # type: ignore[misc]
                    f"fewer {_noun(place)}", put(search.values, place, part)
                ),
                least=1,
            )


def _noun(place: Path) -> str:
    return next(part for part in reversed(place) if isinstance(part, str))


def fewer_options(search: Search) -> None:
    """Faults and behaviours with their usual parameters."""
    for path, entry in edits.entries(search.values):
        options: list[Path] = [(*path, key) for key in entry if key not in ESSENTIAL]
        options += [(*path, "options", key) for key in entry.get("options", {})]
        for place in options:
            search.attempt(f"{place[-1]} as usual", put(search.values, place, None))


def narrower_windows(search: Search) -> None:
    """Narrow each window from both ends, to whole rounds; ranges of views too."""
    for path, entry in edits.entries(search.values):
        _narrow(search, path)
        views = entry.get("views")
        if isinstance(views, list) and len(views) == 2 and all(isinstance(view, int) for view in views):
            squeeze(
                views[0],
                views[1] + 1,
                lambda low, high, path=path: search.attempt(  # type: ignore[misc]
                    "fewer views", put(search.values, (*path, "views"), [low, high - 1])
                ),
            )


def _narrow(search: Search, path: Path) -> None:
    entry = get(search.values, path)
    grid = max(ROUND_MS, 2 * round(search.trial.info.md_ms))
    load = edits.milliseconds(search.values["workload"].get("duration", "12s"))
    end = edits.end_of(entry)
    rounds = -(-(load if end is None else end) // grid)

    def fails(start: int, stop: int) -> bool:
        until = None if stop == rounds and end is None else min(stop * grid, max(load, end or 0))
        narrowed = edits.windowed(entry, start * grid, until)
        return search.attempt(f"{entry['use']} in a narrower window", put(search.values, path, narrowed))

    squeeze(edits.start_of(entry) // grid, rounds, fails)


# ---------------------------------------------------------------- the cluster
def fewer_nodes(search: Search) -> None:
    """Fewer tribe nodes: the smallest tribes first, one past their bound or at it; then one honest node less."""
    tribe, byzantine = search.trial.info.tribe, search.trial.info.byzantine
    honest = [node for node in tribe if node not in byzantine]
    named = not byzantine or isinstance(get(search.values, ("adversary", "nodes")), list)
    counts = {
        n: dict.fromkeys(min(len(byzantine), tribe_faults(n) + past) for past in (1, 0))
        for n in SIZES
        if n < len(tribe)
    }
    smaller = [
        {*spread(byzantine, count), *spread(honest, n - count)}
        for n in counts
        for count in counts[n]
        if named and n - count <= len(honest)
    ]
    smaller += [set(tribe) - {node} for node in honest[-SINGLES:] if len(tribe) > SIZES[0]]
    for chosen in smaller:
        left = [node for node in tribe if node in chosen]
        values = keep(search.values, left, search.trial.info.gateways)
        if search.attempt(f"{len(left)} nodes", values, reseed=True):
            return


def fewer_clans(search: Search) -> None:
    """One clan, or at least fewer, or at least as many without their lists."""
    listed = isinstance(get(search.values, ("cluster", "clans")), list)
    for number in range(1, len(search.trial.info.clans) + listed):
        if search.attempt(f"clans: {number}", put(search.values, ("cluster", "clans"), number)):
            return


def fewer_gateways(search: Search) -> None:
    """One gateway, or at least fewer."""
    info = search.trial.info
    for number in range(1, len(info.gateways)):
        if search.attempt(f"gateways: {number}", keep(search.values, info.tribe, info.gateways[:number])):
            return


def fixed_leaders(search: Search) -> None:
    """A fixed schedule of as few leaders as possible, corrupted ones where there are some."""
    path: Path = ("cluster", "leaders")
    present = get(search.values, path)
    if isinstance(present, list):
        ddmin(present, lambda part: search.attempt(f"leaders: {len(part)}", put(search.values, path, part)), least=1)
        return
    info = search.trial.info
    honest, byzantine = info.honest[:1], info.byzantine[:2]
    for order in [*([node] for node in byzantine), *([*honest, node] for node in byzantine)] or [honest]:
        if search.attempt(f"leaders: {', '.join(order)}", put(search.values, path, order)):
            return


# ---------------------------------------------------------------- load, time, network
def shorter_load(search: Search) -> None:
    """End the load sooner, and with it every fault that is on then; what begins later goes."""
    present = search.trial.scenario.workload.duration_s
    for seconds in SECONDS:
        if seconds < present and search.attempt(f"a load of {seconds} s", edits.cut_short(search.values, seconds)):
            return


def less_load(search: Search) -> None:
    """Fewer operations, fewer clients, a plainer workload."""
    workload = search.trial.scenario.workload
    if workload.options:
        search.attempt("a plainer workload", put(search.values, ("workload", "options"), None))
    for key, present, ladder in (("rate", workload.rate, RATES), ("clients", workload.clients, CLIENTS)):
        for number in ladder:
            if number < present and search.attempt(f"{key}: {number}", put(search.values, ("workload", key), number)):
                break


def less_waiting(search: Search) -> None:
    """A shorter quiet phase, no warm-up."""
    present = search.trial.scenario.quiet_s * 1000
    for quiet in QUIET:
        shorter = edits.milliseconds(quiet) < present
        if shorter and search.attempt(f"{quiet} of quiet", put(search.values, ("run", "quiet"), quiet)):
            break
    search.attempt("no warm-up", put(search.values, ("run", "warm"), None))


def plainer_network(search: Search) -> None:
    """No jitter, no limits, one latency for all links, the usual protocol parameters."""
    for key in ("jitter_ms", "egress_mbit", "sync_ms", "transport", "votes"):
        search.attempt(f"no {key}", put(search.values, ("network", key), None))
    if not search.trial.scenario.network.latency.startswith("uniform:"):
        plain = put(search.values, ("network", "latency"), PLAIN_LATENCY)
        search.attempt(f"latency {PLAIN_LATENCY}", plain, reseed=True)
    for key in get(search.values, ("cluster", "parameters"), {}):
        search.attempt(f"{key} as usual", put(search.values, ("cluster", "parameters", key), None))


PASSES: tuple[Pass, ...] = (
    pin, shorter_load, fewer_faults, fewer_behaviours, merge, more_honest, fewer_nodes, fewer_clans, fewer_gateways,
    less_load, plainer_network, fixed_leaders, fewer_names, fewer_options, narrower_windows, less_waiting,
)  # fmt: skip
