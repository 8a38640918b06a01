"""The life cycle of a run, on a backend without nodes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from faults.byzantine.side_channel import SideChannelError
from faults.port import Capability, UnsupportedError
from harness import collect, rundir
from harness.backends.port import MachineError
from harness.interruption import Interrupted
from harness.outcome import RecordingError
from harness.plan import Plan
from harness.progress import Observer, Snapshot
from harness.recorder import Recorder
from harness.runner import Runner
from results.history import read_history
from results.store import Run
from tests.fakes import FakeBackend
from tests.unit.scenarios import BEHAVIOUR, FAULT, plan
from tests.unit.test_recorder import SmallDisk


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.runner.POLL_S", 0.02)


def runner(it: Plan, backend: FakeBackend, root: Path, **more: Any) -> Runner:
    return Runner(it, backend, root, **more)


async def test_a_whole_run(tmp_path: Path) -> None:
    backend = FakeBackend()
    seen: list[Snapshot] = []
    it = runner(plan(BEHAVIOUR + FAULT), backend, tmp_path, notes=["a note"], observer=Observer(watch=seen.append))
    info = await it.execute()
    run = Run(it.directory)
    assert run.info == info
    assert (info.backend, info.layer, info.regime, info.interrupted) == ("fake", "none", "within", False)
    assert (info.honest, info.byzantine) == (["n0", "n1", "n3"], ["n2"])
    assert "a note" in info.notes
    assert 0 < info.load_start < info.heal <= info.load_end < info.end
    assert [(f.id, f.kind) for f in info.faults] == [(1, "behaviour"), (2, "fault")]
    assert info.faults[1].start == info.load_start + 100_000_000
    clients = [o for o in run.history if o.process != "nemesis"]
    assert {o.type for o in clients} >= {"invoke", "ok"}
    assert sum(o.type == "invoke" for o in clients) == sum(o.type != "invoke" for o in clients) > 0
    nemesis = [(o.f, o.value["id"]) for o in run.history if o.process == "nemesis"]
    assert sorted(nemesis) == [("start", 1), ("start", 2), ("stop", 1), ("stop", 2)]
    stop = next(o for o in run.history if o.f == "stop" and o.value["id"] == 1)
    assert stop.value["node"] == "n2"
    assert stop.value["receipt"] == {"matched": 3, "changed": 2, "dropped": 1, "injected": 0, "bit": True}
    assert [e["time"] for e in run.trace] == sorted(e["time"] for e in run.trace)
    assert backend.cluster is not None and backend.cluster.cuts == []
    assert (tmp_path / "latest").resolve() == it.directory
    assert seen and seen[0].heights.keys() == {"n0", "n1", "n2", "n3"}


async def test_corrupted_nodes_are_told_the_real_load_start_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runner.ANNOUNCE_S", 0.05)
    backend = FakeBackend()
    window = BEHAVIOUR + 'from = "100ms"\nuntil = "300ms"\n'
    it = runner(plan(window + "[run]\nwarm = '200ms'\n", replaced={'[run]\nquiet = "2s"\n': ""}), backend, tmp_path)
    info = await it.execute()
    assert backend.cluster is not None
    assert len(backend.cluster.announced) >= 5
    assert set(backend.cluster.announced) == {info.load_start}
    assert info.load_start > 200_000_000
    behaviour = info.faults[0]
    assert (behaviour.start, behaviour.stop) == (info.load_start + 100_000_000, info.load_start + 300_000_000)
    told = [node.byzantine.behaviours[0] for node in backend.cluster.spec.nodes if node.byzantine]
    assert [(spec.from_ns, spec.until_ns) for spec in told] == [(100_000_000, 300_000_000)]


async def test_a_coalition_that_cannot_be_told_is_noted(tmp_path: Path) -> None:
    def deaf(load_start: int) -> None:
        raise SideChannelError("the directory is gone")

    it = runner(plan(BEHAVIOUR), FakeBackend(announce_load=deaf), tmp_path)
    info = await it.execute()
    assert any("do not begin: the directory is gone" in note for note in info.notes)


async def test_an_attack_that_fails_on_its_way_is_noted(tmp_path: Path) -> None:
    it = runner(plan(BEHAVIOUR), FakeBackend(attack_fails="mine.py, line 3: ZeroDivisionError"), tmp_path)
    info = await it.execute()
    said = [note for note in info.notes if "attack failed" in note]
    assert said == ["n2 is corrupted, and its attack failed: mine.py, line 3: ZeroDivisionError"]


async def test_the_same_seed_submits_the_same_first_transactions(tmp_path: Path) -> None:
    firsts = []
    for _ in range(2):
        it = runner(plan(replaced={"clients = 4": "clients = 1"}), FakeBackend(), tmp_path)
        await it.execute()
        firsts.append([o.tx for o in Run(it.directory).history if o.type == "invoke"][:5])
    both = min(map(len, firsts))  # half a second of a busy machine may be one transaction
    assert both and firsts[0][:both] == firsts[1][:both]
    assert len(list((tmp_path / "tiny").iterdir())) == 2  # nothing was overwritten


async def test_duplicates_go_through_every_gateway(tmp_path: Path) -> None:
    backend = FakeBackend()
    it = runner(plan(replaced={'kind = "transfers"': 'kind = "duplicates"'}), backend, tmp_path)
    await it.execute()
    assert backend.cluster is not None
    applied = [o.tx for o in Run(it.directory).history if o.type == "ok"]
    assert applied
    assert all(backend.cluster.seen.count(tx) == 6 for tx in applied)  # 2 copies x 2 gateways, and once more to each


async def test_refused_results_are_info_and_retire_the_process(tmp_path: Path) -> None:
    it = runner(plan(), FakeBackend(outcome="refused"), tmp_path)
    await it.execute()
    clients = [o for o in Run(it.directory).history if o.process != "nemesis"]
    ended = [o for o in clients if o.type == "info"]
    assert ended and all(o.error.startswith("refused") for o in ended)
    assert len({o.process for o in ended}) == len(ended)
    assert max(int(o.process) for o in ended) > 4


async def test_aborted_is_fail(tmp_path: Path) -> None:
    it = runner(plan(), FakeBackend(outcome="aborted"), tmp_path)
    await it.execute()
    kinds = {o.type for o in Run(it.directory).history if o.process != "nemesis"}
    assert kinds == {"invoke", "fail"}


async def test_never_more_than_clients_in_flight_and_silence_is_info(tmp_path: Path) -> None:
    it = runner(plan(replaced={'quiet = "2s"': 'quiet = "200ms"'}), FakeBackend(silent=True), tmp_path)
    info = await it.execute()
    clients = [o for o in Run(it.directory).history if o.process != "nemesis"]
    assert [o.type for o in clients] == ["invoke"] * 4 + ["info"] * 4
    assert all(o.error == "the run ended first" for o in clients[4:])
    assert any("not everything had caught up" in note for note in info.notes)


async def test_missing_capability_is_refused_before_anything_starts(tmp_path: Path) -> None:
    backend = FakeBackend(capabilities=frozenset({Capability.KILL}))
    with pytest.raises(UnsupportedError, match=r"'fake' lacks 'cut' \(needed by fault .*FakeFault\): use --backend"):
        runner(plan(FAULT), backend, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_backend_that_cannot_leaves_a_description(tmp_path: Path) -> None:
    it = runner(plan(), FakeBackend(broken="port 4000 is in use; stop what holds it"), tmp_path)
    with pytest.raises(MachineError, match="port 4000 is in use"):
        await it.execute()
    assert any("port 4000" in note for note in Run(it.directory).info.notes)


async def test_nodes_that_do_not_come_up(tmp_path: Path) -> None:
    it = runner(plan(), FakeBackend(down={"n3"}), tmp_path, ready_limit_s=0.2)
    with pytest.raises(MachineError, match=r"n3 did not come up.*moonquake doctor"):
        await it.execute()


async def test_a_cluster_that_is_stuck_is_run_and_judged(tmp_path: Path) -> None:
    it = runner(
        plan(replaced={'quiet = "2s"': 'quiet = "100ms"'}), FakeBackend(stuck=True), tmp_path, ready_limit_s=0.2
    )
    info = await it.execute()
    assert any("finalised nothing in 0.2 s" in note for note in info.notes)
    assert info.load_end > 0


async def test_disk_full_ends_the_run_healed_and_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "_open", lambda self, path: SmallDisk(path, 9000))
    backend = FakeBackend()
    it = runner(plan(FAULT, replaced={'"500ms"': '"3600s"', '"300ms"': '"3000s"'}), backend, tmp_path)
    with pytest.raises(RecordingError, match="No space left on device"):
        await it.execute()
    assert backend.cluster is not None
    assert backend.cluster.stopped
    assert backend.cluster.cuts == []
    assert len(list(read_history(it.directory / "history.jsonl"))) > 3
    assert any("No space left" in note for note in Run(it.directory).info.notes)


async def test_a_cluster_that_is_lost_ends_the_run_at_once_and_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runner.WATCH_S", 0.02)
    backend = FakeBackend()
    it = runner(plan(FAULT, replaced={'"500ms"': '"3600s"', '"300ms"': '"3000s"'}), backend, tmp_path)
    running = asyncio.create_task(it.execute())
    await backend.is_up.wait()
    assert backend.cluster is not None
    await backend.cluster.hurt.wait()
    backend.cluster.lost = "the warden of host a is gone"
    with pytest.raises(MachineError, match="the warden of host a is gone"):
        await running
    assert backend.cluster.stopped and backend.cluster.cuts == []
    run = Run(it.directory)
    assert "host a is gone" in run.info.incomplete and run.trace


@pytest.mark.parametrize("when", ["load", "starting"])
async def test_ctrl_c_heals_stops_and_keeps_the_records(tmp_path: Path, when: str) -> None:
    backend = FakeBackend(stuck=when == "starting")
    it = runner(plan(FAULT, replaced={'"500ms"': '"3600s"', '"300ms"': '"3000s"'}), backend, tmp_path)
    running = asyncio.create_task(it.execute())
    await backend.is_up.wait()
    assert backend.cluster is not None
    await (backend.cluster.hurt if when == "load" else backend.cluster.asked).wait()
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)  # an impatient second one changes nothing
    with pytest.raises(Interrupted):
        await running
    assert backend.cluster.stopped
    assert backend.cluster.cuts == []
    run = Run(it.directory)
    assert run.info.interrupted
    assert [o.f for o in run.history if o.process == "nemesis"] == ([] if when == "starting" else ["start", "stop"])
    assert run.trace


def test_merging_traces(tmp_path: Path) -> None:
    def write(node: str, *events: dict[str, Any], end: bytes = b"") -> Path:
        path = tmp_path / f"{node}.jsonl"
        lines = [msgspec.json.encode({"node": node, "incarnation": 1, **e}) + b"\n" for e in events]
        path.write_bytes(b"".join(lines) + end)
        return path

    files = {
        "n0": write("n0", {"time": 5, "event": "body", "batch": "aa", "data": "forged"}),
        "n1": write("n1", {"time": 9, "event": "enter"}, {"time": 7, "event": "body", "batch": "aa"}, end=b'{"time":'),
        "n2": write("n2", {"time": 8, "event": "body", "batch": "aa"}, {"time": 1, "event": "start"}),
        "n3": tmp_path / "absent.jsonl",
    }
    out = tmp_path / "trace.jsonl"
    notes = collect.merge_traces(files, {"n0"}, out)
    (tmp_path / "run.json").write_bytes(b"{}")
    assert [(e["time"], e["node"], e["event"]) for e in Run(tmp_path).trace] == [
        (1, "n2", "start"), (7, "n1", "body"), (9, "n1", "enter"),
    ]  # fmt: skip
    assert len(notes) == 2
    assert "n1: 1 torn line" in notes[0]
    assert "n3 left no trace" in notes[1]


def test_run_directories_are_never_reused(tmp_path: Path) -> None:
    one = rundir.create(tmp_path, "s", 1, "20260101T000000Z")
    two = rundir.create(tmp_path, "s", 1, "20260101T000000Z")
    assert one.name == "20260101T000000Z-1"
    assert two.name == "20260101T000000Z-1-1"
    assert (tmp_path / "latest").resolve() == two.resolve()
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="--runs"):
        rundir.create(tmp_path / "file", "s", 1, "x")
