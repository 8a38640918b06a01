"""A campaign on a Dask cluster of real worker processes: the same outcomes, also when a worker is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from harness import cluster_pool, commands, executors
from harness.backends.port import MachineError
from harness.campaign import Budget, Campaign
from harness.campaign_state import Header, Recorded, open_state
from harness.chunk import Job, Outcome, run_chunk
from harness.executors import LostError, Pool, workers
from harness.outcome import UsageError

pytestmark = pytest.mark.live
BASE = commands.read_scenario("swarm")
JOB = Job({**BASE.raw, "cluster": {"nodes": 4, "clans": 1, "gateways": 1}, "name": "small"}, "seeds")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0", silence_logs=50
        ) as made,
    ):
        yield made


def address(cluster: LocalCluster) -> str:
    """Where its scheduler is, once all workers are there: an earlier test may have killed some."""
    cluster.wait_for_workers(len(cluster.worker_spec))
    return cluster.scheduler_address.replace("tcp://", "dask://")


def campaign(path: Path, pool: Pool, runs: int, name: str) -> Campaign:
    state = open_state(path, name, Header(JOB, 1, "code"), False)
    return Campaign(JOB, 1, Budget(runs=runs), state, pool, lambda job, found: Recorded("", "", True))


def digests(path: Path, name: str) -> dict[int, str]:
    state = open_state(path, name, Header(JOB, 1, "code"), True)
    return {outcome.seed: outcome.digest for outcome in state.outcomes}


def test_a_cluster_finds_what_one_process_finds_and_a_killed_worker_loses_nothing(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    campaign(tmp_path, Pool(1, executors.InProcess), 6, "alone").run()
    victims: list[int] = []

    class Murderous(cluster_pool.ClusterExecutor):
        """Kills a worker process when the third chunk is handed out."""

        calls = 0

        def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
            self.calls += 1
            if self.calls == 3:
                victims.append(next(iter(cluster.workers.values())).pid)
                os.kill(victims[0], signal.SIGKILL)
            return super().submit(fn, *args, **kwargs)

    with workers(address(cluster)) as pool:
        assert pool.size == 2
        client = pool.make()._client  # type: ignore[attr-defined]
        done = campaign(tmp_path, Pool(2, lambda: Murderous(client, address(cluster))), 6, "cluster")
        done.run()
    assert victims and done.tally.runs == 6 and not done.tally.errors
    assert digests(tmp_path, "cluster") == digests(tmp_path, "alone")


def _die(job: Job, seeds: list[int]) -> list[Outcome]:
    os.kill(os.getpid(), signal.SIGKILL)
    return run_chunk(job, seeds)


def test_what_kills_every_worker_is_lost_and_says_so(cluster: LocalCluster) -> None:
    with workers(address(cluster)) as pool:
        executor: Executor = pool.make()
        with pytest.raises(LostError, match="died of it"):
            executor.submit(_die, JOB, [1]).result(timeout=120)


def test_a_worker_with_other_code_is_refused(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_pool, "code_digest", lambda: "another")
    with pytest.raises(UsageError, match="has other code"), workers(address(cluster)):
        pass


def test_workers_with_several_threads_are_refused() -> None:
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            host="127.0.0.1",
            dashboard_address=":0",
            silence_logs=50,
        ) as threaded,
        pytest.raises(UsageError, match="--nthreads 1"),
        workers(address(threaded)),
    ):
        pass


def test_a_cluster_without_workers_is_refused() -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0", silence_logs=50) as empty,
        pytest.raises(UsageError, match="no workers"),
        workers(empty.scheduler_address.replace("tcp://", "dask://")),
    ):
        pass


def test_no_scheduler_is_an_error_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_pool, "ANSWER_S", 0.5)
    with pytest.raises(MachineError, match="dask scheduler"), workers("dask://127.0.0.1:9"):
        pass
