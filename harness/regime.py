"""Within the claimed bounds, or beyond them? (architecture section 4, protocol.md section 0)

The budget is what [adversary] declares; faults and behaviours that exceed it are refused. The regime then compares the
budget with the bounds: f_t of the tribe for replicas that may forget or contradict what they signed, f_c of each clan
for the same, n_c - M of each clan for replicas that may be silent at one time, and one less than a family that the
scenario makes smaller than f_c + 1.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import msgspec

from faults.port import Capability, Roster
from faults.victims import parse, resolve
from harness import plugins
from harness.outcome import ScenarioError
from harness.scenario import FaultSection, Scenario
from harness.scenario_cluster import OURS
from nodes.committee import clan_faults, clan_majority, tribe_faults, tribe_quorum, tribe_validity


class Regime(msgspec.Struct, frozen=True):
    """`beyond` lists the bounds that are exceeded, in words; empty means within."""

    beyond: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "beyond" if self.beyond else "within"


def draw_byzantine(scenario: Scenario, rng: Random) -> tuple[str, ...]:
    """Which nodes are corrupted, in tribe order: those the scenario names, and as many more as it counts.

    Drawn nodes are spread so that no clan's bound is broken unless the count leaves no other way.
    """
    adversary, tribe = scenario.adversary, scenario.cluster.tribe
    if adversary.nodes:
        return tuple(n for n in tribe if n in adversary.nodes)
    chosen = sorted({n for b in adversary.behaviours for n in b.nodes}, key=tribe.index)
    others = [n for n in tribe if n not in chosen]
    rng.shuffle(others)
    for cautious in (True, False):
        for node in others:
            clan = next(c for c in scenario.cluster.clans if node in c)
            room = clan_faults(len(clan)) - sum(n in chosen for n in clan)
            if len(chosen) < adversary.count and node not in chosen and (room > 0 or not cautious):
                chosen.append(node)
    return tuple(n for n in tribe if n in chosen)


def regime_of(scenario: Scenario, byzantine: Sequence[str]) -> Regime:
    """Compare the declared adversary with every bound. Crashes and amnesiacs count where they hurt most."""
    adversary, n = scenario.adversary, len(scenario.cluster.tribe)
    beyond = []
    forgetful = len(byzantine) + adversary.amnesiacs
    if forgetful > tribe_faults(n):
        beyond.append(f"{_sum(len(byzantine), adversary.amnesiacs)} of {n} in the tribe, bound {tribe_faults(n)}")
    for index, clan in enumerate(scenario.cluster.clans):
        corrupt = sum(node in byzantine for node in clan)
        amnesiacs, crashes = _worst_in(clan, scenario, byzantine)
        size, majority = len(clan), clan_majority(len(clan))
        if corrupt + amnesiacs > clan_faults(size):
            beyond.append(f"{_sum(corrupt, amnesiacs)} of {size} in clan {index}, bound {clan_faults(size)}")
        elif corrupt + amnesiacs + crashes > size - majority:
            silent = corrupt + amnesiacs + crashes
            beyond.append(f"{silent} of {size} in clan {index} may be silent at once, bound {size - majority}")
        family = scenario.cluster.parameters.family_size
        if 0 < family <= corrupt <= clan_faults(size):
            beyond.append(f"{corrupt} of clan {index} may be a whole family, bound {family - 1}")
    return Regime(tuple(beyond))


def check(scenario: Scenario, byzantine: Sequence[str], beyond: Sequence[str] | None = None) -> Regime:
    """The regime of a scenario that is honest about itself; raises ScenarioError for one that is not.

    `beyond`: what a system that is not ours says is beyond its promises.
    """
    _check_budget(scenario, byzantine)
    regime = regime_of(scenario, byzantine) if beyond is None else Regime(tuple(beyond))
    if scenario.expect.violate and not regime.beyond:
        raise ScenarioError(
            f"{scenario.source}: expect: says {_list(scenario.expect.violate)} breaks, but the adversary is within"
            ' every bound, where nothing may break: raise [adversary].nodes or write expect = "hold"'
        )
    if regime.beyond and not scenario.expect.violate:
        raise ScenarioError(
            f"{scenario.source}: expect: says everything holds, but the adversary is over the bound"
            f' ({"; ".join(regime.beyond)}): lower it, or declare what breaks: expect = {{ violate = "fork" }}'
        )
    return regime


def thresholds(scenario: Scenario) -> dict[str, Any]:
    """The numbers of protocol.md section 0 for this cluster, as run.json holds them."""
    n = len(scenario.cluster.tribe)
    clans = [
        {"size": len(clan), "faults": clan_faults(len(clan)), "majority": clan_majority(len(clan))}
        for clan in scenario.cluster.clans
    ]
    return {"faults": tribe_faults(n), "quorum": tribe_quorum(n), "validity": tribe_validity(n), "clans": clans}


# ---------------------------------------------------------------- budget
def _check_budget(scenario: Scenario, byzantine: Sequence[str]) -> None:
    adversary = scenario.adversary
    named = {node for behaviour in adversary.behaviours for node in behaviour.nodes}
    extra = [node for node in scenario.cluster.tribe if node in named and node not in byzantine]
    if extra or len(named) > adversary.count:
        raise ScenarioError(
            f"{scenario.source}: adversary: behaviours are declared on {_list(sorted(named))}, but [adversary].nodes"
            f" allows {adversary.count} ({_list(byzantine) or 'none'}); raise nodes or take {_list(extra or named)} out"
        )
    if adversary.behaviours and not adversary.count:
        raise ScenarioError(
            f"{scenario.source}: adversary: {adversary.behaviours[0].use!r} needs a corrupted node, but"
            " [adversary].nodes is 0; write nodes = 1"
        )
    if adversary.count and not adversary.behaviours and scenario.cluster.target == OURS:
        raise ScenarioError(
            f"{scenario.source}: adversary: {adversary.count} nodes are corrupted but no behaviour is declared;"
            " add [[adversary.behaviour]] or set nodes = 0"
        )
    crashing = [f for f in scenario.faults if _needs(f, Capability.KILL) and not _needs(f, Capability.WIPE)]
    wiping = [f for f in scenario.faults if _needs(f, Capability.WIPE)]
    hit = {f.path: len(victims(f, scenario, byzantine)) for f in (*crashing, *wiping)}
    crashes = max((sum(hit[f.path] for f in crashing if _overlap(f, g)) for g in crashing), default=0)
    _within_budget(scenario, "crashes", "nodes are down at one time", crashes, adversary.crashes)
    lost = sum(hit[f.path] for f in wiping)
    _within_budget(scenario, "amnesiacs", "nodes lose their disk", lost, adversary.amnesiacs)


def _within_budget(scenario: Scenario, key: str, what: str, actual: int, allowed: int) -> None:
    if actual > allowed:
        raise ScenarioError(
            f"{scenario.source}: adversary: by its faults up to {actual} {what}, but [adversary].{key} is"
            f" {allowed}; write {key} = {actual} or take victims out"
        )


def victims(fault: FaultSection, scenario: Scenario, byzantine: Sequence[str]) -> tuple[str, ...]:
    """Tribe nodes that the fault's `victims` would hit (which ones chance decides, how many it does not).

    Raises ScenarioError when they name nobody.
    """
    cluster = scenario.cluster
    default = inspect.signature(plugins.load("faults", fault.use)).parameters.get("victims")
    chosen = fault.parameters.get("victims", "one" if default is None else default.default)
    roster = Roster(cluster.tribe, cluster.gateways, cluster.clans, tuple(byzantine), leaders=cluster.tribe)
    try:
        hit = resolve(parse(chosen), roster, Random(0))
    except ValueError as error:
        raise ScenarioError(f"{scenario.source}: {fault.path}.{error}") from error
    return tuple(node for node in hit if node in cluster.tribe)


def _needs(fault: FaultSection, capability: Capability) -> bool:
    return capability in plugins.load("faults", fault.use).needs


def _overlap(a: FaultSection, b: FaultSection) -> bool:
    forever = float("inf")
    a_end, b_end = a.until_s or forever, b.until_s or forever
    return a.from_s < b_end and b.from_s < a_end


def _worst_in(clan: Sequence[str], scenario: Scenario, byzantine: Sequence[str]) -> tuple[int, int]:
    """(amnesiacs, crashed) that may lie in this clan: exact where faults name their victims, else the worst case."""
    free = len([node for node in clan if node not in byzantine])
    named = {capability: _named_victims(scenario, capability) for capability in (Capability.WIPE, Capability.KILL)}
    amnesiacs, crashes = scenario.adversary.amnesiacs, scenario.adversary.crashes
    wiped, killed = named[Capability.WIPE], named[Capability.KILL]
    lost = amnesiacs if wiped is None else sum(node in wiped for node in clan)
    down = crashes if killed is None else sum(node in killed for node in clan)
    return min(lost, free), min(down, max(0, free - lost))


def _named_victims(scenario: Scenario, capability: Capability) -> set[str] | None:
    """Victims of the faults that need `capability`, if every one of them names its victims."""
    faults = [f for f in scenario.faults if _needs(f, capability)]
    if capability is Capability.KILL:
        faults = [f for f in faults if not _needs(f, Capability.WIPE)]
    chosen = [f.parameters.get("victims") for f in faults]
    if not faults or not all(isinstance(c, list) for c in chosen):
        return None
    return {node for c in chosen if isinstance(c, list) for node in c}


def _sum(byzantine: int, amnesiacs: int) -> str:
    return f"{byzantine} Byzantine" + (f" + {amnesiacs} amnesiac" if amnesiacs else "")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
