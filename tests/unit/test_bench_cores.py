"""The clusters that the benchmark of the cores steps do what they are meant to be measured at."""

from __future__ import annotations

import pytest

from harness.bench.cores import Cluster, Size, figures


@pytest.mark.parametrize(("nodes", "clans"), [(4, 1), (7, 2)])
def test_a_cluster_finalises_and_every_clan_executes_and_certifies(nodes: int, clans: int) -> None:
    cluster = Cluster(Size(nodes, clans, messages=0, rate=0))
    cluster.run(12_000, rate=20)
    assert cluster.delivered >= 12_000
    assert cluster.height > 20
    for node in cluster.nodes.values():
        assert node.executed >= cluster.height and node.certified > 0


def test_one_row_a_size_and_load() -> None:
    rows = list(figures([Size(4, 1, 1500, 20)]))
    assert [row["name"] for row in rows] == ["cores: n=4, consensus only", "cores: n=4, light load"]
    assert all(row["value"] > 0 and row["unit"] == "messages/CPU s" for row in rows)
    assert all(set(row) == {"name", "value", "unit", "peer", "ratio"} for row in rows)


def test_a_run_that_measured_nothing_says_so() -> None:
    with pytest.raises(RuntimeError, match="4 nodes finalised nothing in 5 messages"):
        list(figures([Size(4, 1, 5, 20)]))
