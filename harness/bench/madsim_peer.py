"""madsim, a simulator of distributed systems in Rust, as a peer of workload A.

Its program is built once, with the lock file beside it, into the state directory; nothing is downloaded where cargo is
missing. What it costs is CPU time of its process, start included.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
from pathlib import Path

from harness.provision.state import state_directory

SOURCE = Path(__file__).parent / "madsim"
FILES = ("main.rs", "Cargo.toml", "Cargo.lock")
BUILD_SECONDS = 1800
FLAGS = "--cfg madsim"  # without it the crate is a thin layer over real sockets


class NoPeerError(RuntimeError):
    """The program cannot be had; says why, and how that is mended."""


def program() -> Path:
    """The peer's program, built if it is not there yet. Raises NoPeerError, MachineError."""
    try:
        sources = [(SOURCE / name).read_bytes() for name in FILES]
    except OSError as error:
        raise NoPeerError(f"madsim: {error.filename} is missing; run the benchmark from a checkout") from error
    directory = state_directory() / "bench" / f"madsim-{hashlib.sha256(b''.join(sources)).hexdigest()[:12]}"
    binary = directory / "release" / "workload-a"
    if binary.exists():
        return binary
    cargo = shutil.which("cargo")
    if cargo is None:
        raise NoPeerError("madsim: not installed: there is no cargo; install Rust and run `moonquake bench sim` again")
    for name, data in zip(FILES, sources, strict=True):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    command = [cargo, "build", "--release", "--locked", "--target-dir", str(directory)]
    try:
        environment = {**os.environ, "RUSTFLAGS": FLAGS}
        subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True, timeout=BUILD_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPeerError(
            f"madsim: not installed: cargo could not build it ({type(error).__name__}); see why with"
            f" `cd harness/bench/madsim && RUSTFLAGS='{FLAGS}' cargo build --release --locked --target-dir /tmp/madsim`"
        ) from error
    return binary


def rate(binary: Path, nodes: int, messages: int) -> float:
    """Messages per CPU second of workload A among `nodes`. Raises NoPeerError when the program breaks off."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run([str(binary), str(nodes), str(messages)], capture_output=True, text=True, check=True)
        count = int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NoPeerError(
            f"madsim: its program broke off: {error}; remove {binary.parents[1]} to build it anew"
        ) from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return count / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
