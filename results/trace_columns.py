"""Reading `trace.parquet` (the format: results/trace_parquet.py) as numpy arrays, and as records where wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from results.history import UNDECODABLE, HistoryError
from results.trace import TraceEvent
from results.trace_parquet import FORMAT, NESTED, OWN, TABLE, VALUE, Ints, Origin, digest

ABSENT = -1
RECORDS_MOST = 2_000_000  # that are taken apart into Python objects, at about a kilobyte each
_HASHES_IN_JSON = r'^"([0-9a-f]{64}){1,2}"$'
_AGAIN = "write it again: moonquake export RUN_DIR --parquet"


class TraceColumns:
    """A trace by events and columns, each read when it is asked for. Raises HistoryError on a damaged file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tables: dict[str, Table] = {}
        with readable(path):
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            self.origin = self._origin()
            self._check_schema()
            self._groups = self._grouped()
        self.counts = {
            event: sum(self._file.metadata.row_group(group).num_rows for group in groups)
            for event, groups in self._groups.items()
            if event != VALUE
        }
        held = sum(self.counts.values())
        if held != self.origin.records:
            raise HistoryError(f"{path}: holds {held} records where it should hold {self.origin.records}; {_AGAIN}")

    def __len__(self) -> int:
        return self.origin.records

    def table(self, event: str) -> Table:
        """The records of one event; an empty table if there are none."""
        if event not in self._tables:
            self._tables[event] = Table(self, event, self.counts.get(event, 0))
        return self._tables[event]

    @cached_property
    def values(self) -> ValueTable:
        """What the numbers in the columns `@...` stand for."""
        return ValueTable(self.path, *(self.column(VALUE, name) for name in TABLE))

    def records(self) -> list[TraceEvent]:
        """All records, in order of time. Raises HistoryError if there are too many of them."""
        if len(self) > RECORDS_MOST:
            raise HistoryError(
                f"{self.path}: {len(self):,} records; what goes through them one by one takes {RECORDS_MOST:,} at most."
                " Ask for the checkers that read columns: --checker fork, prefix, order, ancestry, votes, locks, dedup"
                " or timeouts"
            )
        found: list[TraceEvent | None] = [None] * len(self)
        for event in self.counts:
            table = self.table(event)
            for row, record in zip(table.row.tolist(), table.records(range(len(table))), strict=True):
                found[row] = record
        return [record for record in found if record is not None]

    @cached_property
    def ordered(self) -> bool:
        """Do the rows of all events together make one sequence without holes, in order of time? Raises if not."""
        times = np.zeros(len(self), np.int64)
        seen = np.zeros(len(self), np.bool_)
        for event in self.counts:
            table = self.table(event)
            if len(table) and (table.row.min() < 0 or table.row.max() >= len(self)):
                raise HistoryError(f"{self.path}: {event} records with a `#row` outside the trace; {_AGAIN}")
            times[table.row] = table.time
            seen[table.row] = True
        if not seen.all() or (times[1:] < times[:-1]).any():
            raise HistoryError(f"{self.path}: its rows are not in order of time, or some are missing; {_AGAIN}")
        return True

    def check_source(self, path: Path) -> None:
        """Raises HistoryError if there is a trace.jsonl at `path` that this one was not made from."""
        if not path.exists():
            return
        if (self.origin.size, self.origin.sha256) != (path.stat().st_size, digest(path)):
            raise HistoryError(
                f"{self.path} was not made from {path.name} as it is now; remove one of the two, or {_AGAIN}"
            )

    def has(self, event: str, column: str) -> bool:
        """Has the file this column, and any record of this event?"""
        return event in self._groups and column in self._file.schema_arrow.names

    def column(self, event: str, column: str) -> Any:
        """One column of one event's records, as an arrow array."""
        with readable(self.path):
            table = self._file.read_row_groups(self._groups.get(event, []), columns=[column], use_threads=False)
            found = table.column(column).combine_chunks()
            held: Any = found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)
        if event in self.counts and len(held) != self.counts[event]:  # as a damaged page header may have it
            raise HistoryError(
                f"{self.path}: {len(held)} values of {column} in {self.counts[event]} records of {event}; {_AGAIN}"
            )
        return held

    @property
    def columns(self) -> Sequence[str]:
        """The names of all columns."""
        names: Sequence[str] = self._file.schema_arrow.names
        return names

    def _origin(self) -> Origin:
        said = (self._file.schema_arrow.metadata or {}).get(b"moonquake")
        if said is None:
            raise HistoryError(f"{self.path}: a Parquet file, but no trace of ours: its metadata lack `moonquake`")
        try:
            origin = msgspec.json.decode(said, type=Origin)
        except UNDECODABLE as error:
            raise HistoryError(f"{self.path}: metadata `moonquake`: {error}") from error
        if origin.format != FORMAT:
            raise HistoryError(f"{self.path}: is of format {origin.format!r:.60}; this version reads {FORMAT!r}")
        return origin

    def _check_schema(self) -> None:
        for field in self._file.schema_arrow:
            due = {**OWN, **TABLE}.get(field.name, pa.int32() if field.name[:1] == "@" else pa.int64())
            if field.type != due:
                raise HistoryError(
                    f"{self.path}: column {field.name!r:.60} is of type {field.type}, not {due}; {_AGAIN}"
                )
        missing = [name for name in (*OWN, *TABLE, "@node") if name not in self.columns]
        if missing:
            raise HistoryError(f"{self.path}: has no column {', '.join(missing)}; {_AGAIN}")

    def _grouped(self) -> dict[str, list[int]]:
        """Event -> its row groups, by the statistics of the column `event`."""
        found: dict[str, list[int]] = {}
        place = self.columns.index("event")
        for group in range(self._file.metadata.num_row_groups):
            statistics = self._file.metadata.row_group(group).column(place).statistics
            one = statistics is not None and statistics.has_min_max and statistics.null_count == 0
            if not one or statistics.min != statistics.max:
                raise HistoryError(f"{self.path}: row group {group} does not hold records of one event; {_AGAIN}")
            found.setdefault(str(statistics.min), []).append(group)
        return found


