"""Can the records be believed at all? What is missing, contradicts itself or lies outside the plan is a flaw.

A flaw is no violation of a property: it says that a pass would claim too much. `Judge.check` turns the pass of every
checker into UNKNOWN while there is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from checkers.arithmetic import clan_faults, clan_majority, tribe_faults, tribe_quorum
from checkers.index import MS, Index, once
from results.history import Operation
from results.trace import TraceEvent

SILENCE_DELTAS = 6  # a node that is quiet for longer while others go on left a trace that ends too early
SILENCE_MS = 3000.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}  # ms


def flaws(index: Index) -> tuple[str, ...]:
    """Why this run's records do not carry a pass; empty if they do. Made once per index."""
    return once(index, _flaws)


def _flaws(index: Index) -> tuple[str, ...]:
    found = [*history_flaws(index.history), *_roster(index), *_as_declared(index)]
    found += _stragglers(index)
    if index.info.target == "supra":
        found += [*_traces(index), *_restarts(index), *_clocks(index)]
    return tuple(dict.fromkeys(found))


# ---------------------------------------------------------------- history
def history_flaws(history: Sequence[Operation]) -> list[str]:
    """Jepsen's rules: consecutive indices, time never runs back, one open invocation a process, none after info."""
    found: list[str] = []
    opened: dict[int | str, Operation] = {}
    retired: set[int | str] = set()
    last = 0
    for number, operation in enumerate(history):
        at = f"history record {number}"
        if operation.index != number:
            return [*found, f"{at} has index {operation.index}: records are missing or out of order"]
        if operation.time < last:
            found.append(f"{at} is earlier than the one before it")
        last = max(last, operation.time)
        if operation.process == "nemesis":
            continue
        if operation.type == "invoke":
            if operation.process in opened or operation.process in retired:
                found.append(f"{at}: process {operation.process} invokes again before its last operation has ended")
            opened[operation.process] = operation
            continue
        invoked = opened.pop(operation.process, None)
        if invoked is None or invoked.f != operation.f or (invoked.tx and invoked.tx != operation.tx):
            found.append(f"{at}: process {operation.process} ends an operation that it never invoked")
        if operation.type == "info":
            retired.add(operation.process)
    return found


# ---------------------------------------------------------------- run.json
def _roster(index: Index) -> list[str]:
    """Who was honest: as the scenario declares, and within the bound if run.json says so."""
    info = index.info
    found = []
    scenario: dict[str, Any] = info.scenario
    if "cluster" in scenario:
        declared = (scenario.get("adversary") or {}).get("nodes", 0)
        named = isinstance(declared, list)
        if len(info.byzantine) != (len(declared) if named else declared) or (
            named and sorted(declared) != sorted(info.byzantine)
        ):
            found.append(f"run.json leaves out {_names(info.byzantine)} as Byzantine; the scenario declares {declared}")
        if sorted([*info.honest, *info.byzantine]) != sorted(info.tribe):
            found.append("run.json: the honest and the Byzantine nodes are not the tribe")
    if info.regime == "within":
        beyond = len({*info.byzantine, *info.amnesiac}) > tribe_faults(len(info.tribe))
        for clan in info.clans:
            beyond |= len({*info.byzantine, *info.amnesiac} & set(clan)) > clan_faults(len(clan))
        if beyond:
            found.append(f"run.json says 'within the bound' with {_names(info.byzantine)} Byzantine")
    elif "cluster" in scenario and not index.info.interrupted and _surely_within(index):
        found.append("run.json says 'beyond the bound' of an adversary that is within every bound")
    return found + _thresholds(index)


def _surely_within(index: Index) -> bool:
    """Would even all faulty nodes of the scenario, in one clan, be within its bounds?"""
    adversary = index.info.scenario.get("adversary") or {}
    lost = len(index.info.byzantine) + int(adversary.get("amnesiacs", 0))
    silent = lost + int(adversary.get("crashes", 0))
    clans = [len(clan) for clan in index.info.clans]
    within = all(lost <= clan_faults(size) and silent <= size - clan_majority(size) for size in clans)
    family = int(index.info.parameters.get("family_size", 0))  # a smaller one than f_c + 1 can be all Byzantine
    whole_family = 0 < family <= len(index.info.byzantine)
    return lost <= tribe_faults(len(index.info.tribe)) and within and not whole_family


