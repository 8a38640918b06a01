"""Histories of a correct transactional store: what clients see of transactions that each take effect at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """What clients do. `keys` are in use at a time, each for `writes_per_key` writes; `most_steps` a transaction.

    `registers`: writes that replace the value, instead of appends. `failed` and `lost` are shares of transactions:
    aborted ones, and such that end in info, half of which take effect, some of them long after.
    """

    transactions: int
    clients: int = 10
    keys: int = 10
    writes_per_key: int = 32
    most_steps: int = 4
    reads: float = 0.5
    registers: bool = False
    failed: float = 0.0
    lost: float = 0.0


@dataclass
class _Running:
    process: int
    steps: list[list[Any]]
    fate: str  # ok, fail or info
    result: list[list[Any]] | None = None  # once it has taken effect


@dataclass
class _Keys:
    """Which keys are in use, and the next value of each."""

    load: Load
    used: list[int] = field(default_factory=list)
    values: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.used = list(range(self.load.keys))
        self._next = self.load.keys

    def write(self, place: int) -> list[Any]:
        key = self.used[place]
        value = self.values[key] = self.values.get(key, 0) + 1
        if value >= self.load.writes_per_key:
            self.used[place], self._next = self._next, self._next + 1
        return ["w" if self.load.registers else "append", key, value]


def simulate(rng: Random, load: Load, final_reads: bool = False) -> Iterator[Record]:
    """Records of a strictly serializable history; the same for the same state of `rng`.

    With `final_reads` one more transaction reads every key after all others have ended.
    """
    index = time = begun = 0
    keys, store = _Keys(load), dict[int, Any]()
    nothing: list[Any] | None = None if load.registers else []
    idle, fresh = list(range(load.clients)), load.clients
    running: list[_Running] = []
    late: list[_Running] = []  # lost, to take effect some time

    def record(kind: str, process: int, value: list[list[Any]]) -> Record:
        nonlocal index, time
        index, time = index + 1, time + rng.randrange(1, 1000)
        return {"index": index - 1, "time": time, "process": process, "type": kind, "f": "txn", "value": value}

    while begun < load.transactions or running:
        if late and rng.random() < 0.1:
            _apply(store, late.pop(rng.randrange(len(late))), nothing)
        if idle and begun < load.transactions and (not running or rng.random() < 0.4):
            process, begun = idle.pop(rng.randrange(len(idle))), begun + 1
            dice = rng.random()
            fate = "fail" if dice < load.failed else "info" if dice < load.failed + load.lost else "ok"
            running.append(_Running(process, _steps(rng, load, keys), fate))
            yield record("invoke", process, running[-1].steps)
            continue
        place = rng.randrange(len(running))
        transaction = running[place]
        if transaction.fate == "ok" and transaction.result is None:
            transaction.result = _apply(store, transaction, nothing)
            continue
        running.pop(place)
        idle.append(transaction.process)
        if transaction.fate == "info":
            idle[-1], fresh = fresh, fresh + 1
            if rng.random() < 0.5:
                late.append(transaction)
        yield record(transaction.fate, transaction.process, transaction.result or transaction.steps)
    if final_reads and store:
        steps = [["r", key, None] for key in store]
        yield record("invoke", fresh, steps)
        yield record("ok", fresh, _apply(store, _Running(fresh, steps, "ok"), nothing))


def _steps(rng: Random, load: Load, keys: _Keys) -> list[list[Any]]:
    steps: list[list[Any]] = []
    for _ in range(rng.randint(1, load.most_steps)):
        place = rng.randrange(load.keys)
        steps.append(["r", keys.used[place], None] if rng.random() < load.reads else keys.write(place))
    return steps


def _apply(store: dict[int, Any], transaction: _Running, nothing: Any) -> list[list[Any]]:
    """Take effect now; returns the steps with what they read. `nothing`: what a key without a write reads as."""
    done: list[list[Any]] = []
    for verb, key, value in transaction.steps:
        if verb == "r":
            seen = store.get(key, nothing)
            done.append([verb, key, list(seen) if isinstance(seen, list) else seen])
            continue
        if verb == "append":
            store.setdefault(key, []).append(value)
        else:
            store[key] = value
        done.append([verb, key, value])
    return done
