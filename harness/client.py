"""Wallets that talk to the gateways over HTTP (how they are the load of a run: harness/load.py).

ok = the gateway reported execution finality; fail = refused, aborted or never sent: it did not take effect and never
will; info = unknown: the process retires, and a new process with a fresh account takes its place. A balance that could
not be had is a fail: a question has no effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from harness.backends.port import Requests, RunningCluster
from harness.forging import signed
from harness.genesis import Genesis, Wallet
from harness.http import NeverSentError, UnansweredError
from harness.load import Asked, Clock, Opening, Told
from harness.workloads.port import BALANCE, EXPIRY_MS, Task, Workload, unsigned
from nodes.messages import Transaction, encode, tx_id

POLL_S = 10.0  # one long poll
RETRY_S = 0.25
OPERATION_S = 60.0  # an operation whose end is not known by then is info
OVERDUE_S = 2.0  # the same for a transaction that expires, from then on: nobody tells a wallet that it was dropped
EXPIRED = "aborted: expired"  # used up nothing, and never will: times of blocks never go back
_MS = 1_000_000


class Answer(msgspec.Struct, frozen=True):
    """How an operation ended. `advances`: the account's sequence number was used up."""

    kind: Literal["ok", "fail", "info"]
    error: str = ""
    phase: str = ""
    phases: dict[str, int] = {}
    reads: list[list[int]] = []
    advances: bool = True


class GatewayClient:
    """The wallet's side of the gateway API. Never raises on network trouble: it answers, or keeps asking."""

    def __init__(self, http: Requests, urls: Mapping[str, str], clock: Clock) -> None:
        self._http = http
        self._urls = urls
        self._clock = clock

    def now_ms(self) -> int:
        """Milliseconds since the start of the run."""
        return self._clock.now() // _MS

    async def balance(self, gateway: str, address: str) -> Told:
        """Ask once what an account (hex) holds: ok with balance, next sequence number and the height of the answer."""
        try:
            code, reply = await self._http.request("GET", self._urls[gateway], f"/accounts/{address}")
        except ConnectionError as error:
            return Told("fail", error=f"{gateway} did not answer: {error}")
        body = _body(reply)
        value = {name: body.get(name) for name in ("balance", "seq", "height")}
        if code != 200 or not all(type(figure) is int for figure in value.values()):
            return Told("fail", error=f"no balance from {gateway}: {body.get('error') or code}")
        return Told("ok", {"address": address, **value})

    async def perform(
        self, transaction: Transaction, gateways: tuple[str, ...], copies: int, timeout_s: float
    ) -> Answer:
        """Submit through each gateway `copies` times and wait for the end of it, or for `timeout_s`."""
        deadline = self._clock.now() + int(timeout_s * 1e9)
        data, tx = encode(transaction), tx_id(transaction).hex()
        order = gateways * copies
        failures = await asyncio.gather(*(self._submit(g, data, deadline) for g in order))
        accepted = next((g for g, failure in zip(order, failures, strict=True) if failure is None), None)
        if accepted is None:
            refusals = [failure for failure in failures if failure is not None]
            # One submission that may have arrived leaves the whole operation open.
            return next((refusal for refusal in refusals if refusal.kind == "info"), refusals[0])
        answer = await self._wait(accepted, tx, data, deadline, min(POLL_S, timeout_s))
        if copies > 1 and answer.kind == "ok":
            await asyncio.gather(*(self._submit(g, data, deadline) for g in gateways))  # once more, after the effect
        return answer

    async def _submit(self, gateway: str, data: bytes, deadline: int) -> Answer | None:
        """None if accepted; else fail when it certainly was not, info when it may have been."""
        doubt = ""
        while True:
            try:
                code, reply = await self._http.request("POST", self._urls[gateway], "/transactions", data)
                if code < 500:
                    body = _body(reply)
                    if body.get("accepted"):
                        return None
                    refusal = f"refused by {gateway}: {body.get('error') or code}"
                    if doubt:  # an earlier attempt may be what it is refused for
                        return Answer("info", f"{doubt}; then {refusal}")
                    return Answer("fail", refusal, advances=False)
                doubt = f"{gateway} answered {code}"
            except NeverSentError as error:
                if not doubt:
                    return Answer("fail", f"never sent: {gateway} does not answer: {error}", advances=False)
            except UnansweredError as error:
                doubt = f"{gateway} did not answer: {error}"
            if self._clock.now() >= deadline:
                return Answer("info", doubt)
            await self._clock.sleep(RETRY_S)

    async def _wait(self, gateway: str, tx: str, data: bytes, deadline: int, poll_s: float) -> Answer:
        path, trouble = f"/transactions/{tx}?wait=exec&timeout_s={poll_s:g}", ""
        while self._clock.now() < deadline:
            try:
                _, reply = await self._http.request("GET", self._urls[gateway], path, timeout_s=poll_s * 2)
                status = _body(reply)
                answer = _final(status)
                if answer is not None:
                    return answer
                if status.get("phase") == "unknown":  # the gateway lost it (a restart): the same bytes are harmless
                    await self._submit(gateway, data, deadline)
                trouble = f"last phase {status.get('phase') or 'none'}"
            except ConnectionError as error:
                trouble = f"{gateway} did not answer: {error}"
                await self._clock.sleep(RETRY_S)
        return Answer("info", f"timed out; {trouble}")


