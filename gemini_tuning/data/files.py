"""One file: opened, its container recognised, decoded and cut into rows, with the line of each."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal, NoReturn, cast

import msgspec

from ..errors import DataError
from ..types import Json, Location
from .rows import Columns

Format = Literal["jsonl", "json", "csv", "gemini"]
FORMATS = ("jsonl", "json", "csv", "gemini")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}
_BOM = b"\xef\xbb\xbf"
_HEAD = 1 << 16


class Source:
    """One file that is read.

    Args:
        name: The path as the user gave it, for messages.
        refused: Gets the error of a row that cannot be used; when it returns, reading goes on.
    """

    def __init__(self, name: str, refused: Callable[[DataError], object]) -> None:
        self.name = name
        self.rows = 0
        self._refused = refused
        if name.startswith(("gs://", "s3://", "http://", "https://")):
            scheme = name.split(":")[0]
            self.refuse(f"{scheme} addresses are not read here", code="data-file", hint="copy the file first.")
        self._gz = name.lower().endswith(".gz")
        self._head = self._read(_HEAD)

    def refuse(self, what: str, *, line: int | None = None, code: str, hint: str = "") -> NoReturn:
        """Raises DataError for this file."""
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
        if head[:2] == b"\x1f\x8b":
            self.refuse("the file is gzip, but its name does not end with .gz", code="data-file", hint="rename it.")
        if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head[:4]:
            self.refuse("the file looks like UTF-16", line=1, code="data-encoding", hint="save it as UTF-8.")
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
                code="data-format-unknown", hint=f"say format=, one of {', '.join(map(repr, FORMATS))}.",
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
            if not line.strip():
                continue
            self.rows += 1
            try:
                value = self._json(line, number)
            except DataError as error:
                self._refused(error)
            else:
                yield Location(self.name, number), value

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
            self.rows += 1
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
                    continue
                self.rows += 1
                if len(cells) != len(header):
                    what = f"{len(cells)} cells, while the header has {len(header)}"
                    hint = "a cell with a comma or a line break must be in double quotes."
                    self._refused(DataError.at(what, file=self.name, line=number, hint=hint, code="data-csv"))
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
