"""Reading histories of other hands: EDN, JSON arrays, JSON lines; and what is wrong with them, with line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.elle_list_append import ElleListAppend
from results.alone import HistoryAlone
from results.edn import EdnError, as_json, read_edn
from results.export import edn, operation_edn
from results.history import HistoryError, Operation
from results.microops import NIL
from results.transactions import FAIL, INFO, NEVER, OK, UnpairedError
from results.verdict import Status
from tests.golden.transactions import TEXTS, records

LISTS = TEXTS["elle-list-append"]
JEPSEN = """\
; a comment
{:type :invoke, :f :txn, :value [[:append 7 1] [:r 9 nil]], :process 0, :time 12, :index 0}
{:type :info, :f :start-partition, :value "Cut off {\\"n1\\" #{\\"n2\\"}}", :process :nemesis, :time 13, :index 1}
#jepsen.history.Op{:index 2, :time 14, :type :ok, :process 0, :f :txn, :value [[:append 7 1] [:r 9 [4 2]]]}
"""


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a history and opens it."""

    def write(data: bytes | str, name: str = "h.jsonl") -> HistoryAlone:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return HistoryAlone(path)

    return write


def jsonl(text: str) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records(text))


# ---------------------------------------------------------------- the three notations
@pytest.mark.parametrize("name", LISTS)
def test_one_history_in_every_notation_is_one_verdict(written: Any, name: str) -> None:
    made = records(LISTS[name])
    lines = [operation_edn(msgspec.convert(record, Operation)) for record in made]
    plain = [line.replace('"x"', ":x").replace('"y"', ":y").replace('"z"', ":z") for line in lines]
    found = [
        ElleListAppend().check(written(data, file))
        for data, file in (
            (jsonl(LISTS[name]), "a.jsonl"),
            (msgspec.json.encode(made), "a.json"),
            ("\n".join(lines), "a.edn"),  # strings: the full reader
            ("\n".join(plain), "b.edn"),  # keywords: the quick one
            (f"[{' '.join(plain)}]", "c.edn"),
            (f"[{chr(10).join(lines)}\n]\n", "d.edn"),
        )
    ]
    assert [(v.status, v.examined, v.measures.get("kinds")) for v in found] == [
        (found[0].status, found[0].examined, found[0].measures.get("kinds"))
    ] * 6
    assert found[0].status is (Status.PASS if name.startswith("ok-") else Status.FAIL)


def test_jepsens_own_printing(written: Any) -> None:
    run = written(JEPSEN, "history.edn")
    history = run.transactions
    assert len(history) == 1 and history.value(0) == [["append", 7, 1], ["r", 9, [4, 2]]]
    assert (history.invoked[0], history.completed[0], history.line[0], history.status[0]) == (0, 2, 4, OK)
    assert [o.process for o in run.history] == [0, "nemesis", 0]
    assert run.history[1].value == 'Cut off {"n1" #{"n2"}}'


def test_operations_without_f_process_index_and_time(written: Any) -> None:
    """As in elle-cli's own examples."""
    run = written(
        "{:type :invoke, :value [[:append 255 8] [:r 253 nil]]}\n{:type :ok :value [[:append 255 8] [:r 253 [1]]]}"
    )
    assert run.transactions.value(0) == [["append", 255, 8], ["r", 253, [1]]]


def test_what_ends_how(written: Any) -> None:
    text = "0 a:x:1 r:y; 1 a:x:2; 2 a:x:3; 3 a:x:4; 0 ok [2]; 1 fail; 2 info"
    history = written(jsonl(text)).transactions
    assert history.status.tolist() == [OK, FAIL, INFO, INFO]
    assert history.completed.tolist() == [4, NEVER, NEVER, NEVER]
    assert [history.value(t) for t in range(4)] == [
        [["append", "x", 1], ["r", "y", [2]]], [["append", "x", 2]], [["append", "x", 3]], [["append", "x", 4]],
    ]  # fmt: skip


def test_what_an_info_read_is_not_known(written: Any) -> None:
    lines = [
        {"type": "invoke", "process": 0, "f": "txn", "value": [["r", 1, None], ["append", 1, 2]]},
        {"type": "info", "process": 0, "f": "txn", "value": [["r", 1, [7]], ["append", 1, 2]]},
        {"type": "invoke", "process": 1, "f": "txn", "value": [["append", 1, 3]]},
        {"type": "info", "process": 1, "f": "txn"},  # the value stands in the invocation alone
    ]
    history = written(b"".join(msgspec.json.encode(line) + b"\n" for line in lines)).transactions
    assert history.value(0) == [["r", 1, None], ["append", 1, 2]] and history.value(1) == [["append", 1, 3]]
    assert history.result[0] == NIL


