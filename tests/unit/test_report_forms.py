"""A run in other forms: Markdown, JUnit XML, tables, CSV; the campaign's page; and the look that pages share."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pandas as pd
import plotly.graph_objects as go
import pytest

import results
from harness import cli
from harness.provision import clean
from results.history import HistoryError
from results.notebook import TABLES
from results.report import charts, timeline, words
from results.report.around import chart_around
from results.report.beside import Beside
from results.report.campaign import read_campaign, render_campaign, write_campaign
from results.report.junit import render_junit
from results.report.markdown import render_markdown
from results.report.page import render
from results.report.sequence import draw
from results.report.theme import Figure, blank, page, plain_text
from results.store import Run
from results.verdict import Status
from tests.reports import EVIL, campaign, run_of
from tests.runs import event, small_info, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A surprise: a fork within the bound."""
    return run_of(tmp_path_factory.mktemp("runs") / "small" / "1", as_expected=False)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, full of hostile text, where the fork is what must appear."""
    expect = {"violate": ["fork"], "hold": ["prefix"]}
    return run_of(tmp_path_factory.mktemp("runs") / "evil" / "1", text=EVIL, as_expected=True, expect=expect)


# ---------------------------------------------------------------- Markdown and JUnit
def test_markdown_says_verdicts_with_their_n_and_how_to_see_it_again(run: Run) -> None:
    text = render_markdown(run)
    lines = text.splitlines()
    assert lines[0] == "# small: A SURPRISE"
    table = [line for line in lines if line.startswith("| fork ")]
    assert table == ["| fork | FAIL | 6 |  | gap bound ms 5 |"]
    assert text.index("| fork |") < text.index("| dedup |") < text.index("| prefix |")  # what failed comes first
    assert "p50 200, p99 300, max 300 (N=3)" in text
    assert "| ordered | 20 | 284 ms = 5.7 md |" in text
    assert "    moonquake run small --backend process --seed 7" in lines


def test_markdown_of_hostile_text_holds_no_markup(evil: Run) -> None:
    text = render_markdown(evil)
    assert not re.search(r"(?<!\\)<", text)
    assert "onerror" in text  # it is there, as text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (6, 7, 8) for row in rows)


def test_junit_counts_surprises_and_unknowns(run: Run, evil: Run) -> None:
    suite = ElementTree.fromstring(render_junit(run))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "4",
        "1",
        "1",
        "0",
    )
    assert suite.get("timestamp") == "2026-01-02T03:04:05"
    [failure] = suite.findall(".//failure")
    assert "n0 finalised aa.." in (failure.text or "")
    expected = ElementTree.fromstring(render_junit(evil))
    assert (expected.get("failures"), expected.get("errors"), expected.get("skipped")) == ("0", "0", "1")
    assert EVIL in (expected.findtext(".//skipped") or "")  # escaped on the way, whole again when read


def test_junit_of_a_violation_that_did_not_appear(tmp_path: Path) -> None:
    info = small_info(expect={"violate": ["fork", "order"], "hold": []}, as_expected=False)
    verdicts = [results_verdict("fork", Status.PASS), results_verdict("bell\x07", Status.PASS)]
    run = write_run(tmp_path / "s" / "1", info, [], [event(0, "n0", "start")], verdicts)
    suite = ElementTree.fromstring(render_junit(run))
    assert [node.get("message") for node in suite.iter("failure")] == ["must be violated here, but held"]
    assert [node.get("message") for node in suite.iter("error")] == ["must be violated here, and was not judged"]


def results_verdict(name: str, status: Status) -> Any:
    from results.verdict import Verdict

    return Verdict(name, status, 1)


# ---------------------------------------------------------------- tables
def test_load_gives_tables(run: Run) -> None:
    loaded = results.load(str(run.directory))
    assert repr(loaded) == "<run small, seed 7, process: A SURPRISE>"
    assert list(loaded.history["type"].value_counts()[["invoke", "ok"]]) == [20, 12]
    assert loaded.verdicts.set_index("property").loc["fork", "status"] == "FAIL"
    assert loaded.latencies.groupby("phase").latency_ms.median().round().to_dict() == {
        "exec": 310.0, "ord": 284.0, "pre": 100.0
    }  # fmt: skip
    assert set(loaded.trace.columns) >= {"time", "node", "incarnation", "event", "height"}
    assert len(loaded.trace) == len(run.trace)
    [fault] = loaded.faults.to_dict("records")
    assert (fault["start"], fault["stop"]) == (2.0, 4.0)  # as its receipt says, not when it was written down
    assert loaded.anomalies["kind"].tolist() == ["fork"]
    assert loaded.commits["latency_ms"].median() == pytest.approx(151.5, abs=1)
    assert "<table" in loaded._repr_html_()


def test_load_of_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"is .* a run directory"):
        results.load(tmp_path)


def test_a_notebook_escapes_what_a_run_says(evil: Run) -> None:
    assert EVIL not in results.load(evil.directory)._repr_html_()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The command line: (exit code, standard output, standard error)."""
    monkeypatch.setattr(clean, "sweep", lambda progress: [])

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    yield call


