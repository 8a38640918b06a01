"""Reading TOML strictly: every key is asked for by name and type, and what nobody asked for is refused.

Errors name file, line and dotted key, and the nearest key that exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from harness.outcome import ScenarioError, nearest

T = TypeVar("T")
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_HEADER = re.compile(r"^\s*\[(\[)?\s*([^\]]+?)\s*\]")
_MISSING: Any = object()


class Source:
    """Where a scenario came from: finds the line of a dotted key such as `fault[1].from` for error messages."""

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self._lines = text.split("\n")  # TOML's only line end; splitlines() knows ten

    def line(self, path: str) -> int | None:
        """Line number (from 1) of the key, or of the nearest table round it; None if it cannot be found."""
        section, dot, _ = path.rpartition(".")
        found = self._line(path)
        return found if found is not None or not dot else self.line(section)

    def _line(self, path: str) -> int | None:
        section, _, key = path.rpartition(".")
        current, counts, header_line = "", dict[str, int](), None
        for number, text in enumerate(self._lines, 1):
            header = _HEADER.match(text)
            if header:
                name = header.group(2)
                if header.group(1):
                    counts[name] = counts.get(name, -1) + 1
                    current = f"{name}[{counts[name]}]"
                else:
                    parent, dot, last = name.rpartition(".")
                    current = f"{parent}[{counts[parent]}]{dot}{last}" if parent in counts else name
                if current in (path, f"{path}[0]"):
                    return number
                header_line = number if current == section else header_line
            elif current == section and re.match(rf"^\s*[\"']?{re.escape(key)}[\"']?\s*=", text):
                return number
        return header_line

    def error(self, path: str, message: str) -> ScenarioError:
        """An error that names file, line and key."""
        line = self.line(path)
        where = f"{self.name}:{line}" if line else self.name
        return ScenarioError(f"{where}: {path or 'scenario'}: {message}")


class Table:
    """One TOML table being read. `take` its keys, then `done`."""

    def __init__(self, values: Mapping[str, Any], source: Source, path: str = "") -> None:
        self._values = dict(values)
        self.source = source
        self.path = path
        self._asked: list[str] = []

    def key(self, name: str) -> str:
        """Dotted name of a key of this table."""
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, message: str) -> ScenarioError:
        """An error that names a key of this table."""
        return self.source.error(self.key(name), message)

    def asked(self, name: str) -> bool:
        """Is the key there? Whoever asks makes it a known one."""
        self._asked.append(name)
        return name in self._values

    def raw(self, name: str, default: Any = _MISSING) -> Any:
        """The value as it stands; raises ScenarioError when it is absent and has no default."""
        self._asked.append(name)
        if name in self._values:
            return self._values.pop(name)
        if default is _MISSING:
            raise self.error(name, f"is missing; add {name} = ...")
        return default

    def take(self, name: str, kind: type[T], default: Any = _MISSING) -> T:
        """The value, of exactly this kind (an int is taken as a float, a bool never as a number)."""
        value = self.raw(name, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(name, f"must be {_spoken(kind)}, not {value!r}")
        return value

    def whole(self, name: str, default: Any = _MISSING, low: int = 0, high: int = 10_000) -> int:
        """An integer in [low, high]."""
        value = self.take(name, int, default)
        if not low <= value <= high:
            raise self.error(name, f"must lie between {low} and {high}, not {value}")
        return value

    def seconds(self, name: str, default: str) -> float:
        """A duration such as "12s", "500ms", "2m", in seconds."""
        return duration(self.raw(name, default), lambda message: self.error(name, message))

    def maybe_whole(self, name: str, low: int = 0, high: int = 10_000) -> int | None:
        """An integer in [low, high], or None when the key is absent."""
        return self.whole(name, low=low, high=high) if self.asked(name) else None

    def maybe_seconds(self, name: str) -> float | None:
        """A duration in seconds, or None when the key is absent."""
        return self.seconds(name, "") if self.asked(name) else None

    def strings(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        """A list of distinct strings."""
        value = self.raw(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise self.error(name, f"must be a list of strings, not {value!r}")
        if len(set(value)) != len(value):
            raise self.error(name, f"names something twice: {value!r}")
        return tuple(value)

    def table(self, name: str) -> Table:
        """A sub-table; empty when absent."""
        value = self.raw(name, {})
        if not isinstance(value, dict):
            raise self.error(name, f"must be a table, written [{self.key(name)}]")
        return Table(value, self.source, self.key(name))

    def tables(self, name: str) -> list[Table]:
        """An array of tables; empty when absent."""
        value = self.raw(name, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise self.error(name, f"must be an array of tables, written [[{self.key(name)}]]")
        return [Table(v, self.source, f"{self.key(name)}[{i}]") for i, v in enumerate(value)]

    def rest(self) -> dict[str, Any]:
        """Every key not asked for yet (a plug-in's own parameters)."""
        values, self._values = self._values, {}
        return values

    def done(self) -> None:
        """Refuse the keys that nobody asked for."""
        for name in self._values:
            raise self.error(name, f"unknown key; {nearest(name, self._asked)}")


def duration(value: Any, error: Callable[[str], Exception]) -> float:
    """Seconds in "500ms", "12s", "2m" or "1h"; raises error(message) on anything else."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise error(f'must be a duration such as "12s" or "500ms", not {value!r}')
    return float(match.group(1)) * _SECONDS[match.group(2)]


def _spoken(kind: type) -> str:
    names = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", list: "a list"}
    return names.get(kind, kind.__name__)
