"""Plausible bugs of the Elle checkers, one changed line each: every one is found by the tests' own oracle.

`tests.elle_oracle.mistakes` kills them: golden histories of each kind, and agreement with all orders of small ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from checkers.elle import cycles, graph, path, steps, versions
from checkers.elle.list_append import Lists
from checkers.elle.rw_register import Registers
from results import transactions
from tests.elle_oracle import mistakes
from tests.mutants.test_checker_mutants_linear import mutate

LISTS = {
    "rw edges are dropped": (Lists._overtaken, "version_key[version] == key[there]", "version_key[version] < 0"),
    "wr edges are dropped": (Lists.dependencies, "seen = (writer >= 0)", "seen = (writer < 0)"),
    "ww edges are dropped": (
        Lists.dependencies,
        "same = self.version_key[left] ==",
        "same = -1 == self.version_key[left] +",
    ),
    "ww edges point back": (Lists.dependencies, "edges(WW, h.owner[a], h.owner[b]", "edges(WW, h.owner[b], h.owner[a]"),
    "rw edges lead to the version read": (Lists._overtaken, "+ self.length[reads]\n", "+ self.length[reads] - 1\n"),
    "appends that nobody read are forgotten": (Lists._unseen, "(self.version_of < 0))", "(self.version_of < -1))"),
    "info reads count": (Lists.__init__, "(h.status[h.owner] == OK))", "(h.status[h.owner] >= 0))"),
    "a failed append may be read": (
        Lists.elements,
        "h.status[h.owner[writer]] == FAIL",
        "h.status[h.owner[writer]] < 0",
    ),
    "an append of info may not be read": (Lists.elements, "owner[writer]] == FAIL", "owner[writer]] != 0"),
    "what nobody appended may be read": (Lists.elements, "np.flatnonzero(writer < 0)", "np.flatnonzero(writer < -1)"),
    "a list may hold a value twice": (Lists.elements, "_repeats(reads, values)", "_repeats(reads, values)[:0]"),
    "reads need not agree": (Lists._strays, "return np.flatnonzero(stray)", "return np.flatnonzero(stray)[:0]"),
    "intermediate appends may be read": (Lists.intermediate, "~s.last_write[writer]", "s.last_write[writer] < 0"),
    "a transaction need not see its own appends": (
        Lists.reads_and_own_writes,
        "s.before[self.reads] > 0",
        "s.before[self.reads] > 9",
    ),
    "a second read may differ": (
        Lists.reads_and_own_writes,
        "s.previous_read[self.reads] >= 0",
        "s.previous_read[self.reads] > 10**9",
    ),
    "a transaction may see its own future": (
        Lists._future_reads,
        "(s.first_write[self.reads] >= 0)",
        "(s.first_write[self.reads] < -1)",
    ),
    "own appends may come in any order": (Lists.own_order, "(s.previous_write >= 0)", "(s.previous_write < -1)"),
    "updates may be lost": (steps.shared, "code[order[1:]] == code", "code[order[1:]] < code"),
    "nothing on top of aborted appends is told": (Lists._dirty_updates, "& failed[:-1] &", "& failed[1:] &"),
}
REGISTERS = {
    "failed writes may be read": (
        Registers.reads_and_writes,
        "h.status[h.owner[writer]] == FAIL",
        "h.status[h.owner[writer]] < 0",
    ),
    "null never comes first": (
        Registers.dependencies,
        "last = np.flatnonzero(s.last_write &",
        "last = np.flatnonzero(s.last_write & (s.key < 0) &",
    ),
    "register: rw edges lead back": (
        Registers.dependencies,
        "fans.add(RW, Side.of(self.seen[reads]",
        "fans.add(RW, Side.of(self.seen[reads] + 1",
    ),
    "register: wr edges are dropped": (
        Registers.dependencies,
        "edges(WR, h.owner[writer], h.owner[written]",
        "edges(WR, h.owner[writer], h.owner[writer]",
    ),
    "info writes never happened": (Registers.__init__, "self.alive = h.status != FAIL", "self.alive = h.status == OK"),
    "versions may go in a circle": (versions.cyclic, "if labels is None:", "if True:"),
    "a read does not come before its transaction's write": (
        versions.overwrites,
        "touched.enters != touched.leaves",
        "touched.enters < -1",
    ),
    "sessions order what other sessions did": (versions.by_session, "(process[a] == process[b]) & ", ""),
    "real time orders what overlaps": (
        versions.in_time,
        'np.searchsorted(begins, end, "right")',
        'np.searchsorted(begins, begin, "right")',
    ),
    "real time orders nothing": (versions.in_time, "there = first < len(begins)", "there = first < 0"),
    "own writes come in any order": (versions.own, "(steps.previous_write >= 0)", "(steps.previous_write < -1)"),
    "register: a transaction need not see its own writes": (
        Registers.own_steps,
        "s.previous[self.reads] >= 0",
        "s.previous[self.reads] > 10**9",
    ),
}
COMMON = {
    "info is fail": (transactions._Loader._end, "rank = NEVER", "status, rank = FAIL, NEVER"),
    "info ends at its record": (transactions._Loader._pair, "== OK, rank[ends], NEVER)", "<= FAIL, rank[ends], NEVER)"),
    "open transactions are forgotten": (transactions._Loader.whole, "in self._open.values():", "in ():"),
    "fail may have happened": (
        transactions._Loader._pair,
        "np.array([kind[ends], process",
        "np.array([np.minimum(kind[ends], INFO), process",
    ),
    "real time is off by one to the strict side": (
        graph.time_chain,
        "_begun(begins, history.completed[ended], 0)",
        "np.minimum(_begun(begins, history.completed[ended], 0) + 1, len(began))",
    ),
    "real time is off by one to the lax side": (
        graph.time_chain,
        "_begun(begins, history.completed[ended], 0)",
        "np.maximum(_begun(begins, history.completed[ended], 0) - 1, 0)",
    ),
    "real time holds between neighbours alone": (
        graph.time_chain,
        "np.arange(first, first + moments, dtype=np.int32)",
        "np.full(moments, first, np.int32)",
    ),
    "sessions are unordered": (graph.sessions, "before[same], after[same]", "before[:0], after[:0]"),
    "all sessions are one": (
        graph.sessions,
        "(history.process[before] == history.process[after])",
        "(history.process[before] >= 0)",
    ),
    "write skew is snapshot isolation's": (
        cycles.Graph.suspects,
        'if cap in ("G-single", "G-nonadjacent"):',
        "if False:",
    ),
    "one on both sides of a hub reaches itself": (graph.Fans._hub, "both.sum() == 1", "both.sum() == 99"),
    "a hub takes in one side only": (graph.Fans._hub, "self.parts.append(edges(FREE", "len(edges(FREE"),
    "components of two are too small": (graph.strongly_connected, "sizes[labels] > 1", "sizes[labels] > 2"),
    "neighbouring rw edges are not seen": (path.classify, "a == RW and b == RW", "a == RW and b == WR"),
    "one rw edge is write skew": (path.classify, "if rw > 1:", "if rw > 0:"),
    "a read after an own write is external": (steps.steps_of, "(own == 0)", "(own >= 0)"),
}
MUTANTS: dict[str, tuple[Any, str, str]] = LISTS | REGISTERS | COMMON


def test_the_checkers_themselves_make_no_mistake() -> None:
    assert list(mistakes()) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, *MUTANTS[name])
    assert next(mistakes(), None) is not None
