"""A JSON array of rows, record by record: a file of any size in the memory of its examples."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator

from ...errors import DataError
from .gathering import NOT_UTF8, Gathering
from .json_text import DECODER, doubled, unfit
from .opening import ROW_LIMIT

__all__ = ["read_array"]

_SPACE = re.compile(r"[ \t\n\r]*")
_OPENING = re.compile(r'\{\s*"[^"\n]*"\s*:')
_TAIL = re.compile(r"(?P<record>\})\s*,?\s*\]\s*\Z")
_SURROGATE = re.compile("[\udc80-\udcff]")


_PIECE = 1 << 16
"""Bytes that are taken into the text at once: Python's decoder counts the lines of the whole text at every fault."""


class _Text:
    """A text that is read on as far as it is needed. `at` is the place, `line` the physical line there."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks: Iterator[bytes] = (
            block[at : at + _PIECE] for block in blocks for at in range(0, len(block), _PIECE)
        )
        # Bytes that are not UTF-8 become lone surrogates, which valid UTF-8 never gives: the record tells.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text = ""
        self.at = 0
        self.line = 1
        self.ended = False
        self.damaged = False

    def more(self) -> bool:
        """Drops what was read and reads on, so that the rest is at least twice as long; False at the end."""
        if self.ended:
            return False
        parts = [self.text[self.at :]]
        wanted = len(parts[0])
        while wanted >= 0 and not self.ended:
            block = next(self._blocks, None)
            self.ended = block is None
            part = self._decoder.decode(block or b"", self.ended)
            if not part.isascii():
                self.damaged = self.damaged or _SURROGATE.search(part) is not None
            parts.append(part)
            wanted -= len(part) or (1 if self.ended else 0)
        self.text, self.at = "".join(parts), 0
        return True

    def go(self, to: int) -> None:
        """Moves on, counting lines."""
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def skip_space(self) -> str:
        """Passes white space over and gives the next character, or "" at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.go(match.end() if match else self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""


def read_array(blocks: Iterable[bytes], gathering: Gathering, *, lines: bool = False) -> None:
    """Reads all records into `gathering`; the number of a record is its place in the array.

    A record that is no JSON is passed over up to the next place that begins as the first record did.

    Args:
        blocks: The bytes of the file, which begin with `[`.
        gathering: Gets the records.
        lines: Whether the number of a record is the physical line on which it starts.
    """
    text = _Text(blocks)
    text.skip_space()
    text.go(text.at + 1)
    opening = ""
    count = 0
    after = text.skip_space()
    while after not in ("]", ""):
        count += 1
        opening = opening or _opening(text)
        fine = _record(text, text.line if lines else count, gathering, opening)
        after = text.skip_space()
        if after == ",":
            text.go(text.at + 1)
            after = text.skip_space()
            if after == "]" and fine:
                gathering.refuse_file("there is a comma after the last record", text.line, "leave the comma out.")
        elif after not in ("]", "") and fine:
            hint = "is it one object a line? Then name the file .jsonl."
            gathering.refuse_file("there is no comma between two records", text.line, hint)
    if not after:
        gathering.refuse_file("the array does not end: the file is cut off", text.line, "copy it again.")
        return
    text.go(text.at + 1)
    if text.skip_space():
        gathering.refuse_file("there is more after the end of the array", text.line, "one file holds one array.")


def _opening(text: _Text) -> str:
    match = _OPENING.match(text.text, text.at)
    return match.group() if match else ""


def _record(text: _Text, number: int, gathering: Gathering, opening: str) -> bool:
    """Reads one record and moves behind it; whether it was JSON."""
    while True:
        try:
            value, end = DECODER.raw_decode(text.text, text.at)
        except (ValueError, RecursionError) as error:
            if _may_be_cut(error, len(text.text)) and _grow(text, gathering):
                continue
            _pass_over(text, number, gathering, opening, error)
            return False
        if end < len(text.text) or not text.more():
            break  # else a number may go on
    record = text.text[text.at : end]
    if text.damaged and (bad := _SURROGATE.search(record)):
        line = text.line + record.count("\n", 0, bad.start())
        readable = record.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        gathering.refuse(
            f"byte 0x{ord(bad.group()) - 0xDC00:02x} on line {line} of the file is not UTF-8", number,
            code="data-encoding", hint=NOT_UTF8, raw=readable.__str__, text=False,
        )  # fmt: skip
    elif gathering.row(value, number, record.__str__) and doubled(value, record.encode()):
        gathering.note("duplicate-keys", number)
    text.go(end)
    return True


def _may_be_cut(error: ValueError | RecursionError, length: int) -> bool:
    """Whether the fault may only be that the rest of the record has not been read yet."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos > length - 16


def _grow(text: _Text, gathering: Gathering) -> bool:
    """Reads on within one record; False at the end of the file."""
    if len(text.text) - text.at > ROW_LIMIT:
        what = f"one record has more than {ROW_LIMIT >> 20} MB"
        raise DataError.at(
            what, file=gathering.name, line=text.line, code="data-too-large", hint="is it an object around all rows?"
        )
    return text.more()


def _pass_over(
    text: _Text, number: int, gathering: Gathering, opening: str, error: ValueError | RecursionError
) -> None:
    """A record that is no JSON, up to where the next one begins."""
    if isinstance(error, json.JSONDecodeError):
        line = text.line + text.text.count("\n", text.at, error.pos)
        at = error.pos - text.at + 1
        what = f"{error.msg.removesuffix(' at')} on line {line} of the file, at character {at:,} of the record"
        hint = "each record must be one whole JSON object."
    else:
        what, hint, *_ = unfit(error)
    # Behind a bracket and a comma, or on a line of its own: objects inside a record may begin alike.
    following = re.compile(rf"(?:\}}\s*,|\n)\s*(?={re.escape(opening)})") if opening else None
    while True:
        found = following.search(text.text, text.at) if following else None
        if found is not None or not _grow(text, gathering):
            break
    found = found or _TAIL.search(text.text, text.at)
    end = found.end("record" if "record" in found.groupdict() else 0) if found else len(text.text)
    raw = text.text[text.at : end].rstrip().removesuffix(",")
    damaged = bool(_SURROGATE.search(raw))
    if damaged:
        raw = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    gathering.refuse(what, number, code="data-json", hint=hint, raw=raw.__str__, text=not damaged)
    text.go(end)
