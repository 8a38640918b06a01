"""Registers: a read shows one value, so it tells whose write it follows; the order of the others has to be inferred.

A key without a write yet reads as null. Each value is written to a key once.
"""

from __future__ import annotations

import numpy as np

from checkers.elle import models
from checkers.elle.findings import Findings, Inference, refuse_steps, who
from checkers.elle.graph import KIND_NAMES, RW, WR, WW, Edges, Fans, Side, edges, joined
from checkers.elle.steps import Steps, Writers, shared, steps_of
from checkers.elle.versions import (
    INITIAL,
    NO_REASON,
    OVERWRITES,
    OWN,
    SESSION,
    Order,
    by_session,
    cyclic,
    in_time,
    merged,
    overwrites,
    own,
    shortest_ring,
    touches,
)
from results.microops import APPEND, NIL, READ, WRITE, Ints
from results.transactions import FAIL, OK, Transactions


def infer(history: Transactions, model: str) -> Inference:
    """Anomalies and dependencies of a register history, with the version orders that the model warrants.

    Raises HistoryError on a history of another kind.
    """
    registers = Registers(history)
    findings = Findings(history)
    registers.reads_and_writes(findings)
    registers.own_steps(findings)
    registers.lost_updates(findings)
    left_out = registers.order_versions(findings, model)
    found, vertices = registers.dependencies()
    reads = len(registers.reads)
    doubts = [] if reads else ["no transaction that ended ok read anything"]
    measures = {
        "reads": reads,
        "writes": int((history.kind == WRITE).sum()),
        "versions_ordered": len(registers.order.before),
    }
    if left_out:
        measures["keys_not_ordered_by_time"] = left_out
    return Inference(
        findings, found, vertices, registers.explain, int((history.status == OK).sum()),
        registers.writers.ambiguous("written"), doubts, measures, CERTAIN,
    )  # fmt: skip


CERTAIN = frozenset(("garbage-read", "G1a", "G1b", "dirty-update", "internal", "lost-update"))  # need no version order


