"""Zone check, general search and all permutations agree; correct registers pass; planted violations are found."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.linear.calls import registers
from checkers.linear.decide import decide
from checkers.linear.zones import Blocks
from checkers.linearizable import Linearizable
from harness.bench.registers import Load, simulate
from results.history import Operation
from results.verdict import Status
from tests.linear_oracle import AMPLE, arbitrary, by_permutation, by_search, verdict

SEEDS = st.integers(0, 2**32)
LOADS = st.builds(
    Load,
    clients=st.integers(1, 8),
    calls=st.integers(1, 60),
    keys=st.sampled_from([0, 1, 3]),
    values=st.sampled_from([0, 2, 5]),
    reads=st.sampled_from([0.3, 0.6]),
    cas=st.sampled_from([0.0, 0.3]),
    lost=st.sampled_from([0.0, 0.05, 0.3]),
)
ONCE = st.builds(Load, clients=st.integers(2, 6), calls=st.integers(4, 40), lost=st.sampled_from([0.0, 0.1]))


def wrong_read(rng: Random, history: list[Operation]) -> list[Operation]:
    """A random read returns what some other one of the same key returned, or a value that is nobody's."""
    copied = [msgspec.structs.replace(operation) for operation in history]
    reads = [operation for operation in copied if operation.f == "read" and operation.type == "ok"]
    if reads:
        rng.choice(reads).value = rng.choice([*(other.value for other in reads), -1])
    return copied


# ---------------------------------------------------------------- correct registers
@settings(max_examples=150, deadline=None)
@given(load=LOADS, seed=SEEDS)
def test_correct_registers_pass(load: Load, seed: int) -> None:
    history = simulate(Random(seed), load)
    found = Linearizable().over(history)
    assert found.status is Status.PASS or (found.status is Status.UNKNOWN and not found.examined), found
    assert by_search(history)


def test_one_seed_one_history() -> None:
    load = Load(5, 200, 3, 4, 0.4, 0.2, 0.1)
    assert simulate(Random(7), load) == simulate(Random(7), load) != simulate(Random(8), load)


# ---------------------------------------------------------------- agreement
@settings(max_examples=300, deadline=None)
@given(seed=SEEDS, calls=st.integers(1, 6), unique=st.booleans(), cas=st.booleans(), clients=st.integers(1, 4))
def test_all_permutations_agree(seed: int, calls: int, unique: bool, cas: bool, clients: int) -> None:
    history = arbitrary(Random(seed), calls, unique, cas, clients)
    expected = by_permutation(history)
    assert verdict(history) == expected
    assert by_search(history) == expected


def test_the_arbitrary_histories_are_of_both_kinds() -> None:
    """Otherwise agreement would show nothing."""
    for unique in (False, True):
        for cas in (False, True):
            found = [by_permutation(arbitrary(Random(seed), 5, unique, cas)) for seed in range(100)]
            assert 20 <= sum(found) <= 80, (unique, cas, sum(found))


@settings(max_examples=150, deadline=None)
@given(load=ONCE, seed=SEEDS)
def test_zones_and_search_agree(load: Load, seed: int) -> None:
    rng = Random(seed)
    correct = simulate(rng, load)
    for history in (correct, wrong_read(rng, correct)):
        for register in registers(history):
            decision = decide(register.calls, len(register.values), AMPLE)
            assert decision.by == "zones" and Blocks(register.calls, len(register.values)).complete
            assert (decision.stop is None) == by_search(history)


def test_wrong_reads_are_mostly_violations() -> None:
    found = []
    for seed in range(60):
        rng = Random(seed)
        history = wrong_read(rng, simulate(rng, Load(4, 40)))
        found.append(verdict(history))
    assert 5 <= sum(found) <= 40


@settings(max_examples=100, deadline=None)
@given(load=ONCE, seed=SEEDS)
def test_the_stop_is_the_first_prefix_without_an_order(load: Load, seed: int) -> None:
    """And both algorithms find the same one."""
    rng = Random(seed)
    history = wrong_read(rng, simulate(rng, load))
    for register in registers(history):
        stop = decide(register.calls, len(register.values), AMPLE).stop
        if stop is None:
            continue
        end = register.calls[stop.call].end
        assert not by_search(history[: end + 1]) and by_search(history[:end])


# ---------------------------------------------------------------- order of records
@settings(max_examples=80, deadline=None)
@given(load=LOADS, seed=SEEDS, spoil=st.booleans())
def test_unrelated_records_may_change_places(load: Load, seed: int, spoil: bool) -> None:
    """Neighbours on different keys, or of which neither ends what could precede the other: the verdict stays."""
    rng = Random(seed)
    history = simulate(rng, load)
    if spoil and not load.keys:
        history = wrong_read(rng, history)
    shuffled = [msgspec.structs.replace(operation) for operation in history]
    for _ in range(4 * len(shuffled)):
        at = rng.randrange(max(len(shuffled) - 1, 1))
        pair = shuffled[at : at + 2]
        if len(pair) == 2 and _unrelated(*pair, keyed=bool(load.keys)):
            shuffled[at : at + 2] = pair[::-1]
    for index, operation in enumerate(shuffled):
        operation.index = index
    first, second = Linearizable().over(history), Linearizable().over(shuffled)
    assert (first.status, first.examined) == (second.status, second.examined)
    assert len(first.anomalies) == len(second.anomalies)


def _unrelated(one: Operation, other: Operation, keyed: bool) -> bool:
    if one.process == other.process:
        return False
    return (keyed and one.value[0] != other.value[0]) or (one.type == "invoke") == (other.type == "invoke")


# ---------------------------------------------------------------- explanation
@pytest.mark.parametrize("values", [0, 4])
@settings(max_examples=80, deadline=None)
@given(seed=SEEDS)
def test_the_order_shown_is_one(values: int, seed: int) -> None:
    """Short histories: the calls placed before the stop are all shown, and follow each other legally in real time."""
    rng = Random(seed)
    history = wrong_read(rng, simulate(rng, Load(4, 24, values=values, cas=0.2 if values else 0.0)))
    (register,) = registers(history)
    stop = decide(register.calls, len(register.values), AMPLE).stop
    if stop is None or not stop.order:
        return
    held = 0
    order = [register.calls[number] for number in stop.order]
    if len({call.leaves for call in order}) > 11:
        return  # only the last twelve blocks are kept
    for place, call in enumerate(order):
        assert call.expects in (-1, held)
        assert all(later.end > call.begin for later in order[place + 1 :])
        held = call.leaves
    end = register.calls[stop.call].end
    assert all(number in stop.order for number, call in enumerate(register.calls) if call.end < end)
