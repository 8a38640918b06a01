"""The packet layer's pure part: which pairs are cut how often, the nft text that says so, and free subnets.

One bridge table per run, named moonquake_<pid>_<start>_<run> after its harness process, so that a table whose harness
is gone can be told from one in use. Packets of a pair in `cuts` die on entry and, if they sat in the delay
line when the cut came, on exit; the counter of the pair's set element is the receipt. Pairs in `shaped` are marked on
entry, and what carries the mark goes to the delay daemon's queue.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, Generic, TypeAlias, TypeVar

Pair: TypeAlias = tuple[str, str]  # IPv4 addresses: (from, to)
Pipe = TypeVar("Pipe", bound=tuple[str, str])

TABLE_PREFIX = "moonquake_"
MARK = 0x6D710000  # upper half: "mq"; lower half: the queue number
RANGE = ipaddress.IPv4Network("198.18.0.0/15")  # benchmarking (RFC 2544): nobody routes it


def table_name(run_id: str, owner: str) -> str:
    """The run's nft table. `owner` is the harness process as `pid:start` (processes.process_ident)."""
    return f"{TABLE_PREFIX}{owner.replace(':', '_')}_{run_id.replace('-', '_')}"


def table_owner(name: str) -> str | None:
    """`pid:start` of the harness whose table (or rule comment) this is; None for names that are not ours."""
    parts = name.removeprefix(TABLE_PREFIX).split("_")
    if not name.startswith(TABLE_PREFIX) or len(parts) < 3 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return f"{parts[0]}:{parts[1]}"


def table_script(table: str, queue: int | None, native_queue: bool = False) -> str:
    """Text that creates the table. `queue` None: no delay line. `native_queue`: the kernel's nft can queue itself."""
    shaping = ""
    if queue is not None:
        to = f"queue flags bypass to {queue}" if native_queue else f"meta mark set {MARK | queue:#x}"
        shaping = f"\n    ip saddr . ip daddr @shaped {to}"
    return f"""table bridge {table} {{
  set cuts {{ type ipv4_addr . ipv4_addr; counter; }}
  set shaped {{ type ipv4_addr . ipv4_addr; }}
  chain entry {{
    type filter hook forward priority -300; policy accept;
    ip saddr . ip daddr @cuts drop{shaping}
  }}
  chain exit {{
    type filter hook postrouting priority 300; policy accept;
    ip saddr . ip daddr @cuts drop
  }}
}}
"""


def change_script(table: str, name: str, add: Sequence[Pair] = (), delete: Sequence[Pair] = ()) -> str:
    """Text of one transaction that adds and deletes pairs of the set `name`. Empty if there is nothing to do."""
    lines = []
    if delete:
        lines.append(f"delete element bridge {table} {name} {{ {_elements(delete)} }}")
    if add:
        lines.append(f"add element bridge {table} {name} {{ {_elements(add)} }}")
    return "\n".join(lines)


def _elements(pairs: Sequence[Pair]) -> str:
    return ", ".join(f"{a} . {b}" for a, b in pairs)


def read_counters(objects: Iterable[Mapping[str, Any]]) -> dict[Pair, int]:
    """Packets dropped per pair, out of the answer to `list set`."""
    found: dict[Pair, int] = {}
    for item in objects:
        for element in item.get("set", {}).get("elem", ()):
            body = element.get("elem", {"val": element})
            source, target = body["val"]["concat"]
            found[source, target] = int(body.get("counter", {}).get("packets", 0))
    return found


class Cuts(Generic[Pipe]):
    """Reference-counted cuts: two cuts of a link need two heals. A link is a pair, of node ids or of addresses."""

    def __init__(self) -> None:
        self._depth: dict[Pipe, int] = {}

    def cut(self, links: Iterable[Pipe]) -> list[Pipe]:
        """Count one cut of each; those that were not cut before, in the order given."""
        new = []
        for link in dict.fromkeys(links):
            self._depth[link] = self._depth.get(link, 0) + 1
            if self._depth[link] == 1:
                new.append(link)
        return new

    def heal(self, links: Iterable[Pipe]) -> list[Pipe]:
        """Count one heal of each; those that are whole now, in the order given. Raises ValueError, and changes
        nothing, if one of them is not cut."""
        wanted = list(dict.fromkeys(links))
        whole = [link for link in wanted if link not in self._depth]
        if whole:
            names = ", ".join(f"{a}>{b}" for a, b in whole[:5])
            raise ValueError(f"heal of links that are not cut: {names}; every heal needs a cut before it")
        healed = []
        for link in wanted:
            self._depth[link] -= 1
            if self._depth[link] == 0:
                del self._depth[link]
                healed.append(link)
        return healed


def choose_subnet(used: Iterable[str], hosts: int, rng: Random) -> ipaddress.IPv4Network:
    """A subnet of 198.18.0.0/15 with room for `hosts` addresses beside the bridge's that overlaps none of `used`
    (networks as text; what is not IPv4 is ignored). Random, so that two harnesses rarely meet. Raises ValueError."""
    prefix = 24
    while 2 ** (32 - prefix) - 3 < hosts:
        prefix -= 1
    taken = [n for n in map(_network, used) if n is not None and n.overlaps(RANGE)]
    free = [n for n in RANGE.subnets(new_prefix=prefix) if not any(n.overlaps(t) for t in taken)]
    if not free:
        raise ValueError(f"no free /{prefix} left in {RANGE}; `moonquake doctor --clean` removes what runs left behind")
    return rng.choice(free)


def _network(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None
