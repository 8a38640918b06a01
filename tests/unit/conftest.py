"""What unit tests share: the command line on a backend without nodes, with verdicts of your own; a gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import cli, judging, runner
from harness.backends import select
from harness.provision import clean
from results.verdict import Anomaly, Status, Verdict
from tests.fakes import FakeBackend
from tests.gateway_kit import Desk
from tests.unit.scenarios import Command


def verdict(name: str, status: str) -> Verdict:
    """A verdict that its constructor accepts."""
    anomalies = [Anomaly("kind", "a sentence", [{"event": "finalise"}])] if status == "FAIL" else []
    return Verdict(name, Status(status), 3, anomalies, {}, "nobody knows" if status == "UNKNOWN" else "")


def plain_report(directory: Path) -> Path:
    """Stands in for the real report, which takes a second to draw."""
    path = directory / "report.html"
    path.write_text("<p>report</p>")
    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs the command line on a backend without nodes; returns (exit code, standard output, standard error)."""
    monkeypatch.setattr(clean, "sweep", lambda progress: [])
    monkeypatch.setattr(judging, "write_report", plain_report)
    monkeypatch.setattr(runner, "POLL_S", 0.02)
    monkeypatch.setattr(select, "choose", lambda name, progress, hosts: (FakeBackend(), ["a note"]))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return call


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Decides what checkers say: property -> status; PASS unless set."""
    statuses: dict[str, str] = {}
    monkeypatch.setattr(judging, "judge", lambda run, names: [verdict(n, statuses.get(n, "PASS")) for n in names])
    return statuses


@pytest.fixture
def desk() -> Desk:
    """A gateway with nothing behind it yet."""
    return Desk()
