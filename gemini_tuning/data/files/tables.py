"""Tables in files: CSV and TSV with a header, and Parquet."""

from __future__ import annotations

import csv
import importlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import IO, Any, cast

from ...errors import ConfigError, DataError
from ...types import Json, Location
from ..formats.rows import Columns, shape_of
from .gathering import Gathering, text_of_bytes, text_of_value
from .lines import physical_lines
from .memory import frame_rows
from .opening import BLOCK, ROW_LIMIT, Source

__all__ = ["read_parquet", "read_separated"]

_BATCH = 1024
"""Rows of a Parquet file that are objects in memory at once."""
_SHOWN = 20
"""Names of columns that a message lists."""


_SEPARATOR = re.compile(r'"?sep=([,;|:^~#!&*/\t])"?\s*', re.IGNORECASE)
"""The first line by which Excel is told, and tells, what separates the cells."""
_IN_MEMORY = 32 << 20
"""Bytes of a TSV file that are held in memory while it is looked through; more of them lie in a temporary file."""
_WANT_QUOTES = re.compile(r'[",;|\t\r\n]|^\s|\s$')
"""What makes programs put a cell in quotes: Excel does so for a comma in a table of tabs too."""


# --- CSV -----------------------------------------------------------------------------------------------------------


class _Lines:
    """Physical lines as `csv` wants them; what the current record was made of is kept for messages."""

    def __init__(self, source: Source, blocks: Iterable[bytes]) -> None:
        self._source = source
        self._blocks = physical_lines(blocks, blank=None, too_long=self._too_long)
        self.number = 0
        """The line that was given last."""
        self.record: list[bytes] = []
        self.bad: tuple[int, bytes, UnicodeDecodeError] | None = None
        """The first line of the record that is not UTF-8."""

    def __iter__(self) -> Iterator[str]:
        for _, lines, _ in self._blocks:
            for line in lines:
                self.number += 1
                self.record.append(line)
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    self.bad = self.bad or (self.number, line, error)
                    text = line.decode("utf-8", "surrogateescape")
                yield text + "\n"

    def next_record(self) -> int:
        """Forgets the last record and gives the line on which the next one starts."""
        self.record.clear()
        self.bad = None
        return self.number + 1

    def raw(self) -> str:
        """The text of the record as it stands."""
        return text_of_bytes(b"\n".join(self.record))

    def _too_long(self, number: int, start: bytes) -> None:
        what = f"the line has more than {ROW_LIMIT >> 20} MB"
        hint = "is it the right file, and does it have line feeds?"
        self._source.refuse(what, line=number, code="data-too-large", hint=hint)


def read_separated(source: Source, gathering: Gathering, *, tabs: bool = False) -> None:
    """Reads all records of a CSV file into `gathering`; the number of a record is the line on which it starts.

    Args:
        source: The file. The comma separates, unless a first line `sep=;` says otherwise, or only a semicolon or a tab
            makes both named columns appear.
        gathering: Gets the rows. Records of empty cells only are blank lines. A column without a name is left out
            where its cell is empty.
        tabs: Whether tabs separate (TSV). A quotation mark is then a character like others where the file was
            written without quoting (`_quotes_cells`).

    Raises:
        DataError: for what concerns every row: the header.
    """
    first = source.head.partition(b"\n")[0].decode("utf-8", "surrogateescape")
    told = _SEPARATOR.fullmatch(first)
    delimiter = told.group(1) if told else "\t" if tabs else _delimiter(_first_filled(source.head), gathering.columns)
    if not tabs or delimiter != "\t":
        _read_records(source, source.blocks(), gathering, delimiter, csv.QUOTE_MINIMAL, told=bool(told))
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        copy = cast(IO[bytes], spool)
        marks = False
        for block in source.blocks():
            copy.write(block)
            marks = marks or b'"' in block
        quoted = not marks or _quotes_cells(_Lines(source, _again(copy)), told=bool(told))
        quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        _read_records(source, _again(copy), gathering, delimiter, quoting, told=bool(told))


