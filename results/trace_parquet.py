"""The trace as columns: `trace.parquet`, for traces of millions of records (`moonquake export RUN_DIR --parquet`).

One file, one wide table, zstd; every row group holds records of one event only, so that the columns of the others cost
nothing. Pages carry checksums. Columns:

    event            string, dictionary: the event of the record; "#value" for the rows of the value table
    #row             int64, delta: place of the record in the trace (ordered by time), each number once
    time, incarnation int64, delta
    <field>          int64, delta: a field that is a whole number
    @<field>         int32, delta: any other field (`@node` too), as the number of its value

The value table holds every other value once; values are numbered in the order of their rows, from 0:

    #bytes           large_binary: a string of 64 or 128 lower-case hex digits (hashes, keys, signatures), as raw bytes
    #items           list<int32>, delta: a list, as the numbers of its elements, which are lower than its own
    #json            string: anything else, as JSON text

A record is exactly what its line in trace.jsonl was (`records` of results/trace_columns.py gives it back). The file's
metadata hold, under `moonquake`, JSON of `Origin`: the format, how many records there are, and of which trace.jsonl.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from results.history import HistoryError
from results.trace import TraceEvent, read_trace

FORMAT = "moonquake-trace/1"
VALUE = "#value"
OWN = {
    "event": pa.dictionary(pa.int32(), pa.string()),
    "#row": pa.int64(),
    "time": pa.int64(),
    "incarnation": pa.int64(),
}
TABLE = {"#bytes": pa.large_binary(), "#items": pa.list_(pa.int32()), "#json": pa.string()}
GROUP_ROWS = 1 << 20
NESTED = 3  # lists in lists are taken apart down to here; deeper ones are JSON text
_HEX = re.compile(r"(?:[0-9a-f]{64}){1,2}")
_INT = 1 << 63
_encode = msgspec.json.Encoder().encode

Ints: TypeAlias = NDArray[np.int64]


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a trace.parquet says of itself. `size` and `sha256` are those of the trace.jsonl it was made from."""

    format: str
    records: int
    size: int = 0
    sha256: str = ""


class Values:
    """Numbers for values; equal values get equal numbers."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self.bytes: list[bytes | None] = []
        self.items: list[tuple[int, ...] | None] = []
        self.json: list[str | None] = []

    def number(self, value: Any, depth: int = 0) -> int:
        """The number of a JSON value."""
        key: Any = value
        if type(value) is list and depth < NESTED:
            key = tuple([self.number(item, depth + 1) for item in value])
        elif type(value) is not str:
            key = _encode(value)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.bytes)
            digits = type(value) is str and _HEX.fullmatch(value) is not None
            self.bytes.append(bytes.fromhex(value) if digits else None)
            self.items.append(key if type(key) is tuple else None)
            self.json.append(None if digits or type(key) is tuple else _encode(value).decode())
        return number

    def table(self) -> dict[str, Any]:
        """The columns of the value table."""
        columns = {"#bytes": self.bytes, "#items": self.items, "#json": self.json}
        return {name: pa.array(columns[name], kind) for name, kind in TABLE.items()}


class _Column:
    """A column some of whose rows may be empty."""

    def __init__(self) -> None:
        self.rows, self.values = array("q"), array("q")

    def whole(self, size: int, kind: Any) -> Any:
        values = np.zeros(size, np.int64)
        empty = np.ones(size, np.bool_)
        rows = np.frombuffer(self.rows, np.int64)
        values[rows] = np.frombuffer(self.values, np.int64)
        empty[rows] = False
        return pa.array(values, pa.int64(), mask=empty).cast(kind)


class _Rows:
    """The records of one event so far."""

    def __init__(self) -> None:
        self.size = 0
        self.columns: dict[str, _Column] = {}

    def put(self, name: str, value: int) -> None:
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = _Column()
        column.rows.append(self.size)
        column.values.append(value)


def write_trace(path: Path, events: Iterable[TraceEvent], size: int = 0, sha256: str = "") -> int:
    """Write `events`, which are in order of time, as a trace.parquet; returns how many.

    Raises HistoryError on a record whose fields have no column, OSError when the disk refuses.
    """
    values, kinds = Values(), dict[str, _Rows]()
    count = 0
    for event in events:
        rows = kinds.setdefault(event["event"], _Rows())
        rows.put("#row", count)
        for name, value in event.items():
            if name == "event":
                continue
            if name[:1] in ("@", "#"):
                raise HistoryError(
                    f"trace record {count + 1}: field {name!r}: names that begin with {name[0]} are ours"
                )
            if type(value) is int and -_INT <= value < _INT:
                rows.put(name, value)
            else:
                rows.put(f"@{name}", values.number(value))
        rows.size += 1
        count += 1
    tables = {
        event: {
            name: column.whole(rows.size, pa.int32() if name[0] == "@" else pa.int64())
            for name, column in rows.columns.items()
        }
        for event, rows in sorted(kinds.items())
    }
    write_tables(path, tables, values.table(), Origin(FORMAT, count, size, sha256))
    return count


def write_tables(
    path: Path, tables: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any], origin: Origin
) -> None:
    """Write columns as they are: event -> column -> arrow array, and the columns of the value table.

    Through a temporary file: whole or not at all. Raises OSError.
    """
    kinds: dict[str, Any] = {**OWN, "@node": pa.int32()}
    for columns in tables.values():
        kinds |= {name: pa.int32() if name[0] == "@" else pa.int64() for name in columns if name not in kinds}
    kinds |= TABLE
    schema = pa.schema(list(kinds.items())).with_metadata({"moonquake": _encode(origin)})
    whole = [name for name, kind in kinds.items() if name not in ("event", *TABLE)]
    encodings = dict.fromkeys([*whole, "#items.list.element"], "DELTA_BINARY_PACKED")
    temporary = path.with_name(f".{path.name}.part")
    try:
        with pq.ParquetWriter(
            temporary, schema, compression="zstd", use_dictionary=["event"], column_encoding=encodings,
            write_page_checksum=True,
        ) as writer:  # fmt: skip
            for event, columns in {VALUE: values, **tables}.items():
                size = len(next(iter(columns.values())))
                filled = [
                    pa.array([event], pa.string()).dictionary_encode().take(pa.array(np.zeros(size, np.int32)))
                    if name == "event"
                    else columns.get(name, pa.nulls(size, kind))
                    for name, kind in kinds.items()
                ]
                if size:
                    writer.write_table(pa.table(filled, schema=schema), row_group_size=GROUP_ROWS)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def convert(source: Path, target: Path) -> int:
    """Write the trace.parquet of a trace.jsonl; returns how many records. Raises HistoryError, OSError."""
    events = sorted(read_trace(source), key=lambda event: int(event["time"]))
    return write_trace(target, events, source.stat().st_size, digest(source))


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
