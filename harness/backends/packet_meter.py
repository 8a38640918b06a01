"""Counting packets between addresses of one bridge of this host: before the packet layer, and behind it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from harness.backends.nft import Nft, NftError
from harness.backends.packets import Pair, read_counters, table_name
from harness.backends.processes import process_ident


class PacketMeter:
    """A table of its own, that drops nothing. Calls block for milliseconds. Raises NftError."""

    def __init__(self, run_id: str, pairs: Iterable[Pair]) -> None:
        self._table = table_name(f"{run_id}-meter", process_ident(os.getpid()))
        self._nft = Nft()
        self._nft.run(meter_script(self._table, pairs))

    def tried(self) -> dict[Pair, int]:
        """Packets that came in at the bridge."""
        return read_counters(self._nft.run(f"list set bridge {self._table} tried"))

    def passed(self) -> dict[Pair, int]:
        """Packets that left it."""
        return read_counters(self._nft.run(f"list set bridge {self._table} passed"))

    def close(self) -> None:
        """Remove the table. Safe to call twice."""
        with contextlib.suppress(NftError):  # gone already
            self._nft.run(f"delete table bridge {self._table}")


def meter_script(table: str, pairs: Iterable[Pair]) -> str:
    """Text that creates the table: its chains lie outside those of the packet layer (packets.table_script)."""
    elements = ", ".join(f"{a} . {b}" for a, b in pairs)
    return f"""table bridge {table} {{
  set tried {{ type ipv4_addr . ipv4_addr; counter; elements = {{ {elements} }} }}
  set passed {{ type ipv4_addr . ipv4_addr; counter; elements = {{ {elements} }} }}
  chain before {{
    type filter hook forward priority -310; policy accept;
    ip saddr . ip daddr @tried accept
  }}
  chain behind {{
    type filter hook postrouting priority 310; policy accept;
    ip saddr . ip daddr @passed accept
  }}
}}
"""
