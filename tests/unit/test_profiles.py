from __future__ import annotations

import pytest

from faults.port import Shape
from faults.profiles import base_shapes, mean_delay_ms

NODES = tuple(f"n{i}" for i in range(6))


def test_uniform_is_one_way_on_every_directed_link() -> None:
    shapes = base_shapes("uniform:50", NODES, 3)
    assert len(shapes) == 30
    assert set(shapes.values()) == {Shape(delay_ms=50, jitter_ms=3)}
    assert mean_delay_ms("uniform:50", NODES) == 50


def test_gcp_halves_the_round_trip_and_is_symmetric() -> None:
    shapes = base_shapes("gcp-5", NODES)
    assert shapes["n0", "n1"].delay_ms == 33  # useast-uswest 66
    assert shapes["n2", "n4"].delay_ms == shapes["n4", "n2"].delay_ms == 147.5  # eunorth-ause 295
    assert shapes["n0", "n5"].delay_ms == 0.35  # both in useast
    assert base_shapes("gcp-5:0.5", NODES)["n0", "n1"].delay_ms == 16.5


def test_the_mean_is_over_all_pairs() -> None:
    five = NODES[:5]
    assert mean_delay_ms("gcp-5", five) == pytest.approx((66 + 115 + 160 + 198 + 158 + 90 + 138 + 245 + 295 + 106) / 20)
    assert mean_delay_ms("lan", ("n0",)) == 0


@pytest.mark.parametrize(
    "profile", ["gcp", "uniform", "uniform:x", "uniform:-1", "uniform:inf", "gcp-5:0", "lan:2", ""]
)
def test_a_wrong_name_lists_what_exists(profile: str) -> None:
    with pytest.raises(ValueError, match=r"uniform:<ms>, gcp-5, gcp-5:<scale>, lan"):
        base_shapes(profile, NODES)


def test_negative_jitter_is_refused() -> None:
    with pytest.raises(ValueError, match="jitter_ms"):
        base_shapes("lan", NODES, -1)
