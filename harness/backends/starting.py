"""Clusters on ports of this machine: when somebody else takes one while they start, they start again on others."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from harness.backends.port import MachineError
from harness.backends.ports import PortTakenError

_TRIES = 3


class Closing(Protocol):
    """What can be closed, whole or half started."""

    async def close(self) -> None:
        """Leave nothing of it but its files."""
        ...


C = TypeVar("C", bound=Closing)


@asynccontextmanager
async def started(make: Callable[[], C], bring_up: Callable[[C], Awaitable[None]], directory: Path) -> AsyncIterator[C]:
    """A running cluster of the run in `directory`; on leaving it is closed. Raises MachineError."""
    for attempt in range(_TRIES):
        cluster = make()
        try:
            await bring_up(cluster)
            break
        except PortTakenError as error:
            await cluster.close()
            shutil.rmtree(directory / "nodes", ignore_errors=True)  # a first start must not look like a crash
            if attempt == _TRIES - 1:
                raise MachineError(
                    f"ports keep being taken while the cluster starts ({error}); is another lab running? "
                    "`ss -ltnp` lists who listens"
                ) from error
        except BaseException:
            await cluster.close()
            raise
    try:
        yield cluster
    finally:
        await cluster.close()
