"""Small histories of transactions on lists and registers, each with the one thing it shows.

An invocation is "process steps", its end "process ok|fail|info results": steps are a:x:1 (append), w:x:1 (write) and
r:x (read), results the JSON of what each read saw, in order. `make.py` writes them to elle-*/histories/, as `moonquake
check` reads them.
"""

from __future__ import annotations

import json

import msgspec

from tests.golden.story import Record

LISTS = {
    "ok-one-after-the-other": "0 a:x:1; 0 ok; 1 r:x a:x:2 r:x; 1 ok [1] [1,2]; 0 r:x r:y; 0 ok [1,2] []",
    "ok-concurrent": "0 a:x:1 a:y:1; 1 r:x r:y; 2 r:x r:y; 1 ok [] []; 0 ok; 2 ok [1] [1]",
    "ok-failed-never-seen": "0 a:x:1; 0 fail; 1 r:x; 1 ok []; 1 a:x:2; 1 ok; 1 r:x; 1 ok [2]",
    "ok-info-seen": "0 a:x:1; 0 info; 1 r:x; 1 ok []; 1 r:x; 1 ok [1]; 2 a:x:2; 2 ok; 1 r:x; 1 ok [1,2]",
    "bad-info-half-seen": "0 a:x:1 a:y:1; 0 info; 1 r:x r:y; 1 ok [1] []",
    "ok-info-never-seen": "0 a:x:1; 0 info; 1 a:x:2; 1 ok; 1 r:x; 1 ok [2]",
    "ok-unfinished-seen": "0 a:x:1; 1 r:x; 1 ok [1]",
    "bad-garbage-read": "0 a:x:1; 0 ok; 1 r:x; 1 ok [1,7]",
    "bad-duplicate-elements": "0 a:x:1; 0 ok; 1 r:x; 1 ok [1,1]",
    "bad-incompatible-order": "0 a:x:1; 1 a:x:2; 2 r:x; 3 r:x; 2 ok [1]; 3 ok [2,1]; 0 ok; 1 ok",
    "bad-own-appends-out-of-order": "0 a:x:1 a:x:2; 0 ok; 1 r:x; 1 ok [2,1]",
    "bad-G1a": "0 a:x:1; 0 fail; 1 r:x; 1 ok [1]",
    "bad-G1b": "0 a:x:1 a:x:2; 1 r:x; 1 ok [1]; 0 ok",
    "bad-dirty-update": "0 a:x:1; 0 fail; 1 a:x:2; 1 ok; 1 r:x; 1 ok [1,2]",
    "bad-internal": "0 a:x:1; 0 ok; 1 r:x a:x:2 r:x; 1 ok [1] [1]; 1 r:x; 1 ok [1,2]",
    "bad-internal-fuzzy": "0 a:x:1; 1 r:x r:x; 1 ok [] [1]; 0 ok",
    "bad-internal-future": "0 r:x a:x:1; 0 ok [1]",
    "bad-lost-update": "0 r:x a:x:1; 1 r:x a:x:2; 0 ok []; 1 ok []; 2 r:x; 2 ok [1,2]",
    "bad-G0": "0 a:x:1 a:y:1; 1 a:x:2 a:y:2; 0 ok; 1 ok; 2 r:x r:y; 2 ok [1,2] [2,1]",
    "bad-G1c": "0 a:x:1 r:y; 1 a:y:1 r:x; 0 ok [1]; 1 ok [1]",
    "bad-G-single": "0 a:x:1 a:y:1; 1 r:x r:y; 1 ok [1] []; 0 ok; 2 r:y; 2 ok [1]",
    "bad-G-nonadjacent": (
        "0 a:x:1; 1 a:y:1; 2 r:x r:y; 3 r:x r:y; 2 ok [1] []; 3 ok [] [1]; 0 ok; 1 ok; 4 r:x r:y; 4 ok [1] [1]"
    ),
    "bad-G2-item": "0 r:x a:y:1; 1 r:y a:x:1; 0 ok []; 1 ok []; 2 r:x r:y; 2 ok [1] [1]",
    "bad-G0-realtime": "0 a:x:1; 0 ok; 1 a:x:2; 1 ok; 2 r:x; 2 ok [2,1]",
    "bad-G0-process": "0 a:x:1; 0 ok; 0 a:x:2; 0 ok; 2 r:x; 2 ok [2,1]",
    "bad-G1c-realtime": "0 r:x; 0 ok [1]; 1 a:x:1; 1 ok",
    "bad-G1c-process": "0 r:x; 0 ok [1]; 0 a:x:1; 0 ok",
    "bad-G-single-realtime": "0 a:x:1; 0 ok; 1 r:x; 1 ok []; 2 r:x; 2 ok [1]",
    "bad-G-single-process": "0 a:x:1; 0 ok; 0 r:x; 0 ok []; 1 r:x; 1 ok [1]",
    "bad-G-single-realtime-long-after": (
        "0 a:x:1; 1 a:z:1; 0 ok; 3 a:z:2; 1 ok; 2 r:x; 3 ok; 2 ok []; 0 r:x r:z; 0 ok [1] [1,2]"
    ),
    "bad-G-single-realtime-never-read": "0 a:x:1; 0 ok; 1 r:x; 1 ok []",
    "bad-G2-item-realtime": "0 r:z a:x:1; 1 a:z:1; 1 ok; 2 r:x; 2 ok []; 0 ok []; 3 r:x r:z; 3 ok [1] [1]",
    "bad-G2-item-process": "0 r:z a:x:1; 1 a:z:1; 1 ok; 1 r:x; 1 ok []; 0 ok []; 3 r:x r:z; 3 ok [1] [1]",
    "bad-G-nonadjacent-realtime": (
        "0 r:x r:z; 4 a:z:1; 1 a:x:1; 1 ok; 3 r:z; 3 ok []; 4 ok; 0 ok [] [1]; 3 r:x; 3 ok [1]"
    ),
    "bad-G-nonadjacent-process": (
        "0 r:x r:z; 4 a:z:1; 1 a:x:1; 1 ok; 1 r:z; 1 ok []; 4 ok; 0 ok [] [1]; 3 r:x; 3 ok [1]"
    ),
}

