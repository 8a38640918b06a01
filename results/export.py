"""The history as EDN, for Jepsen's own tools: one operation map a line (`moonquake export --edn`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results.history import Operation, read_history

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def to_edn(path: Path) -> Iterator[str]:
    """Lines of EDN for a history.jsonl, in order. Raises HistoryError on a damaged one."""
    for operation in read_history(path):
        yield operation_edn(operation)


def operation_edn(operation: Operation) -> str:
    """One operation as Jepsen writes it: keywords for :type, :f and micro-operations, :nemesis for the nemesis."""
    fields: list[tuple[str, str]] = [
        ("index", str(operation.index)),
        ("time", str(operation.time)),
        ("process", ":nemesis" if operation.process == "nemesis" else edn(operation.process)),
        ("type", f":{operation.type}"),
        ("f", f":{operation.f}"),
        ("value", _transaction(operation.value) if operation.f == "txn" else edn(operation.value)),
    ]
    optional = ("tx", "phase", "gateway", "error")
    fields.extend((name, edn(getattr(operation, name))) for name in optional if getattr(operation, name))
    return "{" + ", ".join(f":{key} {value}" for key, value in fields) + "}"


def _transaction(value: Any) -> str:
    """Micro-operations [f k v] with keyword f."""
    if not isinstance(value, list):
        return edn(value)
    steps = (f"[:{step[0]} {' '.join(edn(part) for part in step[1:])}]" for step in value)
    return "[" + " ".join(steps) + "]"


def edn(value: Any) -> str:
    """A JSON-able value as EDN; map keys become keywords where they can. Raises TypeError on anything else."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(c, c) for c in value) + '"'
    if isinstance(value, list | tuple):
        return "[" + " ".join(edn(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} {edn(v)}" for k, v in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} has no EDN form here")


def _key(key: Any) -> str:
    if (
        isinstance(key, str)
        and key
        and (key[0].isalpha() or key[0] == "_")
        and all(c.isalnum() or c in "-_" for c in key)
    ):
        return f":{key}"
    return edn(key)
