"""Values of a row: what counts as missing, as text and as JSON, and how a row is refused.

Rows come from JSON, from data frames and from Arrow tables, so a missing value may be None, NaN or NaT, a list may be
an array, and a nested object may carry every key of its column with None in most of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NoReturn

from ...errors import DataError
from ...types import Json, Location

_MISSING = frozenset({"NAType", "NaTType"})
_KINDS = {dict: "an object", list: "a list", bool: "a boolean", int: "a number", float: "a number", str: "a text"}


def refuse(where: Location, field: str | None, what: str, code: str, hint: str = "") -> NoReturn:
    """Raises DataError for a place."""
    if field is not None:  # it may be made of names in the data, which UTF-8 may not hold
        field = field.encode("utf-8", "backslashreplace").decode("utf-8")
    raise DataError.at(what, file=where.file, line=where.line, field=field, hint=hint, code=code)


def refuse_missing(row: Mapping[str, Json], column: str, where: Location, hint: str = "") -> NoReturn:
    """Raises DataError for a column that the row's format needs."""
    found = ", ".join(map(repr, row)) or "nothing"
    refuse(where, column, f"no {column!r}; the row has {found}", "data-column", hint)


# --- kinds of values -----------------------------------------------------------------------------------------------


def kind(value: object) -> str:
    """What a value is, in the words of a message."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


def is_missing(value: object) -> bool:
    """Whether there is no value: None, NaN, and what data frames write for them."""
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, float) and value != value


def has(row: Mapping[str, Json], column: str) -> bool:
    """Whether the row has a value in this column."""
    return column in row and not is_missing(row[column])


def as_list(value: object) -> list[Json] | None:
    """The list that a value is, tuples and arrays included; None for anything else."""
    if isinstance(value, list):
        return value
    if isinstance(value, tuple):
        return list(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 0) > 0:
        return list(value.tolist())  # type: ignore[attr-defined]
    return None


def _scalar(value: Json) -> Json:
    """numpy and pandas scalars as Python's own, without importing either."""
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value


def plain_json(value: Json) -> Json:
    """The value as JSON can hold it: missing ones as None, what JSON does not know (dates, ...) as its text."""
    if type(value) is str:
        return value
    value = _scalar(value)
    if is_missing(value):
        return None
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(name): plain_json(inner) for name, inner in value.items()}
    values = as_list(value)
    return str(value) if values is None else [plain_json(inner) for inner in values]


# --- texts ---------------------------------------------------------------------------------------------------------


def check_unicode(text: str, field: str, where: Location) -> None:
    """Half of a surrogate pair has no UTF-8 form, so such a text could not be uploaded: refused with its place."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        what = f"character {error.start + 1} is half of a surrogate pair ({text[error.start]!r})"
        refuse(where, field, what, "data-encoding", "the text was cut or decoded wrongly where it comes from.")


def check_deep(value: Json, field: str, where: Location) -> None:
    """The same for every text inside a JSON value, names included."""
    if type(value) is str:
        check_unicode(value, field, where)
    elif type(value) is dict:
        for name, inner in value.items():
            check_unicode(name, f"{field}.{name}" if field else name, where)
            check_deep(inner, f"{field}.{name}" if field else name, where)
    elif type(value) is list:
        for at, inner in enumerate(value):
            check_deep(inner, f"{field}[{at}]", where)


def read_text(value: Json, field: str, where: Location, empty: str) -> str:
    """A text that must not be empty; numbers and booleans become their JSON text (`1`, `true`)."""
    if type(value) is not str:
        value = _scalar(value)
        if is_missing(value):
            refuse(where, field, "it is empty (null)", "data-empty", "remove the row, or fill in the value.")
        if isinstance(value, bool | int | float):
            value = json.dumps(value)
        elif not isinstance(value, str):
            refuse(
                where, field, f"expected a text, found {kind(value)}", "data-type",
                "a structured value must be written as the text that the model should give: json.dumps(value).",
            )  # fmt: skip
    text = str(value)
    if not text.strip():
        refuse(where, field, f"it is empty: {empty}", "data-empty", "remove the row, or fill in the value.")
    check_unicode(text, field, where)
    return text


TO_ASK = "there is nothing to answer"
TO_LEARN = "there is nothing to learn"


def optional_text(row: Mapping[str, Json], column: str, where: Location) -> str | None:
    """The text of a column that may be missing or empty: then None."""
    value = row.get(column)
    if is_missing(value) or value == "":
        return None
    if not isinstance(value, str):
        refuse(where, column, f"expected a text, found {kind(value)}", "data-type")
    check_unicode(value, column, where)
    return value


# --- JSON ----------------------------------------------------------------------------------------------------------


def canonical(value: Json, where: Location, field: str) -> str:
    """JSON with sorted keys and without spaces: equal values give equal text."""
    try:
        text = json.dumps(
            value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=plain_json
        )
    except (TypeError, ValueError) as error:
        refuse(where, field, f"it cannot be written as JSON: {error}", "data-type")
    check_unicode(text, field, where)
    return text


def parse_json(text: str) -> Json:
    """Strict JSON of a text inside a row; raises ValueError for anything else."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def other_columns(row: Mapping[str, Json], used: Collection[str], where: Location) -> dict[str, Json]:
    """The columns that no field of the example takes: they go to `meta`, which is never sent."""
    if len(row) == len(used) and all(name in used for name in row):
        return {}
    meta = {str(name): plain_json(value) for name, value in row.items() if name not in used}
    check_deep(meta, "", where)
    return meta
