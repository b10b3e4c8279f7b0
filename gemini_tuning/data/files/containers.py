"""What a file holds: its container, from its name and its first bytes. Where the two disagree it is refused."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast

from ...errors import DataError
from ..formats.rows import Shape
from .opening import UNSUPPORTED, Source

__all__ = ["CONTAINERS", "FORMATS", "Container", "Format", "Found", "forced_shape", "recognise"]

Container = Literal["jsonl", "json", "csv", "tsv", "parquet", "text"]
Format = Literal[
    "jsonl", "json", "csv", "tsv", "parquet", "text",
    "gemini", "openai", "openai-completion", "sharegpt", "alpaca", "chatml", "preference", "ai-studio",
]  # fmt: skip
CONTAINERS = ("jsonl", "json", "csv", "tsv", "parquet", "text")
FORMATS = (
    *CONTAINERS, "gemini", "openai", "openai-completion", "sharegpt", "alpaca", "chatml", "preference", "ai-studio",
)  # fmt: skip
_SUFFIXES: dict[str, Container] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
}  # fmt: skip
# A list of numbers or texts on the first line is a bad row, not an array of rows.
_ARRAY_OF_ROWS = re.compile(rb"\s*\[\s*(?:\{|\]|$)")


class Found(NamedTuple):
    """A container, and what is wrong with the file as a whole although its rows can be read for certain."""

    container: Container
    fault: DataError | None = None


def forced_shape(format: Format | None) -> Shape | None:
    """The shape of every row when `format` says so: a container named alone is the two named columns."""
    if format is None or format == "text":
        return None
    return "flat" if format in CONTAINERS else cast(Shape, format)


def recognise(source: Source, format: Format | None) -> Found:
    """The container of an open file.

    Raises:
        DataError: it is empty, unknown, or its name and its content say different things.
    """
    head = source.head
    if head[:4] == b"PAR1" and format in (None, "parquet", *set(FORMATS) - set(CONTAINERS)):
        if source.packed:
            source.refuse("Parquet inside gzip is not read", code="data-format-unsupported", hint="unpack it.")
        return Found("parquet")
    if not head.strip() and len(head) < 1 << 16:
        source.refuse("the file is empty", code="data-empty-file", hint="is it the right file?")
    container, fault = _container(source, format)
    if source.encoding != "utf-8":
        name = source.encoding[:6].upper()
        fault = _fault(source, f"the file is {name}", "data-encoding", "the service reads UTF-8: save it as UTF-8.")
    return Found(container, fault)


def _container(source: Source, format: Format | None) -> Found:
    start = source.head.lstrip()[:1]
    array = bool(_ARRAY_OF_ROWS.match(source.head))
    by_name = _SUFFIXES.get(source.suffix)
    if format == "parquet" or (format is None and by_name == "parquet"):
        source.refuse("it is not a Parquet file", code="data-format-unknown", hint="it does not begin with PAR1.")
    if format in ("csv", "tsv", "text"):
        return Found(format)
    if format is not None and format not in ("jsonl", "json") and by_name in ("csv", "tsv"):
        return Found(by_name)
    if format == "jsonl":
        return Found("json", _array_in_lines(source)) if array else Found("jsonl")
    if format is not None:
        return Found("json" if array else "jsonl")
    if by_name is None:
        if source.suffix in UNSUPPORTED:
            hint = UNSUPPORTED[source.suffix]
            source.refuse(f"{source.suffix} files are not read", code="data-format-unsupported", hint=hint)
        seen = {b"{": "JSON objects (format='jsonl')", b"[": "a JSON array (format='json')"}.get(start, "text")
        source.refuse(
            f"the name does not tell the format ({source.suffix or 'no ending'!r}); the content starts like {seen}",
            code="data-format-unknown", hint=f"say format=, one of {', '.join(map(repr, FORMATS))}.",
        )  # fmt: skip
    if by_name == "jsonl" and array:
        return Found("json", _array_in_lines(source))
    if by_name in ("csv", "tsv") and start in (b"{", b"["):
        source.refuse(
            f"the name says {by_name.upper()}, but the content starts like JSON", line=1, code="data-ambiguous",
            hint="say format='jsonl', 'json' or 'csv'.",
        )  # fmt: skip
    # Many tools write one object a line into .json: the content tells the two apart.
    return Found("jsonl" if by_name == "json" and not array else by_name)


def _array_in_lines(source: Source) -> DataError:
    what = "the file is one JSON array, where each line should be one object"
    return _fault(source, what, "data-json-array", "say format='json', or name the file .json.")


def _fault(source: Source, what: str, code: str, hint: str) -> DataError:
    return DataError.at(what, file=source.name, line=1, code=code, hint=hint)