@pytest.mark.parametrize(("kind", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_export_of_tables(command: Any, evil: Run, tmp_path: Path, kind: str, read: Any) -> None:
    code, out, _ = command("export", str(evil.directory), f"--{kind}", "--out", str(tmp_path / "tables"), "--json")
    written = [Path(name) for name in json.loads(out)[kind]]
    assert code == 0 and [path.stem for path in written] == list(TABLES)
    for path in written:
        table = read(path)
        assert len(table) == len(TABLES[path.stem](results.load(evil.directory))), path
    faults = read(tmp_path / "tables" / f"faults.{kind}")
    assert json.loads(faults["targets"][0])[0] == "n0>n1"
    assert command("export", str(evil.directory), f"--{kind}", "--edn")[0] == 3
    assert command("export", str(tmp_path / "nothing"), f"--{kind}")[0] == 3


def test_report_formats(command: Any, run: Run) -> None:
    assert command("report", str(run.directory), "--format", "md")[1] == render_markdown(Run(run.directory))
    code, out, _ = command("report", str(run.directory), "--format", "junit", "--json")
    assert code == 0 and ElementTree.fromstring(json.loads(out)["junit"]).get("tests") == "4"
    code, _, err = command("report", str(run.directory), "--format", "pdf")
    assert code == 3 and "html, md, junit" in err


# ---------------------------------------------------------------- charts
def test_the_time_line_has_heights_views_lanes_and_faults(run: Run) -> None:
    figure = timeline.timeline(run)
    axes = {trace.yaxis or "y" for trace in figure.data}
    assert axes == {"y", "y2", "y3"}
    bands = [shape for shape in figure.layout.shapes if shape.yref == "paper"]
    assert [(band.x0, band.x1) for band in bands] == [(2.0, 4.0)]
    bars = [shape for shape in figure.layout.shapes if shape.yref == "y3"]
    assert len(bars) == 2  # n0 and n1 are hit
    names = {trace.name for trace in figure.data}
    assert {"n3 (Byzantine)", "restarts", "times out", "finalises"} <= names
    assert "N = 145 finalisations at 5 nodes, 1 restarts" in timeline.note(run)


def test_of_many_nodes_the_conspicuous_ones_are_drawn_and_the_others_are_a_band(tmp_path: Path) -> None:
    tribe = [f"n{i}" for i in range(60)]
    info = small_info(tribe=tribe, honest=tribe[:59], byzantine=["n59"], clans=[tribe], crashed=["n40"])
    trace = [event(h * 10**8, node, "finalise", height=h, view=h, batches=[]) for h in range(1, 6) for node in tribe]
    run = write_run(tmp_path / "many" / "1", info, [], trace, [])
    shown = timeline.conspicuous(run)
    assert len(shown) == timeline.MAX_NODES and {"n59", "n40", "n0"} <= set(shown)
    figure = timeline.timeline(run)
    assert any(trace.name == "37 others" for trace in figure.data)  # 60 and a gateway, less 24
    assert len(figure.data) < 60


def test_distributions_reach_from_nought_to_one(run: Run) -> None:
    found = charts.distributions(run)
    assert {name: len(values) for name, values in found.items()} == {
        "pre-confirmed": 20, "ordered": 20, "executed": 20, "block committed": 116
    }  # fmt: skip
    x, y = charts.ecdf(found["ordered"])
    assert (y[0], y[-1], x[0], x[-1]) == (0.0, 1.0, 275.0, 294.0)
    assert sorted(x) == x and sorted(y) == y
    labels = [note.text for note in charts.latency(run).layout.annotations]
    assert labels == ["2 md certificate", "3 md commit", "5.5 md end to end"]


def test_the_chart_round_an_anomaly_shows_what_records_prove(run: Run) -> None:
    [(verdict, anomaly)] = words.anomalies(run)
    chart = chart_around(run, verdict, anomaly)
    assert chart is not None
    arrows = {(arrow.sender, arrow.receiver, arrow.style) for arrow in chart.arrows}
    assert ("n0", "n1", "proposal") in arrows  # n1 voted for what n0 proposed
    assert ("n2", "n1", "vote") in arrows  # n1's certificate names n2
    assert not any("n3" in (sender, receiver) for sender, receiver, _ in arrows)  # its own words prove nothing
    [signed] = {mark.text for mark in chart.marks if mark.node == "n3" and "A" in mark.text}
    assert signed == "voted A (in n0's QC)"
    assert sum(mark.strong for mark in chart.marks) == 2
    ElementTree.fromstring(draw(chart))


def test_a_witness_without_a_moment_has_no_chart(run: Run) -> None:
    [(verdict, anomaly)] = words.anomalies(run)
    timeless = msgspec.structs.replace(anomaly, witness=[{"node": "nobody", "time": 3}, {"said": "so"}])
    assert chart_around(run, verdict, timeless) is None


# ---------------------------------------------------------------- the look
def policy_of(html: str) -> str:
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    return unescape(policy)


def test_a_page_allows_its_own_two_scripts_by_their_hash_and_no_other() -> None:
    html = page("frontier.html", title=EVIL, kicker="x", figures=[Figure("f", "F", "N = 1", blank("y"))],
                found={"summary": EVIL, "properties": [EVIL], "stopped": EVIL, "sizes": [], "points": [],
                       "anomalies": {EVIL: 1}, "unknown_reasons": {}, "counted": "tribe"}, answers={})  # fmt: skip
    assert EVIL not in html
    policy = policy_of(html)
    allowed = set(re.findall(r"sha256-([A-Za-z0-9+/=]+)", policy))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    assert "unsafe" not in policy.partition("script-src")[2] and len(allowed) == 2
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    assert len(scripts) == 1
    assert base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode() in allowed
    assert len(html) < 2_200_000


def test_a_page_without_charts_has_no_script() -> None:
    html = page("frontier.html", title="t", kicker="x", answers={}, found={
        "summary": "", "properties": [], "stopped": "", "sizes": [], "points": [], "anomalies": {},
        "unknown_reasons": {}, "counted": "tribe"})  # fmt: skip
    assert "<script" not in html and policy_of(html).endswith("script-src 'none'") and len(html) < 20_000


def test_charts_take_no_markup_from_a_run(evil: Run) -> None:
    assert plain_text("<a href='javascript:x'>%{y}") == "&lt;a href='javascript:x'&gt;% {y}"
    for figure in (timeline.timeline(evil), charts.latency(evil), charts.throughput(evil)):
        assert isinstance(figure, go.Figure)
        assert "<img" not in figure.to_json().replace("\\u003c", "<")
    html = render(evil)
    assert EVIL not in html and "<img src=x" not in html


# ---------------------------------------------------------------- campaigns
def test_a_campaign_says_what_broke_and_what_was_never_reached(tmp_path: Path) -> None:
    html = write_campaign(tmp_path, campaign()).read_text(encoding="utf-8")
    assert EVIL not in html and "<img src=x" not in html
    for expected in ("A SURPRISE", "Never reached: batch void", "N = 200", "moonquake replay runs/x/1", "1 of 2 goals"):
        assert expected in html
    assert read_campaign(tmp_path)["runs"] == 200


def test_a_clean_campaign_with_the_newest_frontier_and_mutants_of_its_store(tmp_path: Path) -> None:
    point = {"n": 4, "b": 1, "runs": 10, "violations": 0, "held": 10, "unknown": 0, "low": 0.0, "high": 0.3}
    frontier = {
        "attack": "equivocate", "summary": "Leaders equivocate.", "counted": "tribe", "points": [point],
        "sizes": [{"n": 4, "claimed_bound": 1}],
    }  # fmt: skip
    mutants = [{"id": "MM1", "killed": True, "by": ["fork"], "breaks": "M1"}, {"id": "MM2", "killed": False, "by": []}]
    found = campaign(failures=[], errors=[], unknown={"did not bite": 0, "nothing to examine": 0, "other": 0},
                     upper_bound=3 / 190, unknown_reasons={})  # fmt: skip
    teeth = {"mutants": mutants, "clean_runs": 20, "false_alarms": 0}
    html = render_campaign(found, Beside((frontier,), teeth))
    for expected in ("AS EXPECTED", "Frontier: equivocate", "1 of 2 mutants killed", "SURVIVED", "below 0.016 (95 %"):
        assert expected in html
    assert html.count("Of a day that was not recorded, of a build that was not recorded.") >= 2

    old = {**frontier, "summary": "Not the newest.", "utc": "20260101T000000Z", "code": "b" * 64}
    place = tmp_path / "search" / "swarm-1"
    _leave(tmp_path / "frontier" / "equivocate" / "20260101T000000Z" / "frontier.json", old)
    new = {**frontier, "utc": "20260102T030405Z", "code": "a" * 64}
    _leave(tmp_path / "frontier" / "equivocate" / "20260102T030405Z" / "frontier.json", new)
    _leave(tmp_path / "frontier" / "other" / "20260102T030405Z" / "frontier.json", {"attack": "other"})
    _leave(tmp_path / "teeth" / "0001" / "teeth.json", {**teeth, "whole": True, "utc": "x", "code": "b" * 64})
    _leave(tmp_path / "teeth" / "0002" / "teeth.json", {**teeth, "mutants": mutants[:1], "whole": False})
    place.mkdir(parents=True)
    html = unescape(write_campaign(place, {**found, "code": "a" * 64}).read_text(encoding="utf-8"))
    assert "Of 2026-01-02 03:04:05 UTC, the same build." in html and "Not the newest." not in html
    assert f"Of x, build {'b' * 12}: another than this search's {'a' * 12}." in html
    assert "1 of 2 mutants killed" in html, "a sitting with all mutants, not a later one with a few"
    assert "other/20260102T030405Z/frontier.json: has no summary" in html
    assert read_campaign(place)["code"] == "a" * 64


def _leave(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode(found))


def test_report_of_a_campaign(command: Any, tmp_path: Path) -> None:
    write_campaign(tmp_path, campaign()).unlink()
    code, out, _ = command("report", str(tmp_path), "--json")
    assert code == 0 and Path(json.loads(out)["report"]).is_file()
    (tmp_path / "campaign.json").write_text('{"runs": 1}')
    code, _, err = command("report", str(tmp_path))
    assert code == 3 and "not the result of a search" in err
