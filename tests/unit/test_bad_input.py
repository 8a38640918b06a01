"""Bad input at the command line: what is wrong, where, the cure, the right exit code, and one JSON document."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shutil
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import cli, judging, runner
from harness.backends import select
from harness.outcome import Exit, UsageError
from harness.plan import resolve
from harness.provision import clean
from harness.runner import Runner
from harness.scenario import parse
from harness.toml import Source
from tests.fakes import FakeBackend
from tests.unit.scenarios import BEHAVIOUR, FAKES, FAULT, MINIMAL, plan

Command = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs `moonquake WORDS --json`; returns exit code, the one document on standard output, standard error."""
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(clean, "sweep", lambda progress: [])
    monkeypatch.setattr(runner, "POLL_S", 0.02)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, dict[str, Any], str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--json"])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(out), err

    return call


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend without nodes."""
    monkeypatch.setattr(select, "choose", lambda name, progress, hosts: (FakeBackend(), []))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's directory, made once."""
    root = tmp_path_factory.mktemp("recorded")
    made = Runner(plan(replaced={'"500ms"': '"200ms"'}), FakeBackend(), root)
    made.run()
    judging.conclude(made.directory)
    return made.directory


@pytest.fixture
def recorded(template: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(template, tmp_path / "recorded")
    return tmp_path / "recorded"


def scenario(text: str) -> str:
    Path("s.toml").write_text(text.replace("FAKES", FAKES))
    return "s.toml"


TWO_OF_FOUR = BEHAVIOUR.replace('["n2"]', '["n1", "n2"]')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL.replace("gateways =", "gatways ="), ["s.toml:6", "gatways", "unknown key", "did you mean 'gateways'"]),
        (MINIMAL + FAULT + "victms = 1\n", ["s.toml", "fault[0]", "victms"]),
        (MINIMAL.replace("nodes = 4", "nodes = 3"), ["s.toml:5", "between 4 and 400", "not 3"]),
        (MINIMAL.replace("nodes = 4", "nodes = 4\nclans = 2"), ["s.toml:6", "4 nodes make 1 to 1 clans"]),
        (MINIMAL.replace("nodes = 4", 'nodes = "four"'), ["s.toml:5", "whole number"]),
        (MINIMAL + TWO_OF_FOUR, ["s.toml", "over the bound", "2 Byzantine of 4", "lower it, or declare what breaks"]),
        (
            MINIMAL.replace('"hold"', '{ violate = "fork" }') + BEHAVIOUR,
            ["within every bound", "raise [adversary].nodes"],
        ),
        (MINIMAL + '[[fault]]\nuse = "partition"\ngroups = 3\n', ["s.toml", "groups", "list of lists"]),
        ("", ["s.toml", "name", "is missing"]),
        ("name = ", ["s.toml", "is not TOML", "Invalid value"]),
    ],
)
def test_scenarios_that_make_no_sense(command: Command, faked: None, text: str, says: list[str]) -> None:
    code, document, err = command("run", scenario(text))
    assert code == document["exit"] == Exit.USAGE
    assert all(part in document["error"] for part in says), document["error"]
    assert document["error"] in err
    assert not Path("runs").exists()  # refused before anything was started


def test_files_that_are_no_scenarios(command: Command) -> None:
    Path("garbage.toml").write_bytes(bytes(range(256)))
    Path("directory.toml").mkdir()
    for name, says in (
        ("garbage.toml", "UTF-8"),
        ("directory.toml", "Is a directory"),
        ("nowhere.toml", "list scenarios"),
        (os.fsdecode(b"caf\xe9.toml"), "caf\udce9.toml"),
    ):
        code, document, _ = command("run", name)
        assert code == Exit.USAGE
        assert name in document["error"] and says in document["error"]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from leaves(inner, (*path, key))


