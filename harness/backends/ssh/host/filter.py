"""The host's packet filter: cuts and shapes of directed links by who sends them, on the sender's host.

Every node runs as a user of its own, so a link is (uid of the sender, address of the receiver's host, port of the
receiver): exact even where several nodes share a host and its address. One nft table per run. Cuts drop on the way
out, at once and, for packets that sat in the delay line, behind it; the set element's counter is the receipt. Shaped
links get a firewall mark each, and marked packets go to the delay daemon (NFQUEUE). Without the daemon they pass.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from harness.backends.nft import Nft
from harness.backends.ssh.host.inforce import InForce
from harness.provision.packages import find_tool

Way: TypeAlias = tuple[int, str, int]  # uid, IPv4 address, port

MARK = 0x6D000000  # "m", the run (two runs must not feed each other's daemons), and in the lower half the link
MASK = 0xFFFF0000
REPLY_S = 20.0
KEY = "typeof meta skuid . ip daddr . tcp dport"
PROBE = "mq_probe"


class FilterError(RuntimeError):
    """iptables or the delay daemon refused; carries what they said."""


def mark_of(run_id: str) -> int:
    """The upper half of the run's marks."""
    return MARK | (zlib.crc32(run_id.encode()) & 0xFF) << 16


def table_text(table: str) -> str:
    """Creates the table, empty."""
    key = "meta skuid . ip daddr . tcp dport"
    return f"""table ip {table} {{
  set cuts {{ {KEY}; counter; }}
  map marks {{ {KEY} : meta mark; }}
  chain out {{
    type filter hook output priority -300; policy accept;
    {key} @cuts drop
    meta mark set {key} map @marks
  }}
  chain leave {{
    type filter hook postrouting priority 300; policy accept;
    {key} @cuts drop
  }}
}}
"""


def change_text(table: str, add: Sequence[Way], delete: Sequence[Way]) -> str:
    """One transaction: these links cut, those whole again."""
    lines = [f"{verb} element ip {table} cuts {{ {', '.join(map(_key, ways))} }}"
             for verb, ways in (("add", add), ("delete", delete)) if ways]  # fmt: skip
    return "\n".join(lines)


def mark_text(table: str, add: Sequence[tuple[Way, int]], delete: Sequence[Way]) -> str:
    """One transaction: these links marked, and so through the delay line, those past it."""
    lines = []
    if delete:
        lines.append(f"delete element ip {table} marks {{ {', '.join(map(_key, delete))} }}")
    if add:
        pairs = ", ".join(f"{_key(way)} : {mark:#x}" for way, mark in add)
        lines.append(f"add element ip {table} marks {{ {pairs} }}")
    return "\n".join(lines)


def queue_rule(action: str, mark: int, queue: int, comment: str) -> list[str]:
    """The iptables command that adds (-I) or deletes (-D) the way of a run's marked packets to the delay daemon."""
    return [find_tool("iptables") or "iptables", "-w", "-t", "mangle", action, "OUTPUT", "-m", "mark", "--mark",
            f"{mark:#x}/{MASK:#x}", "-m", "comment", "--comment", comment,
            "-j", "NFQUEUE", "--queue-num", str(queue), "--queue-bypass"]  # fmt: skip


def read_cuts(objects: Iterable[Mapping[str, Any]]) -> list[tuple[int, str, int, int]]:
    """(uid, address, port, packets dropped) out of the answer to `list set`."""
    found = []
    for item in objects:
        for element in item.get("set", {}).get("elem", ()):
            body = element.get("elem", {"val": element})
            uid, address, port = body["val"]["concat"]
            found.append((int(uid), str(address), int(port), int(body.get("counter", {}).get("packets", 0))))
    return found


def probe() -> dict[str, str]:
    """What this host's kernel cannot do, in words, by capability; tried in a throw-away network namespace."""
    if os.geteuid() != 0:
        return dict.fromkeys(("cut", "shape"), "packet faults need root on the host: set `user`, or `sudo = true`")
    missing = {}
    why = _try(["nft", "-f", "-"], table_text(PROBE))
    if why:
        missing["cut"] = why
    rule = queue_rule("-I", MARK, 1, PROBE)
    why = why or _try(["iptables", *rule[1:]])
    if why:
        missing["shape"] = why
    return missing


