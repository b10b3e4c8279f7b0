"""Files and records in.

A format is recognised by the file's name *and* its content; where the two disagree, or a row could be read in two
ways, the file is refused with what was seen. Nothing is repaired and nothing is guessed here.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from typing import NoReturn, cast

from ..errors import DataError, PlanError
from ..types import Dataset, Example, Json, Location
from .files import FORMATS, Format, Source
from .rows import (
    Columns,
    Shape,
    check_unicode,
    plain_json,
    refuse,
    shape_of,
    to_example,
)

__all__ = ["from_records", "read", "read_with"]


def read(
    path: str | os.PathLike[str], *, format: Format | None = None, input: str = "input", output: str = "output"
) -> Dataset:
    """A file as examples.

    Reads JSONL, a JSON array of objects and CSV with the two named columns, and Gemini's own supervised lines, UTF-8
    with or without a byte order mark, each also as `.gz`.

    Args:
        path: A local file.
        format: None finds out from the name and the content. `"gemini"` is Gemini's shape, one object a line or a JSON
            array; `"jsonl"`, `"json"` and `"csv"` are the two named columns, whatever other columns there are.
        input: The column with what the model is asked.
        output: The column with the answer to learn. Numbers and booleans become their JSON text (`1`, `true`).

    Raises:
        DataError: with `.file`, `.line`, `.field` and a stable `.code`: what was expected and what was found. Empty or
            missing values are refused, not skipped; blank lines are skipped. Bytes that are not UTF-8 are refused,
            never replaced.
    """
    return read_with(path, _raise, format=format, input=input, output=output)


def _raise(error: DataError) -> NoReturn:
    raise error


def read_with(
    path: str | os.PathLike[str],
    refused: Callable[[DataError], object],
    *,
    format: Format | None,
    input: str,
    output: str,
) -> Dataset:
    """`read`, but a row that cannot be used goes to `refused`; when that returns, reading goes on with the next.

    What concerns the whole file (its encoding, its format, a missing header column) still raises.
    """
    name = os.fspath(path)
    if format is not None and format not in FORMATS:
        raise PlanError.bad_value("read", "format", format, f"one of {', '.join(map(repr, FORMATS))}, or None")
    source = Source(name, refused)
    kind = source.kind(format)
    columns = Columns(input, output)
    forced: Shape | None = None if format is None else "gemini" if format == "gemini" else "flat"
    rows = source.csv_rows(columns) if kind == "csv" else source.array() if kind == "json" else source.lines()
    dataset = Dataset(_examples(rows, columns, forced, refused), source=name)
    if not len(dataset) and not source.rows:
        raise DataError.at("the file has no rows", file=name, code="data-empty-file", hint="is it the right file?")
    return dataset


def _examples(
    rows: Iterable[tuple[Location, Json]],
    columns: Columns,
    forced: Shape | None,
    refused: Callable[[DataError], object] = _raise,
) -> Iterator[Example]:
    first: tuple[Shape, Location] | None = None
    for where, row in rows:
        try:
            shape = _shape(row, columns, forced, first, where)
            first = first or (shape, where)
            yield to_example(row, shape, columns, where)
        except DataError as error:
            refused(error)


def _shape(
    row: Json, columns: Columns, forced: Shape | None, first: tuple[Shape, Location] | None, where: Location
) -> Shape:
    """The row's shape: the one asked for, else its own, which must be that of the first row."""
    if not isinstance(row, Mapping):
        found = json.dumps(plain_json(row), ensure_ascii=False)[:80]
        refuse(where, None, f"expected an object, found {found}", "data-shape")
    if forced is None:
        own = shape_of(row, columns, where)
        if first is not None and own != first[0]:
            names = {"flat": "flat columns", "gemini": "Gemini's contents"}
            found = f"{names[own]} ({', '.join(map(repr, row))})"
            what = f"this row has {found}, while line {first[1].line} has {names[first[0]]}"
            refuse(where, None, what, "data-mixed", "one file holds one format: divide it.")
        return own
    if forced == "gemini" and "contents" not in row:
        shape_of(row, columns, where)  # a format that is known by name says so
        found = ", ".join(map(repr, row)) or "nothing"
        refuse(where, "contents", f"no 'contents'; the row has {found}", "data-column")
    if forced == "flat" and "contents" in row and columns.input not in row:
        what = f"no column {columns.input!r}, but 'contents': this is Gemini's own format"
        refuse(where, columns.input, what, "data-column", "say format='gemini', or leave format= out.")
    return forced


# --- records -------------------------------------------------------------------------------------------------------


def from_records(records: object, *, input: str = "input", output: str = "output", source: str = "records") -> Dataset:
    """Records in memory as examples.

    Takes mappings with the two named columns, mappings in Gemini's own shape, `Example`s, a `Dataset` (given back as
    it is), a pandas or polars DataFrame, a pyarrow Table, a Hugging Face dataset, and any iterable of these rows. A
    generator is consumed once. `where` is the 1-based record.

    Raises:
        DataError: as `read` does.
        PlanError: for something that is not records: a text or a path (use `read`), a dictionary of columns.
    """
    if isinstance(records, Dataset):
        return records
    columns = Columns(input, output)
    examples: list[Example] = []
    rows: list[tuple[Location, Json]] = []
    for number, row in enumerate(_iterate(records), 1):
        if isinstance(row, Example):
            if rows:
                _mixed(number)
            examples.append(_checked(row))
        else:
            if examples:
                _mixed(number)
            rows.append((Location(line=number), row))
    return Dataset(examples or _examples(rows, columns, None), source=source)


def _mixed(number: int) -> NoReturn:
    raise DataError.at("Examples and other rows are mixed", line=number, code="data-mixed")


def _checked(example: Example) -> Example:
    """An example that was made in memory, with text that can be uploaded."""
    for turn in example.turns:
        check_unicode(turn.text, "turns", example.where)
    return example


def _iterate(records: object) -> Iterable[object]:
    """The rows of whatever holds rows; by what it can do, so that no data frame library is imported."""
    hint = ""
    if isinstance(records, str | bytes | os.PathLike):
        hint = "for a file use read(path), or TuningProject.from_file(path)."
    elif isinstance(records, Mapping):
        inner = next(iter(records.values()), None)
        if hasattr(inner, "column_names") or hasattr(inner, "to_dict"):
            hint = f"choose one of them: records[{next(iter(records))!r}]."
        else:
            hint = "one row is [row]; a dictionary of columns is pandas.DataFrame(columns)."
    elif isinstance(records, AsyncIterable):
        hint = "collect it first: [row async for row in records]."
    elif hasattr(records, "collect") and not isinstance(records, Iterable):
        hint = "a lazy frame must be collected first: records.collect()."
    elif not (isinstance(records, Iterable) or hasattr(records, "to_pylist") or hasattr(records, "to_dicts")):
        hint = "pass a list of dictionaries, a DataFrame or a data set."
    if hint:
        shown = records if isinstance(records, str | bytes) else type(records).__name__
        raise PlanError.bad_value("from_records", "records", shown, "records", hint=hint)
    for method in ("to_pylist", "to_dicts"):  # pyarrow, polars
        convert = getattr(records, method, None)
        if callable(convert):
            return cast(Iterable[object], convert())
    to_dict = getattr(records, "to_dict", None)
    if callable(to_dict) and hasattr(records, "iloc"):  # pandas
        if not hasattr(records, "columns"):
            raise PlanError.bad_value(
                "from_records", "records", type(records).__name__, "rows with named columns", hint="use .to_frame()."
            )
        return cast(Iterable[object], to_dict("records"))
    return cast(Iterable[object], records)
