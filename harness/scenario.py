"""A scenario file, read strictly (architecture section 8): unknown keys, impossible node counts and victims that do not
exist are refused here, with file and line. Whether the adversary fits the expectation is `regime.py`'s business.

All times are seconds from the moment the cluster is ready and the load starts; latencies are one way, in ms.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from faults.byzantine import triggers
from faults.profiles import base_shapes
from harness.backends.port import Physics
from harness.outcome import ScenarioError
from harness.scenario_cluster import ClusterSection, read_cluster, read_members
from harness.toml import Source, Table

MAX_RATE = 10_000
T = TypeVar("T")
BOUNDS = (
    "liveness_deltas", "liveness_ms", "inclusion_ms", "retrieve_ms", "exec_ms", "catch_up_blocks", "view_ms",
    "commit_ms", "catch_up_ms", "evidence_blocks",
)  # fmt: skip


class Expect(msgspec.Struct, frozen=True):
    """`violate` empty: every property holds. Otherwise each named one must break, and each in `hold` must not."""

    violate: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()


class NetworkSection(msgspec.Struct, frozen=True):
    """The network before any fault (faults/profiles.py)."""

    latency: str = "lan"  # uniform:<ms> | gcp-5[:<scale>] | lan
    jitter_ms: float = 0.0
    physics: Physics = Physics()


class WorkloadSection(msgspec.Struct, frozen=True):
    """What wallets ask for; `options` are the workload's own."""

    kind: str
    rate: float  # operations a second, all clients together
    clients: int  # processes, each with at most one operation in flight
    duration_s: float
    options: dict[str, Any] = {}


class BehaviourSection(msgspec.Struct, frozen=True):
    """`nodes` empty: every corrupted node. `from_s` 0: from the start of the node, before any load. `until_s` None: to
    the end of the run, quiet phase included. `views`, `event`: see faults/byzantine/triggers.py."""

    use: str
    nodes: tuple[str, ...] = ()
    from_s: float = 0.0
    until_s: float | None = None
    options: dict[str, Any] = {}
    path: str = ""
    views: tuple[int, int] | None = None
    event: dict[str, Any] = {}


class AdversarySection(msgspec.Struct, frozen=True):
    """What the scenario says the adversary may do. `count` nodes are drawn by the seed unless `nodes` names them.
    `blackout`: crashes count for no bound, since who was down comes back with its disk."""

    nodes: tuple[str, ...] = ()
    count: int = 0
    crashes: int = 0
    amnesiacs: int = 0
    blackout: bool = False
    behaviours: tuple[BehaviourSection, ...] = ()


class FaultSection(msgspec.Struct, frozen=True):
    """`until_s` None: to the end of the load."""

    use: str
    from_s: float = 0.0
    until_s: float | None = None
    parameters: dict[str, Any] = {}
    path: str = ""


class Scenario(msgspec.Struct, frozen=True):
    """A scenario file, read and checked."""

    name: str
    description: str
    expect: Expect
    cluster: ClusterSection
    network: NetworkSection
    workload: WorkloadSection
    adversary: AdversarySection
    faults: tuple[FaultSection, ...]
    checks: tuple[str, ...]  # empty: every registered checker
    bounds: dict[str, Any]
    warm_s: float  # between the cluster being ready and the load start
    quiet_s: float  # see runner.py, step 7
    seed: int | None  # the run's, where none is given
    raw: dict[str, Any]  # as written, for run.json
    source: str  # file name, for messages


def load(path: Path, overrides: dict[str, Any] | None = None) -> Scenario:
    """The scenario in a TOML file. `overrides` maps dotted keys to values that replace the file's.

    Raises ScenarioError on anything that is wrong with it.
    """
    try:
        text = path.read_bytes().decode()  # as it is: read_text would make a carriage return a new line
    except OSError as error:
        raise ScenarioError(
            f"{path}: cannot be read: {error.strerror}; `moonquake list scenarios` names the shipped ones"
        ) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not UTF-8 text: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: is not TOML: {error}") from error
    for key, value in (overrides or {}).items():
        _override(values, key.split("."), value)
    return parse(values, Source(str(path), text))