def test_values_of_all_sorts_keep_apart(written: Any) -> None:
    values = [1, True, 1.5, "1", {"a": 1}, 10**30, -(10**30), 2**62, "é", False, 0]
    lines = [
        {"type": kind, "process": 0, "f": "txn", "value": [["append", "k", value] for value in values]}
        for kind in ("invoke", "ok")
    ]
    history = written(b"".join(msgspec.json.encode(line) + b"\n" for line in lines)).transactions
    assert len(set(history.result.tolist())) == len(values)
    assert [history.seen(step) for step in history.steps(0)] == values


def test_equal_times_are_concurrent_where_there_is_no_index(written: Any) -> None:
    def at(*times: int) -> Status:
        made = records("0 a:x:1; 0 ok; 1 r:x; 1 ok []")
        lines = [{k: v for k, v in r.items() if k != "index"} | {"time": t} for r, t in zip(made, times, strict=True)]
        return ElleListAppend().check(written(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))).status

    assert at(1, 2, 3, 4) is Status.FAIL
    assert at(1, 2, 2, 4) is Status.PASS


def test_but_a_process_does_one_thing_after_the_other(written: Any) -> None:
    made = records("0 a:x:1; 0 ok; 0 r:x; 0 ok []")
    lines = [{k: v for k, v in record.items() if k != "index"} | {"time": 5} for record in made]
    found = ElleListAppend().check(written(b"".join(msgspec.json.encode(line) + b"\n" for line in lines)))
    assert [anomaly.kind for anomaly in found.anomalies] == ["G-single-process"]


# ---------------------------------------------------------------- what is wrong
GOOD = '{"type":"invoke","process":0,"f":"txn","value":[["r",1,null]]}\n'
ENDS = GOOD + '{"type":"ok","process":0,"f":"txn","value":%s}\n'
NOT = "not a history record: "
BAD = [
    ("a.jsonl", GOOD + '{"type":"ok","process":0', "a.jsonl:2: truncated"),
    ("a.jsonl", GOOD + '{"type":"ok","process":0}}\n', "a.jsonl:2: not a history record"),
    ("a.jsonl", "\n" + GOOD + "\n" + '{"type":"okay"}\n', f"a.jsonl:4: {NOT}Invalid enum value 'okay' - at `$.type`"),
    ("a.jsonl", '{"process":0}\n', "a.jsonl:1: not a history record: Object missing required field `type`"),
    ("a.jsonl", '{"type":"invoke","process":1.5}\n', f"a.jsonl:1: {NOT}Expected `int | str | null`, got `float`"),
    ("a.jsonl", '{"type":"invoke","index":99999999999999999999999}\n', "`$.index`"),
    ("a.jsonl", ENDS % '[["r",1,[[[]]],4]]', "a.jsonl:2: value[0]: expected [\"append\""),
    ("a.jsonl", ENDS % 'null', "a.jsonl:2: value: expected a list of micro-operations, got null"),
    ("a.jsonl", ENDS % '[["cas",1,2]]', 'value[0]: no micro-operation "cas"'),
    ("a.jsonl", ENDS % '[["r",null,2]]', "value[0]: the key is null"),
    ("a.jsonl", ENDS % '[["append",1,null]]', "value[0]: append needs one value, got null"),
    ("a.jsonl", "[" * 100_000, "a.jsonl:1: nested deeper than 64 levels"),
    ("a.json", "[" + GOOD.strip(), "a.json: not an array of operations: Input data was truncated"),
    ("a.json", "[" + GOOD + ",7]", "Expected `object`, got `int` - at `$[1]`"),
    ("a.json", '[{"type":"ok"},\n{"type":"ok",,}]', "(line 2)"),
    ("a.edn", "{:type :invoke, :process 0, :value [[:r 1 nil]]", "a.edn:1: truncated: '{' is never closed"),
    ("a.edn", "{:type :ok}\n{:type :invoke ]", "a.edn:2: ']' closes '{'"),
    ("a.edn", '{:type :invoke, :value "abc', "a.edn:1: a string without an end"),
    ("a.edn", "{:type :invoke :process}", "a.edn:1: a map with a key that has no value"),
    ("a.edn", "{:type :fine}", "a.edn:1: not a history record: Invalid enum value 'fine' - at `$.type`"),
    ("a.edn", "[[1 2]]", "a.edn:1: not a history record: expected an operation map, got"),
    ("a.edn", "{:a " + "[" * 1000, "a.edn:1: nested deeper than 64 levels"),
    ("a.edn", "{:time " + "9" * 5000 + "}", "a.edn:1: a number of 5000 digits"),
    ("a.edn", b"{:type \xff}", "a.edn: not UTF-8"),
    ("a.txt", "hello", "a.txt:1: neither JSON lines, nor a JSON array, nor EDN: it begins with"),
    ("a.bin", bytes(range(256)), "neither JSON lines"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "says"), BAD)
