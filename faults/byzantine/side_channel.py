"""How corrupted replicas talk behind everyone's back: a channel that no fault cuts.

Real backends share a directory of Unix datagram sockets, one a member; tests share a dictionary. Values are msgpack.
The lab speaks into it too (`announce`): the coalition is told when the load starts, since its windows count from there.
Everything is bounded: a member that is down costs its peers a fixed amount of memory.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from nodes.messages import NodeId

MAX_NOTE_BYTES = 65536
MAX_WAITING = 1024  # notes kept for a member that cannot be reached; the oldest go first
MAX_NOTES = 4096  # own notes kept for members that start again; the oldest go first
MAX_DRAIN = 512  # notes taken over in one step
MAX_PATH_BYTES = 100  # sun_path holds 108 with its terminator
LOAD_START = "load_start"  # the key under which the lab announces when the load began: ns on the run's clock
_HELLO = ""  # the key with which a member that has just started asks for everybody's notes


class SideChannelError(RuntimeError):
    """The channel cannot be set up, or a note is too large; says what to change."""


class SideChannel(Protocol):
    """What the shell needs of a channel."""

    def share(self, key: str, value: Any) -> None:
        """Tell every other member; raises SideChannelError when the note is not msgpack-able or too large."""
        ...

    def drain(self) -> dict[str, Any]:
        """What others shared since the last call; never blocks."""
        ...


def pack(key: str, value: Any) -> bytes:
    """A note as it travels. Raises SideChannelError when it cannot be packed or is too large."""
    try:
        note = msgspec.msgpack.encode((key, value))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise SideChannelError(f"blackboard note {key!r} cannot be packed: {error}") from error
    if len(note) > MAX_NOTE_BYTES:
        raise SideChannelError(f"blackboard note {key!r} has {len(note)} bytes; the limit is {MAX_NOTE_BYTES}")
    return note


def announce(directory: Path, members: Iterable[NodeId], key: str, value: Any) -> None:
    """Put a note on the blackboards of the members that are up, from outside the coalition; never waits.

    Whoever is down or busy misses it: say it again. Raises SideChannelError when its socket may not be written.
    """
    note = pack(key, value)
    try:
        with _reachable(directory) as base, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            for member in members:
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                    sender.sendto(note, _address(base, member))
    except OSError as error:
        raise SideChannelError(f"{directory}: the coalition cannot be told {key!r}: {error}") from error


@contextlib.contextmanager
def _reachable(directory: Path) -> Iterator[str]:
    """A name of the directory that fits into a socket address whatever its length, valid inside the block."""
    longest = len(os.fsencode(str(directory))) + 24  # "/" + a node id of 16 + ".sock"
    if longest <= MAX_PATH_BYTES:
        yield str(directory)
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _address(base: str, member: NodeId) -> str:
    return f"{base}/{member}.sock"


class MemoryHub:
    """Channels of one coalition inside one process, for tests and the simulator."""

    def __init__(self) -> None:
        self._queues: dict[NodeId, deque[tuple[str, bytes]]] = {}

    def join(self, me: NodeId) -> SideChannel:
        """The channel of member `me`; notes shared before it joined are not for it."""
        self._queues[me] = deque(maxlen=MAX_WAITING)
        return _MemoryChannel(me, self._queues)

    def announce(self, key: str, value: Any) -> None:
        """Put a note on the blackboard of every member that has joined, from outside the coalition."""
        for queue in self._queues.values():
            queue.append((key, pack(key, value)))


class _MemoryChannel:
    def __init__(self, me: NodeId, queues: dict[NodeId, deque[tuple[str, bytes]]]) -> None:
        self._me = me
        self._queues = queues

    def share(self, key: str, value: Any) -> None:
        note = pack(key, value)
        for member, queue in self._queues.items():
            if member != self._me:
                queue.append((key, note))

    def drain(self) -> dict[str, Any]:
        notes = {key: msgspec.msgpack.decode(note)[1] for key, note in self._queues[self._me]}
        self._queues[self._me].clear()
        return notes


class UnixSideChannel:
    """`directory`/<node>.sock for every member of `coalition`; binds the one of `me`, replacing a stale socket."""

    def __init__(self, directory: Path, me: NodeId, coalition: Iterable[NodeId]) -> None:
        self._peers = tuple(n for n in sorted(coalition) if n != me)
        self._waiting: dict[NodeId, deque[bytes]] = {n: deque(maxlen=MAX_WAITING) for n in self._peers}
        self._own: dict[str, bytes] = {}
        self._resources = contextlib.ExitStack()
        try:
            self._base = self._resources.enter_context(_reachable(directory))
            with contextlib.suppress(FileNotFoundError):
                (directory / f"{me}.sock").unlink()
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(_address(self._base, me))
        except OSError as error:
            raise SideChannelError(
                f"{directory}/{me}.sock: {error}; side_channel must be a writable directory shared by all members"
            ) from error
        for peer in self._peers:
            self._waiting[peer].append(pack(_HELLO, me))

    def share(self, key: str, value: Any) -> None:
        if key == _HELLO:
            raise SideChannelError("a blackboard key must not be empty")
        note = pack(key, value)
        self._own.pop(key, None)
        self._own[key] = note
        if len(self._own) > MAX_NOTES:
            del self._own[next(iter(self._own))]
        for peer in self._peers:
            self._waiting[peer].append(note)
        self._flush()

    def drain(self) -> dict[str, Any]:
        self._flush()
        notes: dict[str, Any] = {}
        for _ in range(MAX_DRAIN):
            try:
                data = self._socket.recv(MAX_NOTE_BYTES + 1)
            except BlockingIOError:
                break
            try:
                key, value = msgspec.msgpack.decode(data, type=tuple[str, Any])
            except msgspec.MsgspecError as error:
                raise SideChannelError(f"{self._base}: a datagram that no member wrote: {error}") from error
            if key == _HELLO and value in self._waiting:
                self._waiting[value].extend(self._own.values())
            elif key != _HELLO:
                notes[key] = value
        return notes

    def close(self) -> None:
        self._socket.close()
        self._resources.close()

    def _flush(self) -> None:
        for peer in self._peers:
            waiting = self._waiting[peer]
            while waiting:
                try:
                    self._socket.sendto(waiting[0], _address(self._base, peer))
                except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                    break  # down or busy: tried again at the next step
                waiting.popleft()
