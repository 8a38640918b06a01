"""What a process of the load does with its account: short lives, questions, and the sequence number after each end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness import commands
from harness.client import OVERDUE_S, GatewayClient, WalletDriver, WalletProcess
from harness.genesis import Wallet, make_genesis
from harness.http import NeverSentError, UnansweredError
from harness.trial import Trial, trial
from harness.workloads.port import EXPIRY_MS, Task
from nodes.messages import Transaction, Transfer
from tests.unit.scenarios import scenario
from tests.unit.test_client import ACCEPTED, APPLIED, Clock, Script

GENESIS = make_genesis(scenario(), 7)
NOW_MS = 3_000
ADDRESS = "ab" * 32
TRANSFER = Task("transfer", {"from": "me"}, (Transfer(bytes(32), 1),))
SHORT = msgspec.structs.replace(TRANSFER, lifetime_ms=40)
QUESTION = Task("balance", {"address": ADDRESS}, ())
HELD = {"address": ADDRESS, "balance": 12, "seq": 3, "height": 9}
EXPIRED = (200, {"phase": "aborted", "outcome": "aborted", "reason": "expired"})


class Listed:
    """A workload of given tasks; keeps for whom and for which number it was asked."""

    name = "listed"

    def __init__(self, *tasks: Task) -> None:
        self._tasks = iter(tasks)
        self.asked: list[tuple[int, int]] = []

    def next(self, sender: Wallet, seq: int) -> Task:
        self.asked.append((sender.number, seq))
        return next(self._tasks)


class Gateway(Script):
    """A script that also keeps the transactions and the paths."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.taken: list[Transaction] = []
        self.paths: list[str] = []

    async def request(
        self, method: str, base: str, path: str, body: bytes = b"", timeout_s: float = 1.0
    ) -> tuple[int, bytes]:
        self.paths.append(path)
        if method == "POST":
            self.taken.append(msgspec.msgpack.decode(body, type=Transaction))
        return await super().request(method, base, path, body, timeout_s)


def process_of(gateway: Gateway, workload: Listed) -> WalletProcess:
    clock, http = Clock(), gateway
    clock._now = NOW_MS * 1_000_000
    client = GatewayClient(http, {"g0": "http://g0"}, clock)  # type: ignore[arg-type]
    return WalletProcess(WalletDriver(GENESIS, workload), client, "g0")


async def test_a_short_life_is_signed_and_told() -> None:
    gateway, workload = Gateway(ACCEPTED, APPLIED), Listed(SHORT)
    process = process_of(gateway, workload)
    asked = process.next()
    assert asked.value == {"from": "me", "expiry_ms": NOW_MS + 40} and SHORT.value == {"from": "me"}
    told = await process.perform()
    assert told.kind == "ok" and told.value == asked.value
    assert [transaction.expiry_ms for transaction in gateway.taken] == [NOW_MS + 40]
    assert gateway.paths[-1].endswith(f"timeout_s={OVERDUE_S + 0.04:g}")


async def test_any_other_one_lives_as_long_as_ever() -> None:
    gateway = Gateway(ACCEPTED, APPLIED)
    process = process_of(gateway, Listed(TRANSFER))
    assert process.next().value is TRANSFER.value
    await process.perform()
    assert gateway.taken[0].expiry_ms == EXPIRY_MS and gateway.paths[-1].endswith("timeout_s=10")


@pytest.mark.parametrize(
    ("answers", "after"),
    [
        ((ACCEPTED, APPLIED), (0, 1)),
        ((ACCEPTED, EXPIRED), (0, 0)),  # it used up nothing, and never will
        (((400, {"accepted": False, "error": "expired: .."}),), (0, 0)),
        ((ACCEPTED, (200, {**EXPIRED[1], "reason": "insufficient"})), (0, 1)),
        ((ACCEPTED, (200, {**EXPIRED[1], "reason": "duplicate"})), (1, 0)),  # somebody else used its number?
    ],
)
async def test_the_account_after_each_end(answers: tuple[Any, ...], after: tuple[int, int]) -> None:
    workload = Listed(SHORT, TRANSFER)
    process = process_of(Gateway(*answers), workload)
    process.next()
    await process.perform()
    process.next()
    assert workload.asked[1][1] == after[1]
    assert (workload.asked[1][0] != workload.asked[0][0]) == bool(after[0])


