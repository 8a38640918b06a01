"""Workloads: deterministic, well-formed, and true to what they promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest

from harness import plugins
from harness.genesis import BALANCE, Genesis, make_genesis, random_of
from harness.outcome import UsageError
from harness.workloads.duplicates import Duplicates
from harness.workloads.edges import KINDS, Edges
from harness.workloads.list_append import ListAppend
from harness.workloads.port import Task, World, is_foreign, unsigned
from harness.workloads.transfers import MORE_THAN_ANYBODY_HAS, Transfers
from nodes.committee import list_shard
from nodes.messages import Append, Read, Transfer, tx_id
from tests.unit.scenarios import changed


@pytest.fixture(scope="module")
def genesis() -> Genesis:
    return make_genesis(changed("nodes = 4", "nodes = 10\nclans = 2"), 7)


@pytest.fixture(scope="module")
def world(genesis: Genesis) -> World:
    return World.of(genesis)


def tasks(workload: Any, genesis: Genesis, count: int = 200) -> list[tuple[int, Task]]:
    """(clan of the sender, task) from eight senders in turn."""
    wallets = [genesis.wallet(i) for i in range(8)]
    return [(wallets[i % 8].clan, workload.next(wallets[i % 8], i // 8)) for i in range(count)]


@pytest.mark.parametrize("name", sorted(n for n, k in plugins.registered("workloads").items() if not is_foreign(k)))
def test_equal_seeds_give_equal_tasks(name: str, genesis: Genesis, world: World) -> None:
    one = tasks(plugins.build("workloads", name, {}, world, random_of(1, "w")), genesis)
    two = tasks(plugins.build("workloads", name, {}, world, random_of(1, "w")), genesis)
    other = tasks(plugins.build("workloads", name, {}, world, random_of(2, "w")), genesis)
    assert one == two
    assert one != other


def test_transfers_stay_in_the_senders_clan(genesis: Genesis, world: World) -> None:
    found = tasks(Transfers(world, random_of(1, "w"), max_amount=5, overdraft=0.5), genesis)
    amounts = Counter[int]()
    for clan, task in found:
        (transfer,) = task.operations
        assert isinstance(transfer, Transfer)
        assert genesis.committee.clan_of_key(transfer.to) == clan
        assert task.value["to"] == transfer.to.hex() != task.value["from"]
        amounts[transfer.amount] += 1
    assert set(amounts) == {1, 2, 3, 4, 5, MORE_THAN_ANYBODY_HAS}


def test_ground_transfers_have_the_chosen_primary(genesis: Genesis, world: World) -> None:
    committee = genesis.committee
    chosen = {0: committee.clans[0][0], 1: "n7"}
    workload = plugins.build("workloads", "grinding", {"victims": ["n7"]}, world, random_of(1, "w"))
    for seq in range(20):
        for wallet in map(genesis.wallet, range(8)):
            task = workload.next(wallet, seq)
            tx = tx_id(unsigned(world.chain, wallet, seq, task.operations))
            assert committee.family(tx, wallet.clan)[0] == chosen[wallet.clan]


def test_list_append_uses_own_lists_and_unique_values(genesis: Genesis, world: World) -> None:
    values: list[int] = []
    for clan, task in tasks(ListAppend(world, random_of(1, "w"), appends_per_key=3), genesis, 400):
        assert 1 <= len(task.operations) == len(task.value) <= 3
        for operation, mop in zip(task.operations, task.value, strict=True):
            assert isinstance(operation, Append | Read)
            assert genesis.committee.clan_of_key(list_shard(operation.key)) == clan
            if isinstance(operation, Append):
                assert mop == ["append", operation.key, operation.value]
                values.append(operation.value)
            else:
                assert mop == ["r", operation.key, None]
    assert len(set(values)) == len(values)


def test_full_lists_make_room_for_fresh_ones(genesis: Genesis, world: World) -> None:
    workload = ListAppend(world, random_of(1, "w"), keys=2, reads=0.0, appends_per_key=5)
    counts = Counter(m[1] for _, task in tasks(workload, genesis) for m in task.value)
    assert max(counts.values()) <= 5
    assert len(counts) > 20


def test_duplicates_go_through_every_gateway(genesis: Genesis, world: World) -> None:
    for _, task in tasks(Duplicates(world, random_of(1, "w"), copies=3), genesis, 20):
        assert task.gateways == ("g0", "g1")
        assert task.copies == 3
        assert task.value["gateways"] == ["g0", "g1"]


def paid(sender: bytes, held: int, transfers: Iterable[Any]) -> int | None:
    """What is left after the transfers in order; None if one of them cannot be paid."""
    for transfer in transfers:
        if transfer.amount > held:
            return None
        held -= transfer.amount if transfer.to != sender else 0
    return held


def test_edges_know_what_every_account_holds(genesis: Genesis, world: World) -> None:
    workload = Edges(world, random_of(1, "w"), reads=0.0)
    holds = {wallet.address: BALANCE for wallet in map(genesis.wallet, range(8))}
    ends = Counter[tuple[str, bool]]()
    sinks: set[bytes] = set()
    for seq in range(60):
        for wallet in map(genesis.wallet, range(8)):
            task, own = workload.next(wallet, seq), wallet.address
            held, after = holds[own], paid(own, holds[own], task.operations)
            assert task.value["holds"] == held and task.value["from"] == own.hex()
            ends[task.value["edge"], after is None] += 1
            if held:
                ends["exact", bool(after is not None and _turns(own, held, task.operations))] += 1
            receivers = {transfer.to for transfer in task.operations if isinstance(transfer, Transfer)} - {own}
            assert {genesis.committee.clan_of_key(to) for to in receivers} <= {wallet.clan}
            sinks |= receivers
            holds[own] = held if after is None else after
    assert {edge for edge, failed in ends if failed and edge != "exact"} == {
        "one too many to oneself", "the second cannot be paid",
    }  # fmt: skip
    assert {edge for edge, _ in ends} == {*KINDS, "exact"} and ends["exact", True] > 100
    assert not sinks & set(chain.from_iterable(world.accounts)) and len(sinks) > 100


def _turns(sender: bytes, held: int, transfers: Iterable[Any]) -> bool:
    """Is one of the transfers of exactly what is there?"""
    for transfer in transfers:
        if transfer.amount == held:
            return True
        held -= transfer.amount if transfer.to != sender else 0
    return False


def test_a_number_that_is_asked_for_again_starts_from_the_same_balance(genesis: Genesis, world: World) -> None:
    workload, wallet = Edges(world, random_of(1, "w"), reads=0.0), genesis.wallet(0)
    held = {seq: {workload.next(wallet, seq).value["holds"] for _ in range(5)} for seq in range(20)}
    assert all(len(balances) == 1 for balances in held.values()) and len({*chain.from_iterable(held.values())}) > 5


def test_edges_ask_for_balances_of_accounts_in_use(genesis: Genesis, world: World) -> None:
    found = [task for _, task in tasks(Edges(world, random_of(1, "w"), reads=0.5), genesis)]
    asked = [bytes.fromhex(task.value["address"]) for task in found if task.f == "balance"]
    used = {transfer.to for task in found for transfer in task.operations if isinstance(transfer, Transfer)}
    own = {genesis.wallet(i).address for i in range(8)}
    assert 60 < len(asked) < 140 and set(asked) <= used | own and set(asked) & used - own and set(asked) & own
    assert all(not task.operations for task in found if task.f == "balance")


def test_lives_are_drawn_in_units_of_delta(genesis: Genesis, world: World) -> None:
    found = tasks(Edges(world, random_of(1, "w"), reads=0.0, short_lived=0.5, lifetimes=[0, 1.5]), genesis)
    lives = Counter(task.lifetime_ms for _, task in found)
    assert set(lives) == {None, 0, int(1.5 * genesis.config.parameters.delta_ms)} and 60 < lives[None] < 140


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("grinding", {"victims": ["n99"]}, "there is no node 'n99'"),
        ("transfers", {"max_amount": 0}, "max_amount"),
        ("transfers", {"overdraft": 2}, "overdraft"),
        ("transfers", {"amount": 2}, "unknown parameter amount"),
        ("list-append", {"keys": 0}, "keys"),
        ("list-append", {"reads": "half"}, "reads"),
        ("duplicates", {"copies": True}, "copies"),
        ("edges", {"reads": 1.5}, "reads"),
        ("edges", {"max_amount": 0}, "max_amount"),
        ("edges", {"max_transfers": 1}, "max_transfers"),
        ("edges", {"short_lived": "often"}, "short_lived"),
        ("edges", {"lifetimes": []}, "lifetimes"),
        ("edges", {"lifetimes": [1, -1]}, "lifetimes"),
        ("edges", {"lifetimes": 3}, "lifetimes"),
        ("transfer", {}, "did you mean 'transfers'"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any], says: str, world: World) -> None:
    with pytest.raises(UsageError, match=says):
        plugins.build("workloads", name, options, world, random_of(1, "w"))
