"""Keys, values and ranks that are counted through or lie far apart make no difference: tables and searches agree."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.elle_list_append import ElleListAppend
from checkers.elle_rw_register import ElleRwRegister
from harness.bench.transactions import Load, simulate
from results.records import Record
from results.transactions import load

FAR = 10**11
JUDGES: dict[bool, Any] = {False: ElleListAppend, True: ElleRwRegister}


def spread(record: dict[str, Any]) -> dict[str, Any]:
    """The same with keys and values far apart, and times in place of indices."""
    far = [
        [verb, key * FAR, [v * FAR for v in value] if isinstance(value, list) else value and value * FAR]
        for verb, key, value in record["value"]
    ]
    return {**{name: v for name, v in record.items() if name != "index"}, "time": record["index"] * FAR, "value": far}


def records(history: list[dict[str, Any]]) -> list[Record]:
    return msgspec.json.decode(msgspec.json.encode(history), type=list[Record])


def damaged(history: list[dict[str, Any]], rng: Random) -> None:
    """Some reads show an older value, or a shorter or another list."""
    for _ in range(rng.randrange(4)):
        reads = [step for record in rng.sample(history, 40) if record["type"] == "ok" for step in record["value"]]
        shown = [step for step in reads if step[0] == "r" and step[2]]
        if not shown:
            continue
        step = rng.choice(shown)
        if isinstance(step[2], list):
            step[2] = rng.choice([step[2][:-1], step[2][1:], step[2][::-1], [*step[2], step[2][0]]])
        else:
            step[2] = max(1, step[2] - rng.randrange(3))


@pytest.mark.parametrize("registers", [False, True])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_far_apart_is_the_same(registers: bool, seed: int) -> None:
    rng = Random(seed)
    history = [dict(record) for record in simulate(rng, Load(120, registers=registers))]
    damaged(history, rng)
    near, far = (
        JUDGES[registers]().over(load("test", [records(made)])) for made in (history, [spread(r) for r in history])
    )
    assert (near.status, near.examined) == (far.status, far.examined)
    assert [a.kind for a in near.anomalies] == [a.kind for a in far.anomalies]
    for name in ("kinds", "dependencies", "components"):
        assert near.measures.get(name) == far.measures.get(name)
