"""Can the records be believed at all? What is missing, contradicts itself or lies outside the plan is a flaw.

A flaw is no violation of a property: it says that a pass would claim too much. `Judge.check` turns the pass of every
checker into UNKNOWN while there is one.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from checkers.arithmetic import Bounds, clan_faults, clan_majority, tribe_faults, tribe_quorum
from checkers.index import MS, Index, once
from results.history import Operation
from results.store import RunInfo
from results.trace import TraceEvent

SILENCE_DELTAS = 6  # a node that is quiet for longer while others go on left a trace that ends too early
SILENCE_MS = 3000.0
CLIENT_PHASES = ("accepted", "exec")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}  # ms


def flaws(index: Index) -> tuple[str, ...]:
    """Why this run's records do not carry a pass; empty if they do. Made once per index."""
    return once(index, _flaws)


def _flaws(index: Index) -> tuple[str, ...]:
    found = [*history_flaws(index.history), *roster_flaws(index.info), *declared_flaws(index.info)]
    found += straggler_flaws(index)
    if index.info.target == "supra":
        found += [*_traces(index)]
        found += restart_flaws(index.info, index.events("start", "restart")) + _clocks(index)
    elif index.events("progress"):
        found += [f"{node} left no trace" for node in index.mute]
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
def roster_flaws(info: RunInfo) -> list[str]:
    """Who was honest: as the scenario declares, and within the bound if run.json says so."""
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
    if info.regime == "within" and info.target == "supra":
        beyond = len({*info.byzantine, *info.amnesiac}) > tribe_faults(len(info.tribe))
        for clan in info.clans:
            beyond |= len({*info.byzantine, *info.amnesiac} & set(clan)) > clan_faults(len(clan))
        if beyond:
            found.append(f"run.json says 'within the bound' with {_names(info.byzantine)} Byzantine")
    elif info.target == "supra" and "cluster" in scenario and not info.interrupted and _surely_within(info):
        found.append("run.json says 'beyond the bound' of an adversary that is within every bound")
    return found + _thresholds(info)


def _surely_within(info: RunInfo) -> bool:
    """Would even all faulty nodes of the scenario, in one clan, be within its bounds?"""
    adversary = info.scenario.get("adversary") or {}
    lost = len(info.byzantine) + int(adversary.get("amnesiacs", 0))
    silent = lost + int(adversary.get("crashes", 0))
    clans = [len(clan) for clan in info.clans]
    within = all(lost <= clan_faults(size) and silent <= size - clan_majority(size) for size in clans)
    family = int(info.parameters.get("family_size", 0))  # a smaller one than f_c + 1 can be all Byzantine
    whole_family = 0 < family <= len(info.byzantine)
    return lost <= tribe_faults(len(info.tribe)) and within and not whole_family


def _thresholds(info: RunInfo) -> list[str]:
    """The system's thresholds, as far as run.json records them, against the checkers' own arithmetic."""
    given = info.thresholds
    n = len(info.tribe)
    own: dict[str, Any] = {"faults": tribe_faults(n), "quorum": tribe_quorum(n)}
    sound = 2 * own["quorum"] - n > own["faults"] and 3 * own["faults"] < n <= 3 * own["faults"] + 3
    if not sound:  # by the definition, whoever wrote the formula: a borrowed one would share its mistake
        return [f"the judges count with a quorum of {own['quorum']} of {n}: two of those may share no honest node"]
    found = [f"run.json: {k} = {given[k]}, for {n} nodes it is {own[k]}" for k in own if given.get(k, own[k]) != own[k]]
    for number, (clan, said) in enumerate(zip(info.clans, given.get("clans") or [], strict=False)):
        majority = clan_majority(len(clan))
        if said.get("majority", majority) != majority:
            found.append(f"run.json: clan {number} has majority {said['majority']}, for {len(clan)} nodes {majority}")
    return found


def declared_flaws(info: RunInfo) -> list[str]:
    """What run.json says was done, against the scenario that it holds: protocol parameters and the faults' windows."""
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


def straggler_flaws(run: Evidence) -> list[str]:
    """Honest nodes that by their own word had not caught up in a quiet phase that was long enough for it: a second
    opinion on liveness, which shares nothing with its judge."""
    quiet_ms = (run.end - max(run.info.heal, run.info.load_end)) / MS
    if run.info.regime != "within" or quiet_ms < run.bounds.liveness_ms + run.bounds.retrieve_ms:
        return []
    return [
        f"{node} had not caught up after {quiet_ms:.0f} ms in which nothing was wrong" for node in run.info.stragglers
    ]


