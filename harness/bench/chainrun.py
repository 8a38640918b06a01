"""The figures of one run of a chain, ours or not, from the same records in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from results.stats import quantile
from results.store import Run

SETTLED_NS = 2_000_000_000  # of load, before anything is measured


class ChainRun:
    """A run directory, measured. All times in ms; None where the run has nothing to measure."""

    def __init__(self, directory: Path) -> None:
        run = Run(directory)
        self.info, self._history = run.info, run.history
        honest = {*self.info.honest}
        first: dict[int, tuple[int, Any]] = {}  # height -> when the first honest node had it final, and its timestamp
        self._by_node: dict[str, list[tuple[int, int]]] = {}
        for event in run.events("finalise"):
            if event["node"] in honest:
                first.setdefault(event["height"], (int(event["time"]), event.get("timestamp_ms")))
                self._by_node.setdefault(event["node"], []).append((int(event["time"]), event["height"]))
        self._first = dict(sorted(first.items()))

    # ---------------------------------------------------------------- pace
    def interval(self, begin: int | None = None, end: int | None = None) -> tuple[float | None, int]:
        """Mean time from block to block, and the number of blocks; by default from two seconds of load to its end."""
        begin = self.info.load_start + SETTLED_NS if begin is None else begin
        end = self.info.load_end if end is None else end
        inside = [(time, height) for height, (time, _) in self._first.items() if begin <= time <= end]
        if len(inside) < 2:
            return None, len(inside)
        (since, low), (until, high) = inside[0], inside[-1]
        return (until - since) / 1e6 / (high - low), high - low

    def spread(self) -> tuple[float | None, float | None]:
        """Median and 95th percentile of the time between consecutive blocks' own timestamps, under load."""
        inside = [
            stamp for time, stamp in self._first.values()
            if stamp is not None and self.info.load_start + SETTLED_NS <= time <= self.info.load_end
        ]  # fmt: skip
        gaps = sorted(float(b - a) for a, b in pairwise(inside))
        return (quantile(gaps, 0.5), quantile(gaps, 0.95)) if gaps else (None, None)

    # ---------------------------------------------------------------- transactions
    def answers(self) -> list[float]:
        """From asking to the answer that it took effect, for what was asked after two seconds of load; sorted."""
        asked: dict[int | str, int] = {}
        spans = []
        for operation in self._history:
            if operation.type == "invoke":
                asked[operation.process] = operation.time
            elif operation.type == "ok" and operation.process in asked:
                begun = asked[operation.process]
                if self.info.load_start + SETTLED_NS <= begun <= self.info.load_end:
                    spans.append((operation.time - begun) / 1e6)
        return sorted(spans)

    def throughput(self) -> tuple[float, int]:
        """Operations a second that took effect from two seconds of load to its end, and their number."""
        begin, end = self.info.load_start + SETTLED_NS, self.info.load_end
        done = sum(o.type == "ok" and begin <= o.time <= end for o in self._history)
        return done / ((end - begin) / 1e9), done

    # ---------------------------------------------------------------- faults
    def window(self) -> tuple[int, int]:
        """From when the run's fault was injected to when it was healed, by its receipt."""
        for operation in self._history:
            if operation.process == "nemesis" and operation.f == "stop":
                receipt = operation.value["receipt"]
                return int(receipt["injected"]), int(receipt["healed"])
        return 0, 0

    def first_block_after(self, moment: int) -> float | None:
        """From a moment to the first block above all that were final then, anywhere."""
        top = max((height for height, (time, _) in self._first.items() if time <= moment), default=0)
        later = [time for height, (time, _) in self._first.items() if height > top]
        return (min(later) - moment) / 1e6 if later else None

    def answered_after(self, moment: int) -> float | None:
        """From a moment to the first answer to a client that something took effect."""
        return next(((o.time - moment) / 1e6 for o in self._history if o.type == "ok" and o.time > moment), None)

    def longest_gap(self, begin: int, end: int) -> float | None:
        """The longest time from block to block that lies in part between two moments."""
        times = sorted(time for time, _ in self._first.values())
        return max(((b - a) / 1e6 for a, b in pairwise(times) if b > begin and a < end), default=None)

    def caught_up_after(self, node: str, moment: int) -> float | None:
        """From a moment until a node has all that was final anywhere at that moment; 0 if it has it already."""
        top = max((height for height, (time, _) in self._first.items() if time <= moment), default=0)
        held = (time for time, height in self._by_node.get(node, []) if height >= top)
        return next((max(0, time - moment) / 1e6 for time in held), None)


def percentiles(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Median and 95th percentile of sorted values."""
    return (quantile(values, 0.5), quantile(values, 0.95)) if values else (None, None)
