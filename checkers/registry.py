"""Finding checkers (entry-point group `moonquake.checkers`, or path/to/file.py:Class) and running them safely."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from checkers.judge import crashed
from checkers.port import Checker
from results.store import Run
from results.verdict import Status, Verdict

GROUP = "moonquake.checkers"


class CheckerError(ValueError):
    """A checker that cannot be loaded; says what to write instead."""


@cache
def _points() -> dict[str, EntryPoint]:
    """Registered checkers by name: reading what is installed costs as much as judging a short run."""
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _registered(name: str) -> object:
    return _points()[name].load()


def names() -> list[str]:
    """Names of the registered checkers, sorted."""
    return sorted(_points())


def describe() -> dict[str, str]:
    """name -> first line of the checker's docstring."""
    return {name: (inspect.getdoc(type(load(name))) or "").partition("\n")[0] for name in names()}


def load(name: str, settings: Mapping[str, Any] | None = None) -> Checker:
    """A checker by its registered name or as path/to/file.py:Class, given those `settings` that it has parameters for.

    Raises CheckerError.
    """
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        found: object = _from_file(Path(path), attribute)
    else:
        if name not in _points():
            raise CheckerError(
                f"no checker named {name!r}; there are {', '.join(names())}, or give path/to/file.py:Class"
            )
        found = _registered(name)
    if not (isinstance(found, type) and callable(getattr(found, "check", None))):
        raise CheckerError(f"{name}: not a class with a method check(run); see checkers/port.py")
    given = {key: value for key, value in (settings or {}).items() if key in inspect.signature(found).parameters}
    try:
        checker: Checker = found(**given)
    except Exception as error:
        arguments = ", ".join(f"{key}={value!r}" for key, value in given.items()) or "without arguments"
        raise CheckerError(f"{name}: cannot be made {arguments}: {type(error).__name__}: {error}") from error
    return checker


def judge(run: Run, which: Iterable[str], settings: Mapping[str, Any] | None = None) -> list[Verdict]:
    """The verdicts of the named checkers, in that order. A checker that crashes yields UNKNOWN with the traceback.

    `settings` as for `load`. Raises CheckerError, before anything is judged, if a name cannot be loaded.
    """
    return [_judge(name, checker, run) for name, checker in [(name, load(name, settings)) for name in which]]


def _judge(name: str, checker: Checker, run: Run) -> Verdict:
    try:
        verdict: object = checker.check(run)
    except Exception:
        return crashed(getattr(checker, "property", "") or name)
    if not isinstance(verdict, Verdict):
        reason = f"checker {name} returned {type(verdict).__name__} where a Verdict is due"
        return Verdict(getattr(checker, "property", "") or name, Status.UNKNOWN, 0, reason=reason)
    return verdict


def _from_file(path: Path, attribute: str) -> object:
    if not path.is_file():
        raise CheckerError(f"{path}: no such file; give path/to/file.py:Class")
    spec = importlib.util.spec_from_file_location(f"moonquake_checker_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CheckerError(f"{path}: Python cannot import this file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CheckerError(f"{path}: fails on import: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        raise CheckerError(f"{path}: has no class named {attribute!r}")
    found: object = getattr(module, attribute)
    return found
