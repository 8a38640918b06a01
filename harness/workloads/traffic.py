"""The shape of a workload for systems that are not ours: it is asked for one operation at a time, knows no clock, no
socket and no answer, and does not know the system either.

A workload is built as `Traffic(nodes, rng, **options)` with the options of `[workload.options]`, validated there
(ValueError). Equal seeds and equal sequences of calls give equal operations.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from harness.targets.port import Operation


class Traffic(Protocol):
    """A kind of traffic. One workload, one file, one entry point in pyproject.toml; a target names those it knows."""

    name: ClassVar[str]
    foreign: ClassVar[bool]  # True: what tells it from a workload of our own wallets

    def next(self, process: int) -> Operation:
        """What this process asks for next."""
        ...
