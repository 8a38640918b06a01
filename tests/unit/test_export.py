"""EDN export: what Jepsen's tools read."""

from __future__ import annotations

from results.export import edn, operation_edn
from results.history import Operation


def test_transaction_operations_use_keywords() -> None:
    operation = Operation(
        0, 5, 3, "ok", "txn", [["append", 7, 1], ["r", 9, [4, 2]], ["r", 8, None]], tx="9f", phase="exec"
    )
    assert operation_edn(operation) == (
        "{:index 0, :time 5, :process 3, :type :ok, :f :txn, :value [[:append 7 1] [:r 9 [4 2]] [:r 8 nil]], "
        ':tx "9f", :phase "exec"}'
    )


def test_nemesis_is_a_keyword_and_strings_are_escaped() -> None:
    operation = Operation(1, 6, "nemesis", "info", "start", {"fault": 'a"b\\', "id": 1, "on": True, "x y": 0.5})
    assert operation_edn(operation).startswith("{:index 1, :time 6, :process :nemesis, :type :info, :f :start")
    assert '{:fault "a\\"b\\\\", :id 1, :on true, "x y" 0.5}' in operation_edn(operation)


def test_edn_of_plain_values() -> None:
    assert edn([None, True, -3, "a\nb"]) == '[nil true -3 "a\\nb"]'
