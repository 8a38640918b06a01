"""What a wallet may conclude from what a gateway says, or does not say."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from harness.client import Answer, GatewayClient
from harness.http import NeverSentError, UnansweredError
from nodes.messages import Transaction, Transfer

TX = Transaction("chain", bytes(32), 0, 1000, (Transfer(bytes(32), 1),), b"", bytes(64))
ACCEPTED = (202, {"tx": "aa", "accepted": True})
APPLIED = (200, {"phase": "exec", "outcome": "applied", "phases": {"pre": 1, "exec": 2}, "reads": [[4]]})


class Script:
    """Stands in for HttpClient: gives the scripted answers in order, the last one for ever; keeps what was asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    async def request(
        self, method: str, base: str, path: str, body: bytes = b"", timeout_s: float = 1.0
    ) -> tuple[int, bytes]:
        self.asked.append((method, base))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer[0], msgspec.json.encode(answer[1])


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self._now = 0

    def now(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += int(seconds * 1e9)
        await asyncio.sleep(0)


async def perform(script: Script, gateways: tuple[str, ...] = ("g0",), copies: int = 1) -> Answer:
    http: Any = script
    client = GatewayClient(http, {g: f"http://{g}" for g in gateways}, Clock())
    return await client.perform(TX, gateways, copies, 5.0)


async def test_applied_and_certified_is_ok() -> None:
    assert await perform(Script(ACCEPTED, APPLIED)) == Answer("ok", "", "exec", {"pre": 1, "exec": 2}, [[4]])


async def test_a_refusal_is_fail_and_uses_no_number() -> None:
    answer = await perform(Script((400, {"accepted": False, "error": "bad signature"})))
    assert answer == Answer("fail", "refused by g0: bad signature", advances=False)


async def test_no_connection_is_never_sent() -> None:
    answer = await perform(Script(NeverSentError("refused")))
    assert (answer.kind, answer.advances) == ("fail", False)
    assert answer.error.startswith("never sent")


async def test_an_unanswered_submission_is_repeated() -> None:
    script = Script(UnansweredError("reset"), NeverSentError("restarting"), (503, {}), ACCEPTED, APPLIED)
    assert (await perform(script)).kind == "ok"
    assert [method for method, _ in script.asked] == ["POST"] * 4 + ["GET"]


async def test_a_refusal_after_silence_is_info() -> None:
    answer = await perform(Script(UnansweredError("reset"), (400, {"accepted": False, "error": "seq 0 is used"})))
    assert (answer.kind, answer.error) == ("info", "g0 did not answer: reset; then refused by g0: seq 0 is used")


async def test_silence_after_a_submission_is_info() -> None:
    answer = await perform(Script(UnansweredError("reset")))
    assert (answer.kind, answer.error) == ("info", "g0 did not answer: reset")


async def test_silence_after_acceptance_is_info() -> None:
    answer = await perform(Script(ACCEPTED, UnansweredError("reset")))
    assert answer.kind == "info"
    assert "timed out" in answer.error


async def test_not_final_yet_means_asking_again() -> None:
    pending = (200, {"phase": "ord", "outcome": "applied"})
    assert (await perform(Script(ACCEPTED, pending, (200, {"phase": "pre"}), APPLIED))).kind == "ok"


async def test_a_gateway_that_forgot_gets_the_same_bytes_again() -> None:
    script = Script(ACCEPTED, (200, {"phase": "unknown"}), ACCEPTED, APPLIED)
    assert (await perform(script)).kind == "ok"
    assert [method for method, _ in script.asked] == ["POST", "GET", "POST", "GET"]


async def test_aborts_are_fail_and_only_an_overdraft_uses_a_number() -> None:
    for reason, advances in (("insufficient", True), ("duplicate", False)):
        answer = await perform(Script(ACCEPTED, (200, {"outcome": "aborted", "reason": reason, "phase": "exec"})))
        assert (answer.kind, answer.error, answer.advances) == ("fail", f"aborted: {reason}", advances)


async def test_a_refused_result_is_info() -> None:
    answer = await perform(Script(ACCEPTED, (200, {"outcome": "refused", "reason": "another root", "phase": "ord"})))
    assert (answer.kind, answer.error) == ("info", "refused: another root")


async def test_duplicates_need_one_gateway_that_accepts() -> None:
    script = Script((400, {"accepted": False, "error": "known"}), ACCEPTED, ACCEPTED, ACCEPTED, APPLIED)
    assert (await perform(script, ("g0", "g1"), 2)).kind == "ok"
    posts = [base for method, base in script.asked if method == "POST"]
    assert sorted(posts) == ["http://g0"] * 3 + ["http://g1"] * 3
