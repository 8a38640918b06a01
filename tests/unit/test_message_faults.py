"""The message faults against a cluster whose rules can be planted to do nothing, or to stay (teeth.md I5, I6)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from faults.messages import KINDS
from faults.port import Receipt
from faults.registry import load_fault
from tests.fault_cluster import VirtualCluster

EACH: dict[str, dict[str, Any]] = {
    "message-loss": {"probability": 0.5},
    "message-delay": {"low_ms": 20, "high_ms": 100},
    "duplication": {},
    "reordering": {"probability": 0.3},
    "chaos": {"most_ms": 300},
}


async def run(cluster: VirtualCluster, use: str, **parameters: Any) -> Receipt:
    async with load_fault(use, parameters).inject(cluster, Random(1)) as receipt:
        await cluster.sleep(2)
    return receipt


@pytest.mark.parametrize("use", EACH)
async def test_it_bites_heals_and_says_so(use: str) -> None:
    receipt = await run(cluster := VirtualCluster(), use, **EACH[use])
    assert receipt.bit and receipt.heal_verified and cluster.untouched()
    assert "passed unharmed" in receipt.evidence and receipt.changed + receipt.dropped > 0


@pytest.mark.parametrize("use", EACH)
async def test_rules_that_do_nothing_do_not_bite(use: str) -> None:  # I6
    cluster = VirtualCluster()
    cluster.rules_work = False
    assert not (await run(cluster, use, **EACH[use])).bit


@pytest.mark.parametrize("use", EACH)
async def test_rules_that_stay_are_not_healed(use: str) -> None:  # I5
    cluster = VirtualCluster()
    cluster.heal_works = False
    receipt = await run(cluster, use, **EACH[use], verify_s=2.0)
    assert receipt.bit and not receipt.heal_verified and "NOT healed" in receipt.evidence


async def test_rules_that_stay_and_are_not_listed_are_seen_by_what_they_do() -> None:
    class Silent(VirtualCluster):
        async def rules(self) -> tuple[int, ...]:
            return ()

    for use, parameters in EACH.items():
        cluster = Silent()
        cluster.heal_works = False
        receipt = await run(cluster, use, **parameters, verify_s=2.0)
        assert not receipt.heal_verified and "not at all" in receipt.evidence, use


async def test_two_faults_on_the_same_links_answer_for_their_own() -> None:
    cluster = VirtualCluster()
    loss, copies = load_fault("message-loss", {"probability": 0.5}), load_fault("duplication", {})
    async with loss.inject(cluster, Random(1)) as outer:
        async with copies.inject(cluster, Random(1)) as inner:
            await cluster.sleep(2)
        assert inner.bit and inner.heal_verified and "another fault" in inner.evidence
        await cluster.sleep(2)
    assert outer.bit and outer.heal_verified and cluster.untouched()


async def test_an_exception_in_the_window_takes_the_rules_away_and_passes_on() -> None:
    cluster = VirtualCluster()
    for use, parameters in EACH.items():
        with pytest.raises(KeyError):
            async with load_fault(use, parameters).inject(cluster, Random(1)) as receipt:
                raise KeyError("the run was interrupted")
        assert cluster.untouched() and not receipt.heal_verified


@pytest.mark.parametrize(
    ("aim", "count", "one"),
    [
        ({}, 56, "g0>n0"),
        ({"victims": ["n2"]}, 14, "n2>g0"),
        ({"links": ["n0>n1", "n3>n1"]}, 2, "n3>n1"),
        ({"senders": ["n0", "n1"]}, 14, "n1>n0"),
        ({"receivers": "gateways"}, 7, "n6>g0"),
        ({"senders": ["n0", "n1"], "receivers": ["n1", "n2"]}, 3, "n0>n2"),
    ],
)
async def test_links_are_chosen_by_victims_one_by_one_or_by_their_ends(
    aim: dict[str, Any], count: int, one: str
) -> None:
    receipt = await run(VirtualCluster(), "message-loss", **aim)
    assert len(receipt.targets) == receipt.matched == count and one in receipt.targets
    assert receipt.bit and receipt.heal_verified


async def test_a_leader_as_sender_is_found_at_injection_time() -> None:
    receipt = await run(VirtualCluster(), "message-delay", high_ms=10, senders="leader")  # view 4: leaders[4 % 3]
    assert {target.split(">")[0] for target in receipt.targets} == {"n1"}


async def test_rules_say_kind_view_and_have_draws_of_their_own() -> None:
    cluster = VirtualCluster()
    fault = load_fault("message-loss", {"kinds": ["VOTE"], "views": [3, 9]})
    async with fault.inject(cluster, Random(1)), fault.inject(cluster, Random(2)):
        rules = [held.rule for held in cluster.in_force.values()]
        assert [(rule.kinds, rule.views) for rule in rules] == [(("VOTE",), (3, 9))] * 2
        assert len({rule.salt for rule in rules}) == 2 and all(rule.salt for rule in rules)


@pytest.mark.parametrize(
    ("use", "parameters", "words"),
    [
        ("message-loss", {"probability": 0}, ["probability", "0"]),
        ("message-loss", {"kinds": ["VOTES"]}, ["kinds", "VOTES", "VOTE", "QC"]),
        ("message-loss", {"kinds": "VOTE"}, ["kinds", "list"]),
        ("message-loss", {"views": [9, 3]}, ["views", "9", "first"]),
        ("message-loss", {"views": 3}, ["views", "3"]),
        ("message-loss", {"links": ["n0-n1"]}, ["links", "n0-n1", "n0>n1"]),
        ("message-loss", {"links": ["n0>n0"]}, ["links", "n0>n0"]),
        ("message-loss", {"links": []}, ["links", "list"]),
        ("message-loss", {"links": ["n0>n1"], "victims": "one"}, ["links", "victims"]),
        ("message-loss", {"senders": ["n0"], "victims": "one"}, ["senders", "victims"]),
        ("message-loss", {"receivers": 4}, ["receivers", "4"]),
        ("message-delay", {}, ["high_ms", "missing"]),
        ("message-delay", {"low_ms": 50, "high_ms": 20}, ["high_ms", "20", "low_ms"]),
        ("duplication", {"low_ms": 200}, ["high_ms", "low_ms"]),
        ("reordering", {"most_ms": 0}, ["most_ms", "0"]),
        ("chaos", {"most_ms": 100, "loss": 1}, ["loss", "1"]),
        ("chaos", {"most_ms": 100, "victims": "one"}, ["victims"]),
    ],
)
def test_bad_parameters_are_refused_by_name(use: str, parameters: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        load_fault(use, parameters)
    assert all(word in str(raised.value) for word in words), raised.value


async def test_a_link_that_does_not_exist_is_refused_before_anything_is_touched() -> None:
    cluster = VirtualCluster()
    with pytest.raises(ValueError, match="n99"):
        await run(cluster, "message-loss", links=["n0>n99"])
    assert cluster.untouched()


def test_the_kinds_are_those_of_the_wire() -> None:
    assert {"OPT", "NRM", "FBK", "VOTE", "CMT", "QC", "CQC", "TC", "DAQC"} <= set(KINDS)
