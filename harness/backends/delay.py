"""The delay daemon, `python -m harness.backends.delay`: holds packets of one NFQUEUE as long as their shapes say.

Started by the docker backend with a socket pair; requests and replies are JSON lines. It ends when the other end is
closed, so a killed harness leaves no daemon; the kernel then lets packets pass at once (`bypass`).

    {"op":"shape","links":[["198.18.3.2","198.18.3.3",{"delay_ms":50.0}]]}   -> {"ok":true}
    {"op":"counters"} -> {"links":[[from,to,delayed,lost]],"packets":N,"cpu_ns":N,"late_ns":N}

With `--marked` (backend ssh) a link is not a pair of addresses but the firewall mark of its packets, both times in
place of `from`, and `to` is empty.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import msgspec

from faults.port import Shape
from harness.backends.nfqueue import ACCEPT, DROP, Queue
from harness.backends.shaping import DelayLine

Key: TypeAlias = tuple[bytes, bytes] | int
BOUND = Path("/proc/net/netfilter/nfnetlink_queue")
ATTEMPTS = 50


class Daemon:
    """One queue, one delay line, one harness."""

    def __init__(self, queue: Queue, control: socket.socket, rng: Random, marked: bool = False) -> None:
        self._queue = queue
        self._marked = marked
        self._control = control
        self._line: DelayLine[Key] = DelayLine(rng)
        self._buffer = b""
        self._packets = 0
        self._late_ns = 0  # sum over packets of how much later than due they left

    def run(self) -> None:
        """Until the harness closes its end."""
        open_ = True
        while open_:
            ready = self._wait()
            if self._queue.fileno() in ready:
                self._take()
            self._release(time.monotonic_ns())
            if self._control.fileno() in ready:
                open_ = self._serve()
        self._queue.verdict(self._line.flush(), ACCEPT)

    def _wait(self) -> list[int]:
        release = self._line.next_release()
        # select, not poll: its time-out has microseconds
        timeout = None if release is None else max(0, release - time.monotonic_ns()) / 1e9
        return select.select([self._queue.fileno(), self._control.fileno()], [], [], timeout)[0]

    def _take(self) -> None:
        now, lost, line, marked = time.monotonic_ns(), [], self._line, self._marked
        for packet in self._queue.receive():
            self._packets += 1
            key = packet.mark if marked else (packet.source, packet.target)
            if not line.admit(now, key, packet.id, packet.length):
                lost.append(packet.id)
        if lost:
            self._queue.verdict(lost, DROP)

    def _release(self, now: int) -> None:
        first = self._line.next_release()
        due = self._line.due(now)
        if due and first is not None:
            self._late_ns = max(self._late_ns, now - first)
            self._queue.verdict(due, ACCEPT)

    def _serve(self) -> bool:
        data = self._control.recv(1 << 20)
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._control.sendall(msgspec.json.encode(self._answer(line)) + b"\n")
        return True

    def _answer(self, line: bytes) -> dict[str, Any]:
        request = msgspec.json.decode(line)
        if request["op"] == "shape":
            for source, target, shape in request["links"]:
                key = source if self._marked else (socket.inet_aton(source), socket.inet_aton(target))
                self._line.shape(key, msgspec.convert(shape, Shape))
            return {"ok": True}
        if request["op"] == "counters":
            counts = sorted(self._line.counts().items(), key=str)
            links = [[*_names(key), count.delayed, count.lost] for key, count in counts]
            late, self._late_ns = self._late_ns, 0
            return {"links": links, "packets": self._packets, "cpu_ns": time.process_time_ns(), "late_ns": late}
        return {"error": f"unknown op {request['op']!r}"}


def _names(key: Key) -> tuple[str | int, str]:
    return (key, "") if isinstance(key, int) else (socket.inet_ntoa(key[0]), socket.inet_ntoa(key[1]))


def bind_free(rng: Random, marked: bool = False) -> Queue:
    """Bind a queue number that nobody uses. Raises OSError when none can be had (not root, no NFQUEUE)."""
    try:
        bound = {int(line.split()[0]) for line in BOUND.read_text().splitlines()}
    except OSError:
        bound = set()
    for attempt in range(ATTEMPTS):
        number = rng.randint(1024, 65_000)
        if number in bound:
            continue
        try:
            return Queue(number, marked)
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
    raise OSError(f"no free NFQUEUE number in {ATTEMPTS} attempts")


def _hurry() -> None:
    """A late daemon would be a longer delay, so go before the nodes: real-time if the kernel lets us, else nice."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.nice(-10)


def main() -> int:
    """Entry point. `--run` is only there so that people and `doctor --clean` see whose daemon it is."""
    parser = argparse.ArgumentParser(prog="python -m harness.backends.delay", description="packet delay daemon")
    parser.add_argument("--fd", type=int, required=True, help="our end of the harness's socket pair")
    parser.add_argument("--run", required=True, help="run id")
    parser.add_argument("--seed", type=int, default=0, help="seed of jitter and loss")
    parser.add_argument("--marked", action="store_true", help="links are firewall marks, not addresses")
    options = parser.parse_args()
    with socket.socket(fileno=options.fd) as control:
        try:
            queue = bind_free(Random(f"{os.getpid()} {time.monotonic_ns()}"), options.marked)
        except OSError as error:
            control.sendall(msgspec.json.encode({"error": str(error)}) + b"\n")
            return 4
        _hurry()
        control.sendall(msgspec.json.encode({"queue": queue.queue}) + b"\n")
        with contextlib.suppress(ConnectionError):
            Daemon(queue, control, Random(options.seed), options.marked).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
