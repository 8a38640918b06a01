"""Free TCP ports, picked where the system does not hand out ports for outgoing connections."""

from __future__ import annotations

import socket
from pathlib import Path
from random import SystemRandom

from harness.backends.port import MachineError

_LOWEST = 10_240
_FALLBACK_END = 32_768  # Linux's usual start of the ephemeral range
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortTakenError(RuntimeError):
    """Somebody took a port between our look and the bind; try again with others."""


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` distinct ports that can be bound on `host` now. Raises MachineError when there are not that many.

    A proxy that is disabled gives its port up for a while, so ports must not come from the range from which the system
    picks source ports: it might hand one of ours to somebody's outgoing connection meanwhile.
    """
    end = _ephemeral_start()
    candidates = list(range(_LOWEST, end))
    SystemRandom().shuffle(candidates)  # two harnesses on one machine should not try the same ports
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            return found
        if _bindable(host, port):
            found.append(port)
    raise MachineError(
        f"only {len(found)} of {count} TCP ports are free between {_LOWEST} and {end} on {host}; end what holds them "
        "(`ss -ltn` lists it), or run fewer nodes"
    )


def _ephemeral_start() -> int:
    try:
        start = int(_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _FALLBACK_END
    return start if start - _LOWEST >= 4096 else 60_000


def _bindable(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
