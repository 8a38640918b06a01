"""What tests of the gateway core share: a gateway with a hand-made chain."""

from typing import Any

from nodes.committee import Committee
from nodes.crypto import Ed25519Verifier
from nodes.gateway.core import GatewayCore
from nodes.messages import tx_id
from nodes.port import (
    AwaitStatus,
    Emit,
    Ordered,
    Reply,
    StateCertified,
    Submit,
    SubmitTransaction,
)
from nodes.wallet import Wallet
from tests.chain import Chain, state_certificate
from tests.driver import domain_of, signer_of, small_config

MS = 1_000_000
CONFIG = small_config(n=4, accounts=4)
COMMITTEE = Committee(CONFIG)
DOMAIN = domain_of(CONFIG)
A, B = (Wallet(signer_of(f"acct{i}"), DOMAIN) for i in (0, 1))
ROOT, FALSE = b"r" * 32, b"f" * 32
RETRY = 2 * CONFIG.parameters.inclusion_timeout_ms * MS


class Desk:
    """A gateway with a hand-made chain; `say` collects effects, `phases` the gateway events of a transaction."""

    def __init__(self, committee: Committee = COMMITTEE, **options: Any) -> None:
        self.core = GatewayCore("g0", committee, DOMAIN, signer_of("g0"), Ed25519Verifier(), **options)
        self.committee = committee
        self.chain = Chain(committee, DOMAIN)
        self.effects = []
        self.now = 0
        self.request = 0

    def step(self, event):
        out = list(self.core.step(self.now, event))
        self.effects += out
        return out

    def say(self, notice):
        out = list(self.core.notify(self.now, notice))
        self.effects += out
        return out

    def submit(self, transaction):
        self.request += 1
        out = self.step(Submit(self.request, SubmitTransaction(transaction)))
        return out, next(e.value for e in out if isinstance(e, Reply) and e.request == self.request)

    def wait(self, tx, phase=""):
        self.request += 1
        self.step(Submit(self.request, AwaitStatus(tx, phase)))
        return self.request

    def answer(self, request):
        replies = [e.value for e in self.effects if isinstance(e, Reply) and e.request == request]
        assert len(replies) <= 1
        return replies[0] if replies else None

    def status(self, tx):
        return self.answer(self.wait(tx))

    def ordered(self, height, applied=(), aborted=(), root=ROOT, clan=0, reads=None):
        ids = tuple(tx_id(t) for t in applied)
        failed = tuple((tx_id(t), reason) for t, reason in aborted)
        return self.say(Ordered(clan, height, b"b" * 32, root, ids, failed, reads or {}, ()))

    def certify(self, height, root=ROOT, clan=0):
        claim = (b"b" * 32, b"p" * 32, root)
        return self.say(StateCertified(state_certificate(self.committee, DOMAIN, clan, height, claim, ["n0", "n1"])))

    def events(self, transaction):
        ident = tx_id(transaction).hex()
        return [
            e.fields for e in self.effects if isinstance(e, Emit) and e.event == "gateway" and e.fields["tx"] == ident
        ]

    def phases(self, transaction):
        return [e["phase"] for e in self.events(transaction)]


def kinds(effects, kind):
    return [e for e in effects if isinstance(e, kind)]
