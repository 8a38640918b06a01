"""The report page: shows what the run says, escapes it, and needs no network."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import pytest
from markupsafe import escape

from checkers.registry import judge
from results.history import HistoryError, Operation
from results.report import frames, write_report
from results.store import Run
from results.verdict import Anomaly, Status, Verdict
from tests.golden.make import world
from tests.golden.plants import PLANTS
from tests.runs import SECOND, event, small_info, write_run

EVIL = "<script>alert(1)</script>"


def sample(directory: Path) -> Run:
    history = [
        Operation(index=0, time=1 * SECOND, process=0, type="invoke", f="transfer", value={}),
        Operation(
            index=1,
            time=2 * SECOND,
            process="nemesis",
            type="info",
            f="start",
            value={"id": 1, "use": "partition", "kind": "fault", "targets": ["n0>n1"], "parameters": {}},
        ),
        Operation(index=2, time=3 * SECOND, process=0, type="ok", f="transfer", value={}, tx="aa", phase="exec"),
        Operation(
            index=3,
            time=5 * SECOND,
            process="nemesis",
            type="info",
            f="stop",
            value={
                "id": 1,
                "receipt": {"matched": 1, "dropped": 9, "bit": True, "heal_verified": True, "evidence": EVIL},
            },
        ),
    ]
    trace = [
        event(SECOND, "g0", "gateway", tx="aa", phase="accepted", root_ok=True),
        event(SECOND + 100_000_000, "g0", "gateway", tx="aa", phase="pre", root_ok=True),
        event(SECOND + 250_000_000, "g0", "gateway", tx="aa", phase="ord", root_ok=True),
        event(SECOND + 400_000_000, "g0", "gateway", tx="aa", phase="exec", root_ok=True),
        *(event(h * SECOND, n, "finalise", height=h, view=h + 1, batches=[]) for n in ("n0", "n1") for h in (1, 2, 3)),
        event(4 * SECOND, "n1", "restart", recovered=12),
    ]
    verdicts = [
        Verdict("prefix", Status.PASS, 6, [], {"heights": 3}),
        Verdict("fork", Status.FAIL, 6, [Anomaly("fork", f"n0 {EVIL}", [{"node": EVIL}])], {"gap_bound_ms": 5}),
        Verdict("dedup", Status.UNKNOWN, 0, [], {}, reason="no transaction"),
    ]
    return write_run(directory, small_info(notes=[EVIL]), history, trace, verdicts)


def test_frames_measure_phases_from_acceptance(tmp_path: Path) -> None:
    table = frames.phases(sample(tmp_path))
    assert dict(zip(table["phase"], table["latency_ms"], strict=True)) == {"pre": 100.0, "ord": 250.0, "exec": 400.0}


def test_frames_read_fault_windows_with_their_receipts(tmp_path: Path) -> None:
    [window] = frames.windows(sample(tmp_path)).to_dict("records")
    assert (window["use"], window["start"], window["stop"]) == ("partition", 2.0, 5.0)
    assert window["receipts"][0]["dropped"] == 9


def test_report_escapes_and_is_self_contained(tmp_path: Path) -> None:
    page = write_report(sample(tmp_path)).read_text(encoding="utf-8")
    assert EVIL not in page
    outside_plotly = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", outside_plotly)
    for expected in (
        "AS EXPECTED",
        "partition",
        "PASS",
        "FAIL",
        "UNKNOWN",
        "no transaction",
        "Time line: heights and views per node",
    ):
        assert expected in outside_plotly


def test_report_of_a_damaged_run_names_the_file_and_line(tmp_path: Path) -> None:
    run = sample(tmp_path)
    with (tmp_path / "trace.jsonl").open("ab") as file:
        file.write(b'{"time": 1, "node": "n0"')
    with pytest.raises(HistoryError, match=r"trace\.jsonl:\d+: truncated"):
        write_report(Run(run.directory))


def test_report_draws_where_no_order_was_found_and_tells_a_cycle_in_prose(tmp_path: Path) -> None:
    origin = world()
    verdicts = []
    for checker, kind in (("linearizable", "impossible-cas"), ("elle-list-append", "G1c")):
        story = origin.story()
        PLANTS[checker][kind](origin, story)
        verdicts += judge(story.run(), [checker])
    page = write_report(write_run(tmp_path, small_info(), [], [], verdicts)).read_text(encoding="utf-8")
    (picture,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)" alt="register operations', page)
    assert "1→3" in b64decode(picture).decode()
    (cycle,) = [anomaly for anomaly in verdicts[1].anomalies if anomaly.kind == "G1c"]
    assert "T1" in cycle.summary and "T2" in cycle.summary and "a cycle (G1c)" in cycle.summary
    assert str(escape(cycle.summary)) in page
