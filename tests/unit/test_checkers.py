"""Checkers against golden runs, and the corners that a golden run does not show."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers.index import index_of
from checkers.registry import judge
from checkers.replay import replay_of
from results.verdict import Status, Verdict
from tests.golden.make import slug, stories
from tests.golden.plants import ALIEN_TX, MS, OTHER, PLANTS, bounds, outlast
from tests.golden.plants_receipts import declare_partition
from tests.golden.story import Story
from tests.golden.story import load as load_story
from tests.golden.world import World, certificate

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(GOLDEN.glob("*/*.jsonl"))


@pytest.fixture(scope="module")
def world() -> World:
    return World(plan=(2, 2, 0, 0), seed=5)


@pytest.fixture
def story(world: World) -> Story:
    return world.story().copy()


def verdict(story: Story, checker: str) -> Verdict:
    return judge(story.run(), [checker])[0]


def kinds(found: Verdict) -> set[str]:
    return {anomaly.kind for anomaly in found.anomalies}


# ---------------------------------------------------------------- golden runs
@pytest.mark.parametrize("path", [f for f in FILES if f.stem.startswith("ok-")], ids=lambda p: p.parent.name)
def test_golden_ok(path: Path) -> None:
    found = verdict(load_story(path), path.parent.name)
    assert found.status is Status.PASS, found
    assert found.examined > 0


@pytest.mark.parametrize(
    "path", [f for f in FILES if f.stem.startswith("bad-")], ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_golden_bad(path: Path) -> None:
    checker = path.parent.name
    (kind,) = [kind for kind in PLANTS[checker] if path.stem == f"bad-{slug(kind)}"]
    found = verdict(load_story(path), checker)
    if checker == "receipts":
        assert found.status is Status.UNKNOWN and kind in found.reason
    else:
        assert found.status is Status.FAIL
        assert kind in kinds(found)


def test_golden_files_are_what_the_script_makes(tmp_path: Path) -> None:
    made = stories()
    assert {str(f.relative_to(GOLDEN)) for f in FILES} == set(made)
    for name, golden in made.items():
        golden.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes(), name


# ---------------------------------------------------------------- fork and prefix
def test_one_node_cannot_show_the_absence_of_forks(story: Story) -> None:
    for node in ("n1", "n2", "n3", "g0"):
        story.drop("finalise", node=node)
    assert verdict(story, "fork").status is Status.UNKNOWN


def test_a_byzantine_nodes_own_words_prove_nothing(story: Story) -> None:
    story.info["byzantine"] = ["n1"]
    story.events("finalise", node="n1", height=2)[0]["block"] = OTHER
    assert verdict(story, "fork").status is Status.PASS
    assert verdict(story, "prefix").status is Status.PASS


def test_a_forked_restart_counts_over_incarnations(story: Story) -> None:
    tip = story.events("finalise", node="n1")[-1]
    story.add(tip, event="restart", incarnation=2, time=tip["time"] + MS, recovered=1)
    story.add(tip, incarnation=2, block=OTHER, time=tip["time"] + 2 * MS)
    assert "fork" in kinds(verdict(story, "fork"))


def test_unreadable_signature_is_unknown_not_a_pass(story: Story) -> None:
    story.events("certify", node="n2", view=2)[0]["signatures"][0] = "zz"
    found = verdict(story, "fork")
    assert found.status is Status.UNKNOWN and "hex digits" in found.reason


def test_signature_of_another_view_does_not_count(story: Story) -> None:
    for event in story.events("certify", node="n2", view=2, kind="normal"):
        event["signatures"] = story.events("certify", node="n2", view=1, kind="normal")[0]["signatures"]
    assert kinds(verdict(story, "fork")) == {"invalid-certificate"}


@pytest.mark.parametrize(
    ("voters", "why"),
    [(["n0", "n1"], "2 signers where 3 are needed"), (["n0", "n1", "g0"], "not a member"), (["n0", "n1", "n3"], "")],
)
def test_certificates_take_a_quorum_of_the_tribe(world: World, story: Story, voters: list[str], why: str) -> None:
    event = story.events("certify", node="n2", view=2, kind="normal")[0]
    event.update(certificate(world, "normal", 2, event["block"], voters))
    found = verdict(story, "fork")
    assert (found.status is Status.PASS) == (not why)
    assert all(why in anomaly.summary for anomaly in found.anomalies)


def test_finality_without_any_certificate_is_unknown(story: Story) -> None:
    story.drop("certify")
    assert verdict(story, "fork").status is Status.UNKNOWN


def restart(story: Story, node: str, at: int, incarnation: int = 2) -> None:
    """All of the node's later records belong to a new incarnation that began at `at` ns."""
    for event in story.trace:
        if event["node"] == node and event["time"] > at:
            event["incarnation"] = incarnation
    story.add(story.events("start", node=node)[0], event="restart", recovered=3, incarnation=incarnation, time=at)
    story.info["crashed"] = [node]
    story.info["faults"] = [{"id": 1, "use": "crash", "targets": [node]}]