def parse(values: dict[str, Any], source: Source) -> Scenario:
    """The scenario in a decoded TOML document."""
    top = Table(values, source)
    name = top.take("name", str)
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        raise top.error("name", f"must consist of letters, digits, - and _, not {name!r}")
    description = top.take("description", str, "")
    expect = _expect(top)
    cluster = read_cluster(top.table("cluster"))
    network = _network(top.table("network"))
    workload = _workload(top.table("workload"))
    adversary = _adversary(top.table("adversary"), cluster)
    faults = tuple(_fault(table, cluster) for table in top.tables("fault"))
    checks, bounds = _checks(top.table("checks"))
    run = top.table("run")
    warm, quiet = run.seconds("warm", "0s"), run.seconds("quiet", "6s")
    seed = run.maybe_whole("seed", high=2**63 - 1)
    run.done()
    top.done()
    scenario = Scenario(
        name, description, expect, cluster, network, workload, adversary, faults, checks, bounds, warm, quiet, seed,
        values, source.name,
    )  # fmt: skip
    _check_windows(scenario, source)
    return scenario


def _override(values: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ScenarioError(f"{'.'.join(path)}: cannot be set on the command line: {part} is not a table")
    values[path[-1]] = value


def _expect(top: Table) -> Expect:
    value = top.raw("expect")
    if value == "hold":
        return Expect()
    if not isinstance(value, dict):
        raise top.error("expect", f'must be "hold" or {{ violate = "property" }}, not {value!r}')
    table = Table(value, top.source, "expect")
    violate = table.raw("violate")
    violate = (violate,) if isinstance(violate, str) else violate
    if not isinstance(violate, list | tuple) or not violate or not all(isinstance(v, str) for v in violate):
        raise top.error("expect", f"violate must name a property or list some, not {violate!r}")
    hold = table.strings("hold", [])
    table.done()
    both = sorted(set(violate) & set(hold))
    if both:
        raise top.error("expect", f"{both[0]!r} cannot both hold and be violated")
    return Expect(tuple(violate), hold)


def _network(table: Table) -> NetworkSection:
    network = NetworkSection(table.take("latency", str, "lan"), table.take("jitter_ms", float, 0.0), _physics(table))
    try:
        base_shapes(network.latency, ("n0", "n1"), network.jitter_ms)
    except ValueError as error:
        raise table.error("latency", str(error)) from error
    table.done()
    return network


def _physics(table: Table) -> Physics:
    """Keys that only the simulator honours; a scenario that sets one is refused elsewhere (Capability.PHYSICS)."""
    transport = table.take("transport", str, "stream")
    if transport not in ("stream", "datagram"):
        raise table.error("transport", f'must be "stream" or "datagram", not {transport!r}')
    egress, sync = table.take("egress_mbit", float, 0.0), table.take("sync_ms", float, 0.0)
    for key, number in (("egress_mbit", egress), ("sync_ms", sync)):
        if number < 0:
            raise table.error(key, f"must not be negative, not {number:g}")
    votes, trace = table.take("votes", str, "each"), table.take("trace", str, "full")
    for key, value, known in (("votes", votes, ("each", "lanes")), ("trace", trace, ("full", "lean"))):
        if value not in known:
            raise table.error(key, f"must be one of {', '.join(known)}, not {value!r}")
    return Physics(transport, egress, sync, votes, trace)


def _workload(table: Table) -> WorkloadSection:
    kind = table.take("kind", str)
    rate = table.take("rate", float, 20.0)
    if not 0 < rate <= MAX_RATE:
        raise table.error("rate", f"must be above 0 and at most {MAX_RATE} operations a second, not {rate}")
    clients = table.whole("clients", 16, low=1, high=1000)
    seconds = table.seconds("duration", "12s")
    if not seconds:
        raise table.error("duration", "must be longer than nothing")
    options = table.table("options").rest()
    table.done()
    return WorkloadSection(kind, rate, clients, seconds, options)


def _adversary(table: Table, cluster: ClusterSection) -> AdversarySection:
    value = table.raw("nodes", 0)
    if isinstance(value, int) and not isinstance(value, bool):
        nodes, count = (), value
        if not 0 <= count <= len(cluster.tribe):
            raise table.error("nodes", f"the tribe has {len(cluster.tribe)} nodes; {count} cannot be corrupted")
    else:
        read_members(table, "nodes", value, cluster.tribe)
        nodes, count = tuple(value), len(value)
        if len(set(nodes)) != count:
            raise table.error("nodes", f"names a node twice: {value!r}")
    crashes = table.whole("crashes", 0, high=len(cluster.tribe))
    amnesiacs = table.whole("amnesiacs", 0, high=len(cluster.tribe))
    blackout = table.take("blackout", bool, False)
    behaviours = tuple(_behaviour(sub, cluster) for sub in table.tables("behaviour"))
    table.done()
    return AdversarySection(nodes, count, crashes, amnesiacs, blackout, behaviours)


def _behaviour(table: Table, cluster: ClusterSection) -> BehaviourSection:
    use = table.take("use", str)
    nodes = table.raw("nodes", ())
    if nodes != ():
        read_members(table, "nodes", nodes, cluster.tribe)
    start, until = _window(table)
    views = _trigger(table, "views", triggers.parse_views)
    event = _trigger(table, "when", triggers.parse_event)
    options = table.table("options").rest()
    table.done()
    return BehaviourSection(use, tuple(nodes), start, until, options, table.path, views, event)


def _trigger(table: Table, key: str, parse: Callable[[Any], T]) -> T:
    try:
        return parse(table.raw(key, None))
    except ValueError as error:
        raise table.error(key, str(error)) from error


def _fault(table: Table, cluster: ClusterSection) -> FaultSection:
    use = table.take("use", str)
    start, until = _window(table)
    parameters = table.rest()
    everyone = cluster.tribe + cluster.gateways
    for key in ("victims", "nodes", "senders", "receivers"):
        if isinstance(parameters.get(key), list):
            read_members(table, key, parameters[key], everyone)
    links = parameters.get("links", [])
    if isinstance(links, list) and all(isinstance(link, str) for link in links) and links:
        read_members(table, "links", [node for link in links for node in link.split(">")], everyone)
    groups = parameters.get("groups", [])
    if not isinstance(groups, list):
        raise table.error("groups", f"must be a list of lists of nodes, not {groups!r}")
    for group in groups:
        read_members(table, "groups", group, everyone)
    return FaultSection(use, start, until, parameters, table.path)


def _window(table: Table) -> tuple[float, float | None]:
    start, until = table.seconds("from", "0s"), table.maybe_seconds("until")
    if until is not None and until <= start:
        raise table.error("until", f"ends at {until:g} s, not after it starts at {start:g} s")
    return start, until


def _checks(table: Table) -> tuple[tuple[str, ...], dict[str, Any]]:
    include = table.strings("include", [])
    limits = table.table("bounds")
    taken = {name: limits.take(name, float, 0.0) for name in BOUNDS}
    bounds = {name: value for name, value in taken.items() if value}
    for name, value in bounds.items():
        if value < 0:
            raise limits.error(name, f"must be above 0, not {value:g}")
    limits.done()
    table.done()
    return include, bounds


def _check_windows(scenario: Scenario, source: Source) -> None:
    """A fault outlives neither the load nor its own reason: nothing may start or end in the quiet phase."""
    load = scenario.workload.duration_s
    for fault in scenario.faults:
        if fault.from_s >= load:
            raise source.error(f"{fault.path}.from", f"starts at {fault.from_s:g} s, but the load lasts {load:g} s")
        if fault.until_s is not None and fault.until_s > load:
            raise source.error(f"{fault.path}.until", f"ends at {fault.until_s:g} s, but the load lasts {load:g} s")
    for behaviour in scenario.adversary.behaviours:
        if behaviour.from_s >= load:
            raise source.error(f"{behaviour.path}.from", f"starts after the load of {load:g} s has ended")