def test_no_value_anywhere_in_a_scenario_is_a_bug_of_the_harness() -> None:
    text = MINIMAL + BEHAVIOUR + FAULT + '[[fault]]\nuse = "partition"\ngroups = [["n0"], ["n1"]]\nuntil = "300ms"\n'
    whole = tomllib.loads(text.replace("FAKES", FAKES))
    strange: list[Any] = [3, -1, 10**30, 1.5, math.nan, math.inf, True, "", "x", "\0", [], [1], [["n0"]], {}, [{}]]
    tried = 0
    for path in leaves(whole):
        for value in strange:
            document = copy.deepcopy(whole)
            place = document
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            tried += 1
            try:
                resolve(parse(document, Source("s.toml")), 1)
            except UsageError as error:
                assert str(error)
    assert tried > 400


def test_a_missing_capability(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "_prepared", lambda name, progress: select.make(name))
    loss = '[[fault]]\nuse = "loss"\nprobability = 0.1\n'
    code, document, _ = command("run", scenario(MINIMAL + loss), "--backend", "process")
    assert code == Exit.USAGE
    assert all(part in document["error"] for part in ("'process'", "'loss'", "fault loss", "--backend docker"))
    assert not Path("runs").exists()


def test_no_docker(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    code, document, _ = command("run", scenario(MINIMAL), "--backend", "docker")
    assert code == Exit.ENVIRONMENT
    assert "unix:///nowhere/docker.sock" in document["error"] and "unset DOCKER_HOST" in document["error"]
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr("harness.provision.engine.find_engine", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, document, _ = command("run", scenario(MINIMAL), "--backend", "docker")
    assert code == Exit.ENVIRONMENT
    assert "doctor --fix" in document["error"] and "--backend process" in document["error"]


def cut(path: Path, count: int) -> None:
    """Take whole lines off the end."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-count]))


def changed_json(**changes: Any) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("history.jsonl", lambda p: p.write_bytes(p.read_bytes()[:-5]), "truncated"),
        ("history.jsonl", lambda p: cut(p, 3), "truncated: it holds"),
        ("history.jsonl", lambda p: p.write_bytes(b""), "truncated: it holds 0"),
        ("history.jsonl", lambda p: p.unlink(), "no history.jsonl|no such file"),
        ("history.jsonl", lambda p: p.write_bytes(p.read_bytes().replace(b'"ok"', b'"maybe"')), "maybe"),
        ("history.jsonl", lambda p: p.write_bytes(b'{"f":"\xff"}\n'), "not a history record"),
        ("history.jsonl", lambda p: p.write_bytes(os.urandom(99) + b"\n"), "history.jsonl:1"),
        ("history.jsonl", lambda p: (p.unlink(), p.mkdir()), "Is a directory"),
        ("trace.jsonl", lambda p: p.write_bytes(p.read_bytes()[:-5]), "truncated"),
        ("trace.jsonl", lambda p: cut(p, 1), "truncated: it holds"),
        ("trace.jsonl", lambda p: p.write_bytes(b""), "truncated: it holds 0"),
        ("trace.jsonl", lambda p: p.unlink(), "no trace.jsonl"),
        ("trace.jsonl", lambda p: p.write_bytes(b"[" * 100_000 + b"\n"), "not a trace record"),
        ("trace.jsonl", lambda p: p.write_bytes(b'{"a":' * 9999 + b"\n"), "not a trace record"),
        ("trace.jsonl", lambda p: p.write_bytes(p.read_bytes().replace(b'"time":', b'"time":"x","t":')), "'time'"),
        ("run.json", lambda p: p.unlink(), "no run.json"),
        ("run.json", lambda p: p.write_bytes(b""), "not a run description"),
        ("run.json", lambda p: p.write_bytes(os.urandom(99)), "not a run description"),
        ("run.json", changed_json(scenario=3), r"\$.scenario"),
        ("run.json", changed_json(checks={"include": 7}), "checks.include"),
        ("run.json", changed_json(expect={"violate": 3}), "expect.violate"),
        ("run.json", changed_json(incomplete="the disk was full"), "the disk was full"),
    ],
)  # fmt: skip
def test_damaged_records_are_refused_and_never_judged(
    command: Command, recorded: Path, name: str, damage: Callable[[Path], object], says: str
) -> None:
    damage(recorded / name)
    cut_between_lines = "it holds" in says  # a report draws and an export gives what is there; a judge must not
    actions = [["check"]]
    actions += [] if cut_between_lines else [["report"]]
    actions += [] if cut_between_lines or name != "history.jsonl" else [["export", "--edn"]]
    for action in actions:
        code, document, _ = command(*action, str(recorded))
        assert code == Exit.USAGE, document
        assert re.search(says, document["error"]), document["error"]
        assert str(recorded) in document["error"]


def test_a_run_without_verdicts_is_judged_and_then_reported(command: Command, recorded: Path) -> None:
    (recorded / "verdicts.json").unlink()
    code, document, _ = command("report", str(recorded))
    assert code == Exit.USAGE
    assert f"moonquake check {recorded}" in document["error"]
    assert command("check", str(recorded), "--checker", "receipts")[0] == Exit.AS_EXPECTED
    assert not (recorded / "verdicts.json").exists()  # one checker is not a judgement
    assert command("check", str(recorded))[0] == Exit.AS_EXPECTED
    assert command("report", str(recorded))[0] == Exit.AS_EXPECTED


def test_a_disk_that_takes_no_report(command: Command, recorded: Path) -> None:
    (recorded / "report.html").unlink()
    (recorded / "report.html").mkdir()
    code, document, _ = command("report", str(recorded))
    assert code == Exit.ENVIRONMENT
    assert "report.html" in document["error"] and "room on the disk" in document["error"]
    assert sorted(path.name for path in recorded.iterdir() if path.name.endswith(".part")) == []


def test_names_that_are_not_utf_8(command: Command, faked: None) -> None:
    for words in (["check", os.fsdecode(b"\xe9")], ["run", scenario(MINIMAL), "--runs", os.fsdecode(b"r\xe9")]):
        code, document, _ = command(*words)
        assert code in (Exit.USAGE, Exit.ENVIRONMENT)
        assert "\udce9" in document["error"]


def test_a_plug_in_that_prints_does_not_spoil_the_document(command: Command, recorded: Path) -> None:
    Path("noisy.py").write_text(
        "print('hello')\nfrom results.verdict import Status, Verdict\n"
        "class Noisy:\n    property = 'noisy'\n    def check(self, run):\n        print('still here')\n"
        "        return Verdict('noisy', Status.PASS, 1)\n"
    )
    code, document, err = command("check", str(recorded), "--checker", "noisy.py:Noisy")
    assert code == Exit.AS_EXPECTED
    assert document["verdicts"][0]["property"] == "noisy"
    assert "hello" in err and "still here" in err


def test_ctrl_c_while_judging_says_where_the_records_are(
    command: Command, faked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(directory: Path, once_more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "conclude", interrupted)
    code, document, _ = command("run", scenario(MINIMAL), "--time", "100ms")
    assert code == Exit.INCONCLUSIVE
    assert "moonquake check" in document["error"] and str(Path("runs").absolute()) in document["error"]


def test_a_run_leaves_signals_as_they_were(command: Command, faked: None) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    command("run", scenario(MINIMAL), "--time", "100ms")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_bug_in_mid_run_leaves_records_that_say_so(
    command: Command, faked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Runner, *arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Runner, "_loaded", broken)
    monkeypatch.setattr(Runner, "_collect", lambda *_: None)
    assert command("run", scenario(MINIMAL))[0] == Exit.INCONCLUSIVE
    (directory,) = Path("runs/tiny").iterdir()
    code, document, _ = command("check", str(directory))
    assert code == Exit.USAGE
    assert "in the middle of the run" in document["error"]


def test_a_state_directory_that_cannot_be(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("MOONQUAKE_STATE", str(Path(__file__)))
    said: list[str] = []
    assert clean.sweep(said.append) == []  # whatever the command was, it is not stopped by that
    assert "MOONQUAKE_STATE" in said[0]
