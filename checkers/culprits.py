"""Who signed what no honest replica signs (protocol.md 1.4, 1.10, 6.2 I-ACCT), and the proof of it.

Everything is decided on pairs of signed statements of one node, in whatever order they were signed: a pair that an
honest replica could have signed in one of the two orders proves nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeAlias

from checkers.arithmetic import tribe_quorum
from checkers.certified import COMMIT, certified
from checkers.evidence import EvidenceError, Notary, unhex
from checkers.index import Index, once
from results.evidence import FORMAT, Evidence, Proof, Statement
from results.store import RunInfo

TIMEOUT = "timeout"
DENIED = "lock-denied"  # the one rule that spans views
KINDS = ("optimistic", "normal", "fallback", COMMIT, TIMEOUT)
_OPPOSED = {frozenset(("optimistic", "normal")): "contradicting-votes"}
_EXCLUSIVE = frozenset(("normal", "fallback"))
Shown: TypeAlias = dict[str, list[Statement]]  # node -> what it verifiably signed


def needed(nodes: int) -> int:
    """Members that any two quorums share, 2Q - n: so many must have contradicted themselves."""
    return 2 * tribe_quorum(nodes) - nodes


def contradiction(first: Statement, second: Statement) -> str | None:
    """The rule that forbids an honest replica to sign both, or None. `first` is a vote.

    double-vote: one vote of a kind a view. normal-and-fallback: never both in a view. contradicting-votes: a normal
    vote repeats the own optimistic one. vote-after-timeout: an optimistic vote in v needs r_c = v and t_l < v-1, a
    time-out of v-1 needs r_c < v; a time-out of v or later may follow the vote and proves nothing. lock-denied: who
    voted to commit in v, or optimistically or normally in v+1, held a lock of v, and no later time-out has a lower one.
    """
    if second.kind != TIMEOUT:
        if first.view != second.view or first.kind == TIMEOUT:
            return None
        kinds = frozenset((first.kind, second.kind))
        if kinds == _EXCLUSIVE:
            return "normal-and-fallback"
        if first.block == second.block:
            return None
        return "double-vote" if len(kinds) == 1 else _OPPOSED.get(kinds)
    if first.kind == "optimistic" and second.view == first.view - 1:
        return "vote-after-timeout"
    lock = _lock_shown(first)
    return DENIED if lock is not None and second.view >= first.view and second.lock_view < lock else None


def _lock_shown(vote: Statement) -> int | None:
    """The lowest lock view that a vote proves its voter to have, or None for a vote that proves none."""
    if vote.kind == COMMIT:
        return vote.view
    return vote.view - 1 if vote.kind in ("optimistic", "normal") else None


@dataclass
class Signed:
    """What the records of honest nodes hold of the tribe's signatures; `given_up`: views with a timeout certificate."""

    by_node: Shown = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)


def signed(index: Index) -> Signed:
    """The verified statements behind all certificates of the run; made once per index."""
    return once(index, _signed)


def _signed(index: Index) -> Signed:
    found = Signed(doubts=list(certified(index).doubts))
    seen: dict[tuple[str, str, int, str, int], Statement] = {}

    def keep(node: str, statement: Statement) -> None:
        identity = (node, statement.kind, statement.view, statement.block, statement.lock_view)
        if identity not in seen:
            seen[identity] = statement
            found.by_node.setdefault(node, []).append(statement)

    for event in certified(index).valid:
        for node, signature in zip(event["signers"], event["signatures"], strict=True):
            keep(node, Statement(event["kind"], event["view"], signature, event["block"]))
    for event in index.events("timeout_certificate"):
        if "signatures" not in event:
            continue
        found.given_up.add(event["view"])
        for node, lock, signature in zip(event["signers"], event["lock_views"], event["signatures"], strict=False):
            statement = Statement(TIMEOUT, event["view"], signature, lock_view=lock)
            try:
                holds = signature_fault(index.notary, node, statement) is None
            except EvidenceError as error:
                found.doubts.append(f"timeout certificate of view {event['view']} at {event['node']}: {error}")
                break
            if holds:
                keep(node, statement)
    return found


def proofs(index: Index) -> list[Proof]:
    """One proof per culprit, rule and view of its first statement; in roster order, by view. Made once per index."""
    return once(index, _proofs)


def _proofs(index: Index) -> list[Proof]:
    shown = signed(index).by_node
    return [proof for node in index.info.tribe for proof in proofs_against(node, shown.get(node, []))]


