"""Power, disk and clock faults against a cluster that can be planted to do nothing, or to stay (teeth.md I5, I6)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from faults.port import Receipt
from faults.registry import load_fault
from tests.fault_cluster import MeasuredCluster, VirtualCluster


async def run(cluster: VirtualCluster, use: str, **parameters: Any) -> Receipt:
    async with load_fault(use, parameters).inject(cluster, Random(1)) as receipt:
        await cluster.sleep(2)
    return receipt


# ---------------------------------------------------------------- power
async def test_a_power_loss_says_what_was_lost_and_sees_the_node_come_back() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "power-loss", victims=["n2"])
    assert receipt.bit and receipt.heal_verified and cluster.calls == ["kill n2", "start n2"]
    assert receipt.dropped == 3 and "3 records lost" in receipt.evidence and cluster.untouched()
    assert "0 records lost" in (await run(cluster, "power-loss", victims=["n2"])).evidence  # a true word about nothing


async def test_a_power_loss_that_leaves_the_node_up_does_not_bite() -> None:
    cluster = VirtualCluster()
    cluster.kill_works = False
    receipt = await run(cluster, "power-loss", victims=["n2"], verify_s=1.0)
    assert not receipt.bit and not receipt.heal_verified


async def test_the_power_goes_on_a_node_that_a_crash_has_taken_down_already() -> None:
    cluster = VirtualCluster()
    crash, power = load_fault("crash", {"victims": ["n2"]}), load_fault("power-loss", {"victims": ["n2"]})
    async with crash.inject(cluster, Random(1)), power.inject(cluster, Random(1)) as inner:
        await cluster.sleep(1)
        assert cluster.nodes["n2"].unsynced == 0
    assert inner.dropped == 3 and cluster.untouched() and cluster.calls.count("start n2") == 1


# ---------------------------------------------------------------- disks
async def test_a_slow_disk_is_measured_and_seen_to_heal() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "slow-disk", sync_ms=40, victims=["n1", "n2"])
    assert receipt.bit and receipt.heal_verified and "n1 40.0 ms" in receipt.evidence and cluster.untouched()
    cluster.disks_work = False
    receipt = await run(cluster, "slow-disk", sync_ms=40, victims=["n1"])
    assert not receipt.bit and "NOT slow: n1" in receipt.evidence


async def test_a_full_disk_is_felt_and_the_node_started_again() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "disk-full", victims=["n1", "n2"])
    assert receipt.bit and receipt.heal_verified and cluster.untouched()
    assert "n1, n2 stopped for it" in receipt.evidence and "2 disks have room again" in receipt.evidence
    assert cluster.calls == ["start n1", "start n2"]


async def test_a_disk_with_room_does_not_bite_and_one_that_stays_full_is_not_healed() -> None:
    cluster = VirtualCluster()
    cluster.disks_work = False
    receipt = await run(cluster, "disk-full", victims=["n1"])
    assert not receipt.bit and "NOT full: n1" in receipt.evidence
    cluster = VirtualCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "disk-full", victims=["n1"], verify_s=2.0)
    assert receipt.bit and not receipt.heal_verified and "NOT healed" in receipt.evidence
    cluster = VirtualCluster()
    cluster.start_works = False
    receipt = await run(cluster, "disk-full", victims=["n1"], verify_s=2.0)
    assert not receipt.heal_verified and "n1: port in use" in receipt.evidence


async def test_a_node_that_another_fault_holds_down_is_left_to_that_fault() -> None:
    cluster = VirtualCluster()
    full, crash = load_fault("disk-full", {"victims": ["n1"]}), load_fault("crash", {"victims": ["n1"]})
    async with crash.inject(cluster, Random(1)):
        async with full.inject(cluster, Random(1)):
            await cluster.sleep(1)
        assert not cluster.nodes["n1"].up
    assert cluster.untouched()


async def test_a_disk_that_stays_slow_is_not_healed() -> None:
    cluster = VirtualCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "slow-disk", sync_ms=40, victims=["n1"], verify_s=2.0)
    assert receipt.bit and not receipt.heal_verified and "NOT healed" in receipt.evidence


async def test_the_slower_of_two_faults_counts_and_the_usual_time_comes_back() -> None:
    cluster = VirtualCluster()
    await cluster.slow_disk("n1", 5.0)  # as the scenario has it
    slow = [load_fault("slow-disk", {"sync_ms": ms, "victims": ["n1"]}) for ms in (40, 90)]
    async with slow[0].inject(cluster, Random(1)) as outer:
        async with slow[1].inject(cluster, Random(1)) as inner:
            assert cluster.nodes["n1"].sync_ms == 90
            await cluster.sleep(1)
        assert cluster.nodes["n1"].sync_ms == 40 and inner.bit
        await cluster.sleep(1)
    assert cluster.nodes["n1"].sync_ms == 5 and outer.bit and outer.heal_verified


# ---------------------------------------------------------------- clocks
async def test_a_skewed_clock_is_read_and_seen_to_heal() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "clock-skew", skew_ms=-200, victims=["n1"])
    assert receipt.bit and receipt.heal_verified and "n1 -200.0 ms" in receipt.evidence and cluster.untouched()
    cluster.clocks_work = False
    assert not (await run(cluster, "clock-skew", skew_ms=-200, victims=["n1"])).bit


async def test_a_clock_that_stays_off_is_not_healed() -> None:
    cluster = VirtualCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "clock-skew", drift_ppm=50_000, victims=["n1"], verify_s=2.0)
    assert receipt.bit and not receipt.heal_verified and "NOT healed" in receipt.evidence


async def test_skews_of_two_faults_add_up_and_come_off_one_by_one() -> None:
    cluster = VirtualCluster()
    skews = [load_fault("clock-skew", {"skew_ms": ms, "victims": ["n1"]}) for ms in (100, 250)]
    async with skews[0].inject(cluster, Random(1)) as outer:
        async with skews[1].inject(cluster, Random(1)) as inner:
            assert cluster.nodes["n1"].skew_ms == 350
            await cluster.sleep(1)
        assert cluster.nodes["n1"].skew_ms == 100 and inner.bit
        await cluster.sleep(1)
    assert outer.bit and outer.heal_verified and cluster.untouched()


# ---------------------------------------------------------------- shapes, where they can be measured
async def test_a_rate_is_measured_where_it_can_be() -> None:
    cluster = MeasuredCluster()
    receipt = await run(cluster, "bandwidth", rate_kbit=800)
    assert receipt.bit and receipt.heal_verified and "5.0 ms before, 55.0 ms during" in receipt.evidence
    cluster.shape_works = False
    assert not (await run(cluster, "bandwidth", rate_kbit=800)).bit


async def test_a_rate_limit_that_stays_is_not_healed() -> None:
    cluster = MeasuredCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "bandwidth", rate_kbit=800, verify_s=1.0)
    assert receipt.bit and not receipt.heal_verified and "still slow" in receipt.evidence


async def test_losses_that_go_on_are_not_healed() -> None:
    cluster = VirtualCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "loss", probability=0.2, verify_s=2.0)
    assert receipt.bit and not receipt.heal_verified and "more packets were lost" in receipt.evidence


@pytest.mark.parametrize(
    ("use", "parameters", "words"),
    [
        ("power-loss", {"victims": 3}, ["victims", "3"]),
        ("slow-disk", {}, ["sync_ms", "missing"]),
        ("slow-disk", {"sync_ms": 0}, ["sync_ms", "0"]),
        ("clock-skew", {}, ["skew_ms", "drift_ppm"]),
        ("clock-skew", {"skew_ms": 1e9}, ["skew_ms", "60000"]),
        ("clock-skew", {"drift_ppm": -600_000}, ["drift_ppm", "-600000"]),
    ],
)
def test_bad_parameters_are_refused_by_name(use: str, parameters: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        load_fault(use, parameters)
    assert all(word in str(raised.value) for word in words), raised.value
