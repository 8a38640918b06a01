"""The command line on what is there already: check, report, export, list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.outcome import Exit
from results.store import Run
from tests.unit.scenarios import MINIMAL, Command, written

LAZY = "lazy-signer"
GOLDEN = Path(__file__).parents[1] / "golden/linearizable/histories"


def test_check_judges_a_run_again(command: Command) -> None:
    _, out, _ = command("run", written(MINIMAL), "--time", "200ms", "--json")
    directory = json.loads(out)["run"]
    code, out, _ = command("check", directory, "--json")
    assert code == Exit.AS_EXPECTED
    assert [(v["property"], v["status"]) for v in json.loads(out)["verdicts"]] == [("receipts", "PASS")]
    code, out, _ = command("check", directory, "--checker", "receipts", "--checker", "censorship", "--json")
    assert [v["property"] for v in json.loads(out)["verdicts"]] == ["receipts", "censorship"]
    code, _, err = command("check", directory, "--checker", "recipts")
    assert code == Exit.USAGE
    assert "did you mean 'receipts'" in err


def test_check_of_a_bare_history_knows_what_it_lacks(command: Command) -> None:
    _, out, _ = command("run", written(MINIMAL), "--time", "200ms", "--json")
    history = Path(json.loads(out)["run"]) / "history.jsonl"
    Path("alone.jsonl").write_bytes(history.read_bytes())
    code, out, _ = command("check", "alone.jsonl", "--checker", "fork", "--json")
    assert code == Exit.INCONCLUSIVE
    assert "is a history alone" in json.loads(out)["verdicts"][0]["reason"]


def test_check_draws_where_no_order_was_found(command: Command) -> None:
    bad, good = str(GOLDEN / "bad-cas-twice.jsonl"), str(GOLDEN / "ok-one-after-the-other.jsonl")
    code, out, _ = command("check", bad, "--pictures", "drawn/here", "--json")
    assert code == Exit.SURPRISE
    assert json.loads(out)["pictures"] == ["drawn/here/linearizable-1.svg"]
    assert "1→3" in Path("drawn/here/linearizable-1.svg").read_text(encoding="utf-8")
    code, out, _ = command("check", good, "--pictures", "nothing", "--json")
    assert code == Exit.AS_EXPECTED
    assert json.loads(out)["pictures"] == [] and not Path("nothing").exists()
    Path("taken").write_text("a file")
    code, _, err = command("check", bad, "--pictures", "taken")
    assert code == Exit.USAGE
    assert "--pictures taken: cannot be written" in err


@pytest.mark.parametrize("name", ["history.jsonl", "trace.jsonl"])
def test_truncated_records_are_refused(command: Command, name: str) -> None:
    _, out, _ = command("run", written(MINIMAL), "--time", "200ms", "--json")
    path = Path(json.loads(out)["run"]) / name
    path.write_bytes(path.read_bytes()[:-5])
    code, _, err = command("check", json.loads(out)["run"])
    assert code == Exit.USAGE
    assert name in err and "truncated" in err
    if name == "history.jsonl":
        assert command("export", str(path), "--edn")[0] == Exit.USAGE


def test_report_and_export(command: Command, judged: dict[str, str]) -> None:
    _, out, _ = command("run", written(MINIMAL), "--time", "200ms", "--json")
    document = json.loads(out)
    Path(document["report"]).unlink()
    code, out, _ = command("report", document["run"], "--json")
    assert code == 0
    assert Path(json.loads(out)["report"]).is_file()
    code, out, _ = command("export", document["run"], "--edn")
    assert code == 0
    assert len(out.splitlines()) == len(Run(Path(document["run"])).history)
    assert out.startswith("{:index 0")


@pytest.mark.parametrize(
    "what", ["faults", "behaviours", "checkers", "workloads", "targets", "backends", "scenarios", "claims"]
)
def test_list(command: Command, what: str) -> None:
    code, out, _ = command("list", what, "--json")
    rows = json.loads(out)[what]
    assert code == 0
    assert rows
    assert all(row["name"] and row["summary"] for row in rows), rows
    assert rows[0]["name"] in command("list", what)[1]


def test_behaviours_are_listed_with_what_they_break_and_where(command: Command) -> None:
    (lazy,) = (b for b in json.loads(command("list", "behaviours", "--json")[1])["behaviours"] if b["name"] == LAZY)
    assert lazy["attacks"] == ["D2"]
    assert lazy["breaks_at"] == "f_c+1 in the clan"
    assert lazy["aims_at"] == "I-DA: availability"
    assert lazy["scenarios"] == ["d2-lazy-signer-at", "d2-lazy-signer-past"]
    table = command("list", "behaviours")[1]
    assert LAZY in table and "breaks at" in table
    code, _, err = command("list", "faults", "--markdown")
    assert code == Exit.USAGE and "list behaviours --markdown" in err
