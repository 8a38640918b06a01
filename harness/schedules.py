"""Random short schedules for four nodes, one of them corrupted: what a blind search throws at a mutant.

Within every bound, so correct cores must survive each of them. Drawn are the leaders, the behaviour of n3, which
messages of which views are lost between honest nodes, a partition and a crash; all times fit a load of two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from harness.genesis import random_of
from harness.scenario import Scenario, parse
from harness.toml import Source

HONEST = ("n0", "n1", "n2")
CORRUPTED = "n3"
KINDS = ("VOTE", "QC", "TMO", "CMT", "TC", "OPT", "NRM", "FBK")
VIEWS = (12, 45)  # passed during the load, at 50 ms a view
SAFETY = ("ancestry", "fork", "locks", "prefix", "timeouts", "votes")


def schedule(seed: int) -> Scenario:
    """The random scenario of this seed; it expects that everything holds."""
    rng = random_of(seed, "schedule")
    crash, leaders = rng.random() < 0.3, _leaders(rng)
    values: dict[str, Any] = {
        "name": "schedule",
        "description": f"Random schedule {seed}.",
        "expect": "hold",
        "cluster": {
            "nodes": 4,
            "leaders": leaders,
            "parameters": {"delta_ms": 200, "variant": rng.choice(("commit", "commit", "pipelined"))},
        },
        "network": {"latency": "uniform:50", "jitter_ms": rng.choice((0.0, 0.0, 20.0))},
        "workload": {"kind": "transfers", "rate": 5, "clients": 4, "duration": "2s"},
        "adversary": {"nodes": [CORRUPTED], "crashes": int(crash), "behaviour": _behaviours(rng)},
        "fault": [_loss(rng, leaders) for _ in range(rng.randint(1, 4))],
        "checks": {"include": list(SAFETY)},
        "run": {"quiet": "500ms"},
    }
    if rng.random() < 0.4:
        values["fault"].append(
            {"use": "partition", "topology": "isolate", "victims": [rng.choice(HONEST)], **_window(rng)}
        )
    if crash:
        values["fault"].append({"use": "crash", "victims": [rng.choice(HONEST)], **_window(rng)})
    return parse(values, Source(f"schedule {seed}", ""))


def _leaders(rng: Random) -> list[str]:
    """A cycle in which the corrupted node leads up to three views in a row."""
    order = rng.sample(HONEST, 3)
    at = rng.randint(0, 3)
    return [*order[:at], *[CORRUPTED] * rng.randint(1, 3), *order[at:]]


def _behaviours(rng: Random) -> list[dict[str, Any]]:
    if rng.random() < 0.1:
        return [{"use": "equivocating-leader"}, {"use": "double-voter"}]
    options = {"pace_ms": rng.choice((3, 10, 30, 100)), "hold": rng.choice((0.0, 0.3, 0.7, 1.0, 1.0))}
    return [{"use": "improviser", "options": options}]


def _loss(rng: Random, leaders: Sequence[str]) -> dict[str, Any]:
    """Mostly round a view of the corrupted node, and mostly of what would end that view."""
    first = rng.randint(*VIEWS)
    if rng.random() < 0.7:
        while leaders[first % len(leaders)] != CORRUPTED:
            first += 1
        first -= rng.randint(0, 1)
    common = {"use": "message-loss", "views": [first, first + rng.choice((0, 0, 1, 3))]}
    if rng.random() < 0.6:
        kinds = ["VOTE", "QC", *rng.sample(("TMO", "CMT", "TC"), rng.randint(0, 2))]
        return {**common, "kinds": kinds, "senders": list(HONEST), "receivers": list(HONEST)}
    return {
        **common,
        "kinds": rng.sample(KINDS, rng.randint(1, 4)),
        "senders": rng.sample(HONEST, rng.randint(1, 3)),
        "receivers": rng.sample(HONEST, rng.randint(2, 3)),
        "probability": rng.choice((1.0, 1.0, 0.5)),
    }


def _window(rng: Random) -> dict[str, str]:
    start = rng.randint(0, 12)
    return {"from": f"{start * 100}ms", "until": f"{(start + rng.randint(2, 8)) * 100}ms"}
