"""Thresholds, derived from their defining inequalities (protocol.md section 0), and time bounds.

Nothing here is shared with the system under test: an off-by-one there must not repeat itself in its judge.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from checkers.waits import Waits
from results.store import RunInfo


def tribe_faults(n: int) -> int:
    """The most faults f that a tribe of n bears: the largest f with n >= 3f + 1."""
    return max(f for f in range(n + 1) if n >= 3 * f + 1 or f == 0)


def tribe_quorum(n: int) -> int:
    """The fewest voters any two sets of which share more than f members: smallest Q with 2Q - n >= f + 1."""
    f = tribe_faults(n)
    return min(q for q in range(n + 1) if 2 * q - n >= f + 1)


def clan_faults(n: int) -> int:
    """The most faults f that a clan of n bears: the largest f with n >= 2f + 1."""
    return max(f for f in range(n + 1) if n >= 2 * f + 1 or f == 0)


def clan_majority(n: int) -> int:
    """The fewest clan members of whom one is certainly honest."""
    return clan_faults(n) + 1


class Bounds:
    """Time limits of a run in milliseconds. Each can be set in the scenario under [checks.bounds]; defaults follow.

    liveness_deltas   max(12, 6 + 3f) Delta: f silent leaders in a row cost 3 Delta each (1.11), the rest is for
                      repeats; more where the schedule makes the chain wait for longer (`checkers.waits`)
    liveness_ms       liveness_deltas * Delta + 5 md + idle_delay (which says nothing of a system that is not ours)
    inclusion_ms      inclusion time-out + f view time-outs (3 Delta) or that longer wait, three of each, + 20 md + 3000
                      (2.5, 1.11)
    retrieve_ms       4 batch_retry_ms + 10 md, at least 4000: four attempts may ask signers who do not serve, the next
                      asks the whole clan
    exec_ms           inclusion_ms + retrieve_ms + 20 md
    catch_up_blocks   10: how far a restarted node may trail at the end
    view_ms           4 Delta + 4 md + idle_delay: how long a node may stay in one view (3 Delta + 2 delta, and Delta
                      that entries lie apart; 1.11)
    commit_ms         5 Delta + idle_delay: 4 delta + Delta from the start of an honest leader's view, delta <= Delta
    catch_up_ms       2 sync_retry_ms + 6 md: for each request of 64 blocks that a node lacks, one may be lost
    evidence_blocks   30: from a double vote to its evidence on the chain (CometBFT); a cut-off witness adds its absence
    """

    def __init__(self, info: RunInfo) -> None:
        given: dict[str, Any] = info.checks.get("bounds") or {}
        protocol = info.parameters
        self.delta_ms = float(protocol.get("delta_ms", 500))
        self.md_ms = info.md_ms
        f = tribe_faults(len(info.tribe))
        view_ms = 3 * self.delta_ms
        idle_ms = float(protocol.get("idle_delay_ms", 0))
        self.waits = Waits(info)
        longest = self.waits.longest
        waiting_ms = 0.0 if longest is None else longest.ms(self.delta_ms, self.md_ms)
        self._rest_ms = 5 * self.md_ms + idle_ms
        self._liveness_given = bool({"liveness_deltas", "liveness_ms"} & given.keys())
        waited = 6 + waiting_ms / self.delta_ms if self.delta_ms else 0.0
        self.liveness_deltas = float(given.get("liveness_deltas", max(12, 6 + 3 * f, waited)))
        liveness_ms = self.liveness_deltas * self.delta_ms + self._rest_ms
        self.liveness_ms = float(given.get("liveness_ms", liveness_ms))
        inclusion_ms = float(protocol.get("inclusion_timeout_ms", 2000))
        self.inclusion_ms = float(
            given.get(
                "inclusion_ms", inclusion_ms + 3 * max(view_ms * f, waiting_ms) + 20 * self.md_ms + idle_ms + 3000
            )
        )
        retry_ms = float(protocol.get("batch_retry_ms", 1000))
        self.retrieve_ms = float(given.get("retrieve_ms", max(4000.0, 4 * retry_ms + 10 * self.md_ms)))
        self.exec_ms = float(given.get("exec_ms", self.inclusion_ms + self.retrieve_ms + 20 * self.md_ms))
        self.view_ms = float(given.get("view_ms", 4 * self.delta_ms + 4 * self.md_ms + idle_ms))
        self.commit_ms = float(given.get("commit_ms", 5 * self.delta_ms + idle_ms))
        sync_ms = float(protocol.get("sync_retry_ms", 500))
        self.catch_up_ms = float(given.get("catch_up_ms", 2 * sync_ms + 6 * self.md_ms))
        self.catch_up_blocks = int(given.get("catch_up_blocks", 10))
        self.evidence_blocks = int(given.get("evidence_blocks", 30))

    def recovery_ms(self, view: int, late: Collection[str]) -> float:
        """liveness_ms, or more where, from the view after `view` on, the first turns of leaders that are `late` lie
        among those of silent ones: an honest leader that is behind when it should propose loses that turn."""
        wait = self.waits.after(view, late)
        if wait is None or self._liveness_given:
            return self.liveness_ms
        return max(self.liveness_ms, 6 * self.delta_ms + wait.ms(self.delta_ms, self.md_ms) + self._rest_ms)
