"""The comparison: the same figures from the same records, whatever the system, and its scenarios make sense."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.bench import comparison, wire
from harness.bench.chainrun import ChainRun, percentiles
from harness.bench.wire import Passed, Wire
from harness.command_bench import _markdown
from harness.commands import plan_of
from harness.load import Tally
from harness.progress import Snapshot
from harness.scenario import parse
from harness.toml import Source
from tests.golden.plants_cometbft import recorded

S = 1_000_000_000


def write(directory: Path, blocks: list[tuple[float, int]], operations: list[tuple[float, int, str]]) -> ChainRun:
    """A run of two nodes: n0 finalises these (seconds, height), n1 each 0.3 s later; load from 1 s to 11 s."""
    story = recorded()
    info = story.info | {"load_start": 1 * S, "load_end": 11 * S, "heal": 9 * S, "end": 12 * S, "byzantine": []}
    trace = [
        {"time": int((at + late) * S), "node": node, "incarnation": 1, "event": "finalise", "height": height,
         "timestamp_ms": int(at * 1000)}
        for at, height in blocks for node, late in (("n0", 0.0), ("n1", 0.3))
    ]  # fmt: skip
    history = [
        {"index": i, "time": int(at * S), "process": process, "type": kind, "f": "write", "value": [1, 1]}
        for i, (at, process, kind) in enumerate(operations)
    ]
    receipt = {"injected": 5 * S, "healed": 9 * S}
    stop = {"index": len(history), "time": 9 * S, "process": "nemesis", "type": "info", "f": "stop"}
    history.append(stop | {"value": {"receipt": receipt}})
    directory.mkdir(exist_ok=True)
    (directory / "run.json").write_bytes(msgspec.json.encode(info))
    for name, records in (("trace.jsonl", trace), ("history.jsonl", history)):
        (directory / name).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in records))
    return ChainRun(directory)


@pytest.fixture
def run(tmp_path: Path) -> ChainRun:
    """A block each half second, none from 5 s to 9.5 s."""
    blocks = [(3 + i / 2, i + 1) for i in range(5)] + [(9.5 + i / 2, i + 6) for i in range(4)]
    asked = [
        (3.0, 0, "invoke"),
        (3.2, 0, "ok"),
        (4.0, 1, "invoke"),
        (4.5, 1, "fail"),
        (8.0, 0, "invoke"),
        (9.75, 0, "ok"),
    ]
    return write(tmp_path / "run", blocks, asked)


def test_the_pace_is_that_of_the_first_node_and_counts_its_blocks(run: ChainRun) -> None:
    mean, count = run.interval(3 * S, 5 * S)
    assert (mean, count) == (500.0, 4)
    assert run.spread()[0] == 500.0
    assert run.interval(6 * S, 9 * S) == (None, 0)


def test_only_what_took_effect_under_load_is_an_answer(run: ChainRun) -> None:
    assert run.answers() == pytest.approx([200.0, 1750.0])
    assert run.throughput() == (2 / 8, 2)


def test_a_gap_that_ends_after_the_heal_is_whole(run: ChainRun) -> None:
    assert run.window() == (5 * S, 9 * S)
    assert run.longest_gap(*run.window()) == pytest.approx(4500.0)
    assert run.first_block_after(9 * S) == pytest.approx(500.0)
    assert run.answered_after(9 * S) == pytest.approx(750.0)


def test_caught_up_is_what_was_final_then(tmp_path: Path, run: ChainRun) -> None:
    assert run.caught_up_after("n1", int(9.5 * S)) == pytest.approx(300.0)
    assert run.caught_up_after("n1", 9 * S) == 0.0
    assert run.caught_up_after("nobody", 9 * S) is None


def test_nothing_measured_is_no_figure() -> None:
    assert percentiles([]) == (None, None)
    assert comparison._row("x", "ms", comparison.Figure(None, 0), comparison.Figure(1.0))["ratio"] is None
    row = comparison._row("x", "ms", comparison.Figure(50.0, 3), comparison.Figure(200.0, 4))
    assert (row["ratio"], row["note"]) == (0.25, "N = 3 and 4")


@pytest.mark.parametrize("situation", comparison.SITUATIONS)
@pytest.mark.parametrize("system", comparison.SYSTEMS)
def test_every_situation_is_a_scenario_of_every_system(system: str, situation: str) -> None:
    plan = plan_of(parse(comparison.scenario_of(system, situation), Source("comparison")), 1)
    assert plan.regime.name == "within" and comparison.TOLD[situation]


def test_both_systems_bear_the_same(  # all but the system itself and the kind of its transactions
) -> None:
    for situation in comparison.SITUATIONS:
        ours, theirs = (comparison.scenario_of(system, situation) for system in ("supra", "cometbft"))
        for own in (ours, theirs):
            del own["name"], own["cluster"], own["workload"]["kind"]
            own["workload"].pop("options", None)
        assert ours == theirs


LISTED = """\
LISTEN 0 4096 127.0.0.1:7001 0.0.0.0:* users:(("toxiproxy-serve",pid=7,fd=5)) ino:1 sk:1
LISTEN 0 4096 127.0.0.1:9000 0.0.0.0:* users:(("toxiproxy-serve",pid=7,fd=4)) ino:2 sk:2
ESTAB 0 0 127.0.0.1:7001 127.0.0.1:5555 users:(("toxiproxy-serve",pid=7,fd=6)) ino:3 sk:3 cubic bytes_sent:BYTES bytes_acked:1 bytes_received:50 data_segs_out:4 data_segs_in:6
ESTAB 0 0 127.0.0.1:9000 127.0.0.1:5556 users:(("toxiproxy-serve",pid=7,fd=7)) ino:4 sk:4 cubic bytes_sent:9999 bytes_received:9999 data_segs_out:9 data_segs_in:9
ESTAB 0 0 127.0.0.1:5557 127.0.0.1:8000 users:(("toxiproxy-serve",pid=7,fd=8)) ino:5 sk:5 cubic bytes_sent:777 bytes_received:777 data_segs_out:7 data_segs_in:7
ESTAB 0 0 127.0.0.1:7001 127.0.0.1:5558 users:(("toxiproxy-serve",pid=8,fd=8)) ino:6 sk:6 cubic bytes_sent:777 bytes_received:777 data_segs_out:7 data_segs_in:7
"""  # noqa: E501  (as ss prints it)


def test_what_passed_is_counted_on_accepted_sockets_of_our_own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_ours", lambda pid: pid == 7)
    monkeypatch.setattr(wire, "_api_port", lambda pid: "9000")
    monkeypatch.setattr(wire, "find_ss", lambda: "ss")
    sent = iter([100, 350])

    def ss(*_: object, **__: object) -> object:
        text = LISTED.replace("BYTES", str(next(sent)))
        return type("Done", (), {"stdout": text})()

    monkeypatch.setattr(wire.subprocess, "run", ss)
    watching = Wire()
    assert watching.passed() == Passed()
    for phase, elapsed in (("starting", 0.0), ("load", 0.5), ("load", 2.0), ("load", 3.0), ("quiet", 9.0)):
        watching.watch(Snapshot("x", phase, elapsed, 9.0, {}, Tally(), ()))
    passed = watching.passed()
    assert (passed.payload, passed.packets, passed.sockets) == (250, 0, 1)


def test_the_table_is_markdown() -> None:
    row = {"name": "a", "unit": "ms", "value": 1.5, "peer": None, "ratio": None, "note": "N = 1 and 0"}
    assert _markdown([row]).splitlines()[-1] == "| a | ms | 1.5 |  |  | N = 1 and 0 |"
