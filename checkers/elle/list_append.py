"""List-append: every read shows the whole list, so it shows the order of all appends before it.

The version order of a key is its longest read; what happened and is not in it comes after it. Every other read must be
a prefix of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from checkers.elle.findings import Findings, Inference, listing, refuse_steps, who
from checkers.elle.graph import RW, WR, WW, Edges, Fans, Side, edges, joined
from checkers.elle.steps import Steps, Writers, shared, steps_of
from results.microops import APPEND, NIL, READ, WRITE, Ints, Narrow
from results.transactions import FAIL, OK, Transactions

SLICE = 1 << 17  # list elements compared at a time: what fits into a processor's cache


def infer(history: Transactions) -> Inference:
    """Anomalies and dependencies of a list-append history. Raises HistoryError on one of another kind."""
    lists = Lists(history)
    findings = Findings(history)
    lists.elements(findings)
    lists.reads_and_own_writes(findings)
    lists.own_order(findings)
    lists.intermediate(findings)
    lists.lost_updates(findings)
    found, vertices = lists.dependencies()
    examined = int((history.status == OK).sum())
    doubts = [] if len(lists.reads) else ["no transaction that ended ok read anything"]
    measures = {"reads": len(lists.reads), "appends": int((history.kind == APPEND).sum()), "versions": len(lists.value)}
    return Inference(
        findings, found, vertices, lists.explain, examined, lists.writers.ambiguous("appended"), doubts, measures
    )


class Lists:
    """Reads, the longest one per key, and whose append each element of it is.

    Versions are the elements of the longest reads, key after key: `value`, `place` in its list, `writer` (step or -1).
    """

    def __init__(self, history: Transactions) -> None:
        h = self.history = history
        refuse_steps(h, np.flatnonzero(h.kind == WRITE), "not of a list-append history; elle-rw-register reads these")
        scalar = (h.kind == READ) & ~h.listed & (h.result != NIL)
        refuse_steps(h, np.flatnonzero(scalar), "a read of list-append shows a list; elle-rw-register reads these")
        self.steps: Steps = steps_of(h, APPEND)
        self.writers = Writers(h, self.steps)
        self.reads = np.flatnonzero((h.kind == READ) & (h.status[h.owner] == OK))
        self.length = np.zeros(len(h.owner), np.int64)  # of the list a read saw
        self.start = np.zeros(len(h.owner), np.int64)  # where it begins among the elements
        listed = self.reads[h.listed[self.reads]]
        number = h.result[listed]
        self.start[listed], self.length[listed] = h.starts[number], h.starts[number + 1] - h.starts[number]
        key = self.steps.key
        self.longest = np.zeros(self.steps.keys, np.int64)
        np.maximum.at(self.longest, key[self.reads], self.length[self.reads])
        full = self.reads[(self.length[self.reads] == self.longest[key[self.reads]]) & (self.length[self.reads] > 0)]
        self.longest_read = np.full(self.steps.keys, -1)
        self.longest_read[key[full[::-1]]] = full[::-1]  # the first of several
        self.stray = self._strays()  # reads that are no prefix of the longest
        told = self.longest_read[self.longest_read >= 0]
        self.first = np.cumsum(self.longest) - self.longest  # of each key's versions
        self.version_key = np.repeat(np.arange(self.steps.keys), self.longest)
        self.place = np.arange(len(self.version_key)) - self.first[self.version_key]
        self.value = h.elements[np.repeat(self.start[told], self.length[told]) + self.place]
        self.writer = self.writers.find(self.version_key, self.value)
        self.version_of = np.full(len(h.owner), -1)  # append -> its version
        known = np.flatnonzero(self.writer >= 0)[::-1]
        self.version_of[self.writer[known]] = known
        self.is_stray = np.zeros(len(h.owner), np.bool_)
        self.is_stray[self.stray] = True

    def _strays(self) -> Ints:
        stray = np.zeros(len(self.history.owner), np.bool_)
        for reads, element, place in _elements(self.reads, self.start, self.length):
            against = self.start[self.longest_read[self.steps.key[reads]]] + place
            stray[reads[self.history.elements[element] != self.history.elements[against]]] = True
        return np.flatnonzero(stray)

    def _key(self, step: int) -> object:
        return self.history.names.of(int(self.history.key[step]))

    def _read(self, step: int) -> str:
        return f"{who(self.history, int(self.history.owner[step]))} read {listing(self.history.seen(step) or [])}"

    # ------------------------------------------------------------ elements
    def elements(self, findings: Findings) -> None:
        """Order, duplicates, values of nobody, aborted writes, and what was put on top of them."""
        h, key = self.history, self.steps.key

        def stray(step: int) -> tuple[str, list[int]]:
            longest = int(self.longest_read[key[step]])
            text = f"{self._read(step)} of key {self._key(step)}, which is no prefix of the longest list read of it: "
            return text + listing(h.seen(longest) or []), [int(h.owner[step]), int(h.owner[longest])]

        findings.add("incompatible-order", self.stray, stray)
        told = self.longest_read[self.longest_read >= 0]
        reads = np.concatenate([np.repeat(told, self.length[told]), *(r for r, _, _ in self._stray_elements())])
        values = np.concatenate([self.value, *(h.elements[e] for _, e, _ in self._stray_elements())])
        writer = np.concatenate(
            [self.writer, self.writers.find(key[reads[len(self.writer) :]], values[len(self.writer) :])]
        )

        def garbage(at: int) -> tuple[str, list[int]]:
            value = h.names.of(int(values[at]))
            return f"{self._read(reads[at])} of key {self._key(reads[at])}; nobody appended {value}", [
                h.owner[reads[at]]
            ]

        def aborted(at: int) -> tuple[str, list[int]]:
            step, value = self._shortest(int(reads[at]), int(writer[at])), h.names.of(int(values[at]))
            source = int(h.owner[writer[at]])
            text = f"{self._read(step)} of key {self._key(step)}, but {value} was appended by {who(h, source)}"
            return f"{text}, which failed", [int(h.owner[step]), source]

        def twice(at: int) -> tuple[str, list[int]]:
            value = h.names.of(int(values[at]))
            return f"{self._read(reads[at])} of key {self._key(reads[at])}: {value} is in it twice", [
                h.owner[reads[at]]
            ]

        findings.add("garbage-read", np.flatnonzero(writer < 0), garbage)
        known = writer >= 0
        failed = known & (h.status[h.owner[writer]] == FAIL)
        findings.add("G1a", _first_of_each(np.flatnonzero(failed), writer), aborted)
        findings.add("duplicate-elements", _repeats(reads, values), twice)
        self._dirty_updates(findings)

    def _stray_elements(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        return _elements(self.stray, self.start, self.length)

    def _shortest(self, read: int, append: int) -> int:
        """The shortest read that shows an append, as far as prefixes go; else `read`."""
        version = int(self.version_of[append])
        if version < 0 or self.is_stray[read]:
            return read
        key = self.steps.key
        same = self.reads[(key[self.reads] == key[read]) & ~self.is_stray[self.reads]]
        showing = same[self.length[same] > self.place[version]]
        return int(showing[np.argmin(self.length[showing])])

    def _dirty_updates(self, findings: Findings) -> None:
        h = self.history
        known = np.flatnonzero(self.writer >= 0)
        failed = h.status[h.owner[self.writer[known]]] == FAIL
        first, second = known[:-1], known[1:]
        on_top = (self.version_key[first] == self.version_key[second]) & failed[:-1] & ~failed[1:]

        def tell(at: int) -> tuple[str, list[int]]:
            below, above = int(self.writer[first[at]]), int(self.writer[second[at]])
            text = (
                f"key {self._key(below)}: {h.seen(below)} was appended by {who(h, int(h.owner[below]))}, which failed, "
                f"yet {who(h, int(h.owner[above]))} appended {h.seen(above)} on top of it"
            )
            reader = int(h.owner[self.longest_read[self.steps.key[below]]])
            return text, [int(h.owner[below]), int(h.owner[above]), reader]

        findings.add("dirty-update", np.flatnonzero(on_top), tell)

    # ------------------------------------------------------------ inside transactions
    def reads_and_own_writes(self, findings: Findings) -> None:
        """internal: a read agrees with what its own transaction read and appended before, and shows nothing later."""
        s, h = self.steps, self.history
        wrong = np.zeros(len(h.owner), np.bool_)
        own = self.reads[s.before[self.reads] > 0]
        wrong[own[self.length[own] < s.before[own]]] = True
        own = own[~wrong[own]]
        # the last `before` elements must be the transaction's own appends, in order
        appends = s.order[s.write[s.order]]
        nth = np.empty(len(h.owner), np.int64)
        nth[appends] = np.arange(len(appends))
        tail = self.start + self.length - s.before
        for reads, element, place in _elements(own, tail, s.before):
            expected = appends[nth[s.first_write[reads]] + place]
            wrong[reads[h.elements[element] != h.result[expected]]] = True
        # a second read is the first one plus what was appended in between
        again = self.reads[s.previous_read[self.reads] >= 0]
        earlier = s.previous_read[again]
        grown = s.before[again] - s.before[earlier]
        wrong[again[self.length[again] - self.length[earlier] != grown]] = True
        odd = (self.is_stray[again] | self.is_stray[earlier]) & ~wrong[again]
        for read, before in zip(again[odd].tolist(), earlier[odd].tolist(), strict=True):
            start, size = int(self.start[before]), int(self.length[before])
            other = int(self.start[read])
            wrong[read] |= bool((h.elements[start : start + size] != h.elements[other : other + size]).any())
        wrong[self._future_reads()] = True

        def tell(step: int) -> tuple[str, list[int]]:
            return f"{self._read(step)} of key {self._key(step)}, against its own earlier or later steps", [
                h.owner[step]
            ]

        findings.add("internal", self.reads[wrong[self.reads]], tell)

    def _future_reads(self) -> Ints:
        """External reads that show what their own transaction appends only afterwards."""
        s = self.steps
        reads = self.reads[s.external[self.reads] & (s.first_write[self.reads] >= 0) & ~self.is_stray[self.reads]]
        version = self.version_of[s.first_write[reads]]
        reads, version = reads[version >= 0], version[version >= 0]
        future: Ints = reads[self.place[version] < self.length[reads]]
        return future

    def own_order(self, findings: Findings) -> None:
        """incompatible-order, too, is a list that shows a transaction's later append without its earlier one before."""
        h, s = self.history, self.steps
        later = np.flatnonzero(s.write & (s.previous_write >= 0) & (self.version_of >= 0))
        earlier = s.previous_write[later]
        version = self.version_of[earlier]
        wrong = (version < 0) | (self.place[version] > self.place[self.version_of[later]])

        def tell(step: int) -> tuple[str, list[int]]:
            before, longest = int(s.previous_write[step]), int(self.longest_read[s.key[step]])
            text = (
                f"{who(h, int(h.owner[step]))} appended {h.seen(before)} and then {h.seen(step)} to key "
                f"{self._key(step)}, but the list read is {listing(h.seen(longest) or [])}"
            )
            return text, [int(h.owner[step]), int(h.owner[longest])]

        findings.add("incompatible-order", later[wrong & (h.status[h.owner[later]] != FAIL)], tell)

    def intermediate(self, findings: Findings) -> None:
        """G1b: a read ends with an append that was not its transaction's last one to that key."""
        h, s = self.history, self.steps
        reads, writer = self._last_elements()
        wrong = (writer >= 0) & (h.owner[writer] != h.owner[reads]) & ~s.last_write[writer]
        wrong &= h.status[h.owner[writer]] != FAIL
        of = dict(zip(reads[wrong].tolist(), writer[wrong].tolist(), strict=True))

        def tell(step: int) -> tuple[str, list[int]]:
            source = int(h.owner[of[step]])
            text = f"{self._read(step)} of key {self._key(step)}, but {who(h, source)} appended more to it after "
            return text + f"{h.seen(of[step])}", [int(h.owner[step]), source]

        findings.add("G1b", reads[wrong], tell)

    def lost_updates(self, findings: Findings) -> None:
        """Two committed transactions read the same version of a key and both append to it."""
        h, s = self.history, self.steps
        first = self.reads[(s.previous[self.reads] < 0) & (s.first_write[self.reads] >= 0) & ~self.is_stray[self.reads]]
        code = s.key[first] * (int(self.longest.max(initial=0)) + 1) + self.length[first]
        lost = shared(first, code)

        def tell(number: int) -> tuple[str, list[int]]:
            steps = lost[number][:4]
            seen, key = listing(h.seen(steps[0]) or []), self._key(steps[0])
            writes = ", ".join(str(h.seen(int(s.first_write[step]))) for step in steps)
            owners = [int(h.owner[step]) for step in steps]
            names = " and ".join(who(h, owner) for owner in owners)
            return f"{names} each read {seen} of key {key} and appended to it ({writes})", owners

        findings.add("lost-update", range(len(lost)), tell)

    # ------------------------------------------------------------ dependencies
    def _last_elements(self) -> tuple[Ints, Ints]:
        """External reads of non-empty lists, and whose append each ends with (-1: nobody's)."""
        s, h = self.steps, self.history
        reads = self.reads[s.external[self.reads] & (self.length[self.reads] > 0)]
        writer = np.full(len(reads), -1)
        stray = self.is_stray[reads]
        good = reads[~stray]
        writer[~stray] = self.writer[self.first[s.key[good]] + self.length[good] - 1]
        bad = reads[stray]
        writer[stray] = self.writers.find(s.key[bad], h.elements[self.start[bad] + self.length[bad] - 1])
        return reads, writer

    def dependencies(self) -> tuple[Edges, int]:
        """Edges ww, wr, rw, and how many vertices they need."""
        h, s = self.history, self.steps
        reads, writer = self._last_elements()
        seen = (writer >= 0) & (h.status[h.owner[writer]] != FAIL)
        parts = [edges(WR, h.owner[writer[seen]], h.owner[reads[seen]], here=writer[seen], there=reads[seen])]
        valid = np.flatnonzero(self.writer >= 0)
        valid = valid[h.status[h.owner[self.writer[valid]]] != FAIL]  # versions that committed, in order
        left, right = valid[:-1], valid[1:]
        same = self.version_key[left] == self.version_key[right]
        a, b = self.writer[left[same]], self.writer[right[same]]
        parts.append(edges(WW, h.owner[a], h.owner[b], here=a, there=b))
        prefix = self.reads[s.external[self.reads] & ~self.is_stray[self.reads]]
        parts.append(self._overtaken(prefix, valid))
        fans = Fans(len(h))
        unseen = self._unseen()
        if len(unseen):
            right_side = Side.of(s.key[unseen], h.owner[unseen], unseen)
            full = prefix[self.length[prefix] == self.longest[s.key[prefix]]]
            fans.add(RW, Side.of(s.key[full], h.owner[full], full), right_side)
            ends = (
                valid[np.append(self.version_key[valid[1:]] != self.version_key[valid[:-1]], True)]
                if len(valid)
                else valid
            )
            last = self.writer[ends]
            fans.add(WW, Side.of(s.key[last], h.owner[last], last), right_side)
        return joined([*parts, *fans.parts]), fans.vertices

    def _overtaken(self, reads: Ints, valid: Ints) -> Edges:
        """rw: a read of a prefix before the append that follows it."""
        h, s = self.history, self.steps
        key = s.key[reads]
        at = self.first[key] + self.length[reads]
        if len(valid) < len(self.writer):  # else each version is its own place among them
            at = np.searchsorted(valid, at)
        there = at < len(valid)
        version = valid[at[there]]
        there[there] = self.version_key[version] == key[there]
        append = self.writer[valid[at[there]]]
        return edges(RW, h.owner[reads[there]], h.owner[append], here=reads[there], there=append)

    def _unseen(self) -> Ints:
        """Appends in no longest read that did not fail: the last one of each transaction and key that has none in it.

        Of info, too: if it happened they are later than what was read, and if not, nothing depends on it.
        """
        s, h = self.steps, self.history
        appends = np.flatnonzero(s.last_write & (h.status[h.owner] != FAIL) & (self.version_of < 0))
        return appends[self.version_of[s.first_write[appends]] < 0]

    def explain(self, kind: int, here: int, there: int, a: str, b: str) -> str:
        """Why one transaction depends on another, in words."""
        h = self.history
        key = self._key(here if here >= 0 else there)
        if kind == WR:
            seen = listing(h.seen(there) or [])
            return f"{a} appended {h.seen(here)} to key {key} and {b} read {seen} of it, so {a} < {b} (wr)"
        late = f"{b} appended {h.seen(there)} to it"
        if self.version_of[there] < 0:
            late += ", which is in no read, hence later"
        if kind == WW:
            return f"{a} appended {h.seen(here)} to key {key} before {late}, so {a} < {b} (ww)"
        return f"{a} read {listing(h.seen(here) or [])} of key {key} and {late}, so {a} < {b} (rw)"


def _elements(reads: Ints, start: Ints, length: Ints | Narrow) -> Iterator[tuple[Ints, Ints, Ints]]:
    """All elements of some reads, a slice of reads at a time: the read, where the element is, its place in the list."""
    reads = reads[length[reads] > 0]
    size: Ints = length[reads].astype(np.int64)
    until = np.cumsum(size)
    begin = 0
    while begin < len(reads):
        done = int(until[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(until, done + SLICE, "right")))
        part = reads[begin:end]
        each = np.repeat(part, size[begin:end])
        place = np.arange(len(each)) - np.repeat(until[begin:end] - size[begin:end] - done, size[begin:end])
        yield each, start[each] + place, place
        begin = end


def _first_of_each(places: Ints, group: Ints) -> Ints:
    """Of the places with the same group the first."""
    _, first = np.unique(group[places], return_index=True)
    return places[np.sort(first)]


def _repeats(reads: Ints, values: Ints) -> Ints:
    """Places of values that occur earlier in the same read."""
    order = np.lexsort((values, reads))
    same = (reads[order[1:]] == reads[order[:-1]]) & (values[order[1:]] == values[order[:-1]])
    return np.sort(order[1:][same])
