"""The meter of bytes: what it counts is what was sent, and it changes nothing."""

from __future__ import annotations

from harness.backends.sim.backend import SimBackend
from harness.backends.sim.meter import SPREADING, Meter
from harness.claims.volumes import _payload
from harness.trial import Trial, trial


def metered(meter: Meter | None) -> Trial:
    made = _payload(1, 3)
    made.values["workload"] |= {"duration": "1s", "rate": 4}
    return trial(made.scenario(), made.seed, backend=SimBackend(tape=meter))


def test_the_run_is_the_same_and_every_batch_is_counted_once_for_each_receiver() -> None:
    meter = Meter()
    found, plain = metered(meter), metered(None)
    assert found.digest == plain.digest
    made = [e for e in found.run.events("batch") if e["node"] == e["proposer"]]
    assert made
    receivers = 4  # three clan members and the gateway
    payload = sum(event["bytes"] for event in made)
    sent = sum(meter.sent[node]["B"] for node in found.info.tribe)
    assert receivers * payload < sent < receivers * (payload + 400 * len(made)), "the header and signatures come on top"
    assert sum(batches for _, batches in meter.blocks) >= len(made)
    assert 0 < meter.empty_block < min(size for size, batches in meter.blocks if batches)
    for node in found.info.tribe:
        assert meter.total(node) > meter.total(node, SPREADING) > 0
