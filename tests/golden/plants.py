"""One planted violation per checker and anomaly kind: functions that turn a valid story into a bad one."""

from __future__ import annotations

from typing import Any

from tests.golden import delays as delays
from tests.golden import plants_cometbft as plants_cometbft
from tests.golden import plants_consensus as plants_consensus
from tests.golden import plants_hotstuff as plants_hotstuff
from tests.golden import plants_judges as plants_judges
from tests.golden import plants_receipts as plants_receipts
from tests.golden import plants_services as plants_services
from tests.golden import registers, transactions
from tests.golden.planting import OTHER as OTHER
from tests.golden.planting import PLANTS as PLANTS
from tests.golden.planting import READS as READS
from tests.golden.planting import bounds as bounds
from tests.golden.planting import outlast as outlast
from tests.golden.planting import plant
from tests.golden.story import Record, Story
from tests.golden.world import MS as MS
from tests.golden.world import World, certificate, state_certificate

ALIEN_TX = "ab" * 32


# ---------------------------------------------------------------- fork
@plant("fork", "fork")
def two_blocks_at_one_height(world: World, story: Story) -> None:
    story.events("finalise", node="n1", height=2)[0]["block"] = OTHER


@plant("fork", "payload-differs")
def one_hash_two_payloads(world: World, story: Story) -> None:
    story.events("finalise", node="n1", height=2)[0]["batches"] = [OTHER]


@plant("fork", "two-certificates")
def two_quorums_in_one_view(world: World, story: Story) -> None:
    forged = certificate(world, "fallback", 2, OTHER, ["n0", "n1", "n2"])
    story.add(story.events("certify", node="n2", view=2)[0], **forged)


@plant("fork", "invalid-certificate")
def signer_counted_twice(world: World, story: Story) -> None:
    event = story.events("certify", node="n2", view=2)[0]
    event["signers"][0], event["signatures"][0] = event["signers"][1], event["signatures"][1]


@plant("fork", "unjustified")
def final_without_a_certificate(world: World, story: Story) -> None:
    story.drop("certify", view=3)


# ---------------------------------------------------------------- prefix
@plant("prefix", "gap")
def skipped_height(world: World, story: Story) -> None:
    story.drop("finalise", node="n1", height=2)


@plant("prefix", "broken-link")
def wrong_parent(world: World, story: Story) -> None:
    story.events("finalise", node="n1", height=3)[0]["parent"] = OTHER


@plant("prefix", "rewritten")
def another_block_after_restart(world: World, story: Story) -> None:
    last = story.events("finalise", node="n1")[-1]
    story.add(last, event="restart", recovered=9, incarnation=2, time=last["time"] + MS)
    story.add(last, incarnation=2, block=OTHER, time=last["time"] + 2 * MS)


@plant("prefix", "repeated")
def finalised_again(world: World, story: Story) -> None:
    last = story.events("finalise", node="n1")[-1]
    story.add(last, time=last["time"] + MS)


@plant("prefix", "diverged")
def another_tip(world: World, story: Story) -> None:
    story.events("finalise", node="n1")[-1]["block"] = OTHER


# ---------------------------------------------------------------- dedup
@plant("dedup", "double-effect")
def applied_at_two_heights(world: World, story: Story) -> None:
    tx = story.events("execute", height=1)[0]["applied"][0]
    for event in story.events("execute", height=2):
        event["applied"].append(tx)


@plant("dedup", "disagreement")
def one_node_applied_less(world: World, story: Story) -> None:
    story.events("execute", node="n2", height=1)[0]["applied"].pop()


@plant("dedup", "duplicate-inclusion")
def included_by_a_secondary_too(world: World, story: Story) -> None:
    """Puts a transaction of height 1 into a batch of height 2 as well; every copy aborts."""
    tx = story.events("execute", height=1)[0]["applied"][0]
    batch = story.events("finalise", height=2)[0]["batches"][0]
    for event in story.events("batch", batch=batch):
        event["txs"].append(tx)
    for event in story.events("execute", height=2):
        event["aborted"].append([tx, "duplicate"])
    story.drop("body")


