"""The harness's end of a warden: requests with answers, and the lease renewed as long as our event loop turns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import threading
import time
from pathlib import Path
from typing import Any

from harness.backends.ssh.connection import Connection
from harness.outcome import MachineError

ANSWER_S = 60.0
RENEW_S = 1.0
SAMPLES = 50
EXACT_NS = 200_000
WARDEN = "harness.backends.ssh.host.warden"


class WardenClient:
    """Open it with `start`, in the event loop. Raises MachineError for everything that goes wrong on the host."""

    def __init__(self, connection: Connection, channel: Any) -> None:
        self.connection = connection
        self.lapsed = ""  # why the host has healed itself
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._ended = ""  # why the warden is gone
        self._sending = threading.Lock()
        self._left = self._arrived = 0  # when bytes last left and arrived
        threading.Thread(target=self._listen, name=f"warden of {connection.host.name}", daemon=True).start()
        self._renewing = self._loop.create_task(self._renew())

    @classmethod
    async def start(
        cls, connection: Connection, directory: str, path: str, run_id: str, lease_s: float, seed: int, *more: str
    ) -> WardenClient:
        """Start the warden of a run. `path`: the PYTHONPATH of payload.provide; `more`: further words for it."""
        words = ["env", f"PYTHONPATH={path}", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", "python3", "-P", "-m",
                 WARDEN, directory, run_id, str(lease_s), str(seed), *more]  # fmt: skip
        if connection.host.sudo:
            words = ["sudo", "-n", *words]
        channel = await asyncio.to_thread(connection.open, shlex.join(words))
        return cls(connection, channel)

    @property
    def gone(self) -> bool:
        """Was the connection or the warden lost?"""
        return bool(self._ended)

    async def ask(self, op: str, timeout_s: float = ANSWER_S, **words: Any) -> dict[str, Any]:
        """The answer to one request."""
        where = self.connection.host.where
        if self._ended:
            raise MachineError(f"the warden of {where} is gone: {self._ended}")
        self._number += 1
        number = self._number
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._waiting[number] = future
        line = json.dumps({"id": number, "op": op, **words}).encode() + b"\n"
        try:
            await asyncio.to_thread(self._send, line)
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            raise MachineError(f"the warden of {where} did not answer {op!r} within {timeout_s:g} s") from None
        except OSError as error:
            raise MachineError(f"the connection to {where} is lost: {error}") from error
        finally:
            self._waiting.pop(number, None)
        if answer.get("lapsed"):
            self.lapsed = str(answer.get("error") or answer["lapsed"])
        if "error" in answer:
            raise MachineError(f"{where}: {answer['error']}")
        return answer

    async def clock_offset(self) -> tuple[int, int]:
        """(the host's CLOCK_MONOTONIC less ours, uncertainty), ns: of the quickest of some round trips, timed where
        their bytes leave and arrive. Nothing to measure where both are one kernel (a container on this machine)."""
        best: tuple[int, int] = (0, 2**62)
        for _ in range(SAMPLES):
            answer = await self.ask("clock")
            before, after = self._left, self._arrived
            if (after - before) // 2 < best[1]:
                best = int(answer["monotonic_ns"]) - (before + after) // 2, (after - before) // 2
            if answer["boot"] == _boot() and abs(best[0]) <= best[1]:  # else it has a time namespace of its own
                return 0, 0
            if best[1] < EXACT_NS:
                break
        return best

    def close(self) -> None:
        """Hang up: the warden, if it still runs, undoes everything and ends."""
        self._renewing.cancel()
        with contextlib.suppress(OSError, EOFError):
            self._channel.close()

    # ---------------------------------------------------------------- inside
    def _send(self, line: bytes) -> None:
        with self._sending:
            self._left = time.monotonic_ns()
            self._channel.sendall(line)

    async def _renew(self) -> None:
        while not self._ended:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(MachineError):  # whoever asks next hears of it
                await self.ask("renew", timeout_s=2 * RENEW_S)

    def _listen(self) -> None:
        """In a thread: lines of the warden, until the channel closes."""
        buffer, why = b"", "its connection was closed"
        try:
            while data := self._channel.recv(1 << 16):
                self._arrived = time.monotonic_ns()
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._call(self._resolve, line)
            said = self._channel.recv_stderr(1 << 14).decode(errors="replace").strip()
            why = f"it ended{': ' + said[-400:] if said else ''}"
        except (OSError, EOFError) as error:
            why = f"{error or repr(error)}"
        self._call(self._end, why)

    def _call(self, function: Any, *words: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *words)

    def _resolve(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
            future = self._waiting.get(int(answer["id"]))
        except (ValueError, KeyError, TypeError):
            return  # something else printed a line
        if future is not None and not future.done():
            future.set_result(answer)

    def _end(self, why: str) -> None:
        self._ended = why
        for future in self._waiting.values():
            if not future.done():
                future.set_result({"error": f"the warden is gone: {why}"})


def _boot() -> str:
    """Which boot of which kernel this is; empty where nobody says."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
