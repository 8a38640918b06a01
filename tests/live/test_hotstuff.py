"""HotStuff-rs under faults: what it promises holds, local reads are caught, and so is a defect of the crate."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.port import Capability
from harness.backends.docker import DockerBackend
from harness.backends.port import MachineError
from harness.targets.hotstuff import REPLICA
from tests.live import scenario_run

pytestmark = pytest.mark.live
BLOCKS = ("fork", "prefix", "liveness", "hotstuff-certificates")
HOLDS = (*BLOCKS, "linearizable", "receipts")


@pytest.fixture(scope="module", autouse=True)
def replica(toxiproxy_server: Path) -> Path:
    """The program, built once."""
    try:
        return REPLICA.provide(lambda _: None)
    except MachineError as error:
        pytest.skip(f"no program of HotStuff on this machine (2026-11-26): {error}")


def test_it_stands_a_cut_and_a_crash_on_processes_and_in_containers(
    tmp_path: Path, docker_backend: DockerBackend
) -> None:
    places = ["process", *(["docker"] if Capability.PROGRAM in docker_backend.capabilities else [])]
    for found in scenario_run.side_by_side(tmp_path, *(("hotstuff", place) for place in places)):
        assert found == dict.fromkeys(HOLDS, "PASS")


def test_transactions_stay_serialisable_and_of_four_replicas_one_ahead_is_helped(
    tmp_path: Path, docker_backend: DockerBackend
) -> None:
    contained = "docker" if Capability.PROGRAM in docker_backend.capabilities else "process"
    asked = (("hotstuff-lists", "process"), ("hotstuff-transactions", contained), ("hotstuff-four", "process"))
    lists, registers, four = scenario_run.side_by_side(tmp_path, *asked)
    assert lists == dict.fromkeys((*BLOCKS, "elle-list-append", "receipts"), "PASS")
    assert registers == dict.fromkeys((*BLOCKS, "elle-rw-register", "receipts"), "PASS")
    assert four == dict.fromkeys(HOLDS, "PASS")


@pytest.mark.parametrize(
    "known",
    [
        {"hotstuff-local-reads": "linearizable", "hotstuff-as-published": "liveness"},
        {"hotstuff-local-lists": "elle-list-append", "hotstuff-local-transactions": "elle-rw-register"},
    ],
    ids=["registers", "transactions"],
)
def test_what_is_known_to_be_wrong_is_caught(tmp_path: Path, known: dict[str, str]) -> None:
    found = scenario_run.side_by_side(tmp_path, *((scenario, "process") for scenario in known))
    for verdicts, caught in zip(found, known.values(), strict=True):
        assert (verdicts[caught], verdicts["fork"], verdicts["receipts"]) == ("FAIL", "PASS", "PASS")
