"""Resolving a scenario: everything that can be decided, and refused, before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from faults.byzantine.registry import load_behaviour
from faults.port import Capability, Fault, Roster
from faults.profiles import base_shapes, mean_delay_ms
from harness import expectations, plugins, regime
from harness.backends.port import Backend, ClusterSpec, Physics, ProgramSpec
from harness.backends.select import require
from harness.client import WalletDriver
from harness.genesis import SPARE_ACCOUNTS, Genesis, attack_files, make_genesis, random_of, wallet_seed
from harness.load import Driver
from harness.nemesis import Planned
from harness.outcome import ScenarioError, UsageError, nearest
from harness.scenario import BehaviourSection, FaultSection, Scenario
from harness.scenario_cluster import OURS
from harness.targets import making
from harness.targets.port import Target
from harness.workloads.port import World
from nodes.committee import ConfigError
from nodes.ideal import IdealSigner
from results.store import FaultInfo, RunInfo

FOREVER_NS = 2**62


class Plan(msgspec.Struct, frozen=True):
    """A run, decided. `faults` pairs each fault section with the object that will be injected.

    Either `genesis` (a cluster of ours) or `target` (a system that is not) is there.
    """

    scenario: Scenario
    seed: int
    roster: Roster
    regime: regime.Regime
    driver: Driver
    faults: tuple[tuple[int, FaultSection, Fault], ...]
    checkers: tuple[str, ...]
    needs: dict[Capability, str]  # what the backend must be able to do, and what for
    genesis: Genesis | None = None
    target: Target | None = None


def resolve(scenario: Scenario, seed: int, scheme: str = "ed25519") -> Plan:
    """Build the plan; `scheme` is that of the backend's signatures.

    Raises UsageError (ScenarioError mostly) for anything that makes no sense.
    """
    numbered = enumerate(scenario.faults, len(scenario.adversary.behaviours) + 1)
    faults = tuple((number, f, _fault(f, scenario)) for number, f in numbered)
    if scenario.cluster.target != OURS:
        return _foreign(scenario, seed, faults)
    checkers = _checkers(scenario)
    for behaviour in scenario.adversary.behaviours:
        _behaviour(behaviour, scenario)
    try:
        genesis = make_genesis(scenario, seed, scheme)
    except ConfigError as error:
        raise ScenarioError(f"{scenario.source}: cluster: {error}") from error
    judged = regime.check(scenario, genesis.roster.byzantine)
    making.refuse_foreign(scenario)
    workload = plugins.build(
        "workloads", scenario.workload.kind, scenario.workload.options, World.of(genesis), random_of(seed, "workload")
    )
    driver = WalletDriver(genesis, workload)
    needs = _needs(scenario, faults)
    return Plan(scenario, seed, genesis.roster, judged, driver, faults, checkers, needs, genesis)


def _foreign(scenario: Scenario, seed: int, faults: tuple[tuple[int, FaultSection, Fault], ...]) -> Plan:
    """The plan for a system that is not ours."""
    roster = making.roster_of(scenario)
    target = making.make_target(scenario, roster, seed)
    checkers = _checkers(scenario, target.checkers)
    judged = regime.check(scenario, roster.byzantine, target.beyond(scenario.adversary.crashes))
    driver = making.make_driver(scenario, target, seed)
    needs = making.needs_of(target, _needs(scenario, faults))
    return Plan(scenario, seed, roster, judged, driver, faults, checkers, needs, target=target)


def check_backend(plan: Plan, backend: Backend) -> None:
    """Raise UnsupportedError if the backend cannot do what the plan needs."""
    require(backend, plan.needs)


def spec_of(plan: Plan, run_id: str, directory: Path) -> ClusterSpec | ProgramSpec:
    """What the backend is asked to bring up."""
    if plan.target is None:
        return cluster_spec(plan, run_id, directory)
    base = base_shapes(plan.scenario.network.latency, plan.roster.nodes, plan.scenario.network.jitter_ms)
    return ProgramSpec(plan.scenario.name, run_id, directory, plan.roster, base, plan.target, plan.seed)


def cluster_spec(plan: Plan, run_id: str, directory: Path) -> ClusterSpec:
    """The same, of a cluster of ours."""
    network, roster, genesis = plan.scenario.network, plan.roster, plan.genesis
    assert genesis is not None, f"{plan.scenario.cluster.target} is not ours"
    base = base_shapes(network.latency, roster.nodes, network.jitter_ms)
    return ClusterSpec(
        name=plan.scenario.name,
        run_id=run_id,
        directory=directory,
        config=genesis.config,
        roster=roster,
        nodes=genesis.nodes,
        base=base,
        needs=frozenset(plan.needs),
        attack_files=attack_files(plan.scenario),
        seed=plan.seed,
        physics=network.physics,
        wallets=tuple(wallet_seed(plan.seed, number) for number in range(_wallets(plan.scenario))),
    )


def _wallets(scenario: Scenario) -> int:
    """Accounts that a run can come to use: processes retire, and take fresh ones."""
    return scenario.workload.clients * SPARE_ACCOUNTS * 4


def planned_faults(plan: Plan, load_start: int) -> list[Planned]:
    """The faults with their windows on the run's clock."""
    load_end = load_start + int(plan.scenario.workload.duration_s * 1e9)
    planned = []
    for number, section, fault in plan.faults:
        start = load_start + int(section.from_s * 1e9)
        stop = load_end if section.until_s is None else load_start + int(section.until_s * 1e9)
        info = FaultInfo(number, section.use, "fault", start, stop, [], dict(section.parameters))
        planned.append(Planned(info, fault, random_of(plan.seed, "fault", number)))
    return planned


