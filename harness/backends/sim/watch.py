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
    """One message on one link."""

    __slots__ = ("arrived", "due")

    def __init__(self, due: int) -> None:
        self.due = due
        self.arrived = False


class LinkWatch:
    """Messages of some kinds (none named: all) on some links, given as pairs of indices."""

    def __init__(self, links: Collection[tuple[int, int]], kinds: Collection[str]) -> None:
        self.links = frozenset(links)
        self.inlets = frozenset(to for _, to in self.links)
        self._kinds = frozenset(kinds)
        self._sent: dict[tuple[tuple[int, int], int], _Sent] = {}  # by link and number on it
        self._newest: dict[tuple[int, int], int] = {}  # highest number that has arrived
        self._arrived = self._copies = self._delayed = self._overtaken = self._worst = 0

    def sent(self, link: tuple[int, int], message: Message, number: int, due: int) -> None:
        """A message enters the link, whose shape would deliver it at `due`."""
        if link in self.links and (not self._kinds or kind_of(message) in self._kinds):
            self._sent[link, number] = _Sent(due)

    def arrived(self, link: tuple[int, int], number: int, now: int) -> None:
        """A message leaves the link. One that entered before the watch began is not known here."""
        entry = self._sent.get((link, number))
        if entry is None:
            return
        if entry.arrived:
            self._copies += 1
            return
        entry.arrived = True
        self._arrived += 1
        newest = self._newest.get(link, 0)
        self._newest[link] = max(newest, number)
        if now > entry.due:
            self._delayed += 1
            self._overtaken += number < newest
            self._worst = max(self._worst, now - entry.due)

    def passage(self, now: int) -> Passage:
        """What was seen up to now."""
        missing = sum(not entry.arrived and entry.due < now for entry in self._sent.values())
        return Passage(
            len(self._sent), self._arrived, self._copies, self._delayed, self._overtaken, missing, self._worst / 1e6
        )
