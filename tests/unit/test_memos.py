"""What is remembered by object or kept by view: the answers are those of nothing remembered, and memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.byobject import ByObject
from nodes.crypto import Domain, assemble, bitmap_of, signers_of
from nodes.messages import Block, block_hash, encode, sha256
from nodes.moonshot.window import ByView


def block(view: int, tag: int = 0) -> Block:
    return Block("c", 0, view, 1, bytes(32), "n0", tag, ())


def test_a_result_belongs_to_one_object_and_the_oldest_goes() -> None:
    memo: ByObject[int] = ByObject(3)
    blocks = [block(view) for view in range(5)]
    for number, subject in enumerate(blocks):
        memo.put(subject, number)
    assert [memo.get(subject) for subject in blocks] == [None, None, 2, 3, 4]
    assert memo.get(block(4)) is None  # equal, but another object


def test_block_hashes_are_right_however_many_blocks_come_and_go() -> None:
    for view in range(1000):
        fresh = block(view)
        assert block_hash(fresh) == block_hash(fresh) == sha256(b"BLOCK", encode(fresh))


def test_a_statement_of_true_is_not_that_of_one() -> None:
    domain = Domain("c", 0, 0)
    one = domain.statement("x", 1)
    assert domain.statement("x", True) != one == domain.statement("x", 1)


@given(st.sets(st.integers(0, 60)), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=12))
def test_pruning_leaves_what_is_not_below(held: set[int], moves: list[tuple[int, int]]) -> None:
    views: ByView[int] = ByView((view, view) for view in sorted(held))
    expected, floor = set(held), 0
    for below, later in moves:
        floor = max(floor, below)
        views.prune(below)
        expected = {view for view in expected if view >= floor}
        assert set(views) == expected
        views[floor + later] = 0  # nothing is added under the floor
        expected.add(floor + later)


@given(st.integers(1, 70), st.data())
def test_bitmaps_name_the_signers_in_committee_order(n: int, data: st.DataObject) -> None:
    members = tuple(f"n{i}" for i in range(n))
    signers = data.draw(st.sets(st.sampled_from(members)))
    weight = data.draw(st.integers(0, n))
    bits = bitmap_of(members, signers)
    assert bits == sum(1 << members.index(s) for s in signers).to_bytes((n + 7) // 8, "little")
    assert signers_of(members, bits) == tuple(m for m in members if m in signers)
    chosen = [m for m in members if m in signers][:weight]
    signatures = {signer: signer.encode() for signer in sorted(signers)}
    assert assemble(members, signatures, weight) == (bitmap_of(members, chosen), tuple(m.encode() for m in chosen))
    if n % 8:
        assert signers_of(members, b"\xff" * len(bits)) is None
    assert signers_of(members, bits + b"\0") is None