def planned_behaviours(plan: Plan, load_start: int) -> list[FaultInfo]:
    """The behaviours with their windows on the run's clock, as their nodes work them out."""
    infos = []
    for number, section, nodes in plan.genesis.behaviours if plan.genesis else ():
        start = load_start + int(section.from_s * 1e9) if section.from_s else 0
        stop = FOREVER_NS if section.until_s is None else load_start + int(section.until_s * 1e9)
        infos.append(FaultInfo(number, section.use, "behaviour", start, stop, list(nodes), dict(section.options)))
    return infos


def describe(plan: Plan, backend: str, started: str, notes: list[str]) -> RunInfo:
    """run.json as far as it is known before the cluster is up."""
    scenario, roster = plan.scenario, plan.roster
    network = scenario.network
    expect = {"violate": list(scenario.expect.violate), "hold": list(scenario.expect.hold)}
    return RunInfo(
        scenario=scenario.raw,
        name=scenario.name,
        seed=plan.seed,
        backend=backend,
        layer="",
        target=scenario.cluster.target,
        expect=expect if scenario.expect.violate else {"hold": True},
        regime=plan.regime.name,
        tribe=list(roster.tribe),
        gateways=list(roster.gateways),
        clans=[list(clan) for clan in roster.clans],
        honest=list(roster.honest),
        byzantine=list(roster.byzantine),
        md_ms=mean_delay_ms(network.latency, roster.nodes),
        checks={"include": list(plan.checkers), "bounds": scenario.bounds},
        started_utc=started,
        notes=[*notes, *(f"beyond the bound: {reason}" for reason in plan.regime.beyond)],
        **_system(plan),
    )


def _system(plan: Plan) -> dict[str, Any]:
    """What run.json says of the system itself: keys, genesis, parameters."""
    genesis = plan.genesis
    if genesis is None:
        assert plan.target is not None
        return {"chain": "", "epoch": 0, "cycle": 0, "public_keys": {}, "parameters": plan.target.describe()}
    config = genesis.config
    return {
        "chain": config.chain,
        "epoch": config.epoch,
        "cycle": config.cycle,
        "public_keys": {member.id: member.public_key for member in (*config.tribe, *config.gateways)},
        "thresholds": regime.thresholds(plan.scenario),
        "scheme": genesis.scheme,
        "ideal_seeds": _ideal_seeds(plan.scenario, genesis),
        "parameters": msgspec.to_builtins(config.parameters),
        "accounts": {account.address: account.balance for account in config.accounts},
        "beacon": config.beacon,
        "leaders": {**msgspec.structs.asdict(config.leaders), "order": list(config.leaders.order)},
    }


def _ideal_seeds(scenario: Scenario, genesis: Genesis) -> dict[str, str]:
    """Public key -> seed, for those who re-verify ideal signatures after the run; nothing for a real scheme."""
    if genesis.scheme != "ideal":
        return {}
    secrets = [bytes.fromhex(node.secret_key) for node in genesis.nodes]
    secrets += [wallet_seed(genesis.seed, number) for number in range(_wallets(scenario))]
    return {IdealSigner(secret).public_key.hex(): secret.hex() for secret in secrets}


def _behaviour(section: BehaviourSection, scenario: Scenario) -> None:
    """Refuse a behaviour that the corrupted node would refuse."""
    try:
        if not plugins.is_file(section.use):
            plugins.load("behaviours", section.use)  # an unknown name is refused with the nearest one
        load_behaviour(section.use, section.options)
    except ValueError as error:
        raise ScenarioError(f"{scenario.source}: {section.path}: {error}") from error


def _fault(section: FaultSection, scenario: Scenario) -> Fault:
    try:
        fault: Fault = plugins.build("faults", section.use, section.parameters)
    except UsageError as error:
        raise ScenarioError(f"{scenario.source}: {section.path}: {error}") from error
    return fault


def _checkers(scenario: Scenario, usual: Sequence[str] = ()) -> tuple[str, ...]:
    """Who judges. `usual`: where the scenario names none (of a system that is not ours)."""
    known = list(plugins.registered("checkers"))
    expect = {"violate": scenario.expect.violate, "hold": scenario.expect.hold}
    names = expectations.names_to_judge(scenario.checks or usual, expect, known, scenario.workload.kind)
    for name in names:
        if name not in known and not plugins.is_file(name):
            raise ScenarioError(f"{scenario.source}: checks: no checker named {name!r}; {nearest(name, known)}")
    return tuple(names)


def _needs(scenario: Scenario, faults: tuple[tuple[int, FaultSection, Fault], ...]) -> dict[Capability, str]:
    why: dict[Capability, str] = {}
    for _, section, fault in faults:
        for capability in sorted(fault.needs):
            why.setdefault(capability, f"fault {section.use}")
    if scenario.adversary.behaviours:
        why.setdefault(Capability.BYZANTINE, "the adversary")
    if scenario.network.physics != Physics():
        why.setdefault(Capability.PHYSICS, "network.transport, egress_mbit or sync_ms")
    if scenario.network.latency != "lan" or scenario.network.jitter_ms:
        why.setdefault(Capability.LATENCY, f"latency {scenario.network.latency}")
    return why
