"""Rows in memory: whatever holds rows, by what it can do, so that no data frame library is imported."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from typing import Any, cast

from ...errors import DataError, PlanError
from ...types import Json

__all__ = ["frame_rows", "rows_of"]

_BATCH = 1024


def rows_of(records: object) -> Iterable[object]:
    """The rows of a table or an iterable, one after the other.

    Raises:
        PlanError: for something that is not records; the message says what to call instead.
        DataError: two columns of a data frame have one name.
    """
    hint = _why_not(records)
    if hint:
        shown = records if isinstance(records, str | bytes) else type(records).__name__
        raise PlanError.bad_value("from_records", "records", shown, "records", hint=hint)
    if hasattr(records, "iloc") and callable(getattr(records, "to_dict", None)):
        return frame_rows(records)
    iter_rows = getattr(records, "iter_rows", None)
    if callable(iter_rows) and callable(getattr(records, "to_dicts", None)):  # polars
        return cast(Iterable[object], iter_rows(named=True))
    if hasattr(records, "read_next_batch"):  # a stream of pyarrow batches
        batches = cast(Iterable[Any], records)
        return (row for batch in batches for row in rows_of(batch))
    slice_rows, count = getattr(records, "slice", None), getattr(records, "num_rows", None)
    if callable(getattr(records, "to_pylist", None)):
        if callable(slice_rows) and isinstance(count, int):  # a pyarrow table: not all rows as objects at once
            names = getattr(getattr(records, "schema", None), "names", [])
            _refuse_double(list(names))
            return (row for at in range(0, count, _BATCH) for row in slice_rows(at, _BATCH).to_pylist())
        return cast(Iterable[object], records.to_pylist())  # type: ignore[attr-defined]
    if callable(getattr(records, "to_dicts", None)):
        return cast(Iterable[object], records.to_dicts())  # type: ignore[attr-defined]
    return cast(Iterable[object], records)


def _why_not(records: object) -> str:
    """What to do with something that is not records; empty for what is."""
    if isinstance(records, str | bytes | os.PathLike):
        return "for a file use read(path), or TuningProject.from_file(path)."
    if isinstance(records, Mapping):
        inner = next(iter(records.values()), None)
        if hasattr(inner, "column_names") or hasattr(inner, "to_dict") or hasattr(inner, "to_dicts"):
            return f"choose one of them: records[{next(iter(records))!r}]."
        return "one row is [row]; a dictionary of columns is pandas.DataFrame(columns)."
    if isinstance(records, AsyncIterable):
        return "collect it first: [row async for row in records]."
    if hasattr(records, "collect") and not isinstance(records, Iterable):
        return "a lazy frame must be collected first: records.collect()."
    if hasattr(records, "iloc") and not hasattr(records, "columns"):
        return "a column has no names for its values: use .to_frame()."
    if hasattr(records, "dtype") and not hasattr(records, "columns"):
        return "an array has no names for its values: use pandas.DataFrame(array, columns=[...])."
    if not (isinstance(records, Iterable) or hasattr(records, "to_pylist") or hasattr(records, "to_dicts")):
        return "pass a list of dictionaries, a DataFrame or a data set."
    return ""


def frame_rows(frame: Any) -> Iterator[Mapping[str, Json]]:
    """The rows of a pandas data frame, a part of it as objects at a time."""
    names = [str(name) for name in frame.columns]
    _refuse_double(names)
    for at in range(0, len(frame), _BATCH):
        yield from frame.iloc[at : at + _BATCH].to_dict("records")


def _refuse_double(names: list[str]) -> None:
    """A row as a dictionary holds one of two columns of a name: the other would be lost."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            what = f"there are two columns named {name!r}"
            raise DataError.at(what, field=name, code="data-column", hint="rename one of them.")
        seen.add(name)
