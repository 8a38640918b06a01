"""Every registered fault on the simulator: within the bound everything holds and the receipts are good, and a simulator
that does not do what a fault asks, or does not undo it, never passes (harness mutants I5 and I6 of teeth.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import pytest

from faults.port import Fault, RuleCount, Shape
from faults.registry import FAULTS, registered
from harness.backends.sim.cluster import CAPABILITIES, SimCluster
from harness.backends.sim.disk import Disk
from harness.backends.sim.links import Links
from harness.backends.sim.node import SimNode
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.verdict import Status

Patch: TypeAlias = Callable[[pytest.MonkeyPatch], None]

EACH: dict[str, list[dict[str, Any]]] = {
    "bandwidth": [{"rate_kbit": 1000}],
    "chaos": [{"most_ms": 400}, {"most_ms": 300, "loss": 0.1}],
    "clock-skew": [{"skew_ms": 300}, {"skew_ms": -300}, {"drift_ppm": 100_000}],
    "crash": [{}],
    "delay-schedule": [
        {"delays": [{"views": [1, 999], "kinds": ["VOTE", "CMT"], "links": ["n0>n1", "n2>n1"], "delay_ms": 80}]}
    ],
    "disk-loss": [{}],
    "duplication": [{}],
    "latency": [{"delay_ms": 100, "jitter_ms": 20}],
    "loss": [{"probability": 0.05}],
    "message-delay": [{"low_ms": 50, "high_ms": 100, "kinds": ["VOTE"]}],
    "message-loss": [{"probability": 0.05}, {"kinds": ["OPT", "NRM"], "links": ["n0>n1"]}],
    "partition": [
        *({"topology": topology} for topology in ("halves", "bridge", "ring", "isolate", "one-way")),
        {"groups": [["n0", "n1"], ["n2"]]},
    ],
    "pause": [{}],
    "power-loss": [{}],
    "reordering": [{"probability": 0.3}],
    "round-partition": [
        {"rounds": [{"view": view, "groups": [["n0", "n1"], ["n2", "n3", "n4"]]} for view in (60,)]},
        {"rounds": [{"view": 60, "one_way": [["n0", "n1"], ["n2", "n1"]], "steps": ["vote", "commit"]}]},
    ],
    "slow-disk": [{"sync_ms": 30}],
}
CASES = [
    pytest.param(use, p, id=f"{use}-{i}" if i else use) for use, cases in EACH.items() for i, p in enumerate(cases)
]
BUDGET = {"crash": {"crashes": 1}, "power-loss": {"crashes": 1}, "disk-loss": {"amnesiacs": 1}}


def scenario(use: str, parameters: dict[str, Any], **network: Any) -> Scenario:
    """Five nodes, one fault for most of four seconds."""
    document: dict[str, Any] = {
        "name": use,
        "description": "One fault, within the bound.",
        "expect": "hold",
        "cluster": {"nodes": 5},
        "network": {"latency": "uniform:40", **network},
        "workload": {"kind": "list-append", "rate": 8, "clients": 8, "duration": "4s"},
        "adversary": BUDGET.get(use, {}),
        "fault": [{"use": use, "from": "1s", "until": "3.5s", **parameters}],
        "run": {"quiet": "3s"},
    }
    return parse(document, Source(f"{use}.toml", ""))


def receipt(done: Trial) -> dict[str, Any]:
    (stop,) = (o for o in done.run.history if o.process == "nemesis" and o.f == "stop")
    return dict(stop.value["receipt"])


def test_no_fault_is_left_out() -> None:
    """All that the simulator has the capabilities for; the others it refuses."""
    able = {use for use, kind in registered(FAULTS).items() if cast(type[Fault], kind).needs <= CAPABILITIES}
    assert set(EACH) == able and set(registered(FAULTS)) - able == {"disk-full", "membership"}


@pytest.mark.parametrize(("use", "parameters"), CASES)
def test_it_bites_heals_and_nothing_breaks(use: str, parameters: dict[str, Any]) -> None:
    done = trial(scenario(use, parameters), 1)
    proof = receipt(done)
    assert proof["bit"] and proof["heal_verified"] and proof["targets"], proof
    assert {v.property: v.status for v in done.verdicts if v.status is not Status.PASS} == {}, proof
    assert done.expected is True and not done.info.notes


def test_a_lost_disk_makes_an_amnesiac_and_a_power_loss_does_not() -> None:
    done = trial(scenario("disk-loss", {"victims": ["n2"]}), 1)
    assert done.info.amnesiac == ["n2"] and "height" in receipt(done)["evidence"]
    done = trial(scenario("power-loss", {"victims": ["n2"]}), 1)
    assert done.info.amnesiac == [] and done.info.crashed == ["n2"]


def test_a_power_loss_takes_what_a_slow_disk_had_not_synced() -> None:
    done = trial(scenario("power-loss", {"victims": ["n2"]}, sync_ms=30), 2)
    assert done.expected is True and receipt(done)["dropped"] > 0
    assert "0 records lost" in receipt(trial(scenario("power-loss", {"victims": ["n2"]}), 2))["evidence"]


def test_chaos_says_the_longest_delay_that_arrived() -> None:
    evidence = receipt(trial(scenario("chaos", {"most_ms": 400}), 1))["evidence"]
    assert 350 < float(evidence.partition("at worst by ")[2].partition(" ms")[0]) <= 400


# ---------------------------------------------------------------- a simulator that does not do as it is told
def _off(kind: type, name: str, value: Any = None, waits: bool = True) -> Patch:
    """A method that does nothing."""

    async def later(self: Any, *_: Any) -> Any:
        return value

    return lambda patch: patch.setattr(kind, name, later if waits else lambda self, *_: value)


def _rules_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Links, "add_rule", lambda self, rule: 77)
    patch.setattr(Links, "remove_rule", lambda self, number: RuleCount(100, 100))  # and they boast


NOTHING = {
    "bandwidth": _off(Links, "reshape", waits=False),
    "chaos": _rules_ignored,
    "clock-skew": _off(SimNode, "set_clock", waits=False),
    "crash": _off(SimCluster, "kill"),
    "delay-schedule": _rules_ignored,
    "disk-loss": _off(Disk, "wipe", waits=False),
    "duplication": _rules_ignored,
    "latency": _off(Links, "reshape", waits=False),
    "loss": _off(Links, "reshape", waits=False),
    "message-delay": _rules_ignored,
    "message-loss": _rules_ignored,
    "partition": _off(Links, "cut", waits=False),
    "pause": _off(SimNode, "pause", waits=False),
    "power-loss": _off(SimCluster, "power_loss", 5),
    "reordering": _rules_ignored,
    "round-partition": _rules_ignored,
    "slow-disk": _off(SimCluster, "slow_disk"),
}


@pytest.mark.parametrize("use", EACH)
def test_a_fault_that_is_not_applied_never_passes(use: str, monkeypatch: pytest.MonkeyPatch) -> None:  # I5, I6
    NOTHING[use](monkeypatch)
    done = trial(scenario(use, EACH[use][0]), 1)
    assert "receipts" in done.unknown() and done.expected is not True, receipt(done)


def _shapes_stay(patch: pytest.MonkeyPatch) -> None:
    reshape = Links.reshape

    def only_on(self: Links, link: tuple[str, str], extra: Shape | None) -> None:
        if extra is not None:
            reshape(self, link, extra)

    patch.setattr(Links, "reshape", only_on)


def _rules_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Links, "remove_rule", lambda self, number: self._rules[number].count())
    patch.setattr(Links, "rules", ())  # and the list is a lie


def _clocks_stay(patch: pytest.MonkeyPatch) -> None:
    set_clock = SimNode.set_clock
    patch.setattr(SimNode, "set_clock", lambda self, skew, drift: skew and set_clock(self, skew, drift))


def _disks_stay(patch: pytest.MonkeyPatch) -> None:
    slow_disk = SimCluster.slow_disk

    async def only_slower(self: SimCluster, node: str, sync_ms: float) -> None:
        if sync_ms:
            await slow_disk(self, node, sync_ms)

    patch.setattr(SimCluster, "slow_disk", only_slower)


STAYS = {
    "bandwidth": _shapes_stay,
    "chaos": _rules_stay,
    "clock-skew": _clocks_stay,
    "crash": _off(SimCluster, "start"),
    "delay-schedule": _rules_stay,
    "disk-loss": _off(SimCluster, "start"),
    "duplication": _rules_stay,
    "latency": _shapes_stay,
    "loss": _shapes_stay,
    "message-delay": _rules_stay,
    "message-loss": _rules_stay,
    "partition": _off(Links, "heal", waits=False),
    "pause": _off(SimNode, "resume", waits=False),
    "power-loss": _off(SimCluster, "start"),
    "reordering": _rules_stay,
    "round-partition": _rules_stay,
    "slow-disk": _disks_stay,
}


@pytest.mark.parametrize("use", EACH)
def test_a_fault_that_is_not_undone_never_passes(use: str, monkeypatch: pytest.MonkeyPatch) -> None:  # I5
    STAYS[use](monkeypatch)
    done = trial(scenario(use, {**EACH[use][0], "verify_s": 3}), 1)
    proof = receipt(done)
    assert proof["bit"] is (use not in ("crash", "disk-loss", "power-loss")), proof  # these bite when the node is back
    assert not proof["heal_verified"] and "NOT" in proof["evidence"], proof
    assert "receipts" in done.unknown() and done.expected is not True
