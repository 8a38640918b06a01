"""One scenario, one seed, one backend -> one run directory.

The life of a run:

 1. Resolve: the plan is made and every senseless scenario refused (`plan.resolve`), before anything is started.
 2. Check: what the plan needs and the backend cannot do is refused by name (`plan.check_backend`).
 3. Up: the run directory is made, run.json written, and the backend brings up every node.
 4. Ready: every honest node and every gateway has finalised a block. This moment (`warm` seconds later, where the
    scenario says so) is the load start: the scenario's times count from it.
 5. Load and nemesis: clients work at the scenario's rate; faults come and go in their windows. The corrupted nodes are
    told when the load started, again and again to the end of step 7, and open and close their behaviours' windows.
 6. Heal: at the end of the load no operation starts any more and every fault is healed, whatever happened before.
 7. Quiet: until every operation has an answer and every honest node has finalised and executed what was there when
    the quiet phase began, and a block that was proposed since; at most `quiet` seconds where a violation is
    expected, five times that where none is.
 8. Stop: nodes end in an orderly way; what is still in flight becomes info.
 9. Collect: the nodes' traces become trace.jsonl; behaviours' receipts are read from it and join the history.
10. Describe: run.json is written again, complete.
11. Judge: checkers read the run directory, as `moonquake check` would; verdicts.json.
12. Report: report.html, and the answer to "as expected?".

An interruption, a recording that fails or a cluster that is lost goes straight to 6, skips 7, 11 and 12, and keeps
the records.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults.byzantine.side_channel import SideChannelError
from faults.port import Capability, NodeStatus
from harness.backends.port import Backend, MachineError, RunningCluster
from harness.interruption import Interrupted, Interruption
from harness.keep import DirectoryKeep, Keep
from harness.load import Load, Tally
from harness.nemesis import HEAL_LIMIT_S, Nemesis, behaviour_receipts, record_start, record_stop
from harness.outcome import RecordingError
from harness.plan import Plan, check_backend, describe, planned_behaviours, planned_faults, spec_of
from harness.progress import Observer, Snapshot
from harness.recorder import Recorder
from harness.versions import versions
from results.store import RunInfo

READY_LIMIT_S = 60.0
QUIET_STRETCH = 5.0
PIPELINE = 4  # blocks that may have been proposed before the quiet phase and are finalised in it
POLL_S = 0.5
WATCH_S = 1.0
KILLED = "the harness was killed, or failed, in the middle of the run"
ANNOUNCE_S = 0.5


class Runner:
    """Carries out one plan (life cycle steps 2 to 10)."""

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        root: Path,
        notes: Sequence[str] = (),
        observer: Observer | None = None,
        ready_limit_s: float = READY_LIMIT_S,
        keep: Keep | None = None,
        quiet_signals: bool = False,
    ) -> None:
        """`keep` says what becomes of the records; by default they go to a new run directory under `root`.
        `quiet_signals`: leave Ctrl-C to whoever runs many of us (a run that holds nothing outside memory)."""
        check_backend(plan, backend)
        self._plan = plan
        self._backend = backend
        self._observer = observer or Observer()
        self._ready_limit_s = ready_limit_s
        self._quiet_signals = quiet_signals
        self._keep = keep or DirectoryKeep(root, plan.scenario.name, plan.seed)
        self.directory = self._keep.directory
        self._run_id = self._keep.run_id
        self.info: RunInfo = describe(plan, backend.name, self._keep.started, list(notes))
        self._phase = "starting"
        self._tally = Tally()
        self._nemesis: Nemesis | None = None
        self._lost: MachineError | None = None  # the cluster went away in the middle of the run

    def run(self) -> RunInfo:
        """Steps 3 to 10. Raises Interrupted, RecordingError or MachineError, with the records kept."""
        with asyncio.Runner(loop_factory=self._backend.new_loop) as runner:
            return runner.run(self.execute())

    async def execute(self) -> RunInfo:
        """`run`, inside a loop that exists already."""
        if not self._quiet_signals:
            self.info.versions, self.info.machine = versions(), _machine()
        self.info.incomplete = KILLED  # until we know better
        self._keep.write_info(self.info)
        interruption = Interruption()
        try:
            with contextlib.nullcontext() if self._quiet_signals else interruption.listening():
                await self._with_cluster(interruption)
            if self._lost is not None:
                raise self._lost
            if interruption.event.is_set():
                raise Interrupted
        except Interrupted:
            self.info.interrupted = True
            if not self.info.end:
                self.info.incomplete = "it was interrupted while its nodes started"
            self.info.notes.append("interrupted: the run was ended before its time")
            raise Interrupted(f"the records are in {self.directory}") from None
        except (RecordingError, MachineError) as error:
            self.info.incomplete = str(error)
            self.info.notes.append(f"the run failed: {error}")
            raise
        finally:
            with contextlib.suppress(MachineError):
                self._keep.write_info(self.info)
        self._keep.write_info(self.info)
        return self.info

    # ------------------------------------------------------------ steps 3, 8, 9
    async def _with_cluster(self, interruption: Interruption) -> None:
        spec = spec_of(self._plan, self._run_id, self.directory)
        self._observer.say(f"starting {len(spec.roster.nodes)} nodes on backend {self._backend.name}")
        async with contextlib.AsyncExitStack() as stack:
            with interruption.cancelling():
                cluster = await stack.enter_async_context(self._backend.up(spec))
            self.info.layer = cluster.layer
            with self._keep.recorder(cluster.now) as recorder:
                watching = asyncio.create_task(self._watch(cluster, interruption))
                try:
                    with interruption.cancelling():
                        await self._ready(cluster)
                    await self._loaded(cluster, recorder, interruption)
                finally:
                    self._phase = "stopping"
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
                    self.info.end = cluster.now()
                    await cluster.stop()
                    self._collect(cluster, recorder)

    def _collect(self, cluster: RunningCluster, recorder: Recorder) -> None:
        count, notes = self._keep.collect(cluster)
        self.info.notes += notes
        self.info.incomplete = ""
        self.info.recorded = {"trace.jsonl": count, "history.jsonl": recorder.count}
        behaviours = [info for info in self.info.faults if info.kind == "behaviour"]
        if not behaviours or recorder.broken:
            return
        said = self._keep.said_by(cluster.roster.byzantine)
        halts = {e["node"]: e.get("reason") for e in reversed(said) if e["event"] == "halt"}  # the first one's words
        self.info.notes += [f"{n} is corrupted, and its attack failed: {halts[n]}" for n in sorted(halts)]
        for info in behaviours:
            for node, receipt in behaviour_receipts((e for e in said if e["event"] == "behaviour"), info):
                record_stop(recorder, info, receipt, node=node)
        self.info.recorded["history.jsonl"] = recorder.count

    # ------------------------------------------------------------ step 4
    async def _ready(self, cluster: RunningCluster) -> None:
        """Returns when every honest node and gateway has finalised a block; a cluster that is up but stuck is run
        nevertheless (that is for the checkers to judge). Raises MachineError for nodes that are not up."""
        wanted = cluster.roster.honest + cluster.roster.gateways
        deadline = cluster.now() + int(self._ready_limit_s * 1e9)
        while True:
            statuses = await _statuses(cluster, wanted)
            late = [s.node for s in statuses if not s.up or s.height < 1]
            if not late:
                break
            if cluster.now() >= deadline:
                down = [s.node for s in statuses if not s.up]
                if down:
                    raise MachineError(
                        f"{', '.join(down)} did not come up within {self._ready_limit_s:g} s; their logs are in"
                        f" {self.directory / 'logs'}; `moonquake doctor` examines this machine"
                    )
                self.info.notes.append(f"not ready: {', '.join(late)} finalised nothing in {self._ready_limit_s:g} s")
                break
            await cluster.sleep(POLL_S)
        await cluster.sleep(self._plan.scenario.warm_s)

    # ------------------------------------------------------------ steps 5, 6, 7
    async def _loaded(self, cluster: RunningCluster, recorder: Recorder, interruption: Interruption) -> None:
        scenario = self._plan.scenario
        self._phase = "load"
        self.info.load_start = cluster.now()
        load = Load(self._plan.driver, cluster, recorder, scenario.workload.rate, scenario.workload.clients)
        self._tally = load.tally
        planned = planned_faults(self._plan, self.info.load_start)
        behaviours = planned_behaviours(self._plan, self.info.load_start)
        self.info.faults = [*behaviours, *(p.info for p in planned)]
        nemesis = self._nemesis = Nemesis(cluster, recorder, planned)
        self._observer.say(f"load: {scenario.workload.kind} at {scenario.workload.rate:g}/s")
        for info in behaviours:
            record_start(recorder, info)
        announcing = asyncio.create_task(self._announce(cluster))
        loading, hurting = asyncio.create_task(load.run()), asyncio.create_task(nemesis.run())
        try:
            await _first(cluster, scenario.workload.duration_s, interruption.event, loading)
        finally:
            load.close()
            self.info.load_end = cluster.now()
            await self._heal(nemesis, hurting)
            if not interruption.event.is_set() and not recorder.broken:
                await self._quiet(cluster, loading, interruption)
            loading.cancel()
            announcing.cancel()
            results = await asyncio.gather(loading, announcing, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        if recorder.broken:
            raise RecordingError(recorder.broken)

    async def _announce(self, cluster: RunningCluster) -> None:
        """Tell the corrupted nodes the load start until cancelled, so that one that starts again hears it too."""
        while True:
            try:
                cluster.announce_load(self.info.load_start)
            except SideChannelError as error:
                self.info.notes.append(f"behaviours with a window do not begin: {error}")
                return
            await cluster.sleep(ANNOUNCE_S)

    async def _heal(self, nemesis: Nemesis, hurting: asyncio.Task[None]) -> None:
        nemesis.finish()
        _, pending = await asyncio.wait((hurting,), timeout=HEAL_LIMIT_S)
        if pending:
            self.info.notes.append(
                f"faults were not healed within {HEAL_LIMIT_S:g} s: {sorted(nemesis.active.values())}"
            )
            hurting.cancel()
        ended = await asyncio.gather(hurting, return_exceptions=True)
        self.info.notes += nemesis.notes
        self.info.notes += [f"the nemesis failed: {error!r}" for error in ended if isinstance(error, Exception)]
        self.info.heal = max([self.info.load_start, *nemesis.healed])
        for number, _, fault in self._plan.faults:
            hit = {n for n in nemesis.targets.get(number, ()) if n in self.info.tribe}
            if hit and Capability.WIPE in fault.needs:
                self.info.amnesiac = sorted({*self.info.amnesiac, *hit})
            if hit and fault.needs & {Capability.KILL, Capability.MEMBERSHIP}:
                self.info.crashed = sorted({*self.info.crashed, *hit})

    async def _quiet(self, cluster: RunningCluster, loading: asyncio.Task[None], interruption: Interruption) -> None:
        self._phase = "quiet"
        scenario, honest = self._plan.scenario, cluster.roster.honest
        bound_s = scenario.quiet_s * (1.0 if scenario.expect.violate else QUIET_STRETCH)
        self._observer.say(f"quiet: at most {bound_s:g} s")
        growth = PIPELINE if self._plan.target is None or self._plan.target.makes_blocks else 0
        deadline = cluster.now() + int(bound_s * 1e9)
        target = max((s.height for s in await _statuses(cluster, honest)), default=0) + growth
        while cluster.now() < deadline and not interruption.event.is_set():
            if loading.done() and not await _behind(cluster, honest, target):
                return
            await cluster.sleep(POLL_S)
        if not interruption.event.is_set():
            self.info.stragglers = await _behind(cluster, honest, target)
            self.info.notes.append(f"the quiet phase ended at its bound of {bound_s:g} s: not everything had caught up")

    # ------------------------------------------------------------ watching
    async def _watch(self, cluster: RunningCluster, interruption: Interruption) -> None:
        """Tell the observer; a cluster that cannot even be asked any more ends the run."""
        try:
            await self._tell(cluster)
        except MachineError as error:
            self._lost = error
            interruption.event.set()

    async def _tell(self, cluster: RunningCluster) -> None:
        total = self._plan.scenario.workload.duration_s
        while True:
            statuses = await _statuses(cluster, cluster.roster.tribe)
            elapsed = (cluster.now() - self.info.load_start) / 1e9 if self.info.load_start else 0.0
            active = tuple(self._nemesis.active.values()) if self._nemesis else ()
            heights = {s.node: s.height if s.up else -1 for s in statuses}
            name = self._plan.scenario.name
            self._observer.watch(Snapshot(name, self._phase, elapsed, total, heights, self._tally, active))
            await cluster.sleep(WATCH_S)


async def _statuses(cluster: RunningCluster, nodes: Sequence[str]) -> list[NodeStatus]:
    return list(await asyncio.gather(*(cluster.status(node) for node in nodes)))


async def _behind(cluster: RunningCluster, nodes: Sequence[str], target: int) -> list[str]:
    """Nodes that are down, or below the target height in what they finalised or executed, by their own word."""
    statuses = await _statuses(cluster, nodes)
    return [s.node for s in statuses if not s.up or min(s.height, s.executed) < target]


async def _first(cluster: RunningCluster, seconds: float, event: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Wait for the time, the event or the end of the task, whichever comes first."""
    waits = [asyncio.ensure_future(cluster.sleep(seconds)), asyncio.ensure_future(event.wait())]
    try:
        await asyncio.wait((*waits, task), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "root": os.geteuid() == 0,
    }
