"""What a night came to: one JSON document, a comparison with the nights before, JUnit XML for CI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any
from xml.etree import ElementTree as xml

import msgspec

from harness.night.records import Night, Piece
from harness.outcome import Exit

WINDOW = 7  # nights before this one that its figures are compared with
CHANGE = 0.10  # a relative change worth a line (CometBFT's rule of thumb)
HIGHER_IS_BETTER = ("goals", "states", "clean")


def summary(night: Night, earlier: Sequence[Night], interrupted: bool) -> dict[str, Any]:
    """The JSON document of `nightly`, which is also the night's summary.json."""
    counts = Counter(piece.status for piece in night.pieces)
    kinds: dict[str, dict[str, float]] = {}
    for piece in night.pieces:
        kind = kinds.setdefault(piece.kind, {"pieces": 0, "runs": 0, "seconds": 0.0, "surprises": 0})
        kind["pieces"] += 1
        kind["runs"] += piece.runs
        kind["seconds"] = round(kind["seconds"] + piece.seconds, 1)
        kind["surprises"] += piece.status in ("failure", "flake")
    failures = [_failure(piece) for piece in night.pieces if piece.status == "failure"]
    return {
        "night": str(night.directory),
        "started": night.header.started,
        "ended": night.ended,
        "budget_s": night.header.budget_s,
        "seconds": round(night.seconds, 1),
        "backend": night.header.backend,
        "code": night.header.code,
        "pieces": len(night.pieces),
        "runs": sum(piece.runs for piece in night.pieces),
        "ok": counts["ok"],
        "unknown": counts["unknown"],
        "kinds": kinds,
        "failures": failures,
        "new_failures": sum(not f["known"] for entry in failures for f in entry["failures"]),
        "flakes": [_failure(piece) for piece in night.pieces if piece.status == "flake"],
        "unknowns": [
            {"work": name(p), "seed": p.seed, "reason": p.reason} for p in night.pieces if p.status == "unknown"
        ],
        "changes": changes(night, earlier),
        "earlier": len(earlier),
        "interrupted": interrupted,
        "exit": int(exit_of(night.pieces, interrupted)),
    }


def name(piece: Piece) -> str:
    """kind/name."""
    return f"{piece.kind}/{piece.name}"


def _failure(piece: Piece) -> dict[str, Any]:
    return {
        "work": name(piece),
        "seed": piece.seed,
        "run": piece.run,
        "failures": msgspec.to_builtins(piece.failures),
    }  # fmt: skip


def exit_of(pieces: Sequence[Piece], interrupted: bool) -> Exit:
    """1 a failure; 2 a flake, an unknown, an interruption, or nothing done at all; else 0."""
    states = {piece.status for piece in pieces}
    if "failure" in states:
        return Exit.SURPRISE
    return Exit.INCONCLUSIVE if interrupted or not pieces or states != {"ok"} else Exit.AS_EXPECTED


# ---------------------------------------------------------------- against the nights before
def figures(night: Night) -> dict[str, float]:
    """Every figure of a night by "kind/name figure", the median over its pieces."""
    values: dict[str, list[float]] = {}
    for piece in night.pieces:
        for key, value in piece.figures.items():
            values.setdefault(f"{name(piece)} {key}", []).append(value)
    return {key: median(found) for key, found in sorted(values.items())}


def changes(night: Night, earlier: Sequence[Night]) -> list[dict[str, Any]]:
    """Figures that moved by more than CHANGE against the median of up to WINDOW earlier nights on the same backend."""
    before = [figures(old) for old in earlier if old.header.backend == night.header.backend][-WINDOW:]
    found = []
    for key, value in figures(night).items():
        past = [old[key] for old in before if key in old]
        usual = median(past) if past else 0.0
        if not usual or abs(value - usual) <= CHANGE * abs(usual):
            continue
        better = (value > usual) == key.endswith(HIGHER_IS_BETTER)
        found.append({"figure": key, "value": value, "usual": usual, "nights": len(past), "better": better})
    return found


# ---------------------------------------------------------------- for machines and people
def junit(night: Night) -> bytes:
    """JUnit XML: a suite a kind of work, a case a piece. A flake or an unknown is an error, for it is no pass."""
    root = xml.Element("testsuites", name="moonquake nightly")
    for kind in dict.fromkeys(piece.kind for piece in night.pieces):
        mine = [piece for piece in night.pieces if piece.kind == kind]
        failed = sum(piece.status == "failure" for piece in mine)
        doubtful = sum(piece.status in ("flake", "unknown") for piece in mine)
        suite = xml.SubElement(
            root, "testsuite", name=kind, tests=str(len(mine)), failures=str(failed), errors=str(doubtful),
            time=f"{sum(piece.seconds for piece in mine):.3f}",
        )  # fmt: skip
        for piece in mine:
            case = xml.SubElement(
                suite, "testcase", classname=kind, name=f"{piece.name} seed {piece.seed}", time=f"{piece.seconds:.3f}"
            )
            if piece.status == "ok":
                continue
            said = "\n".join(sentence(failure.summary, piece) for failure in piece.failures) or piece.reason
            tag = "failure" if piece.status == "failure" else "error"
            xml.SubElement(case, tag, type=piece.status, message=_printable(said[:200])).text = _printable(said)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True))


def sentence(said: str, piece: Piece) -> str:
    """A failure in a line: what, where, and whether it came back."""
    back = "; ".join(
        f"came back {f.again[0]} of {f.again[1]} times" for f in piece.failures if f.summary == said and f.again[1]
    )
    return f"{name(piece)}, seed {piece.seed}: {said}" + (f" ({back})" if back else "")


def _printable(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(
        c for c in text if c in "\t\n\r" or (ord(c) >= 0x20 and not 0xD800 <= ord(c) < 0xE000 and c != "\ufffe")
    )
