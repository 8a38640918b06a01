"""Watching links: what became of each message between the two ends, apart from what is meant to happen to it.

A watch knows when the link's shape would deliver a message, and sees when, whether and how often it arrives. It asks no
rule what it did, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from faults.port import Passage
from harness.backends.sim.rules import kind_of
from nodes.messages import Message


class _Sent:
    """One message on one link. The reference keeps the message's identity from being used again."""

    __slots__ = ("arrivals", "due", "message", "number")

    def __init__(self, message: Message, number: int, due: int) -> None:
        self.message = message
        self.number = number
        self.due = due
        self.arrivals = 0


class LinkWatch:
    """Messages of some kinds (none named: all) on some links, given as pairs of indices."""

    def __init__(self, links: Collection[tuple[int, int]], kinds: Collection[str]) -> None:
        self.links = frozenset(links)
        self.inlets = frozenset(to for _, to in self.links)
        self._kinds = frozenset(kinds)
        self._sent: dict[tuple[tuple[int, int], int], list[_Sent]] = {}
        self._newest: dict[tuple[int, int], int] = {}  # number of the last message that nothing had overtaken
        self._arrived = self._copies = self._delayed = self._overtaken = self._worst = 0

    def sent(self, link: tuple[int, int], message: Message, number: int, due: int) -> None:
        """A message enters the link, whose shape would deliver it at `due`."""
        if link in self.links and (not self._kinds or kind_of(message) in self._kinds):
            self._sent.setdefault((link, id(message)), []).append(_Sent(message, number, due))

    def arrived(self, link: tuple[int, int], message: Message, now: int) -> None:
        """A message leaves the link. One that entered before the watch began is not known here."""
        entries = self._sent.get((link, id(message)))
        if not entries:
            return
        first = next((entry for entry in entries if not entry.arrivals), None)
        if first is None:
            entries[-1].arrivals += 1
            self._copies += 1
            return
        first.arrivals = 1
        self._arrived += 1
        newest = self._newest.get(link, 0)
        self._newest[link] = max(newest, first.number)
        if now > first.due:
            self._delayed += 1
            self._overtaken += first.number < newest
            self._worst = max(self._worst, now - first.due)

    def passage(self, now: int) -> Passage:
        """What was seen up to now."""
        entries = [entry for group in self._sent.values() for entry in group]
        missing = sum(not entry.arrivals and entry.due < now for entry in entries)
        return Passage(
            len(entries), self._arrived, self._copies, self._delayed, self._overtaken, missing, self._worst / 1e6
        )
