"""CometBFT, built from its released source, under faults: its promises hold; twins and blind clients are caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.port import Capability
from harness.backends.docker import DockerBackend
from harness.backends.port import MachineError
from harness.targets.cometbft.target import COMETBFT
from tests.live import scenario_run

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", autouse=True)
def cometbft(toxiproxy_server: Path) -> Path:
    """The program, provided once: a build of minutes, unless it is there."""
    try:
        return COMETBFT.provide(lambda _: None)
    except MachineError as error:
        pytest.skip(f"no CometBFT on this machine: {error}")


def test_its_promises_hold_on_processes_and_in_containers(tmp_path: Path, docker_backend: DockerBackend) -> None:
    places = ["process", *(["docker"] if Capability.PROGRAM in docker_backend.capabilities else [])]
    for found in scenario_run.side_by_side(tmp_path, *(("cometbft", place) for place in places)):
        judges = ("fork", "prefix", "liveness", "linearizable", "tendermint-commits", "tendermint-evidence", "receipts")
        assert found == dict.fromkeys(judges, "PASS")


def test_twins_are_caught_and_past_the_bound_they_fork_the_chain(tmp_path: Path) -> None:
    asked = (("cometbft-twins", "process"), ("cometbft-two-twins", "process"))
    one, two = scenario_run.side_by_side(tmp_path, *asked)
    assert (one["tendermint-evidence"], one["fork"], one["dedup"]) == ("PASS", "PASS", "PASS")
    assert (two["fork"], two["tendermint-commits"], two["receipts"]) == ("FAIL", "FAIL", "PASS")


def test_a_client_that_retries_blindly_is_caught(tmp_path: Path) -> None:
    found = scenario_run.run(tmp_path, "cometbft-blind-retry", "process")
    assert (found["dedup"], found["fork"], found["receipts"]) == ("FAIL", "PASS", "PASS")