# ---------------------------------------------------------------- availability
@plant("availability", "lost-batch")
def body_never_arrived(world: World, story: Story) -> None:
    batch = story.events("finalise", height=1)[0]["batches"][0]
    story.drop("batch", node="n1", batch=batch)
    story.drop("body", node="n1", batch=batch)
    outlast(story)


@plant("availability", "undersigned-certificate")
def one_vote_short(world: World, story: Story) -> None:
    event = story.events("available", node="n3")[0]
    event["signers"].pop()
    event["signatures"].pop()


@plant("availability", "corrupt-body")
def another_body(world: World, story: Story) -> None:
    first, second = (
        story.events("finalise", height=1)[0]["batches"][0],
        story.events("finalise", height=2)[0]["batches"][0],
    )
    wrong = story.events("body", batch=second)[0]["data"]
    story.events("body", batch=first)[0]["data"] = wrong


@plant("availability", "uncertified-batch")
def ordered_without_a_certificate(world: World, story: Story) -> None:
    story.drop("available", batch=story.events("finalise", height=1)[0]["batches"][0])


# ---------------------------------------------------------------- censorship
def _forwarded_too(story: Story, family: list[str]) -> Record:
    """One transaction more, forwarded when the first was, of which no batch is known. Secondaries act at once."""
    story.info["parameters"] |= {"inclusion_timeout_ms": 10}
    outlast(story)
    return story.add(story.events("forward")[0], tx=ALIEN_TX, family=family)


@plant("censorship", "censored")
def whole_family_ignores_it(world: World, story: Story) -> None:
    story.info |= {"byzantine": ["n2", "n3"], "honest": [n for n in story.info["tribe"] if n not in ("n2", "n3")]}
    _forwarded_too(story, ["n3", "n2"])


@plant("censorship", "lost")
def never_included(world: World, story: Story) -> None:
    _forwarded_too(story, ["n3", "n2"])
    story.add(story.events("received")[0], tx=ALIEN_TX, node="n2", role="secondary")


@plant("censorship", "delayed")
def included_too_late(world: World, story: Story) -> None:
    """The first block's batch is in the last block only, over as many honest leaders."""
    story.info["parameters"] |= {"inclusion_timeout_ms": 10}
    bounds(story, inclusion_ms=100)
    batches = story.events("finalise", height=1)[0]["batches"]
    for event in story.events("finalise"):
        if event["height"] == 1:
            event["batches"] = []
        elif event["height"] == world.height:
            event["batches"] = [*event["batches"], *batches]


# ---------------------------------------------------------------- state-root
@plant("state-root", "false-root-certified")
def majority_signs_a_false_root(world: World, story: Story) -> None:
    for event in story.events("state_certificate", height=2):
        roots = {name: event[name] for name in ("clan", "height", "block", "prev_root")}
        event.update(state_certificate(world, {**roots, "root": OTHER}, event["signers"]))


@plant("state-root", "honest-divergence")
def one_honest_root_differs(world: World, story: Story) -> None:
    story.events("execute", node="n2", height=2)[0]["root"] = OTHER


@plant("state-root", "invalid-state-certificate")
def signed_something_else(world: World, story: Story) -> None:
    other = story.events("state_certificate", height=1)[0]
    story.events("state_certificate", node="n2", height=2)[0]["signatures"] = list(other["signatures"])


# ---------------------------------------------------------------- finality-bounds
@plant("finality-bounds", "unfinished")
def never_executed(world: World, story: Story) -> None:
    tx = story.events("gateway", phase="exec")[0]["tx"]
    story.drop("gateway", tx=tx, phase="exec")
    outlast(story)


@plant("finality-bounds", "slow")
def executed_too_late(world: World, story: Story) -> None:
    bounds(story, exec_ms=100)


