"""How results cross a file: JSON with a kind and a schema number."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ..errors import DataError, LedgerError

R = TypeVar("R")

SCHEMA = 1
"""Version of the JSON of reports, baselines and comparisons; keys that a version does not know are ignored."""


def write_json(kind: str, result: object) -> bytes:
    """A result as JSON with its kind and a schema number."""
    return msgspec.json.encode({"schema": SCHEMA, "kind": kind, "result": result})


class _Header(msgspec.Struct):
    schema: int
    kind: str
    result: msgspec.Raw


def read_json(kind: str, data: bytes | str, type_: type[R]) -> R:
    """The result in such JSON; DataError when it is none, LedgerError when a newer version wrote it."""
    try:
        header = msgspec.json.decode(data, type=_Header)
        if header.schema > SCHEMA:
            msg = f"this {kind} has schema {header.schema}; this version reads up to {SCHEMA}."
            raise LedgerError(msg, hint="upgrade gemini-tuning.", code="ledger-schema")
        if header.kind != kind:
            msg = f"expected the JSON of {kind}, this is {header.kind!r}."
            raise DataError(msg, hint=f"read it with {header.kind}.from_json().", code="data-json")
        return msgspec.json.decode(header.result, type=type_)
    except msgspec.MsgspecError as error:
        msg = f"not the JSON of {kind}: {error}"
        raise DataError(msg, hint="give the bytes that to_json() returned.", code="data-json") from error
