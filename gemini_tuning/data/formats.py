"""Files and records in, files out.

A format is recognised by the file's name *and* its content; where the two disagree, or a row could be read in two
ways, the file is refused with what was seen. Nothing is repaired and nothing is guessed here.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Literal, NoReturn, cast

import msgspec

from ..errors import DataError, PlanError
from ..ledger import write_atomic
from ..types import Dataset, Example, Json, Location
from .rows import (
    Columns,
    Shape,
    check_unicode,
    plain_json,
    refuse,
    shape_of,
    to_example,
    to_gemini,
)

Format = Literal["jsonl", "json", "csv", "gemini"]
_FORMATS = ("jsonl", "json", "csv", "gemini")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}
_BOM = b"\xef\xbb\xbf"
_HEAD = 1 << 16


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
    name = os.fspath(path)
    if format is not None and format not in _FORMATS:
        raise PlanError.bad_value("read", "format", format, f"one of {', '.join(map(repr, _FORMATS))}, or None")
    source = _Source(name)
    kind = source.kind(format)
    columns = Columns(input, output)
    forced: Shape | None = None if format is None else "gemini" if format == "gemini" else "flat"
    rows = source.csv_rows(columns) if kind == "csv" else source.array() if kind == "json" else source.lines()
    dataset = Dataset(_examples(rows, columns, forced), source=name)
    if not len(dataset):
        raise DataError.at("the file has no rows", file=name, code="data-empty-file", hint="is it the right file?")
    return dataset


def _examples(
    rows: Iterable[tuple[Location, Json]], columns: Columns, forced: Shape | None
) -> Iterator[Example]:
    shape: Shape | None = None
    first = Location()
    for where, row in rows:
        if not isinstance(row, Mapping):
            found = json.dumps(plain_json(row), ensure_ascii=False)[:80]
            refuse(where, None, f"expected an object, found {found}", "data-shape")
        if forced is None:
            own = shape_of(row, columns, where)
            if shape is None:
                shape, first = own, where
            elif own != shape:
                names = {"flat": "flat columns", "gemini": "Gemini's contents"}
                found = f"{names[own]} ({', '.join(map(repr, row))})"
                what = f"this row has {found}, while line {first.line} has {names[shape]}"
                refuse(where, None, what, "data-mixed", "one file holds one format: divide it.")
        elif forced == "gemini" and "contents" not in row:
            shape_of(row, columns, where)  # a format that is known by name says so
            found = ", ".join(map(repr, row)) or "nothing"
            refuse(where, "contents", f"no 'contents'; the row has {found}", "data-column")
        elif forced == "flat" and "contents" in row and columns.input not in row:
            what = f"no column {columns.input!r}, but 'contents': this is Gemini's own format"
            refuse(where, columns.input, what, "data-column", "say format='gemini', or leave format= out.")
        yield to_example(row, forced or shape or "flat", columns, where)


class _Source:
    """One file that is read: opened, recognised, decoded."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name.startswith(("gs://", "s3://", "http://", "https://")):
            scheme = name.split(":")[0]
            self.refuse(f"{scheme} addresses are not read here", code="data-file", hint="copy the file first.")
        self._gz = name.lower().endswith(".gz")
        self._head = self._read(_HEAD)

    def refuse(self, what: str, *, line: int | None = None, code: str, hint: str = "") -> NoReturn:
        raise DataError.at(what, file=self.name, line=line, code=code, hint=hint)

    def _open(self) -> IO[bytes]:
        try:
            return cast(IO[bytes], gzip.open(self.name, "rb")) if self._gz else Path(self.name).open("rb")
        except FileNotFoundError:
            folder = Path(self.name).resolve().parent
            there = sorted(each.name for each in folder.iterdir())[:8] if folder.is_dir() else []
            hint = f"in {folder} there is: {', '.join(there) or 'nothing'}."
            hint = hint if folder.is_dir() else f"there is no folder {folder} either."
            self.refuse("there is no such file", code="data-file", hint=hint)
        except IsADirectoryError:
            data = sorted(each.name for each in Path(self.name).iterdir() if each.suffix in (*_SUFFIXES, ".gz"))[:8]
            found = f"name one file: {', '.join(data)}." if data else "there is no data file in it."
            self.refuse("this is a directory", code="data-file", hint=found)
        except OSError as error:
            self.refuse(f"it cannot be opened: {error.strerror or error}", code="data-file")

    def _read(self, size: int) -> bytes:
        with self._open() as file:
            return b"".join(self._guarded(iter([file.read] if size < 0 else [lambda: file.read(size)])))

    def _guarded(self, reads: Iterator[object]) -> Iterator[bytes]:
        try:
            for each in reads:
                yield each() if callable(each) else cast(bytes, each)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.refuse(f"it is not a whole gzip file: {error}", code="data-file", hint="copy or compress it again.")
        except OSError as error:
            self.refuse(f"it cannot be read: {error.strerror or error}", code="data-file")

    def kind(self, format: Format | None) -> Literal["jsonl", "json", "csv"]:
        """The container, from the name and the first bytes."""
        head = self._head
        if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head[:4]:
            self.refuse("the file looks like UTF-16", line=1, code="data-encoding", hint="save it as UTF-8.")
        if head[:2] == b"\x1f\x8b":
            self.refuse("the file is gzip, but its name does not end with .gz", code="data-file", hint="rename it.")
        if head[:4] == b"PAR1":
            self.refuse(
                "Parquet is not read yet", code="data-format-unsupported",
                hint="read it with pandas, polars or pyarrow and pass the table to from_records().",
            )  # fmt: skip
        start = head.removeprefix(_BOM).lstrip()[:1]
        if not head.removeprefix(_BOM).strip() and len(head) < _HEAD:
            self.refuse("the file is empty", code="data-empty-file", hint="is it the right file?")
        if format == "csv":
            return "csv"
        if format is not None:
            array = start == b"[" and format in ("json", "gemini")
            return "json" if array else "jsonl"
        stem = self.name[:-3] if self._gz else self.name
        suffix = Path(stem).suffix.lower()
        by_name = _SUFFIXES.get(suffix)
        if by_name is None:
            seen = {b"{": "JSON objects (format='jsonl')", b"[": "a JSON array (format='json')"}.get(start, "text")
            self.refuse(
                f"the name does not tell the format ({suffix or 'no ending'!r}); the content starts like {seen}",
                code="data-format-unknown", hint=f"say format=, one of {', '.join(map(repr, _FORMATS))}.",
            )  # fmt: skip
        if by_name == "jsonl" and start == b"[":
            self.refuse(
                f"the name says one object a line ({suffix}), but the content is a JSON array", line=1,
                code="data-ambiguous", hint="say format='json' (or 'gemini'), or name the file .json.",
            )  # fmt: skip
        if by_name == "csv" and start in (b"{", b"["):
            self.refuse(
                "the name says CSV, but the content starts like JSON", line=1, code="data-ambiguous",
                hint="say format='jsonl', 'json' or 'csv'.",
            )  # fmt: skip
        # Many tools write one object a line into .json: the content tells the two apart.
        return "jsonl" if by_name == "json" and start == b"{" else cast(Literal["jsonl", "json", "csv"], by_name)

    def _physical_lines(self) -> Iterator[tuple[int, bytes]]:
        with self._open() as file:
            # A binary file is cut at "\n" only; text mode and splitlines() would also cut at U+2028 and others.
            for number, line in enumerate(self._guarded(iter(file)), 1):
                yield number, line.removeprefix(_BOM) if number == 1 else line

    def _decode(self, line: bytes, number: int) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.refuse(
                f"byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line is not UTF-8", line=number,
                code="data-encoding", hint="save the file as UTF-8; Excel and old editors write Windows-1252 or GBK.",
            )  # fmt: skip

    def lines(self) -> Iterator[tuple[Location, Json]]:
        """JSONL: one value a line, blank lines skipped."""
        for number, line in self._physical_lines():
            if line.strip():
                yield Location(self.name, number), self._json(line, number)

    def _json(self, line: bytes, number: int) -> Json:
        try:
            return msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # The slow parser says what is wrong and in which column.
            return self._slow_json(self._decode(line, number).rstrip("\r\n"), number)

    def _slow_json(self, text: str, number: int) -> Json:
        try:
            return json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            hint = "each line must be one whole JSON object."
            if error.msg == "Extra data":
                hint = "there are two values on one line: put each on a line of its own."
            elif text.strip() in ("{", "[", "[{"):
                hint = "one object is spread over many lines: write each object on one line, or a JSON array in .json."
            self.refuse(f"{error.msg} at column {error.colno}", line=number, code="data-json", hint=hint)
        except (ValueError, RecursionError) as error:
            self.refuse(str(error), line=number, code="data-json")

    def array(self) -> Iterator[tuple[Location, Json]]:
        """A JSON array; a line is the 1-based record."""
        data = self._read(-1).removeprefix(_BOM)
        try:
            values = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self._decode(data.split(b"\n")[line - 1], line)
            raise
        except json.JSONDecodeError as error:
            self.refuse(f"{error.msg} at column {error.colno}", line=error.lineno, code="data-json")
        except (ValueError, RecursionError) as error:
            self.refuse(str(error), code="data-json")
        if not isinstance(values, list):
            self.refuse(
                "expected a JSON array of objects", code="data-shape",
                hint=f"the top level has {', '.join(map(repr, list(values)[:8]))}." if isinstance(values, dict) else "",
            )  # fmt: skip
        for number, value in enumerate(values, 1):
            yield Location(self.name, number), value

    def csv_rows(self, columns: Columns) -> Iterator[tuple[Location, Json]]:
        """CSV with a header; a line is the physical line on which the record starts."""
        first = self._decode(next(self._physical_lines())[1], 1)
        delimiter = _delimiter(first, columns)
        reader = csv.reader(
            (self._decode(line, number) for number, line in self._physical_lines()), delimiter=delimiter, strict=True
        )
        header: list[str] = []
        start = 1
        try:
            for cells in reader:
                number, start = start, reader.line_num + 1
                if not cells:
                    continue
                if not header:
                    header = [cell.strip() for cell in cells]
                    double = sorted({name for name in header if header.count(name) > 1})
                    if double:
                        self.refuse(f"the header has {double[0]!r} twice", line=number, code="data-column")
                    for argument, column in (("input", columns.input), ("output", columns.output)):
                        if column not in header and "contents" not in header:
                            raise DataError.missing_column(
                                column, header, argument=argument, file=self.name, line=number
                            )
                elif len(cells) != len(header):
                    self.refuse(
                        f"{len(cells)} cells, while the header has {len(header)}", line=number, code="data-csv",
                        hint="a cell with a comma or a line break must be in double quotes.",
                    )  # fmt: skip
                else:
                    yield Location(self.name, number), dict(zip(header, cells, strict=True))
        except csv.Error as error:
            hint = "cells of more than 131,072 characters need JSONL." if "field limit" in str(error) else ""
            self.refuse(str(error), line=start, code="data-csv", hint=hint)


