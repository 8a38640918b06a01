"""Experiments at the bound and one past it: the attacks of `moonquake frontier`; a tribe of 151 with a clan of 101."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness import measures
from harness.claims.experiment import Experiment, Made
from harness.frontier_attacks import ATTACKS
from nodes.committee import tribe_quorum

SEEDS = 3  # of each size
SIZES = {
    "tribe": (4, 7),
    "amnesia": (4, 7),
    "tribe-liveness": (4, 7),
    "clan-data": (3, 5),
    "clan-state": (3, 5),
    "family": (2, 3),
}
BESIDE = {"tribe": ("order",), "clan-state": ("acknowledged",), "family": ("dedup",)}  # judged as well
TRIBE, CLAN = 151, 101


def _point(attack: str, past: bool, index: int) -> Made:
    """Seed by seed every size once."""
    sizes = SIZES[attack]
    n = sizes[index % len(sizes)]
    b = ATTACKS[attack].claimed(n) + past
    values = ATTACKS[attack].scenario(n, b)
    values["checks"]["include"] += [p for p in BESIDE.get(attack, ()) if p not in values["checks"]["include"]]
    return Made(values, index // len(sizes) + 1, f"{b} of {n}")


def _large_tribe(b: int, index: int) -> Made:
    """Double voters across a divided tribe of 151: with b more, the first side is just a quorum. Leaders of either side
    alone, a load of few views, so that a run is a matter of minutes."""
    middle = tribe_quorum(TRIBE) - b
    first = [f"n{i}" for i in range(middle)]
    second = [f"n{i}" for i in range(middle, TRIBE - b)]
    halves = [[*first, "g0"], second]
    values: dict[str, Any] = {
        "name": f"tribe-{b}-of-{TRIBE}",
        "description": f"Double votes of {b} across a divided tribe of {TRIBE}.",
        "expect": "hold" if b <= (TRIBE - 1) // 3 else {"violate": ["fork"]},
        "cluster": {
            "nodes": TRIBE,
            "clans": 1,
            "gateways": 1,
            "leaders": [first[0], second[0]],
            "parameters": {"delta_ms": 300, "inclusion_timeout_ms": 60_000},
        },
        "network": {"latency": "uniform:250"},
        "workload": {"kind": "transfers", "rate": 2, "clients": 4, "duration": "2500ms"},
        "adversary": {
            "nodes": [f"n{i}" for i in range(TRIBE - b, TRIBE)],
            "behaviour": [{"use": "double-voter", "options": {"halves": halves}}],
        },
        "fault": [{"use": "partition", "groups": halves, "from": "0s", "until": "2400ms"}],
        "checks": {"include": ["fork", "receipts"]},
        "run": {"quiet": "1s"},
    }
    return Made(values, index + 1, f"fork: {b} of {TRIBE}")


def _large_clan(b: int, index: int) -> Made:
    """A clan of 101 in a tribe of 151 that bears its liars: first data that is withheld, then a false root. Idle
    leaders wait, so that views are few."""
    attack = ("clan-data", "clan-state")[index % 2]
    values = ATTACKS[attack].scenario(CLAN, b)
    properties = ATTACKS[attack].properties
    members = [f"n{i}" for i in range(TRIBE)]
    values["name"] = f"{attack}-{b}-of-{CLAN}"
    values["cluster"] |= {
        "nodes": TRIBE,
        "clans": [members[:CLAN], members[CLAN:]],
        "parameters": {"delta_ms": 600, "idle_delay_ms": 1000, "batch_retry_ms": 600, "inclusion_timeout_ms": 60_000},
    }
    values["network"] = {"latency": "uniform:250", "votes": "lanes"}
    values["workload"] |= {"rate": 12, "clients": 12, "duration": "1s"}  # enough that some fall to the corrupted
    values["checks"] = {"include": [*properties, "receipts"], "bounds": {"retrieve_ms": 4000}}
    values["run"] = {"quiet": "6s"}
    if b > (CLAN - 1) // 2:
        values["expect"] = {"violate": list(properties)}
    return Made(values, index // 2 + 1, f"{properties[0]}: {b} of {CLAN}")


def _pair(attack: str, *measured: measures.Measure) -> tuple[Experiment, Experiment]:
    runs, summary = SEEDS * len(SIZES[attack]), ATTACKS[attack].summary
    return (
        Experiment(f"{attack}-at", f"At the bound. {summary}", runs, partial(_point, attack, False), measured),
        Experiment(f"{attack}-past", f"One past the bound. {summary}", runs, partial(_point, attack, True), measured),
    )


EXPERIMENTS = (
    *_pair("tribe"),
    *_pair("amnesia"),
    *_pair("tribe-liveness"),
    *_pair("clan-data", measures.lost_batches),
    *_pair("clan-state", measures.false_roots),
    *_pair("family", measures.inclusion),
    *(
        Experiment(
            f"tribe-{b}-of-{TRIBE}", f"Double votes of {b} across a divided tribe of {TRIBE}.", 1,
            partial(_large_tribe, b), weight=50.0,
        )
        for b in (50, 51)
    ),
    *(
        Experiment(
            f"clan-{b}-of-{CLAN}", f"Withheld data, and a false root, by {b} of a clan of {CLAN}.", 2,
            partial(_large_clan, b), weight=40.0,
        )
        for b in (50, 51)
    ),
)  # fmt: skip
