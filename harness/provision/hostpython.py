"""A base image without a registry: a tar of this host's own Python, its standard library and shared objects.

Takes seconds and no network. Works where the host is Linux with glibc and the engine runs the host's architecture;
`image.py` tries the result before it is trusted and falls back to mmdebstrap.
"""

from __future__ import annotations

import io
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.backends.port import MachineError

UNNEEDED = frozenset(("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages",
                      "dist-packages", "pydoc_data"))  # fmt: skip
# What ldd does not show: dlopened by glibc, or needed by wheels, which may use all that the manylinux policy names.
ALSO = ("libgcc_s.so.1", "libnss_files.so.2", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1",
        "libstdc++.so.6", "libz.so.1")  # fmt: skip
LINK = "/usr/bin/python3"


def fingerprint() -> str:
    """What makes two such bases differ."""
    return f"host 1 {' '.join(ALSO)} {platform.machine()} {sys.version} {sysconfig.get_path('stdlib')}"


def build(target: Path) -> None:
    """Write the base tar. Raises MachineError where the host is not Linux with glibc."""
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        raise MachineError("the host's Python can be put in an image on Linux with glibc only")
    interpreter = Path(os.path.realpath(sys.executable))
    library = Path(os.path.realpath(sysconfig.get_path("stdlib")))
    files = [interpreter, *_library(library)]
    objects = [f for f in files if f == interpreter or ".so" in f.name]
    with tarfile.open(target, "w") as tar:
        for directory in ("tmp", "data", "etc", "proc", "sys", "dev", "usr/bin", "opt"):
            _directory(tar, directory, 0o1777 if directory == "tmp" else 0o755)
        for file in sorted({*files, *_needed(objects)}):
            tar.add(file, arcname=str(file).lstrip("/"), recursive=False)
        _link(tar, LINK, str(interpreter))
        _link(tar, "/usr/bin/python", str(interpreter))
        prefix = Path(sys.base_prefix) / "bin"
        if interpreter.parent != prefix.resolve():
            _link(tar, str(prefix / interpreter.name), str(interpreter))
        _file(tar, "etc/passwd", b"root:x:0:0:root:/data:/bin/false\n")
        _file(tar, "etc/group", b"root:x:0:\n")


def _library(library: Path) -> Iterator[Path]:
    for directory, subdirectories, names in os.walk(library):
        subdirectories[:] = [d for d in subdirectories if d not in UNNEEDED and not d.startswith("config-")]
        for name in names:
            compiled = name.endswith(".pyc") and not name.endswith(f".{sys.implementation.cache_tag}.pyc")
            if not compiled and not name.endswith((".a", ".exe")) and not name.startswith(("_tkinter.", "_test")):
                yield Path(directory) / name


def _needed(objects: Iterable[Path]) -> set[Path]:
    """Every shared object that the dynamic linker would load, under the path it would look at, links resolved too."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR") or "")}
    done = subprocess.run(
        ["ldd", *map(str, objects)], env=environment, capture_output=True, text=True, check=False
    )  # ldd returns 1 when one of many is not dynamic
    found = {Path(m) for m in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, flags=re.MULTILINE)}
    directories = {f.parent for f in found}
    found |= {d / n for d in directories for n in ALSO if (d / n).exists()}
    return {file for path in found for file in _chain(path)}


def _chain(path: Path) -> Iterator[Path]:
    """A path and, where it is a link, everything it leads to. Directory links (/lib -> /usr/lib) are written out."""
    real_name = path.parent.resolve() / path.name
    if path.parent != path.parent.resolve():
        yield path
    if real_name.is_symlink():
        yield from _chain(real_name.parent / real_name.readlink())
    yield real_name


def _directory(tar: tarfile.TarFile, name: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    if name == target:
        return
    info = tarfile.TarInfo(name.lstrip("/"))
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