class Registers:
    """Reads, whose write each of them saw, and the order of versions (`versions` says how those are numbered)."""

    def __init__(self, history: Transactions) -> None:
        h = self.history = history
        refuse_steps(h, np.flatnonzero(h.kind == APPEND), "not of a register history; elle-list-append reads these")
        refuse_steps(h, np.flatnonzero(h.listed), "a read of a register shows one value; elle-list-append reads lists")
        self.steps: Steps = steps_of(h, WRITE)
        self.writers = Writers(h, self.steps)
        size = len(h.owner)
        self.reads = np.flatnonzero((h.kind == READ) & (h.status[h.owner] == OK))
        self.seen = np.full(size, -1)  # read -> version, -1: nobody's
        self.seen[self.reads] = self.writers.find(self.steps.key[self.reads], h.result[self.reads])
        initial = self.reads[h.result[self.reads] == NIL]
        self.seen[initial] = size + self.steps.key[initial]
        self.external = self.reads[self.steps.external[self.reads]]
        self.alive = h.status != FAIL  # info, too: nothing comes after what did not happen, so it does no harm
        self.order = Order(*(np.empty(0, np.int64) for _ in range(5)))
        self._circular = np.empty(0, np.int64)  # keys whose versions went in a circle: no more is inferred about them

    def _key(self, step: int) -> object:
        return self.history.names.of(int(self.history.key[step]))

    def _who(self, step: int) -> str:
        return who(self.history, int(self.history.owner[step]))

    def _read(self, step: int) -> str:
        return f"{self._who(step)} read {self._show(int(self.seen[step]), step)} of key {self._key(step)}"

    def _show(self, version: int, step: int) -> str:
        value = self.history.seen(step if version < 0 else version) if version < len(self.history.owner) else None
        return "null" if value is None else str(value)

    # ------------------------------------------------------------ anomalies without cycles
    def reads_and_writes(self, findings: Findings) -> None:
        """garbage-read, G1a, G1b, and dirty-update: an aborted value was read and overwritten by what committed."""
        h, s = self.history, self.steps
        findings.add(
            "garbage-read",
            self.reads[self.seen[self.reads] < 0],
            lambda step: (f"{self._read(step)}; nobody wrote that", [int(h.owner[step])]),
        )
        reads = self.external[(self.seen[self.external] >= 0) & (self.seen[self.external] < len(h.owner))]
        writer = self.seen[reads]
        failed = h.status[h.owner[writer]] == FAIL

        def aborted(step: int) -> tuple[str, list[int]]:
            source = int(self.seen[step])
            text = f"{self._read(step)}, but it was written by {self._who(source)}, which failed"
            return text, [int(h.owner[step]), int(h.owner[source])]

        def dirty(step: int) -> tuple[str, list[int]]:
            text, proof = aborted(step)
            return f"{text}; and it then wrote {h.seen(int(s.first_write[step]))} over it", proof

        def intermediate(step: int) -> tuple[str, list[int]]:
            source = int(self.seen[step])
            text = f"{self._read(step)}, but {self._who(source)} wrote to it again after that"
            return text, [int(h.owner[step]), int(h.owner[source])]

        findings.add("G1a", reads[failed], aborted)
        findings.add("dirty-update", reads[failed & (s.first_write[reads] >= 0) & (s.previous[reads] < 0)], dirty)
        apart = h.owner[writer] != h.owner[reads]
        findings.add("G1b", reads[apart & ~failed & ~s.last_write[writer]], intermediate)

    def own_steps(self, findings: Findings) -> None:
        """internal: a read sees what its own transaction last read or wrote, and nothing that it writes later."""
        h, s = self.history, self.steps
        again = self.reads[s.previous[self.reads] >= 0]
        wrong = again[h.result[again] != h.result[s.previous[again]]]
        written = self.external[(self.seen[self.external] >= 0) & (self.seen[self.external] < len(h.owner))]
        future = written[h.owner[self.seen[written]] == h.owner[written]]

        def tell(step: int) -> tuple[str, list[int]]:
            return f"{self._read(step)}, against its own earlier or later steps", [int(h.owner[step])]

        findings.add("internal", np.unique(np.concatenate([wrong, future])), tell)

    def lost_updates(self, findings: Findings) -> None:
        """Two committed transactions read the same version of a key and both overwrite it."""
        h, s = self.history, self.steps
        first = self.external[(s.previous[self.external] < 0) & (s.first_write[self.external] >= 0)]
        first = first[self.seen[first] >= 0]
        lost = shared(first, self.seen[first])

        def tell(number: int) -> tuple[str, list[int]]:
            steps = lost[number][:4]
            names = " and ".join(map(self._who, steps))
            seen = self._show(int(self.seen[steps[0]]), steps[0])
            writes = ", ".join(str(h.seen(int(s.first_write[step]))) for step in steps)
            text = f"{names} each read {seen} of key {self._key(steps[0])} and wrote to it ({writes})"
            return text, [int(h.owner[step]) for step in steps]

        findings.add("lost-update", range(len(lost)), tell)

    # ------------------------------------------------------------ versions
    def order_versions(self, findings: Findings, model: str) -> int:
        """Fill `order`, level after level; what makes versions go in a circle is told and left out.

        Returns for how many keys real time was not looked at: there were too many pairs.
        """
        h, s, left_out = self.history, self.steps, 0
        touched = touches(h, s, self.seen, self.alive)
        self.order = self._after_initial(own(h, s, self.alive))
        if models.is_at_least(model, "snapshot-isolation") or models.is_at_least(model, "repeatable-read"):
            self._extend(overwrites(touched), findings, "")
        if models.is_at_least(model, "strong-session-snapshot-isolation"):
            self._extend(by_session(h, touched), findings, models.SESSION_SUFFIX)
        if models.is_at_least(model, "strong-snapshot-isolation"):
            timed, left_out = in_time(h, touched)
            self._extend(timed, findings, models.REALTIME_SUFFIX)
        return left_out

    def _after_initial(self, order: Order) -> Order:
        """Less what holds for every key: the initial version comes first."""
        return order.where(order.before < len(self.history.owner))

    def _extend(self, more: Order, findings: Findings, level: str) -> None:
        """Add pairs to the order, but for keys that they would send in a circle."""
        h, size = self.history, len(self.history.owner)
        more = more.where(~np.isin(self._keys_of(more.before), self._circular))
        whole = merged([self.order, self._after_initial(more)])
        back = whole.where(whole.after >= size)  # some version before the initial one: that alone is a circle
        closing = Order(back.after, back.before, np.full(len(back.before), INITIAL), back.here, back.there)
        ring = merged([whole, closing])
        ring = ring.where(cyclic(ring, size + self.steps.keys))
        keys = self._keys_of(ring.before)
        bad = np.unique(keys)

        def tell(key: int) -> tuple[str, list[int]]:
            pairs = shortest_ring(ring.where(keys == key))
            reasons = "; ".join(self._because(pair) for pair in pairs)
            proof = [int(h.owner[step]) for pair in pairs if pair[2] != INITIAL for step in pair[3:]]
            return f"the versions of key {self._key(pairs[0][3])} go in a circle: {reasons}", proof

        findings.add(f"cyclic-versions{level}", bad.tolist(), tell)
        self._circular = np.union1d(self._circular, bad)
        reason = more.reason[0] if len(more.reason) else NO_REASON
        self.order = whole.where(~(np.isin(self._keys_of(whole.before), bad) & (whole.reason == reason)))

    def _keys_of(self, version: Ints) -> Ints:
        size = len(self.history.owner)
        written = version < size
        return np.where(written, self.steps.key[np.where(written, version, 0)], version - size)

    def _because(self, pair: tuple[int, ...]) -> str:
        before, after, reason, here, there = pair
        text = f"{self._show(before, here)} < {self._show(after, there)}, for "
        if reason == INITIAL:
            return text + "every key begins as null"
        return text + self._reason(reason, here, there)

    def _reason(self, reason: int, here: int, there: int) -> str:
        first, second = self._did(here), self._did(there)
        if reason == OWN:
            return f"{first} before {h_value(self.history, there)}"
        if reason == OVERWRITES:
            return f"{first} and then wrote {h_value(self.history, there)}"
        if reason == SESSION:
            return f"{first}, and the same process then, as {second}"
        return f"{first} and had ended before {second}"

    def _did(self, step: int) -> str:
        verb = "read" if self.history.kind[step] == READ else "wrote"
        return f"{self._who(step)} {verb} {h_value(self.history, step)}"

    # ------------------------------------------------------------ dependencies
    def dependencies(self) -> tuple[Edges, int]:
        """Edges ww, wr, rw, and how many vertices they need."""
        h, s, size = self.history, self.steps, len(self.history.owner)
        reads = self.external[self.seen[self.external] >= 0]
        written = reads[self.seen[reads] < size]
        written = written[h.status[h.owner[self.seen[written]]] != FAIL]
        writer = self.seen[written]
        order = self.order
        parts = [
            edges(WR, h.owner[writer], h.owner[written], here=writer, there=written),
            edges(WW, h.owner[order.before], h.owner[order.after], here=order.before, there=order.after),
        ]
        last = np.flatnonzero(s.last_write & self.alive[h.owner])
        later = np.concatenate([order.after, last])
        earlier = np.concatenate([order.before, size + s.key[last]])
        fans = Fans(len(h))
        fans.add(RW, Side.of(self.seen[reads], h.owner[reads], reads), Side.of(earlier, h.owner[later], later))
        return joined([*parts, *fans.parts]), fans.vertices

    def explain(self, kind: int, here: int, there: int, a: str, b: str) -> str:
        """Why one transaction depends on another, in words."""
        h, key = self.history, self._key(here)
        if kind == WR:
            return f"{a} wrote {h_value(h, here)} to key {key} and {b} read it, so {a} < {b} (wr)"
        version = here if kind == WW else int(self.seen[here])
        did, prep = ("wrote", "to") if kind == WW else ("read", "of")
        what = f"{a} {did} {self._show(version, here)} {prep} key {key}"
        found = np.flatnonzero((self.order.before == version) & (self.order.after == there))
        why = "every key begins as null"
        if len(found):
            why = self._reason(*(int(getattr(self.order, name)[found[0]]) for name in ("reason", "here", "there")))
        return f"{what} and {b} wrote the later {h_value(h, there)} ({why}), so {a} < {b} ({KIND_NAMES[kind]})"


def h_value(history: Transactions, step: int) -> str:
    """What a step read or wrote."""
    seen = history.seen(step)
    return "null" if seen is None else str(seen)