REGISTERS = {
    "ok-one-after-the-other": "0 w:x:1; 0 ok; 1 r:x w:x:2 r:x; 1 ok 1 2; 0 r:x r:y; 0 ok 2 null",
    "ok-concurrent": "0 w:x:1 w:y:1; 1 r:x r:y; 2 r:x r:y; 1 ok null null; 0 ok; 2 ok 1 1",
    "ok-failed-never-seen": "0 w:x:1; 0 fail; 1 r:x; 1 ok null; 1 w:x:2; 1 ok; 1 r:x; 1 ok 2",
    "ok-info-seen": "0 w:x:1; 0 info; 1 r:x; 1 ok null; 1 r:x; 1 ok 1; 2 w:x:2; 2 ok; 1 r:x; 1 ok 2",
    "bad-info-half-seen": "0 w:x:1 w:y:1; 0 info; 1 r:x r:y; 1 ok 1 null",
    "ok-info-never-seen": "0 w:x:1; 0 info; 1 w:x:2; 1 ok; 1 r:x; 1 ok 2",
    "bad-garbage-read": "0 w:x:1; 0 ok; 1 r:x; 1 ok 7",
    "bad-G1a": "0 w:x:1; 0 fail; 1 r:x; 1 ok 1",
    "bad-G1b": "0 w:x:1 w:x:2; 1 r:x r:y; 1 ok 1 null; 0 ok",
    "bad-dirty-update": "0 w:x:1; 0 fail; 1 r:x w:x:2; 1 ok 1",
    "bad-internal": "0 w:x:1; 0 ok; 1 w:x:2 r:x; 1 ok 1; 1 r:x; 1 ok 2",
    "bad-internal-fuzzy": "0 w:x:1; 1 r:x r:x; 1 ok null 1; 0 ok",
    "bad-internal-future": "0 r:x w:x:1; 0 ok 1",
    "bad-lost-update": "0 r:x w:x:1; 1 r:x w:x:2; 0 ok null; 1 ok null",
    "bad-cyclic-versions": "0 r:x w:x:1; 1 r:x w:x:2; 0 ok 2; 1 ok 1",
    "bad-cyclic-versions-process": "0 w:x:1; 0 ok; 0 r:x; 1 w:x:2; 0 ok 2; 1 ok; 0 r:x; 0 ok 1",
    "bad-cyclic-versions-realtime": "0 w:x:1; 0 ok; 1 w:x:2; 1 ok; 2 r:x; 2 ok 1",
    "bad-initial-value-again": "0 w:x:1; 0 ok; 1 r:x; 1 ok null",
    "bad-G0": "0 w:x:1 w:y:1; 1 w:x:2 w:y:2; 2 r:x; 3 r:y; 2 ok 1; 3 ok 2; 2 r:x; 3 r:y; 2 ok 2; 3 ok 1; 0 ok; 1 ok",
    "bad-G1c": "0 w:x:1 r:y; 1 w:y:1 r:x; 0 ok 1; 1 ok 1",
    "bad-G-single": "0 w:x:1 w:y:1; 1 r:x r:y; 1 ok 1 null; 0 ok",
    "bad-G-nonadjacent": "0 w:x:1; 1 w:y:1; 2 r:x r:y; 3 r:x r:y; 2 ok 1 null; 3 ok null 1; 0 ok; 1 ok",
    "bad-G2-item": "0 r:x w:y:1; 1 r:y w:x:1; 0 ok null; 1 ok null",
    "bad-G1c-realtime": "0 r:x; 0 ok 1; 1 w:x:1; 1 ok",
    "bad-G1c-process": "0 r:x; 0 ok 1; 0 w:x:1; 0 ok",
    "bad-G-single-realtime": "0 r:x r:y; 1 w:x:1; 1 ok; 2 w:y:1; 2 ok; 0 ok null 1",
    "bad-G2-item-realtime": "0 r:z w:x:1; 1 w:z:1; 1 ok; 2 r:x; 2 ok null; 0 ok null",
    "bad-G2-item-process": "0 r:z w:x:1; 1 w:z:1; 1 ok; 1 r:x; 1 ok null; 0 ok null",
    "bad-G-nonadjacent-realtime": "0 r:x r:z; 4 w:z:1; 1 w:x:1; 1 ok; 3 r:z; 3 ok null; 4 ok; 0 ok null 1",
    "bad-G-nonadjacent-process": "0 r:x r:z; 4 w:z:1; 1 w:x:1; 1 ok; 1 r:z; 1 ok null; 4 ok; 0 ok null 1",
    "bad-G-single-process": "0 r:x r:y; 1 w:x:1; 1 ok; 1 w:y:1; 1 ok; 0 ok null 1",
}


