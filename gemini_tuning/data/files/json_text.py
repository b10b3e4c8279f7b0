"""JSON as strict as the service: no NaN, no infinite number, no key twice unnoticed; with the reason when it fails."""

from __future__ import annotations

import json
from typing import NamedTuple, NoReturn

import msgspec

from ...types import Json


class Fault(NamedTuple):
    """Why a text is no JSON value. `unfinished`: it may be the beginning of one."""

    what: str
    hint: str = ""
    unfinished: bool = False
    line: int = 1


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        msg = f"the number {text[:20]} is too large"
        raise ValueError(msg)
    return value


DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def parse(text: str) -> Json | Fault:
    """The value of a text that holds exactly one, or why it does not."""
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        return fault_of(error, text)


def fault_of(error: ValueError | RecursionError, text: str) -> Fault:
    """The reason of a decoder's error, in words."""
    if not isinstance(error, json.JSONDecodeError):
        return unfit(error)
    what = f"{error.msg.removesuffix(' at')} at column {error.colno}"
    unfinished = error.pos >= len(text.rstrip())
    if text.startswith("\ufeff"):
        return Fault("the line begins with a byte order mark", "files were joined: remove the mark (U+FEFF).")
    if "\0" in text:
        return Fault("it has NUL bytes", "the file was not written to its end, or is no text: copy it again.")
    if error.msg == "Extra data":
        if "\r" in text.strip("\r"):
            hint = "the lines end with a carriage return alone: save the file with line feeds."
            return Fault("the file has two values on one line", hint)
        return Fault(what, "there are two values on one line: put each on a line of its own.")
    hint = "each line must be one whole JSON object."
    if unfinished:
        hint = "the line ends before its object does: was it cut off, or is one object spread over many lines?"
    return Fault(what, hint, unfinished, error.lineno)


def unfit(error: ValueError | RecursionError) -> Fault:
    """The same for what has the form of JSON, and a value that cannot be."""
    if isinstance(error, RecursionError):
        return Fault("it is nested too deeply", "no model takes that: is it the right file?")
    what = str(error)
    if "integer string conversion" in what:
        what = "it has a number of more than 4,300 digits"
    return Fault(what, "write it as a text, or leave it out.")


def structural_quotes(text: bytes, *, numpy: bool = False) -> int:
    """The quotes of a JSON text that begin and end its strings: those of its texts do not count.

    `numpy` counts five times as fast, after its import, which takes a tenth of a second.
    """
    escaped = 0
    if b"\\" in text:
        text = text.replace(b"\\\\", b"")
        escaped = text.count(b'\\"')
    if not numpy:
        return text.count(b'"') - escaped
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"'))) - escaped


def doubled(value: Json, text: bytes) -> bool:
    """Whether some object of a JSON text has a key twice, so that its first value is not in the decoded `value`."""
    try:
        # A key that was lost takes at least two quotes with it. Nearly every row is done with here.
        if structural_quotes(text) == structural_quotes(msgspec.json.encode(value)):
            return False
    except (UnicodeEncodeError, RecursionError):
        pass
    return has_double_key(text)


def has_double_key(text: bytes) -> bool:
    """The same without the value, slowly."""
    found: list[bool] = []

    def pairs(items: list[tuple[str, Json]]) -> None:
        found.append(len(dict(items)) != len(items))

    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return False
    return any(found)
