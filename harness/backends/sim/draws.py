"""Randomness by counter: a draw depends on (seed, purpose, link, counter) only.

Removing one fault therefore leaves every other draw where it was, which shrinking and first-divergence comparisons
need. `Salt.of` hashes names once; `draw` is splitmix64's finaliser over salt + counter * golden ratio (Steele, Lea,
Flood 2014), 64 uniform bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

MASK: Final = 2**64 - 1
GOLDEN: Final = 0x9E3779B97F4A7C15
MIX_1: Final = 0xBF58476D1CE4E5B9
MIX_2: Final = 0x94D049BB133111EB
UNIT: Final = 2.0**-64


def salt(seed: int, *names: str | int) -> int:
    """64 bits for one purpose and one link or node; odd, so that it can be a multiplier too."""
    text = "/".join(map(str, ("moonquake/sim", seed, *names)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") | 1


def salts(seed: int, purpose: str, names: Sequence[str]) -> list[list[int]]:
    """`salt(seed, purpose, a, b)` for all pairs of names: of three hundred there are ninety thousand."""
    whole = hashlib.blake2b(f"moonquake/sim/{seed}/{purpose}/".encode(), digest_size=8)
    ends = [name.encode() for name in names]
    found = []
    for name in names:
        start, row = whole.copy(), []
        start.update(f"{name}/".encode())
        for end in ends:
            link = start.copy()
            link.update(end)
            row.append(int.from_bytes(link.digest(), "big") | 1)
        found.append(row)
    return found


def draw(base: int, counter: int) -> int:
    """The `counter`-th 64-bit draw of the stream `base`."""
    x = (base + counter * GOLDEN) & MASK
    x = ((x ^ (x >> 30)) * MIX_1) & MASK
    x = ((x ^ (x >> 27)) * MIX_2) & MASK
    return x ^ (x >> 31)


def unit(base: int, counter: int) -> float:
    """The `counter`-th draw as a number in [0, 1)."""
    return draw(base, counter) * UNIT


def tie_break(base: int, time: int) -> int:
    """Who goes first among events of one instant: 32 bits, equal for one link and one instant (a link keeps its order).

    Multiply-shift: cheap, and seeded, so that order dependence is explored and not hidden (architecture section 9).
    """
    return ((base * (time | 1)) & MASK) >> 32
