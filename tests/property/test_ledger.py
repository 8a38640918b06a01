"""Laws of the ledger and its tree over generated histories."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.committee import Committee
from nodes.crypto import Domain
from nodes.execution.ledger import Ledger
from nodes.execution.ordering import permute
from nodes.execution.tree import StateTree
from nodes.messages import Append, Read, Transaction, Transfer, tx_id
from tests.driver import signer_of, small_config

COMMITTEE = Committee(small_config(n=4, accounts=3))
DOMAIN = Domain("test", 0, 0)
PEOPLE = [signer_of(f"acct{i}").public_key for i in range(3)] + [signer_of("stranger").public_key]


class Trusting:
    """Signatures are not what these tests are about."""

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        return True


def new_ledger() -> Ledger:
    return Ledger(COMMITTEE, DOMAIN, 0, Trusting())


operation = st.one_of(
    st.builds(Transfer, to=st.sampled_from(PEOPLE), amount=st.integers(0, 1500)),
    st.builds(Append, key=st.integers(0, 2), value=st.integers(-5, 5)),
    st.builds(Read, key=st.integers(0, 2)),
)
transaction = st.builds(
    Transaction,
    chain=st.just("test"),
    sender=st.sampled_from(PEOPLE),
    seq=st.integers(0, 4),
    expiry_ms=st.integers(0, 10),
    operations=st.lists(operation, min_size=1, max_size=4).map(tuple),
    padding=st.just(b""),
    signature=st.just(bytes(64)),
)
blocks = st.lists(st.lists(transaction, max_size=6), max_size=5)


def pairs(transactions):
    return [(tx_id(t), t) for t in transactions]


def snapshot(ledger: Ledger):
    return [ledger.account(p) for p in PEOPLE], [ledger.values(k) for k in range(3)]


@settings(max_examples=60, deadline=None)
@given(blocks)
def test_conservation_and_sequence_numbers(history):
    ledger = new_ledger()
    total = ledger.total()
    for height, block in enumerate(history):
        seqs = [ledger.account(p)[1] for p in PEOPLE]
        outcome = ledger.execute(height, pairs(block))
        assert ledger.total() == total
        advanced = len(outcome.applied) + sum(reason == "insufficient" for _, reason in outcome.aborted)
        assert sum(ledger.account(p)[1] for p in PEOPLE) - sum(seqs) == advanced
        assert len(outcome.applied) + len(outcome.aborted) == len(block)


@settings(max_examples=60, deadline=None)
@given(blocks)
def test_all_or_nothing(history):
    ledger = new_ledger()
    for block in history:
        for tx, t in pairs(block):
            accounts, lists = snapshot(ledger)
            outcome = ledger.execute(5, [(tx, t)])
            if outcome.aborted:
                reason = outcome.aborted[0][1]
                after, lists_after = snapshot(ledger)
                assert lists_after == lists
                if reason == "insufficient":
                    sender = PEOPLE.index(t.sender)
                    accounts[sender] = (accounts[sender][0], accounts[sender][1] + 1)
                assert after == accounts


@settings(max_examples=40, deadline=None)
@given(blocks)
def test_a_second_execution_of_everything_has_no_effect(history):
    ledger = new_ledger()
    done: list[tuple[bytes, Transaction]] = []
    for block in history:
        outcome = ledger.execute(0, pairs(block))
        done += [pair for pair in pairs(block) if pair[0] in outcome.applied]
    before = snapshot(ledger)
    assert ledger.execute(0, done).applied == ()
    assert snapshot(ledger) == before


@settings(max_examples=40, deadline=None)
@given(blocks)
def test_undo_information_restores_the_accounts(history):
    ledger = new_ledger()
    for block in history:
        before = {p: ledger.account(p) for p in PEOPLE}
        outcome = ledger.execute(0, pairs(block))
        assert {p: outcome.before.get(p, ledger.account(p)) for p in PEOPLE} == before


@settings(max_examples=40, deadline=None)
@given(st.lists(transaction, max_size=8, unique_by=tx_id), st.randoms(use_true_random=False))
def test_payload_order_does_not_matter_for_distinct_keys(block, rng):
    """The permutation depends on ids and seqs; only equal (sender, seq) pairs fall back on their shuffled order."""
    shuffled = list(block)
    rng.shuffle(shuffled)
    first, second = new_ledger(), new_ledger()
    identity = bytes(32)
    one = first.execute(0, permute(identity, pairs(block)))
    two = second.execute(0, permute(identity, pairs(shuffled)))
    assert one == two


entries = st.dictionaries(st.binary(min_size=1, max_size=3), st.binary(max_size=4), max_size=40)


@settings(max_examples=60, deadline=None)
@given(entries, st.randoms(use_true_random=False))
def test_root_depends_on_the_entries_not_on_their_order(mapping, rng):
    items = list(mapping.items())
    rng.shuffle(items)
    assert StateTree(mapping.items()).root() == StateTree(items).root()


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, max_size=5))
def test_incremental_tree_equals_rebuilt_tree(rounds):
    tree, state = StateTree(), {}
    for update in rounds:
        for key, value in update.items():
            tree.set(key, value)
        state.update(update)
        assert tree.root() == StateTree(state.items()).root()
