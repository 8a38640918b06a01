"""Small histories of registers, each with the one thing it shows. `make.py` writes them to linearizable/histories/.

A line is "process f value" for an invocation and "process ok|fail|info [value]" for its end; values are JSON.
"""

from __future__ import annotations

import json

from tests.golden.story import Record

TEXTS = {
    "ok-one-after-the-other": "0 write 1; 0 ok; 1 read null; 1 ok 1; 0 cas [1,2]; 0 ok; 1 read null; 1 ok 2",
    "ok-reads-during-a-write": "0 write 1; 1 read null; 2 read null; 1 ok null; 2 ok 1; 3 read null; 0 ok; 3 ok 1",
    "ok-info-write-seen-later": "0 write 1; 0 info; 1 read null; 1 ok null; 1 write 2; 1 ok; 1 read null; 1 ok 1",
    "ok-info-write-never-seen": "0 write 1; 0 info; 1 write 2; 1 ok; 1 read null; 1 ok 2; 1 read null; 1 ok 2",
    "ok-unfinished-write-seen": "0 write 1; 1 read null; 1 ok null; 1 read null; 1 ok 1",
    "ok-failed-write-not-seen": "0 write 1; 0 fail; 1 read null; 1 ok null; 1 cas [7,8]; 1 fail",
    "ok-same-value-twice": "0 write 1; 0 ok; 1 write 2; 1 ok; 0 write 1; 0 ok; 1 read null; 1 ok 1; 0 cas [1,1]; 0 ok",
    "ok-keys-are-independent": (
        '0 write ["x",1]; 0 ok; 1 write ["y",2]; 1 ok; 0 read ["x",null]; 0 ok ["x",1]; 1 read ["z",null];'
        ' 1 ok ["z",null]; 0 cas ["y",[2,3]]; 0 ok; 1 read ["y",null]; 1 ok ["y",3]'
    ),
    "ok-only-one-order-fits": (
        "0 write 1; 1 write 2; 2 cas [1,3]; 3 read null; 3 ok 3; 0 ok; 1 ok; 2 ok; 3 read null; 3 ok 3; 0 write 1; 0 ok"
    ),
    "ok-true-is-not-one": "0 write 1; 0 ok; 0 write true; 0 ok; 0 read null; 0 ok true; 0 write 1.0; 0 ok",
    "bad-stale-read": "0 write 1; 0 ok; 0 write 2; 0 ok; 1 read null; 1 ok 1",
    "bad-lost-write": "0 write 1; 0 ok; 0 read null; 0 ok 1; 1 write 2; 1 ok; 0 read null; 0 ok 1; 1 read null; 1 ok 1",
    "bad-initial-value-after-write": "0 write 1; 0 ok; 1 read null; 1 ok null",
    "bad-unwritten-read": "0 write 1; 0 ok; 1 read null; 1 ok 7",
    "bad-failed-write-seen": "0 write 1; 0 ok; 0 write 2; 0 fail; 1 read null; 1 ok 2",
    "bad-seen-before-it-began": "1 read null; 1 ok 1; 0 write 1; 0 ok",
    "bad-back-in-time": "0 write 1; 0 ok; 0 write 2; 1 read null; 1 ok 2; 2 read null; 2 ok 1; 0 ok",
    "bad-info-write-undone": "0 write 1; 0 ok; 2 write 2; 2 info; 1 read null; 1 ok 2; 1 read null; 1 ok 1",
    "bad-cas-twice": "0 write 1; 0 ok; 0 cas [1,2]; 1 cas [1,3]; 0 ok; 1 ok",
    "bad-cas-of-another-value": "0 write 1; 0 ok; 1 write 2; 1 ok; 0 cas [1,3]; 0 ok",
    "bad-cas-without-effect": "0 write 1; 0 ok; 0 cas [1,2]; 0 ok; 1 read null; 1 ok 1; 0 write 1; 0 ok",
    "bad-true-is-not-one": "0 write true; 0 ok; 0 write 1; 0 ok; 1 read null; 1 ok true",
    "bad-one-key-of-two": (
        '0 write ["x",1]; 1 write ["y",1]; 0 ok; 1 ok; 0 write ["x",2]; 0 ok; 1 read ["y",null]; 1 ok ["y",1];'
        ' 1 read ["x",null]; 1 ok ["x",1]'
    ),
    "bad-two-readers-disagree": (
        "0 write 1; 1 write 2; 2 read null; 3 read null; 2 ok 1; 3 ok 2; 2 read null; 3 read null; 2 ok 2; 3 ok 1;"
        " 0 ok; 1 ok"
    ),
}


def history(name: str) -> list[Record]:
    """The records of one of them."""
    return records(TEXTS[name])


def records(text: str) -> list[Record]:
    """History records of a text; one every 5 ms."""
    found: list[Record] = []
    under_way: dict[str, Record] = {}
    for index, line in enumerate(text.split(";")):
        process, word, *rest = line.split()
        value = json.loads(" ".join(rest)) if rest else None
        common = {"index": index, "time": (index + 1) * 5_000_000, "process": int(process)}
        if word in ("ok", "fail", "info"):
            invoked = under_way.pop(process)
            record = common | {"type": word, "f": invoked["f"], "value": value if rest else invoked["value"]}
        else:
            record = under_way[process] = common | {"type": "invoke", "f": word, "value": value}
        found.append(record)
    return found
