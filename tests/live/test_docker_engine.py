"""Engine and image: found, started, survived by stale files, ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from harness.backends.docker import DockerBackend
from harness.backends.port import MachineError
from harness.provision import engine as engines
from harness.provision import image as images
from harness.provision.engine import ensure_engine, find_engine, layout, stop_engine

pytestmark = [pytest.mark.live, pytest.mark.docker]


def test_an_engine_that_answers_is_used_as_it_is(docker_backend: DockerBackend) -> None:
    said: list[str] = []
    assert ensure_engine(said.append) == find_engine()
    assert said == []


@pytest.fixture
def own_engine(docker_backend: DockerBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own, and no other engine in sight."""
    if os.geteuid() != 0:
        pytest.skip("only root may start a private engine")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engines, "USUAL_SOCKETS", ())
    state = tmp_path / "a state directory whose name is too long for the sockets of an engine" / ("x" * 40)
    monkeypatch.setenv("MOONQUAKE_STATE", str(state))
    return state


def test_a_private_engine_starts_survives_a_kill_and_ends(own_engine: Path) -> None:
    said: list[str] = []
    try:
        first = ensure_engine(said.append)
        assert first.private and find_engine() == first
        assert "private" in said[0]  # said aloud
        assert str(layout().sockets).startswith("/run/")  # the state directory's own path is too long
        assert ensure_engine(said.append) == first and len(said) == 1
        pid = int(layout().pid_file.read_text())
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while find_engine() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert layout().pid_file.exists()  # stale
        assert ensure_engine(said.append).private
        assert int(layout().pid_file.read_text()) != pid
    finally:
        assert stop_engine()
        engines.remove_tree(layout().sockets)
    assert find_engine() is None
    assert not stop_engine()


def test_a_pid_file_that_names_somebody_else_is_not_believed(own_engine: Path) -> None:
    place = layout()
    place.sockets.mkdir(parents=True, exist_ok=True)
    place.pid_file.write_text(str(os.getpid()))
    assert not stop_engine()
    engines.remove_tree(place.sockets)


def test_a_user_who_may_not_start_engines_is_told_what_to_do(own_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match=r"sudo moonquake doctor --fix.*--backend process"):
        ensure_engine(lambda _: None)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(MachineError, match="unset DOCKER_HOST"):
        ensure_engine(lambda _: None)


def test_the_image_runs_nodes_and_is_built_once(docker_backend: DockerBackend) -> None:
    engine = find_engine()
    assert engine is not None
    with closing(engine.client()) as client:
        said: list[str] = []
        tag = images.ensure_image(client, lambda _: None)
        assert images.ensure_image(client, said.append) == images.image_tag(client) == tag
        assert said == []
        code = "import nodes.runtime.main, nodes.supra, faults.byzantine.__main__; print('imported')"
        out = client.containers.run(
            tag, ["python3", "-c", code], entrypoint=[], network_mode="none", remove=True, labels=images.LABELS
        )
        assert out == b"imported\n"


def test_a_changed_source_changes_only_the_thin_layer(
    docker_backend: DockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = find_engine()
    assert engine is not None
    with closing(engine.client()) as client:
        before = images.ensure_image(client, lambda _: None)
        sources = list(images.node_sources())
        monkeypatch.setattr(images, "node_sources", lambda: iter([*sources, ("nodes/one_more.py", b"X = 1\n")]))
        said: list[str] = []
        after = images.ensure_image(client, said.append)
        assert after != before and len(said) == 1 and "sources" in said[0]
        client.images.remove(after, force=True)
