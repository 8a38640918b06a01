"""Traces of long valid runs, made with numpy as columns: millions of records in seconds, with real signatures.

What everybody records of a chain of blocks that are proposed, voted for, certified, locked, committed and executed,
one every 200 ms. Hashes are random numbers, so nothing in them can be executed again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from nacl.signing import SigningKey
from numpy.typing import NDArray

from checkers.arithmetic import tribe_quorum
from results.trace_parquet import FORMAT, TABLE, Ints, Origin, write_tables

MS = 1_000_000
STEP = 200 * MS
WORDS = (
    "normal", "commit", "commit-votes", "primary", "start", "certificate", "accepted", "exec", "ord",
)  # fmt: skip
Tables = dict[str, dict[str, Ints]]


@dataclass(frozen=True)
class Shape:
    """A run. Every block has `batches` batches of `txs` transactions each; `scheme` of the signatures."""

    blocks: int
    nodes: int = 100
    batches: int = 2
    txs: int = 50
    scheme: str = "ideal"  # | ed25519

    @property
    def names(self) -> list[str]:
        """Nodes, then the gateway, in the order of their names."""
        return [f"n{number:03d}" for number in range(self.nodes)] + ["w0"]


@dataclass
class Made:
    """A trace in columns (as results.trace_parquet writes them), its value table and the fields of its run.json."""

    shape: Shape
    tables: Tables = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(len(table["time"]) for table in self.tables.values())

    def number(self) -> None:
        """Put all records in order of time and node, and number them."""
        names = list(self.tables)
        time = np.concatenate([self.tables[name]["time"] for name in names])
        node = np.concatenate([self.tables[name]["@node"] for name in names])
        order = np.lexsort((node, time))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        start = 0
        for name in names:
            table = self.tables[name]
            own = rank[start : start + len(table["time"])]
            start += len(own)
            place = np.argsort(own)
            self.tables[name] = {column: values[place] for column, values in table.items()} | {"#row": own[place]}


class _Numbers:
    """The value table in the making: words, then hashes, then lists."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._blobs: list[bytes] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._hashes = 0
        self._lists: list[Ints] = []
        self._lengths: list[Ints] = []
        self._listed = 0

    def word(self, word: str) -> int:
        return self._words.index(word)

    def hashes(self, data: bytes, size: int) -> Ints:
        """The numbers of the values that `data` holds one after the other. All hashes come before all lists."""
        count = len(data) // size
        first = len(self._words) + self._hashes
        self._blobs.append(data)
        self._sizes.append(np.full(count, size, np.int64))
        self._hashes += count
        return np.arange(first, first + count)

    def text(self, number: int) -> str:
        """A hash of 32 bytes that was the `number`th value."""
        start = int(np.concatenate(self._sizes)[: number - len(self._words)].sum())
        return b"".join(self._blobs)[start : start + 32].hex()

    def lists(self, rows: Ints) -> Ints:
        """The numbers of lists, one a row of `rows` (a table of numbers)."""
        first = len(self._words) + self._hashes + self._listed
        self._lists.append(rows.ravel())
        self._lengths.append(np.full(len(rows), rows.shape[1]))
        self._listed += len(rows)
        return np.arange(first, first + len(rows))

    def table(self) -> dict[str, Any]:
        """Columns of the value table."""
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(self._sizes))])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(self._blobs))]
        hashes = pa.LargeBinaryArray.from_buffers(pa.large_binary(), self._hashes, buffers)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(self._lengths))]).astype(np.int32)
        lists = pa.ListArray.from_arrays(starts, pa.array(np.concatenate(self._lists), pa.int32()))
        texts = pa.array([msgspec.json.encode(word).decode() for word in self._words])
        words, counts = len(self._words), {"#bytes": hashes, "#items": lists, "#json": texts}
        before = {"#bytes": words, "#items": words + self._hashes, "#json": 0}
        whole = words + self._hashes + self._listed
        return {
            name: pa.concat_arrays(
                [pa.nulls(before[name], TABLE[name]), column.cast(TABLE[name]),
                 pa.nulls(whole - before[name] - len(column), TABLE[name])]
            )
            for name, column in counts.items()
        }  # fmt: skip


class _Keys:
    """Key pairs of the nodes in one of the two schemes."""

    def __init__(self, shape: Shape) -> None:
        self.seeds = {name: hashlib.sha256(f"bench {name}".encode()).digest() for name in shape.names}
        self.ideal = shape.scheme == "ideal"
        self._keys = {} if self.ideal else {name: SigningKey(seed) for name, seed in self.seeds.items()}

    def public(self, name: str) -> bytes:
        if self.ideal:
            return hashlib.sha256(b"moonquake/ideal/public" + self.seeds[name]).digest()
        return bytes(self._keys[name].verify_key)

    def sign(self, name: str, statement: bytes) -> bytes:
        if self.ideal:
            return hashlib.blake2b(statement, key=self.seeds[name], digest_size=64).digest()
        return self._keys[name].sign(statement).signature


