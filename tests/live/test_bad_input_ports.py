"""Ports that somebody else holds, met by the real command line on real processes (issue 3, "Bad input")."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import cli
from harness.backends import ports, process
from harness.outcome import Exit
from tests.live.command import SCENARIO

pytestmark = pytest.mark.live
LINKS = 5 * 4  # four nodes and a gateway
FIRST_NODE = 1 + LINKS  # the ports are: the proxies' API, one per link, then two or three per node


@pytest.fixture
def occupied() -> Iterator[int]:
    """A port where somebody listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


@pytest.fixture
def words(tmp_path: Path, toxiproxy_server: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run of a second, with a state directory of its own."""
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(toxiproxy_server.parent), prepend=":")
    (tmp_path / "small.toml").write_text(SCENARIO.replace("LOAD", "1s"))
    return ["run", str(tmp_path / "small.toml"), "--backend", "process", "--json", "--runs", str(tmp_path / "runs")]


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("which", [0, 1, FIRST_NODE, FIRST_NODE + 1])
def test_a_port_in_use_is_met_with_other_ports(
    words: list[str], occupied: int, which: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries: list[int] = []

    def first_one_taken(count: int) -> list[int]:
        found = ports.free_ports(count)
        tries.append(count)
        return [*found[:which], occupied, *found[which + 1 :]] if len(tries) == 1 else found

    monkeypatch.setattr(process, "free_ports", first_one_taken)
    code, document = run(words, capsys)
    assert len(tries) == 2
    assert code in (Exit.AS_EXPECTED, Exit.INCONCLUSIVE) and document["verdicts"], document


def test_ports_that_stay_in_use_are_the_machines_fault(
    words: list[str], occupied: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "free_ports", lambda count: [*ports.free_ports(count - 1), occupied])
    code, document = run(words, capsys)
    assert code == Exit.ENVIRONMENT
    assert str(occupied) in str(document["error"]) and "ss -ltnp" in str(document["error"])
    assert list((tmp_path / "state" / "leftovers").iterdir()) == []


def test_no_ports_at_all(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ports, "_ephemeral_start", lambda: ports._LOWEST + 3)
    code, document = run(words, capsys)
    assert code == Exit.ENVIRONMENT
    assert "TCP ports are free" in str(document["error"]) and "ss -ltn" in str(document["error"])
