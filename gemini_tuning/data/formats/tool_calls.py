"""Function calls, their results and their declarations: from OpenAI's and ShareGPT's forms to Gemini's.

OpenAI pairs a call with its result by an id; Gemini by the function's name and the order. The ids are read to find the
name and are not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NoReturn

from ...types import Json, Location, Part
from .row_values import as_list, canonical, is_missing, kind, parse_json, refuse

_DECLARED = ("name", "description", "parameters")


def call_part(function: Json, field: str, where: Location) -> tuple[str, Part]:
    """The name and the `functionCall` of an object with `name` and `arguments`.

    `arguments` is the JSON text of an object, or the object itself; an empty text is no arguments, as some servers
    write them. A text inside a text is refused, not unpacked.
    """
    if not isinstance(function, Mapping):
        refuse(where, field, f"expected an object with name and arguments, found {kind(function)}", "data-shape")
    name = _name(function.get("name"), f"{field}.name", where)
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _arguments(arguments, f"{field}.arguments", where)
    elif is_missing(arguments):
        arguments = {}
    elif not isinstance(arguments, Mapping):
        _refuse_arguments(f"expected the JSON text of an object, found {kind(arguments)}", f"{field}.arguments", where)
    return name, Part(other=canonical({"functionCall": {"name": name, "args": arguments}}, where, f"{field}.arguments"))


def _arguments(text: str, field: str, where: Location) -> dict[str, Json]:
    if not text.strip():
        return {}
    try:
        value = parse_json(text)
    except ValueError as error:
        _refuse_arguments(f"it is not JSON: {error}", field, where)
    if isinstance(value, str):
        _refuse_arguments("it is a JSON text inside a JSON text: encoded twice", field, where)
    if not isinstance(value, dict):
        _refuse_arguments(f"expected the JSON text of an object, found that of {kind(value)}", field, where)
    return value


def _refuse_arguments(what: str, field: str, where: Location) -> NoReturn:
    refuse(
        where, field, what, "data-tool-arguments", 'write the arguments as one JSON object: "{\\"city\\": \\"Rome\\"}".'
    )


def _name(value: Json, field: str, where: Location) -> str:
    if not isinstance(value, str) or not value:
        refuse(where, field, f"expected the name of a function, found {kind(value)}", "data-shape")
    return value


def calls_in(text: str, field: str, where: Location) -> list[Json]:
    """The calls of a message that holds nothing else: JSON of one call, or of a list of calls."""
    try:
        value = parse_json(text)
    except ValueError as error:
        _refuse_arguments(f"it is not the JSON of a call: {error}", field, where)
    if value == []:
        refuse(where, field, "it is empty: there is no call", "data-empty")
    return value if isinstance(value, list) else [value]


class OpenCalls:
    """The calls of a conversation that have no result yet.

    A result says which call it is of by the call's id or by the function's name; ShareGPT's say neither, and are taken
    in the order of the calls just before them.
    """

    def __init__(self, where: Location) -> None:
        self._where = where
        # By the number of the call: its id, the function's name, the turn. A conversation may have very many of them,
        # so the numbers that wait for an id or a name are kept too; those that wait no longer are dropped when met.
        self._open: dict[int, tuple[Json, str, int]] = {}
        self._count = 0
        self._oldest = 0
        self._by_identity: dict[Json, deque[int]] = {}
        self._by_name: dict[Json, deque[int]] = {}

    def call(self, function: Json, identity: Json, turn: int, field: str) -> Part:
        """The part of a call, which from now on waits for its result."""
        name, part = call_part(function, field, self._where)
        self._open[self._count] = (identity, name, turn)
        self._by_identity.setdefault(_key(identity), deque()).append(self._count)
        self._by_name.setdefault(name, deque()).append(self._count)
        self._count += 1
        return part

    def check_order(self, messages: list[Mapping[str, Json]], turn: int, field: str) -> None:
        """Results that do not say what they are of must be as many as the calls of the turn before them."""
        if any(not is_missing(message.get(key)) for message in messages for key in ("tool_call_id", "name")):
            return
        waiting = {number: each for number, each in self._open.items() if each[2] == turn}
        if len(waiting) != len(messages):
            what = f"results of functions: {len(messages)}; calls just before that have none: {len(waiting)}"
            hint = "each result follows its call; a call that was written as text must become one."
            refuse(self._where, field, what, "data-tool-response", hint)
        self._open = waiting

    def name_of(self, message: Mapping[str, Json], field: str) -> str:
        """The name of the function that a result is of; its call waits no longer."""
        identity, name = message.get("tool_call_id"), message.get("name")
        if not is_missing(identity):
            key, at = "tool_call_id", self._find(self._by_identity, identity)
            what = f"no call before it has the id {str(identity)[:40]!r} and no result"
        elif not is_missing(name):
            key, at = "name", self._find(self._by_name, name)
            what = f"no call before it is of {str(name)[:40]!r} and has no result"
        else:
            key, at, what = "role", self._first(), "no call before it has no result"
        if at is None:
            refuse(self._where, f"{field}.{key}", what, "data-tool-response", "each result follows its call.")
        return self._open.pop(at)[1]

    def _find(self, waiting: dict[Json, deque[int]], wanted: Json) -> int | None:
        numbers = waiting.get(_key(wanted), deque())
        while numbers and numbers[0] not in self._open:
            numbers.popleft()
        return numbers[0] if numbers else None

    def _first(self) -> int | None:
        while self._oldest < self._count and self._oldest not in self._open:
            self._oldest += 1
        return self._oldest if self._oldest < self._count else None


def _key(value: Json) -> Json:
    """An id as the key of a dictionary: it should be a text, and may be anything."""
    return value if isinstance(value, str | int) else ("", repr(value))


def response_part(name: str, text: str, field: str, where: Location) -> Part:
    """The `functionResponse` of a result: a JSON object as it is, any other text as `{"output": text}`."""
    return Part(other=canonical({"functionResponse": {"name": name, "response": response_of(text)}}, where, field))


def response_of(text: str) -> dict[str, Json]:
    """A result's text as the object that Gemini needs."""
    if text.lstrip()[:1] == "{":
        try:
            value = parse_json(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
    return {"output": text}


def declarations(value: Json, field: str, where: Location) -> str | None:
    """A list of functions (also as JSON text) as Gemini's `tools`; None when it declares nothing.

    Takes OpenAI's `{"type": "function", "function": {...}}` and bare functions. The JSON schema of the parameters is
    kept as it is; `strict` and other keys that Gemini has no place for are left out.
    """
    if is_missing(value) or value == "":
        return None
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            refuse(where, field, f"expected the JSON text of a list of functions: {error}", "data-shape")
    functions = as_list(value)
    if functions is None:
        refuse(where, field, f"expected a list of functions, found {kind(value)}", "data-shape")
    declared = [_declaration(each, f"{field}[{at}]", where) for at, each in enumerate(functions)]
    return canonical([{"functionDeclarations": declared}], where, field) if declared else None


def _declaration(function: Any, field: str, where: Location) -> dict[str, Json]:
    if isinstance(function, Mapping) and isinstance(function.get("function"), Mapping):
        function, field = function["function"], f"{field}.function"
    if not isinstance(function, Mapping):
        refuse(where, field, f"expected a function with a name, found {kind(function)}", "data-shape")
    if "name" not in function:
        found = ", ".join(map(repr, function)) or "nothing"
        what = f"expected a function with a name, found {found}"
        refuse(where, field, what, "data-shape", "only functions can be declared for tuning.")
    _name(function["name"], f"{field}.name", where)
    return {name: function[name] for name in _DECLARED if not is_missing(function.get(name))}
