"""Flat rows: two named columns, one question and one answer; the other columns are kept beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import msgspec

from ...errors import DataError
from ...types import Example, Json, Location
from .row_values import TO_ASK, TO_LEARN, check_unicode, is_missing, other_columns, read_text

_USUAL_PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("input_text", "output_text"),
    ("text_input", "output"), ("text", "label"), ("query", "response"), ("instruction", "response"),
)  # fmt: skip


class Columns(msgspec.Struct, frozen=True):
    """The two named columns of flat rows."""

    input: str = "input"
    output: str = "output"


def from_flat(row: Mapping[str, Json], columns: Columns, where: Location) -> Example:
    """The example of a row with the two named columns.

    A text in a column `system` is the system instruction, as in every other shape, unless it is one of the two; an
    empty one is none. What is no text stays beside the example like any other column.
    """
    for argument, column in (("input", columns.input), ("output", columns.output)):
        if column not in row:
            _refuse_column(row, argument, column, where)
    asked = read_text(row[columns.input], columns.input, where, TO_ASK)
    answer = read_text(row[columns.output], columns.output, where, TO_LEARN)
    used = {columns.input, columns.output}
    system = None
    if "system" in row and "system" not in used:
        given = row["system"]
        if isinstance(given, str) or is_missing(given):
            used.add("system")
        if isinstance(given, str) and given.strip():
            check_unicode(given, "system", where)
            system = given
    example = Example.of(asked, answer, where=where, meta=other_columns(row, used, where))
    return example if system is None else msgspec.structs.replace(example, system=system)


def _refuse_column(row: Mapping[str, Json], argument: str, column: str, where: Location) -> NoReturn:
    error = DataError.missing_column(column, row, argument=argument, file=where.file, line=where.line)
    for first, second in _USUAL_PAIRS:
        if first in row and second in row:
            error.hint = f"Did you mean input={first!r}, output={second!r}?"
            break
    raise error
