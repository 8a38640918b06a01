"""The block and commit certificates of a large trace: every distinct one counted, its signatures as far as they go.

Signers are counted in all of them. Signatures are checked in all of them too, unless there are more than the run's
limit: then in those of contested views first, after that in a selection that depends on the hashes of the blocks
alone. What was not checked is told in the measures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.arithmetic import tribe_quorum
from checkers.certified import COMMIT, Certified, assessed, statement
from checkers.columnar.groups import Flags, Ints, grouped
from checkers.columnar.wide import Rows, Wide
from checkers.evidence import IDEAL
from checkers.index import once
from results.trace import TraceEvent

# About five seconds each: 55 us for an Ed25519 signature, 2 us for an ideal one.
SIGNATURES_MOST = {IDEAL: 3_000_000}
SIGNATURES_MOST_ELSE = 100_000


@dataclass
class Certificates:
    """Distinct certificates in the order of their first records among `rows`."""

    rows: Rows
    first: Ints  # places in rows
    view: Ints
    kind: Ints
    block: Ints
    good: Flags  # counted as valid
    commit: int  # the number of the word
    judged: Certified = field(default_factory=Certified)  # invalid ones and doubts; valid: those of contested views
    verified: int = 0  # signatures
    unverified: int = 0
    assumed: int = 0  # certificates whose signatures were not checked
    left_out: int = 0  # suspects beyond those that are explained

    def __len__(self) -> int:
        return len(self.first)

    def records(self, places: Mapping[int, int]) -> dict[int, TraceEvent]:
        """The records of some of them, each under its name."""
        chosen = np.array(list(places.values()), np.int64)
        return dict(zip(places, self.rows.records(self.first[chosen]), strict=False))

    def blocks(self) -> tuple[Ints, Ints]:
        """(view, block) of certificates of block votes that count as valid; commit certificates do not count."""
        votes = self.good & (self.kind != self.commit)
        return self.view[votes], self.block[votes]

    def measures(self) -> dict[str, Any]:
        """What was checked, for a verdict; nothing to add if all was."""
        if not self.assumed:
            return {}
        return {
            "signatures_unverified": self.unverified,
            "certificates_unverified": self.assumed,
            "verification": (
                f"sampled: the signatures of {len(self) - self.assumed} of {len(self)} certificates were verified, the"
                " signers of the others only counted; all of them: check --signatures all"
            ),
        }


def certificates(wide: Wide) -> Certificates:
    """The certificates of the run; made once. Suspects that were left out count for whoever relies on these."""
    made = once(wide, _examine)
    wide.left_out = max(wide.left_out, made.left_out)
    return made


def _examine(wide: Wide) -> Certificates:
    rows = wide.rows("certify")
    view, kind, block = rows.ints("view"), rows.ids("kind"), rows.ids("block")
    signers, signatures = rows.ids("signers"), rows.ids("signatures")
    first = grouped(view, kind, block, signers, signatures).representatives()
    sizes = np.diff(wide.values.starts)
    first = first[(view[first] > 0) | (sizes[signers[first]] > 0)]  # the genesis certificate has no signers
    signers, signatures = signers[first], signatures[first]
    made = Certificates(
        rows, first, view[first], kind[first], block[first], np.ones(len(first), np.bool_), wide.values.find(COMMIT)
    )
    contested = grouped(made.view).differing(made.block)
    sound = _sound(wide, made.block, signers, signatures)
    chosen = sound & _chosen(wide, made, sizes[signers], contested)
    suspect = ~sound
    suspect[chosen] = _false(wide, made, signers, signatures, np.flatnonzero(chosen))
    looked_at = np.flatnonzero(suspect | contested)
    records = rows.records(first[looked_at])
    made.judged = assessed(wide.info.tribe, wide.notary, records)
    held = {id(event) for event in made.judged.valid}
    made.good[looked_at] = False
    made.good[looked_at[: len(records)]] = [id(event) in held for event in records]
    made.verified = int(sizes[signers[chosen]].sum())
    made.unverified = int(sizes[signers[sound & ~chosen]].sum())
    made.assumed = int((sound & ~chosen).sum())
    made.left_out = len(looked_at) - len(records)
    return made


def _sound(wide: Wide, block: Ints, signers: Ints, signatures: Ints) -> Flags:
    """Certificates for a hash by enough different members of the tribe, each with something as long as a signature."""
    values = wide.values
    lists, place = np.unique(signers, return_inverse=True)
    sound = wide.quorums(lists, tribe_quorum(len(wide.info.tribe)))[place]
    sound &= values.hashed[block] & (values.lengths[block] == 32)
    sound &= np.diff(values.starts)[signers] == np.diff(values.starts)[signatures]
    lists = np.unique(signatures)
    elements, owner = wide.items(lists)
    signed = np.ones(len(lists), np.bool_)
    signed[owner[~values.hashed[elements] | (values.lengths[elements] != 64)]] = False
    return sound & signed[np.searchsorted(lists, signatures)]


def most_signatures(wide: Wide) -> int:
    """How many signatures are verified at most."""
    if wide.signatures_most is not None:
        return wide.signatures_most
    return SIGNATURES_MOST.get(wide.info.scheme, SIGNATURES_MOST_ELSE)


def verified(wide: Wide, signer: int, statement: tuple[str, int, int], signature: int) -> bool:
    """Does one signature cover this? Whatever is no signature does not."""
    blob = wide.values.blob(signature)
    return len(blob) == 64 and wide.notary.signed(str(wide.values.of(signer)), wide.notary.statement(*statement), blob)


def _chosen(wide: Wide, made: Certificates, sizes: Ints, contested: Flags) -> Flags:
    """Whose signatures are verified: all, or as many as the run's limit allows."""
    most = most_signatures(wide)
    if int(sizes.sum()) <= most:
        return np.ones(len(made), np.bool_)
    blocks, place = np.unique(made.block, return_inverse=True)
    lots = np.array(
        [
            int.from_bytes(hashlib.blake2b(str(wide.values.of(b)).encode(), digest_size=7).digest())
            for b in blocks.tolist()
        ]
    )
    order = np.lexsort((lots[place], ~contested))
    chosen = np.zeros(len(made), np.bool_)
    chosen[order[np.cumsum(sizes[order]) <= most]] = True
    return chosen | contested


def _false(wide: Wide, made: Certificates, signers: Ints, signatures: Ints, which: Ints) -> Flags:
    """Which of these certificates hold a signature that does not cover their statement."""
    values, holds = wide.values, wide.notary.holds
    keys = {number: wide.notary.public_key(name) for name in wide.info.tribe if (number := values.find(name)) >= 0}
    starts, elements = values.starts.tolist(), values.elements
    kinds = {number: str(values.of(number)) for number in np.unique(made.kind[which]).tolist()}
    false = np.zeros(len(which), np.bool_)
    known: dict[tuple[int, int], bool] = {}
    told, last = b"", (-1, -1, -1)
    order = np.lexsort((made.view[which], made.kind[which], made.block[which]))
    for place in order.tolist():
        at = which[place]
        about = (int(made.view[at]), int(made.kind[at]), int(made.block[at]))
        if about != last:
            told, last = statement(wide.notary, kinds[about[1]], about[0], values.of(about[2])), about
            known = {}
        names, signed = int(signers[at]), int(signatures[at])
        voters = elements[starts[names] : starts[names + 1]].tolist()
        for vote in zip(voters, elements[starts[signed] : starts[signed + 1]].tolist(), strict=True):
            if vote not in known:
                known[vote] = holds(keys[vote[0]], told, values.blob(vote[1]))
            if not known[vote]:
                false[place] = True
    return false
