"""An independent word on small transactional histories: every order is tried. And histories to try."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import combinations, permutations
from random import Random
from typing import Any

import msgspec

from checkers.elle import graph, models
from checkers.elle.judge import ElleJudge
from checkers.elle_list_append import ElleListAppend
from checkers.elle_rw_register import ElleRwRegister
from checkers.judge import crashed
from harness.bench.transactions import Load, Record, simulate
from results.history import Operation
from results.records import of_operations
from results.transactions import load
from results.verdict import Status, Verdict
from tests.golden.transactions import KINDS, TEXTS, records

CHECKERS: dict[str, type[ElleJudge]] = {"elle-list-append": ElleListAppend, "elle-rw-register": ElleRwRegister}
MODELS = ("serializable", "strong-session-serializable", "strict-serializable")
ENOUGH = 250  # histories that `mistakes` tries of each kind


def verdict(checker: str, history: list[Record], consistency: str = "strict-serializable") -> Verdict:
    """What the checker says of records."""
    operations = [msgspec.convert(record, Operation) for record in history]
    try:
        return CHECKERS[checker](consistency).over(load("h", of_operations(operations)))
    except Exception:  # as `check` has it
        return crashed(checker)


# ---------------------------------------------------------------- all orders
Transaction = tuple[
    int, float, int, list[list[Any]]
]  # begin, end, process, steps; the end of what nobody saw end: never


def by_order(history: list[Record]) -> set[str]:
    """Which of MODELS a history obeys. Takes 7 transactions or so."""
    surely, maybe = _transactions(history)
    obeyed: set[str] = set()
    for count in range(len(maybe) + 1):
        for extra in combinations(maybe, count):
            for order in permutations([*surely, *extra]):
                if _explains(order):
                    obeyed |= _kept(order)
                    if len(obeyed) == len(MODELS):
                        return obeyed
    return obeyed


def _transactions(history: list[Record]) -> tuple[list[Transaction], list[Transaction]]:
    """Those that happened, and those that may have."""
    begun: dict[int, int] = {}
    surely: list[Transaction] = []
    maybe: list[Transaction] = []
    steps: dict[int, list[list[Any]]] = {}
    for number, record in enumerate(history):
        process = record["process"]
        if record["type"] == "invoke":
            begun[process], steps[process] = number, record["value"]
            continue
        begin = begun.pop(process)
        if record["type"] == "ok":
            surely.append((begin, number, process, record["value"]))
        elif record["type"] == "info":
            maybe.append((begin, float("inf"), process, _blind(record["value"])))
    maybe += [(begin, float("inf"), process, _blind(steps[process])) for process, begin in begun.items()]
    return surely, maybe


def _blind(steps: list[list[Any]]) -> list[list[Any]]:
    return [step for step in steps if step[0] != "r"]


def _explains(order: tuple[Transaction, ...]) -> bool:
    """Does executing the transactions one by one read what they read?"""
    lists: dict[Any, list[Any]] = {}
    registers: dict[Any, Any] = {}
    for _, _, _, steps in order:
        for verb, key, value in steps:
            if verb == "append":
                lists.setdefault(key, []).append(value)
            elif verb == "w":
                registers[key] = value
            elif value != (lists.get(key, []) if isinstance(value, list) else registers.get(key)):
                return False
    return True


def _kept(order: tuple[Transaction, ...]) -> set[str]:
    """Which of MODELS an order that explains the reads keeps."""
    kept = {"serializable", "strong-session-serializable", "strict-serializable"}
    for later, (begin, _, process, _) in enumerate(order):
        for other in order[later + 1 :]:
            if other[1] < begin:
                kept.discard("strict-serializable")
                if other[2] == process:
                    kept.discard("strong-session-serializable")
    return kept


# ---------------------------------------------------------------- histories to try
def small(seed: int, registers: bool, lost: float = 0.0) -> list[Record]:
    """A history of up to six transactions, the last reading all keys; valid, but most often spoilt a little."""
    rng = Random(seed)
    shape = Load(rng.randrange(2, 6), 3, rng.choice((1, 2, 2)), 100, 3, 0.6, registers, rng.choice((0, 0.2)), lost)
    history = list(simulate(rng, shape, final_reads=True))
    for _ in range(rng.randrange(3)):
        _spoil(rng, history)
    for index, record in enumerate(history):
        record["index"], record["time"] = index, index * 1000
    return history


def _spoil(rng: Random, history: list[Record]) -> None:
    """Change what a read saw, whether a transaction committed, or when an end was seen."""
    ends = [record for record in history if record["type"] == "ok"][:-1]  # the reads at the end stay true
    if not ends:
        return
    dice, record = rng.random(), rng.choice(ends)
    if dice < 0.6:
        seen = [step[2] for other in ends for step in other["value"]]
        for step in record["value"]:
            if step[0] == "r" and rng.random() < 0.7:
                if not isinstance(step[2], list):
                    step[2] = rng.choice([None, *seen])
                elif step[2] and rng.random() < 0.7:
                    step[2] = step[2][: rng.randrange(len(step[2]))]
                else:
                    step[2] = copy.copy(rng.choice([s for s in seen if isinstance(s, list)]))
    elif dice < 0.7:
        record["type"] = "fail"
    else:
        place = next(number for number, other in enumerate(history) if other is record)
        begin = max(n for n in range(place) if history[n]["process"] == record["process"])
        history.insert(rng.randrange(begin + 1, place + 1), history.pop(place))


@cache
def _tried(kind: str) -> list[tuple[list[Record], set[str]]]:
    """Histories of a kind and the models that they obey."""
    registers, lost = kind.endswith("registers"), 0.3 if kind.startswith("lost") else 0.0
    made = [small(seed, registers, lost) for seed in range(ENOUGH)]
    return [(history, by_order(history)) for history in made]


def mistakes() -> Iterator[str]:
    """What the checkers get wrong: golden histories, and random ones against all orders.

    Of lists whose keys are read at the end everything is known, so that the checker must neither miss nor invent
    anything; of registers, and where outcomes are unknown, it must not invent.
    """
    yield from _golden_mistakes()
    with hubs_everywhere():
        yield from _golden_mistakes()
    for kind in ("lists", "registers", "lost lists", "lost registers"):
        checker = "elle-rw-register" if kind.endswith("registers") else "elle-list-append"
        for number, (history, obeyed) in enumerate(_tried(kind)):
            with hubs_everywhere() if number % 2 else nullcontext():
                for model in MODELS:
                    found = verdict(checker, history, model)
                    if found.status is not Status.PASS and model in obeyed and found.measures.get("reads"):
                        yield f"{kind} {number}: {model} holds, but {found}"
                    if found.status is Status.PASS and model not in obeyed and kind == "lists":
                        yield f"{kind} {number}: {model} does not hold"


def _golden_mistakes() -> Iterator[str]:
    for checker, texts in TEXTS.items():
        for name, text in texts.items():
            for model in ("strict-serializable", "snapshot-isolation", "read-committed"):
                found = verdict(checker, records(text), model)
                kinds = {anomaly.kind for anomaly in found.anomalies}
                expected = KINDS[checker].get(name, set()) & models.ruled_out(model)
                if checker == "elle-rw-register" and model != "strict-serializable":
                    expected &= kinds  # what is inferred depends on the model
                if kinds != expected or (found.status is Status.PASS) != (not expected):
                    yield f"{checker} {name} {model}: {found.status} {sorted(kinds)} {found.reason}"


@contextmanager
def hubs_everywhere() -> Iterator[None]:
    """Many-to-many edges go through hubs, however few they are."""
    usual, graph.DIRECT = graph.DIRECT, 0
    try:
        yield
    finally:
        graph.DIRECT = usual
