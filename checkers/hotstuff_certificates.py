"""hotstuff-certificates: HotStuff blocks are what their hashes say, and more than two thirds voted for each.

Trace events (harness/targets/hotstuff.py): `finalise` with `certificate` (the block's own), `justify` (its parent's),
`data_hash` and `data`. run.json has `parameters.chain` and `parameters.validators`, node -> {key, power}. Encodings are
those of hotstuff_rs 0.4.0 (borsh): a vote signs chain, view, block and phase; a block's hash covers height, the
parent's certificate and the hash of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from checkers.evidence import EvidenceError, sha256, signature_holds, unhex
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.store import RunInfo
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

NOTHING = "no honest node told a block with its certificate: is this a run of hotstuff?"
PHASES = ("generic", "prepare", "precommit", "commit", "decide")
UNDERSIGNED, INVALID = "undersigned-certificate", "invalid-certificate"
NO_BLOCK = "0" * 64
CONTENT = ("height", "block", "view", "parent", "certificate", "justify", "data_hash", "data")


@dataclass(frozen=True)
class Validators:
    """Who votes: (node, public key, power) in the order in which a certificate holds their signatures."""

    chain: int
    members: tuple[tuple[str, bytes, int], ...]

    @property
    def quorum(self) -> int:
        """The least power that is more than two thirds of all."""
        return 2 * sum(power for _, _, power in self.members) // 3 + 1


@dataclass(frozen=True)
class Fault:
    """Why a certificate proves nothing: the anomaly's kind, and words."""

    kind: str
    why: str


@dataclass
class Book:
    """Certificates judged so far, by their content: what is wrong with each, and its signers."""

    validators: Validators
    known: dict[str, tuple[Fault | None, tuple[str, ...]]] = field(default_factory=dict)
    signatures: int = 0

    def fault(self, certificate: Mapping[str, Any]) -> tuple[Fault | None, tuple[str, ...]]:
        """Why the certificate proves nothing (None: it does), and whose signatures hold.

        Raises EvidenceError if it is malformed.
        """
        identity = repr(sorted(certificate.items()))
        if identity not in self.known:
            self.known[identity] = self._examine(certificate)
        return self.known[identity]

    def _examine(self, certificate: Mapping[str, Any]) -> tuple[Fault | None, tuple[str, ...]]:
        members, signatures = self.validators.members, certificate["signatures"]
        if certificate["chain"] != self.validators.chain:
            return Fault(INVALID, f"it is of chain {certificate['chain']}, this one is {self.validators.chain}"), ()
        if len(signatures) != len(members):
            room = f"it has room for {len(signatures)} signatures, there are {len(members)} validators"
            return Fault(INVALID, room), ()
        statement, power = signed(certificate), 0
        signers: list[str] = []
        for (node, key, weight), signature in zip(members, signatures, strict=True):
            if signature is None:
                continue
            self.signatures += 1
            if not signature_holds(key, statement, unhex(signature, 64, "signature")):
                return Fault(INVALID, f"the signature of {node} does not hold"), tuple(signers)
            signers.append(node)
            power += weight
        if power < self.validators.quorum:
            return Fault(UNDERSIGNED, f"{power} of a power of {self.validators.quorum} voted"), tuple(signers)
        return None, tuple(signers)


class HotStuffCertificates(Judge):
    """Blocks hash to what they are called, and each has a certificate of valid votes of more than two thirds.

    Anomalies: wrong-hash (height, parent's certificate and data hash make another hash), wrong-data (the data are not
    those of the data hash), undersigned-certificate (a quorum is missing), invalid-certificate (a signature does not
    hold, or it is of another chain or committee), certificate-of-another (it is for another block or view, or the
    parent's is), two-certificates (good ones for two blocks in one view). Examined: different blocks with their
    certificates.
    """

    property: ClassVar[str] = "hotstuff-certificates"

    def judge(self, index: Index) -> Verdict:
        book = Book(validators_of(index.info))
        anomalies: list[Anomaly] = []
        told: set[str] = set()
        views: dict[int, dict[str, tuple[TraceEvent, tuple[str, ...]]]] = {}
        for event in index.events("finalise"):
            if "certificate" not in event or (identity := _identity(event)) in told:
                continue
            told.add(identity)
            anomalies += _misfits(event)
            for name in ("certificate", "justify"):
                certificate = event[name]
                if name == "justify" and certificate["block"] == NO_BLOCK:
                    continue  # of the first block: nobody voted for what was before it
                fault, signers = book.fault(certificate)
                if fault is None:
                    views.setdefault(certificate["view"], {}).setdefault(certificate["block"], (event, signers))
                elif name == "certificate":
                    anomalies.append(_invalid(event, fault))
        anomalies += _two(views)
        measures = {
            "blocks": len(told),
            "certificates": len(book.known),
            "signatures": book.signatures,
            "quorum": book.validators.quorum,
        }
        return conclude(self.property, len(told), anomalies, measures, NOTHING)


