"""Mutants of the system under test: one rule broken in this very process, to see whether the lab would notice.

A mutant is data: the rule that it breaks, the patches that do it, the property that must fail and the scenario that
makes it fail (its witness). Mutants are found by path in Python files that hold a tuple `MUTANTS` (`tests/mutants/
protocol/`), because they are no part of the product. `applied` puts one in force for cores built inside the context, as
`harness.trial.trial` does, and always takes it back.

A patch that misses is worse than none: it makes a kill matrix lie. So the attribute must exist, and must have been
called when the context ends; a patch of a predicate counts how often its answer differed from the rule's.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

import harness
from harness.trial import Trial

Function: TypeAlias = Callable[..., Any]
Wrap: TypeAlias = Callable[[Function], Function]

MUTANTS_ROOT = Path(harness.__file__).resolve().parent.parent / "tests" / "mutants"
MUTANTS_DIR = MUTANTS_ROOT / "protocol"
_OURS = frozenset(("nodes", "faults", "checkers", "results", "harness"))


class MutantError(RuntimeError):
    """A mutant that cannot be loaded, or whose patch missed; says which and what to look at."""


class Patch(msgspec.Struct, frozen=True):
    """`target` is "package.module:name" or "package.module:Class.name"; `wrap` makes the replacement of the original,
    which also takes its place in dictionaries of that module.

    `predicate`: the original is free of effects, so it is asked as well and differing answers are counted.
    `everywhere`: modules of this project that imported the function by name get the replacement too.
    """

    target: str
    wrap: Wrap
    predicate: bool = False
    everywhere: bool = False


class Patched(Protocol):
    """What can be put in force."""

    @property
    def id(self) -> str: ...

    @property
    def patches(self) -> tuple[Patch, ...]: ...


P = TypeVar("P", bound=Patched)


class Mutant(msgspec.Struct, frozen=True):
    """One broken rule. A violation of any of the `properties` kills it, if it is of one of the `kinds` (empty: any);
    the witness must break the first of them."""

    id: str
    group: str  # MM: protocol.md 1.13; A, B, C ...: teeth.md section 2
    rule: str  # where the broken rule is written
    breaks: str  # what is different, in one line
    patches: tuple[Patch, ...]
    properties: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    witness: str = ""  # scenario under harness/scenarios/witnesses/ that kills it
    budget: int = 1000  # random runs within which a search should find it


class Use(msgspec.Struct):
    """What became of one patch while it was in force."""

    target: str
    calls: int = 0
    differed: int | None = None  # None: not a predicate


def kills(mutant: Mutant, result: Trial) -> tuple[tuple[str, str], ...]:
    """(property, anomaly kind) of the violations in a trial that count as catching the mutant."""
    return tuple(
        (name, kind)
        for name, kind in result.anomalies()
        if name in mutant.properties and (not mutant.kinds or kind in mutant.kinds)
    )


# ---------------------------------------------------------------- finding
def load_mutants(directory: Path = MUTANTS_DIR) -> tuple[Mutant, ...]:
    """All mutants of the `*.py` files of a directory that hold MUTANTS, by file name, in their order.

    Raises MutantError for a directory without any, a faulty file, or an id that is used twice.
    """
    return loaded(directory, Mutant)


def loaded(directory: Path, kind: type[P]) -> tuple[P, ...]:
    """The same for any kind of patch set that has an id (harness/traps.py has another)."""
    found: list[P] = []
    for path in sorted(directory.glob("*.py")):
        if path.name != "__init__.py":
            found += _of_file(path, kind)
    if not found:
        raise MutantError(f"{directory}: no mutants there; mutants come with a source checkout of moonquake")
    twice = sorted({m.id for m in found if sum(m.id == other.id for other in found) > 1})
    if twice:
        raise MutantError(f"{directory}: the mutant id {twice[0]} is used twice")
    return tuple(found)


def _of_file(path: Path, kind: type[P]) -> Sequence[P]:
    spec = importlib.util.spec_from_file_location(f"moonquake_mutants_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise MutantError(f"{path}: Python cannot import this file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise MutantError(f"{path}: fails on import: {type(error).__name__}: {error}") from error
    mutants = getattr(module, "MUTANTS", ())
    if not all(isinstance(mutant, kind) for mutant in mutants):
        raise MutantError(f"{path}: MUTANTS must hold {kind.__module__}.{kind.__name__} objects only")
    return tuple(mutants)


# ---------------------------------------------------------------- applying
@contextmanager
def applied(mutant: Patched, must_run: bool = True) -> Iterator[tuple[Use, ...]]:
    """The mutant in force. Yields the use of each patch, filled in as the run goes on.

    Raises MutantError for a target that does not exist; at the end, unless the run raised, for a patch that was never
    called (`must_run`).
    """
    if not mutant.patches:
        raise MutantError(f"mutant {mutant.id} has no patch: it changes nothing")
    uses = tuple(Use(patch.target, differed=0 if patch.predicate else None) for patch in mutant.patches)
    with ExitStack() as stack:
        _forget()
        stack.callback(_forget)
        for patch, use in zip(mutant.patches, uses, strict=True):
            stack.enter_context(_patched(mutant, patch, use))
        yield uses
    missed = [use.target for use in uses if not use.calls]
    if missed and must_run:
        raise MutantError(
            f"mutant {mutant.id}: {', '.join(missed)} was never called while the mutant was in force: the code has"
            " moved, or the scenario does not come that far; the mutant shows nothing"
        )


@contextmanager
def _patched(mutant: Patched, patch: Patch, use: Use) -> Iterator[None]:
    owner, name = _owner(mutant, patch.target)
    present = inspect.getattr_static(owner, name, None)
    if name not in vars(owner) or present is None:
        raise MutantError(f"mutant {mutant.id}: {patch.target} does not exist; the code has moved")
    original = present.__func__ if isinstance(present, staticmethod | classmethod) else present
    if not callable(original):
        raise MutantError(f"mutant {mutant.id}: {patch.target} is no function")
    replacement: Any = _counted(original, patch.wrap(original), use)
    if isinstance(present, staticmethod | classmethod):
        replacement = type(present)(replacement)
    places = _everywhere(owner) if patch.everywhere else _tables(patch.target)
    tables = [(table, key) for table in places for key, value in table.items() if value is original]
    setattr(owner, name, replacement)
    for table, key in tables:
        table[key] = replacement
    try:
        yield
    finally:
        setattr(owner, name, present)
        for table, key in tables:
            table[key] = original


def _forget() -> None:
    """Empty the caches of the cores' modules: what they hold was made by other code than is in force now."""
    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] == "nodes":
            for value in tuple(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()


def _counted(original: Function, mutated: Function, use: Use) -> Function:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        use.calls += 1
        result = mutated(*args, **kwargs)
        if use.differed is not None and result != original(*args, **kwargs):
            use.differed += 1
        return result

    return call


def _tables(target: str) -> list[dict[Any, Any]]:
    """The dispatch tables of the target's module: a function that is called through one must be replaced there too."""
    module = importlib.import_module(target.partition(":")[0])
    return [value for value in vars(module).values() if isinstance(value, dict)]


def _everywhere(owner: Any) -> list[dict[Any, Any]]:
    """The names of every loaded module of this project but the owner itself."""
    modules = [m for name, m in sys.modules.items() if name.partition(".")[0] in _OURS and m is not owner]
    return [vars(module) for module in modules]


def _owner(mutant: Patched, target: str) -> tuple[Any, str]:
    """The module or class that holds the attribute, and its name."""
    module, _, path = target.partition(":")
    *classes, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for part in classes:
            owner = getattr(owner, part)
    except (ImportError, AttributeError) as error:
        raise MutantError(f"mutant {mutant.id}: {target} does not exist ({error}); the code has moved") from error
    return owner, name
