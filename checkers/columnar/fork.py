"""fork on columns: heights with two blocks, blocks with two contents, views with two certificates."""

from __future__ import annotations

import numpy as np

from checkers import fork as rule
from checkers.arithmetic import tribe_quorum
from checkers.columnar.certificates import certificates
from checkers.columnar.groups import Flags, found, grouped
from checkers.columnar.wide import Wide
from checkers.judge import conclude
from results.verdict import Verdict


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.fork`."""
    finals, held = wide.rows("finalise"), certificates(wide)
    height, view, block = finals.ints("height"), finals.ints("view"), finals.ids("block")
    anomalies = rule.forks(finals.records(grouped(height).differing(block)))
    contents = [finals.ids(name, optional=True) for name in ("parent", "proposer", "batches")]
    contents += [height, view, finals.stamps("timestamp_ms")]
    anomalies += rule.contents(finals.records(grouped(block).differing(*contents)))
    anomalies += rule.certificates(held.judged)
    anomalies += rule.timeouts(wide.info.tribe, wide.rows("timeout_certificate").records(_short(wide)))
    if len(held):
        certify = wide.rows("certify")
        bare = ~found((block, view), (certify.ids("block"), certify.ints("view")))
        anomalies += rule.unjustified(finals.records(bare), set())
    nodes = [wide.names[code] for code in np.unique(finals.node).tolist()]
    measures = {
        "nodes": len(nodes),
        "heights": len(grouped(height)),
        "certificates": len(held),
        "signatures": held.verified,
        **held.measures(),
    }
    doubts = [*held.judged.doubts, *rule.untested(nodes, len(held), wide.info.target)]
    return conclude("fork", len(grouped(finals.node, height)), anomalies, measures, rule.NOTHING, doubts)


def _short(wide: Wide) -> Flags:
    """Records of timeout certificates that fewer different members of the tribe signed than must."""
    signers = wide.rows("timeout_certificate").ids("signers")
    lists, place = np.unique(signers, return_inverse=True)
    return ~wide.quorums(lists, tribe_quorum(len(wide.info.tribe)))[place]