@pytest.mark.parametrize("incarnation", [1, 2])  # a node that lost its disk counts from one again
def test_restart_may_finalise_again(story: Story, incarnation: int) -> None:
    first = story.events("finalise", node="n1", height=1)[0]
    restart(story, "n1", 500 * MS, incarnation)
    story.drop("finalise", node="n1", height=2)
    for i, height in enumerate((1, 2)):
        source = story.events("finalise", node="n2", height=height)[0]
        story.add(source, node="n1", incarnation=incarnation, time=501 * MS + i)
    found = verdict(story, "prefix")
    assert first["height"] == 1
    assert found.status is Status.PASS and found.measures["repeated_after_restart"] == 1


def test_records_lost_in_a_kill_are_bridged_by_other_nodes(story: Story) -> None:
    restart(story, "n1", 550 * MS)
    story.drop("finalise", node="n1", height=2)
    found = verdict(story, "prefix")
    assert found.status is Status.PASS and found.measures["gaps_bridged"] == 1
    elsewhere = story.copy()
    elsewhere.events("finalise", node="n1", height=1)[0]["block"] = OTHER  # the bridge leads to another block
    assert "gap" in kinds(verdict(elsewhere, "prefix"))
    for node in ("n0", "n2", "n3", "g0"):
        story.drop("finalise", node=node, height=2)
    assert "gap" in kinds(verdict(story, "prefix"))


# ---------------------------------------------------------------- dedup
def test_copies_are_measured_not_judged_under_faults() -> None:
    story = World(plan=(2, 2, 0, 0), copies=True, seed=5).story()
    assert kinds(verdict(story, "dedup")) == {"duplicate-inclusion"}
    declare_partition(story)
    found = verdict(story, "dedup")
    assert found.status is Status.PASS
    assert found.measures["duplicate_inclusions"] == 4 == found.measures["aborted"]["duplicate"]


def test_too_new_copies_are_rightly_included_again() -> None:
    story = World(plan=(2, 0), copies=True, seed=5).story()
    for event in story.events("execute"):
        event["aborted"] = [[tx, "too-new"] for tx, _ in event["aborted"]]
    assert verdict(story, "dedup").status is Status.PASS


@pytest.mark.parametrize("waited_ms, alarm", [(2000, False), (500, True)])
def test_a_secondary_that_waited_its_time_out_includes_rightly(waited_ms: int, alarm: bool) -> None:
    """A starved machine made every primary of a fault-free run late: that is no violation of single inclusion."""
    story = World(plan=(2, 2, 0, 0), copies=True, seed=5).story()
    first: set[str] = set()
    for event in sorted(story.events("include"), key=lambda e: e["time"]):
        if event["tx"] in first:
            event["role"] = "secondary"
            story.drop("received", tx=event["tx"], node=event["node"])
            received = {**event, "event": "received", "from": "g0", "time": event["time"] - waited_ms * MS}
            story.add(received)
        first.add(event["tx"])
    assert ("duplicate-inclusion" in kinds(verdict(story, "dedup"))) is alarm


def test_duplicates_workload_without_a_duplicate_is_unknown(story: Story) -> None:
    story.info["scenario"]["workload"]["kind"] = "duplicates"
    assert verdict(story, "dedup").status is Status.UNKNOWN
    story.add(story.events("forward")[0], node="n3")
    found = verdict(story, "dedup")
    assert found.status is Status.PASS and found.examined == 5