class Table:
    """The records of one event, in the order of their rows."""

    def __init__(self, trace: TraceColumns, event: str, size: int) -> None:
        self.trace, self.event = trace, event
        self._size = size
        self._read: dict[str, Any] = {}
        self._held: dict[str, Ints] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def row(self) -> Ints:
        """Place of each record in the trace."""
        return self._required("#row")

    @property
    def time(self) -> Ints:
        """Nanoseconds since the start of the run."""
        return self._required("time")

    @property
    def node(self) -> Ints:
        """The node, as the number of its name among the values."""
        return self.ids("node")

    @property
    def incarnation(self) -> Ints:
        return self._required("incarnation")

    def ints(self, field: str, missing: int | None = None) -> Ints:
        """A field that is a whole number in every record, or else counts as `missing`; raises HistoryError without."""
        if missing is None:
            return self._required(field)
        column = self._arrow(field)
        if column is None:
            return np.full(self._size, missing, np.int64)
        filled: Ints = column.fill_null(missing).to_numpy(zero_copy_only=False)
        return filled

    def ids(self, field: str, optional: bool = False) -> Ints:
        """The numbers of a field's values; ABSENT where it is not there, if that may be. Raises HistoryError."""
        name = f"@{field}"
        if not optional:
            return self._required(name)
        if name not in self._held:
            column = self._arrow(name)
            if column is None:
                return np.full(self._size, ABSENT, np.int32)
            filled = column.fill_null(ABSENT).to_numpy(zero_copy_only=False)
            self._held[name] = self._known(filled, column.null_count)
        return self._held[name]

    def anything(self, field: str) -> Ints:
        """A number per record that is equal where the field is, whatever it holds."""
        name = f"{field}?"
        if name not in self._held:
            whole, other = self._arrow(field), self.ids(field, optional=True).astype(np.int64)
            if whole is not None and whole.null_count == 0:
                return self.ints(field)
            if whole is not None:
                _, place = np.unique(whole.fill_null(0).to_numpy(zero_copy_only=False), return_inverse=True)
                there = whole.is_valid().to_numpy(zero_copy_only=False)
                other = np.where(there, len(self.trace.values) + place, other)
            self._held[name] = other
        return self._held[name]

    def records(self, rows: Sequence[int] | Ints) -> list[TraceEvent]:
        """The records in these places, as they stand in trace.jsonl."""
        places = pa.array(np.asarray(rows, np.int64))
        found: list[TraceEvent] = [{"time": 0, "node": "", "incarnation": 0, "event": self.event} for _ in places]
        values = self.trace.values
        for name in self.trace.columns if found else ():
            if name == "event" or name[0] == "#":
                continue
            column = self._arrow(name)
            if column is None or column.null_count == len(column):
                continue
            for record, value in zip(found, column.take(places).to_pylist(), strict=True):
                if value is not None:
                    record[name.removeprefix("@")] = values.of(value) if name[0] == "@" else value
        return found

    def _arrow(self, name: str) -> Any:
        """A column as it was read, once; None if there is none."""
        if name not in self._read:
            self._read[name] = self.trace.column(self.event, name) if self.trace.has(self.event, name) else None
        return self._read[name]

    def _required(self, name: str) -> Ints:
        if name not in self._held:
            column = self._arrow(name)
            empty = self._size if column is None else column.null_count
            if empty:
                what = "a value" if name[0] == "@" else "a whole number"
                raise HistoryError(
                    f"{self.trace.path}: {empty} of {self._size} {self.event} records do not have {what} as"
                    f" {name.removeprefix('@')!r}"
                )
            held = np.empty(0, np.int64) if column is None else column.to_numpy(zero_copy_only=False)
            self._held[name] = self._known(held, 0) if name[0] == "@" else held
        return self._held[name]

    def _known(self, numbers: Ints, absent: int) -> Ints:
        """The same, if all of them are numbers of values (or ABSENT, as often as may be)."""
        if len(numbers) and (numbers.max() >= len(self.trace.values) or int((numbers < 0).sum()) != absent):
            raise HistoryError(f"{self.trace.path}: {self.event} records with numbers of values that are not there")
        return numbers


