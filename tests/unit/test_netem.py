"""The text that goes to tc where the kernel has netem (this is what can be tested where it has not)."""

from __future__ import annotations

import pytest

from faults.port import Shape
from harness.backends import netem
from harness.backends.netem import NetemShaper, class_text, leaf_drops, leaf_text

A, B, C = "198.18.0.2", "198.18.0.3", "198.18.0.4"


def test_a_leaf_says_everything_and_always_has_a_rate_so_that_jitter_keeps_order() -> None:
    shape = Shape(delay_ms=50, jitter_ms=2.5, loss=0.1, rate_kbit=800)
    assert leaf_text(shape) == "delay 50000us 2500us loss 10% rate 800kbit limit 20000"
    assert leaf_text(Shape(delay_ms=1)) == "delay 1000us rate 10gbit limit 20000"


def test_a_class_is_chosen_by_the_senders_address() -> None:
    lines = class_text("veth1", 17, A, "netem delay 1us")
    assert lines[1] == "qdisc add dev veth1 parent 1:11 handle 11: netem delay 1us"
    assert f"match ip src {A}/32 flowid 1:11" in lines[2]


def test_first_add_then_change_and_again_from_scratch_for_a_new_port(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[list[str]] = []
    monkeypatch.setattr(netem, "_tc", batches.append)
    ports = {A: "veth0", B: "veth1", C: "veth2"}
    shaper = NetemShaper(lambda: ports)
    shaper.shape({(A, B): Shape(delay_ms=5), (C, B): Shape(delay_ms=7)})
    assert [line.split()[:2] for line in batches[0]] == [
        ["qdisc", "replace"], ["class", "add"], ["qdisc", "add"], ["filter", "add"],
        ["class", "add"], ["qdisc", "add"], ["filter", "add"],
    ]  # fmt: skip
    assert all("veth1" in line for line in batches[0])
    shaper.shape({(A, B): Shape()})
    assert batches[1] == ["qdisc change dev veth1 parent 1:2 handle 2: netem delay 0us rate 10gbit limit 20000"]
    ports[B] = "veth9"  # started again
    shaper.refresh()
    assert batches[2][0] == "qdisc replace dev veth9 root handle 1: htb default 0"
    assert len(batches[2]) == 4 and "src 198.18.0.4/32" in batches[2][3]


def test_drops_per_leaf() -> None:
    text = """[{"kind":"htb","handle":"1:","root":true,"drops":9},
      {"kind":"netem","handle":"2:","parent":"1:2","drops":4},{"kind":"netem","handle":"a:","parent":"1:a","drops":0}]"""
    assert leaf_drops(text) == {"2:": 4, "a:": 0}
    assert leaf_drops("") == {}


def test_a_node_that_is_down_has_no_port_and_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[list[str]] = []
    monkeypatch.setattr(netem, "_tc", batches.append)
    NetemShaper(dict).shape({(A, B): Shape(delay_ms=5)})
    assert batches == []
