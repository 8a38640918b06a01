"""Shapes by netem, for kernels that have it: on the bridge port of the receiver, one class per sender.

Packets towards a node leave the host's bridge through the node's port, so its egress sees all senders. An htb root
passes what nobody shapes; each shaped sender has a class (unlimited) with a netem leaf and a filter on its address.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping

import msgspec

from faults.port import Shape
from harness.backends.packets import Pair
from harness.backends.port import MachineError
from harness.provision.packages import find_tool

FULL_RATE = "10gbit"
LIMIT = 20_000  # packets on their way per link; netem's own default of 1000 drops under load


def root_text(port: str) -> list[str]:
    """tc lines that give a port its root; class 0 is "no class": such packets pass at once."""
    return [f"qdisc replace dev {port} root handle 1: htb default 0"]


def leaf_text(shape: Shape) -> str:
    """netem's arguments. With a rate, netem keeps the order of packets in spite of jitter, so it always has one."""
    rate = f"{shape.rate_kbit:.0f}kbit" if shape.rate_kbit > 0 else FULL_RATE
    parts = [f"delay {shape.delay_ms * 1000:.0f}us"]
    if shape.jitter_ms > 0:
        parts.append(f"{shape.jitter_ms * 1000:.0f}us")
    if shape.loss > 0:
        parts.append(f"loss {shape.loss * 100:.6g}%")
    return " ".join([*parts, f"rate {rate}", f"limit {LIMIT}"])


def class_text(port: str, number: int, source: str, leaf: str) -> list[str]:
    """tc lines that send packets from `source` leaving by `port` through a leaf of their own."""
    identity = f"{number:x}"
    return [
        f"class add dev {port} parent 1: classid 1:{identity} htb rate {FULL_RATE} quantum 60000",
        f"qdisc add dev {port} parent 1:{identity} handle {identity}: {leaf}",
        f"filter add dev {port} parent 1: protocol ip prio 1 u32 match ip src {source}/32 flowid 1:{identity}",
    ]


def leaf_drops(text: str) -> dict[str, int]:
    """Leaf handle -> packets dropped, out of what `tc -j -s qdisc show` printed."""
    found = msgspec.json.decode(text or "[]")
    return {str(q["handle"]): int(q.get("drops", 0)) for q in found if str(q.get("parent", "")).startswith("1:")}


class NetemShaper:
    """See `packet_layer.Shaper`. `ports` gives the bridge port of each address at this moment."""

    def __init__(self, ports: Callable[[], Mapping[str, str]], leaf: Callable[[Shape], str] | None = None) -> None:
        self._ports = ports
        self._leaf = leaf or (lambda shape: f"netem {leaf_text(shape)}")
        self._shapes: dict[Pair, Shape] = {}
        self._numbers: dict[str, int] = {}  # sender address -> class number, the same at every port
        self._classes: dict[str, set[str]] = {}  # port -> senders that have a class there

    def shape(self, shapes: Mapping[Pair, Shape]) -> None:
        """One tc batch for all links."""
        for pair, shape in shapes.items():
            if shape == Shape():
                self._shapes.pop(pair, None)
            else:
                self._shapes[pair] = shape
        self._apply(shapes)

    def refresh(self) -> None:
        """A node that was started again has a new port without classes."""
        self._apply(self._shapes)

    def verify(self) -> None:
        """tc would have refused."""

    def lost(self) -> Mapping[Pair, int]:
        """netem's drops per leaf, loss and overflow together; those of a port that is gone are forgotten."""
        ports = self._ports()
        sources = {f"{number:x}:": source for source, number in self._numbers.items()}
        lost: dict[Pair, int] = {}
        for target, port in ports.items():
            if port in self._classes:
                for handle, drops in leaf_drops(_show(port)).items():
                    if handle in sources and drops:
                        lost[sources[handle], target] = drops
        return lost

    def close(self) -> None:
        """The ports go with their containers."""

    def _apply(self, pairs: Mapping[Pair, Shape]) -> None:
        ports = self._ports()
        self._classes = {p: s for p, s in self._classes.items() if p in ports.values()}
        lines: list[str] = []
        for source, target in sorted(pairs):
            port = ports.get(target)
            if port is not None:
                lines += self._lines(port, source, self._shapes.get((source, target), Shape()))
        if lines:
            _tc(lines)

    def _lines(self, port: str, source: str, shape: Shape) -> list[str]:
        number = self._numbers.setdefault(source, len(self._numbers) + 2)
        lines: list[str] = []
        if port not in self._classes:
            lines += root_text(port)
            self._classes[port] = set()
        if source in self._classes[port]:
            lines.append(f"qdisc change dev {port} parent 1:{number:x} handle {number:x}: {self._leaf(shape)}")
        else:
            lines += class_text(port, number, source, self._leaf(shape))
            self._classes[port].add(source)
        return lines


def _show(port: str) -> str:
    command = [find_tool("tc") or "tc", "-j", "-s", "qdisc", "show", "dev", port]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _tc(lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    done = subprocess.run(
        [find_tool("tc") or "tc", "-batch", "-"], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MachineError(f"tc refused a shape: {done.stderr.strip()[:400]}")
