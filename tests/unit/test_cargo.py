"""Programs built with cargo, without cargo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.outcome import MachineError
from harness.provision.cargo import CargoProgram

FAKE = """#!/bin/sh
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2/release" && echo built > "$2/release/thing"
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CargoProgram:
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock", "src/main.rs"):
        (source / name).write_text(name)
    return CargoProgram("thing", "crate 1.0", source)


def cargo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    tool = tmp_path / "tools" / "cargo"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(text)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_it_is_built_once_and_again_when_its_source_changes(
    program: CargoProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo(tmp_path, monkeypatch, FAKE)
    assert program.find() is None
    said: list[str] = []
    built = program.provide(said.append)
    assert built.read_text() == "built\n" and program.find() == built and len(said) == 1
    assert program.provide(said.append) == built and len(said) == 1
    (program.source / "src" / "main.rs").write_text("other")
    assert program.find() is None and program.provide(said.append) != built
    assert sorted(path.name for path in built.parent.iterdir()) == sorted({built.name, program.provide(print).name})


def test_two_checkouts_with_one_state_have_a_workshop_each(program: CargoProgram, tmp_path: Path) -> None:
    other = CargoProgram(program.name, program.version, tmp_path / "elsewhere")
    assert program.workshop != other.workshop
    assert program.workshop == CargoProgram(program.name, "crate 2.0", program.source).workshop


def test_without_cargo_the_cure_is_told(program: CargoProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError, match=r"rustup\.rs.*doctor --fix"):
        program.provide(print)


def test_a_build_that_fails_says_why_and_how_to_see_more(
    program: CargoProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo(tmp_path, monkeypatch, "#!/bin/sh\necho 'error: no such crate' >&2; exit 101\n")
    with pytest.raises(MachineError, match=r"no such crate.*cargo build --release --locked"):
        program.provide(print)
    assert program.find() is None


def test_a_source_that_is_not_whole_names_the_file(program: CargoProgram) -> None:
    (program.source / "Cargo.lock").unlink()
    with pytest.raises(MachineError, match=r"Cargo\.lock is missing"):
        program.find()
