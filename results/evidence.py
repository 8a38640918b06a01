"""Evidence files: who signed what contradicts itself, provable from public keys alone (protocol.md 6.2 I-ACCT).

One JSON object (`Evidence`). Names are node names, hashes and keys 64 lower-case hex digits, signatures 128.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from results.history import UNDECODABLE, HistoryError

FORMAT = "moonquake-evidence/1"
View = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Statement(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One signed statement: a vote of `kind` optimistic | normal | fallback | commit for `block`, or a `timeout`."""

    kind: str
    view: View
    signature: str
    block: str = ""  # votes
    lock_view: View = 0  # time-outs

    def told(self) -> str:
        """As people read it."""
        if self.kind == "timeout":
            return f"a time-out of view {self.view} with the lock of view {self.lock_view}"
        return f"a vote ({self.kind}) for {self.block[:10]}.. in view {self.view}"


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two statements that no honest replica signs both, by the `rule` that forbids it; `first` is always a vote."""

    culprit: str
    rule: str
    first: Statement
    second: Statement


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is needed to verify the proofs: the domain of the signatures, the committee and its public keys.

    `scheme` ideal (simulated runs): a public key is worth the seed given for it, and nothing outside the simulation.
    """

    format: str
    chain: str
    epoch: View
    cycle: View
    tribe: list[str]
    public_keys: dict[str, str]
    proofs: list[Proof]
    scheme: str = "ed25519"
    backend: str = ""
    ideal_seeds: dict[str, str] = {}


def read_evidence(path: Path) -> Evidence:
    """The evidence in a file. Raises HistoryError saying what is wrong with a file that is none."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Evidence)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
    except UNDECODABLE as error:
        raise HistoryError(f"{path}: not an evidence file: {error}") from error
    if found.format != FORMAT:
        raise HistoryError(f"{path}: is of format {found.format!r:.60}; this version reads {FORMAT!r}")
    if not found.tribe or len(set(found.tribe)) != len(found.tribe):
        raise HistoryError(f"{path}: `tribe` must list the names of the committee, each once")
    return found


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write the file, indented for people. Raises OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(evidence), indent=1) + b"\n")