# ---------------------------------------------------------------- acknowledged
def test_a_false_certificate_that_no_gateway_refused_leaves_acknowledged_open(story: Story) -> None:
    gateways = story.info["gateways"]
    certified = story.events("state_certificate", height=2)
    for event in certified:
        event["root"] = OTHER if event["node"] not in gateways else event["root"]
    found = verdict(story, "acknowledged")
    assert found.status is Status.UNKNOWN and "refuse" in found.reason
    told = story.events("gateway", phase="exec")[0]
    story.add(told, phase="refused", root_ok=False, tx=OTHER)
    found = verdict(story, "acknowledged")
    assert found.status is Status.PASS and found.measures["refused_by_gateways"] == 1
    for event in certified:
        event["root"] = OTHER
    found = verdict(story, "acknowledged")
    assert [anomaly.kind for anomaly in found.anomalies][:1] == ["fooled-gateway"]
    assert "no certificate of a true root" in found.anomalies[0].summary


# ---------------------------------------------------------------- censorship
def test_pending_and_undelivered_are_excluded(story: Story) -> None:
    forward, received = story.events("forward")[0], story.events("received")[0]
    story.add(forward, tx=ALIEN_TX)
    story.add(received, tx=ALIEN_TX)
    story.add(forward, tx=OTHER)
    found = verdict(story, "censorship")
    assert found.status is Status.PASS
    assert (found.measures["pending"], found.measures["undelivered"]) == (1, 1)


def test_a_wholly_byzantine_family_censors(story: Story) -> None:
    story.add(story.events("forward")[0], tx=ALIEN_TX, family=["n1", "n2"])
    story.info["byzantine"] = ["n1", "n2"]
    outlast(story)
    found = verdict(story, "censorship")
    assert kinds(found) == {"censored"} and found.measures["whole_family_byzantine"] == 1


def test_bound_starts_at_the_heal(story: Story) -> None:
    bounds(story, inclusion_ms=100)
    story.info["heal"] = 10_000 * MS
    assert verdict(story, "censorship").status is Status.PASS


# ---------------------------------------------------------------- execution
def test_replay_stops_where_bodies_end(story: Story) -> None:
    batch = story.events("finalise", height=2)[0]["batches"][0]
    story.drop("body", batch=batch)
    found = verdict(story, "state-root")
    assert found.status is Status.PASS and found.examined == 1
    assert "no honest node left the body" in found.measures["clan 0"]
    assert verdict(story, "acknowledged").measures["unjudged"] > 0


def test_roots_of_nothing_prove_nothing() -> None:
    found = verdict(World(plan=(0, 0)).story(), "state-root")
    assert found.status is Status.UNKNOWN and "equal roots of nothing" in found.reason


def test_later_batches_of_a_taken_slot_are_void(story: Story) -> None:
    first, second = (story.events("finalise", height=h)[0]["batches"][0] for h in (1, 2))
    story.drop("body", batch=second)
    slot = story.events("batch", batch=first)[0]
    for event in story.events("batch", batch=second) + story.events("available", batch=second):
        event["proposer"], event["seq"] = slot["proposer"], slot["seq"]
    index = index_of(story.run())
    assert index.placed[1].void == (second,)
    assert not replay_of(index).stopped[0]
    story.info["parameters"]["equivocation"] = "both"
    assert index_of(story.run()).placed[1].void == ()


def test_a_missing_block_time_matters_only_if_something_may_expire(story: Story) -> None:
    for event in story.events("finalise"):
        del event["timestamp_ms"]
    assert verdict(story, "state-root").status is Status.PASS
    story.info["end"] = 10**9 * MS + MS
    assert verdict(story, "state-root").status is Status.UNKNOWN


def test_value_out_of_nowhere_is_an_anomaly(story: Story) -> None:
    run = story.run()
    replay_of(index_of(run)).genesis_total -= 1
    assert kinds(judge(run, ["conservation"])[0]) == {"value-created"}


def test_no_sum_is_claimed_for_a_state_the_nodes_do_not_hold(story: Story) -> None:
    for event in story.events("execute", height=4):
        event["root"] = OTHER
    assert verdict(story, "conservation").status is Status.UNKNOWN


def test_no_sum_is_claimed_where_no_balance_could_be_compared(story: Story) -> None:
    story.drop("body")
    found = verdict(story, "conservation")
    assert found.status is Status.UNKNOWN and "no balance could be compared" in found.reason


def test_exec_for_an_unknown_transaction_fools_the_gateway(story: Story) -> None:
    story.add(story.events("gateway", phase="exec")[0], tx=ALIEN_TX)
    assert kinds(verdict(story, "acknowledged")) == {"fooled-gateway"}


