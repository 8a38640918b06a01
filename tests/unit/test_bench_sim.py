"""The simulator's benchmark: every voter gets its messages, and a peer that cannot be had says how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench import madsim_peer, sim


@pytest.mark.parametrize("nodes", [4, 34])
def test_workload_a_delivers_what_was_asked(nodes: int) -> None:
    assert sim.vote_rounds(nodes, 2_000) >= 2_000


def test_without_cargo_the_peer_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = list(sim._workload_a(4, 2_000))
    assert [row["name"].rpartition(", ")[2] for row in rows] == ["SimPy", "madsim"]
    assert rows[1]["peer"] is None and rows[1]["ratio"] is None and rows[1]["value"] == rows[0]["value"] > 0
    assert "no cargo" in rows[1]["note"] and "install" in rows[1]["note"]


def test_a_build_that_fails_names_the_command_that_shows_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text("#!/bin/sh\nexit 101\n")
    cargo.chmod(0o755)
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(madsim_peer.NoPeerError, match="cargo build --release --locked"):
        madsim_peer.program()


def test_the_rate_is_that_of_the_messages_it_tells(tmp_path: Path) -> None:
    peer = tmp_path / "release" / "workload-a"
    peer.parent.mkdir()
    peer.write_text('#!/bin/sh\ni=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo "$2"\n')
    peer.chmod(0o755)
    rates = [madsim_peer.rate(peer, 4, messages) for messages in (1_000, 1_000_000)]
    assert rates[1] > 10 * rates[0] > 0
    peer.write_text("#!/bin/sh\necho nothing\n")
    with pytest.raises(madsim_peer.NoPeerError, match="broke off"):
        madsim_peer.rate(peer, 4, 10)
