"""timeouts on columns: views entered without a reason on record, and timeout certificates."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from checkers import timeouts as rule
from checkers.arithmetic import tribe_quorum
from checkers.columnar.certificates import certificates, most_signatures, verified
from checkers.columnar.groups import Flags, Ints, found, grouped
from checkers.columnar.wide import Wide
from results.trace_columns import ABSENT
from results.verdict import Verdict


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.timeouts`."""
    enter, held, votes = wide.rows("enter"), certificates(wide), wide.rows("vote")
    via, view = enter.ids("via"), enter.ints("view")
    late = via == wide.values.find(rule.BY_TIMEOUT)
    entered = via != wide.values.find("start")
    certify, ends = wide.rows("certify"), wide.rows("timeout_certificate")
    seen = certify.ids("kind") != held.commit
    wanted = (enter.node, view - 1)
    reason = np.where(
        late,
        found(wanted, (ends.node, ends.ints("view"))),
        found(wanted, (certify.node[seen], certify.ints("view")[seen])),
    )
    anomalies = [rule.unjustified(event) for event in enter.records(entered & ~reason)]
    signatures = ends.ids("signatures", optional=True)
    first = grouped(ends.ints("view"), ends.ids("signers"), signatures).representatives()
    suspect, unverified = _suspect(wide, first)
    good = _Good(wide)
    invalid, doubts = rule.assessed(wide.info.tribe, wide.notary, ends.records(first[suspect]), good)
    high, parent = votes.ids("high", optional=True), votes.ids("parent", optional=True)
    off = (high != ABSENT) & (high != wide.values.null) & (high != parent)
    anomalies += invalid + rule.fallbacks(votes.records(off))
    more: dict[str, object] = {**held.measures()}
    if unverified:
        more["timeout_certificates_unverified"] = unverified
    return rule.concluded(int(entered.sum()), anomalies, len(first), doubts, more)


class _Good(Container[tuple[int, str]]):
    """(view, block) of certified blocks."""

    def __init__(self, wide: Wide) -> None:
        self._wide = wide
        self._view, self._block = certificates(wide).blocks()

    def __contains__(self, at: object) -> bool:
        view, block = at if isinstance(at, tuple) else (0, "")
        return bool(((self._view == view) & (self._block == self._wide.values.find(str(block)))).any())


def _suspect(wide: Wide, first: Ints) -> tuple[Flags, int]:
    """Which of these timeout certificates may be invalid; of how many the signatures were not checked."""
    rows, values = wide.rows("timeout_certificate"), wide.values
    view, signers = rows.ints("view")[first], rows.ids("signers")[first]
    high_view, high = rows.ints("high_view")[first], rows.ids("high", optional=True)[first]
    locks = rows.ids("lock_views", optional=True)[first]
    signatures = rows.ids("signatures", optional=True)[first]
    lists, place = np.unique(signers, return_inverse=True)
    suspect = ~wide.quorums(lists, tribe_quorum(len(wide.info.tribe)))[place]
    signed = signatures != ABSENT
    suspect |= signed & (locks == ABSENT)
    whole = np.flatnonzero(signed & ~suspect)
    sizes = np.diff(values.starts)
    odd = (sizes[locks[whole]] != sizes[signers[whole]]) | (sizes[signatures[whole]] != sizes[signers[whole]])
    odd |= high_view[whole] >= view[whole]
    odd |= (high_view[whole] > 0) & ~found((high_view[whole], high[whole]), certificates(wide).blocks())
    suspect[whole[odd]] = True
    whole = whole[~odd]
    chosen = whole[np.cumsum(sizes[signers[whole]]) <= most_signatures(wide)]
    for at in chosen.tolist():
        told = [values.of(int(number)) for number in values.items(int(locks[at]))]
        fine = all(type(lock) is int for lock in told) and max(told) == high_view[at]
        suspect[at] = not fine or not all(
            verified(wide, int(signer), ("timeout", int(view[at]), lock), int(signature))
            for signer, lock, signature in zip(
                values.items(int(signers[at])), told, values.items(int(signatures[at])), strict=True
            )
        )
    return suspect, len(whole) - len(chosen)
