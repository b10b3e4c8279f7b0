"""Flat rows: two named columns, one question and one answer; the other columns are kept beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import msgspec

from ...errors import DataError
from ...types import Example, Json, Location
from .row_values import TO_ASK, TO_LEARN, other_columns, read_text

_USUAL_PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("input_text", "output_text"),
    ("text_input", "output"), ("text", "label"), ("query", "response"), ("instruction", "response"),
)  # fmt: skip


class Columns(msgspec.Struct, frozen=True):
    """The two named columns of flat rows."""

    input: str = "input"
    output: str = "output"


def from_flat(row: Mapping[str, Json], columns: Columns, where: Location) -> Example:
    """The example of a row with the two named columns."""
    for argument, column in (("input", columns.input), ("output", columns.output)):
        if column not in row:
            _refuse_column(row, argument, column, where)
    asked = read_text(row[columns.input], columns.input, where, TO_ASK)
    answer = read_text(row[columns.output], columns.output, where, TO_LEARN)
    return Example.of(asked, answer, where=where, meta=other_columns(row, (columns.input, columns.output), where))


def _refuse_column(row: Mapping[str, Json], argument: str, column: str, where: Location) -> NoReturn:
    error = DataError.missing_column(column, row, argument=argument, file=where.file, line=where.line)
    for first, second in _USUAL_PAIRS:
        if first in row and second in row:
            error.hint = f"Did you mean input={first!r}, output={second!r}?"
            break
    raise error