def _delimiter(first: str, columns: Columns) -> str:
    """The comma, unless only another usual one makes both named columns appear in the header."""
    for delimiter in (",", ";", "\t"):
        names = next(csv.reader([first], delimiter=delimiter), [])
        if {columns.input, columns.output} <= {name.strip() for name in names}:
            return delimiter
    return ","


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


# --- records -------------------------------------------------------------------------------------------------------


def from_records(
    records: object, *, input: str = "input", output: str = "output", source: str = "records"
) -> Dataset:
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
    elif not isinstance(records, Iterable) and not hasattr(records, "to_pylist"):
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


# --- out -----------------------------------------------------------------------------------------------------------


def _encode(row: Mapping[str, Json], where: Location) -> bytes:
    try:
        return msgspec.json.encode(row)
    except UnicodeEncodeError as error:
        msg = f"half of a surrogate pair ({error.object[error.start]!r}) has no UTF-8 form"
        raise DataError.at(msg, file=where.file, line=where.line, code="data-encoding") from error


def gemini_lines(dataset: Iterable[Example]) -> bytes:
    """The tuning file as bytes, exactly what is uploaded: UTF-8, one example a line, each ended with "\\n"."""
    return b"".join(_encode(to_gemini(example), example.where) + b"\n" for example in dataset)


