"""Every registered target: what it says of itself is there, and it starts every node where it was told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faults.port import Roster
from harness import commands, plugins, shipped
from harness.expectations import OWED
from harness.targets.port import Target
from harness.workloads.port import is_foreign
from tests.program_kit import FakeSite

TARGETS = plugins.registered("targets")


def made(name: str) -> Target:
    kind: Any = TARGETS[name]
    nodes = tuple(f"n{i}" for i in range(max(kind.least, 4)))
    target: Target = kind(Roster(nodes, (), ()), 1)
    return target


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_names_is_registered(name: str) -> None:
    target, checkers, workloads = made(name), plugins.registered("checkers"), plugins.registered("workloads")
    assert target.name == name and target.ports and target.binaries
    assert target.workloads and all(is_foreign(workloads[workload]) for workload in target.workloads)
    assert set(target.checkers) <= set(checkers)
    judged = {*target.checkers, *(checker for workload in target.workloads for checker in OWED.get(workload, ()))}
    assert judged - {"liveness", "receipts"}, "something must judge what it promises"
    assert all(reason for reason in target.refuses.values())
    assert all(program.name and program.version for program in target.binaries)


@pytest.mark.parametrize("name", TARGETS)
def test_it_starts_every_node_with_its_own_program(name: str) -> None:
    target = made(name)
    site: Any = FakeSite()
    site.nodes = target.roster.tribe
    programs = target.programs(site)
    assert [program.node for program in programs] == list(target.roster.tribe)
    assert {program.arguments[0] for program in programs} <= {f"/programs/{b.name}" for b in target.binaries}
    assert all(not Path(path).is_absolute() and ".." not in path for p in programs for path in p.files)
    assert target.programs(site) == programs, "equal seeds give equal clusters"


@pytest.mark.parametrize("name", TARGETS)
def test_as_it_comes_it_keeps_its_promises_and_one_way_of_breaking_them_is_shipped(name: str) -> None:
    assert not made(name).beyond(0)
    groups: dict[str, set[str]] = {}
    for scenario, path in shipped.shipped().items():
        if commands.read_scenario(scenario).cluster.target == name:
            groups.setdefault(path.parent.name, set()).add(scenario)
    assert name in groups["smoke"], "a scenario of the target's own name shows that it holds"
    assert groups["foreign-negative"], "a check that cannot fail is none"