def test_damage_is_told_with_its_place(written: Any, name: str, data: bytes | str, says: str) -> None:
    with pytest.raises(HistoryError) as error:
        _ = written(data, name).transactions
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([("invoke", 0), ("invoke", 0)], ":2: process 0 invokes again before its last operation has ended"),
        ([("ok", 0)], ":1: process 0 ends an operation that it never invoked"),
        ([("invoke", 0), ("ok", 1)], ":2: process 1 ends an operation that it never invoked"),
        ([("invoke", 0), ("ok", 0), ("ok", 0)], ":3: process 0 ends an operation that it never invoked"),
    ],
)
def test_what_no_client_does(written: Any, lines: list[tuple[str, int]], says: str) -> None:
    data = b"".join(
        msgspec.json.encode({"type": kind, "process": process, "f": "txn", "value": []}) + b"\n"
        for kind, process in lines
    )
    with pytest.raises(UnpairedError) as error:
        _ = written(data).transactions
    assert says in str(error.value)
    assert ElleListAppend().check(written(data)).status is Status.UNKNOWN


def test_indices_that_contradict_each_other(written: Any) -> None:
    twice = '{"index":1,"type":"invoke","process":0}\n{"index":1,"type":"info","process":0}\n'
    with pytest.raises(HistoryError, match=r"index 1 occurs twice \(lines 1, 2\)"):
        _ = written(twice).transactions


@pytest.mark.parametrize("name", [name for name in LISTS if name.startswith("ok-")])
def test_a_line_that_is_gone_is_never_a_pass(written: Any, name: str) -> None:
    lines = jsonl(LISTS[name]).splitlines(keepends=True)
    for gone in range(len(lines) - 1):  # a history cut off between two lines cannot be told from a whole one
        found = ElleListAppend().check(written(b"".join(lines[:gone] + lines[gone + 1 :])))
        assert found.status is not Status.PASS or gone == 0, gone


# ---------------------------------------------------------------- anything at all
@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='{}[]()#;:"\\ \n,_nil0a1.+-', max_size=60))
def test_edn_is_read_or_refused(text: str) -> None:
    try:
        list(read_edn(text))
    except EdnError as error:
        assert error.line >= 1 and str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_what_we_write_as_edn_we_read_again(value: Any) -> None:
    assert [element for _, element in read_edn(edn(value))] == [value]


@settings(max_examples=200, deadline=None)
@given(st.lists(JSON.filter(lambda value: value is not None), max_size=4))
def test_the_quick_reader_of_edn_reads_the_same_or_nothing(values: list[Any]) -> None:
    text = "\n".join(edn(value) for value in values)
    quick = as_json(text)
    if quick is not None:
        try:
            read = msgspec.json.decode(f"[{quick}]")
        except msgspec.MsgspecError:
            return
        assert read == [element for _, element in read_edn(text)]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(LISTS)), suffix=st.sampled_from(("jsonl", "edn", "json")))
def test_damaged_bytes_never_crash_and_never_pass_what_was_bad(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str, suffix: str
) -> None:
    made = records(LISTS[name])
    whole = {
        "jsonl": jsonl(LISTS[name]),
        "json": msgspec.json.encode(made),
        "edn": "\n".join(operation_edn(msgspec.convert(record, Operation)) for record in made).encode(),
    }[suffix]
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        if data.draw(st.booleans()):
            damaged[at] = data.draw(st.integers(0, 255))
        else:
            del damaged[at : at + data.draw(st.integers(1, 8))]
        if not damaged:
            break
    path = tmp_path_factory.mktemp("damaged") / f"h.{suffix}"
    path.write_bytes(bytes(damaged))
    try:
        _ = HistoryAlone(path).transactions
    except HistoryError as error:
        assert str(path) in str(error)
    else:
        found = ElleListAppend().check(HistoryAlone(path))
        assert "crashed" not in found.reason, found.reason
