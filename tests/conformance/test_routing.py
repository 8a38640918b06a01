"""Nothing that is on the wire or in the log is lost between the cores of a node."""

from __future__ import annotations

from typing import get_args

from nodes import messages, records, supra


def test_every_message_has_a_core_that_hears_it() -> None:
    heard = {kind for kinds in supra._MESSAGES.values() for kind in kinds}
    assert heard == set(get_args(messages.Message))


def test_every_log_record_is_handed_back_to_some_core() -> None:
    handed = {kind for kinds in supra._RECORDS.values() for kind in kinds}
    assert handed == set(get_args(records.Record))
