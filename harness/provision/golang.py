"""Programs that are built with `go install` at a pinned version; Go's checksum database guards their source."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness.backends.port import MachineError
from harness.provision.state import state_directory
from harness.targets.packaged import Progress

BUILD_S = 1800.0  # a large module on a busy machine


class GoUnavailableError(RuntimeError):
    """No toolchain, or the build failed; says why in a few words."""


def go_install(module: str, built: str, target: Path, progress: Progress) -> None:
    """`go install module` (path@version), and put the program, which Go names `built`, at `target`.

    Raises GoUnavailableError.
    """
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise GoUnavailableError("no Go toolchain (https://go.dev/dl)")
    progress(f"building {target.name}: go install {module} (once; one to five minutes)")
    place = target.parent / f"go.{os.getpid()}"
    place.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(place), "GOFLAGS": "-modcacherw -buildvcs=false"}
    try:
        done = subprocess.run(
            [go, "install", module], env=environment, capture_output=True, text=True, timeout=BUILD_S, check=False
        )
        if done.returncode:
            raise GoUnavailableError(f"failed: {' '.join(done.stderr.split())[-300:]}")
        (place / built).replace(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GoUnavailableError(f"failed: {error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


class GoProgram:
    """A released Go program. See `harness.targets.packaged.Packaged`."""

    def __init__(self, name: str, module: str, version: str, asks: tuple[str, ...] = ("version",)) -> None:
        """`module`: the import path of the command; `asks`: arguments that make it print its version."""
        self.name, self.module, self.version, self._asks = name, module, version, asks

    @property
    def installed(self) -> Path:
        """Where a built program lies; the version is part of the name, so that another one is never taken for it."""
        return state_directory() / "bin" / f"{self.name}-{self.version}"

    def find(self) -> Path | None:
        """The built program, or one on PATH that says it is of this version."""
        on_path = shutil.which(self.name)
        for candidate in (self.installed, Path(on_path) if on_path else None):
            if candidate is not None and candidate.is_file() and self._is(candidate):
                return candidate
        return None

    def provide(self, progress: Progress) -> Path:
        """Found, or built into the state directory. Raises MachineError with the cure."""
        found = self.find()
        if found is not None:
            return found
        partial = self.installed.with_name(f"{self.installed.name}.{os.getpid()}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        module = f"{self.module}@v{self.version}"
        try:
            go_install(module, self.module.rsplit("/", 1)[-1], partial, progress)
            if not self._is(partial):
                raise GoUnavailableError(f"what was built does not say that it is {self.version}")
            partial.replace(self.installed)
        except GoUnavailableError as reason:
            raise MachineError(
                f"no {self.name} {self.version}: it is neither on PATH nor in {self.installed.parent}, and could not be"
                f" built ({reason}). Install Go, or set GOPROXY if the module proxy is not reached, and run"
                " `moonquake doctor --fix`"
            ) from reason
        finally:
            partial.unlink(missing_ok=True)
        return self.installed

    def _is(self, binary: Path) -> bool:
        try:
            done = subprocess.run([str(binary), *self._asks], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0 and self.version in done.stdout + done.stderr
