"""`moonquake check` of histories alone, and the real Elle as a second opinion: a small program stands in for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from checkers.elle_list_append import ElleListAppend
from harness import cli, elle_cli
from harness.backends.port import MachineError
from harness.outcome import Exit
from harness.provision import clean
from results.alone import HistoryAlone
from results.verdict import Status
from tests.golden.transactions import TEXTS, records

LISTS, REGISTERS = TEXTS["elle-list-append"], TEXTS["elle-rw-register"]
Command = Callable[..., tuple[int, dict[str, object], str]]
Answers = Callable[..., Path]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs `moonquake WORDS --json`; returns exit code, the document on standard output, standard error."""
    monkeypatch.setattr(clean, "sweep", lambda progress: [])
    monkeypatch.delenv(elle_cli.ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, dict[str, object], str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--json"])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(out), err

    return call


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    """Makes a program that takes elle-cli's options, notes them beside itself, and answers what it is told to."""

    def make(answer: str, code: int = 0, errors: str = "") -> Path:
        program = tmp_path / "elle"
        program.write_text(
            f"#!{sys.executable}\n"
            "import pathlib, sys\n"
            "home = pathlib.Path(__file__).parent\n"
            "home.joinpath('words').write_text(' '.join(sys.argv[1:-1]))\n"
            "home.joinpath('history.edn').write_text(pathlib.Path(sys.argv[-1]).read_text())\n"
            f"sys.stderr.write({errors!r})\n"
            f"print({answer!r})\n"
            f"sys.exit({code})\n"
        )
        program.chmod(0o755)
        return program

    return make


def written(text: str, name: str = "h.jsonl") -> str:
    Path(name).write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records(text)))
    return name


def said(document: dict[str, object]) -> dict[str, str]:
    verdicts = document["verdicts"]
    assert isinstance(verdicts, list)
    return {verdict["property"]: verdict["status"] for verdict in verdicts}


# ---------------------------------------------------------------- check
def test_a_history_alone_is_judged_by_what_it_holds(command: Command) -> None:
    code, document, _ = command("check", written(LISTS["ok-concurrent"]))
    assert code == Exit.AS_EXPECTED and said(document) == {"elle-list-append": "PASS"}
    code, document, _ = command("check", written(LISTS["bad-G2-item"]))
    assert code == Exit.SURPRISE and said(document) == {"elle-list-append": "FAIL"}
    (verdict,) = document["verdicts"]  # type: ignore[misc]
    assert set(verdict) >= {"property", "status", "examined", "anomalies", "measures"}
    assert set(verdict["anomalies"][0]) == {"kind", "summary", "witness"}
    code, document, _ = command("check", written(REGISTERS["bad-G1c"]))
    assert code == Exit.SURPRISE and said(document) == {"elle-rw-register": "FAIL"}
    Path("empty.jsonl").write_bytes(b"")
    code, document, _ = command("check", "empty.jsonl")
    assert code == Exit.INCONCLUSIVE and set(said(document).values()) == {"UNKNOWN"}


@pytest.mark.parametrize(
    ("model", "code"),
    [("strict-serializable", 1), ("serializable", 1), ("PL-3", 1), ("snapshot-isolation", 0), ("read-committed", 0)],
)
def test_consistency(command: Command, model: str, code: int) -> None:
    found, document, _ = command("check", written(LISTS["bad-G2-item"]), "--consistency", model)
    assert found == code
    assert document["verdicts"][0]["measures"]["consistency"] in (model, "serializable")  # type: ignore[index]


def test_consistency_that_makes_no_sense(command: Command) -> None:
    path = written(LISTS["ok-concurrent"])
    code, document, _ = command("check", path, "--consistency", "serialisable")
    assert code == Exit.USAGE and "no consistency model 'serialisable'; there are read-unc" in str(document["error"])
    code, document, _ = command("check", path, "--consistency", "serializable", "--checker", "fork")
    assert code == Exit.USAGE and "is for the checkers elle-list-append and elle-rw-register" in str(document["error"])


