"""Schedules of the timing adversary: after GST nothing is lost and nothing takes longer than Delta, but what takes how
long is chosen, message kind by message kind, view by view, link by link.

A schedule is a list of strokes, each of which paints some messages (views x kinds x links) with a delay between the
network's own and Delta; later ones paint over earlier ones. A stroke names its views by their place in the cycle of
leaders, so that it tells, say, a silent leader's from its successor's. Painted over a window of views the strokes
become one `delay-schedule` fault. `timing` draws one by the seed; `constructed` makes those that theory says are bad;
`changed` makes a neighbour, for a search that climbs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from itertools import combinations
from random import Random
from typing import Any, TypeAlias, TypeVar

import msgspec

from faults.port import NodeId
from faults.profiles import mean_delay_ms
from faults.search.world import READY_MS
from nodes.committee import tribe_faults, tribe_quorum

KINDS = ("OPT", "NRM", "FBK", "VOTE", "QC", "CMT", "CQC", "TMO", "TC")
VIEWS = 16  # the window
LEAD = 2  # views between the load start and the window
MARGIN_MS = 1.0  # below Delta, for what the network itself adds to a delay
SHARES = (0.0, 0.0, 0.5, 1.0, 1.0)  # of the room below Delta
MOST_STROKES = 16
CERTIFYING, COMMITTING = ("VOTE", "QC"), ("CMT", "CQC")
VIEW_DELTAS, COMMIT_DELTAS = 5.0, 5.0  # 3 Delta + 2 delta, and 4 delta + Delta, with delta = Delta (protocol.md 6.3)

T = TypeVar("T")
Cell: TypeAlias = tuple[int, str, str]  # view, kind, link


class Stroke(msgspec.Struct, frozen=True):
    """`phases`: views modulo the number of nodes; the links are those from each sender to each other receiver."""

    phases: tuple[int, ...]
    kinds: tuple[str, ...]
    senders: tuple[NodeId, ...]
    receivers: tuple[NodeId, ...]
    share: float


class Room(msgspec.Struct, frozen=True):
    """What a base scenario leaves to the adversary."""

    tribe: tuple[NodeId, ...]
    first: int  # first view of the window
    most_ms: float  # extra delay that stays below Delta
    gap_deltas: float  # bound on the time between two finalisations (protocol.md 6.3: f views lost, then a commit)
    corrupted: tuple[NodeId, ...] = ()  # as far as the base names them
    silent: tuple[int, ...] = ()  # phases that they lead, where everybody leads once a round


def room_of(base: Mapping[str, Any]) -> Room:
    """Read off a base scenario with a uniform network. Raises ValueError for one whose delays exceed Delta anyway."""
    cluster, network = base["cluster"], base.get("network") or {}
    tribe = tuple(f"n{i}" for i in range(cluster["nodes"]))
    delta = float((cluster.get("parameters") or {}).get("delta_ms", 500))
    own = mean_delay_ms(network.get("latency", "lan"), tribe) + float(network.get("jitter_ms", 0.0))
    if not str(network.get("latency", "")).startswith("uniform:") or own + MARGIN_MS >= delta:
        raise ValueError(f'timing: the base needs latency = "uniform:<ms>" well below delta_ms = {delta:g}')
    if base.get("fault"):
        raise ValueError("timing: give a base without faults; what it delays is chosen here")
    nodes = (base.get("adversary") or {}).get("nodes", 0)
    corrupted = () if isinstance(nodes, int) else tuple(nodes)
    faulty = nodes if isinstance(nodes, int) else len(nodes)
    if faulty > tribe_faults(len(tribe)):
        raise ValueError("timing: the bounds of protocol.md 6.3 are for at most f corrupted nodes")
    view_ms = ((len(tribe) - faulty) * own + faulty * (3 * delta + 2 * own)) / len(tribe)
    most = delta - own - MARGIN_MS
    leaders = cluster.get("leaders", "fair-succession")
    turns = tribe if leaders == "round-robin" else () if isinstance(leaders, str) else tuple(leaders)
    silent = tuple(phase for phase, node in enumerate(turns) if node in corrupted and len(turns) == len(tribe))
    first, gap = round(READY_MS / view_ms) + LEAD, faulty * VIEW_DELTAS + COMMIT_DELTAS
    return Room(tribe, first, most, gap, corrupted, silent)


# ---------------------------------------------------------------- schedules
def draw(room: Room, rng: Random) -> tuple[Stroke, ...]:
    """A schedule by chance: some strokes, half of the time over a ground on which everything takes Delta."""
    strokes = tuple(_stroke(room, rng) for _ in range(rng.randint(2, 8)))
    return (_ground(room), *strokes) if rng.random() < 0.5 else strokes


def constructed(room: Room) -> list[tuple[Stroke, ...]]:
    """Schedules that part the tribe before the views of silent leaders, and let everything else take Delta.

    Just enough honest nodes (with the corrupted ones a quorum) certify and commit the block before at once; the others
    hear of it Delta later, so that their time-outs come 4 Delta and reach everybody 5 Delta after the first node was
    there: then a leader makes a fallback block, which 3 Delta later is final.
    """
    honest = [node for node in room.tribe if node not in room.corrupted]
    first = [phase for phase in room.silent if (phase - 1) % len(room.tribe) not in room.silent]
    before = tuple((phase - 1) % len(room.tribe) for phase in first)
    if not before:
        return []
    swift = []
    for early in combinations(honest, tribe_quorum(len(room.tribe)) - len(room.corrupted)):
        told = (*early, *room.corrupted)
        fast = (Stroke(before, kinds, room.tribe, told, 0.0) for kinds in (CERTIFYING, COMMITTING))
        swift.append((_ground(room), *fast))
    return swift


def _ground(room: Room) -> Stroke:
    """Everything takes Delta."""
    return Stroke(tuple(range(len(room.tribe))), KINDS, room.tribe, room.tribe, 1.0)


def changed(strokes: Sequence[Stroke], room: Room, rng: Random) -> tuple[Stroke, ...]:
    """A neighbour: one or two strokes more, fewer, or different; as often as not in one coordinate of one stroke."""
    found = list(strokes)
    for _ in range(rng.randint(1, 2)):
        move = rng.random()
        at = rng.randrange(len(found)) if found else 0
        if not found or (move < 0.3 and len(found) < MOST_STROKES):
            found.insert(rng.randint(0, len(found)), _stroke(room, rng))
        elif move < 0.4 and len(found) > 1:
            del found[at]
        elif move < 0.5:
            found[at] = msgspec.structs.replace(found[at], share=rng.choice(SHARES))
        else:
            found[at] = _nudged(found[at], room, rng)
    return tuple(found)


def _nudged(stroke: Stroke, room: Room, rng: Random) -> Stroke:
    """The stroke with one phase, kind, sender or receiver more or fewer, never without any."""
    field, of = rng.choice(
        (("phases", range(len(room.tribe))), ("kinds", KINDS), ("senders", room.tribe), ("receivers", room.tribe))
    )
    had = set(getattr(stroke, field))
    now = had ^ {rng.choice(of)}
    return msgspec.structs.replace(stroke, **{field: tuple(each for each in of if each in (now or had))})


def _stroke(room: Room, rng: Random) -> Stroke:
    def some(of: Sequence[T]) -> tuple[T, ...]:
        return tuple(of) if rng.random() < 0.4 else tuple(rng.sample(of, rng.randint(1, max(1, len(of) // 2))))

    phases = some(range(len(room.tribe)))
    return Stroke(phases, some(KINDS), some(room.tribe), some(room.tribe), rng.choice(SHARES))


def painted(strokes: Sequence[Stroke], room: Room) -> list[dict[str, Any]]:
    """The `delays` of a `delay-schedule`: each message in at most one entry, none later than Delta."""
    cells: dict[Cell, float] = {}
    for stroke in strokes:
        links = [f"{a}>{b}" for a in stroke.senders for b in stroke.receivers if a != b]
        views = [v for v in range(room.first, room.first + VIEWS) if v % len(room.tribe) in stroke.phases]
        cells.update({(view, kind, link): stroke.share for view in views for kind in stroke.kinds for link in links})
    late: dict[tuple[int, str, float], list[str]] = {}
    for (view, kind, link), share in sorted(cells.items()):
        if share:
            late.setdefault((view, kind, share), []).append(link)
    kinds: dict[tuple[int, float, tuple[str, ...]], list[str]] = {}
    for (view, kind, share), on in late.items():
        kinds.setdefault((view, share, tuple(on)), []).append(kind)
    return [
        {"views": [view, view], "kinds": of, "links": list(on), "delay_ms": round(share * room.most_ms, 3)}
        for (view, share, on), of in kinds.items()
    ]


# ---------------------------------------------------------------- scenarios
def scenario_of(base: Mapping[str, Any], strokes: Sequence[Stroke], description: str) -> dict[str, Any]:
    """The base under the schedule, held to the bounds of protocol.md 6.3 (the base's own bounds win)."""
    room, delays = room_of(base), painted(strokes, room_of(base))
    values = _named(base, room, description)
    values["fault"] = [{"use": "delay-schedule", "delays": delays}] if delays else []
    return values


def uniform(base: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The yardstick: each message of consensus is late by a time drawn evenly up to Delta, for itself alone."""
    room = room_of(base)
    values = _named(base, room, f"Evenly drawn delays up to Delta, seed {seed}.")
    values["fault"] = [{"use": "message-delay", "low_ms": 0.0, "high_ms": room.most_ms, "kinds": list(KINDS)}]
    return values


def _named(base: Mapping[str, Any], room: Room, description: str) -> dict[str, Any]:
    values: dict[str, Any] = deepcopy(dict(base))
    values["name"] = f"{base['name']}-timing"
    values["description"] = description
    parameters, network = values["cluster"].get("parameters") or {}, values.get("network") or {}
    own = mean_delay_ms(network["latency"], room.tribe)
    allowed = room.gap_deltas - 5 * own / float(
        parameters.get("delta_ms", 500)
    )  # the checker adds 5 md (arithmetic.py)
    checks = values["checks"] = dict(values.get("checks") or {})
    checks["bounds"] = {"liveness_deltas": round(allowed, 3), **(checks.get("bounds") or {})}
    return values


def timing(base: Mapping[str, Any], seed: int, regime: str = "within", fixed: Collection[str] = ()) -> dict[str, Any]:
    """The scenario of a seed: the base under a schedule drawn by chance, where a climb begins."""
    strokes = draw(room_of(base), Random(f"moonquake/timing/{seed}"))
    return scenario_of(base, strokes, f"Drawn by the timing generator from {base['name']}, seed {seed}.")
