"""Fuzz one reader with atheris for a fixed number of executions: `python -m tests.fuzzing TARGET RUNS [DIRECTORY]`.

Exit code 0: nothing found. What is found is printed, and its input kept as crash-* in DIRECTORY.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["results", "checkers", "harness.scenario", "harness.toml"]):
    from tests.fuzzing.targets import LONGEST, TARGETS, seeds


def main(name: str, runs: str, directory: str = "") -> None:
    """Runs libFuzzer, which ends the process."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(name)):
            (Path(corpus) / f"seed{number}").write_bytes(seed)
        largest = max(map(len, seeds(name)))
        options = [f"-runs={runs}", "-seed=1", f"-max_len={max(LONGEST, 2 * largest)}", "-timeout=60", "-verbosity=0"]
        if directory:
            options.append(f"-artifact_prefix={directory}/")
        atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