def _thresholds(index: Index) -> list[str]:
    """The system's thresholds, as far as run.json records them, against the checkers' own arithmetic."""
    given = index.info.thresholds
    n = len(index.info.tribe)
    own: dict[str, Any] = {"faults": tribe_faults(n), "quorum": tribe_quorum(n)}
    sound = 2 * own["quorum"] - n > own["faults"] and 3 * own["faults"] < n <= 3 * own["faults"] + 3
    if not sound:  # by the definition, whoever wrote the formula: a borrowed one would share its mistake
        return [f"the judges count with a quorum of {own['quorum']} of {n}: two of those may share no honest node"]
    found = [f"run.json: {k} = {given[k]}, for {n} nodes it is {own[k]}" for k in own if given.get(k, own[k]) != own[k]]
    for number, (clan, said) in enumerate(zip(index.info.clans, given.get("clans") or [], strict=False)):
        majority = clan_majority(len(clan))
        if said.get("majority", majority) != majority:
            found.append(f"run.json: clan {number} has majority {said['majority']}, for {len(clan)} nodes {majority}")
    return found


def _as_declared(index: Index) -> list[str]:
    """What run.json says was done, against the scenario that it holds: protocol parameters and the faults' windows."""
    info = index.info
    cluster: dict[str, Any] = info.scenario.get("cluster") or {}
    found = [
        f"the scenario asks for {key} = {value}, the nodes ran with {info.parameters.get(key)}"
        for key, value in (cluster.get("parameters") or {}).items()
        if info.parameters and info.parameters.get(key) != value
    ]
    declared = info.scenario.get("fault") or []
    faults = [fault for fault in info.faults if fault.kind == "fault"]
    if not info.load_end or len(declared) != len(faults):
        return found  # an interrupted run, or receipts of a target with faults of its own making
    load = (info.load_end - info.load_start) / MS
    for section, fault in zip(declared, faults, strict=True):
        due = (_ms(section.get("from"), 0.0), min(load, _ms(section.get("until"), load)))
        was = tuple((time - info.load_start) / MS for time in (fault.start, fault.stop))
        if section.get("use") != fault.use or was[0] - due[0] > 1 or due[1] - was[1] > 1:
            found.append(
                f"fault {fault.id}: the scenario has {section.get('use')} from {due[0]:.0f} to {due[1]:.0f} ms of the"
                f" load, run.json {fault.use} from {was[0]:.0f} to {was[1]:.0f} ms"
            )
    return found


def _stragglers(index: Index) -> list[str]:
    """Honest nodes that by their own word had not caught up in a quiet phase that was long enough for it: a second
    opinion on liveness, which shares nothing with its judge."""
    quiet_ms = (index.end - max(index.info.heal, index.info.load_end)) / MS
    if index.info.regime != "within" or quiet_ms < index.bounds.liveness_ms + index.bounds.retrieve_ms:
        return []
    return [
        f"{node} had not caught up after {quiet_ms:.0f} ms in which nothing was wrong" for node in index.info.stragglers
    ]


