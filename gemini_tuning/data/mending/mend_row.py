"""The habits of other formats inside one row, written as Gemini's own shape has it.

Each is a matter of spelling: `assistant` for `model`, `content` for `parts`, a text where a list of one text belongs.
What a row lacks is not made up here; `to_example` refuses it afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from ...types import Json, Location
from ..formats.rows import Columns
from .mend_json import value_of
from .report import Change

_SYSTEM = ("systemInstruction", "system_instruction")
_OPTIONAL = (*_SYSTEM, "tools", "generationConfig", "generation_config", "completions", "references")
_ROLES = {
    "assistant": "model", "bot": "model", "gpt": "model", "ai": "model", "model": "model",
    "human": "user", "user": "user",
}  # fmt: skip
_CHAT_ROLES = {"gpt": "assistant", "bot": "assistant", "ai": "assistant", "model": "assistant", "human": "user"}
_SYSTEM_ROLES = frozenset({"system", "developer"})
_NESTED = 3
"""How often JSON inside a JSON text is undone; rows met in the wild have two."""


class Note(NamedTuple):
    """One change inside a row."""

    code: str
    what: str
    field: str | None
    before: Json
    after: Json

    def change(self, where: Location) -> Change:
        """The same with its place, for the report."""
        return Change.of(self.code, self.what, where, field=self.field, before=self.before, after=self.after)


def mend_row(row: Mapping[str, Json], columns: Columns, notes: list[Note]) -> dict[str, Json]:
    """A row with everything put right that is a matter of spelling; each change is added to `notes`."""
    mended = _names(row, notes)
    if "contents" in mended and not (columns.input in mended and columns.output in mended):
        return _gemini(mended, notes)
    if isinstance(mended.get("messages"), list):
        return {**mended, "messages": [_message(each, at, notes) for at, each in enumerate(mended["messages"])]}
    return mended


def _names(row: Mapping[str, Json], notes: list[Note]) -> dict[str, Json]:
    """Names without a byte order mark at their beginning: it comes from a file that was put together of several."""
    plain = {name.lstrip("\ufeff"): value for name, value in row.items()}
    if len(plain) != len(row) or plain.keys() == row.keys():
        return dict(row)
    marked = next(name for name in row if name.startswith("\ufeff"))
    notes.append(Note("bom", "a byte order mark (U+FEFF) in a name was removed", None, marked, marked.lstrip("\ufeff")))
    return plain


# --- Gemini's shape ------------------------------------------------------------------------------------------------


def _gemini(row: dict[str, Json], notes: list[Note]) -> dict[str, Json]:
    row = _without_nulls(row, _OPTIONAL, "", notes)
    for name, kind in (("contents", list), ("tools", list), ("completions", list), ("references", dict)):
        if isinstance(row.get(name), str):
            row = {**row, name: decoded(row[name], kind, name, notes)}
    contents = row["contents"]
    if not isinstance(contents, list):
        return row
    row = _system_value(row, notes)
    turns = [_turn(turn, f"contents[{at}]", notes) for at, turn in enumerate(contents)]
    row, turns = _system_turn(row, turns, notes)
    row = {**row, "contents": _missing_roles(turns, notes)}
    if isinstance(row.get("completions"), list):
        row["completions"] = [
            {**each, "completion": _turn(each["completion"], f"completions[{at}].completion", notes)}
            if isinstance(each, dict) and "completion" in each
            else each
            for at, each in enumerate(row["completions"])
        ]
    return row


def _without_nulls(value: dict[str, Json], names: tuple[str, ...], field: str, notes: list[Note]) -> dict[str, Json]:
    empty = [name for name in names if name in value and value[name] is None]
    for name in empty:
        place = f"{field}.{name}" if field else name
        notes.append(Note("null", "a field that may be missing was null: removed", place, None, ""))
    return {name: inner for name, inner in value.items() if name not in empty}


def decoded(text: str, kind: type, field: str, notes: list[Note]) -> Json:
    """The value of a JSON text, undone as often as it was encoded; the text itself where that gives another kind."""
    value: Json = text
    for _ in range(_NESTED):
        try:
            value = value_of(value)
        except ValueError:
            return text
        if isinstance(value, kind):
            notes.append(Note("encoded-json", "JSON that was written as a text was decoded", field, text, value))
            return value
        if not isinstance(value, str):
            return text
    return text


def _system_value(row: dict[str, Json], notes: list[Note]) -> dict[str, Json]:
    """A system instruction of another form as `{"parts": [{"text": ...}]}`, and given once."""
    if all(name in row for name in _SYSTEM) and row[_SYSTEM[0]] == row[_SYSTEM[1]]:
        notes.append(Note("system", "it was given twice, with equal text", _SYSTEM[1], row[_SYSTEM[1]], ""))
        row = {name: value for name, value in row.items() if name != _SYSTEM[1]}
    for name in _SYSTEM:
        value = row.get(name)
        if isinstance(value, str) and not value.strip():
            notes.append(Note("system", "an empty system instruction was removed", name, value, ""))
            row = {key: inner for key, inner in row.items() if key != name}
            continue
        if isinstance(value, dict) and set(value) <= {"role", "parts", "text", "content"}:
            body = [key for key in ("parts", "text", "content") if value.get(key) is not None]
            parts = _parts(value[body[0]]) if len(body) == 1 else None
        else:
            parts = _parts(value) if isinstance(value, str | list) else None
        if parts is not None and not (isinstance(value, dict) and value.get("parts") == parts):
            mended = {"role": "system", "parts": parts}
            notes.append(Note("system", "written as {'parts': [{'text': ...}]}", name, value, mended))
            row = {**row, name: mended}
    return row


def _turn(turn: Json, field: str, notes: list[Note]) -> Json:
    if not isinstance(turn, dict):
        return turn
    turn = _without_nulls(turn, ("role", "parts", "content", "text"), field, notes)
    if "from" in turn and "role" not in turn:
        notes.append(Note("role", "'from' is 'role'", f"{field}.from", turn["from"], turn["from"]))
        turn = {("role" if name == "from" else name): value for name, value in turn.items()}
    body = [name for name in ("parts", "content", "text", "value") if name in turn]
    # With other fields beside it (`name`, `tool_calls`) there is more to the turn than its text.
    if len(body) == 1 and set(turn) <= {"role", *body}:
        value = turn[body[0]]
        parts = _parts(value)
        if parts is not None and (body[0] != "parts" or parts != value):
            notes.append(Note("parts", "written as parts: [{'text': ...}]", f"{field}.{body[0]}", value, parts))
            turn = {**{name: inner for name, inner in turn.items() if name != body[0]}, "parts": parts}
    if isinstance(turn.get("parts"), list):
        parts = [_part(part, f"{field}.parts[{at}]", notes) for at, part in enumerate(turn["parts"])]
        turn = {**turn, "parts": parts}
    role = turn.get("role")
    if isinstance(role, str):
        known = _ROLES.get(role.strip().lower(), role)
        if known != role:
            notes.append(Note("role", f"the role {role!r} is Gemini's {known!r}", f"{field}.role", role, known))
            turn = {**turn, "role": known}
    return turn


def _parts(value: Json) -> list[Json] | None:
    """A text, a list with texts in it, or one part, as a list of parts; None for anything else."""
    if isinstance(value, str):
        return [{"text": value}]
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list):
        return [
            {"text": each} if isinstance(each, str)
            else {"text": each["text"]} if isinstance(each, dict) and set(each) == {"type", "text"} else each
            for each in value
        ]  # fmt: skip
    return None


def _part(part: Json, field: str, notes: list[Note]) -> Json:
    if not isinstance(part, dict):
        return part
    part = _without_nulls(part, tuple(part), field, notes)
    for name in ("functionCall", "function_call"):
        call = part.get(name)
        if not isinstance(call, dict):
            continue
        if "arguments" in call and "args" not in call:
            notes.append(Note("parts", "'arguments' is 'args'", f"{field}.{name}", "arguments", "args"))
            call = {("args" if key == "arguments" else key): value for key, value in call.items()}
        if isinstance(call.get("args"), str):
            call = {**call, "args": decoded(call["args"], dict, f"{field}.{name}.args", notes)}
        part = {**part, name: call}
    return part


def _system_turn(row: dict[str, Json], turns: list[Json], notes: list[Note]) -> tuple[dict[str, Json], list[Json]]:
    """A first turn of the system's as the system instruction, where there is none yet and it is text only."""
    first = turns[0] if turns else None
    if not isinstance(first, dict) or any(name in row for name in _SYSTEM):
        return row, turns
    role, parts = first.get("role"), first.get("parts")
    if not isinstance(role, str) or role.strip().lower() not in _SYSTEM_ROLES or not isinstance(parts, list):
        return row, turns
    if not parts or not all(isinstance(part, dict) and set(part) == {"text"} for part in parts):
        return row, turns
    notes.append(Note("system", "the system's turn is the system instruction", "contents[0]", first, ""))
    return {**row, "systemInstruction": {"role": "system", "parts": parts}}, turns[1:]


