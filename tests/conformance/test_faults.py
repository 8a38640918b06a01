"""Every registered fault leaves the cluster as it found it, with a receipt that says what it did."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from faults.port import Capability, Receipt
from faults.registry import FAULTS, load_fault, registered
from tests.fault_cluster import VirtualCluster

REQUIRED: dict[str, dict[str, Any]] = {  # parameters without a default
    "delay-schedule": {"delays": [{"views": [1, 99], "kinds": ["VOTE"], "links": ["n0>n1", "n1>n0"], "delay_ms": 50}]},
    "latency": {"delay_ms": 30},
    "loss": {"probability": 0.2},
    "bandwidth": {"rate_kbit": 100},
    "chaos": {"most_ms": 500, "loss": 0.1},
    "clock-skew": {"skew_ms": 300},
    "message-delay": {"high_ms": 100},
    "round-partition": {"rounds": [{"view": 5, "groups": [["n0", "n1"], ["n2"]]}]},
    "slow-disk": {"sync_ms": 20},
}


@pytest.mark.parametrize("use", registered(FAULTS))
async def test_it_heals_and_its_receipt_is_not_empty(use: str) -> None:
    cluster = VirtualCluster()
    assert cluster.untouched()
    async with load_fault(use, REQUIRED.get(use, {})).inject(cluster, Random(7)) as receipt:
        assert not cluster.untouched()
        assert receipt.fault == use and receipt.healed == 0
        await cluster.sleep(3)
    assert cluster.untouched()
    assert receipt.bit and receipt.heal_verified and receipt.evidence
    assert receipt.targets and receipt.matched > 0 and receipt.changed + receipt.dropped > 0
    assert 0 <= receipt.injected < receipt.healed and receipt.layer


@pytest.mark.parametrize("use", registered(FAULTS))
async def test_one_seed_gives_one_choice_of_victims(use: str) -> None:
    async def once() -> Receipt:
        cluster = VirtualCluster()
        async with load_fault(use, REQUIRED.get(use, {})).inject(cluster, Random(3)) as receipt:
            await cluster.sleep(1)
        return receipt

    assert await once() == await once()


@pytest.mark.parametrize("use", registered(FAULTS))
def test_it_says_what_it_needs_and_refuses_what_it_does_not_know(use: str) -> None:
    fault = load_fault(use, REQUIRED.get(use, {}))
    assert fault.needs and fault.needs <= frozenset(Capability)
    with pytest.raises(ValueError, match="no_such_parameter"):
        load_fault(use, {**REQUIRED.get(use, {}), "no_such_parameter": 1})
