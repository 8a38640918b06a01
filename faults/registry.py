"""Plug-ins by name: what pyproject.toml registers under an entry-point group, or "path/to/file.py:Class".

A file that a reviewer brings needs no install; when it is at fault the error names its own line.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any, cast

from faults.port import Fault

FAULTS = "moonquake.faults"


class AttackFileError(ValueError):
    """A reviewer's file cannot be loaded: names the file, its line, and what went wrong there."""


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name, sorted.

    All distributions on the path are asked: a stale egg-info in the working directory would otherwise hide, from
    `importlib.metadata.entry_points`, what the installed metadata of the same name registers.
    """
    found: dict[str, EntryPoint] = {}
    for distribution in distributions():
        for point in distribution.entry_points.select(group=group):
            found.setdefault(point.name, point)
    return dict(sorted(found.items()))


def registered(group: str) -> dict[str, type]:
    """Every registered class of an entry-point group, by name, sorted."""
    return {name: point.load() for name, point in _points(group).items()}


def find(group: str, use: str) -> type:
    """The class that `use` means. Raises ValueError listing what is registered, or AttackFileError for a file."""
    path, colon, name = use.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), name)
    points = _points(group)
    if use not in points:
        noun = group.rpartition(".")[2].removesuffix("s")
        raise ValueError(f"no {noun} named {use!r}; there are {', '.join(points) or 'none'}; or give file.py:Class")
    return cast(type, points[use].load())


def construct(kind: type, use: str, parameters: Mapping[str, Any]) -> Any:
    """`kind(**parameters)`. Raises ValueError naming an unknown or missing parameter and those that exist, or what the
    constructor itself says; AttackFileError when the constructor of a reviewer's class has a mistake."""
    allowed = inspect.signature(kind).parameters
    named = [p.name for p in allowed.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    free = any(p.kind is p.VAR_KEYWORD for p in allowed.values())
    unknown = [] if free else sorted(set(parameters) - set(named))
    missing = sorted(p for p in named if allowed[p].default is inspect.Parameter.empty and p not in parameters)
    listed = ", ".join(named) or "none"
    if unknown:
        raise ValueError(f"{use}: unknown parameter {', '.join(unknown)}; it takes {listed}")
    if missing:
        raise ValueError(f"{use}: parameter {', '.join(missing)} is missing; it takes {listed}")
    try:
        return kind(**parameters)
    except ValueError as error:
        raise ValueError(f"{use}: {error}") from error
    except Exception as error:
        path, colon, _ = use.rpartition(":")
        raise AttackFileError(explain(Path(path), error) if colon else f"{use}: {error!r}") from error


def load_fault(use: str, parameters: Mapping[str, Any]) -> Fault:
    """The fault that a scenario names, with its parameters. Raises ValueError (see `find`, `construct`)."""
    return cast(Fault, construct(find(FAULTS, use), use, parameters))


def summary(kind: type) -> str:
    """One line for `moonquake list`: the first line of the module's docstring (or of the class's own)."""
    module = sys.modules.get(kind.__module__)
    text = inspect.cleandoc((module.__doc__ if module else None) or kind.__doc__ or "")
    return text.partition("\n")[0]


def _from_file(path: Path, name: str) -> type:
    if not path.is_file():
        raise AttackFileError(f"{path}: no such file; give PATH/TO/FILE.py:Class")
    spec = importlib.util.spec_from_file_location(f"moonquake_attack_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise AttackFileError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise AttackFileError(explain(path, error)) from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = sorted(
            n for n, value in vars(module).items() if isinstance(value, type) and value.__module__ == spec.name
        )
        raise AttackFileError(f"{path}: no class {name!r}; the file defines {', '.join(classes) or 'none'}")
    return found


def explain(path: Path, error: BaseException) -> str:
    """ "file:line: Error: text" with the last line of the reviewer's own file that was running; below, the traceback
    from that file on (the whole one, if no line of that file was running)."""
    report = traceback.TracebackException.from_exception(error)
    own = [i for i, frame in enumerate(report.stack) if Path(frame.filename) == path.resolve()]
    line = report.stack[own[-1]].lineno if own else getattr(error, "lineno", 1)  # a SyntaxError has no frame of its own
    if own or isinstance(error, SyntaxError):
        report.stack = traceback.StackSummary.from_list(report.stack[own[0] :] if own else [])
    text = "".join(report.format()).rstrip()
    return f"{path}:{line}: {type(error).__name__}: {getattr(error, 'msg', error)}\n{text}"