TEXTS = {"elle-list-append": LISTS, "elle-rw-register": REGISTERS}

# The kinds that each bad history shows, all of them.
KINDS: dict[str, dict[str, set[str]]] = {
    "elle-list-append": {
        "bad-info-half-seen": {"G-single"},
        "bad-garbage-read": {"garbage-read"},
        "bad-duplicate-elements": {"duplicate-elements"},
        "bad-incompatible-order": {"incompatible-order"},
        "bad-own-appends-out-of-order": {"G1b", "incompatible-order"},
        "bad-G1a": {"G1a"},
        "bad-G1b": {"G1b"},
        "bad-dirty-update": {"G1a", "dirty-update"},
        "bad-internal": {"internal"},
        "bad-internal-fuzzy": {"G-single", "internal"},
        "bad-internal-future": {"internal"},
        "bad-lost-update": {"G-single", "lost-update"},
        "bad-G0": {"G0"},
        "bad-G1c": {"G1c"},
        "bad-G-single": {"G-single"},
        "bad-G-nonadjacent": {"G-nonadjacent"},
        "bad-G2-item": {"G2-item"},
        "bad-G0-realtime": {"G0-realtime"},
        "bad-G0-process": {"G0-process"},
        "bad-G1c-realtime": {"G1c-realtime"},
        "bad-G1c-process": {"G1c-process"},
        "bad-G-single-realtime": {"G-single-realtime"},
        "bad-G-single-process": {"G-single-process"},
        "bad-G-single-realtime-long-after": {"G-single-realtime"},
        "bad-G-single-realtime-never-read": {"G-single-realtime"},
        "bad-G2-item-realtime": {"G2-item-realtime"},
        "bad-G2-item-process": {"G2-item-process"},
        "bad-G-nonadjacent-realtime": {"G-nonadjacent-realtime"},
        "bad-G-nonadjacent-process": {"G-nonadjacent-process"},
    },
    "elle-rw-register": {
        "bad-info-half-seen": {"G-single"},
        "bad-garbage-read": {"garbage-read"},
        "bad-G1a": {"G1a"},
        "bad-G1b": {"G-single", "G1b"},
        "bad-dirty-update": {"G1a", "dirty-update"},
        "bad-internal": {"internal"},
        "bad-internal-fuzzy": {"G-single", "internal"},
        "bad-internal-future": {"internal"},
        "bad-lost-update": {"G2-item", "lost-update"},
        "bad-cyclic-versions": {"G1c", "cyclic-versions"},
        "bad-cyclic-versions-process": {"cyclic-versions-process"},
        "bad-cyclic-versions-realtime": {"cyclic-versions-realtime"},
        "bad-initial-value-again": {"G-single-realtime", "cyclic-versions-realtime"},
        "bad-G0": {"G-single", "G0"},
        "bad-G1c": {"G1c"},
        "bad-G-single": {"G-single"},
        "bad-G-nonadjacent": {"G-nonadjacent"},
        "bad-G2-item": {"G2-item"},
        "bad-G1c-realtime": {"G1c-realtime"},
        "bad-G1c-process": {"G1c-process"},
        "bad-G-single-realtime": {"G-single-realtime"},
        "bad-G2-item-realtime": {"G2-item-realtime"},
        "bad-G2-item-process": {"G2-item-process"},
        "bad-G-nonadjacent-realtime": {"G-nonadjacent-realtime"},
        "bad-G-nonadjacent-process": {"G-nonadjacent-process"},
        "bad-G-single-process": {"G-single-process"},
    },
}


