"""Keys and genesis of a CometBFT chain, made from the run's seed: equal seeds give equal chains."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from nacl.signing import SigningKey

from harness.genesis import derive

POWER = 10  # voting power of each validator in the genesis
GENESIS_TIME = "2026-01-01T00:00:00Z"  # of block 1; any time that is past
_PRIVATE, _PUBLIC = "tendermint/PrivKeyEd25519", "tendermint/PubKeyEd25519"


class Key(msgspec.Struct, frozen=True):
    """An Ed25519 key pair as CometBFT's files hold it."""

    secret: bytes  # the 32 bytes that everything follows from
    public: bytes

    @staticmethod
    def of(seed: int, *purpose: str) -> Key:
        """The key of one purpose in the run with this seed."""
        secret = derive(seed, "cometbft", *purpose)
        return Key(secret, bytes(SigningKey(secret).verify_key))

    @property
    def address(self) -> str:
        """First twenty bytes of the public key's SHA-256, in lower-case hex; also a node's id among its peers."""
        return hashlib.sha256(self.public).hexdigest()[:40]

    def private_json(self) -> dict[str, str]:
        """Type and value as CometBFT writes them: secret and public key together."""
        return {"type": _PRIVATE, "value": _base64(self.secret + self.public)}

    def public_json(self) -> dict[str, str]:
        """The public key as CometBFT writes it."""
        return {"type": _PUBLIC, "value": _base64(self.public)}


def chain_id(seed: int) -> str:
    """The name of the chain of a run."""
    return f"moonquake-{seed}"


def genesis(chain: str, validators: Mapping[str, Key]) -> bytes:
    """genesis.json with these validators by name, each of equal power."""
    return _json(
        {
            "genesis_time": GENESIS_TIME,
            "chain_id": chain,
            "initial_height": "1",
            "consensus_params": {
                "block": {"max_bytes": "22020096", "max_gas": "-1"},
                "evidence": {
                    "max_age_num_blocks": "100000", "max_age_duration": "172800000000000", "max_bytes": "1048576"
                },
                "validator": {"pub_key_types": ["ed25519"]},
                "version": {"app": "0"},
                "abci": {"vote_extensions_enable_height": "0"},
            },
            "validators": [
                {
                    "address": key.address.upper(),
                    "pub_key": key.public_json(),
                    "power": str(POWER),
                    "name": name,
                }
                for name, key in validators.items()
            ],
            "app_hash": "",
        }
    )  # fmt: skip


def node_key(key: Key) -> bytes:
    """node_key.json: who the node is among its peers."""
    return _json({"priv_key": key.private_json()})


def validator_key(key: Key) -> bytes:
    """priv_validator_key.json: the key that it votes with."""
    return _json({"address": key.address.upper(), "pub_key": key.public_json(), "priv_key": key.private_json()})


def validator_state() -> bytes:
    """priv_validator_state.json of a validator that has signed nothing yet."""
    return _json({"height": "0", "round": 0, "step": 0})


def toml(sections: Mapping[str, Mapping[str, Any]], top: Mapping[str, Any]) -> bytes:
    """A configuration file; what it leaves out keeps CometBFT's default."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in top.items()]
    for section, values in sections.items():
        lines += ["", f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    return ("\n".join(lines) + "\n").encode()


def peers(addresses: Sequence[tuple[Key, str]]) -> str:
    """`persistent_peers`: id@host:port of each."""
    return ",".join(f"{key.address}@{address}" for key, address in addresses)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
