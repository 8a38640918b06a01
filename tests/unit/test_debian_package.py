"""Programs out of Debian packages: found where they are, unpacked where they are not, and never installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.outcome import MachineError
from harness.targets import debian, packaged
from harness.targets.debian import DebianPackage

PACKAGE = DebianPackage("tool", "1.0", "tool-server", "usr/*/tool")


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name != "tool" else None)
    return tmp_path / "state"


def unpacker(monkeypatch: pytest.MonkeyPatch, fail: str = "") -> list[str]:
    """Stands in for apt-get and dpkg-deb; `fail`: the command that fails the first time."""
    ran: list[str] = []

    def run(command: tuple[str, ...], directory: Path | str) -> None:
        ran.append(" ".join(command[:3]))
        if fail and fail in ran[-1] and ran.count(ran[-1]) == 1:
            raise MachineError("404")
        if "download" in command:
            (Path(directory) / "tool-server_1.0.deb").write_bytes(b"")
        if command[0] == "dpkg-deb":
            (Path(command[-1]) / "usr" / "bin").mkdir(parents=True)
            (Path(command[-1]) / "usr" / "bin" / "tool").write_bytes(b"program")

    monkeypatch.setattr(debian, "_run", run)
    return ran


def test_it_is_unpacked_once_and_then_found(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, said = unpacker(monkeypatch), list[str]()
    assert PACKAGE.find() is None
    assert packaged.provide([PACKAGE], said.append) == {"tool": (state / "bin" / "tool").resolve()}
    assert PACKAGE.find() == PACKAGE.provide(said.append) == state / "bin" / "tool"
    assert ran == ["apt-get -q download", "dpkg-deb --extract " + ran[1].split()[2]] and len(said) == 1


@pytest.mark.usefixtures("state")
def test_an_old_index_is_renewed_by_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = unpacker(monkeypatch, fail="download")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    PACKAGE.provide(lambda _: None)
    assert [line.split()[2] for line in ran[:3]] == ["download", "update", "download"]


@pytest.mark.usefixtures("state")
def test_without_root_the_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacker(monkeypatch, fail="download")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="404"):
        PACKAGE.provide(lambda _: None)


@pytest.mark.usefixtures("state")
def test_elsewhere_it_says_what_to_do_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MachineError, match=r"put tool 1\.0 on PATH"):
        PACKAGE.provide(lambda _: None)
