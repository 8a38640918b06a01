"""Fingerprints of simulated runs, made in fresh processes: does anything but the seed decide?

`python -m harness.fingerprint` answers requests on standard input, a JSON line each. `compare` starts one such process
for each PYTHONHASHSEED, so that set and dict-hash order would show, and names the first record that differs. Digests
of chunks are compared first: two processes need not exchange, or keep, whole traces.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any

import msgspec

from harness.replay import RECORDS, Divergence, differing
from harness.scenario import parse
from harness.toml import Source
from harness.trial import trial

CHUNK = 256  # records
HASH_SEEDS = ("1", "2")


class Request(msgspec.Struct, frozen=True):
    """One run: a scenario's values and a seed. `chunk`: also give the lines of that chunk (file name, number)."""

    values: dict[str, Any]
    seed: int
    chunk: tuple[str, int] | None = None


class Fingerprint(msgspec.Struct, frozen=True):
    """`chunks`: file name -> digests of each CHUNK records. `lines`: of the chunk that was asked for."""

    digest: str
    chunks: dict[str, list[str]]
    lines: list[str] = []


class ProcessError(RuntimeError):
    """A process that makes fingerprints ended; its own words went to standard error."""


def chunk_digests(data: bytes, records: int = CHUNK) -> list[str]:
    """SHA-256 (16 hex digits) of each `records` lines of a file of records."""
    lines = data.splitlines(keepends=True)
    parts = (b"".join(lines[i : i + records]) for i in range(0, len(lines), records))
    return [hashlib.sha256(part).hexdigest()[:16] for part in parts]


def fingerprint(request: Request) -> Fingerprint:
    """Run it here, unjudged. Raises what `trial` raises."""
    done = trial(parse(request.values, Source("request")), request.seed, ())
    files = {"trace.jsonl": done.run.trace_bytes, "history.jsonl": done.run.history_bytes}
    lines: list[str] = []
    if request.chunk is not None:
        name, number = request.chunk
        whole = files[name].splitlines(keepends=True)[number * CHUNK : (number + 1) * CHUNK]
        lines = [line.decode() for line in whole]
    return Fingerprint(done.digest, {name: chunk_digests(files[name]) for name in RECORDS}, lines)


def first_difference(a: Fingerprint, b: Fingerprint) -> tuple[str, int] | None:
    """(file, number) of the first chunk that differs; the trace is looked at first."""
    for name in RECORDS:
        left, right = a.chunks[name], b.chunks[name]
        both = min(len(left), len(right))
        at = next((i for i in range(both) if left[i] != right[i]), both)
        if at < max(len(left), len(right)):
            return name, at
    return None


def compare(
    requests: Iterable[Request], hash_seeds: Sequence[str] = HASH_SEEDS
) -> Iterator[tuple[Request, str, Divergence | None]]:
    """For each request: the digest of the first process's run, and the first record that another process made
    differently (None: identical). Raises ProcessError."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_Process(seed)) for seed in hash_seeds]
        for request in requests:
            for process in processes:
                process.ask(request)
            prints = [process.answer() for process in processes]
            yield request, prints[0].digest, _divergence(request, processes, prints)


def _divergence(request: Request, processes: Sequence[_Process], prints: Sequence[Fingerprint]) -> Divergence | None:
    for process, other in zip(processes[1:], prints[1:], strict=True):
        chunk = first_difference(prints[0], other)
        if chunk is None:
            continue
        wanted = msgspec.structs.replace(request, chunk=chunk)
        lines = []
        for one in (processes[0], process):
            one.ask(wanted)
            lines.append([line.encode() for line in one.answer().lines])
        found = differing(chunk[0], lines[0], lines[1], 1 + chunk[1] * CHUNK)
        return found or Divergence(chunk[0], 1 + chunk[1] * CHUNK, 0, "", "differs only now and then", None, None, [])
    return None


class _Process:
    """A process that answers requests."""

    def __init__(self, hash_seed: str) -> None:
        self._hash_seed = hash_seed

    def __enter__(self) -> _Process:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.fingerprint"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": self._hash_seed},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe(self._process.stdin).close()
        self._process.kill()  # it holds nothing but memory
        self._process.wait()
        self._pipe(self._process.stdout).close()

    def ask(self, request: Request) -> None:
        pipe = self._pipe(self._process.stdin)
        pipe.write(msgspec.json.encode(request) + b"\n")
        pipe.flush()

    def answer(self) -> Fingerprint:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            code = self._process.wait()
            raise ProcessError(f"a process with PYTHONHASHSEED={self._hash_seed} ended with exit code {code}")
        return msgspec.json.decode(line, type=Fingerprint)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # both were asked for
        return pipe


def main() -> None:
    """Answer requests until standard input ends."""
    decoder = msgspec.json.Decoder(Request)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(fingerprint(decoder.decode(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
