"""Attacks of the library on real processes: the same class, the same scenario and the same verdict as simulated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
LIMIT_S = 180.0
DOCS = Path(__file__).parents[2] / "docs"


def run(place: Path, *words: str) -> tuple[int, dict[str, object], str]:
    """(exit code, JSON document, standard error) of `moonquake run` on processes."""
    command = [sys.executable, "-m", "harness.cli", "run", *words, "--backend", "process", "--json", "--runs", "runs"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("name", ["d2-lazy-signer-past", "e4-split-root-past", "b8-batch-replayer-at"])
def test_it_does_on_processes_what_it_does_simulated(tmp_path: Path, name: str) -> None:
    code, document, err = run(tmp_path, name)
    assert code == 0, (document["verdicts"], err)
    assert document["as_expected"] is True
    assert document["regime"] == ("beyond" if name.endswith("past") else "within")


def test_the_tutorials_attack_runs_on_processes(tmp_path: Path) -> None:
    shutil.copy(DOCS / "first_attack.py", tmp_path)
    code, document, err = run(tmp_path, "fault-free", "--time", "6s", "--attack", "first_attack.py:TwoStories")
    assert code == 0, (document["verdicts"], err)


def test_an_attack_that_raises_makes_the_run_unknown_and_shows_its_line(tmp_path: Path) -> None:
    text = (DOCS / "first_attack.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("self.receipt.changed += 1", "self.receipt.changed += 1 // 0"))
    code, document, _ = run(tmp_path, "fault-free", "--time", "6s", "--attack", "mine.py:TwoStories")
    assert code == 2
    assert document["as_expected"] is None
    verdicts = {v["property"]: v for v in document["verdicts"]}  # type: ignore[attr-defined]
    assert "mine.py:27: ZeroDivisionError" in verdicts["receipts"]["reason"]


def test_a_hook_that_never_returns_is_ended_and_shows_its_line(tmp_path: Path) -> None:
    endless = "while self.receipt.changed > 3:\n                    pass"
    text = (DOCS / "first_attack.py").read_text()
    (tmp_path / "mine.py").write_text(
        text.replace("self.receipt.changed += 1", f"self.receipt.changed += 1\n                {endless}")
    )
    for _ in range(3):  # where the nodes hardly get a processor, the run may be over before the call is
        code, document, _ = run(tmp_path, "fault-free", "--time", "10s", "--attack", "mine.py:TwoStories")
        assert code == 2
        verdicts = {v["property"]: v for v in document["verdicts"]}  # type: ignore[attr-defined]
        assert verdicts["receipts"]["status"] == "UNKNOWN"
        if "left no receipt" not in verdicts["receipts"]["reason"]:
            break
    assert "mine.py:28: HookOverdueError: send did not return" in verdicts["receipts"]["reason"]
