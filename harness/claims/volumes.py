"""Experiments on bytes: blocks under payloads of 1 to 1000 times the size, and what the busiest node sends."""

from __future__ import annotations

from typing import Any

from checkers.index import Index
from harness.backends.sim.meter import SPREADING, Meter
from harness.claims.experiment import Experiment, Made
from harness.measures import Measures

# Payload by factor: bytes added to each transaction, and transactions a second (one or several a batch).
LEVELS = {1: (0, 15), 10: (2_000, 15), 100: (20_000, 15), 1000: (65_536, 45)}
TRIBE, CLANS = 15, 3


# ---------------------------------------------------------------- blocks
def _payload(factor: int, seed: int) -> Made:
    padding, rate = LEVELS[factor]
    values: dict[str, Any] = {
        "name": f"payload-x{factor}",
        "description": f"Transactions that are {padding} bytes larger than they need to be.",
        "expect": "hold",
        "cluster": {
            "nodes": 4,
            "clans": 1,
            "gateways": 1,
            "parameters": {"delta_ms": 200, "max_batch_delay_ms": 250, "max_batch_bytes": 2_000_000},
        },
        "network": {"latency": "uniform:50"},
        "workload": {
            "kind": "transfers",
            "rate": rate,
            "clients": 60,
            "duration": "3s",
            "options": {"padding": padding} if padding else {},
        },
        "checks": {"include": ["fork", "prefix", "liveness", "receipts"]},
        "run": {"quiet": "1s"},
    }
    return Made(values, seed, f"x{factor}")


def _blocks(parts: dict[str, tuple[Meter, Index]]) -> Measures:
    """Bytes of a batch, and bytes that a block is larger by for each batch, by payload; the growth from x1 to x1000."""
    batch: dict[str, float] = {}
    block: dict[str, float] = {}
    for name, (meter, index) in parts.items():
        sizes = [event["bytes"] for event in index.events("batch") if event["node"] == event["proposer"]]
        full = [(size - meter.empty_block) / batches for size, batches in meter.blocks if batches]
        if not sizes or not full:
            raise ValueError(f"{name}: no batch, or no block with one, was seen")
        batch[name], block[name] = sum(sizes) / len(sizes), sum(full) / len(full)
    first, last = f"x{min(LEVELS)}", f"x{max(LEVELS)}"
    return {
        "batch_bytes": {name: round(value, 1) for name, value in batch.items()},
        "block_bytes_per_batch": {name: round(value, 1) for name, value in block.items()},
        "payload_growth": round(batch[last] / batch[first], 1),
        "block_growth": round(block[last] / block[first], 4),
    }


# ---------------------------------------------------------------- bandwidth
def _spread(clans: int, seed: int) -> Made:
    """The same tribe, load and seed; batches go to a clan, or to the whole tribe as the only clan."""
    values: dict[str, Any] = {
        "name": f"bandwidth-{clans}-clans",
        "description": f"A tribe of {TRIBE} in {clans} clans, with transactions of 2 KB.",
        "expect": "hold",
        "cluster": {"nodes": TRIBE, "clans": clans, "gateways": 1, "parameters": {"delta_ms": 200}},
        "network": {"latency": "uniform:50"},
        "workload": {
            "kind": "transfers", "rate": 60, "clients": 60, "duration": "2s", "options": {"padding": 2_000},
        },
        "checks": {"include": ["fork", "prefix", "liveness", "receipts"]},
        "run": {"quiet": "1s"},
    }  # fmt: skip
    return Made(values, seed, "to a clan" if clans > 1 else "to the tribe")


def _busiest(parts: dict[str, tuple[Meter, Index]]) -> Measures:
    """Bytes that the busiest node sends for each byte of payload: of everything, and of what spreads batches."""
    everything: dict[str, float] = {}
    spreading: dict[str, float] = {}
    for name, (meter, index) in parts.items():
        payload = sum(event["bytes"] for event in index.events("batch") if event["node"] == event["proposer"])
        if not payload:
            raise ValueError(f"{name}: no batch was made")
        tribe = index.info.tribe
        everything[name] = max(meter.total(node) for node in tribe) / payload
        spreading[name] = max(meter.total(node, SPREADING) for node in tribe) / payload
    return {
        "busiest_per_payload": {name: round(value, 4) for name, value in everything.items()},
        "busiest_spreading": {name: round(value, 4) for name, value in spreading.items()},
        "busiest_ratio": round(everything["to a clan"] / everything["to the tribe"], 4),
        "spreading_ratio": round(spreading["to a clan"] / spreading["to the tribe"], 4),
    }


EXPERIMENTS = (
    Experiment(
        "payload", "Transactions of 1, 10, 100 and 1000 times the size.", 3, lambda index: _payload(1, index + 1),
        weight=6.0, meter=_blocks,
        beside=lambda index: {f"x{factor}": _payload(factor, index + 1) for factor in LEVELS if factor > 1},
    ),
    Experiment(
        "bandwidth", f"A tribe of {TRIBE} in {CLANS} clans, against the same tribe as one clan.", 5,
        lambda index: _spread(CLANS, index + 1), weight=15.0, meter=_busiest,
        beside=lambda index: {"to the tribe": _spread(1, index + 1)},
    ),
)  # fmt: skip
