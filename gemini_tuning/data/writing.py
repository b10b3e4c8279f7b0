"""Files out: what the service reads, and flat rows."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from ..errors import DataError, PlanError
from ..ledger import write_atomic
from ..types import Dataset, Example, Json, Location
from .rows import refuse, to_gemini

__all__ = ["gemini_lines", "write"]


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


def write(dataset: Dataset, path: str | os.PathLike[str], *, format: Literal["gemini", "jsonl"] = "gemini") -> Path:
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