@plant("finality-bounds", "phases-out-of-order")
def executed_before_ordered(world: World, story: Story) -> None:
    tx = story.events("gateway", phase="exec")[0]["tx"]
    (ordered,), (executed,) = (story.events("gateway", tx=tx, phase=p) for p in ("ord", "exec"))
    ordered["time"], executed["time"] = executed["time"], ordered["time"]


# ---------------------------------------------------------------- liveness
@plant("liveness", "stalled")
def silence(world: World, story: Story) -> None:
    outlast(story)


@plant("liveness", "slow-recovery")
def first_block_too_late(world: World, story: Story) -> None:
    bounds(story, liveness_deltas=-0.05)  # bound: 225 ms; the first block takes 241 ms, later ones 200 ms


@plant("liveness", "left-behind")
def restarted_node_stays_behind(world: World, story: Story) -> None:
    story.info["crashed"] = ["n1"]
    story.info["faults"] = [{"id": 1, "use": "crash", "targets": ["n1"]}]
    for height in range(2, world.height + 1):
        story.drop("finalise", node="n1", height=height)
    story.add(story.events("start", node="n1")[0], event="restart", incarnation=2, time=500 * MS, recovered=4)
    bounds(story, liveness_deltas=0.1, catch_up_blocks=1)  # bound: 300 ms


@plant("liveness", "crash-loop")
def unscheduled_restart(world: World, story: Story) -> None:
    story.add(story.events("start", node="n1")[0], event="restart", incarnation=2, time=500 * MS, recovered=4)


@plant("liveness", "halted")
def stopped_itself(world: World, story: Story) -> None:
    start = story.events("start", node="n1")[0]
    story.add(start, event="halt", reason="a certificate contradicts my root", time=500 * MS)


@plant("liveness", "execution-stalled")
def clan_falls_silent(world: World, story: Story) -> None:
    story.drop("state_certificate")
    bounds(story, liveness_deltas=0.1, retrieve_ms=10)  # bound: 310 ms; block 1 is executed 450 ms before the end


# ---------------------------------------------------------------- conservation
def _operation(story: Story, kind: str) -> Record:
    return next(op for op in story.history if op["type"] == kind)


@plant("conservation", "lost-ack")
def acked_but_nowhere(world: World, story: Story) -> None:
    _operation(story, "ok")["tx"] = ALIEN_TX


@plant("conservation", "failed-but-applied")
def told_fail(world: World, story: Story) -> None:
    _operation(story, "ok")["type"] = "fail"


@plant("conservation", "applied-twice")
def moved_twice(world: World, story: Story) -> None:
    applied_at_two_heights(world, story)


@plant("conservation", "negative-balance")
def overdraft(world: World, story: Story) -> None:
    story.info["accounts"] = dict.fromkeys(story.info["accounts"], 0)


@plant("conservation", "unexplained-balance")
def transfer_left_out(world: World, story: Story) -> None:
    transfer = next(
        op["tx"] for op in story.history if op["f"] == "transfer" and op["value"]["from"] != op["value"]["to"]
    )
    for event in story.events("execute"):
        if transfer in event["applied"]:
            event["applied"].remove(transfer)


# ---------------------------------------------------------------- acknowledged
@plant("acknowledged", "fooled-gateway")
def trusted_the_certificate_alone(world: World, story: Story) -> None:
    story.events("gateway", phase="exec")[0]["root_ok"] = False


@plant("acknowledged", "wrong-abort")
def told_aborted(world: World, story: Story) -> None:
    story.events("gateway", phase="exec")[0]["phase"] = "aborted"


@plant("acknowledged", "early-preconfirmation")
def preconfirmed_when_it_was_sent(world: World, story: Story) -> None:
    event = story.events("gateway", phase="pre")[0]
    event["time"] = story.events("gateway", phase="accepted", tx=event["tx"])[0]["time"]


