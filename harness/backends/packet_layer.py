"""Network faults of a set of addresses on one bridge of this host: cuts by nft, shapes by netem or the delay daemon.

All methods block for milliseconds; an asyncio backend calls them in a thread. They may be called from several threads.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from faults.port import Shape
from harness.backends.delay_client import QueueShaper
from harness.backends.features import CURE, NETEM, Features, probe
from harness.backends.netem import NetemShaper
from harness.backends.nft import Nft, NftError
from harness.backends.packets import Cuts, Pair, change_script, read_counters, table_name, table_script
from harness.backends.port import MachineError
from harness.backends.processes import process_ident


class Shaper(Protocol):
    """What carries delay, jitter, loss and bandwidth."""

    def shape(self, shapes: Mapping[Pair, Shape]) -> None:
        """Set the whole shape of each pair; an empty Shape takes it out of the shaper's hands."""
        ...

    def refresh(self) -> None:
        """A node was started again: put its shapes back where that undid them."""
        ...

    def verify(self) -> None:
        """Traffic flows on shaped links: is it shaped? Raises MachineError if not."""
        ...

    def lost(self) -> Mapping[Pair, int]:
        """Packets that the shaper dropped, per pair."""
        ...

    def close(self) -> None:
        """Remove everything."""
        ...


class PacketLayer:
    """The packet layer of one run. Raises MachineError where the host cannot carry one (see `features.probe`).

    `bridge`: the bridge's interface name. `ports`: gives the bridge port (interface name) of each address now.
    """

    def __init__(self, run_id: str, bridge: str, ports: Callable[[], Mapping[str, str]], seed: int = 0) -> None:
        features = probe()
        if features.layer is None:
            raise MachineError("no packet layer on this machine: " + "; ".join(features.missing) + f"; {CURE}")
        self.name = features.layer
        self._table = table_name(run_id, process_ident(os.getpid()))
        self._nft = Nft()
        self._cuts: Cuts[Pair] = Cuts()
        self._past: dict[Pair, int] = {}  # drops of cuts that were healed
        self._lock = threading.Lock()
        self._shaper = self._open(features, run_id, bridge, ports, seed)

    def cut(self, pairs: Iterable[Pair]) -> None:
        """Drop every packet of the pairs from now on, those on their way included; atomic; cuts are counted."""
        with self._lock:
            new = self._cuts.cut(pairs)
            if new:
                self._nft.run(change_script(self._table, "cuts", add=new))

    def heal(self, pairs: Iterable[Pair]) -> None:
        """Undo one cut of each. Raises ValueError for a pair that is not cut (and then changes nothing)."""
        with self._lock:
            healed = self._cuts.heal(pairs)
            if not healed:
                return
            counters = self._counters()
            self._nft.run(change_script(self._table, "cuts", delete=healed))
            for pair in healed:
                self._past[pair] = self._past.get(pair, 0) + counters.get(pair, 0)

    def shape(self, shapes: Mapping[Pair, Shape]) -> None:
        """Set the whole shape of each pair; an empty Shape removes it."""
        with self._lock:
            self._shaper.shape(shapes)

    def refresh(self) -> None:
        """Call after a node was started again."""
        with self._lock:
            self._shaper.refresh()

    def verify(self) -> None:
        """Call when traffic flows. Raises MachineError if the shapes are not real."""
        with self._lock:
            self._shaper.verify()

    def dropped(self) -> dict[Pair, int]:
        """Packets dropped per pair so far, by cuts and by loss."""
        with self._lock:
            total = dict(self._past)
            for source in (self._counters(), self._shaper.lost()):
                for pair, count in source.items():
                    total[pair] = total.get(pair, 0) + count
            return total

    def close(self) -> None:
        """Remove the table, the rules and the daemon. Safe to call twice."""
        with self._lock:
            self._shaper.close()
            with contextlib.suppress(NftError):  # gone already
                self._nft.run(f"delete table bridge {self._table}")

    def _open(
        self, features: Features, run_id: str, bridge: str, ports: Callable[[], Mapping[str, str]], seed: int
    ) -> Shaper:
        if features.delays == NETEM:
            self._nft.run(table_script(self._table, None))
            return NetemShaper(ports)
        native = not features.xt_queue
        shaper = QueueShaper(run_id, bridge, self._table, self._nft, native, seed)
        try:
            self._nft.run(table_script(self._table, shaper.queue, native))
        except NftError:
            shaper.close()
            raise
        return shaper

    def _counters(self) -> dict[Pair, int]:
        return read_counters(self._nft.run(f"list set bridge {self._table} cuts"))
