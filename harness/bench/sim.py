"""What the simulator costs: workload A of vote rounds against its peers in the same run, whole clusters, judged trials.

Workload A: every node multicasts its vote for a round; who has 2f+1 of them votes for the next. Link delays are random
and constant. The peers run the same workload: SimPy in its callback style (its documented process style is several
times slower), and madsim (madsim_peer.py). Cost is CPU time, of this process with cyclic garbage collection off.
"""

from __future__ import annotations

import gc
import importlib.util
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from faults.port import Shape
from harness.backends.sim.backend import WINDOWS_ABOVE
from harness.backends.sim.cluster import SimCluster
from harness.backends.sim.kernel import HeapScheduler, Kernel, Scheduler
from harness.backends.sim.links import Links
from harness.backends.sim.window import WindowScheduler
from harness.backends.sim.wire import Suspects
from harness.bench import madsim_peer
from harness.plan import cluster_spec, resolve
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import trial
from nodes.messages import CommitVote, Message, NodeId

SIZES = {4: 100_000, 31: 300_000, 100: 600_000, 300: 1_200_000}  # nodes -> messages of workload A
FOREVER_NS = 10**15


def figures(sizes: dict[int, int] | None = None) -> Iterator[dict[str, Any]]:
    """Rows {"name", "value", "unit", "peer", "ratio", "note"}; peer None where it is not installed, and why."""
    for n, messages in (sizes or SIZES).items():
        yield from _workload_a(n, messages)
    for n in sizes or SIZES:
        yield _row(f"sim: whole cluster, n={n}", _measured(partial(cluster, n, "each")), "messages/CPU s")
    if sizes is None:
        yield _row(
            "sim: whole cluster, n=300, five regions, vote lanes",
            _measured(partial(cluster, 300, "lanes")),
            "messages/CPU s",
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield _row("sim: peak memory of this process", peak, "MB")
    yield _row("sim: judged short runs, n=7, about 20 views", _measured(short_runs), "runs/CPU s")


def _workload_a(n: int, messages: int) -> Iterator[dict[str, Any]]:
    """Ours against each peer, in one run."""
    ours = _measured(partial(vote_rounds, n, messages))
    peer, note = None, "SimPy: not installed; install it with `pip install simpy`"
    if importlib.util.find_spec("simpy") is not None:
        peer, note = _measured(partial(simpy_vote_rounds, n, messages // 4)), "peer: SimPy, callback style"
    yield _row(f"sim: workload A, n={n}, SimPy", ours, "messages/CPU s", peer, note)
    try:
        peer, note = madsim_peer.rate(madsim_peer.program(), n, messages // 4), "peer: madsim, delays drawn per message"
    except madsim_peer.NoPeerError as error:
        peer, note = None, str(error)
    yield _row(f"sim: workload A, n={n}, madsim", ours, "messages/CPU s", peer, note)


def _row(name: str, value: float, unit: str, peer: float | None = None, note: str = "") -> dict[str, Any]:
    ratio = round(value / peer, 2) if peer else None
    return {
        "name": name,
        "value": round(value, 1),
        "unit": unit,
        "peer": peer and round(peer, 1),
        "ratio": ratio,
        "note": note,
    }


def _measured(work: Callable[[], int]) -> float:
    """Units of `work` per CPU second."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    try:
        count = work()
    finally:
        gc.enable()
    return count / (time.process_time() - start)


# ---------------------------------------------------------------- workload A
class _Voter:
    """Counts votes and goes on; harness.backends.sim.ends.Receiver."""

    up, paused = True, False

    def __init__(self, index: int, name: NodeId, links: Links, quorum: int) -> None:
        self._index, self._name, self._links, self._quorum = index, name, links, quorum
        self._round, self._votes = 0, {1: 1}

    def vote(self) -> None:
        self._round += 1
        ballot = CommitVote(self._round, b"", self._name, b"")
        self._links.multicast(self._index, "everyone", ballot)

    def receive(self, sender: NodeId, message: Message) -> None:
        view = message.view  # type: ignore[union-attr]  # only votes travel here
        count = self._votes[view] = self._votes.get(view, 1) + 1
        while count >= self._quorum and view == self._round:
            self._votes.pop(view)
            self.vote()
            view, count = self._round, self._votes.get(self._round, 1)


def delays_of(n: int) -> dict[tuple[str, str], float]:
    """Milliseconds from 10 to 100 for each link, the same in every run."""
    rng = Random(n)
    names = [f"n{i}" for i in range(n)]
    return {(a, b): float(rng.randrange(10, 100)) for a in names for b in names if a != b}


def vote_rounds(n: int, messages: int) -> int:
    """Workload A on the simulator's kernel and links; returns the number of messages delivered."""
    scheduler: Scheduler = WindowScheduler() if n > WINDOWS_ABOVE else HeapScheduler()
    kernel = Kernel(scheduler)
    names = [f"n{i}" for i in range(n)]
    base = {link: Shape(delay_ms=ms) for link, ms in delays_of(n).items()}
    links = Links(names, {"everyone": names}, base, kernel, 1, Suspects((), lambda *_: None))
    voters = [_Voter(i, name, links, 2 * ((n - 1) // 3) + 1) for i, name in enumerate(names)]
    for voter, inlet in zip(voters, links.inlets, strict=True):
        inlet.node = voter
    links.born(0)
    for voter in voters:
        voter.vote()
    while kernel.events < messages:
        kernel.advance(FOREVER_NS)
    return kernel.events


def simpy_vote_rounds(n: int, messages: int) -> int:
    """Workload A on SimPy, one event a message with a callback."""
    import simpy

    env = simpy.Environment()
    quorum = 2 * ((n - 1) // 3) + 1
    table = delays_of(n)
    delays = [[table.get((f"n{i}", f"n{j}"), 0.0) for j in range(n)] for i in range(n)]
    rounds, votes = [0] * n, [{1: 1} for _ in range(n)]
    done = 0

    def vote(i: int) -> None:
        rounds[i] += 1
        ballot = (rounds[i], i)
        for j in range(n):
            if j != i:
                event = env.timeout(delays[i][j], ballot)
                event.callbacks.append(partial(arrive, j))

    def arrive(j: int, event: Any) -> None:
        receive(j, event.value[0])

    def receive(j: int, view: int) -> None:
        nonlocal done
        done += 1
        count = votes[j][view] = votes[j].get(view, 1) + 1
        while count >= quorum and view == rounds[j]:
            votes[j].pop(view)
            vote(j)
            view, count = rounds[j], votes[j].get(rounds[j], 1)

    for i in range(n):
        vote(i)
    while done < messages:
        env.step()
    return done


# ---------------------------------------------------------------- whole clusters, judged trials
def scenario_of(n: int, votes: str, **changes: Any) -> Scenario:
    """A fault-free scenario of n nodes in clans of about sixty."""
    document = {
        "name": "bench",
        "expect": "hold",
        "cluster": {"nodes": n, "clans": max(1, n // 60), "gateways": 1},
        "network": {"latency": "gcp-5" if votes == "lanes" else "uniform:50", "votes": votes},
        "workload": {"kind": "transfers", "rate": 5, "clients": 4, "duration": "1s"},
        "run": {"quiet": "1s"},
        **changes,
    }
    if votes == "lanes":
        document["network"]["trace"] = "lean"
    return parse(document, Source("bench", ""))


def cluster(n: int, votes: str) -> int:
    """Nodes with real cores, tracing on, no load, until about as many messages as workload A; returns their number."""
    spec = cluster_spec(resolve(scenario_of(n, votes), 1, "ideal"), "bench", Path("memory"))
    kernel = Kernel(WindowScheduler() if n > WINDOWS_ABOVE else HeapScheduler())
    nodes = SimCluster(spec, kernel)
    nodes.bring_up()
    wanted = SIZES.get(n, 100_000) * (5 if votes == "lanes" else 1)
    while True:
        end = kernel.now + 50_000_000
        while not kernel.advance(end):
            pass
        count = nodes.links.delivered()
        if count >= wanted:
            return count


def short_runs(count: int = 20) -> int:
    """Trials of a faulty scenario, judged by the checkers of the default suite; returns their number."""
    fault = [
        {"use": "partition", "topology": "isolate", "from": "200ms", "until": "600ms", "settle_s": 0.1, "verify_s": 2}
    ]
    names = ["fork", "prefix", "dedup", "availability", "state-root", "receipts"]
    scenario = scenario_of(7, "each", fault=fault, checks={"include": names})
    for seed in range(count):
        trial(scenario, seed)
    return count
