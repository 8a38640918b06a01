"""Programs built with `go install`: found by their version, built once, and what is missing is said with its cure."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.outcome import MachineError
from harness.provision import golang
from harness.provision.golang import GoProgram

PROGRAM = GoProgram("thing", "example.org/things/cmd/thing", "1.2.3")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def script(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)


def test_only_the_pinned_version_is_taken(state: Path) -> None:
    script(state / "path" / "thing", "1.2.2")
    assert PROGRAM.find() is None
    script(state / "path" / "thing", "v1.2.3")
    assert PROGRAM.find() == state / "path" / "thing"
    script(PROGRAM.installed, "1.2.3")
    assert PROGRAM.find() == PROGRAM.installed  # what we built goes before what lies about


def test_without_go_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golang.shutil, "which", lambda *_, **__: None)
    with pytest.raises(MachineError, match=r"no thing 1\.2\.3: .*no Go toolchain.*doctor --fix"):
        PROGRAM.provide(lambda _: None)


def built(says: str) -> Any:
    def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        if command[1:] == ["install", "example.org/things/cmd/thing@v1.2.3"]:
            script(Path(how["env"]["GOBIN"]) / "thing", says)
            return subprocess.CompletedProcess(command, 0, "", "")
        return subprocess.CompletedProcess(command, 0, says, "")

    return run


def test_it_is_built_once_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golang.shutil, "which", lambda name, **_: "/usr/bin/go" if name == "go" else None)
    monkeypatch.setattr(golang.subprocess, "run", built("1.2.3"))
    said: list[str] = []
    assert PROGRAM.provide(said.append) == PROGRAM.installed
    assert "go install example.org/things/cmd/thing@v1.2.3" in said[0]
    assert PROGRAM.provide(said.append) == PROGRAM.installed and len(said) == 1
    assert [path.name for path in PROGRAM.installed.parent.iterdir()] == ["thing-1.2.3"]


def test_a_build_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golang.shutil, "which", lambda name, **_: "/usr/bin/go" if name == "go" else None)
    monkeypatch.setattr(golang.subprocess, "run", built("1.2.4"))
    with pytest.raises(MachineError, match=r"does not say that it is 1\.2\.3"):
        PROGRAM.provide(lambda _: None)
    assert not PROGRAM.installed.exists()