def _ms(text: Any, otherwise: float) -> float:
    """A duration as scenarios write it, in ms; `otherwise` where there is none."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return float(match.group(1)) * _UNITS[match.group(2)] if match else otherwise


# ---------------------------------------------------------------- traces
def _traces(index: Index) -> list[str]:
    """Every honest node and gateway left a trace from its start to the end of the run."""
    found = [f"{node} left no trace" for node in index.mute]
    first: dict[str, TraceEvent] = {}
    last: dict[str, int] = {}
    busy = 0
    for event in index.all_events:
        first.setdefault(event["node"], event)
        last[event["node"]] = int(event["time"])
        if event["event"] == "finalise":
            busy = max(busy, int(event["time"]))
    busy = max([busy, *(o.time for o in index.history if o.type == "ok")])
    for node, event in first.items():
        if event["event"] not in ("start", "restart"):
            found.append(f"the trace of {node} does not begin with its start, but with {event['event']!r}")
    limit = int(max(SILENCE_MS, SILENCE_DELTAS * index.bounds.delta_ms) * MS)
    halted = {event["node"] for event in index.events("halt")}
    if index.info.regime == "within" and last and index.end - max(last.values()) > limit:
        busy = index.end  # an idle tribe still makes blocks: a silence of all is a stall, or all records end early
    for node, time in last.items():
        if node not in halted and busy - time > limit:
            found.append(f"the trace of {node} ends {(busy - time) / MS:.0f} ms before the others or the run do")
    return found


def starts(index: Index) -> dict[str, tuple[list[TraceEvent], int]]:
    """Node -> its start records, and how many were scheduled: one, and one (or `times`) per fault aimed at it."""
    seen: dict[str, list[TraceEvent]] = {}
    for event in index.events("start", "restart"):
        seen.setdefault(event["node"], []).append(event)
    killed = {*index.info.crashed, *index.info.amnesiac, *index.info.gateways}
    found: dict[str, tuple[list[TraceEvent], int]] = {}
    for node in sorted(seen):
        scheduled = 1
        if node in killed:
            aimed = [f for f in index.info.faults if f.kind == "fault" and (node in f.targets or not f.targets)]
            scheduled += sum(max(1, int(fault.parameters.get("times", 1))) for fault in aimed)
        found[node] = (sorted(seen[node], key=lambda event: int(event["time"])), scheduled)
    return found


def _restarts(index: Index) -> list[str]:
    return [
        f"{node} started {len(seen)} times where {scheduled} were scheduled: it crashes by itself"
        for node, (seen, scheduled) in starts(index).items()
        if len(seen) > scheduled
    ]


def _clocks(index: Index) -> list[str]:
    """Times of one run come from one clock: no effect before its cause, no view and no incarnation that runs back."""
    proposed: dict[str, TraceEvent] = {}
    for event in index.events("propose"):
        proposed.setdefault(event["block"], event)  # the first: a block may be proposed again in another kind
    found = []
    for event in index.events("finalise", "certify"):
        cause = proposed.get(event["block"])
        if cause is not None and int(event["time"]) < int(cause["time"]):
            found.append(f"{event['node']} has a {event['event']} record before {cause['node']} proposed that block")
    life: dict[str, int] = {}
    views: dict[tuple[str, int], int] = {}
    for event in index.all_events:
        node, incarnation = event["node"], int(event["incarnation"])
        if event["event"] == "start":  # with its disk lost a node may count anew
            life[node] = incarnation
        if incarnation < life.get(node, incarnation):
            found.append(f"the clock of {node} runs back: incarnation {incarnation} after {life[node]}")
        life[node] = incarnation
        if event["event"] == "enter":
            before = views.get((node, incarnation), -1)
            if event["view"] <= before:
                found.append(f"the clock of {node} runs back: it enters view {event['view']} after view {before}")
            views[node, incarnation] = event["view"]
    return found + _clients(index)


def _clients(index: Index) -> list[str]:
    """A client is told exec after its gateway knows; a gateway accepts after the client asked."""
    asked: dict[tuple[str, str], int] = {}
    told: dict[tuple[str, str], int] = {}
    for event in index.events("gateway"):
        if event["phase"] in ("accepted", "exec"):
            times = asked if event["phase"] == "accepted" else told
            times.setdefault((event["node"], event["tx"]), int(event["time"]))
    found = []
    for operation in index.history:
        at = (operation.gateway, operation.tx)
        if operation.type == "ok" and operation.time < told.get(at, 0):
            found.append(f"the clock of {operation.gateway} is ahead: it told a client exec before recording it")
        if operation.type == "invoke" and asked.get(at, operation.time) < operation.time:
            found.append(f"the clock of {operation.gateway} is behind: it accepted what was not yet submitted")
    return found


def _names(nodes: Sequence[str]) -> str:
    return ", ".join(nodes) or "nobody"
