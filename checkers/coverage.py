"""Which heights each gateway had certified, and since when: what it may tell wallets."""

from __future__ import annotations

from checkers.index import Index
from checkers.replay import Replay


class Coverage:
    """The state certificates that honest nodes recorded and that name no other root than the re-executed one.

    Roots are chained, so a certificate covers its height and all below. Above the re-executed heights nothing speaks
    against a certificate.
    """

    def __init__(self, index: Index, replay: Replay) -> None:
        self._true: dict[tuple[str, int], list[tuple[int, int]]] = {}  # (node, clan) -> (time, height)
        for event in index.events("state_certificate"):
            mine = replay.outcomes.get((event["clan"], event["height"]))
            held = self._true.setdefault((event["node"], event["clan"]), [])
            if mine is None or mine.root == event["root"]:
                held.append((int(event["time"]), event["height"]))

    @property
    def recorded(self) -> bool:
        """Does the trace hold state certificates at all? A lean one leaves them out."""
        return bool(self._true)

    def knows(self, node: str, clan: int) -> bool:
        """Did the node record certificates of this clan, true or false?"""
        return (node, clan) in self._true

    def reaches(self, node: str, clan: int, height: int, time: int) -> bool:
        """Had the node, at `time` (ns), a certificate of a true root for that height or a later one?"""
        return any(since <= time and at >= height for since, at in self._true.get((node, clan), ()))
