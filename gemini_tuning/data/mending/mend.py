"""One broken row made whole, where there is only one thing that it can mean.

What is never done: a label, an answer, a case or a space is not changed; a missing quote, key, turn or end of a line is
not invented. A row that needs one of these is refused with the reason, and stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ...errors import DataError
from ...types import Broken, Example, Json, Location
from ..files.gathering import text_of_value, without_place
from ..formats.rows import SHAPE_NAMES, Columns, Shape, shape_of, to_example
from .mend_json import KeyTwice, read_values
from .mend_row import Note, mend_row
from .report import Change

__all__ = ["Mended", "Outcome", "Piece", "fixable", "mend", "outcome"]

_WHOLE = {
    "data-mixed": ("format", "a row of another format ({shape}) than the rest was read by itself"),
    "data-column": ("format", "a row of another format ({shape}) than was asked for was read by itself"),
    "data-json-array": ("array", "a row of a JSON array is a row of its own"),
    "data-encoding": ("encoding", "the row is UTF-8: its file was UTF-16 or UTF-32"),
    "data-not-one-per-line": ("many-lines", "an object over many lines is one row"),
}
"""Codes of rows that may be whole by themselves: what is wrong is the file around them, or how they stand in it. Each
with the code of the change and what it says."""

_SPACE = " \t\r\n\ufeff"
TOO_LONG, NOTHING_LEFT = "too-long", "nothing-left"
KEPT_CODES = frozenset({TOO_LONG, NOTHING_LEFT})
"""Codes that `repair` gives to whole rows which it refuses. Such a row reads as it stands, and that is no change."""


class Mended(NamedTuple):
    """The examples of a broken row, and every change that made it whole. A blank row has no example."""

    examples: tuple[Example, ...]
    changes: tuple[Change, ...]


class Piece(NamedTuple):
    """One example out of a broken row: the row it was, and what was changed in it."""

    broken: Broken
    example: Example
    changes: tuple[Change, ...]


class Outcome(NamedTuple):
    """What became of one broken row, which may hold several: each is whole, blank or refused.

    `changes` has what concerns all of them. A row that is refused is as it was, with the reason found now.
    """

    changes: tuple[Change, ...] = ()
    whole: tuple[Piece, ...] = ()
    blank: tuple[Change, ...] = ()
    refused: tuple[Broken, ...] = ()


def mend(broken: Broken, *, columns: Columns | None = None) -> Mended | None:
    """The row made whole, with every change; None when any part of it would need a guess.

    Args:
        broken: A row that reading kept aside.
        columns: The two named columns of flat rows.
    """
    found = outcome(broken, columns or Columns())
    if found.refused:
        return None
    changes = (*found.changes, *(change for each in found.whole for change in each.changes), *found.blank)
    return Mended(tuple(each.example for each in found.whole), changes)


def fixable(broken: Broken, columns: Columns | None = None) -> bool:
    """Whether `repair` makes this row whole (or drops it as blank) without a guess."""
    return mend(broken, columns=columns) is not None


def outcome(broken: Broken, columns: Columns) -> Outcome:
    """What becomes of a broken row."""
    refused = Outcome(refused=(broken,))
    # A line of CSV is no JSON, even where it looks like it; and bytes without a decoding are nothing to work on.
    separated = broken.code == "data-csv"
    if not broken.text or (separated and broken.raw.strip(_SPACE + ',;"')):
        return refused
    if separated or not broken.raw.strip(_SPACE):
        return Outcome(blank=(_blank(broken),))
    try:
        read = read_values(broken.raw)
    except KeyTwice as error:
        return Outcome(refused=(msgspec.structs.replace(broken, message=str(error), hint="remove one of the two."),))
    if read is None:
        return refused
    if not read.values:
        return Outcome(blank=(_blank(broken),))
    notes = tuple(Change.of(code, what, broken.where, before=broken.raw) for code, what in read.notes)
    if len(read.values) == 1:
        found = _value(read.values[0], broken, columns, mended=bool(notes))
        return found._replace(whole=tuple(each._replace(changes=(*notes, *each.changes)) for each in found.whole))
    texts = [text_of_value(value) for value in read.values]
    if not all(texts):
        return refused  # nested too deeply to be written
    parts = [
        _value(value, msgspec.structs.replace(broken, raw=text), columns, mended=True)
        for value, text in zip(read.values, texts, strict=True)
    ]
    if not any(part.whole for part in parts) and any(part.refused for part in parts):
        return refused  # divided it would be no better
    return Outcome(
        notes,
        tuple(each for part in parts for each in part.whole),
        tuple(each for part in parts for each in part.blank),
        tuple(each for part in parts for each in part.refused),
    )


def _value(row: dict[str, Json], broken: Broken, columns: Columns, *, mended: bool) -> Outcome:
    """What becomes of one object. `mended`: its text was no plain row, so that it may be whole as it is."""
    if not _says_anything(row):
        return Outcome(blank=(_blank(broken),))
    notes: list[Note] = []
    try:
        if mended or broken.code in _WHOLE or broken.code in KEPT_CODES:
            try:
                return _whole(row, broken, columns, (), mended=mended)
            except DataError:
                pass
        return _whole(mend_row(row, columns, notes), broken, columns, notes, mended=mended)
    except DataError as error:
        return Outcome(refused=(_refused(broken, error),))
    except RecursionError:
        return Outcome(refused=(broken,))


def _whole(row: dict[str, Json], broken: Broken, columns: Columns, notes: Iterable[Note], *, mended: bool) -> Outcome:
    """The example of an object; raises DataError with what is still wrong."""
    # What `repair` itself set aside is Gemini's own form, whatever other columns it has.
    own = broken.code in KEPT_CODES and "contents" in row
    shape: Shape = "gemini" if own else shape_of(row, columns, broken.where)
    example = to_example(row, shape, columns, broken.where)
    changes = [note.change(broken.where) for note in notes]
    if broken.code in _WHOLE:
        code, what = _WHOLE[broken.code]
        what = what.format(shape=SHAPE_NAMES[shape])
        changes.insert(0, Change.of(code, what, broken.where, before=broken.raw))
    elif not changes and not mended and broken.code not in KEPT_CODES:
        # Reading refused it for a reason that is not known here, and nothing was mended: it stays refused.
        return Outcome(refused=(broken,))
    return Outcome(whole=(Piece(broken, example, tuple(changes)),))


def _refused(broken: Broken, error: DataError) -> Broken:
    """The row as it was, with what still is wrong with it when all that is safe is done."""
    where = Location(broken.where.file, broken.where.line, error.field)
    return msgspec.structs.replace(broken, where=where, code=error.code, message=without_place(error), hint=error.hint)


def _blank(broken: Broken) -> Change:
    return Change.of("blank", "a row without any text was dropped", broken.where, before=broken.raw)


def _says_anything(value: Json) -> bool:
    """Whether there is any text, number or truth value in it; a row of empty cells says nothing."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, list):
            todo += each
        elif each is not None and not (isinstance(each, str) and not each.strip(_SPACE)):
            return True
    return False
