from __future__ import annotations

from random import Random
from typing import Any

import pytest

from faults.observe import combined
from faults.port import Receipt, Shape
from faults.registry import load_fault
from tests.fault_cluster import MeasuredCluster, VirtualCluster


async def run(cluster: VirtualCluster, use: str, **parameters: Any) -> Receipt:
    async with load_fault(use, parameters).inject(cluster, Random(1)) as receipt:
        await cluster.sleep(2)
    return receipt


# ---------------------------------------------------------------- partition
async def test_a_partition_bites_heals_and_says_so() -> None:
    cluster = VirtualCluster()
    async with load_fault("partition", {"topology": "isolate", "victims": ["n1"]}).inject(
        cluster, Random(1)
    ) as receipt:
        assert all(cluster.cuts[link] for link in (("n1", "n0"), ("g0", "n1")))
        await cluster.sleep(2)
    assert receipt.bit and receipt.heal_verified and receipt.dropped > 0 and receipt.matched == 14
    assert "n1>n0" in receipt.targets and cluster.untouched()
    assert receipt.injected < receipt.healed


async def test_groups_leave_the_others_connected_to_all() -> None:
    cluster = VirtualCluster()
    async with load_fault("partition", {"groups": [["n0", "n1"], ["n2", "n3"]]}).inject(cluster, Random(1)):
        assert all({a, b} & {"n0", "n1"} and {a, b} & {"n2", "n3"} for a, b in cluster.cuts)
        assert len(cluster.cuts) == 8


@pytest.mark.parametrize("topology", ["halves", "bridge", "ring", "isolate", "one-way"])
async def test_every_topology(topology: str) -> None:
    receipt = await run(cluster := VirtualCluster(), "partition", topology=topology)
    assert receipt.bit and receipt.heal_verified and cluster.untouched()


async def test_the_leader_is_found_at_injection_time() -> None:
    receipt = await run(VirtualCluster(), "partition", topology="isolate", victims="leader")  # view 4: leaders[4 % 3]
    assert receipt.targets[0].startswith(("g0>n1", "n0>n1"))


async def test_a_cut_that_does_nothing_does_not_bite() -> None:  # I5, I6
    cluster = VirtualCluster()
    cluster.cut_works = False
    receipt = await run(cluster, "partition")
    assert not receipt.bit and "leaked" in receipt.evidence


async def test_cutting_links_that_never_worked_does_not_bite() -> None:
    cluster = VirtualCluster()
    cluster.forget()
    receipt = await run(cluster, "partition")
    assert not receipt.bit and "ever arrived" in receipt.evidence


async def test_a_heal_that_does_not_happen_is_not_verified() -> None:  # I5
    cluster = VirtualCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "partition", verify_s=2.0)
    assert receipt.bit and not receipt.heal_verified and "NOT healed" in receipt.evidence


async def test_two_partitions_of_one_link_compose() -> None:
    cluster = VirtualCluster()
    fault = load_fault("partition", {"topology": "isolate", "victims": ["n1"]})
    async with fault.inject(cluster, Random(1)) as outer:
        async with fault.inject(cluster, Random(1)) as inner:
            await cluster.sleep(1)
        assert cluster.cuts["n1", "n2"] == 1  # the outer cut still holds
        assert inner.bit and inner.heal_verified and "still held by another fault" in inner.evidence
        await cluster.sleep(1)
    assert outer.bit and outer.heal_verified and cluster.untouched()


async def test_an_exception_in_the_window_heals_and_passes_on() -> None:
    cluster = VirtualCluster()
    for use in ("partition", "crash", "pause", "latency"):
        parameters = {"delay_ms": 5} if use == "latency" else {}
        with pytest.raises(KeyError):
            async with load_fault(use, parameters).inject(cluster, Random(1)) as receipt:
                raise KeyError("the run was interrupted")
        assert cluster.untouched() and not receipt.heal_verified


# ---------------------------------------------------------------- shapes
async def test_shapes_of_several_faults_add_up_and_come_off_one_by_one() -> None:  # "only the last one held"
    cluster = VirtualCluster()
    link = ("n0", "n1")
    async with load_fault("latency", {"delay_ms": 40}).inject(cluster, Random(1)):
        async with load_fault("loss", {"probability": 0.1, "victims": ["n0"]}).inject(cluster, Random(1)):
            assert cluster.shapes[link] == combined([Shape(delay_ms=40), Shape(loss=0.1)])
            assert cluster.shapes["n2", "n3"] == Shape(delay_ms=40)
        assert cluster.shapes[link] == Shape(delay_ms=40)
    assert cluster.untouched()


def test_combined_shapes() -> None:
    both = combined([Shape(10, 1, 0.5, 100), Shape(5, 2, 0.5, 0)])
    assert both == Shape(15, 3, 0.75, 100)


async def test_latency_without_a_probe_says_that_it_was_not_measured() -> None:
    receipt = await run(VirtualCluster(), "latency", delay_ms=40, jitter_ms=5)
    assert receipt.bit and receipt.changed > 0 and receipt.heal_verified
    assert "not measured" in receipt.evidence


async def test_latency_is_measured_where_it_can_be() -> None:
    receipt = await run(cluster := MeasuredCluster(), "latency", profile="gcp-5", victims=["n1"])
    assert receipt.bit and "ms before" in receipt.evidence and cluster.untouched()
    cluster.shape_works = False
    receipt = await run(cluster, "latency", delay_ms=40)
    assert not receipt.bit and "NOT delayed" in receipt.evidence


async def test_latency_that_stays_is_not_healed() -> None:
    cluster = MeasuredCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "latency", delay_ms=40, verify_s=1.0)
    assert not receipt.heal_verified and "still slow" in receipt.evidence


