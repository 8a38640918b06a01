"""Where moonquake keeps what outlives one command: `$MOONQUAKE_STATE`, else `.state/` in the project root."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness.backends.port import MachineError

SOCKET_PATH_LIMIT = 100  # the kernel allows 107 bytes; dockerd and containerd append short names of their own


def project_root() -> Path:
    """The directory that holds pyproject.toml when run from a checkout, else the current directory."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def state_directory() -> Path:
    """The state directory, made on demand. Raises MachineError where it cannot be."""
    named = os.environ.get("MOONQUAKE_STATE")
    directory = Path(named).resolve() if named else project_root() / ".state"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(
            f"{directory}: cannot be our state directory: {error.strerror}; set MOONQUAKE_STATE to one we may write to"
        ) from error
    return directory


def short_directory(directory: Path, longest_name: int) -> Path:
    """`directory` if Unix sockets with names of `longest_name` bytes fit below it, else a short stand-in under /run."""
    if len(os.fsencode(directory)) + 1 + longest_name <= SOCKET_PATH_LIMIT:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:10]
    return Path("/run") / f"moonquake-{digest}"
