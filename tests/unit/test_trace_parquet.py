"""trace.parquet: gives back the records it was made from, is refused when it is damaged, and judged where it stands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkers.registry import judge
from harness import cli, judging
from results.history import HistoryError
from results.store import Run
from results.trace_columns import TraceColumns
from results.trace_parquet import convert, write_trace
from results.verdict import Status
from tests.fuzzing.targets import TARGETS, seeds
from tests.golden.story import Story
from tests.golden.world import World

CHECKERS = ("fork", "prefix", "order", "ancestry", "votes", "locks", "dedup", "timeouts")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.sampled_from(["ab" * 32, "cd" * 64, "AB" * 32]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)  # fmt: skip
FIELD = st.text(min_size=1, max_size=4).filter(lambda name: name[0] not in "@#")
RECORD = st.builds(
    lambda fields, fixed: {**fields, **fixed},
    st.dictionaries(FIELD, JSON, max_size=3),
    st.fixed_dictionaries(
        {
            "time": st.integers(0, 2**62),
            "node": st.sampled_from(["n0", "n1", ""]),
            "incarnation": st.integers(-5, 5),
            "event": st.sampled_from(["vote", "finalise", "ü", ""]),
        }
    ),
)


@pytest.fixture(scope="module")
def story() -> Story:
    return World(plan=(2, 1, 0)).story()


@pytest.fixture
def directory(story: Story, tmp_path: Path) -> Path:
    """A run directory with trace.jsonl."""
    info = {**story.info, "recorded": {"trace.jsonl": len(story.trace), "history.jsonl": len(story.history)}}
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(info))
    for name, records in (("history.jsonl", story.history), ("trace.jsonl", story.trace)):
        (tmp_path / name).write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return tmp_path


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(RECORD, max_size=12))
def test_records_come_back_as_they_were(events: list[dict[str, Any]], tmp_path: Path) -> None:
    events.sort(key=lambda event: int(event["time"]))
    assert write_trace(tmp_path / "t.parquet", events) == len(events)
    assert TraceColumns(tmp_path / "t.parquet").records() == events


def test_a_field_whose_name_is_ours_is_refused(tmp_path: Path) -> None:
    event = {"time": 0, "node": "n0", "incarnation": 1, "event": "vote", "@block": 1}
    with pytest.raises(HistoryError, match="trace record 1: field '@block'"):
        write_trace(tmp_path / "t.parquet", [event])
    assert not list(tmp_path.iterdir())


def test_export_writes_it_and_check_judges_it(
    directory: Path, story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.provision.clean.sweep", lambda progress: [])
    before = judge(Run(directory), CHECKERS)
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(directory), "--parquet", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0, said
    assert said["records"] == len(story.trace)
    (directory / "trace.jsonl").unlink()
    with pytest.raises(SystemExit):
        cli.main(["check", str(directory), "--signatures", "all", "--json", *_chosen()])
    after = json.loads(capsys.readouterr().out)["verdicts"]
    assert [v["status"] for v in after] == [v.status for v in before] == ["PASS"] * len(CHECKERS)
    assert [v["examined"] for v in after] == [v.examined for v in before]


def _chosen() -> list[str]:
    return [word for name in CHECKERS for word in ("--checker", name)]


@pytest.mark.parametrize(("words", "says"), [(["--signatures", "some"], "give `all` or a whole number")])
def test_bad_options_are_told(
    directory: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.provision.clean.sweep", lambda progress: [])
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", str(directory), *words, "--json"])
    assert ended.value.code == 3 and says in json.loads(capsys.readouterr().out)["error"]


def test_other_checkers_read_its_records(directory: Path) -> None:
    before = judge(Run(directory), ["state-root", "availability"])
    convert(directory / "trace.jsonl", directory / "trace.parquet")
    (directory / "trace.jsonl").unlink()
    assert judge(Run(directory), ["state-root", "availability"]) == before


def test_a_trace_of_another_run_is_refused(directory: Path) -> None:
    convert(directory / "trace.jsonl", directory / "trace.parquet")
    trace = (directory / "trace.jsonl").read_bytes()
    (directory / "trace.jsonl").write_bytes(trace.replace(b'"view":1', b'"view":2', 1))
    (verdict,) = judge(Run(directory), ["fork"])
    assert verdict.status is Status.UNKNOWN and "was not made from trace.jsonl as it is now" in verdict.reason


def test_lost_records_are_told(directory: Path, story: Story) -> None:
    write_trace(directory / "trace.parquet", story.trace[:-3])
    (directory / "trace.jsonl").unlink()
    with pytest.raises(HistoryError, match=f"it holds {len(story.trace) - 3} records where the run wrote"):
        judging.open_run(directory)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_bytes_never_change_a_verdict(directory: Path, seed: int) -> None:
    """Flipped, cut or overwritten bytes: the same verdicts (what was hit does not matter to them) or UNKNOWN."""
    path = directory / "trace.parquet"
    convert(directory / "trace.jsonl", path)
    (directory / "trace.jsonl").unlink()
    sound = {v.property: (v.status, v.examined) for v in judge(Run(directory), CHECKERS)}
    rng, data = Random(seed), bytearray(path.read_bytes())
    match seed % 3:
        case 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            del data[rng.randrange(len(data)) :]
        case 2:
            at = rng.randrange(len(data) - 16)
            data[at : at + 16] = rng.randbytes(16)
    path.write_bytes(bytes(data))
    for verdict in judge(Run(directory), CHECKERS):
        assert "crashed" not in verdict.reason
        assert (verdict.status, verdict.examined) == sound[verdict.property] or verdict.status is Status.UNKNOWN


def _rewritten(path: Path, change: Any) -> None:
    """Writes the file again with a changed table, one row group an event, metadata kept."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    groups = [change(file.read_row_group(number)) for number in range(file.num_row_groups)]
    file.close()
    with pq.ParquetWriter(path, schema) as writer:
        for group in groups:
            writer.write_table(group)


