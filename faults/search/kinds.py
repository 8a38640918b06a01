"""What the swarm draws from: one descriptor for each fault and behaviour. A new one is one function and one line.

A descriptor's `draw` returns the parameters as a scenario holds them, or None where this world has no room for it (the
budget is spent, the network cannot). What a fault does to its victims it charges to the world's budget.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faults.messages import KINDS
from faults.port import NodeId
from faults.search.drawing import Kind, halves, plain, share_of_md
from faults.search.library import LIBRARY
from faults.search.partitions import any_partition
from faults.search.world import World
from nodes.committee import clan_majority

CONSENSUS = ("OPT", "NRM", "FBK", "VOTE", "QC", "CMT", "CQC", "TMO", "TC")


# ---------------------------------------------------------------- faults
def _partition(world: World) -> dict[str, Any]:
    topology = world.rng.choice(("groups", "groups", "halves", "bridge", "ring", "isolate", "one-way"))
    options: dict[str, Any] = {"topology": topology, "settle_s": settle_s(world)}
    if topology == "groups":
        options["groups"] = world.groups()
    elif topology == "isolate":
        options["victims"] = world.victims(len(world.tribe) // 2)
    elif topology == "one-way":
        options["victims"] = world.victims()
        options["direction"] = world.rng.choice(("out", "in", "both"))
    return options


def settle_s(world: World) -> float:
    """How long what is in flight may take, in seconds."""
    return round(world.slowest_ms * 1.5 / 1000 + 0.01, 3)


def _latency(world: World) -> dict[str, Any]:
    delay = world.rng.uniform(0.5, 4.0) * world.md_ms
    options: dict[str, Any] = {"delay_ms": round(delay, 1), "victims": _touched(world)}
    if world.chance(0.5):
        options["jitter_ms"] = round(world.rng.uniform(0.1, 0.9) * delay, 1)
    return options


def _loss(world: World) -> dict[str, Any]:
    return {"probability": round(world.rng.uniform(0.05, 0.5), 3), "victims": _touched(world)}


def _bandwidth(world: World) -> dict[str, Any]:
    """From a third of what a link carries while all is well (some 2.5 KB a message delay) to three times as much."""
    carried_kbit = 2.5 * 8 / (world.md_ms / 1000)
    return {"rate_kbit": round(carried_kbit * world.rng.uniform(0.3, 3.0)), "victims": _touched(world)}


def _chaos(world: World) -> dict[str, Any]:
    return {"most_ms": share_of_md(world, 1.0, 6.0), "loss": world.rng.choice((0.0, 0.05, 0.2))}


def _message_loss(world: World) -> dict[str, Any]:
    return {"probability": round(world.rng.choice((0.1, 0.3, 0.7, 1.0)), 2), **_aim(world)}


def _message_delay(world: World) -> dict[str, Any]:
    low = share_of_md(world, 0.2, 2.0)
    return {"low_ms": low, "high_ms": low + share_of_md(world, 0.1, 3.0), **_some_of(world), **_aim(world)}


def _duplication(world: World) -> dict[str, Any]:
    return {"high_ms": share_of_md(world, 0.5, 6.0), **_some_of(world), **_aim(world)}


def _reordering(world: World) -> dict[str, Any]:
    return {"most_ms": share_of_md(world, 0.5, 4.0), **_some_of(world), **_aim(world)}


def _some_of(world: World) -> dict[str, Any]:
    return {"probability": world.rng.choice((0.2, 0.5, 1.0))}


def _aim(world: World) -> dict[str, Any]:
    """Which messages: all, or some kinds; everywhere, or on the links of some nodes in one direction or both."""
    aim: dict[str, Any] = {}
    if world.chance(0.6):
        aim["kinds"] = world.some(CONSENSUS if world.chance(0.7) else KINDS, 4)
    if world.chance(0.7):
        aim[world.rng.choice(("victims", "senders", "receivers"))] = world.victims()
    return aim


def _round_partition(world: World) -> dict[str, Any]:
    views = world.rng.sample(world.views(), min(len(world.views()), world.rng.randint(1, 4)))
    return {"rounds": [{"view": view, "groups": any_partition(world.rng, world.tribe)} for view in sorted(views)]}


def _power_loss(world: World) -> dict[str, Any] | None:
    return down(world, world.budget.crash)


def _slow_disk(world: World) -> dict[str, Any]:
    return {"sync_ms": 2 * world.sync_ms + share_of_md(world, 0.1, 1.5), "victims": world.victims()}


def _clock_skew(world: World) -> dict[str, Any]:
    options: dict[str, Any] = {"victims": world.victims(), "skew_ms": share_of_md(world, 0.5, 8.0)}
    if world.chance(0.5):
        options["skew_ms"] = -options["skew_ms"]
    if world.chance(0.3):
        options["drift_ppm"] = world.rng.choice((-50_000, -5_000, 5_000, 50_000))
    return options


def _pause(world: World) -> dict[str, Any]:
    return {"victims": world.victims()}


def _crash(world: World) -> dict[str, Any] | None:
    return down(world, world.budget.crash)


def _disk_loss(world: World) -> dict[str, Any] | None:
    return down(world, world.budget.forget)


def down(world: World, take: Callable[[NodeId], bool]) -> dict[str, Any] | None:
    """Victims that the budget lets go down; sometimes a gateway too, which no bound counts."""
    hit = [node for node in world.victims(3) if take(node)]
    if len(world.gateways) > 1 and world.chance(0.1):
        hit.append(world.rng.choice(world.gateways))
    return {"victims": hit} if hit else None


def _touched(world: World) -> Any:
    return "all" if world.chance(0.4) else world.victims()


# ---------------------------------------------------------------- behaviours
def _vote_withholder(world: World) -> dict[str, Any]:
    return {"kinds": world.some(("vote", "commit", "timeout", "availability", "state"))}


def _censoring_primary(world: World) -> dict[str, Any]:
    rng = world.rng
    return {
        "role": rng.choice(("any", "primary")),
        "receipt": rng.choice(("none", "fake")),
        "blocks": world.chance(0.5),
    }


def _lying_executor(world: World) -> dict[str, Any]:
    return {"collude": world.chance(0.7)}


def _improviser(world: World) -> dict[str, Any]:
    return {"pace_ms": share_of_md(world, 0.1, 1.0), "hold": round(world.rng.uniform(0.0, 0.6), 2)}


def _colluding_clan_majority(world: World) -> dict[str, Any] | None:
    """Its keys must certify what does not exist: below a clan's majority that comes to nothing."""
    if not any(len(set(clan) & set(world.byzantine)) >= clan_majority(len(clan)) for clan in world.clans):
        return None
    return {"every_s": round(world.rng.uniform(0.05, 0.5), 3)}


