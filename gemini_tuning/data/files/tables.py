"""Tables in files: CSV and TSV with a header, and Parquet."""

from __future__ import annotations

import csv
import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ...errors import ConfigError, DataError
from ...types import Json, Location
from ..formats.rows import Columns, shape_of
from .gathering import Gathering, text_of_bytes, text_of_value
from .lines import physical_lines
from .memory import frame_rows
from .opening import ROW_LIMIT, Source

__all__ = ["read_parquet", "read_separated"]

_BATCH = 1024
"""Rows of a Parquet file that are objects in memory at once."""
_SHOWN = 20
"""Names of columns that a message lists."""


# --- CSV -----------------------------------------------------------------------------------------------------------


class _Lines:
    """Physical lines as `csv` wants them; what the current record was made of is kept for messages."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._blocks = physical_lines(source.blocks(), blank=None, too_long=self._too_long)
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
        source: The file. The comma separates, unless only a semicolon or a tab makes both named columns appear.
        gathering: Gets the rows.
        tabs: Whether tabs separate (TSV).

    Raises:
        DataError: for what concerns every row: the header.
    """
    first = source.head.partition(b"\n")[0].decode("utf-8", "surrogateescape")
    lines = _Lines(source)
    delimiter = "\t" if tabs else _delimiter(first, gathering.columns)
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    header_line = 1
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
        if not cells:
            gathering.note("blank-lines", start)
        elif not header:
            if lines.bad:
                lines.record = []
                Gathering(source.name, gathering.columns, None, keep=False).not_utf8(lines.bad[1], *_place(lines.bad))
            header, header_line = _header(cells, source, start), start
        elif lines.bad:
            gathering.not_utf8(lines.bad[1], *_place(lines.bad))
        elif len(cells) != len(header):
            what = f"{len(cells):,} cells, while the header has {len(header):,}"
            hint = "a cell with a comma or a line break must be in double quotes."
            gathering.refuse(what, start, code="data-csv", hint=hint, raw=lines.raw)
        else:
            row = dict(zip(header, cells, strict=True))
            if not checked:
                checked = True
                _check_columns(row, source, gathering, header_line)
            gathering.row(row, start, lambda row=row: text_of_value(row))  # type: ignore[misc]
    if header and not checked:
        _check_columns(dict.fromkeys(header, ""), source, gathering, header_line)


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
    double = sorted(name for name, count in Counter(header).items() if count > 1)
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
