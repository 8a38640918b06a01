"""From a scenario to a system that is not ours: what makes no sense is refused here, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping

from faults.port import Capability, Roster, UnsupportedError
from harness import plugins
from harness.genesis import random_of
from harness.outcome import ScenarioError, UsageError
from harness.scenario import Scenario
from harness.targets.driver import TargetDriver
from harness.targets.port import Membership, Target
from harness.workloads.port import is_foreign
from harness.workloads.traffic import Traffic

WHY_NOT = {
    Capability.BYZANTINE: "behaviours are written for our own nodes' messages; a target may offer twins instead",
    Capability.MESSAGE: "the network does not know its messages",
    Capability.POWER: "its disk is the machine's",
    Capability.CLOCK: "its clock is the machine's",
    Capability.PHYSICS: "only simulated nodes can be told so",
    Capability.STREAM: "no fault of the stream is offered for it yet",
}


def roster_of(scenario: Scenario) -> Roster:
    """Who is who: no gateways, no clans, and corrupted nodes only by name. Raises ScenarioError."""
    adversary = scenario.adversary
    if adversary.behaviours:
        raise ScenarioError(
            f"{scenario.source}: {adversary.behaviours[0].path}: {WHY_NOT[Capability.BYZANTINE]}; take it out"
        )
    if adversary.count and not adversary.nodes:
        raise ScenarioError(
            f"{scenario.source}: adversary.nodes: name the corrupted nodes of target {scenario.cluster.target},"
            f' such as ["{scenario.cluster.tribe[0]}"]'
        )
    return Roster(scenario.cluster.tribe, (), (), adversary.nodes)


def make_target(scenario: Scenario, roster: Roster, seed: int) -> Target:
    """The target with its options. Raises ScenarioError in its own words."""
    cluster = scenario.cluster
    try:
        target: Target = plugins.build("targets", cluster.target, cluster.options, roster, seed)
    except UsageError as error:
        raise ScenarioError(f"{scenario.source}: cluster: {error}") from error
    if len(roster.tribe) < target.least:
        raise ScenarioError(
            f"{scenario.source}: cluster.nodes: target {cluster.target} needs {target.least} nodes or more,"
            f" not {len(roster.tribe)}"
        )
    return target


def make_driver(scenario: Scenario, target: Target, seed: int) -> TargetDriver:
    """The load of a target: its workload, if the target knows it. Raises ScenarioError."""
    kind = scenario.workload.kind
    if kind not in target.workloads:
        raise ScenarioError(
            f"{scenario.source}: workload.kind: target {scenario.cluster.target} does not know {kind!r}; it knows"
            f" {', '.join(target.workloads)}"
        )
    try:
        traffic: Traffic = plugins.build(
            "workloads", kind, scenario.workload.options, target.roster.tribe, random_of(seed, "workload")
        )
    except UsageError as error:
        raise ScenarioError(f"{scenario.source}: workload: {error}") from error
    return TargetDriver(target, traffic)


def refuse_foreign(scenario: Scenario) -> None:
    """Raise ScenarioError for a workload of systems that are not ours in a cluster of ours."""
    kind = scenario.workload.kind
    if is_foreign(plugins.load("workloads", kind)):
        raise ScenarioError(
            f"{scenario.source}: workload.kind: {kind!r} is for systems that are not ours (`moonquake list targets`);"
            " the Supra stack knows transfers and list-append"
        )


def needs_of(target: Target, faults: Mapping[Capability, str]) -> dict[Capability, str]:
    """What the backend must be able to do. Raises UnsupportedError for a fault that cannot work on this target."""
    for capability, what in faults.items():
        reason = target.refuses.get(capability) or WHY_NOT.get(capability, "")
        if reason:
            raise UnsupportedError(f"target {target.name}: {what} cannot be had ({capability.value}): {reason}")
        if capability is Capability.MEMBERSHIP and not isinstance(target, Membership):
            raise UnsupportedError(f"target {target.name}: {what} cannot be had: its members are fixed")
    return {**faults, Capability.PROGRAM: f"target {target.name}"}