def _column(name: str, make: Any) -> Any:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        return table.set_column(
            place, table.schema.field(place), pa.array(make(table[name].to_pylist()), table.schema.field(place).type)
        )

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_column("#row", lambda rows: [row and row - 1 for row in rows]), "not in order of time, or some are missing"),
        (_column("#row", lambda rows: [None if row is None else -row - 1 for row in rows]), "outside the trace"),
        (_column("time", lambda times: [None if t is None else 10**9 - t for t in times]), "not in order of time"),
        (_column("@block", lambda numbers: [n and n + 10**6 for n in numbers]), "numbers of values that are not there"),
        (_column("@block", lambda numbers: [n and -n for n in numbers]), "numbers of values that are not there"),
        (_column("event", lambda names: [*names[:-1], "vote"]), "does not hold records of one event"),
        (_column("#json", lambda texts: ['"n0"' if text else None for text in texts]), "repeat others"),
        (_column("#json", lambda texts: ["x" if text else None for text in texts]), "value table"),
        (_column("#bytes", lambda raw: [data and data[:31] for data in raw]), "repeat others"),
        (_column("#items", lambda lists: [items and [10**6] for items in lists]), "holds what comes after it"),
        (_column("#items", lambda lists: [[] for _ in lists]), "is not one value"),
    ],
)  # fmt: skip
def test_columns_that_contradict_each_other(directory: Path, change: Any, says: str) -> None:
    path = directory / "trace.parquet"
    convert(directory / "trace.jsonl", path)
    (directory / "trace.jsonl").unlink()
    _rewritten(path, change)
    verdicts = judge(Run(directory), ["fork", "votes"])
    assert {verdict.status for verdict in verdicts} == {Status.UNKNOWN}
    assert any(says in verdict.reason for verdict in verdicts), verdicts[0].reason


def test_files_that_are_no_trace(tmp_path: Path, directory: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(HistoryError, match="lack `moonquake`"):
        TraceColumns(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(HistoryError, match="that can be read"):
        TraceColumns(path)
    with pytest.raises(HistoryError, match="no such file"):
        TraceColumns(tmp_path / "nothing.parquet")
    shutil.copy(directory / "trace.jsonl", path)
    with pytest.raises(HistoryError, match="that can be read"):
        TraceColumns(path)


def test_a_page_that_lost_its_values_is_damage_and_no_crash() -> None:
    """Found by the property tests of readers: a column held fewer values than its row groups say."""
    for text in seeds("trace-parquet"):
        edited = text
        for gone in (16, 40, 40):
            edited = edited[gone:]
        TARGETS["trace-parquet"](edited)
