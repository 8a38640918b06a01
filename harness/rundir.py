"""Run directories: `runs/<scenario>/<utc>-<seed>/`, never overwritten; `runs/latest` points at the newest."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from harness.outcome import MachineError
from results.store import RunInfo
from results.verdict import Verdict


def utc_now() -> str:
    """The wall-clock time, for names and reports only: "20260102T030405Z"."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")  # noqa: TID251 - the run store names a date


def create(root: Path, scenario: str, seed: int, started: str) -> Path:
    """A new run directory, and `root/latest` pointing at it. Raises MachineError where nothing can be written."""
    try:
        str(root.absolute()).encode()
    except UnicodeEncodeError as error:
        raise MachineError(
            f"{root.absolute()}: its name is not UTF-8, so the nodes cannot be told of it; choose another with --runs"
        ) from error
    directory = fresh(root / scenario, f"{started}-{seed}")
    _point(root / "latest", directory)
    return directory


def fresh(parent: Path, name: str) -> Path:
    """A new directory `parent/name`, or `name-1`, `name-2`... if that is there. Raises MachineError."""
    attempt = 0
    while True:
        directory = (parent / (name + (f"-{attempt}" if attempt else ""))).absolute()
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            attempt += 1
        except OSError as error:
            raise MachineError(
                f"{directory}: cannot be created: {error.strerror}; choose another place with --runs DIR"
            ) from error


def _point(link: Path, directory: Path) -> None:
    """Replace the symlink in one step; without symlinks there is simply no `latest`."""
    fresh = link.with_name(f".latest-{os.getpid()}")
    with contextlib.suppress(OSError):
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(directory, link.parent.absolute()))
        fresh.replace(link)


def write_info(directory: Path, info: RunInfo) -> None:
    """Write run.json, whole or not at all."""
    write_json(directory / "run.json", info)


def write_verdicts(directory: Path, verdicts: list[Verdict]) -> None:
    """Write verdicts.json, whole or not at all."""
    write_json(directory / "verdicts.json", verdicts)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document, whole or not at all. Raises MachineError when the disk refuses."""
    _write(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises MachineError when the disk refuses."""
    _write(path, text.encode("utf-8", "backslashreplace"))


def _write(path: Path, data: bytes) -> None:
    """Through a temporary file."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise MachineError(
            f"{path}: cannot be written: {error.strerror}; make room on the disk, or choose another with --runs DIR"
        ) from error


def short_id(scenario: str, seed: int, started: str) -> str:
    """A short unique name for processes, containers and networks of one run: [a-z0-9-]."""
    letters = "".join(c if c.isalnum() else "-" for c in scenario.lower())[:24].strip("-")
    return f"{letters}-{seed}-{os.getpid()}-{started[9:15]}"
