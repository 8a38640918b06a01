"""The `sim` backend: brings simulated clusters up, on an event loop whose clock is virtual."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from faults.port import UnsupportedError
from harness.backends.port import ClusterSpec, ProgramSpec
from harness.backends.sim.cluster import CAPABILITIES, SimCluster
from harness.backends.sim.kernel import Kernel
from harness.backends.sim.loop import VirtualLoop
from harness.backends.sim.window import WindowScheduler

WINDOWS_ABOVE = 31  # nodes; measured: below, the arrays cost more than the heap


class Listener(Protocol):
    """What may sit between nodes and links without changing anything: a tape, a meter."""

    def attach(self, cluster: SimCluster) -> None:
        """Listen to a cluster that has not started yet."""
        ...


class SimBackend:
    """Clusters on a virtual clock: one seed decides everything (architecture section 9).

    `scheduler`: "heap", "window", or "auto" by the number of nodes. It decides the speed and nothing else.
    """

    name = "sim"
    capabilities = CAPABILITIES
    scheme = "ideal"

    def __init__(self, scheduler: str = "auto", tape: Listener | None = None) -> None:
        """`tape` hears what travels in the clusters that are brought up."""
        self._scheduler = scheduler
        self._tape = tape

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """A loop on a virtual clock that stands at zero."""
        return VirtualLoop(Kernel())

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Nothing is needed."""

    @asynccontextmanager
    async def up(self, spec: ClusterSpec | ProgramSpec) -> AsyncIterator[SimCluster]:
        """A simulated cluster. Must run on a loop of `new_loop`."""
        if isinstance(spec, ProgramSpec):
            raise UnsupportedError(f"the simulator runs cores of ours, not target {spec.target.name}")
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise RuntimeError("the simulator needs its own event loop: use SimBackend.new_loop()")
        large = len(spec.nodes) > WINDOWS_ABOVE if self._scheduler == "auto" else self._scheduler == "window"
        if large:
            loop.kernel.scheduler = WindowScheduler()
        cluster = SimCluster(spec, loop.kernel)
        if self._tape is not None:
            self._tape.attach(cluster)
        with rare_collections():
            cluster.bring_up()
            yield cluster


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage in cycles rarely: a simulated cluster makes hardly any, and each search walks all its nodes."""
    was = gc.get_threshold()
    gc.set_threshold(max(was[0], 200_000), 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*was)