def _ms(text: Any, otherwise: float) -> float:
    """A duration as scenarios write it, in ms; `otherwise` where there is none."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return float(match.group(1)) * _UNITS[match.group(2)] if match else otherwise


# ---------------------------------------------------------------- traces
def _traces(index: Index) -> list[str]:
    first: dict[str, TraceEvent] = {}
    last: dict[str, int] = {}
    busy = 0
    for event in index.all_events:
        first.setdefault(event["node"], event)
        last[event["node"]] = int(event["time"])
        if event["event"] == "finalise":
            busy = max(busy, int(event["time"]))
    begun = {node: str(event["event"]) for node, event in first.items()}
    halted = {event["node"] for event in index.events("halt")}
    return trace_flaws(index, begun, last, busy, halted)


class Evidence(Protocol):
    """What records and columns of a run have in common."""

    info: RunInfo
    bounds: Bounds
    end: int
    mute: tuple[str, ...]

    @property
    def history(self) -> Sequence[Operation]: ...


def trace_flaws(
    run: Evidence, begun: Mapping[str, str], last: Mapping[str, int], busy: int, halted: Container[str]
) -> list[str]:
    """Every honest node and gateway left a trace from its start to the end of the run.

    By node: its first event (in the order in which they came) and the time of its last; `busy`: the last block's time.
    """
    found = [f"{node} left no trace" for node in run.mute]
    busy = max([busy, *(o.time for o in run.history if o.type == "ok")])
    for node, event in begun.items():
        if event not in ("start", "restart"):
            found.append(f"the trace of {node} does not begin with its start, but with {event!r}")
    limit = int(max(SILENCE_MS, SILENCE_DELTAS * run.bounds.delta_ms) * MS)
    if run.info.regime == "within" and last and run.end - max(last.values()) > limit:
        busy = run.end  # an idle tribe still makes blocks: a silence of all is a stall, or all records end early
    for node, time in last.items():
        if node not in halted and busy - time > limit:
            found.append(f"the trace of {node} ends {(busy - time) / MS:.0f} ms before the others or the run do")
    return found


def starts(index: Index) -> dict[str, tuple[list[TraceEvent], int]]:
    """Node -> its start records, and how many were scheduled."""
    return births(index.info, index.events("start", "restart"))


def births(info: RunInfo, events: Iterable[TraceEvent]) -> dict[str, tuple[list[TraceEvent], int]]:
    """Node -> its start records, and how many were scheduled: one, and one (or `times`) per fault aimed at it."""
    seen: dict[str, list[TraceEvent]] = {}
    for event in events:
        seen.setdefault(event["node"], []).append(event)
    killed = {*info.crashed, *info.amnesiac, *info.gateways}
    found: dict[str, tuple[list[TraceEvent], int]] = {}
    for node in sorted(seen):
        scheduled = 1
        if node in killed:
            aimed = [f for f in info.faults if f.kind == "fault" and (node in f.targets or not f.targets)]
            scheduled += sum(max(1, int(fault.parameters.get("times", 1))) for fault in aimed)
        found[node] = (sorted(seen[node], key=lambda event: int(event["time"])), scheduled)
    return found


def restart_flaws(info: RunInfo, events: Iterable[TraceEvent]) -> list[str]:
    """Nodes that started more often than was scheduled."""
    return [
        f"{node} started {len(seen)} times where {scheduled} were scheduled: it crashes by itself"
        for node, (seen, scheduled) in births(info, events).items()
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
            found.append(too_early(event["node"], event["event"], cause["node"]))
    life: dict[str, int] = {}
    views: dict[tuple[str, int], int] = {}
    for event in index.all_events:
        node, incarnation = event["node"], int(event["incarnation"])
        if event["event"] == "start":  # with its disk lost a node may count anew
            life[node] = incarnation
        if incarnation < life.get(node, incarnation):
            found.append(runs_back(node, "incarnation", incarnation, life[node]))
        life[node] = incarnation
    for event in index.events("enter"):
        at = (event["node"], int(event["incarnation"]))
        before = views.get(at, -1)
        if event["view"] <= before:
            found.append(runs_back(event["node"], "view", event["view"], before))
        views[at] = event["view"]
    phases = [event for event in index.events("gateway") if event["phase"] in CLIENT_PHASES]
    return found + client_flaws(index.history, phases)


def too_early(node: str, event: str, proposer: str) -> str:
    """The flaw of an effect before its cause."""
    return f"{node} has a {event} record before {proposer} proposed that block"


def runs_back(node: str, what: str, now: int, before: int) -> str:
    """The flaw of a node whose views or incarnations fall."""
    told = f"it enters view {now} after view {before}" if what == "view" else f"incarnation {now} after {before}"
    return f"the clock of {node} runs back: {told}"


def client_flaws(history: Sequence[Operation], phases: Iterable[TraceEvent]) -> list[str]:
    """A client is told exec after its gateway knows; a gateway accepts after the client asked. `phases`: these two."""
    asked: dict[tuple[str, str], int] = {}
    told: dict[tuple[str, str], int] = {}
    for event in phases:
        times = asked if event["phase"] == "accepted" else told
        times.setdefault((event["node"], event["tx"]), int(event["time"]))
    found = []
    for operation in history:
        at = (operation.gateway, operation.tx)
        if operation.type == "ok" and operation.time < told.get(at, 0):
            found.append(f"the clock of {operation.gateway} is ahead: it told a client exec before recording it")
        if operation.type == "invoke" and asked.get(at, operation.time) < operation.time:
            found.append(f"the clock of {operation.gateway} is behind: it accepted what was not yet submitted")
    return found


def _names(nodes: Sequence[str]) -> str:
    return ", ".join(nodes) or "nobody"
