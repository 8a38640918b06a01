"""Metrics of one run: counted from small stories that can be worked out by hand, each with its N, and shown in both
forms of the report."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import judging, run_metrics
from harness.claims.boundaries import EXPERIMENTS
from harness.trial import trial
from results.claim import Figure
from results.report.markdown import render_markdown
from results.report.page import render
from results.stats import zero_of_n
from results.store import METRICS, Run
from tests.golden.make import world
from tests.golden.plants import PLANTS
from tests.golden.plants_receipts import declare_partition
from tests.golden.story import Story
from tests.runs import small_info, write_run


def by_name(run: Run) -> dict[str, Figure]:
    found = run_metrics.of_run(run)
    assert not found.left_out
    return {figure.name: figure for figure in found.figures}


def story() -> Story:
    return world().story()


def test_a_calm_run_says_what_it_could_have_seen_of_how_many() -> None:
    base = story()
    txs = {tx for batch in base.events("batch") for tx in batch["txs"]}
    found = by_name(base.run())
    never = found["transactions never included"]
    assert (never.value, never.n, never.high) == (0.0, len(txs), zero_of_n(len(txs)))
    assert found["duplicate inclusions"].value == 0.0 and found["transactions that took effect twice"].n == len(txs)
    heights = {event["height"] for event in base.events("state_certificate")}
    lies = found["state certificates that lie"]
    assert (lies.value, lies.n) == (0.0, len(heights))
    absent = ("chain quality", "recovery: heal to first new block, max", "blast radius: clans")
    assert not [name for name in absent if name in found], "nothing was corrupted, cut or false here"


def test_recovery_counts_from_the_heal_over_the_nodes_that_were_never_faulty() -> None:
    cut = story()
    declare_partition(cut)
    cut.info["heal"] = 300_000_000  # before height 2 is proposed
    found = by_name(cut.run())
    first = {event["node"]: event["time"] for event in reversed(cut.events("finalise")) if event["height"] >= 2}
    waits = sorted((first[node] - cut.info["heal"]) / 1e6 for node in cut.info["tribe"])
    longest = found["recovery: heal to first new block, max"]
    assert longest.value == pytest.approx(waits[-1], abs=1)
    assert (longest.n, longest.unit) == (len(cut.info["tribe"]), "ms")
    assert found["nodes that never recovered"].value == 0.0
    cut.info["heal"] = 10_000_000_000
    never = by_name(cut.run())["nodes that never recovered"]
    assert (never.value, never.n) == (1.0, len(cut.info["tribe"])) and never.low is not None and never.low < 1


def test_a_bad_clan_has_a_radius() -> None:
    bad = story()
    PLANTS["state-root"]["false-root-certified"](world(), bad)
    found = by_name(bad.run())
    lies = found["state certificates that lie"]
    assert lies.value * lies.n == pytest.approx(1) and lies.high is not None and lies.low is not None
    assert lies.low < lies.value < lies.high
    assert found["blast radius: clans"].value == 1 and found["blast radius: clans"].n == 1
    assert "blast radius: until a gateway refused" not in found, "nobody noticed"


def test_a_transaction_that_took_effect_twice_is_no_zero() -> None:
    doubled = story()
    first = doubled.events("execute", height=1)[0]["applied"]
    for event in doubled.events("execute", height=3):
        event["applied"] = list(first)
    found = by_name(doubled.run())["transactions that took effect twice"]
    assert found.value * found.n == pytest.approx(len(first))


def test_the_quality_of_a_chain_is_that_of_its_proposers() -> None:
    corrupted = story()
    proposers = {event["height"]: event["proposer"] for event in corrupted.events("finalise")}
    bad = proposers[1]
    corrupted.info["byzantine"], corrupted.info["honest"] = [bad], [n for n in corrupted.info["honest"] if n != bad]
    theirs = sum(proposer == bad for proposer in proposers.values())
    found = by_name(corrupted.run())
    share = found["blocks of Byzantine proposers"]
    assert (round(share.value * share.n), share.n) == (theirs, len(proposers))
    assert found["chain quality"].value == pytest.approx((1 - share.value) / (3 / 4))


def test_what_cannot_be_counted_is_said_and_costs_nothing_else() -> None:
    odd = story()
    for event in odd.events("execute"):
        del event["applied"]
    found = run_metrics.of_run(odd.run())
    [reason] = found.left_out
    assert reason.startswith("duplicates: KeyError")
    assert "state certificates that lie" in {figure.name for figure in found.figures}


def test_a_simulated_attack_past_the_bound_has_all_of_them() -> None:
    [past] = [experiment for experiment in EXPERIMENTS if experiment.name == "clan-state-past"]
    made = past.make(0)
    found = by_name(trial(made.scenario(), made.seed).run)
    assert found["blast radius: transactions under false roots"].value > 0
    assert found["blast radius: until a gateway refused"].value > 0
    assert found["inclusion delay, p50"].n == found["transactions never included"].n


def test_both_forms_of_the_report_show_them_with_their_n(tmp_path: Path) -> None:
    plain = story().run()
    run = write_run(tmp_path, plain.info, list(plain.history), list(plain.trace), [])
    assert "Metrics" not in render_markdown(run)
    judging.count(run)
    kept = (tmp_path / METRICS).read_bytes()
    judging.count(run)
    run = Run(tmp_path)
    assert (tmp_path / METRICS).read_bytes() == kept and msgspec.json.decode(kept)["figures"]
    text, page = render_markdown(run), render(run)
    for figure in run.metrics.figures:
        [row] = [line for line in text.splitlines() if line.startswith(f"| {figure.name} |")]
        assert f"| {figure.n} |" in row
        assert f'<th scope="row">{figure.name}</th>' in page
    assert "<h2>Metrics</h2>" in page


def test_records_that_are_not_counted_are_named_in_both_forms(tmp_path: Path) -> None:
    run = write_run(tmp_path, small_info(), [], [{"time": 1, "node": "n0", "incarnation": 0, "event": "execute"}], [])
    judging.count(run)
    run = Run(tmp_path)
    assert run.metrics.left_out
    assert "- not counted: " in render_markdown(run) and "Not counted: " in render(run)
