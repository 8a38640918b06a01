"""Whole clusters in memory: every core of every node, wired together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from nodes.committee import ClusterConfig, Committee, ConfigError
from nodes.messages import (
    AvailabilityVote,
    BatchMessage,
    BatchRequest,
    ForwardReceipt,
    StateVote,
    Transaction,
    tx_id,
)
from nodes.port import (
    EVERYONE,
    AwaitStatus,
    Effect,
    Event,
    Multicast,
    Node,
    Persist,
    QueryBalance,
    QueryBlock,
    Receive,
    Send,
    SubmitTransaction,
)
from nodes.records import BatchKeyRecord
from nodes.supra import SupraNode, build
from nodes.xrbc.make import make_batch, make_vote
from tests.cores import VERIFIER, wallet_of
from tests.driver import MS, Driver, domain_of, signer_of, small_config

MD = 10  # one message delay, ms


def cluster(config: ClusterConfig, **options: Any) -> Driver:
    names = [m.id for m in (*config.tribe, *config.gateways)]
    return Driver(Committee(config), lambda name: build(name, config, signer_of(name), VERIFIER), names, **options)


def account_pairs(config: ClusterConfig) -> list[tuple[str, bytes]]:
    """(account, an address of the same clan) for every test account that shares its clan with another."""
    committee = Committee(config)
    names = [f"acct{i}" for i in range(len(config.accounts))]
    keys = {name: signer_of(name).public_key for name in names}
    pairs = []
    for name in names:
        clan = committee.clan_of_key(keys[name])
        other = next((k for n, k in keys.items() if n != name and committee.clan_of_key(k) == clan), None)
        if other is not None:
            pairs.append((name, other))
    return pairs


def transfers(config: ClusterConfig, each: int = 1) -> list[Transaction]:
    return [wallet_of(config, name).transfer(seq, to, 1) for seq in range(each) for name, to in account_pairs(config)]


def submit_all(driver: Driver, transactions: Iterable[Transaction], gateway: str = "g0") -> list[bytes]:
    ids = []
    for number, transaction in enumerate(transactions):
        driver.submit(gateway, number, SubmitTransaction(transaction))
        ids.append(tx_id(transaction))
    return ids


def phases(driver: Driver, tx: bytes, gateway: str = "g0") -> dict[str, int]:
    """Phase -> ns at which the gateway reached it."""
    return {
        f["phase"]: at
        for at, who, event, f in driver.trace
        if event == "gateway" and who == gateway and f["tx"] == tx.hex()
    }


def all_executed(driver: Driver, ids: Iterable[bytes]) -> Callable[[], bool]:
    """Has a gateway told `exec` for every id? Reads only what the trace gained since the last call."""
    missing = {tx.hex() for tx in ids}
    read = 0

    def done() -> bool:
        nonlocal read
        for _, _, event, f in driver.trace[read:]:
            if event == "gateway" and f["phase"] == "exec":
                missing.discard(f["tx"])
        read = len(driver.trace)
        return not missing

    return done


def check_agreement(driver: Driver) -> None:
    """Same block at each height, same root for each (clan, height), at every node and in every incarnation."""
    blocks: dict[int, set[str]] = {}
    roots: dict[tuple[int, int], set[str]] = {}
    for _, _, event, f in driver.trace:
        if event == "finalise":
            blocks.setdefault(f["height"], set()).add(f["block"])
        elif event == "execute":
            roots.setdefault((f["clan"], f["height"]), set()).add(f["root"])
    assert blocks and roots
    assert all(len(found) == 1 for found in (*blocks.values(), *roots.values()))


@pytest.mark.parametrize(("n", "clans"), [(7, 1), (10, 2)])
def test_transactions_reach_exec(n: int, clans: int) -> None:
    config = small_config(n, clans, idle_delay_ms=50)
    driver = cluster(config)
    driver.run(100)
    ids = submit_all(driver, transfers(config, each=2))
    done = all_executed(driver, ids)
    driver.run(2500, stop=done)
    assert done()
    driver.run(driver.now / MS + 100)
    check_agreement(driver)
    for tx in ids:  # the pre-confirmation is news only if it comes before the order
        reached = phases(driver, tx)
        assert reached["accepted"] < reached["pre"] < reached["ord"] < reached["exec"]
    for event, who, f in ((e, w, f) for _, w, e, f in driver.trace):
        assert event not in ("reject", "accuse", "halt"), (who, f)


# ---------------------------------------------------------------- latency (claims daqc-2md, 5.5 md)
@pytest.mark.parametrize("idle_delay_ms", [0, 50])
def test_certificate_after_two_and_order_after_five_to_six_message_delays(idle_delay_ms: int) -> None:
    config = small_config(7, idle_delay_ms=idle_delay_ms)
    driver = cluster(config)
    driver.run(1600)
    for number, transaction in enumerate(transfers(config)):
        driver.run(1600 + 37 * number)
        submit_all(driver, [transaction])
    driver.run(driver.now / MS + 250)
    made = {f["batch"]: at for at, who, e, f in driver.trace if e == "batch" and who == f["proposer"]}
    assert len(made) >= 4
    for at, _, f in ((at, who, f) for at, who, e, f in driver.trace if e == "available"):
        assert at - made[f["batch"]] == 2 * MD * MS
    final: dict[str, int] = {}
    for at, _, event, f in driver.trace:
        if event == "finalise":
            for batch in f["batches"]:
                final.setdefault(batch, at)
    assert final.keys() == made.keys()
    delays = [(final[batch] - at) / (MD * MS) for batch, at in made.items()]
    assert min(delays) >= 5 and max(delays) <= 6


# ---------------------------------------------------------------- crashes
def test_restarted_nodes_catch_up_and_agree() -> None:
    config = small_config(7, idle_delay_ms=50)
    driver = cluster(config)
    driver.run(500)
    ids = submit_all(driver, transfers(config))
    driver.run(1000)
    driver.crash("n2")
    driver.crash("n5", lose_disk=True)
    ids += submit_all(driver, [wallet_of(config, name).transfer(1, to, 2) for name, to in account_pairs(config)])
    driver.run(4000)
    driver.start("n2")
    driver.start("n5")
    done = all_executed(driver, ids)
    driver.run(9000, stop=done)
    assert done()
    driver.run(driver.now / MS + 1500)
    check_agreement(driver)
    newest = driver.nodes["n0"].height
    for name in ("n2", "n5"):
        assert driver.nodes[name].height >= newest - 2
        assert driver.nodes[name].executed >= newest - 3
    assert not driver.events("accuse", "halt")


def test_whole_cluster_restarts_at_once_and_goes_on() -> None:
    config = small_config(4, idle_delay_ms=50)
    driver = cluster(config)
    driver.run(500)
    early = submit_all(driver, transfers(config))
    driver.run(610)  # batches exist, most are not ordered
    heights = {name: node.height for name, node in driver.nodes.items()}
    for name in list(driver.nodes):
        driver.crash(name)
    for name in driver.logs:
        driver.start(name)
    assert {name: node.height for name, node in driver.nodes.items()} == heights
    driver.run(4000)
    late = submit_all(driver, [wallet_of(config, name).transfer(1, to, 1) for name, to in account_pairs(config)])
    driver.run(9000, stop=all_executed(driver, late))
    driver.run(driver.now / MS + 500)
    check_agreement(driver)
    applied = {tx for _, who, e, f in driver.trace if e == "execute" and who == "n0" for tx in f["applied"]}
    assert {tx.hex() for tx in (*early, *late)} <= applied
    assert not driver.events("accuse", "halt")


# ---------------------------------------------------------------- corrupted batch proposers
class Corrupted:
    """An honest node whose batches a test rewrites on their way out; its `votes` for variants go to everyone."""

    def __init__(self, node: SupraNode, rewrite: Callable[[BatchMessage], list[Effect]]) -> None:
        self._node = node
        self._rewrite = rewrite

    def step(self, now: int, event: Event) -> list[Effect]:
        if isinstance(event, Receive) and isinstance(event.message, BatchRequest):
            return []
        out: list[Effect] = []
        for effect in self._node.step(now, event):
            if isinstance(effect, Multicast | Send) and isinstance(effect.message, BatchMessage):
                out.extend(self._rewrite(effect.message))
            else:
                out.append(effect)
        return out


def corrupted_cluster(config: ClusterConfig, bad: str, rewrite: Callable[[BatchMessage], list[Effect]]) -> Driver:
    def make(name: str) -> Node:
        node = build(name, config, signer_of(name), VERIFIER)
        return Corrupted(node, rewrite) if name == bad else node

    return Driver(Committee(config), make, [m.id for m in (*config.tribe, *config.gateways)])


@pytest.mark.parametrize("rule", ["first", "both"])
def test_equivocating_batch_proposer_cannot_make_honest_nodes_disagree(rule: str) -> None:
    """A clan of three: n0 alone gets two certificates for one key (2.3)."""
    config = small_config(9, clans=3, accounts=24, equivocation=rule, idle_delay_ms=50, inclusion_timeout_ms=500)
    domain, signer = domain_of(config), signer_of("n0")

    def rewrite(message: BatchMessage) -> list[Effect]:
        header = message.batch.header
        kept = message.batch.transactions[:-1] or message.batch.transactions
        ident, variant = make_batch(domain, signer, "n0", 0, header.seq, kept, header.created_ms + 1)
        vote = make_vote(domain, signer, "n0", variant.header, ident)
        return [Send("n1", message), Send("n2", BatchMessage(variant)), Multicast(EVERYONE, vote)]

    driver = corrupted_cluster(config, "n0", rewrite)
    driver.run(100)
    ids = submit_all(driver, transfers(config))
    done = all_executed(driver, ids)
    driver.run(6000, stop=done)
    assert done()
    driver.run(driver.now / MS + 1500)  # the gateway is done; n1 still has to ask twice for what n0 kept from it
    check_agreement(driver)
    final = [b for _, who, e, f in driver.trace if e == "finalise" and who == "n4" for b in f["batches"]]
    keys = [(f["proposer"], f["seq"]) for _, who, e, f in driver.trace if e == "available" and who == "n4"]
    assert len(keys) > len(set(keys)) and len(final) == len(set(final))
    assert {f["culprit"] for _, who, e, f in driver.trace if e == "accuse" and who != "n0"} == {"n0"}
    void = {b for _, who, e, f in driver.trace if e == "execute" and who == "n1" for b in f["void"]}
    assert bool(void) == (rule == "first")


def test_batch_shown_to_a_bare_majority_reaches_every_member() -> None:
    config = small_config(7, idle_delay_ms=50)

    def rewrite(message: BatchMessage) -> list[Effect]:
        return [Send(name, message) for name in ("n1", "n2", "n3")]

    driver = corrupted_cluster(config, "n0", rewrite)
    driver.run(100)
    ids = submit_all(driver, transfers(config, each=3))
    done = all_executed(driver, ids)
    driver.run(6000, stop=done)
    assert done()
    driver.run(driver.now / MS + 1500)
    check_agreement(driver)
    held = {(who, f["batch"]) for _, who, e, f in driver.trace if e == "batch"}
    certified = {f["batch"] for _, _, e, f in driver.trace if e == "available"}
    assert {(f"n{i}", batch) for i in range(1, 7) for batch in certified} <= held


# ---------------------------------------------------------------- wiring
def test_balances_and_blocks_are_answered_where_they_are_known() -> None:
    config = small_config(10, clans=2, idle_delay_ms=50)
    driver = cluster(config)
    driver.run(500)
    name, to = account_pairs(config)[0]
    clan = Committee(config).clan_of_key(to)
    inside, outside = ("n0", "n9") if clan == 0 else ("n9", "n0")
    [tx] = submit_all(driver, [wallet_of(config, name).transfer(0, to, 5)])
    driver.run(1500)
    driver.replies.clear()
    for node in ("g0", inside, outside):
        driver.submit(node, 1, QueryBalance(to))
    driver.submit("g0", 2, QueryBlock(1))
    driver.submit("g0", 3, AwaitStatus(tx))
    driver.submit("n0", 4, AwaitStatus(tx))
    driver.submit("n0", 5, "nonsense")
    values = [value for _, _, value in driver.replies]
    assert values[0]["balance"] == values[1]["balance"] == 1005
    assert "ask a gateway" in values[2]["error"] and "ask a gateway" in values[5]["error"]
    assert values[3]["height"] == 1 and values[4]["phase"] == "exec"
    assert "ask a gateway" in values[6]["error"]


def test_status_attributes_advance_at_both_roles() -> None:
    config = small_config(10, clans=2, idle_delay_ms=50)
    driver = cluster(config)
    driver.run(1000)
    for name in ("n0", "n9", "g0"):
        node = driver.nodes[name]
        assert node.view > node.height > 0
        assert node.height >= node.executed >= node.certified > 0


def test_messages_for_other_roles_are_ignored() -> None:
    config = small_config(4)
    driver = cluster(config)
    before = len(driver.trace)
    receipt = ForwardReceipt(bytes(32), "n1", 0, bytes(64))
    vote = StateVote(3, 1, bytes(32), bytes(32), bytes(32), "n1", bytes(64))
    driver.inject("n0", "n1", receipt)
    driver.inject("n0", "n1", vote)
    assert len(driver.trace) == before


def test_a_node_with_another_key_than_the_genesis_names_does_not_start() -> None:
    with pytest.raises(ConfigError, match="secret_key"):
        SupraNode("n0", small_config(4), signer_of("n1"), VERIFIER)


def test_a_node_is_deterministic() -> None:
    config = small_config(4, idle_delay_ms=50)
    traces = []
    for _ in range(2):
        driver = cluster(config, seed=3, delay=None)
        driver.run(300)
        submit_all(driver, transfers(config))
        driver.run(1200)
        traces.append(driver.trace)
    assert traces[0] == traces[1]


def test_every_persist_precedes_the_sends_that_depend_on_it() -> None:
    config = small_config(4, idle_delay_ms=50)
    driver = cluster(config)
    node = driver.nodes["n0"]
    steps: list[list[Effect]] = []

    class Watch:
        view, height, executed, certified = 0, 0, 0, 0

        def step(self, now: int, event: Event) -> list[Effect]:
            steps.append(node.step(now, event))
            return steps[-1]

    driver.nodes["n0"] = Watch()
    driver.run(300)
    submit_all(driver, transfers(config))
    driver.run(1000)
    votes = 0
    for effects in steps:
        durable: set[bytes] = set()
        for effect in effects:
            if isinstance(effect, Persist) and isinstance(effect.record, BatchKeyRecord):
                durable.add(effect.record.batch)
            elif isinstance(effect, Multicast) and isinstance(effect.message, AvailabilityVote):
                assert effect.message.batch in durable
                votes += 1
    assert votes
