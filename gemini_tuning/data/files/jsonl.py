"""JSONL: one object a line.

A line that is plain is read by `fast_rows`; every other goes the general way, which has all the rules and messages.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

import msgspec

from ...types import Json
from .fast_rows import PlainReader, read_pair
from .gathering import Gathering
from .json_text import DECODER, Fault, doubled, fault_of, parse
from .lines import physical_lines
from .opening import ROW_LIMIT

__all__ = ["read_jsonl"]

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_PATIENCE = 100_000
"""Lines that may be looked at in vain for the rest of an object, in the whole file."""


def read_jsonl(blocks: Iterable[bytes], gathering: Gathering, *, spread: bool = False) -> None:
    """Reads all lines into `gathering`.

    Args:
        blocks: The bytes of the file.
        gathering: Gets the rows; the number of one is its physical line.
        spread: Whether an object may be spread over many lines, as in a `.json` file that holds objects.
    """
    general = _Lines(gathering, spread)
    plain: PlainReader | None = None
    for first, lines, content in physical_lines(blocks, blank=general.blank_block, too_long=general.too_long):
        if gathering.shape is None or general.open:
            # The first row tells the shape.
            at = 0
            while at < len(lines) and (gathering.shape is None or general.open):
                general.line(lines[at], first + at)
                at += 1
            first, lines, content = first + at, lines[at:], b"\n".join(lines[at:])
        if plain is None and PlainReader.fits(gathering):
            plain = PlainReader(gathering, general.line)
        if plain is not None:
            plain.read(first, lines, content)
        else:
            for number, line in enumerate(lines, first):
                general.line(line, number)
    general.end()


class _Lines:
    """The lines that are not plain, and the object that is spread over several of them."""

    def __init__(self, gathering: Gathering, spread: bool) -> None:
        self._to = gathering
        self._spread = spread
        self._decode = msgspec.json.Decoder().decode
        self._patience = _PATIENCE
        self._size = 0
        self._depth = 0
        self._first = 0
        # A queue and no recursion: each of the lines that are given back may begin an object again.
        self._waiting: deque[tuple[bytes, int]] = deque()
        self.open: list[str] = []
        """The lines of an object that has not ended yet."""

    def blank_block(self, number: int, count: int) -> None:
        """Very many lines of white space only."""
        self.end()
        self._to.note("blank-lines", number, count)

    def too_long(self, number: int, start: bytes) -> None:
        """A line that is larger than any row."""
        self.end()
        zeros = not start.strip(b"\0")
        self._to.refuse(
            f"the line has more than {ROW_LIMIT >> 20} MB" + (" and begins with NUL bytes" if zeros else ""), number,
            code="data-too-large", raw=lambda: start.decode("utf-8", "backslashreplace"), text=False,
            hint="one row a line: is it the right file, and does it have line feeds?",
        )  # fmt: skip

    def line(self, line: bytes, number: int) -> bool:
        """One line, the general way; whether the next belongs to the same object, perhaps."""
        if self.open:
            self._waiting.append((line, number))
            self._work()
        else:
            self._single(line, number)
        return bool(self.open)

    def _work(self) -> None:
        while self._waiting:
            line, number = self._waiting.popleft()
            if self.open:
                self._continue(line, number)
            else:
                self._single(line, number)

    def _single(self, line: bytes, number: int) -> None:
        try:
            value = self._decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if line.strip():
                self._odd(line, number)
            else:
                self._to.note("blank-lines", number)
        else:
            if not read_pair(value, line, number, self._to):
                self._row(value, line, number)

    def _row(self, value: Json, line: bytes, number: int) -> None:
        accepted = self._to.row(value, number, lambda: line.decode("utf-8").rstrip("\r"))
        if accepted and doubled(value, line):
            self._to.note("duplicate-keys", number)

    def end(self) -> None:
        """The end of the file, or of what may be one object."""
        while self.open:
            self._give_up()
            self._work()

    def _odd(self, line: bytes, number: int) -> None:
        """A line that the fast parser does not take: the slow one says what is wrong, and in which column."""
        try:
            text = line.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            self._to.not_utf8(line, number, error)
            return
        value = parse(text)
        if not isinstance(value, Fault):
            self._row(value, line, number)
        elif value.unfinished and text.lstrip()[:1] == "{" and self._patience > 0:
            self.open, self._first, self._depth, self._size = [text], number, _depth(text), len(text)
        else:
            self._refuse(value, text, number)

    def _refuse(self, fault: Fault, text: str, number: int) -> None:
        self._to.refuse(fault.what, number, code="data-json", hint=fault.hint, raw=text.__str__)

    # --- an object over several lines ---

    def _continue(self, line: bytes, number: int) -> None:
        try:
            text = line.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError:
            self._waiting.appendleft((line, number))
            self._give_up()
            return
        self.open.append(text)
        self._depth += _depth(text)
        self._size += len(text)
        count = len(self.open)
        # Parsed when it may be whole, and now and then, so that a broken object does not hold up the rest of the file.
        if self._depth > 0 and count & (count - 1) and self._size <= ROW_LIMIT:
            return
        whole = "\n".join(self.open)
        try:
            value = DECODER.decode(whole)
        except (ValueError, RecursionError) as error:
            if self._depth <= 0 or self._size > ROW_LIMIT or not fault_of(error, whole).unfinished:
                self._give_up()
            return
        self.open = []
        if self._spread:
            self._row(value, whole.encode(), self._first)
            return
        self._to.refuse(
            "one object is spread over many lines", self._first, code="data-not-one-per-line",
            hint="write each object on one line, or all of them as a JSON array into .json.", raw=whole.__str__,
        )  # fmt: skip

    def _give_up(self) -> None:
        """The object that was begun is none: its first line is broken, and each of the others stands for itself."""
        held, first = self.open, self._first
        self.open = []
        self._patience -= len(held)
        fault = parse(held[0])
        assert isinstance(fault, Fault)
        self._refuse(fault, held[0], first)
        rest = [(text.encode("utf-8"), number) for number, text in enumerate(held[1:], first + 1)]
        self._waiting.extendleft(reversed(rest))


def _depth(text: str) -> int:
    """How many brackets a line opens, those that it closes counted off; texts are left out."""
    bare = _STRING.sub("", text)
    return bare.count("{") + bare.count("[") - bare.count("}") - bare.count("]")
