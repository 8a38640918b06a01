"""The traps of teeth.md section 1 and the harness mutants I1-I13, as forgeries of a recorded run: never a pass."""

from __future__ import annotations

from random import Random

from tests.golden.story import Record, Story
from tests.mutants.records import MS, SECOND, honest, noise, pick, plant, steady

ALL = ("fork", "prefix", "receipts")  # what even the smallest scenario judges by
TIMED = (*ALL, "liveness")


def renumber(story: Story) -> None:
    for index, operation in enumerate(story.history):
        operation["index"] = index


def _without(story: Story, node: str, since: int) -> None:
    story.trace = [e for e in story.trace if e["node"] != node or e["time"] < since]


def _stops(story: Story, kind: str) -> list[Record]:
    nemesis = [op["value"] for op in story.history if op["process"] == "nemesis" and op["f"] == "stop"]
    return [value for value in nemesis if value.get("kind") == kind]


# ---------------------------------------------------------------- records
@plant(*TIMED, kind="doubt")
def the_trace_of_one_node_is_missing(story: Story, rng: Random) -> bool:
    _without(story, rng.choice(steady(story, tribe=False)), 0)
    return True


@plant(*TIMED, kind="doubt")
def the_trace_of_one_node_ends_half_way(story: Story, rng: Random) -> bool:
    _without(story, rng.choice(steady(story)), (story.info["load_start"] + story.info["load_end"]) // 2)
    return True


@plant(*TIMED, kind="doubt")
def all_traces_end_half_way(story: Story, rng: Random) -> bool:
    for node in steady(story, tribe=False):
        _without(story, node, (story.info["load_start"] + story.info["load_end"]) // 2)
    return True


@plant(*TIMED, kind="doubt")
def the_trace_of_one_node_begins_half_way(story: Story, rng: Random) -> bool:
    node, since = rng.choice(steady(story)), (story.info["load_start"] + story.info["load_end"]) // 2
    story.trace = [e for e in story.trace if e["node"] != node or e["time"] >= since]
    return True


@plant(*TIMED, kind="doubt")
def a_clock_runs_behind(story: Story, rng: Random) -> bool:
    node = rng.choice(steady(story))
    for event in story.trace:
        if event["node"] == node:
            event["time"] -= 4 * SECOND
    return True


@plant(*TIMED, kind="doubt")
def a_clock_jumps_back(story: Story, rng: Random) -> bool:
    node, middle = rng.choice(steady(story)), (story.info["load_start"] + story.info["load_end"]) // 2
    for event in story.trace:
        if event["node"] == node and event["time"] > middle:
            event["time"] -= 2 * SECOND
    return True


@plant(*TIMED, kind="doubt")
def a_history_record_is_missing(story: Story, rng: Random) -> bool:
    del story.history[rng.randrange(len(story.history) - 1)]
    return True


@plant(*TIMED, kind="doubt")
def an_invocation_is_missing(story: Story, rng: Random) -> bool:
    done = rng.choice([op for op in story.history if op["type"] == "ok"])
    begun = [op for op in story.history if op["type"] == "invoke" and op["process"] == done["process"]]
    story.history.remove(next(op for op in reversed(begun) if op["index"] < done["index"]))
    renumber(story)
    return True


# ---------------------------------------------------------------- clients
@plant("acknowledged", kind="doubt")
def no_client_was_told_anything(story: Story, rng: Random) -> bool:
    kept, retired = [], set()
    for operation in story.history:
        if operation["process"] in retired:
            continue
        if operation["type"] in ("ok", "fail"):
            operation["type"] = "info"
            retired.add(operation["process"])
        kept.append(operation)
    story.history = kept
    renumber(story)
    return True


@plant("acknowledged", kind="doubt")
def no_client_ever_asked(story: Story, rng: Random) -> bool:
    story.history = [op for op in story.history if op["process"] == "nemesis"]
    renumber(story)
    return True


@plant("dedup", "finality-bounds", "acknowledged", kind="doubt")
def every_transaction_was_refused(story: Story, rng: Random) -> bool:
    story.trace = [e for e in story.trace if e["event"] != "gateway"]
    for event in story.events("execute"):
        event["applied"], event["aborted"] = [], [[tx, "invalid"] for tx in event["applied"]]
    for operation in story.history:
        operation["type"] = "fail" if operation["type"] == "ok" else operation["type"]
    return True


@plant("dedup", kind="doubt")
def copies_were_meant_but_never_accepted(story: Story, rng: Random) -> bool:
    if story.info["scenario"].get("workload", {}).get("kind") != "duplicates":
        return False
    story.trace = [e for e in story.trace if e["event"] != "forward" or e["node"] == story.info["gateways"][0]]
    return True


# ---------------------------------------------------------------- run.json
@plant(*TIMED, kind="doubt")
def an_honest_node_is_declared_byzantine(story: Story, rng: Random) -> bool:
    node = rng.choice(steady(story))
    story.info["byzantine"] = [*story.info.get("byzantine", []), node]
    story.info["honest"] = [n for n in story.info["honest"] if n != node]
    return True


@plant(*ALL, kind="doubt")
def a_halt_is_excused_by_a_false_regime(story: Story, rng: Random) -> bool:
    if story.info["regime"] != "within":
        return False
    story.info["regime"] = "beyond"
    return True


@plant(*ALL, kind="doubt")
def the_system_counts_with_another_quorum(story: Story, rng: Random) -> bool:
    story.info["thresholds"]["quorum"] -= 1
    return True


@plant(*ALL, kind="doubt")
def a_crash_loop_in_which_nobody_saw_a_conflict(story: Story, rng: Random) -> bool:
    node = rng.choice(steady(story))
    last = max((e for e in story.trace if e["node"] == node), key=lambda e: e["time"])
    for number in range(1, 4):
        story.add(
            {"event": "restart", "recovered": 1}, node=node, incarnation=last["incarnation"] + number,
            time=last["time"] + number * MS,
        )  # fmt: skip
    return True


# ---------------------------------------------------------------- receipts
def _receipt(story: Story, rng: Random, kind: str = "fault") -> Record | None:
    found = pick(rng, _stops(story, kind))
    return None if found is None else found["receipt"]


@plant("receipts", kind="doubt")
def a_nemesis_that_does_nothing(story: Story, rng: Random) -> bool:
    receipt = _receipt(story, rng)
    if receipt is None:
        return False
    receipt["dropped"] = receipt["changed"] = 0  # and yet it says that it bit
    return True


@plant("receipts", kind="doubt")
def a_heal_that_nobody_saw(story: Story, rng: Random) -> bool:
    receipt = _receipt(story, rng)
    if receipt is None:
        return False
    receipt["heal_verified"] = False
    return True


@plant("receipts", kind="doubt")
def a_heal_later_than_the_runs_own(story: Story, rng: Random) -> bool:
    receipt = _receipt(story, rng)
    if receipt is None:
        return False
    receipt["healed"] = story.info["heal"] + SECOND
    return True


@plant("receipts", kind="doubt")
def a_fault_that_was_never_stopped(story: Story, rng: Random) -> bool:
    before = len(story.history)
    story.history = [op for op in story.history if op["process"] != "nemesis" or op["f"] != "stop"]
    renumber(story)
    return len(story.history) < before


@plant("receipts", kind="doubt")
def a_fault_without_a_declaration(story: Story, rng: Random) -> bool:
    if not story.info.get("faults"):
        return False
    story.info["faults"].pop()
    return True


@plant("receipts", kind="doubt")
def a_fault_for_the_last_moment_of_its_window(story: Story, rng: Random) -> bool:
    faults = [f for f in story.info.get("faults", []) if f.get("kind", "fault") == "fault"]
    if not faults:
        return False
    for operation in story.history:
        if operation["process"] == "nemesis" and operation["f"] == "start" and operation["value"]["kind"] == "fault":
            operation["time"] = min(faults[0]["stop"], story.info["load_end"]) - 100 * MS
    story.history.sort(key=lambda op: op["time"])
    renumber(story)
    return True


@plant("receipts", kind="doubt")
def a_corrupted_node_that_never_had_an_occasion(story: Story, rng: Random) -> bool:
    receipt = _receipt(story, rng, "behaviour")
    if receipt is None:
        return False
    receipt.update(dict.fromkeys(("matched", "changed", "dropped", "injected"), 0), bit=False)
    return True


def _window(story: Story, use: str) -> tuple[Record, int] | None:
    faults = [f for f in story.info.get("faults", []) if f["use"] == use]
    if not faults:
        return None
    return faults[0], (2 * max(faults[0].get("start", 0), story.info["load_start"]) + story.info["load_end"]) // 3


@plant("receipts", kind="doubt")
def a_killed_node_that_wrote_on(story: Story, rng: Random) -> bool:
    found = _window(story, "crash") or _window(story, "pause") or _window(story, "disk-loss")
    if found is None:
        return False
    at = found[0]["start"] + (found[0]["stop"] - found[0]["start"]) // 2
    story.add({"event": "vote", "view": 3, "kind": "normal"}, node=found[0]["targets"][0], time=at, incarnation=1)
    return True


@plant("receipts", kind="doubt")
def a_message_over_a_cut_link(story: Story, rng: Random) -> bool:
    found = _window(story, "partition")
    if found is None:
        return False
    link = rng.choice([t for t in found[0]["targets"] if t.partition(">")[2] in steady(story, tribe=False)])
    sender, _, receiver = link.partition(">")
    at = found[0]["start"] + (found[0]["stop"] - found[0]["start"]) // 2
    story.add(
        {"event": "retrieve", "ok": True, "batch": noise(rng)},
        node=receiver,
        time=at,
        incarnation=1,
        **{"from": sender},
    )
    return True


@plant("receipts", kind="doubt")
def an_attack_that_no_honest_node_noticed(story: Story, rng: Random) -> bool:
    uses = {f["use"] for f in story.info.get("faults", [])}
    byzantine = story.info.get("byzantine", [])
    if "equivocating-leader" in uses:
        first: dict[int, str] = {}
        for event in sorted(story.events("vote") + story.events("certify"), key=lambda e: e["time"]):
            event["block"] = first.setdefault(event["view"], event["block"])
    elif "lying-executor" in uses or "data-withholding" in uses:
        for event in honest(story, "retrieve"):
            event.update({"from": byzantine[0], "ok": True})
        for event in honest(story, "state_certificate"):
            event["signers"][0] = byzantine[0]
    elif "censoring-primary" in uses:
        pick(rng, [e for e in honest(story, "batch") if e["txs"]])["proposer"] = byzantine[0]  # type: ignore[index]
    elif "colluding-clan-majority" in uses:
        for event in honest(story, "available"):
            story.add(honest(story, "batch")[0], batch=event["batch"])
    else:
        return False
    return True


@plant("receipts", kind="doubt")
def a_network_without_its_latency(story: Story, rng: Random) -> bool:
    proposed = {e["block"]: e["time"] for e in reversed(honest(story, "propose"))}
    for event in honest(story, "vote"):
        if event["block"] in proposed:
            event["time"] = proposed[event["block"]] + 2 * MS
    return True


@plant("liveness", kind="doubt")
def a_pacemaker_that_never_fires(story: Story, rng: Random) -> bool:
    if not any(f["use"] in ("crash", "pause", "disk-loss", "silent-leader") for f in story.info.get("faults", [])):
        return False
    story.drop("timeout")
    story.drop("timeout_certificate")
    story.trace = [e for e in story.trace if e["event"] != "enter" or e["via"] != "timeout"]
    return True
