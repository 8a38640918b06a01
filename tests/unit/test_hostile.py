"""Wallets that cheat: what they hand in, that honest places refuse it, and that they still count right themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from checkers.soundness import history_flaws
from harness import forging, plugins
from harness.client import EXPIRED, Answer, WalletDriver, WalletProcess
from harness.forging import DOUBLE_SPEND, FORGERIES, OTHER_ACCOUNT, OTHER_CLAN
from harness.genesis import Genesis, make_genesis, random_of
from harness.load import Asked, Load, Told
from harness.outcome import UsageError
from harness.recorder import Recorder
from harness.workloads.hostile import Hostile
from harness.workloads.port import Task, World, unsigned
from harness.workloads.transfers import Transfers
from nodes.crypto import Ed25519Verifier
from nodes.gateway.door import Door
from nodes.messages import Transaction, Transfer, tx_id
from nodes.validity import transaction_fault
from results.history import read_history
from tests.unit.scenarios import changed, scenario

REFUSED = {  # forgery -> how the door's refusal begins
    "unsigned": "bad-signature",
    "other-signer": "bad-signature",
    "other-signature": "bad-signature",
    "other-account": "bad-signature",
    "other-chain": "wrong-chain",
    "other-clan": "foreign",
}
OK = Answer("ok")
DUPLICATE = Answer("fail", "aborted: duplicate", advances=False)
INSUFFICIENT = Answer("fail", "aborted: insufficient")
REFUSAL = Answer("fail", "refused by g0: bad-signature", advances=False)
LAPSED = Answer("fail", EXPIRED, advances=False)
INFO = Answer("info", "timed out")


@pytest.fixture(scope="module")
def genesis() -> Genesis:
    return make_genesis(changed("nodes = 4", "nodes = 10\nclans = 2"), 7)


@pytest.fixture(scope="module")
def world(genesis: Genesis) -> World:
    return World.of(genesis)


def drawn(genesis: Genesis, kind: str, seed: int = 1) -> tuple[Task, Transaction]:
    """A task of that kind by wallet 0, at number 3, and what the client hands in for it."""
    workload = Hostile(World.of(genesis), random_of(seed, "w"), honest=0.0, forgeries=[kind])
    wallet = genesis.wallet(0)
    task = workload.next(wallet, 3)
    return task, WalletDriver(genesis, workload).sign(wallet, 3, task, 0)


# ---------------------------------------------------------------- the workload
def test_honest_and_forged_are_drawn_as_told(genesis: Genesis, world: World) -> None:
    workload = Hostile(world, random_of(1, "w"), honest=0.5)
    kinds = Counter(workload.next(genesis.wallet(i % 8), i // 8).forgery for i in range(2000))
    assert set(kinds) == {"", *FORGERIES}
    assert 900 < kinds[""] < 1100 and all(100 < kinds[kind] < 190 for kind in FORGERIES)


def test_a_wholly_honest_one_makes_plain_transfers(genesis: Genesis, world: World) -> None:
    for i in range(50):
        task = Hostile(world, random_of(i, "w"), honest=1.0).next(genesis.wallet(0), i)
        assert (task.forgery, task.rival, task.account, task.gateways) == ("", None, None, ())
        assert set(task.value) == set(Transfers(world, random_of(i, "w")).next(genesis.wallet(0), i).value)


def test_the_history_tells_which_forgery_it_is(genesis: Genesis) -> None:
    for kind in FORGERIES:
        task, transaction = drawn(genesis, kind)
        (transfer,) = transaction.operations
        assert isinstance(transfer, Transfer)
        assert task.value["forgery"] == kind == task.forgery
        assert (task.value["from"], task.value["seq"]) == (transaction.sender.hex(), transaction.seq)
        assert (task.value["to"], task.value["amount"]) == (transfer.to.hex(), transfer.amount)


def test_a_thief_uses_the_next_number_of_the_victim(genesis: Genesis, world: World) -> None:
    workload = Hostile(world, random_of(1, "w"), honest=0.0, forgeries=[OTHER_ACCOUNT])
    wallets = [genesis.wallet(i) for i in range(16)]
    for number, wallet in enumerate(wallets):
        workload.next(wallet, 10 + number)
    known = {wallet.address: 10 + number for number, wallet in enumerate(wallets)}
    for _ in range(40):
        task = workload.next(wallets[0], 10)
        assert task.account is not None and task.account[0] != wallets[0].address
        assert task.account[1] == known.get(task.account[0], 0)
        assert task.operations == (Transfer(wallets[0].address, task.value["amount"]),)


def test_rivals_have_one_number_and_go_through_two_gateways(genesis: Genesis) -> None:
    for seed in range(20):
        task, transaction = drawn(genesis, DOUBLE_SPEND, seed)
        assert task.rival is not None and task.rival.rival is None
        assert {*task.gateways, *task.rival.gateways} == {"g0", "g1"}
        assert (task.value["gateway"], task.rival.value["gateway"]) == (*task.gateways, *task.rival.gateways)
        assert task.value["seq"] == task.rival.value["seq"] == 3
        other = replace(transaction, operations=task.rival.operations)
        assert tx_id(other) != tx_id(transaction)


def test_with_one_gateway_both_go_through_it() -> None:
    lonely = make_genesis(changed("gateways = 2", "gateways = 1"), 7)
    task, _ = drawn(lonely, DOUBLE_SPEND)
    assert task.rival is not None and task.gateways == task.rival.gateways == ("g0",)


def test_one_clan_has_no_other() -> None:
    world = World.of(make_genesis(scenario(), 7))
    workload = Hostile(world, random_of(1, "w"), honest=0.0)
    wallet = make_genesis(scenario(), 7).wallet(0)
    kinds = {workload.next(wallet, seq).forgery for seq in range(200)}
    assert kinds == set(FORGERIES) - {OTHER_CLAN}
    with pytest.raises(UsageError, match="two clans"):
        plugins.build("workloads", "hostile", {"forgeries": [OTHER_CLAN]}, world, random_of(1, "w"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"honest": 1.5}, "honest"),
        ({"max_amount": 0}, "max_amount"),
        ({"forgeries": "unsigned"}, "list of names"),
        ({"forgeries": ["unsinged"]}, "there is no 'unsinged'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], says: str, world: World) -> None:
    with pytest.raises(UsageError, match=says):
        plugins.build("workloads", "hostile", options, world, random_of(1, "w"))


# ---------------------------------------------------------------- what honest places say
@pytest.mark.parametrize("kind", REFUSED)
def test_the_door_refuses_it_for_the_reason_that_it_was_made_for(genesis: Genesis, kind: str) -> None:
    _, transaction = drawn(genesis, kind)
    door = Door(genesis.committee, genesis.domain, Ed25519Verifier())
    clan = genesis.committee.clan_of_key(transaction.sender)
    fault = door.fault(0, tx_id(transaction), transaction, clan)
    assert fault is not None and fault.startswith(REFUSED[kind])


@pytest.mark.parametrize("kind", sorted(REFUSED.keys() - {OTHER_CLAN}))
def test_families_refuse_it_too(genesis: Genesis, kind: str) -> None:
    _, transaction = drawn(genesis, kind)
    clan = genesis.committee.clan_of_key(transaction.sender)
    rest = (tx_id(transaction), clan, genesis.committee, genesis.domain, Ed25519Verifier())
    assert transaction_fault(transaction, *rest) is not None


def test_nothing_else_is_wrong_with_it(genesis: Genesis) -> None:
    """One rule less and it would be taken: another chain's transaction is good there, the others lack a signature."""
    wallets = {genesis.wallet(i).address: genesis.wallet(i) for i in range(16)}
    for kind in sorted(REFUSED.keys() - {OTHER_CLAN}):
        _, transaction = drawn(genesis, kind)
        domain = replace(genesis.domain, chain=transaction.chain)
        if kind != "other-chain":
            statement = domain.transaction(tx_id(transaction))
            transaction = replace(transaction, signature=wallets[transaction.sender].signer.sign(statement))
        clan = genesis.committee.clan_of_key(transaction.sender)
        door = Door(genesis.committee, domain, Ed25519Verifier())
        assert door.fault(0, tx_id(transaction), transaction, clan) is None


