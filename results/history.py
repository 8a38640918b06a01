"""The history: client and nemesis operations, one JSON object a line, Jepsen's semantics (architecture section 5).

ok = it happened, fail = it did not and never will, info = unknown (the process number never acts again).
Times are nanoseconds since the start of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what decoding hostile JSON can raise


def whole_text(data: bytes) -> bytes:
    """The same bytes, if all are UTF-8: msgspec does not look into what it skips. Raises UnicodeDecodeError."""
    if not data.isascii():
        data.decode()
    return data


class HistoryError(ValueError):
    """A history or trace file that cannot be read; says which line and why."""


class Operation(msgspec.Struct, omit_defaults=True):
    """One line of history.jsonl. Nemesis operations have process "nemesis" and type info."""

    index: int
    time: int
    process: int | str
    type: Literal["invoke", "ok", "fail", "info"]
    f: str
    value: Any = None
    tx: str = ""  # transaction id, hex
    phase: str = ""  # last finality phase the wallet was told: "pre", "ord", "exec"
    gateway: str = ""
    phases: dict[str, int] = {}  # phase -> time at which the wallet learnt of it
    error: str = ""


def read_history(path: Path) -> Iterator[Operation]:
    """Operations of a history.jsonl in file order. Raises HistoryError naming the line of the first bad record.

    A torn last line (no newline: the writer died) is an error as well: a judge must not pass over half a record.
    """
    decoder = msgspec.json.Decoder(Operation)
    for number, line in _lines(path):
        try:
            yield decoder.decode(whole_text(line))
        except UNDECODABLE as error:
            raise HistoryError(f"{path}:{number}: not a history record: {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    raise HistoryError(
                        f"{path}:{number}: truncated: the last line has no end; the recording was cut off. Run the "
                        f"scenario again; `head -n {number - 1} {path}` prints the records that are whole"
                    )
                if line.strip():
                    yield number, line
    except FileNotFoundError as error:
        raise HistoryError(f"{path}: no such file; give a run directory or a history.jsonl") from error
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
