"""What this kernel can do to packets, found out in throw-away network namespaces (the host's own is not touched)."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import msgspec

from harness.backends.nft import Nft, NftError
from harness.backends.packets import table_script
from harness.backends.port import MachineError
from harness.provision.packages import find_tool

NETEM = "netem"
NFQUEUE = "nfqueue"
BRIDGE_NETFILTER = Path("/proc/sys/net/bridge")
# We do not load it ourselves: it changes how all bridges of the host filter.
NO_BRIDGE_NETFILTER = "bridged packets do not reach iptables; `modprobe br_netfilter` changes that"
CURE = "`moonquake doctor --fix` as root installs nftables, iptables and iproute2"


class Features(msgspec.Struct, frozen=True):
    """`cuts`: nft pair sets in the bridge family. `missing` says in words why something is not there."""

    cuts: bool = False
    netem: bool = False
    xt_queue: bool = False  # iptables' NFQUEUE target, for bridges by br_netfilter
    nft_queue: bool = False  # nft's own queue statement
    missing: tuple[str, ...] = ()

    @property
    def delays(self) -> str | None:
        """What will carry delay, jitter, loss and bandwidth."""
        if not self.cuts:
            return None
        return NETEM if self.netem else NFQUEUE if self.xt_queue or self.nft_queue else None

    @property
    def layer(self) -> str | None:
        """The packet layer's name as runs record it; None: no packet layer here."""
        return f"nft+{self.delays}" if self.delays else None


@cache
def probe() -> Features:
    """Find out (0.1 s, once a process). Never raises."""
    if platform.system() != "Linux":
        return Features(missing=("packet faults need Linux",))
    if os.geteuid() != 0:
        return Features(missing=("packet faults need root; run under sudo, or let Toxiproxy carry the faults",))
    missing = []
    cuts = _cuts()
    if cuts is not None:
        missing.append(cuts)
    tried: dict[str, list[str]] = {
        "netem": ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"],
        "xt_queue": queue_rule("-A", 1, "moonquake_probe"),
        "nft_queue": ["nft", table_script("moonquake_probe", 1, native_queue=True)],
    }
    works = {}
    for name, command in tried.items():
        why = NO_BRIDGE_NETFILTER if name == "xt_queue" and not BRIDGE_NETFILTER.exists() else _try(command)
        works[name] = why is None
        if why is not None:
            missing.append(f"{name}: {why}")
    return Features(cuts=cuts is None, missing=tuple(missing), **works)


def queue_rule(action: str, queue: int, comment: str, mark: int = 1) -> list[str]:
    """The iptables command that adds (-A, -I) or deletes (-D) the rule sending marked packets to a queue."""
    return ["iptables", "-w", "-t", "mangle", action, "FORWARD", "-m", "mark", "--mark", f"{mark:#x}",
            "-m", "comment", "--comment", comment,
            "-j", "NFQUEUE", "--queue-num", str(queue), "--queue-bypass"]  # fmt: skip


def _cuts() -> str | None:
    """None if pair sets with counters work in the bridge family; a `check only` transaction changes nothing."""
    try:
        Nft().check(table_script("moonquake_probe", None))
    except (NftError, MachineError) as error:
        return f"cuts: {error}; {CURE}"
    return None


def _try(command: list[str]) -> str | None:
    tool, unshare = find_tool(command[0]), find_tool("unshare")
    if tool is None or unshare is None:
        return f"{command[0] if tool is None else 'unshare'} is not installed; {CURE}"
    arguments = command[1:]
    feed = None
    if command[0] == "nft":
        feed, arguments = command[1], ["-f", "-"]
    done = subprocess.run([unshare, "--net", tool, *arguments], input=feed, capture_output=True, text=True, check=False)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return None if done.returncode == 0 else (lines[-1] if len(lines) < 2 else lines[0])