def test_both_of_a_double_spend_are_good_by_themselves(genesis: Genesis) -> None:
    task, transaction = drawn(genesis, DOUBLE_SPEND)
    assert task.rival is not None
    driver = WalletDriver(genesis, Hostile(World.of(genesis), random_of(1, "w")))
    door = Door(genesis.committee, genesis.domain, Ed25519Verifier())
    for each in (transaction, driver.sign(genesis.wallet(0), 3, task.rival, 0)):
        assert door.fault(0, tx_id(each), each, genesis.wallet(0).clan) is None


def test_the_other_signer_has_an_account_of_its_own(genesis: Genesis) -> None:
    accounts = {account.address for account in genesis.config.accounts}
    for number in range(len(accounts) + 3):
        wallet = genesis.wallet(number)
        other = forging.another(genesis, wallet)
        assert other.address != wallet.address and other.address.hex() in accounts


def test_an_unknown_forgery_is_refused(genesis: Genesis) -> None:
    blank = unsigned("c", genesis.wallet(0), 0, (Transfer(bytes(32), 1),))
    with pytest.raises(ValueError, match="no forgery 'unsinged'"):
        forging.signed(genesis, genesis.wallet(0), blank, "unsinged")


# ---------------------------------------------------------------- the wallet's numbers
class Gateways:
    """Stands in for GatewayClient: each gateway has its answer."""

    def __init__(self, **answers: Answer) -> None:
        self._answers = answers
        self.asked: list[tuple[str, Transaction]] = []

    def now_ms(self) -> int:
        return 0

    async def perform(
        self, transaction: Transaction, gateways: tuple[str, ...], copies: int, timeout_s: float
    ) -> Answer:
        self.asked.append((gateways[0], transaction))
        await asyncio.sleep(0)
        return self._answers[gateways[0]]


