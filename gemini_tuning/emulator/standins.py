"""Deterministic stand-ins for JSON that a model is asked for: a value that fits any schema.

No model is behind them. They keep the caller's code honest: most paraphrases are usable, some are not; a grade carries
"simulated: " in its reason, and about one in fifty is cut off.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .grades import quality
from .paraphrases import paraphrases
from .text import scatter

__all__ = ["fill"]

Choose = Callable[[Sequence[str]], str]
Say = Callable[[], str]

_UNREADABLE = 50  # one grade in so many (by hash of the request) is not valid JSON
_DEPTH = 8  # from this level of a schema on, only what is required is filled


def fill(schema: Mapping[str, Any], user: str, *, choose: Choose, say: Say, special: bool = True) -> str:
    """JSON text that fits an OpenAPI-style `schema`, for the user turn `user`.

    `choose` picks among the values of an enum and `say` gives free text. With `special`, an object with a
    property `paraphrases` (array of strings) or `grade` (number or enum) is answered as such a request; the
    grade's JSON is cut off for one request in _UNREADABLE, always the same ones.
    """
    value = _Filler(user, choose, say, special).value(schema, "", 0)
    text = json.dumps(value, ensure_ascii=False)
    if special and isinstance(value, dict) and "grade" in value and scatter(user, "cut") % _UNREADABLE == 0:
        return text[: max(1, len(text) * 2 // 3)]
    return text


class _Filler:
    def __init__(self, user: str, choose: Choose, say: Say, special: bool) -> None:
        self._user, self._choose, self._say, self._special = user, choose, say, special
        self._request = _request(user)

    def value(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        if isinstance(schema.get("const"), (str, int, float, bool)):
            return schema["const"]
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options and isinstance(options[0], Mapping):
            return self.value(options[0], name, depth)
        if self._special and name == "grade":
            return self._grade(schema)
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            texts = [_spoken(value) for value in schema["enum"]]
            picked = self._choose(texts)
            return schema["enum"][texts.index(picked) if picked in texts else 0]
        kind = _kind(schema)
        if kind == "OBJECT":
            return self._object(schema, depth)
        if kind == "ARRAY":
            return self._array(schema, name, depth)
        if kind in ("INTEGER", "NUMBER"):
            return self._number(schema, kind, name)
        if kind == "BOOLEAN":
            return bool(scatter(self._user, name) & 1)
        return None if kind == "NULL" else self._string(schema, name)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        # A schema that contains itself is filled with what is required only, once it is deep.
        names = [name for name in properties if depth < _DEPTH or name in required]
        filled = {
            name: self.value(properties[name], name, depth + 1)
            for name in names
            if isinstance(properties[name], Mapping)
        }
        return filled | {name: self._say() for name in required if name not in filled}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        items = schema.get("items")
        items = items if isinstance(items, Mapping) else {"type": "STRING"}
        least, most = _whole(schema.get("minItems"), 0), _whole(schema.get("maxItems"), 1 << 30)
        if self._special and name == "paraphrases" and _kind(items) == "STRING" and not items.get("enum"):
            count = _whole(self._request.get("count"), max(least, 1))
            original = str(self._request.get("text", self._user))
            return paraphrases(original, min(max(count, least, 0), most, 256))
        count = min(max(least, 1 if depth < _DEPTH else 0), most)
        return [self.value(items, f"{name}{i}" if i else name, depth + 1) for i in range(count)]

    def _number(self, schema: Mapping[str, Any], kind: str, name: str) -> int | float:
        """The first number of the user turn that is within the bounds; otherwise a bound, or 0."""
        low, high = _bounds(schema, -math.inf, math.inf)
        for found in re.findall(r"(?<![\w.])-?\d{1,12}(?:\.\d{1,6})?(?![\w.])", self._user):
            number = float(found)
            if low <= number <= high and (kind == "NUMBER" or number.is_integer()):
                return int(number) if kind == "INTEGER" else number
        nearest = min(max(0.0, low), high)
        return math.ceil(nearest) if kind == "INTEGER" else nearest

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.get("format") == "date-time":
            return "2025-01-01T00:00:00Z"
        if schema.get("format") == "date":
            return "2025-01-01"
        least, most = _whole(schema.get("minLength"), 0), _whole(schema.get("maxLength"), 1 << 30)
        if self._special and name == "reason":
            said = "simulated: graded from the words, the length and the tone of the answer"
        else:
            said = self._say()
        return said.ljust(least, ".")[:most]

    def _grade(self, schema: Mapping[str, Any]) -> Any:
        share = quality(self._request, self._user)
        values = schema.get("enum")
        if isinstance(values, list) and values:
            ordered = _worst_first(values)
            return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
        kind = _kind(schema)
        if kind not in ("INTEGER", "NUMBER"):
            return self._string(schema, "grade")
        low, high = _bounds(schema, 1, 5)
        grade = low + share * (high - low)
        if kind == "NUMBER":
            return min(max(round(grade, 2), low), high)
        return min(max(round(grade), math.ceil(low)), math.floor(high))


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if str(entry).upper() != "NULL"), "NULL")
    if not isinstance(kind, str) or kind.upper() == "TYPE_UNSPECIFIED":
        kind = "OBJECT" if "properties" in schema else "ARRAY" if "items" in schema else "STRING"
    return kind.upper()


def _whole(value: Any, otherwise: int) -> int:
    """Google's JSON writes 64-bit integers as strings."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _bounds(schema: Mapping[str, Any], low: float, high: float) -> tuple[float, float]:
    """minimum and maximum; one that is missing is never on the wrong side of the other."""
    least, most = schema.get("minimum"), schema.get("maximum")
    low = float(least) if isinstance(least, (int, float)) else low if most is None else min(low, float(most))
    return low, float(most) if isinstance(most, (int, float)) else max(high, low)


def _spoken(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _request(user: str) -> Mapping[str, Any]:
    try:
        value = json.loads(user)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


_GOOD_FIRST = re.compile(
    r"\s*(?:excellent|great|good|yes|pass|correct|true|best|high|优|好|是|正确|通过)", re.IGNORECASE
)


def _worst_first(values: Sequence[Any]) -> list[Any]:
    """Numbers ascending; words as listed, turned round when the first one is a word of praise."""
    if all(re.fullmatch(r"-?\d+(?:\.\d+)?", _spoken(value)) for value in values):
        return sorted(values, key=lambda value: float(_spoken(value)))
    return list(reversed(values)) if _GOOD_FIRST.match(_spoken(values[0])) else list(values)
