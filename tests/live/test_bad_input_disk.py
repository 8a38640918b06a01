"""A disk that fills while a real run records, and one that takes nothing at all (issue 3, "Bad input")."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.command import finish, gone, start_run

pytestmark = pytest.mark.live
SMALL = 1_500_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None] | None]]:
    """The run root, on a disk that is full soon: a small tmpfs where we may mount one, else a limit on file sizes.

    With it comes what the command must call before it starts (None: nothing).
    """
    place = tmp_path / "runs"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "moonquake-test", str(place)]
    if os.geteuid() == 0 and subprocess.run(words, capture_output=True, check=False).returncode == 0:
        yield place, None
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    else:
        yield place, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL // 10, SMALL // 10))


def test_the_disk_fills_while_recording(
    tmp_path: Path, toxiproxy_server: Path, small_disk: tuple[Path, Callable[[], None] | None]
) -> None:
    runs, limit = small_disk
    command = start_run(tmp_path, "process", "8s", "", toxiproxy=toxiproxy_server, preexec_fn=limit)
    command.until(lambda: len(command.children()) >= 6)
    children = command.children()
    assert command.ended() == 4, command.said
    error: str = command.document()["error"]
    assert str(runs) in error and "make room on the disk" in error
    assert gone(children)
    assert command.history().count("\n") > 0  # the records are kept
    code, document = finish(tmp_path / "check", "check", str(command.directory()))
    assert code == 3  # what is missing would look like loss: nothing is judged
    assert "cannot be judged" in document["error"] and "again" in document["error"]
    assert finish(tmp_path / "report", "report", str(command.directory()))[0] == 3


@pytest.mark.parametrize("broken", ["runs", "state"])
def test_a_place_that_cannot_be_written(tmp_path: Path, toxiproxy_server: Path, broken: str) -> None:
    (tmp_path / broken).write_text("this is no directory")
    more: dict[str, Any] = {"toxiproxy": toxiproxy_server}
    command = start_run(tmp_path, "process", "1s", "", **more)
    assert command.ended() == 4, command.said
    cure = "--runs" if broken == "runs" else "MOONQUAKE_STATE"
    assert str(tmp_path / broken) in command.document()["error"] and cure in command.document()["error"]