def _flat_lines(dataset: Dataset) -> bytes:
    lines = []
    for example in dataset:
        simple = len(example.turns) == 2 and example.output and not example.completions
        if not simple or any(part.other is not None for turn in example.turns for part in turn.parts):
            what = "a conversation, a preference pair or an example with files has no flat row"
            refuse(example.where, None, what, "data-shape", "use format='gemini'.")
        for name in ("input", "output"):
            if name in example.meta:
                what = f"a column is named {name!r} already"
                refuse(example.where, name, what, "data-column", "rename that column before writing.")
        lines.append(_encode(example.to_record(), example.where) + b"\n")
    return b"".join(lines)


def write(
    dataset: Dataset, path: str | os.PathLike[str], *, format: Literal["gemini", "jsonl"] = "gemini"
) -> Path:
    """Writes the examples as a file that appears whole or not at all, and returns its path; `.gz` compresses.

    `"gemini"` is what the service reads: turns, system instruction, tools; other columns are left out. `"jsonl"` is
    flat: `input` and `output` without instructions, and the other columns. Reading it again gives the same examples.

    Raises:
        DataError: for a text without a UTF-8 form, or an example that has no flat row.
    """
    if format not in ("gemini", "jsonl"):
        raise PlanError.bad_value("write", "format", format, "'gemini' or 'jsonl'")
    data = gemini_lines(dataset) if format == "gemini" else _flat_lines(dataset)
    target = Path(path)
    if target.name.lower().endswith(".gz"):
        data = gzip.compress(data, mtime=0)  # without a time in it, equal data give equal files
    write_atomic(target, data)
    return target
