"""docs/checkers.md against the code: every checker, every anomaly kind it can tell, and a golden run for each."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import checkers
from checkers.registry import describe, load, names
from tests.golden.make import slug
from tests.golden.plants import PLANTS

ROOT = Path(checkers.__file__).parent.parent
TABLE = (ROOT / "docs/checkers.md").read_text(encoding="utf-8")
GOLDEN = ROOT / "tests/golden"
INVARIANTS = (
    *("I-PFX", "I-U", "I-D", "I-CERT", "I-VOTE", "I-LOCK", "I-TC", "I-PAY", "I-DA", "I-BATCH", "I-ONCE", "I-PRE"),
    *("I-ROOT", "I-CENS", "I-ACC", "I-ACCT", "L-VIEW", "L-COMMIT", "L-RESP", "L-REORG", "L-SYNC", "L-TX", "L-MEM"),
)
# What no records can bring about; each says why.
UNREACHABLE = {
    ("conservation", "value-created"): "only the checkers' own ledger could create value, and then its mutants show it",
    (
        "linearizable",
        "impossible-write",
    ): "a write that has begun can always take effect: the search never stops at one",
}
TRANSACTIONAL = ("elle-list-append", "elle-rw-register")  # their kinds are made of a class and a suffix


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = TABLE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


KINDS = {named(row[0])[0]: named(row[1]) for row in rows("Checkers and what they tell")}


def literals(node: ast.AST | None, constants: dict[str, str]) -> Iterator[str]:
    """The strings that an expression for a kind can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body, constants)
        yield from literals(node.orelse, constants)


def told_in(source: str) -> set[str]:
    """Kinds that a module can tell: what it gives to Anomaly, to `against`, or to a name `kind` or `anomaly`."""
    tree = ast.parse(source)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            place = {"Anomaly": 0, "against": 1}.get(node.func.id)
            if place is not None and len(node.args) > place:
                found.update(literals(node.args[place], constants))
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "kind" for t in node.targets):
            found.update(literals(node.value, constants))
        elif isinstance(node, ast.FunctionDef) and node.name == "kind":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return):
                    found.update(literals(inner.value, constants))
    return found


def sources(name: str) -> list[str]:
    """The checker's own file, and the one that words its anomalies."""
    files = [inspect.getsource(sys.modules[type(load(name)).__module__])]
    if name == "linearizable":
        files.append((ROOT / "checkers/linear/explain.py").read_text())
    return files


def test_every_checker_is_in_the_table_and_every_name_exists() -> None:
    assert list(KINDS) == names()
    for _, judged, *_ in rows("Invariants and who judges them"):
        assert set(named(judged)) <= set(names()), judged


def test_every_invariant_is_in_the_table() -> None:
    assert tuple(row[0] for row in rows("Invariants and who judges them")) == INVARIANTS


@pytest.mark.parametrize("name", names())
def test_every_kind_in_the_table_is_planted_and_golden(name: str) -> None:
    assert sorted(KINDS[name]) == sorted(PLANTS[name])
    files = {path.name for path in (GOLDEN / name).glob("*.jsonl")}
    assert files == {"ok-small.jsonl", *(f"bad-{slug(kind)}.jsonl" for kind in PLANTS[name])}


@pytest.mark.parametrize("name", [name for name in names() if name not in (*TRANSACTIONAL, "receipts")])
def test_every_kind_that_the_code_can_tell_is_planted(name: str) -> None:
    found = set().union(*(told_in(source) for source in sources(name)))
    found -= {kind for checker, kind in UNREACHABLE if checker == name}
    assert found <= set(PLANTS[name]), f"plant these: {sorted(found - set(PLANTS[name]))}"


def test_the_scan_of_kinds_sees_the_usual_ways_of_telling_one() -> None:
    source = (
        'VOID = "void-x"\nAnomaly("one", s, w)\nkind = VOID if a else "two"\ndef f():\n    against(o, "three", w)\n'
    )
    assert told_in(source) == {"one", "void-x", "two", "three"}


@pytest.mark.parametrize("name", [name for name in names() if name not in (*TRANSACTIONAL, "receipts")])
def test_every_kind_is_told_by_the_checkers_own_description(name: str) -> None:
    text = inspect.getdoc(type(load(name))) or ""
    missing = [kind for kind in PLANTS[name] if kind not in text.replace("\n", " ")]
    assert not missing and describe()[name], missing
