"""Random histories: valid ones pass, a planted anomaly is found, and what carries no meaning changes nothing."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.bench.transactions import Load, Record, simulate
from results.verdict import Status, Verdict
from tests.elle_oracle import by_order, small, verdict

CHECKERS = ("elle-list-append", "elle-rw-register")
SEEDS = st.integers(0, 10**9)


def loads(registers: bool) -> st.SearchStrategy[Load]:
    return st.builds(
        Load, st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.sampled_from((2, 8, 100)), st.integers(1, 5),
        st.sampled_from((0.2, 0.5, 0.8)), st.just(registers), st.sampled_from((0.0, 0.3)), st.sampled_from((0.0, 0.3)),
    )  # fmt: skip


def gist(found: Verdict) -> tuple[Status, int, Any]:
    return found.status, found.examined, found.measures.get("kinds")


@pytest.mark.parametrize("checker", CHECKERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=SEEDS, final=st.booleans())
def test_valid_histories_pass(checker: str, data: st.DataObject, seed: int, final: bool) -> None:
    shape = data.draw(loads(checker == "elle-rw-register"))
    found = verdict(checker, list(simulate(Random(seed), shape, final)))
    assert found.status is not Status.FAIL, found
    assert found.status is Status.PASS or "no transaction that ended ok" in found.reason


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, model=st.sampled_from(("serializable", "strong-session-serializable", "strict-serializable")))
@example(seed=44733, model="serializable")  # no transaction that ended ok read anything: that is no pass
def test_of_lists_the_verdict_is_that_of_all_orders(seed: int, model: str) -> None:
    history = small(seed, registers=False)
    found = verdict("elle-list-append", history, model)
    passed = Status.PASS if found.measures["reads"] else Status.UNKNOWN
    assert found.status is (passed if model in by_order(history) else Status.FAIL)


@pytest.mark.parametrize("checker", CHECKERS)
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, lost=st.sampled_from((0.0, 0.4)), model=st.sampled_from(("serializable", "strict-serializable")))
def test_a_violation_is_never_invented(checker: str, seed: int, lost: float, model: str) -> None:
    history = small(seed, checker == "elle-rw-register", lost)
    if verdict(checker, history, model).status is Status.FAIL:
        assert model not in by_order(history)


# ---------------------------------------------------------------- planted anomalies
def _records(kind: str) -> list[Record]:
    """A history that shows an anomaly, on keys and under processes of its own."""
    planted = copy.deepcopy(PLANTED[kind])
    for record in planted:
        record["process"] += 1_000_000
        for step in record["value"]:
            step[1] += 1_000_000
    return planted


def _txn(process: int, *steps: tuple[str, int, Any]) -> tuple[Record, Record]:
    """Invocation and end; a read's third part is what it saw."""
    asked = [[verb, key, None if verb == "r" else value] for verb, key, value in steps]
    common = {"process": process, "f": "txn"}
    return common | {"type": "invoke", "value": asked}, common | {"type": "ok", "value": [list(step) for step in steps]}


def _together(*transactions: tuple[Record, Record]) -> list[Record]:
    return [begin for begin, _ in transactions] + [end for _, end in transactions]


def _one_by_one(*transactions: tuple[Record, Record]) -> list[Record]:
    return [record for transaction in transactions for record in transaction]


