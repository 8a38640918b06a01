"""elle-rw-register: transactions on registers obey a consistency model, by default strict serialisability."""

from __future__ import annotations

from typing import ClassVar

from checkers.elle import rw_register
from checkers.elle.findings import Inference
from checkers.elle.judge import ElleJudge
from results.transactions import Transactions


class ElleRwRegister(ElleJudge):
    """Transactions that write registers and read them are explained by some order that the consistency model allows.

    Anomalies: garbage-read, G1a, G1b, dirty-update, internal, lost-update, cyclic-versions, and cycles: G0, G1c,
    G-single, G-nonadjacent, G2-item; those that go round also -process or -realtime. Values must be unique per key; a
    key reads as null at first. Examined: transactions that ended ok.
    """

    property: ClassVar[str] = "elle-rw-register"

    def infer(self, history: Transactions) -> Inference:
        return rw_register.infer(history, self.consistency)
