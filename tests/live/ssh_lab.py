"""Hosts to log in to: containers with sshd, on an internal network of their own, built without a registry.

Root may log in, and `guest`, who may `sudo -n`. With `engines` a host can run a Docker engine of its own.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import docker
import docker.errors
import msgspec
import paramiko
from docker.models.containers import Container

from harness.backends.docker_network import create_network, labels, remove_network
from harness.provision import debianpython
from harness.provision.engine import Engine

PACKAGES = (
    "openssh-server", "nftables", "iptables", "iproute2", "mount", "util-linux", "coreutils", "dash", "bash", "sudo",
    "docker.io",
)  # fmt: skip
CAPABILITIES = ("NET_ADMIN", "SYS_ADMIN", "SYS_NICE")
ENGINE: dict[str, Any] = {  # what an engine in a container needs: devices, and control groups and a disk of its own
    "cgroupns": "private",
    "device_cgroup_rules": ["a *:* rwm"],
    "volumes": ["/var/lib/docker"],
}
GUEST = 1000
DOCKERFILE = """FROM {base}
COPY etc /etc
COPY run /run
RUN ["/bin/bash", "-c", "ln -sf iptables-nft /usr/sbin/iptables; \
mkdir -p /root/.ssh /home/guest/.ssh /tmp /var/tmp /run/sshd; chmod 755 /run/sshd; chmod 1777 /tmp /var/tmp; \
chmod 700 /root /root/.ssh /home/guest/.ssh; chown -R 1000:1000 /home/guest; chmod 600 /etc/ssh/host_key"]
LABEL moonquake=image
CMD ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/test_config"]
"""
SSHD = """Port 22
HostKey /etc/ssh/host_key
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100:30:200
MaxSessions 100
Subsystem sftp internal-sftp
PidFile none
"""
PERMIT = b"".join(b"%s sufficient pam_permit.so\n" % kind for kind in (b"auth", b"account", b"session"))
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/bin/false\n"
    b"guest:x:1000:1000:guest:/home/guest:/bin/bash\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\nguest:x:1000:\ndocker:x:998:\n",
    "etc/shadow": b"".join(b"%s:*:19000:0:99999:7:::\n" % user for user in (b"root", b"sshd", b"guest")),
    "etc/sudoers.d/guest": b"guest ALL=(ALL) NOPASSWD: ALL\n",
    "etc/pam.d/sudo": PERMIT,
    "etc/pam.d/other": PERMIT,
    "etc/ssh/test_config": SSHD.encode(),
    "run/sshd/keep": b"",
}
READY_S = 60.0


class TestHost(msgspec.Struct, frozen=True):
    """One container."""

    __test__ = False
    name: str
    address: str
    container: Container

    def said(self, *command: str) -> str:
        """What a command inside says; it must succeed."""
        code, output = self.container.exec_run(list(command))
        assert code == 0, output.decode()
        return bytes(output).decode()

    def tables(self) -> list[str]:
        """Our nft tables there (the engine has some of its own)."""
        words = self.said("nft", "list", "tables").split()
        return [word for word in words if word.startswith("moonquake_")]


class SshLab(msgspec.Struct, frozen=True):
    """The hosts, and a file of ours for each thing that a client needs."""

    directory: Path
    hosts: tuple[TestHost, ...]

    @property
    def known_hosts(self) -> Path:
        """With the keys of all hosts."""
        return self.directory / "known_hosts"

    def file(
        self, name: str = "hosts.toml", lease: str = "20s", own: Mapping[str, str] | None = None, **changes: str | None
    ) -> Path:
        """A hosts.toml; `changes` replace keys that stand above the hosts (None: the key is left away), `own` is what
        to write below a host's name."""
        keys: dict[str, str | None] = {
            "user": "root",
            "key": str(self.directory / "key"),
            "known_hosts": str(self.known_hosts),
            "lease": lease,
            **changes,
        }
        text = "".join(f'{key} = "{value}"\n' for key, value in keys.items() if value is not None)
        for h in self.hosts:
            text += f'\n[[host]]\nname = "{h.name}"\naddress = "{h.address}"\n{(own or {}).get(h.name, "")}\n'
        path = self.directory / name
        path.write_text(text)
        return path


