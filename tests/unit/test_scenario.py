"""Scenario files: what is accepted, and what is refused with file, line and cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.outcome import ScenarioError
from harness.scenario import load
from tests.unit.scenarios import MINIMAL, changed, scenario


def test_defaults_are_filled_in() -> None:
    it = scenario()
    assert it.cluster.tribe == ("n0", "n1", "n2", "n3")
    assert it.cluster.gateways == ("g0", "g1")
    assert it.cluster.clans == (("n0", "n1", "n2", "n3"),)
    assert it.workload.duration_s == 0.5
    assert it.expect.violate == ()
    assert it.adversary.count == 0


def test_clans_are_contiguous_or_as_written() -> None:
    assert changed("nodes = 4", "nodes = 7\nclans = 2").cluster.clans == (("n0", "n1", "n2"), ("n3", "n4", "n5", "n6"))
    text = 'nodes = 6\nclans = [["n0", "n5", "n2"], ["n1", "n3", "n4"]]'
    assert changed("nodes = 4", text).cluster.clans[0] == ("n0", "n5", "n2")


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("nodes = 4", "nodes = 4\nnoeds = 5", "tiny.toml:6", "did you mean 'nodes'"),
        ("rate = 50", "rat = 50", "tiny.toml:11", "did you mean 'rate'"),
        ('[run]\nquiet = "2s"', '[run]\nquite = "2s"', "tiny.toml:17", "did you mean 'quiet'"),
        ("[run]", "[runn]", "tiny.toml:16", "did you mean 'run'"),
        ("nodes = 4", "nodes = 3", "tiny.toml:5", "between 4 and 400"),
        ("nodes = 4", "nodes = 1000", "tiny.toml:5", "between 4 and 400"),
        ("nodes = 4", 'nodes = "4"', "tiny.toml:5", "a whole number"),
        ("nodes = 4", "nodes = true", "tiny.toml:5", "a whole number"),
        ("nodes = 4", "nodes = 4\nclans = 2", "tiny.toml:6", "1 to 1 clans"),
        ("nodes = 4", 'nodes = 4\nclans = [["n0", "n1"], ["n1", "n2", "n3"]]', "tiny.toml:6", "exactly one clan"),
        ("nodes = 4", 'nodes = 4\nclans = [["n0", "n9"]]', "tiny.toml:6", "no node 'n9'"),
        ("nodes = 4", 'nodes = 4\nleaders = ["n7"]', "tiny.toml:6", "no node 'n7'"),
        ("nodes = 4", 'nodes = 4\nleaders = "random"', "tiny.toml:6", "round-robin"),
        ("nodes = 4", 'nodes = 4\ntarget = "supar"', "tiny.toml:6", "did you mean 'supra'"),
        ("gateways = 2", "gateways = 0", "tiny.toml:6", "between 1 and 50"),
        ('latency = "lan"', 'latency = "uniform"', "tiny.toml:8", "uniform"),
        ('latency = "lan"', 'latency = "wan"', "tiny.toml:8", "gcp-5"),
        ('duration = "500ms"', "duration = 12", "tiny.toml:13", "must be a duration"),
        ('duration = "500ms"', 'duration = "12 seconds"', "tiny.toml:13", "must be a duration"),
        ('duration = "500ms"', 'duration = "0s"', "tiny.toml:13", "longer than nothing"),
        ("rate = 50", "rate = 0", "tiny.toml:11", "above 0"),
        ("clients = 4", "clients = 0", "tiny.toml:12", "between 1"),
        ('expect = "hold"', 'expect = "holds"', "tiny.toml:3", 'must be "hold"'),
        ('expect = "hold"', "expect = { violate = [] }", "tiny.toml:3", "name a property"),
        ('expect = "hold"', 'expect = { violate = "fork", hold = ["fork"] }', "tiny.toml:3", "both hold"),
        ('expect = "hold"', 'expect = { violate = "fork", holt = [] }', "tiny.toml:3", "did you mean 'hold'"),
        ('name = "tiny"', 'name = "../up"', "tiny.toml:2", "letters"),
        ('name = "tiny"', "", "tiny.toml", "is missing"),
        ('include = ["receipts"]', 'include = ["receipts", "receipts"]', "tiny.toml:15", "twice"),
    ],
)
def test_refused_with_file_line_and_cure(old: str, new: str, where: str, says: str) -> None:
    with pytest.raises(ScenarioError) as error:
        changed(old, new)
    assert str(error.value).startswith(where)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("extra", "where", "says"),
    [
        ('[[fault]]\nuse = "crash"\nvictims = ["n4"]\n', "tiny.toml:20", "there is no node 'n4'"),
        ('[[fault]]\nuse = "partition"\ngroups = [["n0"], ["n8"]]\n', "tiny.toml:20", "there is no node 'n8'"),
        ('[[fault]]\nuse = "crash"\nfrom = "3s"\n', "tiny.toml:20", "the load lasts 0.5 s"),
        ('[[fault]]\nuse = "crash"\nuntil = "1s"\n', "tiny.toml:20", "the load lasts 0.5 s"),
        ('[[fault]]\nuse = "crash"\nfrom = "300ms"\nuntil = "200ms"\n', "tiny.toml:21", "not after it starts"),
        ('[[fault]]\nfrom = "0s"\n', "tiny.toml:18", "add use"),
        ('[adversary]\nnodes = ["n1", "n1"]\n', "tiny.toml:19", "twice"),
        ("[adversary]\nnodes = 9\n", "tiny.toml:19", "cannot be corrupted"),
        ('[adversary]\nnodes = ["g0"]\n', "tiny.toml:19", "there is no node 'g0'"),
        ('[[adversary.behaviour]]\nuse = "x"\nopts = 3\n', "tiny.toml:20", "did you mean 'options'"),
        ('[[adversary.behaviour]]\nuse = "x"\nnodes = ["n7"]\n', "tiny.toml:20", "there is no node 'n7'"),
        ('[[adversary.behaviour]]\nuse = "x"\nviews = [9, 3]\n', "tiny.toml:20", "the first and the last view"),
        ('[[adversary.behaviour]]\nuse = "x"\nwhen = "enter"\n', "tiny.toml:20", "must name a trace event"),
        ("[cluster.parameters]\ndelta = 5\n", "tiny.toml:19", "did you mean 'delta_ms'"),
        ("[cluster.parameters]\ndelta_ms = -5\n", "tiny.toml:19", "negative"),
        ('[cluster.parameters]\ndelta_ms = "5"\n', "tiny.toml:18", "int"),
        ("[checks.bounds]\nexec = 5\n", "tiny.toml:19", "did you mean 'exec_ms'"),
        ("[checks.bounds]\nexec_ms = -5\n", "tiny.toml:19", "above 0"),
        ("[[workload.options]]\n", "tiny.toml:18", "written [workload.options]"),
        ("[fault]\n", "tiny.toml:18", "written [[fault]]"),
    ],
)
def test_refused_sections(extra: str, where: str, says: str) -> None:
    with pytest.raises(ScenarioError) as error:
        scenario(extra)
    assert str(error.value).startswith(where), str(error.value)
    assert says in str(error.value)


def test_a_behaviour_may_wait_for_views_and_for_an_event() -> None:
    text = '[[adversary.behaviour]]\nuse = "x"\nviews = [20, 39]\nwhen = { event = "certify", kind = "fallback" }\n'
    (behaviour,) = scenario(text).adversary.behaviours
    assert behaviour.views == (20, 39)
    assert behaviour.event == {"event": "certify", "kind": "fallback"}


def test_the_second_of_two_faults_is_found() -> None:
    with pytest.raises(ScenarioError, match=r"tiny.toml:22: fault\[1\].from"):
        scenario('[[fault]]\nuse = "pause"\n[[fault]]\nuse = "pause"\nfrom = "9s"\n')


def test_files_that_are_not_scenarios(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    with pytest.raises(ScenarioError, match="moonquake list scenarios"):
        load(path)
    path.write_text("name = ")
    with pytest.raises(ScenarioError, match="is not TOML"):
        load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="UTF-8"):
        load(path)


def test_a_line_ends_where_toml_says_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_bytes(MINIMAL.replace("nodes = 4", "nodes = 4\rclans = 1").encode())
    with pytest.raises(ScenarioError, match="is not TOML"):
        load(path)
    path.write_bytes(MINIMAL.replace("\n", "\r\n").encode())
    assert load(path).raw == scenario().raw
    for mark in ("\u2028", "\x85"):
        text = MINIMAL.replace('name = "tiny"', f'name = "tiny"\ndescription = "one{mark}rate = 3{mark}two"')
        path.write_bytes(text.replace("nodes = 4", "nodes = 3").encode())
        line = text[: text.index("nodes = 4")].count("\n") + 1
        with pytest.raises(ScenarioError, match=f"tiny.toml:{line}: cluster.nodes"):
            load(path)


def test_overrides_replace_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(MINIMAL)
    it = load(path, {"cluster.nodes": 7, "workload.duration": "3s"})
    assert len(it.cluster.tribe) == 7
    assert it.workload.duration_s == 3
    with pytest.raises(ScenarioError, match="not a table"):
        load(path, {"name.first": "x"})
