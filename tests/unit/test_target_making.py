"""Scenarios of systems that are not ours: what is planned, and what is refused with which words."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from faults.port import Capability, UnsupportedError
from harness import cli, commands, plan, shrink
from harness.backends.port import ClusterSpec, ProgramSpec
from harness.outcome import Exit, ScenarioError, UsageError
from harness.scenario import Scenario, parse
from harness.toml import Source
from tests import program_kit

KIT = f"{Path(program_kit.__file__)}:Scripted"
TEXT = f"""
name = "foreign"
expect = "hold"
[cluster]
target = {json.dumps(KIT)}
nodes = 3
[workload]
kind = "registers"
"""


def scenario(extra: str = "", **changes: str) -> Scenario:
    text = TEXT
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return parse(tomllib.loads(text + extra), Source("foreign.toml", text + extra))


def refused(extra: str = "", **changes: str) -> str:
    with pytest.raises(UsageError) as caught:
        commands.plan_of(scenario(extra, **changes), 1)
    return str(caught.value)


def test_a_file_of_ones_own_is_a_target(tmp_path: Path) -> None:
    made = commands.plan_of(scenario(), 5)
    assert made.target is not None and made.genesis is None
    assert made.roster.tribe == ("n0", "n1", "n2") and not made.roster.gateways and not made.roster.clans
    assert made.checkers == ("liveness", "linearizable", "receipts")
    assert made.needs == {Capability.PROGRAM: "target scripted"}
    spec = plan.spec_of(made, "run", tmp_path)
    assert isinstance(spec, ProgramSpec) and spec.seed == 5
    info = plan.describe(made, "process", "now", [])
    assert (info.regime, info.honest, info.public_keys) == ("within", ["n0", "n1", "n2"], {})


def test_ours_is_still_the_usual_target(tmp_path: Path) -> None:
    made = commands.plan_of(commands.read_scenario("fault-free"), 1)
    assert made.target is None and isinstance(plan.spec_of(made, "run", tmp_path), ClusterSpec)


def test_a_weak_setting_is_beyond_the_bound_and_must_say_what_breaks() -> None:
    weak = "[cluster.options]\nweak = true\n"
    assert "it is weak" in refused(weak)
    kept = {'expect = "hold"': 'expect = { violate = "linearizable" }'}
    text = TEXT.replace(*next(iter(kept.items()))) + weak
    assert commands.plan_of(parse(tomllib.loads(text), Source("x", text)), 1).regime.name == "beyond"
    text = text.replace("weak = true", "weak = false")
    with pytest.raises(ScenarioError, match="within every bound"):
        commands.plan_of(parse(tomllib.loads(text), Source("x", text)), 1)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[cluster.options]\nstrong = true\n", "unknown parameter strong"),
        ("[cluster.parameters]\ndelta_ms = 5\n", "unknown key"),
        ('[[adversary.behaviour]]\nuse = "silent-leader"\n', "behaviours are written for our own nodes"),
        ("[adversary]\nnodes = 1\n", "name the corrupted nodes"),
        ("[workload.options]\nreads = 2\n", "between 0 and 1"),
        ('[[fault]]\nuse = "crash"\nvictims = ["n1"]\n', "crashes is 0"),
    ],
)
def test_senseless_scenarios_are_refused(extra: str, words: str) -> None:
    assert words in refused(extra)


def test_nodes_and_workloads_are_the_targets_business() -> None:
    assert "needs 2 nodes" in refused(**{"nodes = 3": "nodes = 1"})
    assert "does not know 'lists'" in refused(**{'"registers"': '"lists"'})
    with pytest.raises(ScenarioError, match="did you mean 'etcd'"):
        scenario(**{json.dumps(KIT): '"etc"'})


def test_the_other_way_round_wallets_know_no_registers() -> None:
    text = 'name = "ours"\nexpect = "hold"\n[cluster]\nnodes = 4\n[workload]\nkind = "registers"\n'
    with pytest.raises(ScenarioError, match="for systems that are not ours"):
        commands.plan_of(parse(tomllib.loads(text), Source("ours", text)), 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('use = "clock-skew"\nskew_ms = 100', "it has no clock"),
        ('use = "message-delay"\nhigh_ms = 5', "does not know its messages"),
        ('use = "membership"\nvictims = ["n1"]', "members are fixed"),
        ('use = "power-loss"\nvictims = ["n1"]', "its disk is the machine's"),
    ],
)
def test_faults_that_cannot_work_are_refused_with_the_reason(fault: str, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        commands.plan_of(scenario(f"[adversary]\ncrashes = 1\n[[fault]]\n{fault}\n"), 1)


def test_etcd_says_why_its_clock_cannot_be_skewed() -> None:
    values: dict[str, Any] = tomllib.loads(TEXT)
    values["cluster"]["target"] = "etcd"
    values["fault"] = [{"use": "clock-skew", "skew_ms": 100}]
    with pytest.raises(UnsupportedError, match="libfaketime does not reach them"):
        commands.plan_of(parse(values, Source("x")), 1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "etcd", "--backend", "sim"), "lacks 'program'"),
        (("run", "etcd", "--attack", "mine.py:Attack"), "is for our own nodes"),
        (("search", "etcd", "--runs", "1"), "does not run in the simulator"),
    ],
)
def test_what_only_our_own_nodes_can_do_is_refused_as_usage(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    assert ended.value.code == Exit.USAGE
    assert told in capsys.readouterr().err


def test_shrinking_says_that_it_needs_the_simulator(tmp_path: Path) -> None:
    info = plan.describe(commands.plan_of(scenario(), 1), "process", "now", [])
    for name in ("history.jsonl", "trace.jsonl"):
        (tmp_path / name).write_text("")
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(info))
    with pytest.raises(UsageError, match="does not run in the simulator"):
        shrink.shrink(tmp_path)
