"""The text of a broken row as JSON values, where that needs no guess.

What is read here although strict JSON refuses it, because it can mean one thing only: a byte order mark before, after
or between values; several values, with or without commas between them; a comma after the last element of an array or
the last field of an object; a control character (a tab, say) that stands as itself inside a text. What is not: missing
or stray quotes, unquoted keys, a value that ends too early, `NaN`, one key twice.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from ...types import Json
from ..files.json_text import DECODER

_BOM = "\ufeff"
_SPACE = " \t\r\n" + _BOM
_BETWEEN = _SPACE + ","
_SAYS = {
    "trailing-comma": "the comma after the last element or field was removed",
    "raw-control": "a control character that stood as itself inside a text is written as an escape",
}


class Read(NamedTuple):
    """The values of a text, and what had to be passed over to read them, as (code, what) pairs."""

    values: list[Json]
    notes: list[tuple[str, str]]


class KeyTwice(ValueError):
    """One object has one key twice: keeping either value would lose the other in silence."""


def read_values(text: str) -> Read | None:
    """The objects that a text holds, those of arrays included; None when it cannot be read without a guess.

    Blank text has none. A number, a text or an array in an array is no row, so there None is the answer too.

    Raises:
        KeyTwice: the text is JSON otherwise.
    """
    found = _sequence(text, strict=True)
    passed: tuple[str, ...] = ()
    if found is None:
        closed = without_trailing_commas(text)
        for trial, strict, codes in (
            (closed, True, ("trailing-comma",)),
            (text, False, ("raw-control",)),
            (closed, False, ("trailing-comma", "raw-control")),
        ):
            found, passed = _sequence(trial, strict=strict), codes
            if found is not None:
                break
    if found is None:
        return None
    values, between = found
    notes = [(code, _SAYS[code]) for code in passed]
    if _BOM in between:
        notes.append(("bom", "a byte order mark (U+FEFF) beside the row was removed"))
    if any(isinstance(value, list) for value in values):
        notes.append(("array", "an array of rows became rows"))
        values = [each for value in values for each in (value if isinstance(value, list) else [value])]
    elif len(values) > 1:
        notes.append(("several-rows", f"{len(values)} rows in one became rows of their own"))
    elif "," in between:
        notes.append(("trailing-comma", "the comma beside the row was removed"))
    return Read(values, notes) if all(isinstance(value, dict) for value in values) else None


def _sequence(text: str, *, strict: bool) -> tuple[list[Json], str] | None:
    """All values of a text, and what stands before, between and after them; None when it is no such text."""
    decoder = _decoder(strict=strict)
    values: list[Json] = []
    gaps: list[str] = []
    at = 0
    while True:
        start = at
        while at < len(text) and text[at] in _BETWEEN:
            at += 1
        gaps.append(text[start:at])
        if gaps[-1].count(",") > 1:
            return None
        if at == len(text):
            return values, "".join(gaps)
        try:
            value, at = decoder.raw_decode(text, at)
        except KeyTwice:
            raise
        except (ValueError, RecursionError):
            return None
        values.append(value)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"the key {twice[:60]!r} is twice in one object, and either value may be the one meant"
        raise KeyTwice(msg)
    return found


def _decoder(*, strict: bool) -> json.JSONDecoder:
    return json.JSONDecoder(
        strict=strict, object_pairs_hook=_object, parse_constant=DECODER.parse_constant, parse_float=DECODER.parse_float
    )


def value_of(text: str) -> Json:
    """The one value of a JSON text inside a row; raises ValueError where there is any doubt."""
    try:
        return _decoder(strict=True).decode(text)
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None


def without_trailing_commas(text: str) -> str:
    """The text without commas between a value and the `}` or `]` after it; those inside texts stay.

    One pass over the characters that knows where texts begin and end. A comma after nothing (`[,]`, `{"a":,}`) stays,
    so the strict parser still refuses it.
    """
    kept: list[str] = []
    inside = False
    comma = -1  # where in `kept` a comma stands that only white space has followed
    last = ""  # the last character that was not white space, outside texts
    escaped = False
    for char in text:
        if inside:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                inside = False
                last = char
        elif char == '"':
            inside, comma = True, -1
        elif char == ",":
            comma = len(kept) if last and last not in ",:[{" else -1
            last = char
        elif char not in _SPACE:
            if char in "]}" and comma >= 0:
                kept[comma] = ""
            comma, last = -1, char
        kept.append(char)
    return "".join(kept)