def test_damage_is_a_usage_error_with_its_place(command: Command) -> None:
    path = written(LISTS["ok-concurrent"])
    data = Path(path).read_bytes()
    for cut, says in (
        (data[:-9], "h.jsonl:6: truncated"),
        (data.replace(b'"ok"', b'"okay"', 1), "h.jsonl:4: not a history"),
    ):
        Path(path).write_bytes(cut)
        code, document, err = command("check", path, "--checker", "elle-list-append")
        assert code == Exit.USAGE and says in str(document["error"]) and says in err
    Path(path).write_bytes(b"".join(data.splitlines(keepends=True)[1:]))  # an invocation is gone
    code, document, _ = command("check", path, "--checker", "elle-list-append")
    assert code == Exit.INCONCLUSIVE and "never invoked" in document["verdicts"][0]["reason"]  # type: ignore[index]


# ---------------------------------------------------------------- the real Elle
def test_it_is_asked_in_its_own_words(command: Command, answers: Answers) -> None:
    program = answers('{"valid?": true}')
    path = written(LISTS["ok-one-after-the-other"])
    code, document, _ = command("check", path, "--elle-cli", str(program), "--consistency", "serializable")
    assert code == Exit.AS_EXPECTED
    assert said(document) == {"elle-list-append": "PASS", "elle-cli-list-append": "PASS", "elle-agreement": "PASS"}
    words = program.with_name("words").read_text()
    assert words == "--model list-append --consistency-models serializable --output json"
    first = program.with_name("history.edn").read_text().splitlines()[0]
    assert first == '{:index 0, :time 5000000, :process 0, :type :invoke, :f :txn, :value [[:append "x" 1]]}'


def test_disagreement_is_a_violation(command: Command, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '{"valid?": false, "anomaly-types": ["G1c"], "anomalies": {"G1c": [{"cycle": [1, 2]}]}}'
    monkeypatch.setenv(elle_cli.ENVIRONMENT, str(answers(answer, 1)))
    code, document, _ = command("check", written(LISTS["ok-concurrent"]))
    assert code == Exit.SURPRISE
    assert said(document) == {"elle-list-append": "PASS", "elle-cli-list-append": "FAIL", "elle-agreement": "FAIL"}
    disagreement = document["verdicts"][2]["anomalies"][0]  # type: ignore[index]
    assert "elle-list-append says PASS, elle-cli-list-append says FAIL (G1c)" in disagreement["summary"]
    assert disagreement["witness"] == [{"elle": [{"cycle": [1, 2]}]}]
    assert said(command("check", written(LISTS["bad-G1c"]))[1])["elle-agreement"] == "PASS"


@pytest.mark.parametrize(
    ("answer", "code", "errors", "status", "says"),
    [
        ("h.edn \t true", 0, "", Status.PASS, ""),
        ("h.edn \t false", 1, "", Status.FAIL, ""),
        ("h.edn \t unknown", 0, "", Status.UNKNOWN, "'unknown' (exit 0)"),
        ('{"valid?": "unknown"}', 0, "", Status.UNKNOWN, "'unknown'"),
        (
            '{"valid?": true}',
            255,
            "java.lang.OutOfMemoryError",
            Status.UNKNOWN,
            "(exit 255): java.lang.OutOfMemoryError",
        ),
        ("", 1, "Model does not match this history", Status.UNKNOWN, "None (exit 1): Model does not match"),
        ("[" * 5000, 0, "", Status.UNKNOWN, "None (exit 0)"),
    ],
)
def test_every_answer_becomes_a_verdict(
    tmp_path: Path, answers: Answers, answer: str, code: int, errors: str, status: Status, says: str
) -> None:
    run = HistoryAlone(tmp_path / "h.jsonl")
    run.path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records(LISTS["ok-concurrent"])))
    found = elle_cli.judge(run, "elle-list-append", "strict-serializable", answers(answer, code, errors))
    assert found.status is status and says in found.reason
    agreed = elle_cli.agreement(ElleListAppend().check(run), found)
    assert agreed.status is status


def test_an_elle_that_is_not_there_or_does_not_answer(tmp_path: Path, answers: Answers) -> None:
    run = HistoryAlone(tmp_path / "h.jsonl")
    run.path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records(LISTS["ok-concurrent"])))
    with pytest.raises(MachineError, match="no such file; give the standalone jar"):
        elle_cli.judge(run, "elle-list-append", "serializable", tmp_path / "elle-cli.jar")
    program = answers("")
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    found = elle_cli.judge(run, "elle-list-append", "serializable", program, timeout_s=0.2)
    assert found.status is Status.UNKNOWN and "did not answer within 0.2 s" in found.reason
    program.chmod(0o644)
    with pytest.raises(MachineError, match="cannot be started"):
        elle_cli.judge(run, "elle-list-append", "serializable", program)
