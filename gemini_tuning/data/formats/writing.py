"""Files out: what the service reads, what OpenAI reads, and flat rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, get_args

import msgspec

from ...errors import ConfigError, DataError, PlanError
from ...ledger import open_atomic
from ...types import Dataset, Example, Json, Location
from .openai_lines import to_openai
from .rows import Columns, refuse, shape_of, to_gemini

if TYPE_CHECKING:
    import pandas

__all__ = ["OutFormat", "gemini_lines", "to_dataframe", "write"]

OutFormat = Literal["gemini", "openai", "jsonl", "csv", "tsv"]
_FORMATS: tuple[OutFormat, ...] = get_args(OutFormat)
_OWN = ("input", "output")


def write(dataset: Dataset, path: str | os.PathLike[str], *, format: OutFormat = "gemini") -> Path:
    """Writes the examples as a file that appears whole or not at all, and returns its path; `.gz` compresses.

    Equal examples give equal bytes, and one example is held in memory at a time. Reading the file again gives the same
    examples.

    Args:
        dataset: The examples.
        path: A local file; one that is there is replaced.
        format: `"gemini"` is what the service reads: turns, system instruction, tools, completions, references; other
            columns are left out. `"openai"` is OpenAI's chat, with tools, calls and preference pairs; other columns are
            left out. `"jsonl"`, `"csv"` and `"tsv"` are flat: `input` (the user's own text, without the instance
            instruction), `output` and the other columns. In `"csv"` and `"tsv"` all columns become texts: what is no
            text is written as its JSON, a missing value as nothing.

    Raises:
        DataError: for a text without a UTF-8 form, an example that the format has no place for, or a data set with
            broken rows, which would be left out.
        PlanError: for a format that the ending of the name contradicts.
    """
    if format not in _FORMATS:
        raise PlanError.bad_value("write", "format", format, f"one of {', '.join(map(repr, _FORMATS))}")
    target = Path(path)
    _check_ending(target, format)
    if dataset.broken:
        first = dataset.broken[0]
        msg = f"{first.message}; {len(dataset.broken):,} broken rows would be left out"
        raise DataError.at(
            msg, file=first.where.file,
            line=first.where.line, field=first.where.field, code=first.code,
            hint="mend or drop them: repair(dataset, unfixable='drop').",
        )  # fmt: skip
    with open_atomic(target) as file:
        if not target.name.lower().endswith(".gz"):
            file.writelines(_lines(dataset, format))
        else:
            # Without a name and a time in it, equal data give equal files.
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                packed.writelines(_lines(dataset, format))
    return target


_LINES = ("gemini", "openai", "jsonl")
_ENDINGS = {
    ".csv": ("csv",), ".tsv": ("tsv",), ".jsonl": _LINES, ".ndjson": _LINES, ".json": _LINES,
    ".xlsx": (), ".parquet": (),
}  # fmt: skip


def _check_ending(path: Path, format: str) -> None:
    name = path.name.lower().removesuffix(".gz")
    ending = Path(name).suffix
    fits = _ENDINGS.get(ending, _FORMATS)
    if format not in fits:
        expected = f"one of {', '.join(map(repr, fits))} for {ending}" if fits else f"another ending than {ending}"
        raise PlanError.bad_value("write", "format", format, expected, hint="Gemini's files end in .jsonl.")


def gemini_lines(dataset: Iterable[Example]) -> bytes:
    """The tuning file as bytes, exactly what is uploaded: UTF-8, one example a line, each ended with "\\n"."""
    return b"".join(_encode(to_gemini(example), example.where) for example in dataset)


def _lines(dataset: Dataset, format: OutFormat) -> Iterator[bytes]:
    if format in ("csv", "tsv"):
        return _cells(dataset, "," if format == "csv" else "\t")
    to_row = {"gemini": to_gemini, "openai": to_openai, "jsonl": _flat}[format]
    return (_encode(to_row(example), example.where) for example in dataset)


def _encode(row: Mapping[str, Json], where: Location) -> bytes:
    try:
        return msgspec.json.encode(row) + b"\n"
    except UnicodeEncodeError as error:
        _refuse_surrogate(error, where)


def _refuse_surrogate(error: UnicodeEncodeError, where: Location) -> NoReturn:
    msg = f"half of a surrogate pair ({error.object[error.start]!r}) has no UTF-8 form"
    raise DataError.at(msg, file=where.file, line=where.line, code="data-encoding") from error


# --- flat rows -----------------------------------------------------------------------------------------------------


def _flat(example: Example) -> dict[str, Json]:
    """The flat row, or DataError for an example that says more than a question and its answer."""
    more = _more_than_a_pair(example)
    if more:
        refuse(example.where, None, f"{more} has no flat row", "data-shape", "use format='gemini'.")
    for name in (*_OWN, "system"):  # the last would be read as the system instruction
        if name in example.meta:
            what = f"a column is named {name!r} already"
            refuse(example.where, name, what, "data-column", "rename that column before writing.")
    row = {**dict.fromkeys(_OWN), **example.to_record()}
    if shape_of(row, Columns(), example.where) != "flat":
        what = f"with the columns {', '.join(map(repr, example.meta))} it would be read as another format"
        refuse(example.where, None, what, "data-column", "rename them before writing.")
    return row


def _more_than_a_pair(example: Example) -> str:
    if example.completions:
        return "a preference pair"
    if example.references is not None:
        return "a row with reference answers"
    if [turn.role for turn in example.turns] != ["user", "model"]:
        return "a conversation"
    if example.tools is not None or any(part.other is not None for turn in example.turns for part in turn.parts):
        return "an example with tools or files"
    if example.system:
        return "an example with a system instruction"
    return "" if example.output.strip() else "an example without an answer"


def _cells(dataset: Dataset, delimiter: str) -> Iterator[bytes]:
    """A header and a record for each example; the columns are those of all rows, in the order of their appearance."""
    columns = dict.fromkeys(_OWN)
    for example in dataset:
        columns.update(dict.fromkeys(_flat(example)))
    yield _record(list(columns), delimiter, Location())
    for example in dataset:
        row = _flat(example)
        yield _record([_cell(row.get(name)) for name in columns], delimiter, example.where)


def _record(cells: list[str], delimiter: str, where: Location) -> bytes:
    buffer = io.StringIO(newline="")
    # With "\n" alone Python before 3.13 would leave a lone "\r" in a cell without quotes, and cut there when reading.
    csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    try:
        return buffer.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        _refuse_surrogate(error, where)


def _cell(value: Json) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


# --- data frames ---------------------------------------------------------------------------------------------------


def to_dataframe(dataset: Dataset) -> pandas.DataFrame:
    """The examples as a pandas DataFrame, one a row: `input`, `output`, the other columns.

    A table for looking and counting: of a conversation it has the last question and the answer. Where any example has a
    system instruction there is a column `system`. `from_records` of the frame of flat rows gives the same examples.

    Raises:
        ConfigError: pandas is not installed.
        DataError: a further column is named `input`, `output` or `system`.
    """
    try:
        import pandas
    except ImportError as error:
        msg = "to_dataframe() needs pandas, which is not installed."
        raise ConfigError(msg, hint="pip install pandas; or use dataset.to_records().", code="config-extra") from error
    own = (*_OWN, "system") if any(example.system for example in dataset) else _OWN
    rows = []
    for example in dataset:
        clash = next((name for name in own if name in example.meta), None)
        if clash:
            what = f"a column is named {clash!r} already"
            refuse(example.where, clash, what, "data-column", "rename that column first.")
        system = {"system": example.system} if "system" in own else {}
        rows.append({**dict.fromkeys(_OWN), **system, **example.to_record()})
    return pandas.DataFrame(rows, columns=None if rows else list(own))