async def test_loss_needs_losses_or_enough_traffic() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "loss", probability=0.2)
    assert receipt.bit and receipt.dropped > 0
    cluster.counts_losses = False
    receipt = await run(cluster, "loss", probability=0.2)
    assert receipt.bit and "must be expected" in receipt.evidence
    assert not (await run(cluster, "loss", probability=0.001)).bit


async def test_bandwidth() -> None:
    receipt = await run(cluster := VirtualCluster(), "bandwidth", rate_kbit=64, victims="third")
    assert receipt.bit and receipt.heal_verified and cluster.untouched()


# ---------------------------------------------------------------- processes
async def test_crash_and_restart() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "crash", victims=["n2"])
    assert receipt.bit and receipt.heal_verified and cluster.calls == ["kill n2", "start n2"]
    assert "incarnation 1 -> 2" in receipt.evidence and receipt.targets == ("n2",)


async def test_a_kill_that_does_nothing_does_not_bite() -> None:
    cluster = VirtualCluster()
    cluster.kill_works = False
    receipt = await run(cluster, "crash", victims=["n2"], verify_s=1.0)
    assert not receipt.bit and not receipt.heal_verified and "although killed" in receipt.evidence


async def test_a_node_that_does_not_come_back_is_not_healed() -> None:
    cluster = VirtualCluster()
    cluster.start_works = False
    receipt = await run(cluster, "crash", victims=["n2", "n3"], verify_s=1.0)
    assert not receipt.heal_verified and "port in use" in receipt.evidence
    assert cluster.calls.count("start n3") == 1  # one failure does not keep the other one down


async def test_disk_loss_wipes_and_sees_that_the_disk_is_gone() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "disk-loss", victims=["n2"])
    assert receipt.bit and receipt.heal_verified and cluster.calls == ["kill n2", "wipe n2", "start n2"]
    cluster.wipe_works = False
    receipt = await run(cluster, "disk-loss", victims=["n3"])
    assert not receipt.bit and "still there" in receipt.evidence


async def test_overlapping_crashes_start_the_node_once() -> None:
    cluster = VirtualCluster()
    fault = load_fault("crash", {"victims": ["n2"]})
    async with fault.inject(cluster, Random(1)) as outer:
        async with fault.inject(cluster, Random(1)) as inner:
            await cluster.sleep(1)
        assert not cluster.nodes["n2"].up and "still held down" in inner.evidence
        await cluster.sleep(1)
    assert outer.bit and outer.heal_verified and cluster.calls == ["kill n2", "start n2"]


async def test_a_pause_freezes_and_thaws() -> None:
    cluster = VirtualCluster()
    receipt = await run(cluster, "pause", victims=["n4"])
    assert receipt.bit and receipt.heal_verified and cluster.untouched()
    cluster.pause_works = False
    assert not (await run(cluster, "pause", victims=["n4"])).bit


async def test_a_pause_that_stays_is_not_healed() -> None:
    cluster = VirtualCluster()
    cluster.heal_works = False
    receipt = await run(cluster, "pause", victims=["n4"], verify_s=1.0)
    assert not receipt.heal_verified and "NOT thawed" in receipt.evidence


async def test_a_crash_inside_a_partition_does_not_spoil_its_receipt() -> None:
    cluster = VirtualCluster()
    partition, crash = load_fault("partition", {"topology": "halves"}), load_fault("crash", {"victims": ["n2"]})
    async with partition.inject(cluster, Random(1)) as cut, crash.inject(cluster, Random(1)) as outage:
        await cluster.sleep(1)
    assert cut.bit and cut.heal_verified and outage.bit and outage.heal_verified


# ---------------------------------------------------------------- parameters
@pytest.mark.parametrize(
    ("use", "parameters", "words"),
    [
        ("partition", {"topology": "star"}, ["topology", "star", "halves"]),
        ("partition", {"groups": [["n0"]]}, ["groups", "disjoint"]),
        ("partition", {"topology": "halves", "groups": [["n0"], ["n1"]]}, ["groups", "topology"]),
        ("partition", {"topology": "one-way", "direction": "up"}, ["direction", "up", "out"]),
        ("partition", {"victim": "one"}, ["victim", "victims"]),
        ("partition", {"gateways": 1}, ["gateways", "true or false"]),
        ("latency", {}, ["delay_ms", "profile"]),
        ("latency", {"delay_ms": -1}, ["delay_ms", "-1"]),
        ("latency", {"profile": "gcp"}, ["gcp", "uniform:<ms>"]),
        ("loss", {"probability": 1.5}, ["probability", "1.5"]),
        ("loss", {}, ["probability", "missing"]),
        ("bandwidth", {"rate_kbit": True}, ["rate_kbit", "True"]),
        ("crash", {"victims": 3}, ["victims", "3", "minority"]),
        ("crahs", {}, ["crahs", "crash", "partition"]),
    ],
)
def test_bad_parameters_are_refused_with_the_key_the_value_and_the_choices(
    use: str, parameters: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ValueError) as raised:
        load_fault(use, parameters)
    assert all(word in str(raised.value) for word in words), raised.value


async def test_a_victim_that_is_not_in_the_cluster_is_refused_before_anything_is_touched() -> None:
    cluster = VirtualCluster()
    with pytest.raises(ValueError, match="n99"):
        await run(cluster, "crash", victims=["n99"])
    with pytest.raises(ValueError, match="n99"):
        await run(cluster, "partition", groups=[["n0"], ["n99"]])
    assert not cluster.calls and cluster.untouched()
