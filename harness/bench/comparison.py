"""Supra's reference nodes and CometBFT side by side: same machine, same links, same faults, one after the other.

Four nodes each, processes on this machine, every link through a Toxiproxy. Each situation is one run of each system
(docs/comparison.md says how each figure is measured); the records stay in runs/comparison-*, so that every figure can
be computed again. About six minutes on an idle machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness import commands
from harness.backends import select
from harness.backends.port import Backend
from harness.bench.chainrun import ChainRun, percentiles
from harness.bench.wire import Passed, Wire
from harness.console import say
from harness.outcome import MachineError
from harness.progress import Observer
from harness.scenario import parse
from harness.targets.cometbft.target import COMETBFT
from harness.toml import Source

DELAY_MS = 50.0
RUNS = Path("runs")
FAST = {"commit_ms": 0}  # CometBFT begins a height at once instead of waiting a second for more precommits
SHIPPED = {"commit_ms": 1000, "propose_ms": 3000, "vote_ms": 1000, "flush_ms": 100, "gossip_ms": 100}  # its defaults
LINKS = {"latency": f"uniform:{DELAY_MS:g}"}
CUT = {"use": "partition", "from": "3s", "until": "23s"}
SYSTEMS: dict[str, dict[str, Any]] = {
    "supra": {"cluster": {"nodes": 4}, "workload": {"kind": "transfers"}},
    "cometbft": {
        "cluster": {"target": "cometbft", "nodes": 4, "options": FAST},
        "workload": {"kind": "registers", "options": {"reads": 0, "cas": 0, "keys": 64}},
    },
    "cometbft-defaults": {
        "cluster": {"target": "cometbft", "nodes": 4, "options": SHIPPED},
        "workload": {"kind": "registers", "options": {"reads": 0, "cas": 0, "keys": 64}},
    },
}
SITUATIONS: dict[str, dict[str, Any]] = {
    "steady": {"network": LINKS, "workload": {"rate": 10, "clients": 16, "duration": "17s"}},
    "saturated": {"workload": {"rate": 10_000, "clients": 256, "duration": "14s"}},
    "halves": {"network": LINKS, "fault": [{**CUT, "topology": "halves"}]},
    "minority": {"network": LINKS, "fault": [{**CUT, "topology": "isolate", "victims": ["n3"]}]},
    "crash": {
        "network": LINKS,
        "adversary": {"crashes": 1},
        "workload": {"duration": "14s"},
        "fault": [{"use": "crash", "victims": ["n3"], "from": "3s", "until": "13s"}],
    },
}
LOAD = {"rate": 10, "clients": 16, "duration": "26s"}


class Figure(NamedTuple):
    """One figure of one system; `n` values stand behind it."""

    value: float | None
    n: int = 1


class Measured(NamedTuple):
    """One run of one system in one situation."""

    run: ChainRun
    wire: Passed
    directory: Path


def scenario_of(system: str, situation: str) -> dict[str, Any]:
    """The scenario, as its file would say it."""
    own, common = SYSTEMS[system], SITUATIONS[situation]
    made: dict[str, Any] = {
        "name": f"comparison-{situation}-{system}",
        "description": f"Comparison: {situation}.",
        "expect": "hold",
        "cluster": own["cluster"],
        "network": {"latency": "lan"},
        "checks": {"include": ["fork", "prefix"], "bounds": {"liveness_ms": 60_000}},
        "run": {"quiet": "6s"},
        **{key: value for key, value in common.items() if key != "workload"},
    }
    made["workload"] = {**LOAD, **own["workload"], **common.get("workload", {})}
    return made


def figures(situations: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Rows {"name", "value", "unit", "peer", "ratio", "note"}: Supra's figure, CometBFT's, and the first by the second;
    of all situations or those that are named.

    Raises MachineError where CometBFT or Toxiproxy is missing, with the cure.
    """
    if COMETBFT.find() is None:
        raise MachineError(f"no {COMETBFT.name} {COMETBFT.version} here: run `moonquake doctor --fix`, which builds it")
    backend = select.make("process")
    backend.prepare(say)
    for situation in situations or TOLD:
        ours, theirs = (_measured(backend, system, situation) for system in ("supra", "cometbft"))
        for name, unit, figure in TOLD[situation]:
            yield _row(f"{situation}: {name}", unit, figure(ours), figure(theirs))
        if situation == "steady":
            shipped = _measured(backend, "cometbft-defaults", situation)
            for name, unit, figure in TOLD[situation][:1]:
                label = f"{situation}: {name}, CometBFT with its default time-outs"
                yield _row(label, unit, figure(ours), figure(shipped))


