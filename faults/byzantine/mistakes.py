"""What is wrong with a behaviour's class that can be said before anything starts: its hooks and its parameters."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from faults.byzantine.port import Behaviour
from faults.registry import AttackFileError

HOOKS: dict[str, tuple[str, ...]] = {
    "receive": ("node", "sender", "message"),
    "send": ("node", "to", "message"),
    "act": ("node",),
    "emit": ("node", "event", "fields"),
    "when": ("node",),
}


def check_hooks(behaviour: Behaviour, use: str) -> None:
    """Raises AttackFileError, with the line at fault, for a hook that cannot be called as the lab calls it, and for a
    method that looks like a misspelt hook: both would otherwise leave an honest node."""
    kind = type(behaviour)
    for name, arguments in HOOKS.items():
        hook = getattr(behaviour, name)
        asked = f"{name}({', '.join(arguments)})"
        if not callable(hook):
            raise AttackFileError(f"{use}: {kind.__name__}.{name} is {hook!r}; it must be a method {asked}")
        if inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook):
            raise AttackFileError(_at(hook, use, f"{kind.__name__}.{name} must not be async"))
        try:
            signature = inspect.signature(hook)
        except ValueError:  # a builtin, which does not tell
            continue
        try:
            signature.bind(*arguments)
        except TypeError:
            takes = f"{kind.__name__}.{name} takes {signature}; the lab calls {asked}"
            raise AttackFileError(_at(hook, use, takes)) from None
    for name in vars(kind):
        if name.startswith("_") or hasattr(Behaviour, name) or not inspect.isfunction(vars(kind)[name]):
            continue
        meant = get_close_matches(name, HOOKS, 1, 0.8)
        if meant and getattr(kind, meant[0]) is getattr(Behaviour, meant[0]):
            what = f"{kind.__name__}.{name} is never called; did you mean {meant[0]}, or _{name} for a helper?"
            raise AttackFileError(_at(vars(kind)[name], use, what))


def typed(kind: type[Behaviour], use: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as the constructor's annotations want them: a list becomes the tuple, an integer the float, that
    is asked for. Raises ValueError naming the parameter, what was given and what is wanted."""
    hints = _hints(kind)
    return {name: _converted(hints.get(name, Any), use, name, value) for name, value in parameters.items()}


def described(kind: type[Behaviour]) -> dict[str, str]:
    """Parameter -> its type and default, as the constructor declares them."""
    found, hints = {}, _hints(kind)
    for name, parameter in inspect.signature(kind).parameters.items():
        found[name] = _name(hints.get(name, Any))
        if parameter.default is not inspect.Parameter.empty:
            found[name] += f" = {_written(parameter.default)}"
    return found


def _hints(kind: type[Behaviour]) -> dict[str, Any]:
    """The constructor's annotations; none of them if one names what only a type checker imports."""
    try:
        return get_type_hints(kind.__init__)
    except NameError:
        return {}


def _converted(wanted: Any, use: str, name: str, value: Any) -> Any:
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise ValueError(f"{use}: {name} = {value!r}: {error}, as it is declared: {_name(wanted)}") from error
    except TypeError:  # a type that nothing in a TOML file can be checked against
        return value


def _name(wanted: Any) -> str:
    if wanted is Any:
        return "any"
    if get_origin(wanted) is Literal:
        return " or ".join(map(_written, get_args(wanted)))
    return wanted.__name__ if isinstance(wanted, type) and not get_args(wanted) else str(wanted)


def _written(value: Any) -> str:
    """A value as a scenario would write it."""
    if value is None:
        return "none"
    try:
        return msgspec.json.encode(value).decode()
    except TypeError:
        return repr(value)


def _at(hook: Any, use: str, what: str) -> str:
    """The message, with the line of the reviewer's file as a traceback shows it."""
    code = getattr(inspect.unwrap(getattr(hook, "__func__", hook)), "__code__", None)
    if code is None:  # a callable that is no function
        return f"{use}: TypeError: {what}"
    path, line = code.co_filename, code.co_firstlineno
    shown = path if use.rpartition(":")[0].endswith(".py") else use
    text = linecache.getline(path, line).strip()
    return f'{shown}:{line}: TypeError: {what}\n  File "{path}", line {line}, in {code.co_name}\n    {text}'