FAULTS: dict[str, Kind] = {
    kind.use: kind
    for kind in (
        Kind("partition", _partition),
        Kind("latency", _latency),
        Kind("loss", _loss),
        Kind("bandwidth", _bandwidth),
        Kind("pause", _pause),
        Kind("crash", _crash, costs=True),
        Kind("disk-loss", _disk_loss, costs=True),
        Kind("power-loss", _power_loss, costs=True),
        Kind("slow-disk", _slow_disk),
        Kind("clock-skew", _clock_skew),
        Kind("chaos", _chaos),
        Kind("message-loss", _message_loss),
        Kind("message-delay", _message_delay),
        Kind("duplication", _duplication),
        Kind("reordering", _reordering),
        Kind("round-partition", _round_partition),
    )
}
CORE: dict[str, Kind] = {  # behaviours that have an occasion in almost any run
    kind.use: kind
    for kind in (
        Kind("equivocating-leader", halves),
        Kind("double-voter", halves),
        Kind("silent-leader", plain),
        Kind("vote-withholder", _vote_withholder),
        Kind("censoring-primary", _censoring_primary),
        Kind("data-withholding", plain),
        Kind("equivocating-batch", plain),
        Kind("lying-executor", _lying_executor),
        Kind("colluding-clan-majority", _colluding_clan_majority),
        Kind("improviser", _improviser),
    )
}
BEHAVIOURS: dict[str, Kind] = CORE | {kind.use: kind for kind in LIBRARY}
SCHEDULED = ("byzzfuzz", "scripted", "twins")  # behaviours that need a schedule made for them, by another generator
TIMED = ("delay-schedule",)  # faults, likewise
