"""Violations that clients, gateways and the clock would show: inclusion, finality, acknowledgements, liveness."""

from __future__ import annotations

from random import Random

from tests.golden.story import Record, Story
from tests.mutants.records import SECOND, honest, noise, outlast, pick, plant, steady


# ---------------------------------------------------------------- inclusion and finality
@plant("censorship")
def a_received_transaction_never_included(story: Story, rng: Random) -> bool:
    forward = pick(rng, story.events("forward"))
    assert forward is not None
    alien = noise(rng)
    receivers = [e for e in story.events("received", tx=forward["tx"]) if e["node"] in steady(story)]
    if not receivers:
        return False
    story.add(forward, tx=alien)
    story.add(receivers[0], tx=alien)
    outlast(story)
    return True


@plant("censorship", kind="doubt")  # nobody had a chance to include it in between: the chain stood still
def a_block_finalised_much_later(story: Story, rng: Random) -> bool:
    known = {e["tx"] for e in story.events("received") if e["node"] in steady(story)}
    batches = {e["batch"] for e in honest(story, "batch") if set(e["txs"]) & known}
    finals = [e for e in honest(story, "finalise") if set(e["batches"]) & batches]
    chosen = pick(rng, finals)
    if chosen is None:
        return False
    for event in story.events("finalise", height=chosen["height"]):
        event["time"] += 60 * SECOND
    outlast(story)
    return True


@plant("finality-bounds")
def a_gateway_never_told_exec(story: Story, rng: Random) -> bool:
    event = pick(rng, [e for e in story.events("gateway", phase="exec") if e["time"] < story.info["load_end"]])
    assert event is not None
    story.drop("gateway", phase="exec", node=event["node"], tx=event["tx"])
    outlast(story)
    return True


@plant("finality-bounds")
def exec_told_much_later(story: Story, rng: Random) -> bool:
    event = pick(rng, story.events("gateway", phase="exec"))
    assert event is not None
    event["time"] += 60 * SECOND
    return True


@plant("finality-bounds")
def executed_before_it_was_ordered(story: Story, rng: Random) -> bool:
    executed = pick(rng, story.events("gateway", phase="exec"))
    assert executed is not None
    (ordered,) = story.events("gateway", phase="ord", tx=executed["tx"], node=executed["node"])[:1]
    ordered["time"] = executed["time"] + 1
    return True


# ---------------------------------------------------------------- acknowledgements
@plant("acknowledged")
def exec_told_without_a_matching_root(story: Story, rng: Random) -> bool:
    pick(rng, story.events("gateway", phase="exec"))["root_ok"] = False  # type: ignore[index]
    return True


@plant("acknowledged")
def exec_told_for_another_transaction(story: Story, rng: Random) -> bool:
    pick(rng, story.events("gateway", phase="exec"))["tx"] = noise(rng)  # type: ignore[index]
    return True


@plant("acknowledged")
def exec_told_at_another_height(story: Story, rng: Random) -> bool:
    pick(rng, story.events("gateway", phase="exec"))["height"] += rng.choice([-1, 1])  # type: ignore[index]
    return True


@plant("acknowledged")
def applied_but_told_aborted(story: Story, rng: Random) -> bool:
    pick(rng, story.events("gateway", phase="exec"))["phase"] = "aborted"  # type: ignore[index]
    return True


def _ok(story: Story, rng: Random, *fs: str) -> Record | None:
    return pick(rng, [op for op in story.history if op["type"] == "ok" and (not fs or op["f"] in fs)])


@plant("acknowledged", "conservation")
def a_client_was_told_ok_for_nothing(story: Story, rng: Random) -> bool:
    done = _ok(story, rng)
    assert done is not None
    lost = noise(rng)
    for operation in story.history:
        if operation.get("tx") == done["tx"] and operation["process"] == done["process"]:
            operation["tx"] = lost
    return True


@plant("conservation")
def a_client_was_told_fail_for_what_happened(story: Story, rng: Random) -> bool:
    _ok(story, rng)["type"] = "fail"  # type: ignore[index]
    return True


@plant("acknowledged")
def a_client_read_something_else(story: Story, rng: Random) -> bool:
    reads = [
        part
        for op in story.history
        if op["type"] == "ok" and op["f"] == "txn"
        for part in op["value"]
        if part[0] == "r"
    ]
    if not reads:
        return False
    part = rng.choice(reads)
    part[2] = [*(part[2] or ()), 424242]
    return True


# ---------------------------------------------------------------- liveness
@plant("liveness")
def one_node_stops_after_the_heal(story: Story, rng: Random) -> bool:
    node = rng.choice(steady(story))
    story.trace = [
        e
        for e in story.trace
        if not (e["event"] == "finalise" and e["node"] == node and e["time"] > story.info["heal"])
    ]
    outlast(story)
    return True


@plant("liveness")
def only_byzantine_nodes_and_gateways_go_on(story: Story, rng: Random) -> bool:
    still = set(steady(story))
    story.trace = [
        e
        for e in story.trace
        if not (e["event"] == "finalise" and e["node"] in still and e["time"] > story.info["heal"])
    ]
    outlast(story)
    return True


@plant("liveness")
def nothing_is_finalised_for_a_minute(story: Story, rng: Random) -> bool:
    outlast(story)
    return True


@plant("liveness")
def a_node_stops_itself(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "finalise"))
    assert event is not None
    story.add(event, event="halt", reason="planted")
    return bool(story.info["regime"] == "within")


@plant("liveness")
def a_node_crashes_by_itself(story: Story, rng: Random) -> bool:
    event = pick(rng, [e for e in honest(story, "finalise") if e["node"] in steady(story)])
    assert event is not None
    story.add(event, event="restart", recovered=3, time=story.info["end"], incarnation=event["incarnation"] + 1)
    return True
