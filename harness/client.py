"""Wallets that talk to the gateways over HTTP, and write down what they were told (Jepsen's semantics).

A process is sequential: it has at most one operation in flight. ok = the gateway reported execution finality; fail =
refused, aborted or never sent: it did not take effect and never will; info = unknown: the process retires, and a new
process with a fresh account takes its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec

from harness.backends.port import Requests
from harness.genesis import Genesis, Wallet
from harness.http import NeverSentError, UnansweredError
from harness.recorder import Recorder
from harness.workloads.port import Task, Workload, unsigned
from nodes.messages import Transaction, encode, tx_id

POLL_S = 10.0  # one long poll
RETRY_S = 0.25


class Clock(Protocol):
    """The run's clock, as `faults.port.Cluster` has it."""

    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""
        ...


class Answer(msgspec.Struct, frozen=True):
    """How an operation ended. `advances`: the account's sequence number was used up."""

    kind: Literal["ok", "fail", "info"]
    error: str = ""
    phase: str = ""
    phases: dict[str, int] = {}
    reads: list[list[int]] = []
    advances: bool = True


class Tally(msgspec.Struct):
    """Operations so far, for progress lines."""

    invoked: int = 0
    ok: int = 0
    fail: int = 0
    info: int = 0


class GatewayClient:
    """The wallet's side of the gateway API. Never raises on network trouble: it answers, or keeps asking."""

    def __init__(self, http: Requests, urls: Mapping[str, str], clock: Clock) -> None:
        self._http = http
        self._urls = urls
        self._clock = clock

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
        answer = await self._wait(accepted, tx, data, deadline)
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

    async def _wait(self, gateway: str, tx: str, data: bytes, deadline: int) -> Answer:
        path, trouble = f"/transactions/{tx}?wait=exec&timeout_s={POLL_S:g}", ""
        while self._clock.now() < deadline:
            try:
                _, reply = await self._http.request("GET", self._urls[gateway], path, timeout_s=POLL_S * 2)
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


class Load:
    """`clients` processes that together start `rate` operations a second; never more than `clients` in flight."""

    def __init__(
        self,
        genesis: Genesis,
        workload: Workload,
        gateways: Mapping[str, str],
        recorder: Recorder,
        clock: Clock,
        rate: float,
        clients: int,
        http: Callable[[], AbstractAsyncContextManager[Requests]],
        timeout_s: float = 60.0,
    ) -> None:
        self._genesis = genesis
        self._workload = workload
        self._gateways = gateways
        self._recorder = recorder
        self._clock = clock
        self._rate = rate
        self._clients = clients
        self._http = http
        self._timeout_s = timeout_s
        self._next_process = 0
        self._next_wallet = 0
        self._next_start = 0  # ns: when the next operation may start
        self._closing = False
        self.tally = Tally()

    async def run(self) -> None:
        """Load the cluster until `close`; returns when nothing is in flight any more.

        Cancelling it turns what is in flight into info. Raises RecordingError.
        """
        self._next_start = self._clock.now()
        async with self._http() as http:
            client = GatewayClient(http, self._gateways, self._clock)
            workers = [asyncio.create_task(self._worker(client)) for _ in range(self._clients)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    def close(self) -> None:
        """Start no more operations."""
        self._closing = True

    async def _worker(self, client: GatewayClient) -> None:
        while not self._closing:
            self._next_process += 1
            await self._process(client, self._next_process - 1)

    async def _process(self, client: GatewayClient, process: int) -> None:
        """One process number until it retires (an operation of unknown outcome) or the load ends."""
        names = tuple(self._gateways)
        wallet, seq, own = self._fresh_wallet(), 0, names[process % len(names)]
        while await self._turn():
            task = self._workload.next(wallet, seq)
            transaction = self._sign(wallet, seq, task)
            answer = await self._operation(client, process, task, transaction, task.gateways or (own,))
            if answer.kind == "info":
                return
            if answer.advances:
                seq += 1
            elif answer.error.startswith("aborted"):  # how the account stands is not certain: take a fresh one
                wallet, seq = self._fresh_wallet(), 0

    def _fresh_wallet(self) -> Wallet:
        self._next_wallet += 1
        return self._genesis.wallet(self._next_wallet - 1)

    async def _turn(self) -> bool:
        """Wait for this worker's slot at the common rate; missed slots are not made up for. False when closing."""
        start = max(self._next_start, self._clock.now())
        self._next_start = start + int(1e9 / self._rate)
        await self._clock.sleep(max(0, start - self._clock.now()) / 1e9)
        return not self._closing

    def _sign(self, wallet: Wallet, seq: int, task: Task) -> Transaction:
        blank = unsigned(self._genesis.domain.chain, wallet, seq, task.operations, task.padding)
        statement = self._genesis.domain.transaction(tx_id(blank))
        return msgspec.structs.replace(blank, signature=wallet.signer.sign(statement))

    async def _operation(
        self, client: GatewayClient, process: int, task: Task, transaction: Transaction, gateways: tuple[str, ...]
    ) -> Answer:
        tx = tx_id(transaction).hex()
        self._recorder.record(process, "invoke", task.f, task.value, tx=tx, gateway=gateways[0])
        self.tally.invoked += 1
        try:
            answer = await client.perform(transaction, gateways, task.copies, self._timeout_s)
        except asyncio.CancelledError:
            self._conclude(process, task, tx, gateways[0], Answer("info", "the run ended first"))
            raise
        self._conclude(process, task, tx, gateways[0], answer)
        return answer

    def _conclude(self, process: int, task: Task, tx: str, gateway: str, answer: Answer) -> None:
        value = _with_reads(task, answer.reads) if answer.kind == "ok" else task.value
        self._recorder.record(
            process, answer.kind, task.f, value, tx=tx, gateway=gateway, phase=answer.phase, phases=answer.phases,
            error=answer.error,
        )  # fmt: skip
        setattr(self.tally, answer.kind, getattr(self.tally, answer.kind) + 1)


def _with_reads(task: Task, reads: list[list[int]]) -> Any:
    """The task's value with the lists that its reads saw, in order."""
    if task.f != "txn":
        return task.value
    seen = iter(reads)
    return [["r", mop[1], next(seen, None)] if mop[0] == "r" else mop for mop in task.value]
