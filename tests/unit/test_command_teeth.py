"""`moonquake teeth` through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import cli
from harness.mutants import Mutant
from harness.outcome import Exit
from results.report.teeth import render_teeth


def run(capsys: pytest.CaptureFixture[str], directory: Path, *words: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["teeth", *words, "--runs-dir", str(directory), "--json"])
    return int(ended.value.code or 0), msgspec.json.decode(capsys.readouterr().out)


def test_a_mutant_is_killed_a_trap_noticed_and_the_clean_build_is_quiet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, document = run(capsys, tmp_path, "MM3", "I14", "--clean", "2", "--random", "1")
    (row,), (trap,) = document["mutants"], document["lab"]
    assert code == Exit.AS_EXPECTED
    assert row["id"] == "MM3" and row["killed"] and "fork" in row["by"] and row["runs"] == 1
    assert row["random"]["schedule"]["runs"] == 1 and trap["id"] == "I14" and trap["caught"]
    assert (document["clean_runs"], document["false_alarms"], document["survivors"]) == (2, 0, [])
    page = Path(document["page"]).read_text()
    assert "MM3" in page and "I14" in page and not any(word in page for word in ("src=", "http:", "https:", "url("))
    code, again = run(capsys, tmp_path, "MM3", "I14", "--clean", "2", "--random", "1", "--resume")
    assert code == Exit.AS_EXPECTED and again["seconds"] == document["seconds"]  # nothing was played twice


def test_a_survivor_is_a_surprise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.teeth.kills", lambda mutant, result: ())
    code, document = run(capsys, tmp_path, "MM3", "--clean", "0")
    assert (code, document["survivors"]) == (Exit.SURPRISE, ["MM3"])
    assert "SURVIVED" in render_teeth(document)


def test_an_unnoticed_trap_is_a_surprise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.catalogue.gaps", lambda mutants: [])
    code, document = run(capsys, tmp_path, "I14", "--clean", "0")
    assert (code, document["unnoticed"]) == (Exit.SURPRISE, ["I14"])


def test_what_could_not_be_played_is_inconclusive(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(mutant: Mutant, seed: int) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("harness.teeth.under_witness", fails)
    code, document = run(capsys, tmp_path, "MM3", "--clean", "0")
    assert code == Exit.INCONCLUSIVE and document["mutants"][0]["errors"] == ["RuntimeError: no such luck"]


def test_a_budget_that_is_spent_leaves_it_inconclusive(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, document = run(capsys, tmp_path, "MM3", "MM6", "--budget", "0s")
    assert code == Exit.INCONCLUSIVE and document["unplayed"] == ["MM3", "MM6"] and not document["survivors"]


@pytest.mark.parametrize(
    ("words", "says"),
    [(["MM33"], "MM3"), (["--generator", "swam"], "swarm"), (["--budget", "soon"], "duration")],
)
def test_what_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], says: str
) -> None:
    code, document = run(capsys, tmp_path, *words)
    assert code == Exit.USAGE and says in str(document["error"])
