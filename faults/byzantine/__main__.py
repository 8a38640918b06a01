"""A corrupted node process: `python -m faults.byzantine NODE_JSON BYZANTINE_JSON`.

The same runtime as an honest `python -m nodes`, with the core wrapped. Exit codes: those of the runtime, 3 for bad
arguments or a bad byzantine.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from faults.byzantine.config import ByzantineConfig
from faults.byzantine.registry import corrupt, load_behaviour, load_byzantine_config
from faults.byzantine.side_channel import SideChannelError
from faults.byzantine.watchdog import NODE_CPU_S, WATCHDOG
from nodes.committee import ClusterConfig, Committee
from nodes.crypto import Domain, Ed25519Signer, Ed25519Verifier
from nodes.port import Node
from nodes.runtime.config import NodeConfig
from nodes.runtime.main import run_node
from nodes.supra import build


def main(arguments: list[str]) -> int:
    """Run one corrupted node; returns the exit code."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m faults.byzantine NODE_JSON BYZANTINE_JSON\n")
        return 3
    try:
        config = load_byzantine_config(Path(arguments[1]))
        for spec in config.behaviours:
            load_behaviour(spec.use, spec.parameters)  # refuse a bad attack before anything is opened
        with WATCHDOG.watching(NODE_CPU_S):
            return run_node(Path(arguments[0]), wrap=_wrapper(config))
    except (ValueError, SideChannelError) as error:
        sys.stderr.write(f"faults.byzantine: {error}\n")
        return 3


def _wrapper(config: ByzantineConfig) -> Callable[[Node, NodeConfig, ClusterConfig, Committee, Domain], Node]:
    def wrap(node: Node, own: NodeConfig, cluster: ClusterConfig, committee: Committee, domain: Domain) -> Node:
        if own.id != config.node:
            raise ValueError(f"byzantine.json is for {config.node}, node.json for {own.id}")

        def again() -> Node:
            return build(own.id, cluster, Ed25519Signer(bytes.fromhex(own.secret_key)), Ed25519Verifier())

        return corrupt(node, committee, domain, config, again=again)

    return wrap


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
