"""`moonquake teeth` through the command line."""

from __future__ import annotations

import msgspec
import pytest

from harness import cli
from harness.outcome import Exit


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--json"])
    return int(ended.value.code or 0), msgspec.json.decode(capsys.readouterr().out)


def test_a_mutant_is_killed_and_the_clean_build_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run(capsys, "teeth", "MM3", "--clean", "2")
    (row,) = document["mutants"]  # type: ignore[misc]
    assert code == Exit.AS_EXPECTED
    assert row["id"] == "MM3" and row["killed"] and "fork" in row["by"] and row["runs"] == 1  # type: ignore[index]
    assert (document["clean_runs"], document["false_alarms"], document["survivors"]) == (2, 0, [])


def test_a_survivor_is_a_surprise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.command_teeth.kills", lambda mutant, result: ())
    code, document = run(capsys, "teeth", "MM3", "--clean", "0")
    assert (code, document["survivors"]) == (Exit.SURPRISE, ["MM3"])


def test_an_unknown_mutant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run(capsys, "teeth", "MM33")
    assert code == Exit.USAGE and "MM3" in str(document["error"])
