"""What doctor concludes from what a machine has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import doctor
from harness.backends.features import Features
from harness.backends.port import MachineError
from harness.provision.engine import Engine

ENGINE = Engine(url="unix:///somewhere.sock", version="20.10", private=False)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Pretend: engine, image, packet layer, Toxiproxy."""

    def pretend(engine: bool, packets: bool, toxiproxy: bool) -> None:
        class Client:
            def close(self) -> None:
                """Nothing is open."""

        monkeypatch.setattr(Engine, "client", lambda _: Client())
        monkeypatch.setattr(doctor, "find_engine", lambda: ENGINE if engine else None)
        monkeypatch.setattr(doctor, "image_tag", lambda _: "moonquake/node:1")
        found = Features(cuts=True, xt_queue=True) if packets else Features(missing=("not root",))
        monkeypatch.setattr(doctor.features, "probe", lambda: found)
        monkeypatch.setattr(doctor, "find_toxiproxy", lambda: tmp_path / "toxiproxy-server" if toxiproxy else None)
        monkeypatch.setattr(doctor.cleaning, "abandoned", lambda _: [])

    return pretend


def checks(report: doctor.Report) -> dict[str, doctor.Check]:
    return {check.name: check for check in report.checks}


@pytest.mark.parametrize(
    ("engine", "packets", "toxiproxy", "ok"),
    [
        (True, True, True, True),
        (True, True, False, True),
        (False, False, True, True),
        (False, True, False, False),
        (True, False, False, False),
    ],
)
def test_one_way_to_run_is_enough(
    machine: Callable[..., None], engine: bool, packets: bool, toxiproxy: bool, ok: bool
) -> None:
    machine(engine, packets, toxiproxy)
    report = doctor.examine(False, lambda _: None)
    assert report.ok is ok
    assert all(check.cure for check in report.checks if not check.ok)


def test_fix_reports_why_something_could_not_be_had(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(engine=False, packets=True, toxiproxy=True)

    def refuse(_: Any) -> None:
        raise MachineError("no engine, and here is what to do")

    monkeypatch.setattr(doctor, "_engine", refuse)
    for name in ("_tools", "_image", "_toxiproxy"):
        monkeypatch.setattr(doctor, name, lambda _: None)
    monkeypatch.setattr(doctor.cleaning, "sweep", lambda progress: progress("removed container x"))
    monkeypatch.setattr(doctor.features.probe, "cache_clear", lambda: None, raising=False)
    report = doctor.examine(True, lambda _: None)
    assert checks(report)["engine"].what == "no engine, and here is what to do"
    assert report.fixed == ("removed container x",)
