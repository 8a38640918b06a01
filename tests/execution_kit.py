"""What tests of the execution core share: a small clan, and votes on what it executed."""

from nodes.committee import Committee
from nodes.crypto import Ed25519Verifier
from nodes.execution.core import ExecutionCore
from nodes.port import (
    Emit,
    Finalised,
    Ordered,
    Receive,
    Start,
    Stored,
)
from nodes.wallet import Wallet
from tests.chain import state_vote
from tests.driver import domain_of, signer_of, small_config

CONFIG = small_config(n=4, accounts=4)
COMMITTEE = Committee(CONFIG)
DOMAIN = domain_of(CONFIG)
A, B = (Wallet(signer_of(f"acct{i}"), DOMAIN) for i in (0, 1))


def core(name="n0", member=True, clan=0, committee=COMMITTEE, records=(), verifier=None) -> ExecutionCore:
    signer = signer_of(name) if member else None
    made = ExecutionCore(name, committee, DOMAIN, clan, signer, verifier or Ed25519Verifier())
    made.step(0, Start(tuple(records)))
    return made


def kinds(effects, kind):
    return [e for e in effects if isinstance(e, kind)]


def emitted(effects, name):
    return [e.fields for e in effects if isinstance(e, Emit) and e.event == name]


def feed(execution, chain, *batches):
    """One block with these (batch, certificate) pairs, bodies first."""
    out = []
    for batch, _ in batches:
        out += execution.notify(0, Stored(batch))
    return out + list(execution.notify(0, Finalised(chain.block(*[c for _, c in batches]))))


def claim(effects):
    [ordered] = kinds(effects, Ordered)
    [execute] = emitted(effects, "execute")
    return ordered.block, bytes.fromhex(execute["prev_root"]), ordered.root


def vote(voter, height, what, clan=0):
    return Receive(voter, state_vote(DOMAIN, clan, height, what, voter))
