"""Programs of ours in Rust, round a crate that is not ours: built once with cargo, by their lock file."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from harness.outcome import MachineError
from harness.provision.state import state_directory
from harness.targets.packaged import Progress

BUILD_S = 3600.0  # a few dozen crates on a busy machine
# No shared library is needed then, so that the program also runs in a container without them.
FLAGS = ("-C", "target-feature=+crt-static")


class CargoProgram(msgspec.Struct, frozen=True):
    """`name`: the binary; `source`: the directory with Cargo.toml, Cargo.lock and src/; `version`: of the crate that it
    is made for. What was built is kept under the digest of all that, so an edit leads to a new build; the compiled
    crates are kept too (`workshop`), so that this one, and `cargo test`, compile ours alone."""

    name: str
    version: str
    source: Path

    def find(self) -> Path | None:
        """The program, if these very sources have been built."""
        built = self._built()
        return built if built.is_file() else None

    def provide(self, progress: Progress) -> Path:
        """See `Packaged`."""
        found = self.find()
        if found is not None:
            return found
        cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path("~/.cargo/bin").expanduser()))
        if cargo is None:
            raise MachineError(
                f"no program {self.name!r}: it is built with cargo, and there is none; install Rust (https://rustup.rs)"
                " and run `moonquake doctor --fix`"
            )
        progress(f"building {self.name}: cargo, with {self.version} (once; one to ten minutes)")
        target = self._built()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._build(cargo)
        # Next to its final place first: nobody may find half a program there.
        with tempfile.TemporaryDirectory(prefix=f"{self.name}.", dir=target.parent) as scratch:
            shutil.copy2(self.workshop / "release" / self.name, scratch)
            (Path(scratch) / self.name).replace(target)
        return target

    @property
    def workshop(self) -> Path:
        """Cargo's target directory, of these sources alone: two checkouts with one state must not mix programs."""
        place = hashlib.sha256(str(self.source.resolve()).encode()).hexdigest()[:8]
        return state_directory() / "cargo" / f"{self.name}-{place}"

    def _build(self, cargo: str) -> None:
        command = [cargo, "rustc", "--release", "--locked", "--target-dir", str(self.workshop), "--", *FLAGS]
        by_hand = f"cd {self.source} && cargo build --release --locked --target-dir /tmp/{self.name}"
        try:
            done = subprocess.run(
                command, cwd=self.source, capture_output=True, text=True, timeout=BUILD_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MachineError(f"no program {self.name!r}: cargo failed: {error}; see why with `{by_hand}`") from error
        if done.returncode:
            tail = " ".join(done.stderr.split())[-300:]
            raise MachineError(f"no program {self.name!r}: cargo failed: {tail}; see why with `{by_hand}`")

    def _built(self) -> Path:
        files = [self.source / "Cargo.toml", self.source / "Cargo.lock", *sorted((self.source / "src").rglob("*.rs"))]
        try:
            content = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
        except OSError as error:
            raise MachineError(
                f"{error.filename} is missing: {self.name} is built from a checkout of moonquake"
            ) from error
        digest = hashlib.sha256(content + " ".join(FLAGS).encode()).hexdigest()[:12]
        return state_directory() / "bin" / f"{self.name}-{digest}"