def _body(reply: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(reply, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _final(status: dict[str, Any]) -> Answer | None:
    """What a status means once it will not change any more; None before."""
    phase, outcome, reason = status.get("phase", ""), status.get("outcome", ""), status.get("reason", "")
    phases = {str(k): int(v) for k, v in status.get("phases", {}).items()}
    if outcome == "aborted":
        return Answer("fail", f"aborted: {reason}", phase, phases, advances=reason == "insufficient")
    if outcome == "refused":  # ordered, but the certified result is not the one the gateway computed
        return Answer("info", f"refused: {reason}", phase, phases)
    if outcome == "applied" and phase == "exec":
        return Answer("ok", "", phase, phases, status.get("reads", []))
    return None


class WalletDriver:
    """Wallets of a cluster of ours: a process has one funded account, and one gateway of its own."""

    def __init__(self, genesis: Genesis, workload: Workload, timeout_s: float = OPERATION_S) -> None:
        self._genesis = genesis
        self._workload = workload
        self._timeout_s = timeout_s
        self._next_wallet = 0

    @asynccontextmanager
    async def open(self, cluster: RunningCluster) -> AsyncIterator[Opening]:
        """See `harness.load.Driver`."""
        names = tuple(cluster.gateways)
        async with cluster.http() as http:
            client = GatewayClient(http, cluster.gateways, cluster)
            yield lambda number: WalletProcess(self, client, names[number % len(names)])

    def fresh_wallet(self) -> Wallet:
        """The next account that nobody has used."""
        self._next_wallet += 1
        return self._genesis.wallet(self._next_wallet - 1)

    def task(self, wallet: Wallet, seq: int) -> Task:
        """What the workload asks for."""
        return self._workload.next(wallet, seq)

    def sign(self, wallet: Wallet, seq: int, task: Task, now_ms: int) -> Transaction:
        """The task as the wallet's transaction, signed at `now_ms` of the run, or forged if the task says so."""
        expiry_ms = EXPIRY_MS if task.lifetime_ms is None else now_ms + task.lifetime_ms
        blank = unsigned(self._genesis.domain.chain, wallet, seq, task.operations, task.padding, expiry_ms)
        if task.account is not None:
            blank = msgspec.structs.replace(blank, sender=task.account[0], seq=task.account[1])
        return signed(self._genesis, wallet, blank, task.forgery)

    async def perform(self, client: GatewayClient, transaction: Transaction, task: Task, own: str) -> Answer:
        """Submit and wait, within this driver's patience."""
        timeout_s = self._timeout_s
        if task.lifetime_ms is not None:
            timeout_s = min(timeout_s, task.lifetime_ms / 1e3 + OVERDUE_S)
        return await client.perform(transaction, task.gateways or (own,), task.copies, timeout_s)


class WalletProcess:
    """One process: an account and its next sequence number."""

    def __init__(self, driver: WalletDriver, client: GatewayClient, own: str) -> None:
        self._driver = driver
        self._client = client
        self._own = own
        self._wallet, self._seq = driver.fresh_wallet(), 0
        self._task: Task
        self._value: Any  # the task's, as the history has it
        self._transaction: Transaction
        self._rival: Transaction | None

    def next(self) -> Asked:
        """See `harness.load.Process`."""
        task = self._task = self._driver.task(self._wallet, self._seq)
        self._value = task.value
        asked = (task.gateways or (self._own,))[0]
        if task.f == BALANCE:
            return Asked(task.f, task.value, gateway=asked)
        transaction = self._transaction = self._driver.sign(self._wallet, self._seq, task, self._client.now_ms())
        if task.lifetime_ms is not None:
            self._value = {**task.value, "expiry_ms": transaction.expiry_ms}
        return Asked(task.f, self._value, tx_id(transaction).hex(), asked, self._ask_rival(task.rival))

    def _ask_rival(self, task: Task | None) -> Asked | None:
        """The other transaction under the number of the one that was just signed."""
        self._rival = None
        if task is None:
            return None
        self._rival = self._driver.sign(self._wallet, self._seq, task, self._client.now_ms())
        return Asked(task.f, task.value, tx_id(self._rival).hex(), (task.gateways or (self._own,))[0])

    async def perform(self) -> Told:
        """See `harness.load.Process`."""
        if self._task.f == BALANCE:
            return await self._client.balance((self._task.gateways or (self._own,))[0], self._task.value["address"])
        if self._rival is not None and self._task.rival is not None:
            answer, other = await asyncio.gather(
                self._driver.perform(self._client, self._transaction, self._task, self._own),
                self._driver.perform(self._client, self._rival, self._task.rival, self._own),
            )
            self._count(answer, other)
            rival = Told(other.kind, None, other.error, other.phase, other.phases)
        else:
            answer, rival = await self._driver.perform(self._client, self._transaction, self._task, self._own), None
            self._count(answer)
        value = _with_reads(self._task, self._value, answer.reads) if answer.kind == "ok" else None
        return Told(answer.kind, value, answer.error, answer.phase, answer.phases, rival=rival)

    def _count(self, answer: Answer, *others: Answer) -> None:
        """The account's next number after transactions that all had the same one, of which at most one can use it up.

        Nothing to count if the process retires (the first answer is unknown) or if the number was not its own.
        """
        if answer.kind == "info" or self._task.account is not None:
            return
        answers = (answer, *others)
        if any(each.kind != "info" and each.advances for each in answers):
            self._seq += 1
        elif any(each.kind == "info" or _aborted(each) for each in answers):
            self._wallet, self._seq = self._driver.fresh_wallet(), 0  # how the account stands is not certain


def _aborted(answer: Answer) -> bool:
    """Executed without effect, for a reason that says something about the account."""
    return answer.error.startswith("aborted") and answer.error != EXPIRED


def _with_reads(task: Task, value: Any, reads: list[list[int]]) -> Any:
    """The task's value with the lists that its reads saw, in order."""
    if task.f != "txn":
        return value
    seen = iter(reads)
    return [["r", mop[1], next(seen, None)] if mop[0] == "r" else mop for mop in value]
