"""Histories of other hands, as records: our JSONL, Jepsen's EDN (one operation a line, or one vector), elle-cli's JSON.

The format is told by the text itself, not by the file's name. Values stay encoded JSON until somebody needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from results.edn import EdnError, as_json, read_edn
from results.history import UNDECODABLE, HistoryError, Operation, whole_text

CHUNK_BYTES = 1 << 19  # what the columns of a chunk take fits into a processor's cache
NULL = msgspec.Raw(b"null")
_BLANK = b" \t\r\n\xef\xbb\xbf"
_JSON_LINES = re.compile(rb'\{\s*["}]')
_JSON_ARRAY = re.compile(rb'\[\s*(\{\s*["}]|\]\s*$)')


Int: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class Record(msgspec.Struct, gc=False):
    """One record of a history. What other tools leave out is None; `value` is JSON."""

    type: Literal["invoke", "ok", "fail", "info"]
    index: Int | None = None
    time: Int | None = None
    process: Int | str | None = None
    f: str | None = None
    value: msgspec.Raw = NULL
    tx: str = ""
    phase: str = ""
    gateway: str = ""
    error: Any = None
    line: int = 0  # where it stands; 0 if that is not known


def read_records(path: Path) -> Iterator[list[Record]]:
    """The records of a history file in file order, in lists. Raises HistoryError naming line and field."""
    try:
        with path.open("rb") as file:
            first = file.read(4096).lstrip(_BLANK)
    except FileNotFoundError as error:
        raise HistoryError(f"{path}: no such file; give a run directory or a history (.jsonl, .edn, .json)") from error
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
    if not first or _JSON_LINES.match(first):
        yield from _json_lines(path)
    elif _JSON_ARRAY.match(first):
        yield _json_array(path)
    elif first[:1] in (b"{", b"[", b"(", b"#", b";"):
        yield from _edn(path)
    else:
        raise HistoryError(
            f"{path}:1: neither JSON lines, nor a JSON array, nor EDN: it begins with {first[:20]!r}; "
            "a history has one operation map a line, or all of them in one array or vector"
        )


def operations(path: Path) -> Iterator[Operation]:
    """The same as operations, for checkers that read them one by one; times are record numbers where none are given."""
    number = 0
    for records in read_records(path):
        for record in records:
            yield _operation(record, number, path)
            number += 1


def of_operations(history: Iterable[Operation]) -> Iterator[list[Record]]:
    """Records of operations that were read already."""
    encode = msgspec.json.Encoder().encode
    yield [
        Record(o.type, o.index, o.time, o.process, o.f, msgspec.Raw(encode(o.value)), o.tx, o.phase, o.gateway)
        for o in history
    ]


def _operation(record: Record, number: int, path: Path) -> Operation:
    if record.process is None:
        raise HistoryError(f"{path}:{record.line or number + 1}: an operation without a `process`")
    try:
        value = msgspec.json.decode(record.value)
    except UNDECODABLE as error:
        raise HistoryError(f"{path}:{record.line or number + 1}: value: {error}") from error
    return Operation(
        index=number if record.index is None else record.index,
        time=number if record.time is None else record.time,
        process=record.process,
        type=record.type,
        f=record.f or "",
        value=value,
        tx=record.tx,
        phase=record.phase,
        gateway=record.gateway,
        error=record.error if isinstance(record.error, str) else "",
    )


# ---------------------------------------------------------------- JSON
def _json_lines(path: Path) -> Iterator[list[Record]]:
    decoder = msgspec.json.Decoder(Record)
    number, rest = 1, b""
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            if b"\n" not in block:
                rest += block
                continue
            cut = block.rindex(b"\n") + 1
            lines, rest = rest + block[:cut], block[cut:]
            count = lines.count(b"\n")
            yield _decoded(decoder, lines.removeprefix(b"\xef\xbb\xbf"), number, count, path)
            number += count
    if rest:
        raise HistoryError(
            f"{path}:{number}: truncated: the last line has no end; the recording was cut off. Run the scenario again; "
            f"`head -n {number - 1} {path}` prints the records that are whole"
        )


def _decoded(decoder: msgspec.json.Decoder[Record], lines: bytes, number: int, count: int, path: Path) -> list[Record]:
    try:
        records = decoder.decode_lines(whole_text(lines))
    except UNDECODABLE:
        records = []
    if len(records) == count:
        for line, record in enumerate(records, number):
            record.line = line
        return records
    records = []  # something is wrong somewhere, or there are empty lines: look at each
    for line, text in enumerate(lines.splitlines(), number):
        if text.strip():
            try:
                record = decoder.decode(whole_text(text))
            except UNDECODABLE as error:
                raise HistoryError(f"{path}:{line}: not a history record: {error}") from error
            record.line = line
            records.append(record)
    return records


def _json_array(path: Path) -> list[Record]:
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(whole_text(data), type=list[Record])
    except UNDECODABLE as error:
        raise HistoryError(f"{path}: not an array of operations: {error}{_where(data, error)}") from error


def _where(data: bytes, error: BaseException) -> str:
    """The line of a syntax error that names a byte."""
    found = re.search(r"byte (\d+)", str(error))
    return f" (line {data.count(10, 0, int(found.group(1))) + 1})" if found else ""


# ---------------------------------------------------------------- EDN
def _edn(path: Path) -> Iterator[list[Record]]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HistoryError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    vector = text.lstrip()[:1] in ("[", "(")
    plain = as_json(text)
    if plain is not None:
        try:
            yield msgspec.json.decode(plain if vector else f"[{plain}]", type=list[Record])
            return
        except UNDECODABLE:
            pass  # not the plainest kind, or wrong: the full reader tells which, and where
    encode = msgspec.json.Encoder().encode
    records: list[Record] = []
    try:
        for line, element in read_edn(text):
            items = element if vector and isinstance(element, list) else [element]
            records += [_edn_record(item, line, encode, path) for item in items]
    except EdnError as error:
        raise HistoryError(f"{path}:{error.line}: {error}") from error
    yield records


def _edn_record(item: Any, line: int, encode: Any, path: Path) -> Record:
    if not isinstance(item, dict):
        raise HistoryError(f"{path}:{line}: not a history record: expected an operation map, got {str(item)[:40]!r}")
    fields = {name: item[name] for name in Record.__struct_fields__ if name in item and name not in ("line", "value")}
    try:
        record = msgspec.convert(fields, Record)
        record.value = msgspec.Raw(encode(item.get("value")))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise HistoryError(f"{path}:{line}: not a history record: {error}") from error
    record.line = line
    return record
