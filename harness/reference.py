"""`docs/reference.md`, made from the code: commands, scenario keys, plug-ins with their parameters, trace events.

    python -m harness.reference > docs/reference.md

Every scenario key must be told here and every key told here must exist; a test holds the page against the code.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from faults.registry import summary
from harness import cli, plugins
from harness.outcome import Exit
from harness.scenario import parse
from harness.toml import Source, Table
from results import trace

FULL: dict[str, Any] = {  # a scenario that has every table
    "name": "full",
    "expect": {"violate": "fork", "hold": ["prefix"]},
    "cluster": {"nodes": 4},
    "workload": {"kind": "transfers"},
    "adversary": {"nodes": 2, "behaviour": [{"use": "double-voter"}]},
    "fault": [{"use": "partition"}],
}
FOREIGN = {
    "name": "foreign",
    "expect": "hold",
    "cluster": {"target": "etcd", "nodes": 3},
    "workload": {"kind": "lists"},
}
TABLES = {"adversary", "checks", "cluster", "network", "run", "workload"}  # that hold keys and nothing else
KEYS = {
    "name": "letters, digits, `-` and `_`; the run directory is called after it",
    "description": "a sentence for `moonquake list scenarios` and for the report",
    "expect": '`"hold"` (every property holds) or `{ violate = "fork", hold = ["prefix"] }`',
    "expect.violate": "the property, or list of properties, that must break",
    "expect.hold": "properties that must hold all the same",
    "cluster.target": "the system under test (default `supra`)",
    "cluster.nodes": "tribe size, 4 to 400 (other targets: 1 to 25); the nodes are called n0, n1, ...",
    "cluster.clans": "number of clans (default 1), or lists of nodes that share out the tribe",
    "cluster.gateways": "number of gateways, 1 to 50 (default 1), called g0, g1, ...",
    "cluster.leaders": '`"fair-succession"` (default), `"round-robin"` or a list of nodes in turn',
    "cluster.parameters": "protocol parameters by name; see below",
    "cluster.options": "the target's own parameters, of a system that is not ours (`moonquake list targets`)",
    "network.latency": "`lan` (default), `uniform:<ms>` or `gcp-5`, one way",
    "network.jitter_ms": "evenly spread extra delay (default 0)",
    "network.transport": "`stream` (default) or `datagram`; simulator only",
    "network.egress_mbit": "what a node's uplink carries; 0 is no limit; simulator only",
    "network.sync_ms": "how long a disk takes to sync (default 0); simulator only",
    "network.votes": "`each` (default) or `lanes`, for scale runs; simulator only",
    "network.trace": "`full` (default) or `lean`; simulator only",
    "workload.kind": "a workload; see below",
    "workload.rate": "operations a second, all clients together (default 20)",
    "workload.clients": "processes, each with one operation in flight (default 16)",
    "workload.duration": "how long the load lasts (default `12s`)",
    "workload.options": "the workload's own parameters",
    "adversary.nodes": "how many nodes are corrupted (drawn by the seed), or which",
    "adversary.crashes": "how many nodes faults may crash (default 0)",
    "adversary.blackout": "`true`: all may be down at one time, as they come back with their disks (default false)",
    "adversary.amnesiacs": "how many nodes may lose their disks (default 0)",
    "adversary.behaviour": "an array of tables, one a behaviour",
    "adversary.behaviour.use": "a behaviour, or `path/to/file.py:Class`",
    "adversary.behaviour.nodes": "on which of the corrupted nodes (default: all of them)",
    "adversary.behaviour.from": "start, after the load has begun (default `0s`: from the node's start)",
    "adversary.behaviour.until": "end (default: that of the run)",
    "adversary.behaviour.views": "the views in which it acts, `[first, last]` (default: all of them)",
    "adversary.behaviour.when": "the event of its own core from which on it acts: `{ event = \"enter\", view = 24 }`",
    "adversary.behaviour.options": "the behaviour's own parameters",
    "fault": "an array of tables, one a fault; further keys are the fault's own parameters",
    "fault.use": "a fault, or `path/to/file.py:Class`",
    "fault.from": "start, after the load has begun (default `0s`)",
    "fault.until": "end (default: that of the load)",
    "checks.include": "the checkers to ask (default: all that apply)",
    "checks.bounds": "bounds that replace the derived ones",
    "checks.bounds.liveness_deltas": "heal to first finalised block, in Delta",
    "checks.bounds.liveness_ms": "the same in ms; to be given for systems that are not ours",
    "checks.bounds.inclusion_ms": "acceptance to ordering",
    "checks.bounds.retrieve_ms": "certificate to a held batch",
    "checks.bounds.exec_ms": "ordering to execution finality",
    "checks.bounds.catch_up_blocks": "how far a node may be behind at the end",
    "checks.bounds.catch_up_ms": "heal to having caught up",
    "checks.bounds.evidence_blocks": "blocks from a double vote to its evidence on the chain (CometBFT)",
    "checks.bounds.view_ms": "the longest view once the network is synchronous",
    "checks.bounds.commit_ms": "proposal to commit once the network is synchronous",
    "run.warm": "time between a ready cluster and the load (default `0s`)",
    "run.quiet": "the longest time after the load in which nodes may catch up (default `6s`)",
    "run.seed": "the run's seed where the command line gives none (default 1)",
}  # fmt: skip


def markdown() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_commands(), *_scenario(), *_plugins(), *_trace()]) + "\n"


def _head() -> Iterator[str]:
    yield "# Reference"
    yield "Made from the code by `python -m harness.reference`; a test compares the two.\n"
    yield "Exit codes, everywhere: " + ", ".join(f"{code.value} {_words(code.name)}" for code in Exit) + "."


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


# ---------------------------------------------------------------- commands
def _commands() -> Iterator[str]:
    cli.register_all()
    group: Any = typer.main.get_command(cli.app)  # the parser's own classes, which typer does not name in public
    yield "\n## Commands"
    for name, command in sorted(group.commands.items()):
        yield f"\n### moonquake {name}\n{_sentence(command.help)}\n"
        yield "| argument or option | what it is |\n|---|---|"
        for parameter in command.params:
            if "--help" not in parameter.opts:
                yield f"| {_called(parameter)} | {_cell(getattr(parameter, 'help', None) or '')} |"


def _called(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = str(parameter.name).upper()
        return f"`{name if parameter.required else f'[{name}]'}`"
    return ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return _sentence(text).replace("|", "\\|")


# ---------------------------------------------------------------- scenarios
def scenario_keys() -> set[str]:
    """Every key that reading a scenario asks for, dotted, without the numbers of arrays."""
    with _asked() as keys:
        parse(FULL, Source("reference"))
        parse({**FULL, "expect": "hold"}, Source("reference"))
        parse(FOREIGN, Source("reference"))
    return {re.sub(r"\[\d+\]", "", key) for key in keys} - TABLES


@contextmanager
def _asked() -> Iterator[set[str]]:
    """What tables are asked for inside the context."""
    keys: set[str] = set()
    original = Table.raw

    def raw(self: Table, name: str, *default: Any) -> Any:
        keys.add(self.key(name))
        return original(self, name, *default)

    def asked(self: Table, name: str) -> bool:
        keys.add(self.key(name))
        return maybe(self, name)

    maybe = Table.asked
    Table.raw, Table.asked = raw, asked  # type: ignore[assignment,method-assign]
    try:
        yield keys
    finally:
        Table.raw, Table.asked = original, maybe  # type: ignore[method-assign]


def _scenario() -> Iterator[str]:
    yield "\n## Scenario keys"
    yield "A TOML file; a key that is not listed is refused. Durations are written `500ms`, `12s`, `2m`, `1h`.\n"
    yield "| key | what it is |\n|---|---|"
    for key, text in KEYS.items():
        yield f"| `{key}` | {_cell(text)} |"
    yield "\n### Protocol parameters (`[cluster.parameters]`)\n\n| name | default |\n|---|---|"
    for name, default in _parameters():
        yield f"| `{name}` | {_cell(default)} |"


def _parameters() -> Iterator[tuple[str, str]]:
    from nodes.committee import Parameters

    defaults = Parameters()
    for name in Parameters.__struct_fields__:
        yield name, repr(getattr(defaults, name))


# ---------------------------------------------------------------- plug-ins and traces
def _plugins() -> Iterator[str]:
    for group, skipped in (("workloads", 2), ("faults", 0), ("checkers", 0)):
        yield f"\n## {group.capitalize()}\n\n| name | what it does | parameters |\n|---|---|---|"
        for name, kind in plugins.registered(group).items():
            found = list(inspect.signature(kind).parameters.values())[skipped:]
            told = ", ".join(f"`{p.name}`" for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
            yield f"| `{name}` | {_cell(summary(kind))} | {told} |"
    yield "\nBehaviours: the library is [attacks.md](attacks.md), how to write one [behaviours.md](behaviours.md)."


def _trace() -> Iterator[str]:
    yield "\n## Trace events\n```text"
    yield inspect.cleandoc(trace.__doc__ or "").replace("```", "")
    yield "```"


if __name__ == "__main__":
    sys.stdout.write(markdown())
