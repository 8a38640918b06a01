"""What we wrote in Rust and Go has tests in Rust and Go: they are run with the versions of their lock files.

The peer in madsim has none: it is a workload of thirty lines that `moonquake bench sim` builds and runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.bench.madsim_peer import SOURCE as MADSIM
from harness.provision.state import project_root
from harness.targets.hotstuff import REPLICA

pytestmark = pytest.mark.live
LIMIT_S = 1800.0  # a few dozen crates on a busy machine; the tests themselves wait for conditions
SHIPPED = project_root() / "harness"
PORCUPINE = SHIPPED / "bench" / "porcupine"


def test_none_of_our_programs_is_left_out() -> None:
    assert {path.parent for path in SHIPPED.rglob("Cargo.toml")} == {REPLICA.source, MADSIM}
    assert {path.parent for path in SHIPPED.rglob("go.mod")} == {PORCUPINE}


def test_the_replica_of_hotstuff() -> None:
    cargo = provided("cargo", REPLICA.source, ["fetch", "--locked"])
    words = ["test", "--release", "--locked", "--offline", "--target-dir", str(REPLICA.workshop)]
    said = done(cargo, REPLICA.source, words)
    ((passed, ignored),) = re.findall(r"^test result: ok\. (\d+) passed; 0 failed; (\d+) ignored", said, re.MULTILINE)
    assert int(passed) >= len(re.findall(r"#\[test\]", sources(REPLICA.source))) > 0 and ignored == "0", said


@pytest.mark.parametrize("source", [REPLICA.source, MADSIM], ids=lambda path: path.name)
def test_rust_is_formatted(source: Path) -> None:
    done(provided("cargo", source, ["fmt", "--version"]), source, ["fmt", "--check"])


def test_the_judge_in_porcupine() -> None:
    go = provided("go", PORCUPINE, ["mod", "download"])
    done(go, PORCUPINE, ["vet", "-mod=readonly", "./..."])
    said = done(go, PORCUPINE, ["test", "-mod=readonly", "-count=1", "-v", "./..."])
    assert len(re.findall(r"^--- PASS", said, re.MULTILINE)) == len(re.findall(r"^func Test", sources(PORCUPINE), re.M))
    assert not done(str(Path(go).with_name("gofmt")), PORCUPINE, ["-l", "."]).strip()


# ---------------------------------------------------------------- tools
def provided(tool: str, source: Path, words: list[str]) -> str:
    """The tool, once `words` (what it needs from outside) went well; skipped where it cannot be had."""
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"no {tool} on this machine (2026-11-26)")
    asked = run(found, source, words)
    if asked.returncode:
        pytest.skip(f"`{tool} {' '.join(words)}` in {source.name} (2026-11-26): {asked.stdout[-300:]}")
    return found


def done(tool: str, source: Path, words: list[str]) -> str:
    """What it printed; it must end well."""
    asked = run(tool, source, words)
    assert asked.returncode == 0, asked.stdout[-6000:]
    return asked.stdout


def run(tool: str, source: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run([tool, *words], cwd=source, text=True, timeout=LIMIT_S, check=False, **output)


def sources(directory: Path) -> str:
    """All that we wrote there."""
    return "\n".join(path.read_text() for path in sorted(directory.rglob("*")) if path.suffix in (".rs", ".go"))
