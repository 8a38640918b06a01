"""Availability votes, counted per (K, batch) over distinct members of that clan (protocol.md 2.3).

Memory is bounded by the voters, not by what they claim: each has at most OPEN_VOTES votes on batches without a
certificate (its own oldest goes first), at most two votes per key, and keys are forgotten CLOSED_KEYS after the batch
was finalised.
"""

from __future__ import annotations

from collections import deque

import msgspec

from nodes.committee import Committee
from nodes.crypto import Domain, Verifier, assemble
from nodes.messages import AvailabilityCertificate, AvailabilityVote, NodeId
from nodes.xrbc.check import Facts, Key, facts_of, key_of, statement_of

OPEN_VOTES = 2000
CLOSED_KEYS = 512


class Count(msgspec.Struct, frozen=True):
    """What became of one vote: refused (`fault`), in conflict with an earlier one, or completing a certificate."""

    fault: str | None = None
    conflict: tuple[AvailabilityVote, AvailabilityVote] | None = None
    certificate: AvailabilityCertificate | None = None


_COUNTED = Count()


class _Slot(msgspec.Struct):
    """One key: the votes of each member and the running tallies. A second vote of other content proves it guilty."""

    firsts: list[AvailabilityVote | None]  # by place in the clan: a node holds hundreds of closed keys
    seconds: dict[int, AvailabilityVote] = {}
    tallies: dict[Facts, dict[NodeId, bytes]] = {}
    certified: set[Facts] = set()  # membership only, never iterated


class Tally:
    """Counts votes whose place (clan, proposer, voter's membership, window) the caller has checked."""

    def __init__(self, committee: Committee, domain: Domain, verifier: Verifier) -> None:
        self._committee = committee
        self._domain = domain
        self._verifier = verifier
        self._slots: dict[Key, _Slot] = {}
        self._open: dict[NodeId, dict[tuple[Key, Facts], None]] = {}
        self._closed: deque[Key] = deque()
        self._place = {member: place for clan in committee.clans for place, member in enumerate(clan)}

    def offer(self, vote: AvailabilityVote) -> Count:
        """Count one vote; the signature is verified before it counts."""
        key, facts, place = key_of(vote), facts_of(vote), self._place[vote.voter]
        slot = self._slots.get(key)
        first = slot.firsts[place] if slot else None
        if slot and first is not None and (place in slot.seconds or facts_of(first) == facts):
            return _COUNTED
        if slot and facts in slot.certified and first is None:
            slot.firsts[place] = vote  # superfluous: not worth a verification unless a second one contradicts it
            return _COUNTED
        if not self._good(vote):
            return Count(fault=f"bad signature of {vote.voter} on an availability vote")
        slot = slot or self._slot(key)
        conflict = None
        if first is not None and self._good(first):
            conflict = (first, vote)
            slot.seconds[place] = vote
        else:
            slot.firsts[place] = vote
        if facts in slot.certified:
            return Count(conflict=conflict)
        return Count(conflict=conflict, certificate=self._count(slot, key, facts, vote))

    def voters(self, key: Key, batch: bytes) -> frozenset[NodeId]:
        """Members whose vote for `batch` under `key` is held here."""
        slot = self._slots.get(key)
        if slot is None:
            return frozenset()
        held = [*enumerate(slot.firsts), *slot.seconds.items()]
        members = self._committee.clans[key[0]]
        return frozenset(members[place] for place, vote in held if vote is not None and vote.batch == batch)

    def sizes(self) -> tuple[int, int]:
        """Keys with votes, and votes without a certificate of the voter that has most."""
        return len(self._slots), max(map(len, self._open.values()), default=0)

    def settle(self, certificate: AvailabilityCertificate) -> None:
        """A certificate for these facts exists: further votes for them need no counting."""
        key, facts = key_of(certificate), facts_of(certificate)
        slot = self._slots.get(key) or self._slot(key)
        slot.certified.add(facts)
        for voter in slot.tallies.pop(facts, {}):
            self._open.get(voter, {}).pop((key, facts), None)

    def close(self, key: Key) -> None:
        """The key's batch was finalised or expired; its votes are kept a while longer as possible evidence."""
        self._closed.append(key)
        if len(self._closed) > CLOSED_KEYS:
            self._forget(self._closed.popleft())

    def _slot(self, key: Key) -> _Slot:
        """A new slot. The key's clan exists: whoever calls has checked that."""
        slot = self._slots[key] = _Slot([None] * len(self._committee.clans[key[0]]))
        return slot

    def _good(self, vote: AvailabilityVote) -> bool:
        statement = statement_of(self._domain, vote)
        return self._verifier.verify(self._committee.keys[vote.voter], statement, vote.signature)

    def _count(self, slot: _Slot, key: Key, facts: Facts, vote: AvailabilityVote) -> AvailabilityCertificate | None:
        tally = slot.tallies.setdefault(facts, {})
        tally[vote.voter] = vote.signature
        mine = self._open.setdefault(vote.voter, {})
        mine[key, facts] = None
        majority = self._committee.majority(vote.clan)
        if len(tally) >= majority:
            signers, signatures = assemble(self._committee.clans[vote.clan], tally, majority)
            return AvailabilityCertificate(
                epoch=self._domain.epoch,
                cycle=self._domain.cycle,
                clan=vote.clan,
                proposer=vote.proposer,
                seq=vote.seq,
                batch=vote.batch,
                tx_count=vote.tx_count,
                byte_length=vote.byte_length,
                created_ms=vote.created_ms,
                signers=signers,
                signatures=signatures,
            )
        if len(mine) > OPEN_VOTES:
            self._withdraw(vote.voter, *next(iter(mine)))
        return None

    def _withdraw(self, voter: NodeId, key: Key, facts: Facts) -> None:
        self._open[voter].pop((key, facts), None)
        slot = self._slots.get(key)
        if slot is None:
            return
        slot.tallies.get(facts, {}).pop(voter, None)
        if not slot.tallies.get(facts, True):
            del slot.tallies[facts]
        place = self._place[voter]
        first, second = slot.firsts[place], slot.seconds.get(place)
        if first is not None and facts_of(first) == facts:
            slot.firsts[place] = slot.seconds.pop(place, None)
        elif second is not None and facts_of(second) == facts:
            del slot.seconds[place]
        if not any(slot.firsts) and not slot.certified:
            del self._slots[key]

    def _forget(self, key: Key) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            for facts, tally in slot.tallies.items():
                for voter in tally:
                    self._open.get(voter, {}).pop((key, facts), None)
