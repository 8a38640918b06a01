"""Reading EDN, the notation of Jepsen's histories: a bounded reader of the whole grammar but for characters' exotica.

Keywords and symbols become strings without their colon, nil None, lists, vectors and sets lists, maps dicts; a tagged
element is its element (`#jepsen.history.Op{...}` is the map). Discards (`#_`) and comments are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MOST_DEPTH = 64
_TOKEN = re.compile(
    r"""(?P<space>[\s,]+|;[^\n]*)|(?P<open>\#\{|[\[({])|(?P<close>[\])}])|(?P<discard>\#_)
    |(?P<string>"(?:[^"\\]|\\.)*")|(?P<char>\\(?:newline|return|space|tab|u[0-9A-Fa-f]{4}|\S))
    |(?P<tag>\#[A-Za-z][^\s,;"\[\](){}]*)|(?P<atom>[^\s,;"\[\](){}\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)N?")
_FLOAT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\"}
_CHARACTERS = {"newline": "\n", "return": "\r", "space": " ", "tab": "\t"}
_WORDS: dict[str, Any] = {"nil": None, "true": True, "false": False}
_CLOSERS = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_MOST_DIGITS = 100


class EdnError(ValueError):
    """Text that is not EDN; `line` is where."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_edn(text: str, line: int = 1) -> Iterator[tuple[int, Any]]:
    """(line, value) of each top-level element; `line` is the number of the text's first. Raises EdnError."""
    # One frame per open collection: (opening token, its items, the line it opened in).
    stack: list[tuple[str, list[Any], int]] = []
    discards: list[int] = []  # depths at which the next element is to be dropped
    position, size, pending_tag = 0, len(text), False
    while position < size:
        match = _TOKEN.match(text, position)
        if match is None:
            what = "a string without an end" if text[position] == '"' else f"{text[position : position + 12]!r}"
            raise EdnError(line, f"{what} is not EDN")
        kind, token, start = match.lastgroup, match.group(), line
        position = match.end()
        if kind == "space":
            line += token.count("\n")
            continue
        if kind == "tag":
            pending_tag = True
            continue
        if kind == "discard":
            discards.append(len(stack))
            continue
        if kind == "open":
            if len(stack) >= MOST_DEPTH:
                raise EdnError(line, f"nested deeper than {MOST_DEPTH} levels")
            stack.append((token, [], line))
            pending_tag = False
            continue
        if kind == "close":
            value, start = _closed(stack, token, line, pending_tag or discards[-1:] == [len(stack)])
        else:
            value = _atom(str(kind), token, line)
            line += token.count("\n")
        pending_tag = False
        if discards and discards[-1] == len(stack):
            discards.pop()
        elif stack:
            stack[-1][1].append(value)
        else:
            yield start, value
    if stack:
        raise EdnError(stack[-1][2], f"truncated: {stack[-1][0]!r} is never closed")
    if pending_tag or discards:
        raise EdnError(line, "truncated: a tag or #_ without its element")


def _closed(stack: list[tuple[str, list[Any], int]], token: str, line: int, waits: bool) -> tuple[Any, int]:
    """The collection that `token` ends, and the line it began in."""
    if not stack or _CLOSERS[stack[-1][0]] != token:
        raise EdnError(line, f"{token!r} closes nothing" if not stack else f"{token!r} closes {stack[-1][0]!r}")
    if waits:
        raise EdnError(line, "a tag or #_ without its element")
    opening, items, began = stack.pop()
    if opening != "{":
        return items, began
    if len(items) % 2:
        raise EdnError(line, "a map with a key that has no value")
    try:
        return dict(zip(items[::2], items[1::2], strict=True)), began
    except TypeError:  # a collection as key: JSON has no such thing, so keep the pairs
        return [[key, value] for key, value in zip(items[::2], items[1::2], strict=True)], began


def _atom(kind: str, token: str, line: int) -> Any:
    if kind == "string":
        return _ESCAPE.sub(lambda match: _unescaped(match.group(1), line), token[1:-1])
    if kind == "char":
        name = token[1:]
        return chr(int(name[1:], 16)) if len(name) == 5 and name[0] == "u" else _CHARACTERS.get(name, name)
    if token[0] == ":" and len(token) > 1:
        return token[1:]
    if token in _WORDS:
        return _WORDS[token]
    if _INTEGER.fullmatch(token):
        if len(token) > _MOST_DIGITS:
            raise EdnError(line, f"a number of {len(token)} digits")
        return int(token.removesuffix("N"))
    if _FLOAT.fullmatch(token):
        return float(token.removesuffix("M"))
    if token == ":" or token[0] == "#" or token.lstrip("+-")[:1].isdigit():
        raise EdnError(line, f"{token[:20]!r} is not EDN")
    return token


def _unescaped(name: str, line: int) -> str:
    if name[0] == "u" and len(name) == 5:
        return chr(int(name[1:], 16))
    if name not in _ESCAPES:
        raise EdnError(line, f"\\{name} is no escape of an EDN string")
    return _ESCAPES[name]


_FIRST_KEY = re.compile(r"\{:([\w.*+!?<>=/-]+) ")
_NEXT_KEY = re.compile(r", :([\w.*+!?<>=/-]+) ")
_KEYWORD = re.compile(r":([A-Za-z][\w.*+!?<>=/-]*)")
_UNUSUAL = re.compile(r'["\\\\#;()\t\r]')


def as_json(text: str) -> str | None:
    """Text that Clojure printed, as JSON elements separated by commas, or None if it is not of the plainest kind.

    Plain: one space between elements, a comma before it in maps only; no strings, tags, sets or comments. What comes
    out of other text is no JSON, or the same data as `read_edn` yields.
    """
    text = text.strip()
    nils = sum(text.count(f" nil{after}") for after in "],} ")
    if _UNUSUAL.search(text) or text.count("nil") != nils:
        return None
    text = _NEXT_KEY.sub(r',"\1":', _FIRST_KEY.sub(r'{"\1":', text))
    return _KEYWORD.sub(r'"\1"', text).replace(" ", ",").replace("\n", ",").replace("nil", "null")