class One:
    """A workload of one kind of task; keeps what it was asked for."""

    name: ClassVar[str] = "one"

    def __init__(self, genesis: Genesis, kind: str) -> None:
        self._inner = Hostile(World.of(genesis), random_of(1, "w"), honest=0.0, forgeries=[kind])
        self.asked: list[tuple[int, int]] = []

    def next(self, sender: Any, seq: int) -> Task:
        self.asked.append((sender.number, seq))
        return self._inner.next(sender, seq)


async def after(genesis: Genesis, kind: str, first: Answer, second: Answer) -> tuple[Told, tuple[int, int]]:
    """How one operation ended, the first transaction and its rival having these answers; and the wallet and number of
    the next one."""
    workload = One(genesis, kind)
    gateways: Any = Gateways(g0=first, g1=second)
    process = WalletProcess(WalletDriver(genesis, workload), gateways, "g0")
    while True:  # until the first goes through g0
        asked = process.next()
        if asked.gateway == "g0":
            break
    assert (asked.rival is not None) == (kind == DOUBLE_SPEND)
    told = await process.perform()
    if asked.rival is not None:
        assert {tx_id(transaction).hex() for _, transaction in gateways.asked} == {asked.tx, asked.rival.tx}
        assert {transaction.seq for _, transaction in gateways.asked} == {0}
    process.next()
    return told, workload.asked[-1]


@pytest.mark.parametrize(
    ("first", "second", "follows"),
    [
        (OK, DUPLICATE, (0, 1)),
        (DUPLICATE, OK, (0, 1)),
        (INSUFFICIENT, DUPLICATE, (0, 1)),
        (DUPLICATE, INSUFFICIENT, (0, 1)),
        (OK, OK, (0, 1)),  # what must not be: still one number
        (OK, INFO, (0, 1)),
        (OK, REFUSAL, (0, 1)),
        (REFUSAL, OK, (0, 1)),
        (REFUSAL, REFUSAL, (0, 0)),
        (REFUSAL, LAPSED, (0, 0)),
        (DUPLICATE, DUPLICATE, (1, 0)),
        (DUPLICATE, INFO, (1, 0)),
        (REFUSAL, INFO, (1, 0)),
        (REFUSAL, DUPLICATE, (1, 0)),
    ],
)
async def test_a_double_spend_uses_one_number_or_none(
    genesis: Genesis, first: Answer, second: Answer, follows: tuple[int, int]
) -> None:
    told, following = await after(genesis, DOUBLE_SPEND, first, second)
    assert told.rival is not None
    assert (told.kind, told.rival.kind) == (first.kind, second.kind)
    assert following == follows