def history(checker: str, name: str) -> list[Record]:
    """The records of one of them."""
    return records(TEXTS[checker][name])


def records(text: str) -> list[Record]:
    """History records of a text; one every 5 ms."""
    found: list[Record] = []
    under_way: dict[str, list[list[object]]] = {}
    for index, line in enumerate(text.split(";")):
        process, *words = line.split()
        if words[0] in ("ok", "fail", "info"):
            kind, seen = words[0], iter(words[1:])
            value = [
                [verb, key, json.loads(next(seen)) if verb == "r" and kind == "ok" else result]
                for verb, key, result in under_way.pop(process)
            ]
        else:
            kind, value = "invoke", [_step(word) for word in words]
            under_way[process] = value
        common = {"index": index, "time": (index + 1) * 5_000_000, "process": int(process)}
        found.append(common | {"type": kind, "f": "txn", "value": value})
    return found


def _step(word: str) -> list[object]:
    verb, key, *value = word.split(":")
    return [{"a": "append"}.get(verb, verb), key, int(value[0]) if value else None]


def histories() -> dict[str, bytes]:
    """Path below this directory -> a history.jsonl."""
    return {
        f"{checker}/histories/{name}.jsonl": b"".join(msgspec.json.encode(r) + b"\n" for r in records(text))
        for checker, texts in TEXTS.items()
        for name, text in texts.items()
    }