def proofs_against(node: str, statements: list[Statement]) -> list[Proof]:
    """The proofs that the statements of one node give against it, in n log n."""
    votes: defaultdict[int, list[Statement]] = defaultdict(list)
    timeouts = sorted((s for s in statements if s.kind == TIMEOUT), key=lambda s: (s.view, s.lock_view))
    for statement in statements:
        if statement.kind != TIMEOUT:
            votes[statement.view].append(statement)
    lowest = list(timeouts)  # from here on, the time-out with the lowest lock
    for place in range(len(lowest) - 2, -1, -1):
        if lowest[place + 1].lock_view < lowest[place].lock_view:
            lowest[place] = lowest[place + 1]
    views = [statement.view for statement in timeouts]
    found: dict[tuple[str, int], Proof] = {}
    for view, cast in sorted(votes.items()):
        before, since = bisect_left(views, view - 1), bisect_left(views, view)
        against = [*cast, *timeouts[before : before + 1], *lowest[since : since + 1]]
        for first in cast:
            for second in against:
                rule = contradiction(first, second)
                if rule is not None:
                    found.setdefault((rule, view), Proof(node, rule, first, second))
    return list(found.values())


def evidence(index: Index) -> Evidence:
    """The evidence of a run: the first proof of each rule against each culprit."""
    first: dict[tuple[str, str], Proof] = {}
    for proof in proofs(index):
        first.setdefault((proof.culprit, proof.rule), proof)
    info = index.info
    ideal = info.ideal_seeds if info.scheme == "ideal" else {}
    keys = {node: info.public_keys[node] for node in info.tribe if node in info.public_keys}
    return Evidence(
        FORMAT, info.chain, info.epoch, info.cycle, info.tribe, keys, list(first.values()), info.scheme, info.backend,
        {keys[proof.culprit]: ideal[keys[proof.culprit]] for proof in first.values() if keys[proof.culprit] in ideal},
    )  # fmt: skip


def statement_bytes(notary: Notary, statement: Statement) -> bytes:
    """What was signed. Raises EvidenceError for a kind or a block that is none."""
    if statement.kind not in KINDS:
        raise EvidenceError(f"{statement.kind!r:.40} is no kind of statement; known are {', '.join(KINDS)}")
    if statement.kind == TIMEOUT:
        return notary.statement(TIMEOUT, statement.view, statement.lock_view)
    block = unhex(statement.block, 32, "block")
    if block.hex() != statement.block:  # or one block in two spellings would look like two
        raise EvidenceError(f"block {statement.block!r:.80} is not written in lower-case hex digits")
    if statement.kind == COMMIT:
        return notary.statement("commit", statement.view, block)
    return notary.statement("vote", statement.kind, statement.view, block)


def signature_fault(notary: Notary, node: str, statement: Statement) -> str | None:
    """Why the node did not sign this, or None. Raises EvidenceError if the record is damaged."""
    signature = unhex(statement.signature, 64, f"signature of {node}")
    if notary.signed(node, statement_bytes(notary, statement), signature):
        return None
    return f"{node} did not sign {statement.told()}"


def proof_fault(notary: Notary, proof: Proof, tribe: list[str]) -> str | None:
    """Why a proof proves nothing, or None. Raises EvidenceError if it is damaged."""
    if proof.culprit not in tribe:
        return f"{proof.culprit} is not of the committee"
    for statement in (proof.first, proof.second):
        fault = signature_fault(notary, proof.culprit, statement)
        if fault is not None:
            return fault
    rule = contradiction(proof.first, proof.second)
    if rule is None:
        return f"an honest {proof.culprit} may sign {proof.first.told()} and {proof.second.told()}"
    return None if rule == proof.rule else f"what {proof.culprit} signed breaks {rule}, not {proof.rule}"


def verify(document: Evidence) -> tuple[list[str], list[str]]:
    """The proven culprits in the committee's order, and what is wrong with proofs that do not hold.

    Needs nothing but the document. Raises EvidenceError if it is damaged or of a scheme that nobody can check.
    """
    keys = [unhex(key, 32, f"public key of {node}") for node, key in document.public_keys.items()]
    if len(set(keys)) != len(keys):
        raise EvidenceError("two nodes have one public key: what one signed would count against both")
    notary = Notary(_domain(document))
    faults: list[str] = []
    guilty: set[str] = set()
    for proof in document.proofs:
        fault = proof_fault(notary, proof, document.tribe)
        if fault is None:
            guilty.add(proof.culprit)
        else:
            faults.append(fault)
    return [node for node in document.tribe if node in guilty], faults


def _domain(document: Evidence) -> RunInfo:
    """As much of a run as a notary reads."""
    return RunInfo(
        scenario={}, name="", seed=0, backend=document.backend, layer="", target="supra", expect={}, regime="",
        chain=document.chain, epoch=document.epoch, cycle=document.cycle, tribe=document.tribe, gateways=[], clans=[],
        public_keys=document.public_keys, honest=[], byzantine=[], scheme=document.scheme,
        ideal_seeds=document.ideal_seeds,
    )  # fmt: skip