def _measured(backend: Backend, system: str, situation: str) -> Measured:
    scenario = parse(scenario_of(system, situation), Source("comparison"))
    wire = Wire()
    say(f"comparison: {situation}, {system} (load average {os.getloadavg()[0]:.1f})")
    plan = commands.plan_of(scenario, 1, backend.scheme)
    done = commands.run_plan(plan, backend, RUNS, [], Observer(watch=wire.watch))
    wrong = [f"{v.property} {v.status.value}" for v in done.verdicts if v.status.value != "PASS"]
    if wrong:
        say(f"{done.directory}: {', '.join(wrong)}; take its figures with care")
    return Measured(ChainRun(done.directory), wire.passed(), done.directory)


def _row(name: str, unit: str, ours: Figure, theirs: Figure) -> dict[str, Any]:
    both = ours.value is not None and theirs.value not in (None, 0)
    return {
        "name": name,
        "value": _round(ours.value),
        "unit": unit,
        "peer": _round(theirs.value),
        "ratio": _round(ours.value / theirs.value) if both and ours.value is not None and theirs.value else None,
        "note": f"N = {ours.n} and {theirs.n}",
    }


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


# ---------------------------------------------------------------- what is told of each situation
def _interval(one: Measured) -> Figure:
    return Figure(*one.run.interval())


def _in_md(figure: Figure) -> Figure:
    return Figure(None if figure.value is None else figure.value / DELAY_MS, figure.n)


def _answer(one: Measured, which: int) -> Figure:
    spans = one.run.answers()
    return Figure(percentiles(spans)[which], len(spans))


def _per_block(one: Measured, amount: float) -> Figure:
    mean, blocks = one.run.interval()
    if mean is None or not one.wire.seconds:
        return Figure(None, 0)
    return Figure(amount / (one.wire.seconds * 1000 / mean), blocks)


def _per_second(one: Measured, amount: float) -> Figure:
    return Figure(amount / one.wire.seconds if one.wire.seconds else None, one.wire.sockets)


def _spread(one: Measured, which: int) -> Figure:
    return Figure(one.run.spread()[which], one.run.interval()[1])


def _answered_after(one: Measured) -> Figure:
    return Figure(one.run.answered_after(one.run.window()[1]))


def _during(one: Measured) -> Figure:
    begin, end = one.run.window()
    return Figure(*one.run.interval(begin + 1_000_000_000, end))


def _gap(one: Measured) -> Figure:
    begin, end = one.run.window()
    return Figure(one.run.longest_gap(begin, end))


def _after(one: Measured, node: str = "") -> Figure:
    healed = one.run.window()[1]
    return Figure(one.run.caught_up_after(node, healed) if node else one.run.first_block_after(healed))


TOLD: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "steady": (
        ("block interval, mean", "ms", _interval),
        ("block interval, mean", "md", lambda one: _in_md(_interval(one))),
        ("block interval by the blocks' own times, p50", "ms", lambda one: _spread(one, 0)),
        ("block interval by the blocks' own times, p95", "ms", lambda one: _spread(one, 1)),
        ("transaction to the client's answer, p50", "ms", lambda one: _answer(one, 0)),
        ("transaction to the client's answer, p50", "md", lambda one: _in_md(_answer(one, 0))),
        ("transaction to the client's answer, p95", "ms", lambda one: _answer(one, 1)),
        ("payload on all links, a second", "kB", lambda one: _per_second(one, one.wire.payload / 1000)),
        ("payload on all links, a block", "kB", lambda one: _per_block(one, one.wire.payload / 1000)),
        ("packets with payload on all links, a second", "packets", lambda one: _per_second(one, one.wire.packets)),
        ("packets with payload on all links, a block", "packets", lambda one: _per_block(one, one.wire.packets)),
    ),
    "saturated": (
        ("transactions that took effect", "tx/s", lambda one: Figure(*one.run.throughput())),
        ("transaction to the client's answer, p50", "ms", lambda one: _answer(one, 0)),
        ("block interval, mean", "ms", _interval),
    ),
    "halves": (
        ("no block for", "ms", _gap),
        ("heal to the first new block", "ms", _after),
        ("heal to the first answer to a client", "ms", _answered_after),
    ),
    "minority": (
        ("block interval of the others during the cut", "ms", _during),
        ("longest time without a block during the cut", "ms", _gap),
        ("heal until the cut-off node has all that was final at the heal", "ms", lambda one: _after(one, "n3")),
    ),
    "crash": (
        ("block interval of the others while it is down", "ms", _during),
        ("longest time without a block while it is down", "ms", _gap),
        ("its start until it has all that was final then", "ms", lambda one: _after(one, "n3")),
    ),
}  # fmt: skip
