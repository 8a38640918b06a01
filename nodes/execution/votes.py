"""State votes of one clan: tallied per claim until M distinct members agree (protocol.md 2.7, section 0)."""

from __future__ import annotations

from typing import TypeAlias

from nodes.committee import Committee
from nodes.crypto import Domain, Verifier, assemble, certificate_fault
from nodes.messages import NodeId, StateCertificate, StateVote

Claim: TypeAlias = tuple[bytes, bytes, bytes]  # block, previous root, root

CLAIMS_PER_VOTER = 2  # at one height; an equivocator's third claim is not worth memory


def claim_of(statement: StateVote | StateCertificate) -> Claim:
    """What is claimed about the height: two claims at one height contradict each other unless equal."""
    return statement.block, statement.previous_root, statement.root


class StateVotes:
    """Tally of one clan. Votes of a height are counted per claim; every counted signature has been verified."""

    def __init__(self, committee: Committee, domain: Domain, clan: int, verifier: Verifier) -> None:
        self._domain = domain
        self._clan = clan
        self._verifier = verifier
        self._keys = committee.keys
        self._members = committee.clans[clan]
        self._majority = committee.majority(clan)
        self._tallies: dict[int, dict[Claim, dict[NodeId, bytes]]] = {}
        self._is_member = frozenset(self._members).__contains__  # membership only

    def add(self, vote: StateVote, own: bool = False) -> StateCertificate | str | None:
        """Count one vote (`own`: signed here, not verified again).

        Returns the certificate when this vote completes it, the reason if the vote is refused, else None.
        """
        voter = vote.voter
        if not self._is_member(voter):
            return f"state vote of {vote.voter}, which is not in clan {self._clan}"
        claims = self._tallies.get(vote.height)
        if claims is None:
            claims = self._tallies[vote.height] = {}
        claim = vote.block, vote.previous_root, vote.root
        signatures = claims.get(claim)
        if signatures is not None and (voter in signatures or len(signatures) >= self._majority):
            return None
        others = len(claims) if signatures is None else len(claims) - 1
        if others and sum(voter in other for other in claims.values()) >= CLAIMS_PER_VOTER:
            return f"state vote of {voter} for a third claim at height {vote.height}"
        if not own and not self._verifier.verify(self._keys[voter], self._statement(vote), vote.signature):
            return f"bad signature on the state vote of {voter} at height {vote.height}"
        if signatures is None:
            signatures = claims[claim] = {}
        signatures[voter] = vote.signature
        if len(signatures) < self._majority:
            return None
        bitmap, signed = assemble(self._members, signatures, self._majority)
        return StateCertificate(
            self._domain.epoch, self._domain.cycle, self._clan, vote.height, *claim, signers=bitmap, signatures=signed
        )

    def fault(self, certificate: StateCertificate) -> str | None:
        """Why a state certificate is invalid, or None: checks (1) to (4) of section 0, in order."""
        lives_in = (self._domain.epoch, self._domain.cycle, self._clan)
        claimed = (certificate.epoch, certificate.cycle, certificate.clan)
        if claimed != lives_in:
            return f"state certificate of (epoch, cycle, clan) {claimed}, this is {lives_in}"
        why = certificate_fault(
            self._members,
            self._keys,
            self._majority,
            certificate.signers,
            certificate.signatures,
            self._statement(certificate),
            self._verifier,
        )
        return None if why is None else f"state certificate at height {certificate.height}: {why}"

    def sizes(self) -> tuple[int, int]:
        """Heights with votes, and the votes."""
        ballots = sum(len(signatures) for claims in self._tallies.values() for signatures in claims.values())
        return len(self._tallies), ballots

    def forget(self, height: int) -> None:
        """Drop the tallies up to and including `height`."""
        for settled in [h for h in self._tallies if h <= height]:
            del self._tallies[settled]

    def _statement(self, statement: StateVote | StateCertificate) -> bytes:
        return self._domain.root(self._clan, statement.height, *claim_of(statement))