def generate(shape: Shape, seed: int = 0) -> Made:
    """A valid run of that shape, always the same for a seed."""
    rng = np.random.default_rng(seed)
    names, count = shape.names, shape.blocks
    numbers = _Numbers([*names, *WORDS])
    blocks = numbers.hashes(blob := rng.bytes(32 * (count + 1)), 32)  # the first is the genesis
    batches = numbers.hashes(rng.bytes(32 * count * shape.batches), 32).reshape(count, shape.batches)
    txs = numbers.hashes(rng.bytes(32 * batches.size * shape.txs), 32).reshape(-1, shape.txs)
    roots = numbers.hashes(rng.bytes(32 * (count + 1)), 32)
    keys = _Keys(shape)
    signatures = {kind: _signatures(shape, keys, kind, blob, numbers) for kind in ("normal", "commit")}
    quorum = tribe_quorum(shape.nodes)
    voters = (np.arange(count)[:, None] * 7 + np.arange(quorum)) % shape.nodes
    lists = {
        "signers": numbers.lists(voters[: shape.nodes]),
        **{kind: numbers.lists(found) for kind, found in signatures.items()},
        "batches": numbers.lists(batches),
        "txs": numbers.lists(txs),
        "applied": numbers.lists(txs.reshape(count, -1)),
        "nothing": numbers.lists(np.empty((1, 0), np.int64)),
    }
    tables = _tables(shape, numbers, blocks, batches, txs, roots, lists)
    made = Made(shape, tables, numbers.table(), _info(shape, keys), _history(numbers, int(txs[0, 0])))
    made.number()
    return made


def _signatures(shape: Shape, keys: _Keys, kind: str, blob: bytes, numbers: _Numbers) -> Ints:
    """One row a block: the numbers of its quorum's signatures."""
    quorum = tribe_quorum(shape.nodes)
    pack = msgspec.msgpack.Encoder().encode
    made = []
    for view in range(1, shape.blocks + 1):
        block = blob[32 * view : 32 * view + 32]
        fields = ["commit", view, block] if kind == "commit" else ["vote", kind, view, block]
        statement = hashlib.sha256(pack(["moonquake/1", "bench", 1, 1, *fields])).digest()
        made += [keys.sign(shape.names[((view - 1) * 7 + place) % shape.nodes], statement) for place in range(quorum)]
    return numbers.hashes(b"".join(made), 64).reshape(shape.blocks, quorum)