def _try(command: list[str], feed: str | None = None) -> str:
    """Empty when it works, else what it said."""
    tool, unshare = find_tool(command[0]), find_tool("unshare")
    if tool is None or unshare is None:
        return f"{command[0] if tool is None else 'unshare'} is not installed on the host"
    ended = subprocess.run(
        [unshare, "--net", tool, *command[1:]], input=feed, capture_output=True, text=True, check=False
    )
    return "" if ended.returncode == 0 else (ended.stderr or ended.stdout).strip()[:200] or f"{command[0]} failed"


def _key(way: Way) -> str:
    return f"{way[0]} . {way[1]} . {way[2]}"


class Filter:
    """The run's table on this host. Calls block for milliseconds. Raises FilterError, NftError."""

    def __init__(self, state: InForce, run_id: str, seed: int) -> None:
        self._state, self._run_id, self._seed = state, run_id, seed
        self._table = f"moonquake_{run_id.replace('-', '_')}"
        self._mark = mark_of(run_id)
        self._marks: dict[Way, int] = {}
        self._shaped: set[Way] = set()
        self._control: socket.socket | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._library: Nft | None = None

    def cut(self, add: Sequence[Way], delete: Sequence[Way]) -> list[tuple[int, str, int, int]]:
        """Cut and heal in one transaction; the counters of the healed links as they were."""
        counts = [row for row in self.dropped() if row[:3] in set(delete)] if delete else []
        if add or delete:
            self._nft(change_text(self._open(), add, delete))
        return counts

    def dropped(self) -> list[tuple[int, str, int, int]]:
        """Packets dropped by the cuts in force."""
        if not self._state.table:
            return []
        return read_cuts(self._nft(f"list set ip {self._table} cuts"))

    def shape(self, links: Sequence[tuple[Way, dict[str, float]]]) -> None:
        """The whole shape of each link; an empty one takes it out of the daemon's hands."""
        wanted = {way for way, shape in links if any(shape.values())}
        if not wanted and not self._shaped:
            return
        self._open()
        for way in wanted:
            self._marks.setdefault(way, self._mark | len(self._marks) + 1)
        known = [(way, shape) for way, shape in links if way in self._marks]
        self._tell({"op": "shape", "links": [[self._marks[way], "", shape] for way, shape in known]})
        add = [(way, self._marks[way]) for way in sorted(wanted - self._shaped)]
        delete = sorted(way for way, _ in known if way not in wanted and way in self._shaped)
        if add or delete:
            self._nft(mark_text(self._table, add, delete))
        self._shaped = (self._shaped | wanted) - set(delete)

    def lost(self) -> tuple[list[tuple[int, str, int, int]], int]:
        """(packets that the delay line lost per link, packets that went through it at all)."""
        if self._control is None:
            return [], 0
        reply = self._tell({"op": "counters"})
        ways = {mark: way for way, mark in self._marks.items()}
        return [(*ways[mark], lost) for mark, _, _, lost in reply["links"] if lost and mark in ways], reply["packets"]

    def close(self) -> None:
        """The daemon ends with its socket; the table and the rule are for `InForce.heal`."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    # ---------------------------------------------------------------- inside
    def _open(self) -> str:
        if not self._state.table:
            self._state.table = self._table
            self._state.save()
            self._nft(table_text(self._table))
        return self._table

    def _nft(self, script: str) -> list[dict[str, Any]]:
        """In process: a program that has to be started first is late on a busy host."""
        if self._library is None:
            self._library = Nft()
        return self._library.run(script)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(REPLY_S)
        with theirs:
            command = [sys.executable, "-P", "-m", "harness.backends.delay", "--fd", str(theirs.fileno()), "--marked"]
            command += ["--run", self._run_id, "--seed", str(self._seed)]
            self._daemon = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        self._control = ours
        queue = int(self._reply(ours)["queue"])
        self._state.rules.append(queue_rule("-D", self._mark, queue, self._table))
        self._state.save()
        ended = subprocess.run(
            queue_rule("-I", self._mark, queue, self._table), capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise FilterError(f"iptables refused: {ended.stderr.strip()[:300]}")
        return ours

    def _tell(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            control = self._control or self._start()
            control.sendall(json.dumps(request).encode() + b"\n")
            return self._reply(control)
        except OSError as error:
            raise FilterError(f"the delay daemon is gone: {error}") from error

    def _reply(self, control: socket.socket) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = control.recv(1 << 20)
            if not data:
                raise FilterError("the delay daemon ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise FilterError(f"delay daemon: {reply['error']}")
        return reply
