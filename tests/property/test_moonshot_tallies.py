"""The short form in which a tally keeps ordinary votes counts as the long one does, whatever comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.committee import Committee
from nodes.ideal import IdealSigner, IdealVerifier
from nodes.messages import Vote
from nodes.moonshot.tallies import VoteTally
from tests.driver import domain_of, seed_of, small_config

CONFIG = small_config(7)
TRIBE = tuple(member.id for member in CONFIG.tribe)
DOMAIN = domain_of(CONFIG)
SIGNERS = {name: IdealSigner(seed_of(name)) for name in TRIBE}
BLOCKS = (b"a" * 32, b"b" * 32, b"c" * 32)


class Ideal(Committee):
    """The committee of the test cluster, with the ideal keys of the same seeds."""

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.keys = {name: signer.public_key for name, signer in SIGNERS.items()}


COMMITTEE = Ideal()


def statement(view: int, block: bytes) -> bytes:
    return DOMAIN.vote("normal", view, block)


def tally() -> VoteTally:
    return VoteTally(COMMITTEE, IdealVerifier(map(seed_of, TRIBE)), statement)


def vote(voter: int, block: int, good: bool, salt: int) -> Vote:
    name, chosen = TRIBE[voter], BLOCKS[block]
    signature = SIGNERS[name].sign(statement(1, chosen)) if good else bytes([salt]) * 64
    return Vote("normal", 1, chosen, name, signature)


votes = st.builds(
    vote, st.integers(0, 6), st.sampled_from([0, 0, 0, 0, 1, 2]), st.integers(0, 4).map(bool), st.integers(0, 2)
)
arrivals = st.lists(st.tuples(votes, st.integers(0, 5).map(bool), st.integers(0, 9).map(bool)), max_size=40)


@given(arrivals)
def test_meeting_votes_counts_as_adding_them(arrivals: list[tuple[Vote, bool, bool]]) -> None:
    """`needed` is False for what comes after the certificate: it is noted as its voter's first, and not counted."""
    short, long = tally(), tally()
    first: dict[str, Vote] = {}
    for cast, direct, needed in arrivals:
        place = TRIBE.index(cast.voter)
        got = short.meet(place, cast, direct, needed)
        assert (got is None) == (cast.voter in first)
        first.setdefault(cast.voter, cast)
        assert short.first(1, place) is first[cast.voter]
        if got is None:
            got = needed and short.add(1, cast.block, cast.voter, cast.signature, direct)
        expected = needed and long.add(1, cast.block, cast.voter, cast.signature, direct)
        assert got == expected
        if expected:
            assert short.quorum(1, cast.block) == long.quorum(1, cast.block)
        assert short.evicted == long.evicted


def test_seven_ordinary_votes_make_a_quorum_of_five() -> None:
    short = tally()
    answers = [short.meet(i, vote(i, 0, good=True, salt=0), True, True) for i in range(7)]
    assert answers == [False] * 4 + [True] * 3
    bits, signatures = short.quorum(1, BLOCKS[0]) or (b"", ())
    assert (bits, len(signatures)) == (b"\x1f", COMMITTEE.quorum)
