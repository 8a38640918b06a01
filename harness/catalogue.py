"""The catalogue of mutants (`tests/mutants/catalogue.toml`): which there must be, and why others do not apply.

A mutant that nobody plays any more is a known bug whose regression test is skipped. So the ids are written down a
second time, and a list of mutants that lacks one, or a witness that no mutant uses, is a gap that `teeth` reports.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness import shipped
from harness.mutants import MUTANTS_ROOT, Mutant, MutantError

CATALOGUE = MUTANTS_ROOT / "catalogue.toml"
WITNESSES = "witnesses"


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the design texts for which there is no mutant."""

    id: str
    why: str


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`mutants`: ids that must be there."""

    mutants: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


def read_catalogue(path: Path = CATALOGUE) -> Catalogue:
    """The catalogue. Raises MutantError naming the file and what is wrong with it."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Catalogue)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MutantError(f"{path}: the catalogue of mutants cannot be read: {error}") from error


def gaps(mutants: Sequence[Mutant], catalogue: Catalogue | None = None) -> list[str]:
    """What is missing from these mutants, in sentences; empty if they are all there."""
    listed = catalogue or read_catalogue()
    ids = [mutant.id for mutant in mutants]
    unused = sorted(witnesses() - {mutant.witness for mutant in mutants})
    return [
        *(f"{each} is in the catalogue, but there is no such mutant" for each in listed.mutants if each not in ids),
        *(f"{each} is not in the catalogue" for each in ids if each not in listed.mutants),
        *(f"the witness {name} is used by no mutant" for name in unused),
    ]


def witnesses() -> set[str]:
    """Names of the scenarios that are written for a mutant."""
    return {name for name, path in shipped.shipped().items() if path.parent.name == WITNESSES}
