"""Replaying a simulated run: the same scenario and seed once more, compared byte for byte with what was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness import judging, versions
from harness.keep import digest_of
from harness.outcome import UsageError
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.store import RunInfo

RECORDS = ("trace.jsonl", "history.jsonl")
CONTEXT = 3  # records shown before the first that differs
_HEAD = msgspec.json.Decoder(dict[str, Any])


class Divergence(msgspec.Struct, frozen=True):
    """The first record that differs. `recorded` or `replayed` is None where one of the two has ended before."""

    file: str
    record: int  # from 1
    time: int  # ns
    node: str  # of a history record: the process
    event: str  # of a history record: type and f
    recorded: str | None
    replayed: str | None
    before: list[str]  # the records in front of it, equal in both

    def sentence(self) -> str:
        """Where it is, in words."""
        what = f"{self.event} at {self.node}" if self.event else "unreadable"
        return f"{self.file}, record {self.record}: {what}, {self.time / 1e9:.6f} s"


class Replay(msgspec.Struct, frozen=True):
    """A finished replay. `changed`: versions that are not those of the recorded run, name -> (recorded, now)."""

    directory: Path
    trial: Trial
    recorded_digest: str
    divergence: Divergence | None
    changed: dict[str, tuple[str, str]]

    @property
    def identical(self) -> bool:
        """Are both files the same, byte for byte?"""
        return self.divergence is None

    def document(self) -> dict[str, Any]:
        """The JSON shape of `replay` (architecture section 7)."""
        return {
            "run": str(self.directory),
            "digest": self.trial.digest,
            "regime": self.trial.info.regime,
            "as_expected": self.trial.expected,
            "verdicts": msgspec.to_builtins(self.trial.verdicts),
            "identical": self.identical,
            "recorded_digest": self.recorded_digest,
            "divergence": msgspec.to_builtins(self.divergence),
            "versions_changed": msgspec.to_builtins(self.changed),
        }


def replay(directory: Path) -> Replay:
    """Run the run in `directory` again and compare.

    Raises UsageError for a run that cannot be replayed, HistoryError for a directory without its records.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: is not a run directory; the newest one is runs/latest")
    info = judging.readable(directory).info
    _check(directory, info)
    recorded = {name: (directory / name).read_bytes() for name in RECORDS}
    again = trial(scenario_of(directory, info), info.seed)
    replayed = {"trace.jsonl": again.run.trace_bytes, "history.jsonl": again.run.history_bytes}
    return Replay(
        directory,
        again,
        digest_of(recorded["trace.jsonl"], recorded["history.jsonl"]),
        first_divergence(recorded, replayed),
        versions.changed(info.versions),
    )


def scenario_of(directory: Path, info: RunInfo) -> Scenario:
    """The scenario that run.json holds, as it was resolved then. Raises ScenarioError."""
    return parse(info.scenario, Source(str(directory / "run.json")))


def _check(directory: Path, info: RunInfo) -> None:
    if info.backend != "sim":
        raise UsageError(
            f"{directory}: ran on backend {info.backend}, where the operating system has a say: no replay is equal byte"
            " for byte. What its seed decides (keys, workload, victims, fault windows) runs again with"
            f" `moonquake run {info.name} --backend {info.backend} --seed {info.seed}` (or the scenario's file instead"
            " of its name); a run with --backend sim can be replayed"
        )
    if info.interrupted:
        raise UsageError(
            f"{directory}: was interrupted, and no seed decides when: its records end where a replay would go on."
            f" `moonquake run {info.name} --backend sim --seed {info.seed}` makes a whole run"
        )


# ---------------------------------------------------------------- comparing
def first_divergence(recorded: Mapping[str, bytes], replayed: Mapping[str, bytes]) -> Divergence | None:
    """The earliest record that differs, over all files (file name -> JSON lines), or None."""
    found = [
        divergence
        for name in recorded
        if (divergence := differing(name, _lines(recorded[name]), _lines(replayed[name]))) is not None
    ]
    return min(found, key=lambda divergence: divergence.time, default=None)


def differing(name: str, recorded: Sequence[bytes], replayed: Sequence[bytes], first: int = 1) -> Divergence | None:
    """The first differing record of one file; `first` is the number of the first line given."""
    length = min(len(recorded), len(replayed))
    at = next((i for i in range(length) if recorded[i] != replayed[i]), length)
    if at == len(recorded) == len(replayed):
        return None
    old = recorded[at] if at < len(recorded) else None
    new = replayed[at] if at < len(replayed) else None
    head = next((h for line in (new, old) if line is not None and (h := _head(line))), {})
    event = str(head.get("event") or f"{head.get('type', '')} {head.get('f', '')}".strip())
    time = head.get("time", 0)
    before = [_text(line) for line in recorded[max(0, at - CONTEXT) : at]]
    return Divergence(
        name, first + at, time if isinstance(time, int) else 0, str(head.get("node", head.get("process", ""))), event,
        None if old is None else _text(old), None if new is None else _text(new), before,
    )  # fmt: skip


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _head(line: bytes) -> dict[str, Any]:
    try:
        return _HEAD.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}  # a damaged record differs all the same; its place says where


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").removesuffix("\n")
