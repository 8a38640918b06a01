"""Hosts to log in to: containers with sshd, on an internal network of their own, built without a registry."""

from __future__ import annotations

import hashlib
import io
import secrets
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import docker.errors
import msgspec
import paramiko
from docker.models.containers import Container

from harness.backends.docker_network import create_network, labels, remove_network
from harness.provision import debianpython
from harness.provision.engine import Engine

PACKAGES = ("openssh-server", "nftables", "iptables", "iproute2", "mount", "util-linux", "coreutils", "dash", "bash")
DOCKERFILE = """FROM {base}
COPY etc /etc
COPY run /run
RUN ["/bin/bash", "-c", "ln -sf iptables-nft /usr/sbin/iptables; mkdir -p /root/.ssh /tmp /var/tmp /run/sshd; \
chmod 755 /run/sshd; chmod 700 /root /root/.ssh; chmod 600 /etc/ssh/host_key; chmod 1777 /tmp /var/tmp"]
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
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/bin/false\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    "etc/shadow": b"root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n",
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

    def file(self, name: str = "hosts.toml", lease: str = "20s", **changes: str) -> Path:
        """A hosts.toml; `changes` replace keys that stand above the hosts."""
        keys = {
            "user": "root",
            "key": str(self.directory / "key"),
            "known_hosts": str(self.known_hosts),
            "lease": lease,
            **changes,
        }
        text = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
        text += "".join(f'\n[[host]]\nname = "{h.name}"\naddress = "{h.address}"\n' for h in self.hosts)
        path = self.directory / name
        path.write_text(text)
        return path


@contextmanager
def ssh_lab(engine: Engine, directory: Path, count: int = 4) -> Iterator[SshLab]:
    """`count` hosts; gone on leaving."""
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
                    cap_add=["NET_ADMIN", "SYS_ADMIN", "SYS_NICE"],
                    security_opt=["apparmor=unconfined", "seccomp=unconfined"],
                )
                containers.append(container)
                container.put_archive("/root/.ssh", _tar({"authorized_keys": _public(key)}, 0o600))
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


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
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
