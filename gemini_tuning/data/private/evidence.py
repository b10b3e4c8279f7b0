"""Personal data out of what other steps reported before a redaction: their evidence is kept with the data.

A dropped duplicate is a whole example, and a repair tells what stood there before. Examples and broken rows in a report
are redacted as those of the data are, and each of its other texts by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec

from ...types import Broken, Dataset, Example
from ..mending.report import Change
from .broken import unescaped
from .finding import scan
from .redact import redact
from .spans import KINDS

__all__ = ["redacted_evidence"]

T = TypeVar("T")

_AS_THEY_ARE = frozenset({"origin", "parent_origin", "file", "model", "code", "op", "arguments"})
"""Fields with what does not come from texts: digests, which may look like keys, and the names of files and models."""
_CUT = "…"


def redacted_evidence(reports: T, *, kinds: Collection[str] | None = None, keep: Collection[str] | None = None) -> T:
    """Reports (any structs, in lists, tuples and dicts) without the personal data that their texts hold.

    A text that a repair's report has cut is left out: half a value at its end has no form to find it by. So is one in
    which only escapes hide a value.

    Args:
        reports: What to look through; it is not changed.
        kinds: As of `redact`. Those that only a detector finds are passed over: none is asked here.
        keep: As of `redact`.
    """
    known = None if kinds is None else [kind for kind in kinds if kind in KINDS]
    if known == []:
        return reports
    rows: dict[int, Example | Broken] = {}
    texts: dict[str, str] = {}

    def collect(value: Any) -> Any:
        if isinstance(value, str):
            texts[value] = value
        else:
            rows[id(value)] = value
        return value

    _walked(reports, collect)
    examples = {at: row for at, row in rows.items() if isinstance(row, Example)}
    broken = {at: row for at, row in rows.items() if isinstance(row, Broken)}
    data, _ = redact(Dataset(examples.values(), broken=broken.values()), kinds=known, keep=keep)
    new_rows: dict[int, Example | Broken] = {
        **dict(zip(examples, data.examples, strict=True)), **dict(zip(broken, data.broken, strict=True)),
    }  # fmt: skip
    _redact_texts(texts, known, keep)
    clean: T = _walked(reports, lambda value: texts[value] if isinstance(value, str) else new_rows[id(value)])
    return clean


def _walked(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """The value with `leaf` applied to every example, broken row and other text in it."""
    if isinstance(value, str | Example | Broken):
        return leaf(value)
    if isinstance(value, Change):
        value = msgspec.structs.replace(value, before=_if_whole(value.before), after=_if_whole(value.after))
    if isinstance(value, msgspec.Struct):
        new = {
            name: _walked(getattr(value, name), leaf) for name in value.__struct_fields__ if name not in _AS_THEY_ARE
        }
        return msgspec.structs.replace(value, **new)
    if isinstance(value, Mapping):
        found: dict[Any, Any] = {}
        for name, inner in value.items():
            key = _walked(name, leaf)
            while key in found:  # neither of two labels may be lost
                key += "'"
            found[key] = _walked(inner, leaf)
        return found
    if isinstance(value, list | tuple):
        return type(value)(_walked(each, leaf) for each in value)
    return value


def _if_whole(text: str) -> str:
    return _CUT if text.endswith(_CUT) else text


def _redact_texts(texts: dict[str, str], kinds: Collection[str] | None, keep: Collection[str] | None) -> None:
    """Puts in `texts` what each is without its values."""
    whole = list(texts)
    # As examples, so that `keep` and values side by side are treated as they are in the data.
    data, _ = redact(Dataset(Example(turns=(), system=text, origin="text") for text in whole), kinds=kinds, keep=keep)
    for text, example in zip(whole, data.examples, strict=True):
        texts[text] = example.system or ""
    decoded = [(text, each) for text in whole for each in unescaped(texts[text])]
    for at, _ in scan([each for _, each in decoded], kinds=kinds):
        texts[decoded[at][0]] = _CUT