@plant("acknowledged", "early-order")
def ordered_when_it_was_certified(world: World, story: Story) -> None:
    event = story.events("gateway", phase="ord")[0]
    event["time"] = story.events("gateway", phase="pre", tx=event["tx"])[0]["time"]


@plant("acknowledged", "wrong-height")
def ordered_elsewhere(world: World, story: Story) -> None:
    event = story.events("gateway", phase="ord")[-1]
    event["height"] = 2 if event["height"] == 1 else 1


@plant("acknowledged", "unfounded-abort")
def aborted_out_of_thin_air(world: World, story: Story) -> None:
    story.events("gateway", phase="exec")[0].update(phase="aborted", tx=ALIEN_TX, reason="duplicate")


@plant("acknowledged", "early-abort")
def aborted_before_it_was_certified(world: World, story: Story) -> None:
    done = story.events("gateway", phase="exec")[0]
    ordered = story.events("gateway", phase="ord", tx=done["tx"])[0]
    done.update(phase="aborted", tx=ALIEN_TX, reason="duplicate", time=ordered["time"])


@plant("acknowledged", "acknowledged-then-lost")
def lost_after_ok(world: World, story: Story) -> None:
    _operation(story, "ok")["tx"] = ALIEN_TX


@plant("acknowledged", "wrong-read")
def read_something_else(world: World, story: Story) -> None:
    operation = next(op for op in story.history if op["type"] == "ok" and op["f"] == "txn")
    operation["value"] = [[*part[:2], [12345]] if part[0] == "r" else part for part in operation["value"]]


def ask(story: Story, at_ms: int, **told: Any) -> None:
    """Somebody asks what an account holds, and the gateway answers: as at genesis, but for what is `told`."""
    address, balance = next(iter(story.info["accounts"].items()))
    value = {"address": address, "balance": balance, "seq": 0, "height": 0} | told
    common = {"index": 0, "process": 90 + len(story.history), "f": "balance", "gateway": story.info["gateways"][0]}
    asked = {**common, "time": at_ms * MS, "type": "invoke", "value": {"address": value["address"]}}
    story.tell(asked, {**common, "time": (at_ms + 1) * MS, "type": "ok", "value": value})


def answered(world: World, story: Story) -> Story:
    """The story with two true answers: an account as at genesis, a sender's as after the last block."""
    address = bytes.fromhex(next(op["value"]["from"] for op in story.history if op["f"] == "transfer"))
    balance, seq = world.ledgers[world.committee.clan_of_key(address)].account(address)
    ask(story, 50)
    ask(story, story.info["end"] // MS, address=address.hex(), balance=balance, seq=seq, height=world.height)
    return story


@plant("acknowledged", "wrong-balance")
def told_another_balance(world: World, story: Story) -> None:
    ask(story, 50, balance=1)


@plant("acknowledged", "uncertified-balance")
def told_before_it_was_certified(world: World, story: Story) -> None:
    ask(story, 250, height=1)


# ---------------------------------------------------------------- linearizable
def _registers(kind: str, name: str) -> None:
    def alter(world: World, story: Story) -> None:
        story.history = registers.history(name)

    plant("linearizable", kind)(alter)


_registers("unwritten-read", "bad-unwritten-read")
_registers("stale-read", "bad-stale-read")
_registers("impossible-read", "bad-two-readers-disagree")
_registers("impossible-cas", "bad-cas-twice")


# ---------------------------------------------------------------- elle-list-append, elle-rw-register
def _transactions(checker: str, kind: str) -> None:
    def alter(world: World, story: Story) -> None:
        story.history = transactions.history(checker, f"bad-{kind}")

    plant(checker, kind)(alter)


for _checker, _kinds in transactions.KINDS.items():
    for _name in _kinds:
        if _name.removeprefix("bad-") in _kinds[_name]:  # named after the one kind that it shows
            _transactions(_checker, _name.removeprefix("bad-"))
