"""The command line: exit codes, and --json."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness import doctor, rundir, screen, shipped, suite
from harness.backends import select
from harness.backends.port import MachineError
from harness.interruption import Interrupted
from harness.outcome import Exit, RecordingError, UsageError
from harness.provision import clean
from harness.runner import Runner
from results.store import Run
from tests.fakes import FakeBackend
from tests.unit.scenarios import BEHAVIOUR, FAKES, FAULT, MINIMAL, Command, written

BEYOND = MINIMAL.replace('expect = "hold"', 'expect = { violate = "fork", hold = ["prefix"] }') + BEHAVIOUR.replace(
    '["n2"]', '["n2", "n3"]'
).replace("FAKES", FAKES)


@pytest.mark.parametrize(
    ("text", "statuses", "code", "answer"),
    [
        (MINIMAL, {}, Exit.AS_EXPECTED, True),
        (MINIMAL, {"receipts": "FAIL"}, Exit.SURPRISE, False),
        (MINIMAL, {"receipts": "UNKNOWN"}, Exit.INCONCLUSIVE, None),
        (BEYOND, {"fork": "FAIL"}, Exit.AS_EXPECTED, True),
        (BEYOND, {"fork": "PASS"}, Exit.SURPRISE, False),
        (BEYOND, {"fork": "UNKNOWN"}, Exit.INCONCLUSIVE, None),
        (BEYOND, {"fork": "FAIL", "prefix": "FAIL"}, Exit.SURPRISE, False),
        (BEYOND, {"fork": "FAIL", "prefix": "UNKNOWN"}, Exit.INCONCLUSIVE, None),
        (BEYOND, {"fork": "FAIL", "receipts": "UNKNOWN"}, Exit.INCONCLUSIVE, None),
    ],
)
def test_run_json_and_exit_codes(
    command: Command, judged: dict[str, str], text: str, statuses: dict[str, str], code: int, answer: bool | None
) -> None:
    judged.update(statuses)
    found, out, err = command("run", written(text), "--json", "--seed", "5", "--time", "200ms")
    assert found == code
    document = json.loads(out)
    assert document["as_expected"] is answer
    assert document["regime"] == ("beyond" if text is BEYOND else "within")
    assert document["digest"] is None
    assert {v["property"] for v in document["verdicts"]} >= {"receipts"}
    assert "a note" in document["notes"]
    assert "load" in err
    run = Run(Path(document["run"]))
    assert run.info.as_expected is answer
    assert [v.property for v in run.verdicts] == [v["property"] for v in document["verdicts"]]
    assert Path(document["report"]).is_file()


@pytest.mark.parametrize("backend", ["auto", "process", "docker"])
def test_what_only_the_simulator_can_do_is_refused_by_name_before_anything_starts(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: str
) -> None:
    monkeypatch.setattr(select, "choose", lambda *_: pytest.fail("a backend was prepared"))
    monkeypatch.setattr(clean, "sweep", lambda progress: pytest.fail("the machine was swept"))
    for use, parameters, capability in (
        ("message-loss", "", "message"),
        ("message-delay", "high_ms = 100", "message"),
        ("duplication", "", "message"),
        ("reordering", "", "message"),
        ("chaos", "most_ms = 100", "message"),
        ("slow-disk", "sync_ms = 10", "power"),
        ("clock-skew", "skew_ms = 10", "clock"),
    ):
        text = MINIMAL + f'[[fault]]\nuse = "{use}"\n{parameters}\n'
        code, out, err = command("run", written(text), "--backend", backend)
        assert code == Exit.USAGE and not out
        said = " ".join(err.split())
        assert f"lacks '{capability}' (needed by fault {use}): use --backend sim" in said
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_run_for_people(command: Command, judged: dict[str, str]) -> None:
    judged["receipts"] = "FAIL"
    code, out, _ = command("run", written(MINIMAL), "--time", "200ms")
    assert code == Exit.SURPRISE
    assert "a sentence" in out
    assert "as expected: NO" in out
    assert "note: a note" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "fault-fre"], "did you mean 'fault-free'"),
        (["run", "nowhere.toml"], "cannot be read"),
        (["run", "fault-free", "--nodes", "2"], "between 4 and 400"),
        (["run", "fault-free", "--time", "soon"], "must be a duration"),
        (["run", "fault-free", "--seed", "-1"], "--seed"),
        (["run", "fault-free", "--seed", "x"], "--help"),
        (["run", "fault-free", "--attack", "double-voter"], "FILE.py:Class"),
        (["run", "fault-free", "--attack", "absent.py:X"], "absent.py"),
        (["run"], "--help"),
        (["frobnicate"], "--help"),
        (["list", "falts"], "did you mean 'faults'"),
        (["check", "nothing-here"], "there is nothing"),
        (["check", "."], "run.json"),
        (["report", "nothing-here"], "runs/latest"),
        (["export", "nothing-here"], "--edn"),
        (["export", "nothing-here", "--edn"], "no such file"),
    ],
)
def test_usage_errors(command: Command, words: list[str], says: str) -> None:
    code, _, err = command(*words)
    assert code == Exit.USAGE
    assert says in err


def test_an_error_in_json_is_one_document(command: Command) -> None:
    code, out, _ = command("run", "fault-fre", "--json")
    assert code == Exit.USAGE
    assert json.loads(out) == {"error": json.loads(out)["error"], "exit": 3}


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MachineError("the port is in use; stop what holds it"), Exit.ENVIRONMENT, "the port is in use"),
        (RecordingError("no room"), Exit.ENVIRONMENT, "no room"),
        (Interrupted("the records are in runs/x"), Exit.INCONCLUSIVE, "the records are in runs/x"),
        (KeyboardInterrupt(), Exit.INCONCLUSIVE, "interrupted"),
        (ZeroDivisionError("oops"), Exit.INCONCLUSIVE, "a bug of the harness"),
    ],
)
def test_trouble_in_mid_run(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    def fail(self: Runner) -> None:
        raise error

    monkeypatch.setattr(Runner, "run", fail)
    found, _, err = command("run", written(MINIMAL))
    assert found == code
    assert says in err


def test_missing_capability_is_usage(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "choose", lambda name, progress, hosts: (FakeBackend(capabilities=frozenset()), []))
    code, _, err = command("run", written(MINIMAL + FAULT.replace("FAKES", FAKES)))
    assert code == Exit.USAGE
    assert "'cut'" in err and "process" in err


def test_attack_and_size_from_the_command_line(command: Command, judged: dict[str, str]) -> None:
    words = ("run", written(MINIMAL), "--attack", f"{FAKES}:FakeBehaviour", "--nodes", "7", "--time", "100ms", "--json")
    _, out, _ = command(*words)
    info = Run(Path(json.loads(out)["run"])).info
    assert len(info.tribe) == 7
    assert len(info.byzantine) == 2
    assert info.faults[0].use.endswith(":FakeBehaviour")


def test_options_of_an_attack_from_the_command_line(command: Command, judged: dict[str, str]) -> None:
    words = ("run", written(MINIMAL), "--attack", f"{FAKES}:FakeBehaviour", "--time", "100ms", "--json")
    _, out, _ = command(*words, "--option", "share=0.25")
    assert Run(Path(json.loads(out)["run"])).info.faults[0].parameters == {"share": 0.25}
    for given, says in (("share=much", "share = 'much': Expected `float`"), ("share", "must be KEY=VALUE")):
        code, _, err = command(*words, "--option", given)
        assert code == Exit.USAGE and says in err
    code, _, err = command("run", written(MINIMAL), "--option", "share=1")
    assert code == Exit.USAGE and "add --attack FILE.py:Class" in err


def test_an_attack_file_with_a_mistake_is_refused_before_anything_starts(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "choose", lambda name, progress, hosts: pytest.fail("a backend was prepared"))
    Path("mine.py").write_text("from faults.byzantine.port import Behaviour\n\n\nclass Mine(Behavior):\n    x = 1\n")
    code, _, err = command("run", written(MINIMAL), "--attack", "mine.py:Mine")
    assert code == Exit.USAGE
    assert "mine.py:4: NameError: name 'Behavior' is not defined" in err
    assert 'mine.py", line 4, in <module>' in err
    assert not Path("runs").exists()


def test_the_suite_is_a_table_and_the_worst_code(
    command: Command, judged: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(MINIMAL.replace('"500ms"', '"100ms"').replace('["receipts"]', '["fork"]'))
    bad.write_text(BEYOND.replace('"500ms"', '"100ms"').replace("tiny", "broken"))
    monkeypatch.setattr(shipped, "suite", lambda: [good, bad])
    code, out, err = command("lab", "--json")
    lines, claims = json.loads(out)["lines"], {claim["id"]: claim for claim in json.loads(out)["claims"]}
    assert code == Exit.SURPRISE
    assert claims["no-fork"]["finding"] == "INCONCLUSIVE" and claims["no-fork"]["n"] == 1
    assert claims["no-fork"]["runs"] == {"within": 1, "beyond": 1}
    assert "liveness-after-gst" not in claims, "a claim that no run touched is not listed"
    assert [(line["scenario"], line["as_expected"]) for line in lines] == [("tiny", True), ("broken", False)]
    assert lines[1]["claimed"] == "fork breaks; prefix hold (beyond the bound)"
    assert lines[1]["observed"] == "3 PASS"
    assert "[2/2] broken" in err
    judged["fork"] = "FAIL"
    good.write_text(MINIMAL.replace('"500ms"', '"100ms"'))
    code, out, _ = command("lab")
    assert code == Exit.AS_EXPECTED
    assert "as expected?" in out and "note: a note" in out
    assert out.index("as expected?") < out.index("no-fork") < out.index("by these runs alone")
    assert len([line for line in out.splitlines() if line.startswith("report: ") and Path(line[8:]).is_file()]) == 2


def test_the_table_of_a_suite_is_whole_on_a_narrow_terminal() -> None:
    path = "/a/directory/with/a/long/name/runs/lying-executors-at-clan-bound/20260101T000000Z-1/report.html"
    broken = suite.Line(
        "fault-free", "every property holds", "could not run: [no] room", None, "docker", "", Exit.USAGE
    )
    wide = Console(width=80, file=io.StringIO())
    screen.suite(
        wide, [suite.Line("lying-executors-at-clan-bound", "x " * 40, "11 PASS", True, "d", path, Exit(0)), broken]
    )
    assert isinstance(wide.file, io.StringIO)
    lines = wide.file.getvalue().splitlines()
    assert f"report: {path}" in lines
    assert all(len(line) <= 80 for line in lines if not line.startswith("report: "))
    assert "…" not in wide.file.getvalue()
    assert "[no]" in wide.file.getvalue()


def test_worst_of_a_suite() -> None:
    def lines(*codes: Exit) -> list[suite.Line]:
        return [suite.Line("s", "", "", None, "", "", code) for code in codes]

    assert suite.worst(lines(Exit.AS_EXPECTED, Exit.INCONCLUSIVE)) is Exit.INCONCLUSIVE
    assert suite.worst(lines(Exit.ENVIRONMENT, Exit.INCONCLUSIVE)) is Exit.ENVIRONMENT
    assert suite.worst(lines(Exit.ENVIRONMENT, Exit.SURPRISE)) is Exit.SURPRISE
    assert suite.worst([]) is Exit.INCONCLUSIVE


@pytest.mark.parametrize("ok", [True, False])
def test_doctor(command: Command, monkeypatch: pytest.MonkeyPatch, ok: bool) -> None:
    check = doctor.Check("engine", ok, "what was found", "" if ok else "apt-get install docker.io")
    monkeypatch.setattr(doctor, "examine", lambda fix, progress, browser, targets, hosts: doctor.Report((check,), ok))
    monkeypatch.setattr(doctor, "clean", lambda progress, hosts: ["removed network x"])
    code, out, _ = command("doctor", "--json")
    assert code == (Exit.AS_EXPECTED if ok else Exit.ENVIRONMENT)
    assert json.loads(out)["ok"] is ok
    assert "engine" in command("doctor")[1]
    assert json.loads(command("doctor", "--clean", "--json")[1]) == {"removed": ["removed network x"]}


def test_leftovers_are_swept_before_anything_else(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep(progress: Any) -> list[str]:
        progress("process 4711 ended")
        return ["process 4711 ended"]

    monkeypatch.setattr(clean, "sweep", sweep)
    assert "left over from a killed run: process 4711 ended" in command("list", "faults")[2]


def test_auto_falls_back_to_processes_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoEngine(FakeBackend):
        def prepare(self, progress: Any) -> None:
            raise MachineError("no Docker engine answers; apt-get install docker.io")

    class Process(FakeBackend):
        name = "process"

    monkeypatch.setattr(select, "make", lambda name: NoEngine() if name == "docker" else Process())
    said: list[str] = []
    backend, notes = select.choose("auto", said.append)
    assert backend.name == "process"
    assert notes == said
    assert "no Docker engine answers; apt-get install docker.io" in notes[0]
    with pytest.raises(MachineError, match=r"apt-get install docker.io"):
        select.choose("docker", said.append)
    with pytest.raises(UsageError, match="did you mean 'docker'"):
        select.choose("dokcer", said.append)


def test_half_written_documents_are_never_seen(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(MachineError, match="cannot be written"):
        rundir.write_json(tmp_path / "run.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


DEAF = """
import os
import signal
from results.verdict import Status, Verdict

class Deaf:
    property = "deaf"

    def check(self, run):
        try:
            os.kill(os.getpid(), signal.{number})
            while True:
                pass
        except KeyboardInterrupt:
            return Verdict("deaf", Status.PASS, 1)
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interruption_that_a_library_drops_while_judging_is_not_lost(
    command: Command, tmp_path: Path, number: str
) -> None:
    """Code in C may drop what is raised while it runs: a Ctrl-C was, once, and the run went on to a verdict."""
    (tmp_path / "deaf.py").write_text(DEAF.replace("{number}", number))
    before = signal.getsignal(signal.SIGINT)
    text = MINIMAL.replace('include = ["receipts"]', f'include = ["{tmp_path}/deaf.py:Deaf"]')
    code, out, _ = command("run", written(text), "--json", "--time", "200ms")
    assert code == Exit.INCONCLUSIVE and "moonquake check" in json.loads(out)["error"]
    assert not list(tmp_path.glob("runs/*/*/verdicts.json"))
    assert signal.getsignal(signal.SIGINT) is before
