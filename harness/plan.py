"""Resolving a scenario: everything that can be decided, and refused, before anything is started."""

from __future__ import annotations

from pathlib import Path

import msgspec

from faults.byzantine.registry import load_behaviour
from faults.port import Capability, Fault
from faults.profiles import base_shapes, mean_delay_ms
from harness import expectations, plugins, regime
from harness.backends.port import Backend, ClusterSpec, Physics
from harness.backends.select import require
from harness.genesis import SPARE_ACCOUNTS, Genesis, attack_files, make_genesis, random_of, wallet_seed
from harness.nemesis import Planned
from harness.outcome import ScenarioError, UsageError, nearest
from harness.scenario import BehaviourSection, FaultSection, Scenario
from harness.workloads.port import Workload, World
from nodes.committee import ConfigError
from nodes.ideal import IdealSigner
from results.store import FaultInfo, RunInfo

FOREVER_NS = 2**62


class Plan(msgspec.Struct, frozen=True):
    """A run, decided. `faults` pairs each fault section with the object that will be injected."""

    scenario: Scenario
    seed: int
    genesis: Genesis
    regime: regime.Regime
    workload: Workload
    faults: tuple[tuple[int, FaultSection, Fault], ...]
    checkers: tuple[str, ...]
    needs: dict[Capability, str]  # what the backend must be able to do, and what for


def resolve(scenario: Scenario, seed: int, scheme: str = "ed25519") -> Plan:
    """Build the plan; `scheme` is that of the backend's signatures.

    Raises UsageError (ScenarioError mostly) for anything that makes no sense.
    """
    checkers = _checkers(scenario)
    for behaviour in scenario.adversary.behaviours:
        _behaviour(behaviour, scenario)
    numbered = enumerate(scenario.faults, len(scenario.adversary.behaviours) + 1)
    faults = tuple((number, f, _fault(f, scenario)) for number, f in numbered)
    try:
        genesis = make_genesis(scenario, seed, scheme)
    except ConfigError as error:
        raise ScenarioError(f"{scenario.source}: cluster: {error}") from error
    judged = regime.check(scenario, genesis.roster.byzantine)
    world = World.of(genesis)
    workload = plugins.build(
        "workloads", scenario.workload.kind, scenario.workload.options, world, random_of(seed, "workload")
    )
    return Plan(scenario, seed, genesis, judged, workload, faults, checkers, _needs(scenario, faults))


def check_backend(plan: Plan, backend: Backend) -> None:
    """Raise UnsupportedError if the backend cannot do what the plan needs."""
    require(backend, plan.needs)


def cluster_spec(plan: Plan, run_id: str, directory: Path) -> ClusterSpec:
    """What the backend is asked to bring up."""
    network, roster = plan.scenario.network, plan.genesis.roster
    return ClusterSpec(
        name=plan.scenario.name,
        run_id=run_id,
        directory=directory,
        config=plan.genesis.config,
        roster=roster,
        nodes=plan.genesis.nodes,
        base=base_shapes(network.latency, roster.nodes, network.jitter_ms),
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
    for number, section, nodes in plan.genesis.behaviours:
        start = load_start + int(section.from_s * 1e9) if section.from_s else 0
        stop = FOREVER_NS if section.until_s is None else load_start + int(section.until_s * 1e9)
        infos.append(FaultInfo(number, section.use, "behaviour", start, stop, list(nodes), dict(section.options)))
    return infos


def describe(plan: Plan, backend: str, started: str, notes: list[str]) -> RunInfo:
    """run.json as far as it is known before the cluster is up."""
    scenario, genesis = plan.scenario, plan.genesis
    roster, config = genesis.roster, genesis.config
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
        chain=config.chain,
        epoch=config.epoch,
        cycle=config.cycle,
        tribe=list(roster.tribe),
        gateways=list(roster.gateways),
        clans=[list(clan) for clan in roster.clans],
        public_keys={member.id: member.public_key for member in (*config.tribe, *config.gateways)},
        honest=list(roster.honest),
        byzantine=list(roster.byzantine),
        thresholds=regime.thresholds(scenario),
        scheme=genesis.scheme,
        ideal_seeds=_ideal_seeds(plan),
        parameters=msgspec.to_builtins(config.parameters),
        accounts={account.address: account.balance for account in config.accounts},
        beacon=config.beacon,
        leaders={**msgspec.structs.asdict(config.leaders), "order": list(config.leaders.order)},
        md_ms=mean_delay_ms(network.latency, roster.nodes),
        checks={"include": list(plan.checkers), "bounds": scenario.bounds},
        started_utc=started,
        notes=[*notes, *(f"beyond the bound: {reason}" for reason in plan.regime.beyond)],
    )


def _ideal_seeds(plan: Plan) -> dict[str, str]:
    """Public key -> seed, for those who re-verify ideal signatures after the run; nothing for a real scheme."""
    if plan.genesis.scheme != "ideal":
        return {}
    secrets = [bytes.fromhex(node.secret_key) for node in plan.genesis.nodes]
    secrets += [wallet_seed(plan.seed, number) for number in range(_wallets(plan.scenario))]
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


def _checkers(scenario: Scenario) -> tuple[str, ...]:
    known = list(plugins.registered("checkers"))
    expect = {"violate": scenario.expect.violate, "hold": scenario.expect.hold}
    names = expectations.names_to_judge(scenario.checks, expect, known, scenario.workload.kind)
    for name in names:
        if name not in known and not plugins.is_file(name):
            raise ScenarioError(f"{scenario.source}: checks: no checker named {name!r}; {nearest(name, known)}")
    return tuple(names)


def _needs(scenario: Scenario, faults: tuple[tuple[int, FaultSection, Fault], ...]) -> dict[Capability, str]:
    why: dict[Capability, str] = {}
    for _, section, fault in faults:
        for capability in sorted(fault.needs):
            why.setdefault(capability, f"fault {section.use}")
    if scenario.adversary.count:
        why.setdefault(Capability.BYZANTINE, "the adversary")
    if scenario.network.physics != Physics():
        why.setdefault(Capability.PHYSICS, "network.transport, egress_mbit or sync_ms")
    if scenario.network.latency != "lan" or scenario.network.jitter_ms:
        why.setdefault(Capability.LATENCY, f"latency {scenario.network.latency}")
    return why
