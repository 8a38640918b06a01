"""Behaviours by name, and the shell that mounts them as a corrupted node's configuration says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from faults.byzantine.config import ByzantineConfig
from faults.byzantine.mistakes import check_hooks, typed
from faults.byzantine.port import Behaviour
from faults.byzantine.side_channel import SideChannel, UnixSideChannel
from faults.byzantine.triggers import Trigger
from faults.byzantine.twins import pair_of, second_core
from faults.byzantine.wrapper import CorruptedNodeShell, Mounted
from faults.registry import AttackFileError, construct, find
from nodes.committee import Committee
from nodes.crypto import Domain, Ed25519Signer, Signer
from nodes.port import Node

BEHAVIOURS = "moonquake.behaviours"


def load_behaviour(use: str, parameters: Mapping[str, Any]) -> Behaviour:
    """The behaviour that a scenario names, with its parameters.

    Raises ValueError naming the unknown behaviour or the bad parameter, AttackFileError for a faulty file.
    """
    kind = find(BEHAVIOURS, use)
    if not issubclass(kind, Behaviour):
        raise AttackFileError(f"{use}: {kind.__name__} must be a subclass of faults.byzantine.port.Behaviour")
    behaviour = cast(Behaviour, construct(kind, use, typed(kind, use, parameters)))
    if not hasattr(behaviour, "receipt"):
        raise AttackFileError(f"{use}: {kind.__name__}.__init__ must call super().__init__()")
    check_hooks(behaviour, use)
    return behaviour


def load_byzantine_config(path: Path) -> ByzantineConfig:
    """Read byzantine.json. Raises ValueError naming the file and the field at fault."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ByzantineConfig)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: {error}") from error


def corrupt(
    core: Node,
    committee: Committee,
    domain: Domain,
    config: ByzantineConfig,
    channel: SideChannel | None = None,
    scheme: Callable[[bytes], Signer] = Ed25519Signer,
    again: Callable[[], Node] | None = None,
) -> CorruptedNodeShell:
    """`core` corrupted as `config` says; without `channel` the Unix one in `config.side_channel` is opened.
    `scheme` makes a signer of a seed; `again` makes a second core of the same replica, for twins.

    Raises ValueError when the coalition does not hold the keys it claims, or a behaviour cannot be loaded.
    """
    signers = {node: scheme(bytes.fromhex(seed)) for node, seed in config.coalition.items()}
    for node, signer in signers.items():
        if committee.keys.get(node) != signer.public_key:
            raise ValueError(f"byzantine coalition: the seed of {node} does not match its key in the genesis")
    if config.node not in signers:
        raise ValueError(f"byzantine node {config.node} is not in its own coalition {sorted(signers)}")
    stack = [
        Mounted(s.id, load_behaviour(s.use, s.parameters), Trigger(s.from_ns, s.until_ns, s.views, s.event))
        for s in config.behaviours
    ]
    twins = pair_of(mounted.behaviour for mounted in stack)
    if twins is not None:
        core = twins.pair(core, second_core(again), config.node, committee)
    channel = channel or UnixSideChannel(Path(config.side_channel), config.node, signers)
    return CorruptedNodeShell(core, config.node, committee, domain, signers, stack, channel, config.seed)
