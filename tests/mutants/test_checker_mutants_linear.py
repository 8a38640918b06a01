"""Plausible bugs of the linearizability checker, one changed line each: every one is found by the tests' own oracle.

`tests.linear_oracle.mistakes` kills them: golden histories, agreement with all permutations, a search cut off.
"""

from __future__ import annotations

import inspect
import textwrap
from types import FunctionType
from typing import Any

import pytest

from checkers.linear.calls import _pairs, identity, registers
from checkers.linear.layout import Layout
from checkers.linear.search import Search
from checkers.linear.zones import Blocks
from checkers.linearizable import Linearizable
from tests.linear_oracle import mistakes

MUTANTS: dict[str, tuple[Any, str, str]] = {
    "info ends at its record": (_pairs, "yield begin, OPEN\n    for", "yield begin, number\n    for"),
    "info never happened": (_pairs, 'operation.type == "info"', "False"),
    "fail may have happened": (_pairs, 'operation.type == "info"', 'operation.type in ("info", "fail")'),
    "unfinished calls are forgotten": (_pairs, "for begin in opened.values():", "for begin in ():"),
    "cas is a write": (registers, "register.id_of(old), register.id_of(new)", "ANY, register.id_of(new)"),
    "all keys are one register": (registers, "name = identity(key)", "name = None"),
    "true equals one": (identity, "type(value) in (int, str)", "type(value) in (int, str, bool)"),
    "blocks inside blocks are fine": (Blocks.conflict, "end < forward[at][1]", "end < 0"),
    "overlapping blocks are fine": (Blocks.conflict, "if end < begin:", "if end < begin < 0:"),
    "what nobody wrote may be read": (Blocks.unwritten, "return value", "continue"),
    "zones decide repeated values too": (Blocks.__init__, "self.repeated[held] = True", "self.repeated[held] = False"),
    "zones decide cas too": (Blocks.__init__, "self.compared = True", "self.compared = False"),
    "remembered without the calls placed": (Search._advance, "<< width) | placed", "<< width)"),
    "remembered without the value": (Search._advance, "(value * count + at)", "at"),
    "calls take effect at their end only": (Search._branch, "in sorted(found)", "in ()"),
    "a cas takes effect at any value": (Search._branch, "not in (ANY, value)", "is None"),
    "waiting reads are not served": (Search._advance, "placed |= watching.get(value, 0)", "placed |= 0"),
    "open calls are left out": (Layout.__init__, "c.leaves in observed", "c.leaves in ()"),
    "bits of ended calls are not given back": (Layout._assign, "writers & ~bit, observers", "writers, observers"),
    "a search cut off is a pass": (Linearizable.over, "if stop is None:", "if stop is None or stop.reason:"),
}


def mutate(monkeypatch: pytest.MonkeyPatch, function: FunctionType, old: str, new: str) -> None:
    """Give a function the code of its own source with one place changed, whoever imported it."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times {old!r}: mend the mutant"
    namespace = dict(function.__globals__)
    exec(compile("from __future__ import annotations\n" + source.replace(old, new), "mutant", "exec"), namespace)
    monkeypatch.setattr(function, "__code__", namespace[function.__name__].__code__)


def test_the_checker_itself_makes_no_mistake() -> None:
    assert list(mistakes()) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, *MUTANTS[name])
    assert next(mistakes(), None) is not None
