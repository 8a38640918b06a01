"""Balances that gateways told, against the account executed again and the certificates that the gateway had by then.

Judged as part of `acknowledged`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checkers.answers import BALANCE, Answer, answers
from checkers.conservation import witness
from checkers.coverage import Coverage
from checkers.index import Index
from checkers.judge import short
from checkers.ledger import clan_of
from checkers.replay import Replay
from results.verdict import Anomaly


@dataclass
class Balances:
    """What became of the questions for balances; those to corrupted gateways are left out."""

    anomalies: list[Anomaly] = field(default_factory=list)
    asked: int = 0
    told: int = 0
    examined: int = 0
    unjudged: int = 0  # above the height up to which the order can be executed again


def judged(index: Index, replay: Replay, coverage: Coverage) -> Balances:
    """The answers of honest gateways. Raises HistoryError on one that cannot be read."""
    corrupted = set(index.info.byzantine)
    found = Balances()
    found.asked = sum(
        o.type == "invoke" and o.f == BALANCE and o.process != "nemesis" and o.gateway not in corrupted
        for o in index.history
    )
    for answer in answers(index):
        if answer.operation.gateway in corrupted:
            continue
        found.told += 1
        clan = clan_of(answer.address, len(index.info.clans))
        found.anomalies += _uncertified(answer, clan, coverage)
        if answer.height > replay.reached[clan] and not replay.complete:
            found.unjudged += 1
            continue
        found.examined += 1
        found.anomalies += _wrong(answer, clan, replay)
    return found


def _told(answer: Answer) -> str:
    return (
        f"{answer.operation.gateway} told process {answer.operation.process} that account"
        f" {short(answer.address.hex())} holds {answer.balance}, next number {answer.seq}, at height {answer.height}"
    )


def _wrong(answer: Answer, clan: int, replay: Replay) -> list[Anomaly]:
    """The account at that height, executed again, is another one, or there is no such height."""
    true = replay.accounts.get((answer.height, answer.address))
    if true == (answer.balance, answer.seq):
        return []
    what = f"it holds {true[0]}, next number {true[1]}" if true else f"clan {clan} executed no such height"
    summary = f"{_told(answer)}; executing the finalised order, {what}"
    again = {"event": "re-execution", "clan": clan, "height": answer.height, "account": list(true) if true else None}
    return [Anomaly("wrong-balance", summary, [witness(answer.operation), again])]


def _uncertified(answer: Answer, clan: int, coverage: Coverage) -> list[Anomaly]:
    """Only certified state may be told; genesis needs no certificate."""
    operation = answer.operation
    if answer.height <= 0 or not coverage.recorded:
        return []
    if coverage.reaches(operation.gateway, clan, answer.height, operation.time):
        return []
    summary = f"{_told(answer)}, but it had no certificate of a true root for that height or a later one"
    return [Anomaly("uncertified-balance", summary, [witness(operation)])]
