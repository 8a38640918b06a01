"""Campaigns beyond one machine: the chunks of a search or a frontier on the workers of a Dask cluster.

    dask scheduler                                                   on one machine
    dask worker tcp://HOST:8786 --nthreads 1 --nworkers 8            on each of the others, moonquake installed
    moonquake search swarm --runs 100000 --workers dask://HOST:8786

A worker needs the package only. It must run the same code as we do, for results of other code prove nothing about this
one: each call asks for that, so that a worker that joins later is asked, too. A chunk whose worker is lost runs again
elsewhere; a chunk that loses worker after worker is what kills them, and its seeds are tried one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from distributed import Client
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from harness.backends.port import MachineError
from harness.chunk import collect_seldom
from harness.executors import CLUSTER, LostError, Pool
from harness.outcome import UsageError
from harness.sources import code_digest

ANSWER_S = 20.0


class OtherCodeError(RuntimeError):
    """A worker has another version of the package than the campaign."""


@contextmanager
def connect(address: str) -> Iterator[Pool]:
    """The workers of the cluster at dask://HOST:PORT, one call at a time each.

    Raises UsageError for a cluster that cannot be used as it is, MachineError for one that does not answer.
    """
    try:
        client = Client(f"tcp://{address.removeprefix(CLUSTER)}", timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MachineError(
            f"--workers {address}: no Dask scheduler answers there ({error}); start one with `dask scheduler`"
        ) from error
    try:
        yield Pool(_usable(client, address), lambda: ClusterExecutor(client, address))
    finally:
        client.close(timeout=ANSWER_S)


def _usable(client: Client, address: str) -> int:
    threads: dict[str, int] = client.nthreads()
    if not threads:
        raise UsageError(f"--workers {address}: has no workers; start some: dask worker tcp://... --nthreads 1")
    several = [name for name, count in threads.items() if count != 1]
    if several:
        raise UsageError(
            f"--workers {address}: {several[0]} runs {threads[several[0]]} calls at a time in one process, where a run"
            " needs a process to itself; start workers with --nthreads 1 --nworkers N"
        )
    try:
        digests: dict[str, str] = client.run(_code)
    except Exception as error:  # whatever a worker meets that cannot import the package
        raise UsageError(f"--workers {address}: a worker cannot load moonquake ({error!r}): install it") from error
    mine = code_digest()
    for name, digest in digests.items():
        if digest != mine:
            raise UsageError(
                f"--workers {address}: {name} has other code than this machine; install the same moonquake there"
            )
    return len(threads)


class ClusterExecutor(Executor):
    """Submits to a cluster. Every call is a new one: equal arguments do not share a result."""

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._inner = client.get_executor(pure=False)
        self._address = address
        self._code = code_digest()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The call's future. It raises LostError when its workers died, MachineError when the scheduler is gone."""
        outer: Future[Any] = Future()
        inner = self._inner.submit(_checked, self._code, fn, *args, **kwargs)
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        return outer

    def _pass_on(self, inner: Future[Any], outer: Future[Any]) -> None:
        if outer.cancelled():
            return
        try:
            outer.set_result(inner.result())
        except KilledWorker as error:
            outer.set_exception(LostError(f"worker {error.last_worker.address} died of it, the last of several"))
        except (CancelledError, CommClosedError, OSError) as error:
            gone = (
                f"--workers {self._address}: the scheduler is gone ({error!r}); start it again and go on with --resume"
            )
            outer.set_exception(MachineError(gone))
        except OtherCodeError as error:
            outer.set_exception(UsageError(f"--workers {self._address}: {error}"))
        except Exception as error:
            outer.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give up what was submitted; with `wait`, when it is done."""
        self._inner.shutdown(wait=wait and not cancel_futures)


@lru_cache(maxsize=1)
def _code() -> str:
    """On a worker: the digest of its code, taken once."""
    collect_seldom()
    return code_digest()


def _checked(code: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if _code() != code:
        raise OtherCodeError("a worker that joined later has other code than this machine; install the same there")
    return fn(*args, **kwargs)
