"""A night on real processes: killed in the middle of a fault, it goes on, loses nothing recorded and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.night import records
from harness.night.records import FILE, Line, Night
from results.history import read_history
from results.store import Run
from tests.live.command import LIMIT_S, PARTITION, SCENARIO, Command, gone, left_by

pytestmark = pytest.mark.live
SCRIPT = """
import sys
from harness import cli
from harness.night import work
works = [work.Work("scenario", path) for path in sys.argv[1:3]]
work.works = lambda desk: works
cli.main(["nightly", *sys.argv[3:]])
"""
ROOM_S = 31.0  # what is left when the night goes on: room for one scenario that has not run yet


def begin(place: Path, toxiproxy: Path, *words: str) -> Command:
    """A night that has two scenarios, on processes."""
    place.mkdir(exist_ok=True)
    files = []
    for name, extra in (("calm", ""), ("cut", PARTITION)):
        text = SCENARIO.replace("LOAD", "3s").replace("small", name) + extra
        (place / f"{name}.toml").write_text(text)
        files.append(str(place / f"{name}.toml"))
    words = (*files, "--backend", "process", "--workers", "1", "--runs", str(place / "runs"), "--json", *words)
    return Command(place, *words, toxiproxy=toxiproxy, program=("-c", SCRIPT))


def night_of(place: Path) -> Night | None:
    """The night so far."""
    return next(iter(records.nights(place / "runs")), None)


def cut_now(place: Path) -> bool:
    """Is the partition on?"""
    return any('"use":"partition"' in path.read_text() for path in (place / "runs").glob("cut/*/history.jsonl"))


def test_a_night_on_processes_that_is_killed_goes_on_and_leaves_nothing(tmp_path: Path, toxiproxy_server: Path) -> None:
    killed = begin(tmp_path, toxiproxy_server, "--budget", "1h")
    killed.until(lambda: cut_now(tmp_path))
    children = killed.children()
    killed.process.kill()
    killed.process.wait(LIMIT_S)
    before = night_of(tmp_path)
    assert before is not None and not before.ended
    assert [Path(piece.name).stem for piece in before.pieces] == ["calm"]

    path = before.directory / FILE
    first, *rest = path.read_bytes().splitlines(keepends=True)
    header = msgspec.json.decode(first, type=Line)
    assert header.night is not None
    header.night = msgspec.structs.replace(header.night, budget_s=before.seconds + ROOM_S)
    path.write_bytes(msgspec.json.encode(header) + b"\n" + b"".join(rest))

    again = begin(tmp_path, toxiproxy_server, "--resume")
    code = again.ended()
    after = night_of(tmp_path)
    assert after is not None and after.ended, again.said
    assert after.pieces[: len(before.pieces)] == before.pieces, "what was recorded is not done again"
    assert Path(after.pieces[1].name).stem == "cut"
    for piece in after.pieces:  # a starved machine may leave a fault too short to be judged; nothing may break
        assert piece.status in ("ok", "unknown") and piece.runs == 1, piece
    assert code == (0 if all(piece.status == "ok" for piece in after.pieces) else 2), again.said
    found = again.document()
    assert found["pieces"] == len(after.pieces) and found["failures"] == found["flakes"] == []

    run = Run(Path(after.pieces[1].run))
    assert run.info.backend == "process" and not run.info.interrupted and not run.info.incomplete
    stop = next(o for o in read_history(run.directory / "history.jsonl") if o.process == "nemesis" and o.f == "stop")
    assert stop.value["receipt"]["healed"] > 0
    assert gone(children), "the nodes of the killed run"
    assert left_by(killed.process.pid) == left_by(again.process.pid) == []
    assert list((tmp_path / "state" / "leftovers").glob("*")) == []
