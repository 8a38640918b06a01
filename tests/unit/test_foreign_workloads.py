"""Registers and lists for systems that are not ours: seeded, well-formed, every value new."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import plugins
from harness.targets.port import Operation
from harness.workloads.lists import Lists, RegisterTransactions
from harness.workloads.port import is_foreign
from harness.workloads.registers import Registers

NODES = ("n0", "n1", "n2")
FOREIGN = [name for name, kind in plugins.registered("workloads").items() if is_foreign(kind)]


def operations(name: str, seed: int = 1, count: int = 300, **options: Any) -> list[Operation]:
    traffic = plugins.build("workloads", name, options, NODES, Random(seed))
    return [traffic.next(i % 5) for i in range(count)]


@pytest.mark.parametrize("name", FOREIGN)
def test_equal_seeds_give_equal_operations(name: str) -> None:
    assert operations(name) == operations(name) != operations(name, 2)


@given(st.integers(0, 1000), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(1, 40))
def test_registers_write_every_value_once_and_expect_what_was_written(
    seed: int, reads: float, cas: float, per_key: int
) -> None:
    found = operations("registers", seed, 200, reads=reads, cas=cas, writes_per_key=per_key)
    written: dict[int, list[int]] = {}
    for operation in found:
        key, value = operation.value
        assert operation.observes == (operation.f == "read") == (value is None)
        if operation.f == "cas":
            old, value = value
            assert old in written[key]
        if value is not None:
            written.setdefault(key, []).append(value)
    values = [value for of_key in written.values() for value in of_key]
    assert len(values) == len(set(values))
    assert all(len(of_key) <= per_key for of_key in written.values())


@given(st.integers(0, 1000), st.integers(1, 5), st.floats(0, 1), st.integers(1, 10))
def test_lists_append_every_value_once_and_touch_a_key_once(seed: int, length: int, reads: float, per_key: int) -> None:
    found = operations("lists", seed, 200, max_length=length, reads=reads, changes_per_key=per_key)
    counts: dict[int, int] = {}
    values = []
    for operation in found:
        keys = [key for _, key, _ in operation.value]
        assert 1 <= len(keys) == len(set(keys)) <= length
        assert operation.observes == all(kind == "r" for kind, _, _ in operation.value)
        for kind, key, value in operation.value:
            assert (kind == "append") == (value is not None)
            if value is not None:
                values.append(value)
                counts[key] = counts.get(key, 0) + 1
    assert len(values) == len(set(values)) and all(count <= per_key for count in counts.values())


def test_register_transactions_write() -> None:
    kinds = {kind for op in operations("register-transactions") for kind, _, _ in op.value}
    assert kinds == {"r", "w"} and RegisterTransactions.name != Lists.name


@pytest.mark.parametrize("options", [{"reads": 2.0}, {"reads": 0.6, "cas": 0.6}, {"keys": 0}])
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"reads|keys"):
        Registers(NODES, Random(1), **options)