def _missing_roles(turns: list[Json], notes: list[Note]) -> list[Json]:
    """A turn without a role between two turns of one speaker is the other's. Anywhere else it could be either's."""
    mended = list(turns)
    for at in range(1, len(turns) - 1):
        before, turn, after = turns[at - 1 : at + 2]
        if not all(isinstance(each, dict) for each in (before, turn, after)) or turn.get("role"):
            continue
        parts = turn.get("parts")
        texts = isinstance(parts, list) and all(isinstance(part, dict) and set(part) == {"text"} for part in parts)
        speaker = before.get("role")
        other = {"user": "model", "model": "user"}.get(speaker) if isinstance(speaker, str) else None
        if other is not None and after.get("role") == speaker and texts:
            what = "a turn between two of one speaker is the other's"
            notes.append(Note("missing-role", what, f"contents[{at}].role", turn.get("role"), other))
            mended[at] = {**turn, "role": other}
    return mended


# --- OpenAI's shape ------------------------------------------------------------------------------------------------


def _message(message: Json, at: int, notes: list[Note]) -> Json:
    """A message with a role that OpenAI knows, and with the arguments of its calls encoded once."""
    if not isinstance(message, dict):
        return message
    field = f"messages[{at}]"
    role = message.get("role")
    if isinstance(role, str) and role.strip().lower() in _CHAT_ROLES:
        known = _CHAT_ROLES[role.strip().lower()]
        notes.append(Note("role", f"the role {role!r} is OpenAI's {known!r}", f"{field}.role", role, known))
        message = {**message, "role": known}
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    mended = []
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            given = function["arguments"]
            seen: list[Note] = []
            value = decoded(given, dict, f"{field}.tool_calls[{number}].function.arguments", seen)
            if isinstance(value, dict) and not _is_object(given):
                notes += seen
                call = {**call, "function": {**function, "arguments": json.dumps(value, ensure_ascii=False)}}
        mended.append(call)
    return {**message, "tool_calls": mended}


def _is_object(text: str) -> bool:
    """Whether a text is JSON of an object, as it should be."""
    return isinstance(json.loads(text), dict)