def validators_of(info: RunInfo) -> Validators:
    """From run.json. Raises EvidenceError."""
    known = info.parameters.get("validators")
    if not known or not isinstance(info.parameters.get("chain"), int):
        raise EvidenceError("run.json names no chain and validators (parameters): is this a run of hotstuff?")
    members = [(node, unhex(one["key"], 32, f"key of {node}"), int(one["power"])) for node, one in known.items()]
    return Validators(info.parameters["chain"], tuple(sorted(members, key=lambda member: member[1])))


def signed(certificate: Mapping[str, Any]) -> bytes:
    """The bytes that every vote in it signs."""
    block = unhex(certificate["block"], 32, "block of a certificate")
    return _number(certificate["chain"]) + _number(certificate["view"]) + block + _phase(certificate["phase"])


def encoded(certificate: Mapping[str, Any]) -> bytes:
    """The certificate as a block's hash covers it."""
    signatures = certificate["signatures"]
    votes = (b"\0" if vote is None else b"\1" + unhex(vote, 64, "signature") for vote in signatures)
    return signed(certificate) + len(signatures).to_bytes(4, "little") + b"".join(votes)


def _number(value: object) -> bytes:
    if not isinstance(value, int) or not 0 <= value < 2**64:
        raise EvidenceError(f"{value!r} is no number of 64 bits")
    return value.to_bytes(8, "little")


def _phase(name: str) -> bytes:
    if name not in PHASES:
        raise EvidenceError(f"{name!r} is no phase of HotStuff; known: {', '.join(PHASES)}")
    return bytes([PHASES.index(name)])


def _identity(event: TraceEvent) -> str:
    return repr([event.get(name) for name in CONTENT])


def _misfits(event: TraceEvent) -> list[Anomaly]:
    """What does not belong together in one block."""
    own, justify, name = event["certificate"], event["justify"], f"{event['node']} told {short(event['block'])}"
    data_hash = unhex(event["data_hash"], 32, "data_hash")
    found = []
    if sha256(_number(event["height"] - 1), encoded(justify), data_hash).hex() != event["block"]:
        found.append(("wrong-hash", "its height, parent's certificate and data hash make another hash"))
    if sha256(event["data"].encode()) != data_hash:
        found.append(("wrong-data", "its data are not those of its data hash"))
    if own["block"] != event["block"] or own["view"] != event["view"]:
        found.append(("certificate-of-another", f"its certificate is for {short(own['block'])} in view {own['view']}"))
    if justify["block"] != event["parent"]:
        found.append(("certificate-of-another", f"it is justified by {short(justify['block'])}, not by its parent"))
    return [Anomaly(kind, f"{name} of height {event['height']}: {told}", [record(event)]) for kind, told in found]


def _invalid(event: TraceEvent, fault: Fault) -> Anomaly:
    summary = (
        f"{event['node']} holds {short(event['block'])} final at height {event['height']}, but its certificate of view"
        f" {event['certificate']['view']} proves nothing: {fault.why}"
    )
    return Anomaly(fault.kind, summary, [record(event)])


def _two(views: Mapping[int, Mapping[str, tuple[TraceEvent, Sequence[str]]]]) -> list[Anomaly]:
    """Views with good certificates for two blocks, and who signed both."""
    anomalies = []
    for view, found in sorted(views.items()):
        if len(found) > 1:
            (first, one), (second, other) = [found[block] for block in sorted(found)][:2]
            both = ", ".join(node for node in one if node in other)
            told = " and ".join(short(block) for block in sorted(found))
            summary = f"view {view} has certificates for {told}; {both} signed both"
            anomalies.append(Anomaly("two-certificates", summary, [record(first), record(second)]))
    return anomalies
