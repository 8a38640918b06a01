"""The guide for targets shows what is in the files that it speaks of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harness import plugins, shipped
from harness.targets import etcd

ROOT = Path(str(etcd.__file__)).resolve().parents[2]
GUIDE = (ROOT / "docs" / "own-target.md").read_text(encoding="utf-8")
SOURCE = Path(str(etcd.__file__)).read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_its_python_is_that_of_the_example(block: str) -> None:
    assert block in SOURCE


def test_the_example_is_as_short_as_it_says() -> None:
    assert len(SOURCE.splitlines()) < 150


def test_its_scenario_is_part_of_the_shipped_one() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    shown, whole = tomllib.loads(block), tomllib.loads(shipped.find("etcd").read_text())
    assert all(whole[key] == shown[key] for key in ("cluster", "workload", "adversary"))
    assert shown["fault"][0] in whole["fault"]


@pytest.mark.parametrize("name", plugins.registered("targets"))
def test_every_target_is_in_the_table_with_its_workloads(name: str) -> None:
    table = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}`")]
    kind = plugins.load("targets", name)
    assert all(f"`{workload}`" in row for workload in kind.workloads)