PLANTED: dict[str, list[Record]] = {
    "garbage-read": _one_by_one(_txn(0, ("r", 1, [5]))),
    "G0": [
        *_together(_txn(0, ("append", 1, 1), ("append", 2, 1)), _txn(1, ("append", 1, 2), ("append", 2, 2))),
        *_txn(2, ("r", 1, [1, 2]), ("r", 2, [2, 1])),
    ],
    "G1c": _together(_txn(0, ("append", 1, 1), ("r", 2, [1])), _txn(1, ("append", 2, 1), ("r", 1, [1]))),
    "G-single": _together(_txn(0, ("append", 1, 1), ("append", 2, 1)), _txn(1, ("r", 1, [1]), ("r", 2, []))),
    "G2-item": _together(_txn(0, ("r", 1, []), ("append", 2, 1)), _txn(1, ("r", 2, []), ("append", 1, 1))),
    "G-single-realtime": _one_by_one(_txn(0, ("append", 1, 1)), _txn(1, ("r", 1, []))),
    "G1c-realtime": _one_by_one(_txn(0, ("r", 1, [1])), _txn(1, ("append", 1, 1))),
    "G-single-process": _one_by_one(_txn(0, ("append", 1, 1)), _txn(0, ("r", 1, []))),
    "lost-update": _together(_txn(0, ("r", 1, []), ("append", 1, 1)), _txn(1, ("r", 1, []), ("append", 1, 2))),
    "internal": _one_by_one(_txn(0, ("append", 1, 1), ("r", 1, []))),
    "incompatible-order": _one_by_one(
        *(_txn(value, ("append", 1, value)) for value in (1, 2)), _txn(3, ("r", 1, [1, 2])), _txn(4, ("r", 1, [2]))
    ),
}


def _merged(rng: Random, base: list[Record], planted: list[Record]) -> list[Record]:
    """Both in their own orders, interleaved at random."""
    places = sorted(rng.randrange(len(base) + 1) for _ in planted)
    whole: list[Record] = []
    for number, record in enumerate(base):
        while places and places[0] <= number:
            whole.append(planted[len(planted) - len(places)])
            places.pop(0)
        whole.append(record)
    whole += planted[len(planted) - len(places) :] if places else []
    return [record | {"index": index, "time": index * 1000} for index, record in enumerate(whole)]


@pytest.mark.parametrize("kind", PLANTED)
@settings(max_examples=15, deadline=None)
@given(shape=loads(registers=False), seed=SEEDS)
def test_a_planted_anomaly_is_found(kind: str, shape: Load, seed: int) -> None:
    rng = Random(seed)
    base = list(simulate(rng, shape))
    found = verdict("elle-list-append", _merged(rng, base, _records(kind)))
    assert found.status is Status.FAIL
    assert kind in {anomaly.kind for anomaly in found.anomalies}


# ---------------------------------------------------------------- what carries no meaning
@pytest.mark.parametrize("checker", CHECKERS)
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, lost=st.sampled_from((0.0, 0.4)))
def test_the_order_of_lines_means_nothing_where_indices_do(checker: str, seed: int, lost: float) -> None:
    history = small(seed, checker == "elle-rw-register", lost)
    shuffled = Random(seed).sample(history, len(history))
    assert gist(verdict(checker, shuffled)) == gist(verdict(checker, history))


@pytest.mark.parametrize("checker", CHECKERS)
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_neighbouring_beginnings_and_neighbouring_ends_may_change_places(checker: str, seed: int) -> None:
    history = small(seed, checker == "elle-rw-register")
    before, rng = gist(verdict(checker, history)), Random(seed)
    changed = list(history)
    for _ in range(20):
        at = rng.randrange(len(changed) - 1)
        first, second = changed[at], changed[at + 1]
        if (first["type"] == "invoke") == (second["type"] == "invoke") and first["process"] != second["process"]:
            changed[at], changed[at + 1] = second, first
    renumbered = [record | {"index": index, "time": index * 1000} for index, record in enumerate(changed)]
    assert gist(verdict(checker, renumbered))[:2] == before[:2]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_names_of_keys_values_and_processes_mean_nothing(seed: int) -> None:
    """And what is no small number takes the slow way through the loader."""
    history = small(seed, registers=False)

    def named(value: Any) -> Any:
        return [f"v{v}" for v in value] if isinstance(value, list) else None if value is None else f"v{value}"

    renamed = [
        record
        | {
            "process": f"client {record['process']}",
            "value": [[verb, f"k{key}", named(value)] for verb, key, value in record["value"]],
        }
        for record in history
    ]
    assert gist(verdict("elle-list-append", renamed)) == gist(verdict("elle-list-append", history))
