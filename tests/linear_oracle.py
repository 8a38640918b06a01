"""An independent word on small register histories: every permutation of the calls is tried. And histories to try."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, permutations
from random import Random
from typing import Any

import msgspec

from checkers.linear.calls import registers
from checkers.linear.decide import decide
from checkers.linear.search import Limits, Search
from checkers.linearizable import Linearizable
from results.history import Operation
from results.verdict import Status
from tests.golden.registers import TEXTS, history

AMPLE = Limits(10**9, 10**9)
Calls = list[tuple[int, float, str, Any]]  # begin, end, f, value


def operations(name: str) -> list[Operation]:
    """A golden history."""
    return [msgspec.convert(record, Operation) for record in history(name)]


def by_permutation(recorded: list[Operation]) -> bool:
    """Is a history of one register without a key linearizable? Takes 7 calls or so."""
    surely, maybe = _calls(recorded)
    for count in range(len(maybe) + 1):
        for extra in combinations(maybe, count):
            if any(_legal(order) for order in permutations([*surely, *extra])):
                return True
    return False


def _calls(recorded: list[Operation]) -> tuple[Calls, Calls]:
    """Calls that happened, and those that may have."""
    surely, maybe, under_way = [], [], {}
    for number, operation in enumerate(recorded):
        if operation.type == "invoke":
            under_way[operation.process] = (number, operation)
            continue
        begin, invoked = under_way.pop(operation.process)
        if operation.type == "ok":
            surely.append((begin, float(number), operation.f, operation.value))
        elif operation.type == "info":
            maybe.append((begin, float("inf"), invoked.f, invoked.value))
    maybe += [(begin, float("inf"), invoked.f, invoked.value) for begin, invoked in under_way.values()]
    return surely, [call for call in maybe if call[2] != "read"]


def _legal(order: tuple[tuple[int, float, str, Any], ...]) -> bool:
    held = "null"
    for place, (begin, _, f, value) in enumerate(order):
        if any(end < begin for _, end, _, _ in order[place + 1 :]):
            return False  # a later one had ended before this one began
        if f == "cas":
            old, new = map(json.dumps, value)
            if held != old:
                return False
            held = new
        elif f == "write":
            held = json.dumps(value)
        elif held != json.dumps(value):
            return False
    return True


def arbitrary(rng: Random, calls: int, unique: bool = False, cas: bool = True, clients: int = 3) -> list[Operation]:
    """A history that nobody had to be correct for: results are guessed among a few values."""
    found: list[Operation] = []
    idle, busy = list(range(clients)), []
    written = begun = 0

    def put(process: int, kind: Any, f: str, value: Any) -> None:
        found.append(Operation(len(found), len(found) + 1, process, kind, f, value))

    def guess() -> Any:
        return rng.choice([None, *range(1, max(written, 1) + 1)][-4:]) if unique else rng.choice([None, 1, 2])

    while begun < calls or (busy and rng.random() < 0.95):
        if begun < calls and (not busy or (idle and rng.random() < 0.5)):
            process = idle.pop(rng.randrange(len(idle)))
            f = rng.choice(["read", "read", "write", "write", "cas"] if cas else ["read", "write"])
            begun, written = begun + 1, written + (f == "write")
            value = None if f == "read" else written if unique else rng.choice([1, 2])
            value = [guess(), rng.choice([1, 2, 3])] if f == "cas" else value
            put(process, "invoke", f, value)
            busy.append((process, f, value))
            continue
        process, f, value = busy.pop(rng.randrange(len(busy)))
        kind = rng.choices(["ok", "info", "fail"], [8, 1, 1])[0]
        put(process, kind, f, guess() if f == "read" and kind == "ok" else value)
        idle.append(process if kind != "info" else clients + len(found))
    return found


def verdict(recorded: list[Operation]) -> bool:
    """What the checker's algorithm says of a history of one register."""
    return all(decide(one.calls, len(one.values), AMPLE).stop is None for one in registers(recorded))


def by_search(recorded: list[Operation]) -> bool:
    """What the general search says alone, without the zone check."""
    return all(Search(one.calls, AMPLE).run() is None for one in registers(recorded))


def mistakes(seeds: int = 2000) -> Iterator[str]:
    """What the checker gets wrong: golden histories, a search cut off, and small arbitrary histories."""
    for name in TEXTS:
        wanted = Status.PASS if name.startswith("ok-") else Status.FAIL
        if Linearizable().over(operations(name)).status is not wanted:
            yield name
    if Linearizable(steps=3).over(operations("bad-cas-twice")).status is not Status.UNKNOWN:
        yield "a search cut off"
    for seed in range(seeds):
        recorded = arbitrary(Random(seed), 4 + seed % 3, unique=seed % 2 == 0, cas=seed % 5 > 1, clients=3 + seed % 2)
        expected = by_permutation(recorded)
        if verdict(recorded) != expected:
            yield f"seed {seed}"
        if by_search(recorded) != expected:
            yield f"seed {seed}, search alone"
