"""elle-list-append: transactions on lists obey a consistency model, by default strict serialisability."""

from __future__ import annotations

from typing import ClassVar

from checkers.elle import list_append
from checkers.elle.findings import Inference
from checkers.elle.judge import ElleJudge
from results.transactions import Transactions


class ElleListAppend(ElleJudge):
    """Transactions that append to lists and read them are explained by some order that the consistency model allows.

    Anomalies: garbage-read, duplicate-elements, incompatible-order, G1a, G1b, dirty-update, internal, lost-update, and
    cycles: G0, G1c, G-single, G-nonadjacent, G2-item, each also -process or -realtime. Values must be unique per key.
    Examined: transactions that ended ok.
    """

    property: ClassVar[str] = "elle-list-append"

    def infer(self, history: Transactions) -> Inference:
        return list_append.infer(history)
