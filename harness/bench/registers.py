"""Histories of a correct register service: what clients see of calls that each take effect at one random moment."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from results.history import Operation

LATENCY = 100_000  # mean ns from a call to its effect, and from there to its answer


@dataclass(frozen=True)
class Load:
    """What clients do. `values` 0: every value is written once (from 1 on), else values below it; `keys` 0: one
    register, without a key. `reads` and `cas` are shares of the calls, `lost` of those that end in info."""

    clients: int
    calls: int
    keys: int = 0
    values: int = 0
    reads: float = 0.5
    cas: float = 0.0
    lost: float = 0.0


@dataclass
class _Call:
    process: int
    f: str
    key: int
    argument: Any  # what to write; [old, new] of a cas
    lost: bool
    result: Any = None
    done: bool = True  # False: a cas that found another value


def simulate(rng: Random, load: Load) -> list[Operation]:
    """A linearizable history; the same for the same state of `rng`.

    Latencies are exponential, so that calls overlap and overtake. Every second lost call takes effect, some long after
    its info; its client goes on under a new process number.
    """
    history: list[Operation] = []
    store: dict[int, Any] = {}
    due: list[tuple[int, int, str, _Call | int]] = []  # (time, tie-break, what, call or process)

    def later(what: str, subject: _Call | int, mean: int) -> None:
        heapq.heappush(due, (time + 1 + int(rng.expovariate(1 / mean)), rng.getrandbits(60), what, subject))

    time, begun, processes = 0, 0, load.clients
    for process in range(load.clients):
        later("begin", process, LATENCY)
    while due:
        time, _, what, subject = heapq.heappop(due)
        if isinstance(subject, int):
            if begun < load.calls:
                begun += 1
                call = _next(rng, load, subject, begun)
                history.append(_record(history, time, "invoke", call, load))
                if not call.lost or rng.random() < 0.5:
                    later("effect", call, LATENCY * (10 if call.lost else 1))
                if call.lost:
                    later("end", call, 2 * LATENCY)
            continue
        if what == "effect":
            _apply(store, subject)
            if not subject.lost:
                later("end", subject, LATENCY)
            continue
        kind: Literal["info", "ok", "fail"] = "info" if subject.lost else "ok" if subject.done else "fail"
        history.append(_record(history, time, kind, subject, load))
        if subject.lost:
            processes += 1
        later("begin", processes - 1 if subject.lost else subject.process, LATENCY // 10)
    return history


def _next(rng: Random, load: Load, process: int, number: int) -> _Call:
    def value() -> int:
        return rng.randrange(load.values) if load.values else number

    key, lost, dice = rng.randrange(load.keys or 1), rng.random() < load.lost, rng.random()
    if dice < load.reads:
        return _Call(process, "read", key, None, lost)
    if dice < load.reads + load.cas:
        return _Call(process, "cas", key, [rng.randrange(load.values or number), value()], lost)
    return _Call(process, "write", key, value(), lost)


def _apply(store: dict[int, Any], call: _Call) -> None:
    if call.f == "read":
        call.result = store.get(call.key)
    elif call.f == "write":
        store[call.key] = call.argument
    else:
        call.done = store.get(call.key) == call.argument[0]
        if call.done:
            store[call.key] = call.argument[1]


def _record(
    history: list[Operation], time: int, kind: Literal["invoke", "ok", "fail", "info"], call: _Call, load: Load
) -> Operation:
    value = call.argument if call.f != "read" else call.result if kind == "ok" else None
    return Operation(len(history), time, call.process, kind, call.f, [call.key, value] if load.keys else value)