def _tables(
    shape: Shape, numbers: _Numbers, blocks: Ints, batches: Ints, txs: Ints, roots: Ints, lists: dict[str, Ints]
) -> Tables:
    """Event -> column -> values; `at` of a block is height * STEP."""
    nodes, everyone, word = shape.nodes, shape.nodes + 1, numbers.word
    views = np.arange(1, shape.blocks + 1)
    block, parent = blocks[1:], blocks[:-1]
    tables: Tables = {}

    def told(event: str, times: int, offset: int, who: Ints, **columns: Ints | int) -> None:
        """A record of each of `who` for each block and each of its `times` things (columns: one value per thing)."""
        things = shape.blocks * times
        size = things * len(who)
        made: dict[str, Ints] = {
            "time": np.repeat(np.repeat(views, times) * STEP + offset * MS, len(who)) + np.tile(who * 1000, things),
            "@node": np.tile(who, things),
            "incarnation": np.ones(size, np.int64),
        }
        for name, values in columns.items():
            column = np.broadcast_to(values, (things,)) if np.ndim(values) == 0 else np.asarray(values)
            made[name.replace("at_", "@")] = np.repeat(column, len(who))
        held = tables.get(event)
        tables[event] = made if held is None else {
            name: np.concatenate([held[name] if name in held else np.full(len(held["time"]), -1), made[name]
                                  if name in made else np.full(size, -1)]) for name in {**held, **made}
        }  # fmt: skip

    tribe, clan = np.arange(nodes), np.arange(0, nodes, 4)
    all_, holders, gateway = np.arange(everyone), np.append(np.arange(0, nodes, 4), nodes), np.array([nodes])
    signers = lists["signers"][np.arange(shape.blocks) % shape.nodes]
    common: dict[str, Any] = {"view": views, "at_block": block}
    told("propose", 1, 40, np.array([0]), **common, height=views, at_parent=parent, at_kind=word("normal"),
         payload_bytes=0, at_batches=lists["batches"])  # fmt: skip
    told("vote", 1, 90, tribe, **common, at_kind=word("normal"), at_parent=parent)
    told("vote", 1, 96, tribe, **common, at_kind=word("commit"))
    told("certify", 1, 94, all_, **common, at_kind=word("normal"), at_signers=signers, at_signatures=lists["normal"])
    told("lock", 1, 95, all_, **common)
    told("enter", 1, 97, all_, view=views + 1, at_via=word("certificate"))
    told("certify", 1, 140, all_, **common, at_kind=word("commit"), at_signers=signers, at_signatures=lists["commit"])
    told("finalise", 1, 141, all_, **common, height=views, at_parent=parent, at_proposer=0,
         at_rule=word("commit-votes"), at_batches=lists["batches"], timestamp_ms=views * 200)  # fmt: skip
    told("execute", 1, 150, holders, height=views, clan=0, at_block=block, at_prev_root=roots[:-1], at_root=roots[1:],
         at_batches=lists["batches"], at_void=int(lists["nothing"][0]), at_applied=lists["applied"],
         at_aborted=int(lists["nothing"][0]))  # fmt: skip
    seqs = np.arange(batches.size)
    batch: dict[str, Any] = {"at_batch": batches.ravel(), "at_proposer": 0, "clan": 0, "seq": seqs}
    told("batch", shape.batches, 10, holders, **batch, at_txs=lists["txs"], bytes=shape.txs * 200)
    told("availability_vote", shape.batches, 15, clan, **batch)
    each, held = shape.batches * shape.txs, np.repeat(batches.ravel(), shape.txs)
    heights = np.repeat(views, each)
    told("gateway", each, 1, gateway, at_tx=txs.ravel(), at_phase=word("accepted"))
    told("forward", each, 2, gateway, at_tx=txs.ravel())
    told("received", each, 5, np.array([0]), at_tx=txs.ravel(), at_role=word("primary"), at_from=nodes)
    told("include", each, 9, np.array([0]), at_tx=txs.ravel(), at_batch=held, at_role=word("primary"), at_primary=0)
    told("gateway", each, 145, gateway, at_tx=txs.ravel(), at_phase=word("ord"), height=heights, clan=0)
    told("gateway", each, 180, gateway, at_tx=txs.ravel(), at_phase=word("exec"), height=heights, clan=0)
    start = np.zeros(everyone, np.int64)
    tables["start"] = {"time": start, "@node": all_, "incarnation": start + 1}
    return tables


def _history(numbers: _Numbers, tx: int) -> list[dict[str, Any]]:
    """One client and its one transaction: the first of all."""
    common = {"process": 0, "f": "transfer", "tx": numbers.text(tx), "gateway": "w0"}
    return [
        {"index": 0, "time": STEP, "type": "invoke", **common},
        {"index": 1, "time": 2 * STEP, "type": "ok", "phase": "exec", **common},
    ]


def _info(shape: Shape, keys: _Keys) -> dict[str, Any]:
    """run.json."""
    *tribe, gateway = shape.names
    end = (shape.blocks + 1) * STEP
    return {
        "scenario": {"name": "bench", "workload": {"kind": "transfers"}}, "name": "bench", "seed": 0,
        "backend": "sim" if keys.ideal else "process", "layer": "none", "target": "supra", "expect": {"hold": True},
        "regime": "within", "chain": "bench", "epoch": 1, "cycle": 1, "tribe": tribe, "gateways": [gateway],
        "clans": [tribe[::4]], "public_keys": {name: keys.public(name).hex() for name in shape.names}, "honest": tribe,
        "byzantine": [], "parameters": {"delta_ms": 500, "inclusion_timeout_ms": 2000, "equivocation": "first"},
        "md_ms": 50.0, "load_start": 0, "load_end": end, "heal": 0, "end": end, "scheme": shape.scheme,
        "ideal_seeds": {keys.public(name).hex(): seed.hex() for name, seed in keys.seeds.items()} if keys.ideal else {},
    }  # fmt: skip


def save(made: Made, directory: Path) -> None:
    """Write the run directory: run.json, an empty history and trace.parquet."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_bytes(msgspec.json.encode(made.info))
    (directory / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in made.history))
    tables = {
        event: {
            name: pa.array(values, pa.int32() if name[0] == "@" else pa.int64(), mask=values < 0)
            for name, values in columns.items()
        }
        for event, columns in made.tables.items()
    }
    write_tables(directory / "trace.parquet", tables, made.values, Origin(FORMAT, made.records))
