"""Which node sits on which host: spread evenly, the tribe first; the corrupted ones together, as their coalition is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from faults.port import NodeId
from harness.backends.port import ClusterSpec


def place(spec: ClusterSpec, hosts: Sequence[str]) -> dict[NodeId, str]:
    """Node -> host. Members of a coalition share a blackboard that no fault cuts: a directory of one host."""
    where: dict[NodeId, str] = {}
    load: Counter[str] = Counter(dict.fromkeys(hosts, 0))
    corrupted = [node.id for node in spec.nodes if node.byzantine is not None]
    for node in corrupted:
        where[node] = hosts[-1]
        load[hosts[-1]] += 1
    for node in (spec_node.id for spec_node in spec.nodes):
        if node not in where:
            host = min(hosts, key=lambda name: load[name])
            where[node] = host
            load[host] += 1
    return where