class ValueTable:
    """Values by number. `starts` and `elements`: list i holds elements[starts[i]:starts[i + 1]]; empty for no list."""

    def __init__(self, path: Path, raw: Any, items: Any, json: Any) -> None:
        self._path, self._raw, self._json = path, raw, json
        with readable(path):
            self.hashed: NDArray[np.bool_] = raw.is_valid().to_numpy(zero_copy_only=False)
            self.listed: NDArray[np.bool_] = items.is_valid().to_numpy(zero_copy_only=False)
            texts = json.is_valid().to_numpy(zero_copy_only=False)
            lengths = pc.fill_null(pc.list_value_length(items), 0).to_numpy(zero_copy_only=False)
            self.starts: Ints = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
            flat = items.flatten()
            offsets, data = raw.buffers()[1:]
            self._offsets: Ints = np.frombuffer(offsets, np.int64, len(raw) + 1, raw.offset * 8)
            self._data = memoryview(data) if data is not None else memoryview(b"")
            self.lengths: Ints = np.diff(self._offsets)  # of the bytes; 0 for anything else
            self.elements: Ints = flat.to_numpy(zero_copy_only=False)
        if (self.hashed.astype(np.int8) + self.listed + texts != 1).any():
            raise HistoryError(f"{path}: a row of the value table is not one value; {_AGAIN}")
        owners = np.repeat(np.arange(len(self), dtype=np.int64), lengths)
        if flat.null_count or ((self.elements < 0) | (self.elements >= owners)).any():
            raise HistoryError(f"{path}: a list of the value table holds what comes after it; {_AGAIN}")
        self._unique()
        self.null = self._find("null")  # the number of null, or ABSENT
        self._made: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._raw)

    def of(self, number: int) -> Any:
        """The value."""
        if number not in self._made:
            self._made[number] = self._make(number)
        made = self._made[number]
        return list(made) if isinstance(made, list) else made

    def blob(self, number: int) -> bytes:
        """The bytes of a string of hex digits; b"" for any other value."""
        return bytes(self._data[self._offsets[number] : self._offsets[number + 1]])

    def items(self, number: int) -> Ints:
        """The numbers of a list's elements; none for anything that is no list."""
        return self.elements[self.starts[number] : self.starts[number + 1]]

    def numbers(self, hashes: Sequence[str]) -> Ints:
        """The numbers of strings of 64 hex digits, ABSENT for what is no value of this trace."""
        wanted = pa.array([bytes.fromhex(text) for text in hashes], self._raw.type)
        found: Ints = pc.fill_null(pc.index_in(wanted, self._raw), ABSENT).to_numpy(zero_copy_only=False)
        return found.astype(np.int64)

    def find(self, value: str) -> int:
        """The number of a string, or ABSENT."""
        if len(value) in (64, 128):
            try:
                return int(pc.index(self._raw, pa.scalar(bytes.fromhex(value), self._raw.type)).as_py())
            except ValueError:
                pass
        return self._find(msgspec.json.encode(value).decode())

    def _find(self, text: str) -> int:
        return int(pc.index(self._json, text).as_py())

    def _make(self, number: int, depth: int = 0) -> Any:
        if self.hashed[number]:
            return self.blob(number).hex()
        if not self.listed[number]:
            return msgspec.json.decode(self._json[number].as_py())
        if depth > NESTED:
            raise HistoryError(f"{self._path}: lists of the value table nest too deeply; {_AGAIN}")
        return [self._make(int(item), depth + 1) for item in self.items(number)]

    def _unique(self) -> None:
        """A value that stood there twice would not be equal to itself."""
        with readable(self._path):
            lengths = pc.binary_length(self._raw).drop_null()
            wrong = len(lengths) - int(
                (pc.equal(lengths, 32).to_numpy(False) | pc.equal(lengths, 64).to_numpy(False)).sum()
            )
            texts = self._json.drop_null()
            wrong += int(pc.sum(pc.match_substring_regex(texts, _HASHES_IN_JSON)).as_py() or 0)
            wrong += len(lengths) - pc.count_distinct(self._raw, mode="only_valid").as_py()
            wrong += len(texts) - pc.count_distinct(texts).as_py()
            for text in texts.to_pylist():
                try:
                    wrong += msgspec.json.encode(msgspec.json.decode(text)).decode() != text
                except UNDECODABLE as error:
                    raise HistoryError(f"{self._path}: value table: {text!r:.60}: {error}") from error
        if wrong:
            raise HistoryError(f"{self._path}: {wrong} rows of the value table repeat others; {_AGAIN}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What arrow raises on a damaged file, as a HistoryError."""
    try:
        yield
    except FileNotFoundError as error:
        raise HistoryError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError, MemoryError) as error:
        raise HistoryError(f"{path}: not a trace.parquet that can be read: {str(error)[:200]}") from error
