"""Experiments on what follows the network's actual delay: pairs of runs that differ in it alone."""

from __future__ import annotations

from typing import Any

from checkers import responsiveness
from checkers.index import Index
from harness.backends.sim.meter import Meter
from harness.claims.experiment import Experiment, Made
from harness.measures import Measures

DELAYS_MS = (20, 100)
DELTA_MS = 1000
SIZES = (4, 7)


def _at(md_ms: int, index: int) -> Made:
    """The same cluster, load and seed at this message delay."""
    size = SIZES[index % len(SIZES)]
    values: dict[str, Any] = {
        "name": f"responsiveness-{md_ms}ms",
        "description": f"Delta is {DELTA_MS} ms, a message takes {md_ms}.",
        "expect": "hold",
        "cluster": {
            "nodes": size, "clans": 1, "gateways": 1,
            "parameters": {"delta_ms": DELTA_MS, "max_batch_delay_ms": 31 + 2 * index},
        },
        "network": {"latency": f"uniform:{md_ms}"},
        "workload": {"kind": "transfers", "rate": 20, "clients": 40, "duration": "5s"},
        "checks": {"include": ["fork", "prefix", "liveness", "receipts"]},
        "run": {"quiet": "2s"},
    }  # fmt: skip
    return Made(values, index // len(SIZES) + 1, f"{md_ms} ms")


def _elasticity(parts: dict[str, tuple[Meter, Index]]) -> Measures:
    """Of the block period and of the commit latency; `elasticity` is the one that is farther from one."""
    (_, fast), (_, slow) = (parts[f"{md_ms} ms"] for md_ms in DELAYS_MS)
    verdict = responsiveness.judge(fast, slow)
    found = {name: verdict.measures[name]["elasticity"] for name in ("period", "commit") if name in verdict.measures}
    if len(found) < 2:
        raise ValueError(f"the two runs cannot be compared: {verdict.reason}")
    return {
        **{f"{name}_elasticity": value for name, value in found.items()},
        "elasticity": max(found.values(), key=lambda value: abs(value - 1)),
    }


EXPERIMENTS = (
    Experiment(
        "responsiveness", f"Pairs at {DELAYS_MS[0]} and {DELAYS_MS[1]} ms a message, with Delta = {DELTA_MS} ms.", 6,
        lambda index: _at(DELAYS_MS[0], index), weight=8.0, meter=_elasticity,
        beside=lambda index: {f"{DELAYS_MS[1]} ms": _at(DELAYS_MS[1], index)},
    ),
)  # fmt: skip
