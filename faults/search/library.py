"""How the swarm draws the attacks of the library: parameters that give an occasion within a short load.

All of them are safe within the bounds that the world's budget keeps: each either breaks nothing at any count, or needs
more of the tribe, the clan or the family than may be corrupted (`breaks_at` of the behaviour's class).
"""

from __future__ import annotations

from typing import Any

from faults.byzantine.foreign_certificate import KINDS
from faults.byzantine.forgery import FLAWS
from faults.search.drawing import Kind, halves, plain, share_of_md
from faults.search.world import World
from nodes.committee import tribe_quorum


def _every_s(world: World) -> float:
    """Ten to forty times a load."""
    return max(0.1, round(world.load_ms / 1000 * world.rng.uniform(1 / 40, 1 / 10), 3))


def _batch_flood(world: World) -> dict[str, Any]:
    """Some fifty to a hundred batches a member in all: each is voted for by a whole clan, which costs n^2 messages."""
    return {"copies": world.rng.choice((5, 15)), "every_s": max(0.1, round(world.load_ms / 10_000, 3))}


def _batch_replayer(world: World) -> dict[str, Any]:
    return {"after_ms": round(world.load_ms * world.rng.uniform(0.0, 0.4)), "every_s": _every_s(world)}


def _batch_rewriter(world: World) -> dict[str, Any]:
    return {"mode": world.rng.choice(("reverse", "repeat", "stuff"))}


def _certificate_forger(world: World) -> dict[str, Any]:
    return {"flaws": world.some(tuple(FLAWS))}


def _hiding(world: World) -> dict[str, Any] | None:
    """Two views of the coalition in a row, and a first half that makes a quorum with it (hiding.py)."""
    shown = tribe_quorum(len(world.tribe)) - len(world.byzantine)
    honest = world.rng.sample(world.honest, len(world.honest))
    if not 0 < shown < len(honest):
        return None
    world.pairs = True
    return {"halves": [sorted(half, key=world.tribe.index) for half in (honest[:shown], honest[shown:])]}


def _certificate_hider(world: World) -> dict[str, Any] | None:
    drawn = _hiding(world)
    return None if drawn is None else {**drawn, "views": world.rng.randint(1, 5)}


def _clock_liar(world: World) -> dict[str, Any]:
    return {"ahead_ms": "frozen"} if world.chance(0.4) else {"ahead_ms": share_of_md(world, 0.5, 20.0)}


def _foreign_certificate(world: World) -> dict[str, Any]:
    return {"every_s": _every_s(world), "kinds": world.some(KINDS)}


def _impersonator(world: World) -> dict[str, Any]:
    return {"every": world.rng.randint(1, 6)}


def _late_secondary(world: World) -> dict[str, Any]:
    return {"hold_ms": round(share_of_md(world, 5.0, 60.0))}


def _lock_liar(world: World) -> dict[str, Any]:
    return {"half": True, **halves(world)} if world.chance(0.5) else {"half": False}


def _order_grinder(world: World) -> dict[str, Any]:
    return {"tries": world.rng.choice((4, 16))}


def _racing_secondary(world: World) -> dict[str, Any]:
    return {"after_ms": world.rng.choice((0, round(share_of_md(world, 1.0, 40.0))))}


def _slow_leader(world: World) -> dict[str, Any]:
    return {"deltas": round(world.rng.uniform(0.2, 3.5), 2)}


def _sync_flooder(world: World) -> dict[str, Any]:
    return {"pace_ms": max(1.0, share_of_md(world, 0.5, 3.0)), "burst": world.rng.choice((1, 5, 10))}


def _stale_payload(world: World) -> dict[str, Any]:
    return {"depth": world.rng.choice((4, 64))}


def _sequence_jumper(world: World) -> dict[str, Any]:
    return {"every": world.rng.randint(1, 3)}


def _view_spammer(world: World) -> dict[str, Any]:
    return {"pace_ms": max(1.0, share_of_md(world, 0.3, 3.0))}


def _vote_repeater(world: World) -> dict[str, Any]:
    return {"times": world.rng.choice((2, 5, 20))}


LIBRARY = (
    Kind("bad-signer", plain),
    Kind("batch-flood", _batch_flood),
    Kind("batch-replayer", _batch_replayer),
    Kind("batch-rewriter", _batch_rewriter),
    Kind("body-swapper", halves),
    Kind("certificate-forger", _certificate_forger),
    Kind("certificate-hider", _certificate_hider, whole=True),
    Kind("certificate-swallower", plain),
    Kind("clock-liar", _clock_liar),
    Kind("commit-equivocator", plain),
    Kind("domain-confuser", plain),
    Kind("foreign-certificate", _foreign_certificate),
    Kind("gapped-root", plain),
    Kind("header-liar", plain),
    Kind("hidden-certificate", plain),
    Kind("impersonator", _impersonator),
    Kind("late-release", _hiding, whole=True),
    Kind("late-secondary", _late_secondary),
    Kind("lazy-signer", plain),
    Kind("lock-liar", _lock_liar),
    Kind("malleator", halves),
    Kind("normal-and-fallback", _hiding, whole=True),
    Kind("optimistic-and-fallback", _hiding, whole=True),
    Kind("order-grinder", _order_grinder),
    Kind("payload-forger", plain),
    Kind("racing-secondary", _racing_secondary),
    Kind("selective-leader", plain),
    Kind("selective-voter", plain),
    Kind("sequence-jumper", _sequence_jumper),
    Kind("slow-leader", _slow_leader),
    Kind("split-root", plain),
    Kind("stale-fallback", plain),
    Kind("stale-payload", _stale_payload),
    Kind("sync-flooder", _sync_flooder),
    Kind("timeout-forger", plain),
    Kind("two-kinds-leader", halves),
    Kind("two-parents", halves),
    Kind("view-spammer", _view_spammer),
    Kind("vote-repeater", _vote_repeater),
)
