"""Merging the nodes' trace files into one trace.jsonl, ordered by time, that a strict reader accepts.

A killed node may leave half a line, at the end of its file or where its next incarnation went on: it is dropped and
noted. Of each batch one `body` event is kept (an honest node's, if there is one): every holder reports the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from harness.outcome import MachineError


class _Head(msgspec.Struct):
    """The fields that merging looks at."""

    time: int
    node: str
    incarnation: int
    event: str
    batch: str = ""


def merge_traces(files: Mapping[str, Path], byzantine: Collection[str], out: Path) -> list[str]:
    """Write `out` from each node's trace file; returns notes on what was missing or damaged.

    Raises MachineError when `out` cannot be written.
    """
    notes: list[str] = []
    lines: list[tuple[int, bytes]] = []
    seen: set[str] = set()
    for node in sorted(files, key=lambda n: (n in byzantine, n)):  # honest first: their bodies are the ones kept
        lines.extend(_read(node, files[node], seen, notes))
    lines.sort(key=lambda line: line[0])
    temporary = out.with_name(f".{out.name}.part")  # half a trace would show losses that never were
    try:
        with temporary.open("wb") as target:
            target.writelines(line for _, line in lines)
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MachineError(
            f"{out}: cannot be written: {error.strerror}; make room on the disk, or choose another with --runs DIR"
        ) from error
    return notes


def count_records(path: Path) -> int:
    """Lines of a file of records."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _read(node: str, path: Path, bodies: set[str], notes: list[str]) -> list[tuple[int, bytes]]:
    decoder = msgspec.json.Decoder(_Head)
    lines: list[tuple[int, bytes]] = []
    damaged = 0
    try:
        data = path.read_bytes()
    except OSError as error:
        notes.append(f"{node} left no trace: {error.strerror}")
        return []
    for line in data.splitlines(keepends=True):
        try:
            head = decoder.decode(line)
        except msgspec.MsgspecError:
            damaged += bool(line.strip())
            continue
        if head.event == "body":
            if head.batch in bodies:
                continue
            bodies.add(head.batch)
        lines.append((head.time, line if line.endswith(b"\n") else line + b"\n"))
    if damaged:
        notes.append(f"{node}: {damaged} torn line(s) in its trace dropped (a killed node leaves half a line)")
    return lines
