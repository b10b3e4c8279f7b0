"""Files and records in.

A format is recognised by the file's name *and* its content; where the two disagree, or a row could be read in two
ways, the file is refused with what was seen. Nothing is repaired and nothing is guessed here.
"""

from __future__ import annotations

import codecs
import os
from typing import TYPE_CHECKING, Literal, NoReturn

from ...errors import DataError, PlanError
from ...types import Dataset, Example, Location, text_turn
from ..formats.rows import Columns
from .containers import FORMATS, Format, forced_shape, recognise
from .gathering import Gathering, text_of_value
from .json_array import read_array
from .jsonl import read_jsonl
from .lines import physical_lines
from .memory import rows_of
from .opening import Source
from .tables import read_parquet, read_separated

if TYPE_CHECKING:
    from ...backend import Backend

__all__ = ["BadRows", "Format", "from_records", "read"]

BadRows = Literal["raise", "keep"]


def read(
    path: str | os.PathLike[str],
    *,
    format: Format | None = None,
    input: str = "input",
    output: str = "output",
    encoding: str | None = None,
    bad_rows: BadRows = "raise",
    backend: Backend | str | None = None,
) -> Dataset:
    """A file as examples.

    Reads JSONL, a JSON array of objects, CSV and TSV with a header, and Parquet; UTF-8 with or without a byte order
    mark; all but Parquet also as `.gz`; from a local path or `gs://bucket/object`. The rows are two named columns,
    Gemini's own lines, or one of the other known shapes; all rows of a file have the shape of the first.

    Args:
        path: The file.
        format: None finds out from the name and the content. A container (`"jsonl"`, `"json"`, `"csv"`, `"tsv"`,
            `"parquet"`) means the two named columns, whatever other columns there are. The name of a shape (`"gemini"`,
            `"openai"`, ...) leaves the container to be found out. `"text"` is one text a line without answers: what
            users asked.
        input: The column with what the model is asked.
        output: The column with the answer to learn. Numbers and booleans become their JSON text (`1`, `true`).
        encoding: Of a file that is not UTF-8, such as `"cp1252"` or `"gb18030"`. It is never guessed.
        bad_rows: `"raise"` stops at the first row that cannot be used. `"keep"` puts it into `dataset.broken` and goes
            on; so it does when the file as a whole is at fault and its rows can be read for certain all the same
            (UTF-16 with a byte order mark, a JSON array in a `.jsonl` file, objects over several lines).
        backend: Whose credentials read a `gs://` address; None is the application default credentials.

    Returns:
        The examples. `notes` tells what was passed over: a byte order mark, blank lines, keys that stand twice, rows
        of an older shape.

    Raises:
        DataError: with `.file`, `.line`, `.field` and a stable `.code`: what was expected and what was found. Empty or
            missing values are refused, not skipped; blank lines are skipped. Bytes that are not UTF-8 are refused,
            never replaced. What cannot be known (an unknown format, columns that the header lacks, no such file) is
            raised with `"keep"` too. A row has at most 64 MB.
        ConfigError: Parquet without a library that reads it; `gs://` without credentials.
        BackendError: Cloud Storage could not be reached.
    """
    if format is not None and format not in FORMATS:
        raise PlanError.bad_value("read", "format", format, f"one of {', '.join(map(repr, FORMATS))}, or None")
    _check_choice("read", bad_rows)
    _check_encoding(encoding)
    columns = Columns(input, output)
    with Source(path, backend, encoding) as source:
        found = recognise(source, format)
        if found.fault is not None and bad_rows == "raise":
            raise found.fault
        own_lines = found.container in ("jsonl", "csv", "tsv", "text") or found.fault is not None
        gathering = Gathering(
            source.name, columns, forced_shape(format), keep=bad_rows == "keep", fault=found.fault,
            unit="line" if own_lines else "record",
        )  # fmt: skip
        if source.bom and source.encoding == "utf-8":
            gathering.note("bom", 1)
        if found.container == "json":
            read_array(source.blocks(), gathering, lines=found.fault is not None)
        elif found.container == "jsonl":
            read_jsonl(source.blocks(), gathering, spread=source.suffix == ".json")
        elif found.container == "parquet":
            read_parquet(source, gathering)
        elif found.container == "text":
            _read_texts(source, gathering)
        else:
            read_separated(source, gathering, tabs=found.container == "tsv")
    if not gathering.examples and not gathering.broken:
        raise DataError.at(
            "the file has no rows", file=source.name, code="data-empty-file", hint="is it the right file?"
        )
    return gathering.dataset(source.name)


def _check_encoding(encoding: str | None) -> None:
    try:
        # base64, zlib and the like are codecs too, and give no text.
        known = encoding is None or codecs.lookup(encoding)._is_text_encoding
    except (LookupError, TypeError, ValueError):
        known = False
    if not known:
        expected = "the name of an encoding, such as 'cp1252' or 'gb18030', or None for UTF-8"
        raise PlanError.bad_value("read", "encoding", encoding, expected)


def _check_choice(verb: str, bad_rows: object) -> None:
    if bad_rows not in ("raise", "keep"):
        raise PlanError.bad_value(verb, "bad_rows", bad_rows, "'raise' or 'keep'")


def _read_texts(source: Source, gathering: Gathering) -> None:
    """One text a line, each a prompt without an answer."""

    def too_long(number: int, start: bytes) -> None:
        source.refuse("the line is too long for a text", line=number, code="data-too-large")

    blocks = physical_lines(
        source.blocks(), blank=lambda at, n: gathering.note("blank-lines", at, n), too_long=too_long
    )
    for first, lines, _ in blocks:
        for number, line in enumerate(lines, first):
            try:
                text = line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                gathering.not_utf8(line, number, error)
                continue
            if text:
                where = Location(source.name, number)
                gathering.example(Example(turns=(text_turn("user", text),), where=where), number, text.__str__)
            else:
                gathering.note("blank-lines", number)


# --- records -------------------------------------------------------------------------------------------------------


def from_records(
    records: object,
    *,
    input: str = "input",
    output: str = "output",
    source: str = "records",
    bad_rows: BadRows = "raise",
) -> Dataset:
    """Records in memory as examples.

    Takes mappings with the two named columns, mappings of the other known shapes, `Example`s, a `Dataset` (given back
    as it is), a pandas or polars DataFrame, a pyarrow Table, a Hugging Face dataset, and any iterable of these rows. A
    generator is consumed once. `where` is the 1-based record. No records give an empty data set.

    Args:
        records: The rows.
        input: As for `read`.
        output: As for `read`.
        source: What the data set is called in messages and manifests.
        bad_rows: As for `read`.

    Raises:
        DataError: as `read` does.
        PlanError: for something that is not records: a text or a path (use `read`), a dictionary of columns.
    """
    _check_choice("from_records", bad_rows)
    if isinstance(records, Dataset):
        return records
    gathering = Gathering(None, Columns(input, output), None, keep=bad_rows == "keep", unit="record")
    kinds: set[bool] = set()
    for number, row in enumerate(rows_of(records), 1):
        kinds.add(isinstance(row, Example))
        if len(kinds) > 1:
            _mixed(number)
        if isinstance(row, Example):
            gathering.example(row, number, row.__repr__)
        else:
            gathering.row(row, number, lambda row=row: text_of_value(row))  # type: ignore[misc]
    return gathering.dataset(source)


def _mixed(number: int) -> NoReturn:
    what = f"record {number}: Examples and other rows are mixed"
    raise DataError(what, line=number, code="data-mixed")
