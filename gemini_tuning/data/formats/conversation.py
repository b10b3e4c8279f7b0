"""Messages read one after the other into turns: who speaks, what is said, functions called and their results.

OpenAI's chat, ShareGPT and their relatives differ in the names of things, not in what they say, so one reader takes
them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ...types import Example, Json, Location, Part, Turn
from .content import content_parts
from .media import Placeholders
from .row_values import (
    TO_LEARN,
    as_list,
    check_deep,
    has,
    is_missing,
    kind,
    optional_text,
    other_columns,
    parse_json,
    plain_json,
    refuse,
)
from .tool_calls import OpenCalls, calls_in, declarations, response_part

_ROLES = {
    "user": "user", "human": "user",
    "assistant": "model", "gpt": "model", "model": "model", "chatgpt": "model", "bing": "model", "bard": "model",
    "bot": "model",
    "system": "system", "developer": "system",
    "function_call": "call", "tool_call": "call",
    "tool": "result", "function": "result", "observation": "result", "tool_response": "result",
    "function_response": "result",
}  # fmt: skip
_SPOKEN = frozenset(
    {"role", "from", "author", "content", "value", "tool_calls", "function_call", "tool_call_id", "refusal",
     "weight", "train", "loss"}
)  # fmt: skip
_PYTHON_LIST = re.compile(r"\s*(?:array\()?\[\s*\{\s*'")


class Conversation:
    """Reads messages one after the other into turns.

    Args:
        where: The place of the row.
        files: What `<image>` and its like in the texts stand for.
    """

    def __init__(self, where: Location, files: Placeholders | None = None) -> None:
        self._where = where
        self._files = files
        self._system: str | None = None
        self._system_field = ""
        self._turns: list[Turn] = []
        self._last_field = ""
        self._last_kind = ""
        self._open = OpenCalls(where)
        self._weights: dict[int, Json] = {}
        self._rest: dict[str, Json] = {}

    # --- messages ---

    def system_column(self, row: Mapping[str, Json]) -> None:
        """The system instruction of a column of its own."""
        if "system" in row:
            self._system, self._system_field = optional_text(row, "system", self._where), "system"

    def add_all(self, messages: Json, field: str) -> None:
        """All messages of a list, or of the JSON text of one, which is what a cell of a table holds."""
        if isinstance(messages, str):
            messages = self._listed(messages, field)
        each = as_list(messages)
        if not each:
            found = "an empty list" if each == [] else kind(messages)
            refuse(self._where, field, f"expected a list of messages, found {found}", "data-shape")
        at = 0
        while at < len(each):
            at = self._add(each, at, field)

    def _listed(self, text: str, field: str) -> list[Json]:
        what = "expected a list of messages, found a text"
        try:
            value = parse_json(text)
        except ValueError as error:
            if _PYTHON_LIST.match(text):
                hint = "it was written by Python's str(): write json.dumps(messages)."
                refuse(self._where, field, f"{what} that is a Python list and not JSON", "data-shape", hint)
            refuse(self._where, field, f"{what} that is not JSON: {error}", "data-shape")
        if not isinstance(value, list):
            refuse(self._where, field, f"{what} that is the JSON of {kind(value)}", "data-shape")
        return value

    def _add(self, messages: list[Json], at: int, name: str) -> int:
        """Reads the message (the results of functions: all of them in a row) and gives the place of the next."""
        message, field = messages[at], f"{name}[{at}]"
        if not isinstance(message, Mapping):
            refuse(self._where, field, f"expected an object, found {kind(message)}", "data-shape")
        if "human" in message and "assistant" in message:  # ms-swift writes question and answer as one
            self.say("user", message["human"], f"{field}.human")
            self.say("model", message["assistant"], f"{field}.assistant")
            return at + 1
        role = self._role(message, field)
        if role == "result":
            return self._results(messages, at, name)
        if role == "system":
            self._add_system(message, field)
        elif role == "call":
            self._call(message, field)
        else:
            self._turn(role, message, field)
        if len(message) > 2:
            self._notice(message, role, field)
        return at + 1

    def _role(self, message: Mapping[str, Json], field: str) -> str:
        given = message.get("role") or message.get("from") or message.get("author")
        role = _ROLES.get(given) if isinstance(given, str) else None
        if role is None:
            key = next((key for key in ("role", "from", "author") if key in message), "role")
            found = repr(given) if isinstance(given, str) else f"{kind(given)}"
            hint = f"the roles are {', '.join(sorted(_ROLES))}."
            refuse(self._where, f"{field}.{key}", f"nobody is called {found}", "data-role", hint)
        return role

    def _add_system(self, message: Mapping[str, Json], field: str) -> None:
        if self._turns:
            what = "a system message in the middle of the conversation"
            hint = "Gemini has one system instruction, before the first turn: move it there, or to the user's turn."
            refuse(self._where, f"{field}.role", what, "data-role", hint)
        text = self._text(message, field)
        if not text:
            return
        if self._system_field and self._system is not None:
            what = "it has the column 'system' and a system message"
            refuse(self._where, field, what, "data-ambiguous", "remove one of them.")
        self._system = text if self._system is None else f"{self._system}\n\n{text}"

    def say(self, role: str, value: Json, field: str) -> None:
        """One turn of text or of a list of content parts."""
        self._turn(role, {"content": value}, field.rpartition(".")[0] or field, field)

    def _turn(self, role: str, message: Mapping[str, Json], field: str, content: str = "") -> None:
        key = self._content_key(message)
        content = content or f"{field}.{key}"
        parts = content_parts(message.get(key), content, self._where, self._files)
        if role == "model":
            if not parts and isinstance(message.get("refusal"), str):
                parts = content_parts(message["refusal"], f"{field}.refusal", self._where)
            parts += self._calls(message, field)
        if all(part.other is None and not (part.text or "").strip() for part in parts):
            what = TO_LEARN if role == "model" else "the turn says nothing"
            refuse(self._where, content, f"it is empty: {what}", "data-empty", "remove the row, or fill in the value.")
        self._append(Turn(role, tuple(parts)), field, role)

    def _append(self, turn: Turn, field: str, role: str) -> None:
        self._turns.append(turn)
        self._last_field, self._last_kind = field, role

    @staticmethod
    def _content_key(message: Mapping[str, Json]) -> str:
        return "content" if "content" in message else "value" if "value" in message else "content"

    def _notice(self, message: Mapping[str, Json], role: str, field: str) -> None:
        """Keeps what Gemini has no place for: the weight of a message, the name of a speaker, and any other key."""
        if role in ("model", "call"):
            self._weight(message, field)
        self._keep(message, field)

    def _keep(self, message: Mapping[str, Json], field: str, *known: str) -> None:
        rest = {
            str(name): plain_json(value)
            for name, value in message.items()
            if name not in _SPOKEN and name not in known and value is not None
        }
        if rest:
            self._rest[field] = rest

    def _weight(self, message: Mapping[str, Json], field: str) -> None:
        for key in ("weight", "train", "loss"):
            weight = message.get(key)
            if is_missing(weight):
                continue
            if not isinstance(weight, bool | int | float):
                what = f"expected a number, true or false, found {kind(weight)}"
                refuse(self._where, f"{field}.{key}", what, "data-type")
            if weight != 1:
                self._weights[len(self._turns) - 1] = int(weight) if isinstance(weight, bool) else weight

    # --- functions ---

    def _calls(self, message: Mapping[str, Json], field: str) -> list[Part]:
        """The function calls of a message, in both of OpenAI's forms."""
        parts: list[Part] = []
        if not is_missing(message.get("tool_calls")):
            calls = as_list(message["tool_calls"])
            if calls is None:
                what = f"expected a list of calls, found {kind(message['tool_calls'])}"
                refuse(self._where, f"{field}.tool_calls", what, "data-shape")
            for at, call in enumerate(calls):
                place, identity, inner = f"{field}.tool_calls[{at}]", None, call
                if isinstance(call, Mapping):
                    identity = call.get("id")
                    if "function" in call:
                        place, inner = f"{place}.function", call["function"]
                parts.append(self._open.call(inner, identity, len(self._turns), place))
        if not is_missing(message.get("function_call")):
            parts.append(self._open.call(message["function_call"], None, len(self._turns), f"{field}.function_call"))
        return parts

    def _call(self, message: Mapping[str, Json], field: str) -> None:
        """A message that is a call and nothing else; it continues the model's turn before it."""
        content = f"{field}.{self._content_key(message)}"
        before: tuple[Part, ...] = self._turns.pop().parts if self._last_kind in ("model", "call") else ()
        parts = [
            self._open.call(call, None, len(self._turns), content)
            for call in calls_in(self._text(message, field), content, self._where)
        ]
        self._append(Turn("model", (*before, *parts)), field, "call")

    def _text(self, message: Mapping[str, Json], field: str) -> str:
        """The text of a message that cannot hold files."""
        key = self._content_key(message)
        parts = content_parts(message.get(key), f"{field}.{key}", self._where)
        if any(part.other is not None for part in parts):
            refuse(self._where, f"{field}.{key}", "a message of this role holds text only", "data-shape")
        return "".join(part.text or "" for part in parts)

    def _results(self, messages: list[Json], at: int, name: str) -> int:
        """The results of functions that follow each other, as one turn."""
        results: list[tuple[Mapping[str, Json], str]] = []
        while at < len(messages):
            message, field = messages[at], f"{name}[{at}]"
            if not isinstance(message, Mapping) or self._role(message, field) != "result":
                break
            results.append((message, field))
            at += 1
        self._open.check_order([message for message, _ in results], len(self._turns) - 1, results[0][1])
        parts = []
        for message, field in results:
            function = self._open.name_of(message, field)
            text = self._text(message, field)
            parts.append(response_part(function, text, f"{field}.{self._content_key(message)}", self._where))
            self._keep(message, field, "name")
        self._append(Turn("", tuple(parts)), results[-1][1], "result")
        return at

    # --- the example ---

    @property
    def last_role(self) -> str | None:
        """Who spoke last: `"user"`, `"model"`, `""` for the results of functions, None when nobody did."""
        return self._turns[-1].role if self._turns else None

    def trained(self, field: str) -> Example:
        """The example of a conversation that ends with the model's answer."""
        return self._finish("model", field)

    def asked(self, field: str) -> Example:
        """The example of a conversation that ends with the user: what is answered elsewhere."""
        return self._finish("user", field)

    def answer(self, message: Json, field: str) -> Turn:
        """One message of the model with text, outside the conversation."""
        if isinstance(message, str):
            message = {"role": "assistant", "content": message}
        if not isinstance(message, Mapping):
            refuse(self._where, field, f"expected an answer, found {kind(message)}", "data-completions")
        role = self._role(message, field)
        key = self._content_key(message)
        parts = content_parts(message.get(key), f"{field}.{key}", self._where)
        if role != "model" or not "".join(part.text or "" for part in parts).strip():
            what = "expected an answer of the model with text"
            refuse(self._where, field, what, "data-completions", "fill it in, or remove the row.")
        return Turn("model", tuple(parts) + tuple(self._calls(message, field)))

    def _finish(self, last: str, field: str) -> Example:
        if not self._turns:
            refuse(self._where, field, "there is no user turn", "data-shape", "a system message alone asks nothing.")
        role = self._turns[-1].role
        if role != last:
            speaker = {"": "the result of a function"}.get(role, role)
            what = f"the last turn is {speaker!r}"
            hint = "what is preferred or rewarded answers the user's last turn."
            if last == "model":
                what, hint = f"{what}: {TO_LEARN}", "supervised tuning needs the model's answer as the last turn."
            refuse(self._where, self._last_field, what, "data-last-turn", hint)
        if not any(turn.role == "user" for turn in self._turns):
            refuse(self._where, field, "there is no user turn", "data-shape")
        return Example(turns=tuple(self._turns), system=self._system, where=self._where)

    def with_columns(self, example: Example, row: Mapping[str, Json], used: set[str]) -> Example:
        """The example with the row's declarations and its other columns; all files must have been taken."""
        tools = None
        used = {*used, self._system_field} if self._system_field else used
        for name in ("tools", "functions"):
            if has(row, name):
                if tools is not None:
                    refuse(self._where, name, "functions are declared twice, in both forms", "data-ambiguous")
                tools = declarations(row[name], name, self._where)
            if name in row:
                used = used | {name}
        if self._files is not None:
            self._files.check_all_taken()
            used = used | {name for name in Placeholders.COLUMNS if name in row}
        meta = other_columns(row, used, self._where)
        for name, trace in (("weights", self._trace_of_weights()), ("message_fields", self._rest)):
            if trace:
                if name in meta:
                    what = f"a column is named {name!r}, which is where this is kept"
                    refuse(self._where, name, what, "data-column", "rename that column.")
                check_deep(trace, name, self._where)
                meta[name] = trace
        if tools is None and not meta:
            return example
        return msgspec.structs.replace(example, tools=tools, meta=meta)

    def _trace_of_weights(self) -> list[Json]:
        """One number for each turn of the model, None for the others; empty when all count the same."""
        if not self._weights:
            return []
        return [self._weights.get(at, 1) if turn.role == "model" else None for at, turn in enumerate(self._turns)]
