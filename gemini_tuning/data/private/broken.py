"""The texts of a broken row: in its raw text, where mending finds them, and in the reason that quotes it.

What mending reads out of the raw text is what comes back as an example, so the raw text is read here just as mending
reads it. Where that cannot be done, an escape (`amy\\u0040corp.com`) may still hide a value from who looks at the text
as it stands; `escaped_texts` gives such texts without their escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

import msgspec

from ...types import Broken, Json, Location
from ..mending.mend_json import read_values, value_of
from .texts import changed, strings

__all__ = ["broken_texts", "escaped_texts", "unescaped", "with_broken", "without_cut_values"]

_DEPTH = 3
"""JSON within a text of JSON has its escapes escaped; deeper than this nothing mends it."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROL = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_QUOTED_END = re.compile(r"['\"…]")
_SHORTEST_CUT, _LONGEST_CUT = 4, 200
"""So many characters of a value's beginning are looked for: fewer tell nothing of it, and no message quotes more."""


def broken_texts(row: Broken) -> list[str]:
    """Every text of a broken row that can be personal."""
    texts = [*_raw_texts(row.raw), row.message, row.hint]
    return texts if row.where.field is None else [*texts, row.where.field]


def escaped_texts(row: Broken) -> Iterator[str]:
    """The texts of `raw` that have escapes, without them: what a value in them would be once they are decoded."""
    if "\\" not in row.raw:
        return
    for text in _raw_texts(row.raw):
        yield from unescaped(text)


def unescaped(text: str) -> Iterator[str]:
    """The text with its JSON escapes decoded once, and again while there are some; nothing when it has none."""
    for _ in range(_DEPTH):
        if "\\" not in text:
            return
        text = _ESCAPE.sub(_decoded, text)
        # Two escapes may be the halves of one character.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        yield text


def with_broken(row: Broken, change: Callable[[str], str]) -> Broken:
    """The broken row with every text changed.

    Several rows in one become JSON lines, so that mending divides them still.
    """
    field = row.where.field
    where = row.where if field is None else Location(row.where.file, row.where.line, change(field))
    new = msgspec.structs.replace(row, where=where, message=change(row.message), hint=change(row.hint))
    read = _values(row.raw)
    if read is None:
        return msgspec.structs.replace(new, raw=change(row.raw))
    values, plain = read
    changed_values = [changed(value, change) for value in values]
    if changed_values == values:
        return new
    try:
        raw = "\n".join(map(_written, changed_values))
    except RecursionError:
        return msgspec.structs.replace(new, raw="", text=False)
    # One object that was no plain JSON keeps something to mend: as plain JSON, nobody would know why it was refused.
    return msgspec.structs.replace(new, raw=raw if plain or len(values) > 1 else raw + ",")


def without_cut_values(row: Broken, spellings: Mapping[str, str]) -> Broken:
    """The row without the beginnings of values that a message has where it quotes a text only up to some length.

    Args:
        row: A row whose whole values are replaced.
        spellings: Value -> what stands for it.
    """
    starts: dict[str, list[str]] = {}
    for value in spellings:
        starts.setdefault(value[:_SHORTEST_CUT], []).append(value)

    def whole(text: str) -> str:
        for end in reversed([match.start() for match in _QUOTED_END.finditer(text)]):
            for at in range(max(0, end - _LONGEST_CUT), end - _SHORTEST_CUT + 1):
                cut = text[at:end]
                value = next((each for each in starts.get(cut[:_SHORTEST_CUT], ()) if each.startswith(cut)), None)
                if value is not None:
                    text = text[:at] + spellings[value] + text[end:]
                    break
        return text

    return msgspec.structs.replace(row, message=whole(row.message), hint=whole(row.hint))


def _raw_texts(raw: str) -> list[str]:
    read = _values(raw)
    if read is None:
        return [raw]
    try:
        return [text for value in read[0] for text in strings(value)]
    except RecursionError:
        return [raw]


def _values(raw: str) -> tuple[list[Json], bool] | None:
    """The values that mending reads, and whether the text is plain JSON of one value; None when there are none."""
    try:
        return [value_of(raw)], True
    except ValueError:
        pass
    try:
        read = read_values(raw)
    except ValueError:  # a key twice: either of its values may be personal
        return None
    return (read.values, False) if read is not None and read.values else None


def _written(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no other form than its escape
        return json.dumps(value)
    return text


def _decoded(match: re.Match[str]) -> str:
    code, char = match.groups()
    return chr(int(code, 16)) if code else _CONTROL.get(char, char)
