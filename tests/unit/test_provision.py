"""Where provisioned things lie, what may be ended as ours, what an image is tagged by."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness.backends.port import MachineError
from harness.provision import engine, image, packages
from harness.provision.state import SOCKET_PATH_LIMIT, short_directory, state_directory


def test_the_state_directory_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path / "kept"))
    assert state_directory() == tmp_path / "kept" and (tmp_path / "kept").is_dir()
    monkeypatch.delenv("MOONQUAKE_STATE")
    assert state_directory().name == ".state"


def test_sockets_move_to_run_when_their_path_would_be_too_long() -> None:
    short, long = Path("/srv/lab"), Path("/srv") / ("x" * 90)
    assert short_directory(short, 40) == short
    moved = short_directory(long, 40)
    assert moved.parent == Path("/run") and len(str(moved)) + 41 <= SOCKET_PATH_LIMIT
    assert moved == short_directory(long, 40) != short_directory(Path(f"{long}y"), 40)


def test_only_containerds_of_our_exec_root_are_ours() -> None:
    ours = "/state/engine/exec"
    assert engine._serves(["containerd", "--config", f"{ours}/containerd/containerd.toml"], ours)
    assert engine._serves(["/usr/bin/containerd-shim-runc-v2", "-address", f"{ours}/containerd/containerd.sock"], ours)
    assert not engine._serves(["containerd", "--config", "/var/run/docker/containerd/containerd.toml"], ours)
    assert not engine._serves(["vim", f"{ours}/containerd/containerd.toml"], ours)
    assert not engine._serves(["containerd", f"{ours}-other/x"], ours)
    assert not engine._serves([], ours)


def test_a_private_engine_leaves_the_hosts_firewall_and_bridges_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path))
    command = engine._command(engine.layout())
    assert {"--bridge=none", "--iptables=false", "--ip-forward=false"} <= set(command)
    assert f"--data-root={tmp_path / 'engine' / 'data'}" in command


def test_mount_points_with_blanks_in_their_names_latest_first() -> None:
    table = "proc /proc proc rw 0 0\n/dev/vda /srv/a\\040lab/data ext4 rw 0 0\nnsfs /srv/ü/x nsfs rw 0 0\n"
    assert engine.mount_points(table.encode()) == [Path("/srv/ü/x"), Path("/srv/a lab/data"), Path("/proc")]


def test_missing_tools_name_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_tool", lambda name: None if name in ("nft", "tc", "ip") else f"/usr/bin/{name}")
    assert packages.missing_packages(["nft", "tc", "ip", "dockerd"]) == ["iproute2", "nftables"]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="apt-get install iproute2 nftables"):
        packages.ensure_tools(["nft", "tc"], lambda _: None)


def test_a_source_change_changes_the_nodes_tag_and_a_lock_change_all_tags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deps = image._deps_tag("moonquake/base:1")
    node = image._node_tag(deps)
    sources = list(image.node_sources())
    assert any(name == "nodes/port.py" for name, _ in sources)
    assert not any(name.endswith(".pyc") for name, _ in sources)
    monkeypatch.setattr(image, "node_sources", lambda: iter([*sources, ("nodes/new.py", b"")]))
    assert image._node_tag(deps) != node
    lock = tmp_path / "node.txt"
    lock.write_text("msgspec==0\n")
    monkeypatch.setattr(image, "LOCK", lock)
    assert image._deps_tag("moonquake/base:1") != deps


def test_equal_content_is_an_equal_context() -> None:
    def context() -> bytes:
        return image._context("FROM scratch\n", iter([("src/a.py", b"1"), ("src/b.so", b"2")])).read()

    assert context() == context()
    with tarfile.open(fileobj=io.BytesIO(context())) as tar:
        assert tar.getnames() == ["Dockerfile", "src/a.py", "src/b.so"]
        assert tar.getmember("src/b.so").mode & 0o111


def test_behaviours_are_found_by_name_inside_the_image() -> None:
    table = dict(image.node_sources())["moonquake-0.dist-info/entry_points.txt"].decode()
    assert "[moonquake.behaviours]" in table