async def test_a_transaction_that_nobody_includes_is_given_up_soon_after_its_end() -> None:
    class Slow(Gateway):
        async def request(self, *words: Any, **more: Any) -> tuple[int, bytes]:
            answer = await super().request(*words, **more)
            if words[0] == "GET":
                clock._now += int(OVERDUE_S * 1e9)
            return answer

    gateway = Slow(ACCEPTED, (200, {"phase": "accepted"}))
    process = process_of(gateway, Listed(SHORT))
    clock: Any = process._client._clock
    process.next()
    told = await process.perform()
    assert (told.kind, told.error) == ("info", "timed out; last phase accepted") and len(gateway.paths) == 3


async def test_a_question_is_answered_and_uses_up_nothing() -> None:
    gateway, workload = Gateway((200, HELD), ACCEPTED, APPLIED), Listed(QUESTION, TRANSFER)
    process = process_of(gateway, workload)
    asked = process.next()
    assert (asked.f, asked.value, asked.tx, asked.gateway) == ("balance", {"address": ADDRESS}, "", "g0")
    told = await process.perform()
    assert (told.kind, told.value, gateway.paths) == ("ok", HELD, [f"/accounts/{ADDRESS}"])
    process.next()
    assert workload.asked[0] == workload.asked[1]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, {"address": ADDRESS, "error": "2001 heights behind"}), "no balance from g0: 2001 heights behind"),
        ((503, {"error": "busy"}), "no balance from g0: busy"),
        ((200, {**HELD, "seq": None}), "no balance from g0: 200"),
        ((200, {**HELD, "balance": True}), "no balance from g0: 200"),
        (NeverSentError("refused"), "g0 did not answer: refused"),
        (UnansweredError("reset"), "g0 did not answer: reset"),
    ],
)
async def test_a_balance_that_cannot_be_had_is_a_fail(answer: Any, says: str) -> None:
    process = process_of(Gateway(answer), Listed(QUESTION))
    process.next()
    told = await process.perform()
    assert (told.kind, told.error, told.value) == ("fail", says, None)


# ---------------------------------------------------------------- in the simulator
@pytest.fixture(scope="module")
def edges() -> Trial:
    return trial(commands.read_scenario("edges"), 2)


def test_equal_seeds_give_equal_runs_although_lives_depend_on_the_clock(edges: Trial) -> None:
    assert trial(commands.read_scenario("edges"), 2).digest == edges.digest


def test_what_the_workload_thinks_an_account_holds_is_what_it_holds(edges: Trial) -> None:
    """Whoever is asked to pay what he has can, and whoever is asked for more cannot: the model is exact."""
    ends = {"ok": 0, "fail": 0}
    for operation in edges.run.history:
        if operation.f != "transfer" or operation.type not in ends or "expired" in operation.error:
            continue
        beyond = operation.value["edge"] in ("one too many to oneself", "the second cannot be paid")
        assert operation.error == ("aborted: insufficient" if beyond else ""), operation
        ends[operation.type] += 1
    assert min(ends.values()) > 5


def test_lives_end_at_the_door_on_the_way_and_not_at_all() -> None:
    found = set()
    for seed in (1, 2, 3):
        for operation in trial(commands.read_scenario("edges"), seed, ["fork"]).run.history:
            if operation.process != "nemesis" and operation.type != "invoke" and "expiry_ms" in operation.value:
                found.add(operation.error.partition(" by ")[0].partition(";")[0])
    assert {"", "refused", "aborted: expired"} <= found


def test_gateways_in_the_simulator_answer_for_accounts(edges: Trial) -> None:
    told = [o for o in edges.run.history if o.f == "balance" and o.type == "ok"]
    assert len(told) > 10 and any(o.value["height"] > 0 for o in told)
    (verdict,) = [v for v in edges.verdicts if v.property == "acknowledged"]
    assert verdict.measures["balances_told"] == len(told)
