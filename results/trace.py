"""The trace: what nodes saw, one JSON object a line (architecture section 5, protocol.md 6.1).

Every event has `time` (ns since the start of the run), `node`, `incarnation`, `event`. Hashes are 64 lower-case hex
digits; node names strings; `kind` of a block vote or certificate is optimistic | normal | fallback | commit.
`signers` is a list of node names, `signatures` one 128-digit hex string per signer, in the same order.
Fields by event:

    start              {}                                          first incarnation
    restart            {recovered}                                 number of log records replayed (0: the disk was lost)
    enter              {view, via}                                 via: start | certificate | timeout
    propose            {view, height, block, parent, kind, payload_bytes, batches}
    vote               {view, kind, block, parent, proposer, high} commit votes too, these without parent and
                                                                   proposer (the block's own author);
                                                                   high: the block of the justifying timeout
                                                                   certificate's highest lock (fallback only)
    timeout            {view, lock_view}
    lock               {view, block}
    certify            {view, kind, block, signers, signatures}    first sight of a valid QC or CQC at this node
    timeout_certificate{view, high_view, high, signers, lock_views, signatures}
                                                                   first sight of a valid one of this view and
                                                                   highest block, also inside a fallback proposal;
                                                                   one lock view and signature per signer
    finalise           {height, view, block, parent, proposer, batches, rule, timestamp_ms}
                                                                   rule: two-chain | commit-votes | ancestor;
                                                                   batches: ids in payload order
    batch              {batch, proposer, clan, seq, txs, bytes}    body held here (tx ids)
    body               {batch, data}                               encoded Batch, base64; first execution here
    availability_vote  {batch, proposer, clan, seq}
    available          {batch, proposer, clan, seq, tx_count, byte_length, created_ms, signers, signatures}
                                                                   first sight of a valid DAQC
    retrieve           {batch, ok, from}                           a fetch ended; ok false: one attempt timed out
    forward            {tx, family, attempt}                       gateway sent the transaction to its family
    receipt            {tx, member, received_ms, signature}        gateway got the family member's signed receipt
    received           {tx, role, from}                            family member got it; role: primary | secondary
    include            {tx, batch, role, primary}                  batch proposer put it in a batch
    execute            {height, block, clan, prev_root, root, batches, void, applied, aborted}
                                                                   applied [tx], aborted [[tx, reason]]
    state_vote         {height, clan, root}
    state_certificate  {height, clan, block, prev_root, root, signers, signatures}
    gateway            {tx, phase, root_ok, height, clan}          phase as in
                                                                   accepted | pre | ord | exec | aborted | refused
    accuse             {culprit, kind, evidence}                   evidence: base64 of the signed objects
    behaviour          {name, matched, changed, dropped, injected} receipts of a corrupted node, cumulative; and error,
                                                                   the traceback, once its own code has raised
    buffers            {view, final, sizes}                        census of the stores that peers can fill, at
                                                                   intervals: sizes: store -> entries (of the fullest
                                                                   peer where the cap is per peer); final: view of the
                                                                   newest final block
    reject             {reason, sender}                            an input refused
    progress           {height, view, leader}                      of a system that is not ours: what its
                                                                   node said when its observer asked
    halt               {reason}                                    a core stopped itself (a certificate contradicts it)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from results.history import UNDECODABLE, HistoryError, _lines

TraceEvent: TypeAlias = dict[str, Any]
_REQUIRED = {"time": int, "node": str, "incarnation": int, "event": str}


def read_trace(path: Path) -> Iterator[TraceEvent]:
    """Events of a trace.jsonl in file order; raises HistoryError naming the line of the first bad record."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    for number, line in _lines(path):
        try:
            event = decoder.decode(line)
        except UNDECODABLE as error:
            raise HistoryError(f"{path}:{number}: not a trace record: {error}") from error
        for key, kind in _REQUIRED.items():
            if type(event.get(key)) is not kind:
                raise HistoryError(
                    f"{path}:{number}: trace record whose {key!r} is not there, or is no {kind.__name__}"
                )
        yield event