@pytest.mark.parametrize("kind", sorted(FORGERIES))
async def test_a_refusal_uses_no_number(genesis: Genesis, kind: str) -> None:
    told, following = await after(genesis, kind, REFUSAL, REFUSAL)
    assert (told.kind, following) == ("fail", (0, 0))


@pytest.mark.parametrize(("answer", "follows"), [(OK, (0, 1)), (DUPLICATE, (1, 0))])
async def test_a_forgery_that_is_taken_uses_the_number_up(
    genesis: Genesis, answer: Answer, follows: tuple[int, int]
) -> None:
    assert (await after(genesis, "unsigned", answer, answer))[1] == follows


@pytest.mark.parametrize("answer", [OK, DUPLICATE, INSUFFICIENT, REFUSAL])
async def test_what_happens_to_a_stolen_account_is_not_the_thiefs_number(genesis: Genesis, answer: Answer) -> None:
    assert (await after(genesis, OTHER_ACCOUNT, answer, answer))[1] == (0, 0)


# ---------------------------------------------------------------- the history
class Still:
    """A cluster of which the load needs the clock only."""

    def now(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Pairs:
    """Processes whose every operation has a rival. `told` None: nobody ever hears how it ended."""

    def __init__(self, told: Told | None, enough: asyncio.Event, count: int) -> None:
        """`enough` is set when that many operations are under way or done."""
        self._told, self._enough, self._missing = told, enough, count

    def next(self) -> Asked:
        return Asked("transfer", 1, "aa", "g0", Asked("transfer", 2, "bb", "g1"))

    async def perform(self) -> Told:
        self._missing -= 1
        if not self._missing:
            self._enough.set()
        if self._told is None:
            await asyncio.Event().wait()
            raise AssertionError
        return self._told

    @asynccontextmanager
    async def open(self, cluster: Any) -> Any:
        yield lambda number: self


async def test_a_rival_is_an_operation_of_a_process_of_its_own(tmp_path: Path) -> None:
    enough = asyncio.Event()
    driver, cluster = Pairs(Told("ok", rival=Told("fail", error="aborted: duplicate")), enough, 3), Still()
    with Recorder(tmp_path / "h", cluster.now) as recorder:
        load: Any = Load(driver, cluster, recorder, 100, 1)  # type: ignore[arg-type]
        running = asyncio.create_task(load.run())
        await enough.wait()
        load.close()
        await running
    history = list(read_history(tmp_path / "h"))
    assert not history_flaws(history)
    assert [(o.process, o.type, o.tx) for o in history[:8]] == [
        (0, "invoke", "aa"), (1, "invoke", "bb"), (0, "ok", "aa"), (1, "fail", "bb"),
        (0, "invoke", "aa"), (2, "invoke", "bb"), (0, "ok", "aa"), (2, "fail", "bb"),
    ]  # fmt: skip
    assert load.tally.invoked == load.tally.ok + load.tally.fail


async def test_a_rival_in_flight_when_the_run_ends_is_info_as_well(tmp_path: Path) -> None:
    begun, cluster = asyncio.Event(), Still()
    with Recorder(tmp_path / "h", cluster.now) as recorder:
        load: Any = Load(Pairs(None, begun, 1), cluster, recorder, 100, 1)  # type: ignore[arg-type]
        running = asyncio.create_task(load.run())
        await begun.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    ends = [(o.process, o.type) for o in read_history(tmp_path / "h") if o.type != "invoke"]
    assert ends == [(0, "info"), (1, "info")]
