"""Nodes as containers of a host's engine, with an engine that only pretends: what it is asked, and who ends what."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.port import Capability, UnsupportedError
from harness.backends import select
from harness.backends.processes import process_ident
from harness.backends.ssh import payload
from harness.backends.ssh.host import engine as engines
from harness.backends.ssh.host import sweep, warden
from harness.backends.ssh.host.containers import ContainerNode, Containers, trouble
from harness.backends.ssh.host.engine import Engine, EngineError
from harness.backends.ssh.host.inforce import InForce, alive
from harness.backends.ssh.hosts import read_hosts
from harness.outcome import UsageError
from tests.fake_engine import FakeEngine, fake_engine

LIMIT_S = 60.0
IMAGE = "moonquake/node:1"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as made:
        yield made


def until(what: Callable[[], object], told: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


# ---------------------------------------------------------------- the engine's client
def test_images_are_found_and_loaded_and_ours_removed(fake: FakeEngine, tmp_path: Path) -> None:
    engine = Engine(fake.path)
    assert engine.version() == "0.1"
    assert engine.has_image(IMAGE) and not engine.has_image("moonquake/node:2")
    (tmp_path / "archive").write_bytes(b"x" * 100_000)
    assert engines.main("load", fake.path, str(tmp_path / "archive"))["why"] == ""
    assert engine.has_image("moonquake/node:2") and not (tmp_path / "archive").exists()
    fake.refuses[f"DELETE /images/{IMAGE}"] = (409, "in use")
    assert engine.remove_images() == ["moonquake/node:2"] and sorted(fake.images) == [IMAGE, "other:1"]


def test_a_load_that_the_engine_answers_with_an_error(fake: FakeEngine, tmp_path: Path) -> None:
    fake.refuses["POST /images/load"] = (500, "no space left on device")
    (tmp_path / "archive").write_bytes(b"x")
    assert "no space left on device" in engines.main("load", fake.path, str(tmp_path / "archive"))["why"]


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (PermissionError(13, "Permission denied"), "usermod -aG docker"),
        (FileNotFoundError(2, "No such file"), "systemctl start docker"),
        (ConnectionRefusedError(111, "Connection refused"), "apt-get install docker.io"),
        (TimeoutError("timed out"), "journalctl -u docker"),
    ],
)
def test_why_an_engine_cannot_be_asked_is_said_with_the_cure(error: Exception, cure: str) -> None:
    assert cure in engines._unreachable("/var/run/docker.sock", error)


def test_an_engine_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = engines.main("examine", str(tmp_path / "none"), IMAGE)
    assert "no Docker engine answers" in said["why"] and not said["image"]
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    assert engines.find().path == "/elsewhere.sock" and engines.find("/named.sock").path == "/named.sock"


def test_a_runs_containers_are_removed_and_nobody_elses(fake: FakeEngine) -> None:
    for name, run in (("one", "r1"), ("two", "r1"), ("three", "r2")):
        fake.containers[name] = {"Labels": {engines.LABEL_HOSTS: run}}
    fake.containers["four"] = {"Labels": {engines.LABEL_RUN: "r1"}}  # of a harness on that host itself
    assert Engine(fake.path).remove_labelled(engines.run_label("r1")) == ["one", "two"]
    assert Engine(fake.path).remove_labelled(engines.LABEL_HOSTS) == ["three"]
    assert list(fake.containers) == ["four"]
    fake.refuses["DELETE /containers/four"] = (500, "device is busy")
    with pytest.raises(EngineError, match="device is busy"):
        Engine(fake.path).remove_labelled(engines.LABEL_RUN)


# ---------------------------------------------------------------- the trial
def trial(fake: FakeEngine, tmp_path: Path, **answer: str) -> str:
    """What is said of an engine whose trial container answers so."""

    def begun(config: dict[str, Any]) -> None:
        place = Path(config["Entrypoint"][-1])
        uid = int(config["User"].partition(":")[0])
        (place / engines.ANSWER).write_text(json.dumps({"net": str(Path("/proc/self/ns/net").readlink()), **answer}))
        if "uid" not in answer and os.geteuid() == 0:
            os.chown(place / engines.ANSWER, uid, uid)

    fake.begun = begun
    said = engines.obstacle(Engine(fake.path), IMAGE, tmp_path)
    assert not fake.containers and not list(tmp_path.glob("trial-*"))
    return said


def test_an_engine_is_tried_before_it_is_trusted(fake: FakeEngine, tmp_path: Path) -> None:
    assert trial(fake, tmp_path) == ""
    assert "another network" in trial(fake, tmp_path, net="net:[1]")
    if os.geteuid() == 0:
        assert "maps user ids" in trial(fake, tmp_path, uid="0")
    fake.refuses["POST /containers/create"] = (400, "bind source path does not exist")
    assert "bind source path does not exist" in trial(fake, tmp_path)


def test_a_trial_that_ends_without_a_word(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fake_engine.SLEEP", "raise SystemExit(3)")
    assert "ended with exit code 3" in engines.obstacle(Engine(fake.path), IMAGE, tmp_path)


# ---------------------------------------------------------------- a node
def made(fake: FakeEngine, directory: Path, shared: list[str] | None = None) -> ContainerNode:
    containers = Containers(Engine(fake.path), IMAGE, "r1", shared or [])
    return ContainerNode(containers, directory, InForce(directory), "n0", (-1, -1), 5, ["-m", "nodes", "{home}/x"])


async def test_a_container_is_given_what_its_node_may_see(fake: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "coalition").mkdir()
    node = made(fake, tmp_path, [str(tmp_path / "genesis.json"), str(tmp_path / "coalition"), str(tmp_path / "secret")])
    node.write({"node.json": f'{{"genesis": "{tmp_path}/genesis.json", "channel": "{tmp_path}/coalition"}}'})
    assert alive(process_ident(await node.spawn()))
    config = fake.containers["moonquake-r1-n0"]
    mounts = {m["Target"].removeprefix(f"{tmp_path}/"): m["ReadOnly"] for m in config["HostConfig"]["Mounts"]}
    assert mounts == {"nodes/n0": False, "logs/n0.log": False, "genesis.json": True, "coalition": False}
    assert config["HostConfig"]["NetworkMode"] == "host" and config["HostConfig"]["CapDrop"] == ["ALL"]
    assert config["User"] == f"{os.geteuid()}:{os.getegid()}" and config["Cmd"][-1] == f"{node.home}/x"
    assert config["Labels"][engines.LABEL_HOSTS] == "r1"


async def test_a_killed_container_is_started_again_when_its_end_was_seen(fake: FakeEngine, tmp_path: Path) -> None:
    """Started before, the engine would take it for running and do nothing."""
    node = made(fake, tmp_path)
    node.write({})
    first = await node.spawn()
    with pytest.raises(RuntimeError, match="is running already"):
        await node.spawn()
    node.signal(signal.SIGKILL)
    assert await node.gone(LIMIT_S) and not node.running
    with pytest.raises(RuntimeError, match="is not running"):
        node.signal(signal.SIGCONT)
    fake.blind = 3
    assert await node.spawn() != first and node.running
    assert fake.blind == 0 and len([a for a in fake.asked if "create" in a]) == 1
    assert InForce.load(tmp_path).nodes["n0"]["control"] == 5


async def test_nothing_is_started_when_the_run_ends(fake: FakeEngine, tmp_path: Path) -> None:
    node = made(fake, tmp_path)
    node.write({})
    node._state.ending = True
    with pytest.raises(EngineError, match="the run ends"):
        await node.spawn()
    assert not fake.containers and not fake.processes


async def test_trouble_with_the_engine_is_noticed(fake: FakeEngine) -> None:
    watching = asyncio.create_task(trouble(Engine(fake.path), "r1"))
    kill = {"Type": "container", "Action": "kill", "Actor": {"Attributes": {"name": "moonquake-r1-n3"}}}
    fake.events.append(json.dumps(kill).encode() + b"\n")
    fake.told.set()
    assert "was told to end moonquake-r1-n3" in await watching
    fake.events.clear()
    assert (await trouble(Engine(fake.path), "r1")).endswith("ended")
    assert "no Docker engine answers" in await trouble(Engine(f"{fake.path}.none"), "r1")


# ---------------------------------------------------------------- who ends them
class Talk:
    """A warden of a run in containers, over pipes."""

    def __init__(self, fake: FakeEngine, directory: Path) -> None:
        command = [sys.executable, "-m", warden.__name__, str(directory), "r1", "600", "1", fake.path, IMAGE]
        self.directory = directory
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=payload.ROOT)

    def ask(self, op: str, **words: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"id": 1, "op": op, **words}).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def container(self, name: str) -> str:
        """Start one; pid:start."""
        words = {"uid": -1, "gid": -1, "control": 0, "arguments": [], "files": {}, "disk": 0}
        assert self.ask("node", node=name, **words) == {"id": 1}
        return process_ident(int(self.ask("spawn", node=name)["pid"]))


@pytest.fixture
def talk(fake: FakeEngine, tmp_path: Path) -> Iterator[Talk]:
    made = Talk(fake, tmp_path / "base" / "runs" / "r1")
    yield made
    made.process.kill()
    made.process.wait()
    for pipe in (made.process.stdin, made.process.stdout):
        assert pipe is not None
        pipe.close()


def test_finishing_removes_the_containers(fake: FakeEngine, talk: Talk) -> None:
    idents = [talk.container("n0"), talk.container("n1")]
    talk.ask("signal", node="n0", name="STOP")
    assert talk.ask("finish")["undone"] == ["n0 runs", "n1 runs"]
    assert talk.process.wait(LIMIT_S) == 0
    assert not fake.containers and not any(map(alive, idents))


def test_containers_do_not_outlive_a_warden_that_is_killed(fake: FakeEngine, talk: Talk) -> None:
    ident = talk.container("n0")
    talk.process.kill()
    until(lambda: not fake.containers and not alive(ident), "the guardian ends and removes it")
    until(lambda: (talk.directory / "guardian.log").exists(), "and writes it down")


def test_a_run_is_void_when_somebody_else_ends_its_containers(fake: FakeEngine, talk: Talk) -> None:
    talk.container("n0")
    fake.events.append(json.dumps({"Actor": {"Attributes": {"name": "n0"}}}).encode() + b"\n")
    fake.told.set()
    until(lambda: "was told to end n0" in talk.ask("renew")["lapsed"], "the harness hears of it")
    assert "healed itself" in talk.ask("cut", add=[], delete=[])["error"]


def test_what_an_engine_that_is_gone_keeps_is_said_and_kept_for_later(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    state = InForce(directory)
    state.engine, state.run_id = f"{fake.path}.none", "r1"
    state.save()
    with pytest.raises(SystemExit, match="go when the engine is back"):
        sweep.sweep(directory)
    assert directory.is_dir()
    fake.containers["one"] = {"Labels": {engines.LABEL_HOSTS: "r1"}}
    state.engine = fake.path
    state.save()
    assert sweep.sweep(directory) == [] and not directory.exists() and not fake.containers


def test_cleaning_up_ends_a_run_in_force_first(fake: FakeEngine, talk: Talk) -> None:
    ident = talk.container("n0")
    base = talk.directory.parents[1]
    (base / "cache" / "1").mkdir(parents=True)
    fake.containers["trial"] = {"Labels": {engines.LABEL_HOSTS: "trial-1"}}
    done = sweep.sweep_all(base, fake.path)
    assert done[0] == "run r1: a run was in force, and was ended" and done[-1] == f"removed {base}"
    assert "removed container trial" in done and f"removed image {IMAGE}" in done
    assert not base.exists() and not alive(ident) and not fake.containers
    assert talk.process.wait(LIMIT_S) == -signal.SIGKILL


# ---------------------------------------------------------------- --hosts
def test_urls_stand_for_a_file() -> None:
    hosts = read_hosts("ssh://root@198.18.0.2,ssh://198.18.0.3:2222")
    first, second = hosts.hosts
    assert (first.name, first.user, first.port, first.peers) == ("198-18-0-2", "root", 22, "198.18.0.2")
    assert second.port == 2222 and second.user and second.key == "" and not second.sudo
    assert first.known_hosts == "~/.ssh/known_hosts" and hosts.lease_s == 10


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        ("http://198.18.0.2", "must be ssh://HOST"),
        ("ssh://", "must be ssh://HOST"),
        ("ssh://root:secret@198.18.0.2", "must be ssh://HOST"),
        ("ssh://198.18.0.2/var/run", "must be ssh://HOST"),
        ("ssh://198.18.0.2:99999", "Port out of range"),
        ("ssh://198.18.0.2,ssh://198.18.0.2", "stands for two hosts"),
    ],
)
def test_urls_that_make_no_sense(urls: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_hosts(urls)


def test_what_only_one_machine_has_is_refused_over_hosts() -> None:
    urls = "ssh://198.18.0.2"
    select.foresee("docker", {Capability.DISK_FULL: "fault disk-full"}, urls)
    with pytest.raises(UnsupportedError, match="leave --hosts away"):
        select.foresee("docker", {Capability.PROGRAM: "target etcd"}, urls)
    with pytest.raises(UnsupportedError, match="use --backend"):
        select.foresee("ssh", {Capability.PROGRAM: "target etcd"}, urls)
    backend = select.make("ssh")
    backend.capabilities = frozenset()  # as found on hosts that can do nothing
    with pytest.raises(UnsupportedError) as caught:
        select.require(backend, {Capability.CUT: "fault partition"})
    assert "leave --hosts away" not in str(caught.value)
    with pytest.raises(UsageError, match="is for --backend docker or ssh, not auto"):
        select.foresee("auto", {}, urls)