# ---------------------------------------------------------------- liveness and bounds
def test_only_blocks_proposed_after_the_heal_count(story: Story) -> None:
    bounds(story, liveness_deltas=0.1)  # 300 ms: long enough for the gaps between old blocks
    story.info["heal"] = 650 * MS
    assert verdict(story, "liveness").status is Status.PASS
    story.drop("propose", height=4)
    story.drop("propose", height=3)
    assert kinds(verdict(story, "liveness")) == {"stalled"}


def test_a_run_too_short_to_judge_is_unknown(story: Story) -> None:
    story.info["heal"] = story.info["end"] - MS
    found = verdict(story, "liveness")
    assert found.status is Status.UNKNOWN and "ended within the bound" in found.reason


def test_no_finalisation_at_all_is_a_stall(story: Story) -> None:
    story.drop("finalise")
    outlast(story)
    assert kinds(verdict(story, "liveness")) == {"stalled"}


def test_beyond_the_bound_halting_is_right(story: Story) -> None:
    story.info["regime"] = "beyond"
    story.add(story.events("start", node="n1")[0], event="halt", reason="contradiction", time=700 * MS)
    found = verdict(story, "liveness")
    assert found.status is Status.PASS and found.measures["halted"] == ["n1"]


def test_a_node_halts_rightly_while_its_disk_is_full_and_only_then(story: Story) -> None:
    full = {"id": 1, "use": "disk-full", "kind": "fault", "start": 600 * MS, "stop": 800 * MS, "targets": ["n1"]}
    story.info["faults"] = [full]
    story.info["heal"] = 800 * MS
    story.add(story.events("start", node="n1")[0], event="halt", reason="No space left on device", time=700 * MS)
    assert not [a for a in verdict(story, "liveness").anomalies if a.kind == "halted"]
    for other in ({"targets": ["n2"]}, {"use": "partition"}, {"start": 750 * MS}):
        story.info["faults"] = [{**full, **other}]
        assert [a for a in verdict(story, "liveness").anomalies if a.kind == "halted"], other


def test_a_scheduled_restart_is_no_crash_loop(story: Story) -> None:
    restart(story, "n1", 500 * MS)
    found = verdict(story, "liveness")
    assert found.status is Status.UNKNOWN and "pacemaker" in found.reason  # no view timed out: I10
    story.add(story.events("start", node="n2")[0], event="timeout", view=2, lock_view=1, time=400 * MS)
    assert verdict(story, "liveness").status is Status.PASS


def test_pending_transactions_are_excluded(story: Story) -> None:
    tx = story.events("gateway", phase="exec")[0]["tx"]
    story.drop("gateway", tx=tx, phase="exec")
    found = verdict(story, "finality-bounds")
    assert found.status is Status.PASS and found.measures["pending"] == 1


def test_interrupted_runs_are_not_judged_by_the_clock(story: Story) -> None:
    story.info["interrupted"] = True
    for checker in ("liveness", "finality-bounds", "censorship"):
        assert verdict(story, checker).status is Status.UNKNOWN, checker


# ---------------------------------------------------------------- what is only half known
def test_a_child_of_a_new_block_is_new(story: Story) -> None:
    """A Byzantine leader records no proposal; its block is new all the same if its parent is."""
    bounds(story, liveness_deltas=0.1)
    story.info["heal"] = 400 * MS
    story.drop("propose", height=3)
    story.drop("finalise", node="n1", height=2)
    found = verdict(story, "liveness")
    assert found.status is Status.FAIL  # n1 itself is late
    assert found.measures["recovery_ms"]["max"] == 341  # by block 3, at 741 ms, not by block 4


def test_exec_told_at_another_height_fools_the_gateway(story: Story) -> None:
    story.events("gateway", phase="exec")[0]["height"] += 1
    assert kinds(verdict(story, "acknowledged")) == {"fooled-gateway"}


def test_replay_stops_at_a_batch_of_unknown_clan(story: Story) -> None:
    batch = story.events("finalise", height=2)[0]["batches"][0]
    for name in ("body", "batch", "available", "availability_vote"):
        story.drop(name, batch=batch)
    replay = replay_of(index_of(story.run()))
    assert replay.reached == [1] and "knew the clan" in replay.stopped[0]