def _again(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(BLOCK):
        yield block


def _first_filled(head: bytes) -> str:
    """The first line that is more than empty cells."""
    filled = next((line for line in head.split(b"\n") if line.strip(b' \t\r,;|"')), b"")
    return filled.decode("utf-8", "surrogateescape")


def _quotes_cells(lines: _Lines, *, told: bool) -> bool:
    """Whether the quotation marks around cells of a TSV file are the format's and not the text's.

    Google Sheets quotes nothing in TSV. That shows where a cell begins with a quotation mark and is not well quoted, or
    is in quotes that it does not need: a program that quotes all cells quotes those of the header too. Where another
    cell can only have come from quoting (it holds a tab, a line break or doubled marks), the bad one is a bad row.
    """
    physical = iter(lines)
    if told:
        next(physical)
    reader = csv.reader(physical, delimiter="\t", strict=True)
    header, proven, literal = True, False, False
    while True:
        lines.next_record()
        try:
            cells = next(reader)
        except StopIteration:
            return proven or not literal
        except csv.Error as error:
            # A cell that is too long and a lone carriage return say nothing about quotes.
            if not any(words in str(error) for words in ("expected after", "unexpected end")):
                return True
            literal = True
            continue
        if not cells:
            continue
        raw = lines.raw().rstrip("\r").split("\t")
        if header and any(cells):
            header = False
            if any(cell.startswith('"') for cell in raw):
                return True
        if len(cells) != len(raw) or len(lines.record) > 1:
            proven = True
            continue
        for cell, written in zip(cells, raw, strict=True):
            if '"' in cell and written != cell:
                proven = True
            elif cell and written == f'"{cell}"' and not _WANT_QUOTES.search(cell):
                literal = True


def _read_records(
    source: Source, blocks: Iterable[bytes], gathering: Gathering, delimiter: str, quoting: int, *, told: bool
) -> None:
    lines = _Lines(source, blocks)
    physical = iter(lines)
    if told:
        next(physical)
    reader = csv.reader(physical, delimiter=delimiter, strict=True, quoting=quoting)  # type: ignore[arg-type]
    header: list[str] = []
    header_line = 1
    nameless: list[int] = []
    checked = False
    while True:
        start = lines.next_record()
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if not header:
                source.refuse(str(error), line=start, code="data-csv", hint=_csv_hint(error))
            gathering.refuse(str(error), start, code="data-csv", hint=_csv_hint(error), raw=lines.raw)
            continue
        if not any(cell.strip() for cell in cells):
            gathering.note("blank-lines", start)
        elif not header:
            if lines.bad:
                lines.record = []
                Gathering(source.name, gathering.columns, None, keep=False).not_utf8(lines.bad[1], *_place(lines.bad))
            header, header_line = _header(cells, source, start), start
            nameless = [at for at, name in enumerate(header) if not name]
        elif lines.bad:
            gathering.not_utf8(lines.bad[1], *_place(lines.bad))
        elif len(cells) != len(header):
            what = f"{len(cells):,} cells, while the header has {len(header):,}"
            hint = "a cell with a comma or a line break must be in double quotes."
            gathering.refuse(what, start, code="data-csv", hint=hint, raw=lines.raw)
        elif nameless and (stray := [at for at in nameless if cells[at].strip()]) and len(nameless) > 1:
            what = f"cell {stray[0] + 1:,} is not empty, and its column has no name"
            gathering.refuse(what, start, code="data-csv", hint="name the column in the header.", raw=lines.raw)
        else:
            row = dict(zip(header, cells, strict=True))
            if nameless and not row[""].strip():
                del row[""]
            if not checked:
                checked = True
                _check_columns(row, source, gathering, header_line)
            gathering.row(row, start, lambda row=row: text_of_value(row))  # type: ignore[misc]
    if header and not checked:
        _check_columns(dict.fromkeys(filter(None, header), ""), source, gathering, header_line)


def _place(bad: tuple[int, bytes, UnicodeDecodeError]) -> tuple[int, UnicodeDecodeError]:
    return bad[0], bad[2]


def _csv_hint(error: csv.Error) -> str:
    text = str(error)
    if "field limit" in text:
        return "is a double quote not closed? Cells of more than 131,072 characters need JSONL."
    if "new-line character" in text:
        return "the lines end with a carriage return alone: save the file with line feeds."
    if "unexpected end" in text:
        return "a double quote is not closed."
    return "a cell with double quotes in it is written in double quotes, those inside twice."


def _header(cells: list[str], source: Source, line: int) -> list[str]:
    header = [cell.strip() for cell in cells]
    double = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if double:
        source.refuse(f"the header has {double[0]!r} twice", line=line, code="data-column")
    return header


def _check_columns(row: Mapping[str, Json], source: Source, gathering: Gathering, line: int) -> None:
    """Columns that no row of the file has are told once, of the header."""
    shape = gathering.shape or shape_of(row, gathering.columns, Location(source.name, line))
    if shape == "flat":
        for argument, column in (("input", gathering.columns.input), ("output", gathering.columns.output)):
            if column not in row:
                raise _missing(column, list(row), argument, source.name, line)


def _missing(column: str, names: list[str], argument: str, file: str, line: int | None) -> DataError:
    if len(names) <= _SHOWN:
        return DataError.missing_column(column, names, argument=argument, file=file, line=line)
    near = get_close_matches(column, names, n=1)
    guess = f"Did you mean {argument}={near[0]!r}? " if near else ""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return DataError.at(
        f"no column {column!r} among {len(names):,}; the first are {shown}", file=file, line=line, field=column,
        hint=f"{guess}Name the column with {argument}=.", code="data-column",
    )  # fmt: skip


def _delimiter(first: str, columns: Columns) -> str:
    """The one that makes both named columns appear in the header; else the one that cuts it into most cells."""
    cells = {",": 1}
    for delimiter in (",", ";", "\t", "|"):
        try:
            names = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error:
            continue
        if {columns.input, columns.output} <= {name.strip() for name in names}:
            return delimiter
        cells[delimiter] = len(names)
    return max(cells, key=lambda delimiter: cells[delimiter])  # of equals the comma, which is first


# --- Parquet -------------------------------------------------------------------------------------------------------


def read_parquet(source: Source, gathering: Gathering) -> None:
    """Reads all rows of a Parquet file into `gathering`; the number of a row is its place in the file.

    Raises:
        ConfigError: none of pyarrow, polars and pandas with an engine is installed.
        DataError: the file is damaged, or lacks a named column.
    """
    rows = iter(_parquet_rows(source))
    number = 0
    while True:
        try:
            row = next(rows, None)
        except (ConfigError, DataError):
            raise
        except Exception as error:  # noqa: BLE001  each of the three libraries has errors of its own
            what = f"it is not a whole Parquet file: {str(error)[:200]}"
            source.refuse(what, code="data-file", hint="copy or write it again.")
        if row is None:
            return
        number += 1
        if number == 1:
            _check_columns(row, source, gathering, None)  # type: ignore[arg-type]
        gathering.row(row, number, lambda row=row: text_of_value(row))  # type: ignore[misc]


def _parquet_rows(source: Source) -> Iterable[Mapping[str, Json]]:
    for name, read in (("pyarrow.parquet", _by_pyarrow), ("polars", _by_polars), ("pandas", _by_pandas)):
        try:
            library = importlib.import_module(name)
            yield from read(library, source)
        except ImportError:  # of the library, or of the engine that pandas wants
            continue
        return
    msg = "reading Parquet needs pyarrow or polars, and neither is installed."
    hint = "pip install pyarrow; or pass rows that were read elsewhere to from_records()."
    raise ConfigError(msg, hint=hint, code="config-extra")


def _by_pyarrow(library: Any, source: Source) -> Iterator[Mapping[str, Json]]:
    with library.ParquetFile(source.seekable()) as file:
        for batch in file.iter_batches(batch_size=_BATCH):
            yield from batch.to_pylist()


def _by_polars(library: Any, source: Source) -> Iterator[Mapping[str, Json]]:
    yield from library.read_parquet(source.seekable()).iter_rows(named=True)


def _by_pandas(library: Any, source: Source) -> Iterable[Mapping[str, Json]]:
    return frame_rows(library.read_parquet(source.seekable()))
