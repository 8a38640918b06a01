"""Who is at the other end of a link: a signed answer to a random challenge. Sans I/O.

The listener sends a 32-byte nonce; the dialler answers with its id, the listener's id and a signature over both and
the nonce (statement "link", bound to chain, epoch and cycle). A hello can neither be replayed nor passed on to another
listener. The dialler never learns who answered it; it needs not, because everything it sends is signed or public.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from nodes.committee import Committee
from nodes.crypto import Domain, Signer, Verifier
from nodes.messages import NodeId, Signature

NONCE_BYTES = 32
MAX_HELLO_BYTES = 160
VERSION = 1


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """First and only frame of a dialler that is not a message."""

    version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    sender: NodeId
    listener: NodeId
    signature: Signature


_decoder = msgspec.msgpack.Decoder(Hello)


def hello(me: NodeId, listener: NodeId, nonce: bytes, domain: Domain, signer: Signer) -> bytes:
    """The answer to `nonce`."""
    statement = domain.statement("link", me, listener, nonce)
    return msgspec.msgpack.encode(Hello(VERSION, me, listener, signer.sign(statement)))


def check_hello(
    data: bytes, me: NodeId, nonce: bytes, committee: Committee, domain: Domain, verifier: Verifier
) -> tuple[NodeId, str]:
    """(authenticated sender, "") or ("", why not)."""
    try:
        answer = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return "", f"malformed hello: {error}"
    if answer.version != VERSION:
        return "", f"hello of version {answer.version}, expected {VERSION}"
    if answer.listener != me or answer.sender == me:
        return "", f"hello from {answer.sender!r} meant for {answer.listener!r}"
    key = committee.keys.get(answer.sender)
    if key is None:
        return "", f"hello from {answer.sender!r}, which is not in the genesis"
    statement = domain.statement("link", answer.sender, me, nonce)
    if not verifier.verify(key, statement, answer.signature):
        return "", f"hello in the name of {answer.sender!r} with a bad signature"
    return answer.sender, ""
