"""A program out of a Debian package, unpacked into the state directory: nothing is installed, no service starts.

`apt-get download` checks the package against the signed index, as an installation would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.outcome import MachineError
from harness.provision.state import state_directory
from harness.targets.packaged import Progress

_PATIENCE_S = 300.0


class DebianPackage(msgspec.Struct, frozen=True):
    """`name`: the program; `package`: what brings it; `path`: where it lies in there (a glob pattern); `version`: what
    is known to work, for documents and messages (the one that the distribution offers is taken)."""

    name: str
    version: str
    package: str
    path: str

    def find(self) -> Path | None:
        """The program, unpacked by an earlier `provide` or on PATH."""
        on_path = shutil.which(self.name)
        return next((p for p in (self._unpacked(), Path(on_path or "")) if p.is_file()), None)

    def provide(self, progress: Progress) -> Path:
        """See `Packaged`."""
        found = self.find()
        if found is not None:
            return found
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise MachineError(
                f"no program {self.name!r}: this is not Debian, so put {self.name} {self.version} on PATH, or take the"
                f" file {self.path} out of Debian's package {self.package}"
            )
        progress(f"unpacking {self.name} out of Debian's package {self.package}")
        with tempfile.TemporaryDirectory(prefix="moonquake-") as scratch:
            package = self._download(Path(scratch))
            tree = Path(scratch) / "tree"
            _run(("dpkg-deb", "--extract", str(package), str(tree)), scratch)
            target = self._unpacked()
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
            shutil.copy2(next(tree.glob(self.path)), partial)
            partial.replace(target)  # another harness may be at it, too
        return self._unpacked()

    def _unpacked(self) -> Path:
        return state_directory() / "bin" / self.name

    def _download(self, scratch: Path) -> Path:
        download = ("apt-get", "-q", "download", self.package)
        try:
            _run(download, scratch)
        except MachineError:  # an index that is too old names a package that is no longer there
            if os.geteuid() != 0:
                raise
            _run(("apt-get", "-q", "update"), scratch)
            _run(download, scratch)
        return next(scratch.glob("*.deb"))


NSS_WRAPPER = DebianPackage("libnss_wrapper.so", "1.1.12", "libnss-wrapper", "usr/lib/*/libnss_wrapper.so")


def _run(command: Sequence[str], directory: Path | str) -> None:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"`{' '.join(command)}` failed: {error}; run it by hand to see why") from error
    if done.returncode:
        tail = " ".join(done.stderr.split())[-300:]
        raise MachineError(f"`{' '.join(command)}` failed: {tail}; `apt-get update` as root may mend it")
