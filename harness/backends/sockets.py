"""What the kernel counted on TCP sockets: bytes from and to each peer, by `ss` (iproute2), which needs no root.

`Meter` adds up what the sockets of some proxies sent and received, those that are closed by now included, so that a
fault's receipt rests on the kernel's word and not on the proxy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from harness.backends.port import MachineError
from harness.provision.packages import find_tool

SAMPLE_S = 0.5  # a connection that lives for less may be missed: then the counts are too low, never too high
_FIELD = re.compile(r"\b(ino|bytes_sent|bytes_received):(\d+)")
_INODE = re.compile(r"socket:\[(\d+)\]")


class Socket(msgspec.Struct, frozen=True):
    """One end of a TCP connection, both ends as "host:port", and the bytes of payload that it gave out (repeats too)
    and took in."""

    inode: int
    local: str
    remote: str
    sent: int
    received: int


def find_ss() -> str:
    """The path of ss. Raises MachineError with the cure."""
    found = find_tool("ss")
    if found is None:
        raise MachineError("ss is missing, which counts what faults stop: `apt-get install iproute2`")
    return found


def parse(text: str) -> list[Socket]:
    """Sockets in what `ss -tniHOe` prints, one a line."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 5:
            continue
        fields = {name: int(value) for name, value in _FIELD.findall(line)}
        sent, received = fields.get("bytes_sent", 0), fields.get("bytes_received", 0)
        found.append(Socket(fields.get("ino", 0), words[3], words[4], sent, received))
    return found


async def sockets(tool: str, listening: Iterable[int], dialled: Iterable[int]) -> list[Socket]:
    """Sockets that were accepted on one of the first ports, or have dialled one of the second. MachineError."""
    wanted = " or ".join([*(f"sport = :{p}" for p in listening), *(f"dport = :{p}" for p in dialled)])
    process = await asyncio.create_subprocess_exec(
        tool, "-tniHOe", "state", "connected", f"( {wanted} )", stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise MachineError(f"{tool} failed, which counts what faults stop: {err.decode(errors='replace').strip()}")
    return parse(out.decode())


def owned(pid: int) -> set[int]:
    """Inodes of the sockets that a process of ours holds."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):  # closed meanwhile
            match = _INODE.match(str(path.readlink()))
            if match:
                found.add(int(match.group(1)))
    return found


class Tap(msgspec.Struct, frozen=True):
    """One proxy of a link: where it listens, whom it dials, and the process that it lives in."""

    listen: tuple[str, int]
    upstream: tuple[str, int]
    pid: int


class Flow(msgspec.Struct, frozen=True):
    """Bytes through one proxy. `up`: from its dialler on; `down`: back to it; each as taken in and as given out."""

    up_in: int = 0
    up_out: int = 0
    down_in: int = 0
    down_out: int = 0


class Meter:
    """Bytes through proxies, sampled twice a second from `open` to `close`.

    A socket that is gone counts as it was last seen. Several processes may dial the same upstream port: the process of
    a socket says which proxy it belongs to, so no process may have two proxies with the same upstream.
    """

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = taps
        self._tool = find_ss()
        self._seen: dict[tuple[int, str, str], tuple[int, Socket]] = {}  # (inode, ports) -> number of the tap, socket
        self._lock = asyncio.Lock()
        self._sampling: asyncio.Task[None] | None = None

    def open(self, broken: Callable[[str], None]) -> None:
        """Begin to sample; `broken` hears why it cannot go on."""
        self._sampling = asyncio.create_task(self._sample(broken))

    async def close(self) -> None:
        """No more samples."""
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.gather(self._sampling, return_exceptions=True)

    async def _sample(self, broken: Callable[[str], None]) -> None:
        while True:
            try:
                await self.look()
            except MachineError as error:
                broken(str(error))
                return
            await asyncio.sleep(SAMPLE_S)

    async def look(self) -> list[Flow]:
        """Flows of the taps, in their order, since the start. Raises MachineError."""
        async with self._lock:
            found = await sockets(self._tool, {t.listen[1] for t in self._taps}, {t.upstream[1] for t in self._taps})
            owners = {inode: pid for pid in {t.pid for t in self._taps} for inode in owned(pid)}
            accepted = {_text(tap.listen): number for number, tap in enumerate(self._taps)}
            dialled = {(tap.pid, _text(tap.upstream)): number for number, tap in enumerate(self._taps)}
            for socket in found:
                number = accepted.get(socket.local)
                if number is None:
                    number = dialled.get((owners.get(socket.inode, 0), socket.remote))
                if number is not None:
                    self._seen[socket.inode, socket.local, socket.remote] = number, socket
        return self._flows(accepted)

    def _flows(self, accepted: dict[str, int]) -> list[Flow]:
        totals = [[0, 0, 0, 0] for _ in self._taps]
        for number, socket in self._seen.values():
            total = totals[number]
            if accepted.get(socket.local) == number:
                total[0] += socket.received
                total[3] += socket.sent
            else:
                total[1] += socket.sent
                total[2] += socket.received
        return [Flow(*total) for total in totals]


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
