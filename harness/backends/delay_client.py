"""The harness's side of the delay daemon: starts it, sends marked packets to its queue, tells it shapes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

import harness
from faults.port import Shape
from harness.backends.features import queue_rule
from harness.backends.leftovers import PROCESS, register
from harness.backends.nft import Nft
from harness.backends.packets import MARK, Pair, change_script
from harness.backends.port import MachineError
from harness.backends.processes import process_ident
from harness.provision.packages import find_tool

REPLY_S = 15.0
FIRST_PACKET_S = 10.0
SYSFS = Path("/sys/class/net")
PACKAGES = Path(harness.__file__).parents[1]  # so that the daemon finds us wherever it is started


class DelayStats(msgspec.Struct, frozen=True):
    """What the daemon did since it started; `late_ns` is the worst lateness since the last question."""

    links: tuple[tuple[str, str, int, int], ...]  # from, to, delayed, lost
    packets: int
    cpu_ns: int
    late_ns: int


class QueueShaper:
    """Shapes by NFQUEUE. Only pairs with a shape go through the daemon; `table` is the run's nft table."""

    def __init__(self, run_id: str, bridge: str, table: str, nft: Nft, native: bool, seed: int) -> None:
        self._table, self._nft = table, nft
        self._shaped: set[Pair] = set()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(REPLY_S)
        with theirs:
            descriptor = theirs.fileno()
            command = [sys.executable, "-P", "-m", "harness.backends.delay", "--fd", str(descriptor)]
            path = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
            command += ["--run", run_id, "--seed", str(seed)]
            self._process = subprocess.Popen(
                command,
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
                start_new_session=True,  # Ctrl-C is for the harness
            )
        register(run_id, PROCESS, process_ident(self._process.pid))
        self._buffer = b""
        self._rule: list[str] | None = None
        try:
            self.queue = int(self._reply()["queue"])
            if not native:
                self._rule = self._route(bridge)
        except BaseException:
            self.close()
            raise

    def shape(self, shapes: Mapping[Pair, Shape]) -> None:
        """See `packet_layer.Shaper`. The daemon knows a shape before the first packet of its pair is sent to it."""
        wanted = {pair: shape for pair, shape in shapes.items() if shape != Shape()}
        links = [[a, b, shape] for (a, b), shape in sorted(shapes.items())]
        self._ask({"op": "shape", "links": links})
        add = sorted(p for p in wanted if p not in self._shaped)
        delete = sorted(p for p in shapes if p not in wanted and p in self._shaped)
        script = change_script(self._table, "shaped", add, delete)
        if script:
            self._nft.run(script)
        self._shaped.update(add)
        self._shaped.difference_update(delete)

    def refresh(self) -> None:
        """Nothing to do: shapes are by address."""

    def verify(self) -> None:
        """Traffic flows on shaped links: does it come by the daemon? Raises MachineError if it goes past it."""
        deadline = time.monotonic() + FIRST_PACKET_S
        while self._shaped and self.stats().packets == 0:
            if time.monotonic() > deadline:
                raise MachineError(
                    "the nodes' packets do not reach the delay daemon, so no delay would be real; is a firewall in the "
                    "way (`nft list ruleset`, `iptables -t mangle -S`)? --backend process does without"
                )
            time.sleep(0.05)

    def stats(self) -> DelayStats:
        """Ask the daemon."""
        return msgspec.convert(self._ask({"op": "counters"}), DelayStats)

    def lost(self) -> dict[Pair, int]:
        """Packets lost per pair."""
        return {(a, b): lost for a, b, _, lost in self.stats().links if lost}

    def close(self) -> None:
        """The rule first, so that no packet waits for a daemon that is gone."""
        if self._rule is not None:
            subprocess.run(self._rule, capture_output=True, check=False)
            self._rule = None
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _route(self, bridge: str) -> list[str]:
        """Hand this bridge's packets to iptables (this bridge's only, not the whole host's) and queue marked ones."""
        (SYSFS / bridge / "bridge" / "nf_call_iptables").write_text("1")
        tool = find_tool("iptables") or "iptables"
        rule = {a: [tool, *queue_rule(a, self.queue, self._table, MARK | self.queue)[1:]] for a in ("-I", "-D")}
        done = subprocess.run(rule["-I"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineError(f"`{' '.join(rule['-I'])}` failed: {done.stderr.strip()}")
        return rule["-D"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._control.sendall(msgspec.json.encode(request) + b"\n")
        except OSError as error:
            raise MachineError(f"the delay daemon (pid {self._process.pid}) is gone: {error}") from error
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            try:
                data = self._control.recv(1 << 20)
            except TimeoutError:
                raise MachineError(f"the delay daemon did not answer within {REPLY_S:.0f} s") from None
            if not data:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(2)
                raise MachineError(f"the delay daemon ended (exit code {self._process.poll()})")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: dict[str, Any] = msgspec.json.decode(line)
        if "error" in reply:
            raise MachineError(f"delay daemon: {reply['error']}")
        return reply