@contextmanager
def ssh_lab(engine: Engine, directory: Path, count: int = 4, engines: bool = False) -> Iterator[SshLab]:
    """`count` hosts, that can run Docker engines if asked for; gone on leaving."""
    run_id = f"ssh{secrets.token_hex(3)}"
    names = [chr(ord("a") + number) for number in range(count)]
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(directory / "key"))
    with closing(engine.client()) as client:
        image, host_key = _image(client, directory)
        made = create_network(client, run_id, names)
        containers: list[Container] = []
        try:
            for name in names:
                endpoint = client.api.create_endpoint_config(ipv4_address=made.addresses[name])
                container = client.containers.create(
                    image,
                    name=f"moonquake-{run_id}-{name}",
                    labels=labels(run_id),
                    network=made.network.name,
                    networking_config={made.network.name: endpoint},
                    cap_add=[*CAPABILITIES, *(["SYS_PTRACE"] if engines else [])],
                    security_opt=["apparmor=unconfined", "seccomp=unconfined"],
                    **(ENGINE if engines else {}),
                )
                containers.append(container)
                for home, uid in (("/root", 0), ("/home/guest", GUEST)):
                    container.put_archive(f"{home}/.ssh", _tar({"authorized_keys": _public(key)}, 0o600, uid))
                container.start()
            hosts = tuple(TestHost(n, made.addresses[n], c) for n, c in zip(names, containers, strict=True))
            for host in hosts:
                _answers(host.address)
            lab = SshLab(directory, hosts)
            lab.known_hosts.write_text("".join(f"{h.address} {host_key}\n" for h in hosts))
            yield lab
        finally:
            for container in containers:
                container.remove(force=True, v=True)
            remove_network(client, str(made.network.id))
            client.images.remove(image, force=True)


def _public(key: paramiko.PKey) -> bytes:
    return f"{key.get_name()} {key.get_base64()}\n".encode()


def _image(client: docker.DockerClient, directory: Path) -> tuple[str, str]:
    """(tag, public host key): the base is made once for all sessions, the host key is new each time."""
    digest = hashlib.sha256(f"{debianpython.fingerprint()} {PACKAGES}".encode()).hexdigest()[:16]
    base = f"moonquake/sshbase:{digest}"
    try:
        client.images.get(base)
    except docker.errors.ImageNotFound:
        with tempfile.TemporaryDirectory(prefix="moonquake-") as scratch:
            tar = Path(scratch) / "base.tar"
            debianpython.build(tar, lambda _: None, PACKAGES)
            client.api.import_image_from_file(
                str(tar), repository="moonquake/sshbase", tag=digest, changes=["LABEL moonquake=image"]
            )
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(directory / "host_key")], check=True
    )
    public = (directory / "host_key.pub").read_text().strip()
    files = {**FILES, "etc/ssh/host_key": (directory / "host_key").read_bytes(), "etc/ssh/keep": b""}
    context = {"Dockerfile": DOCKERFILE.format(base=base).encode(), **files}
    tag = f"moonquake/sshhost:{secrets.token_hex(4)}"
    client.images.build(
        fileobj=io.BytesIO(_tar(context)), custom_context=True, tag=tag, rm=True, forcerm=True, network_mode="none"
    )
    return tag, public


def _tar(files: dict[str, bytes], mode: int = 0o644, uid: int = 0) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(data), mode, uid, uid
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _answers(address: str) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with socket.create_connection((address, 22), 2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            assert time.monotonic() < deadline, f"no sshd at {address}"
            time.sleep(0.1)
