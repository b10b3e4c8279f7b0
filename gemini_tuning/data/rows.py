"""One record to one example and back: flat rows with two named columns, and Gemini's own tuning lines.

Sources: Google's pages on supervised tuning data and function calling, read 2026-11 (`systemInstruction`, `contents`,
`tools`; camelCase and snake_case both occur; a function response has no role).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NoReturn

import msgspec

from ..errors import DataError
from ..types import Example, Json, Location, Part, Turn

__all__ = ["Columns", "Shape", "check_unicode", "plain_json", "refuse", "shape_of", "to_example", "to_gemini"]

Shape = Literal["flat", "gemini"]

_SYSTEM = ("systemInstruction", "system_instruction")
_CAMEL = {
    "inline_data": "inlineData",
    "file_data": "fileData",
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "video_metadata": "videoMetadata",
    "media_resolution": "mediaResolution",
    "executable_code": "executableCode",
    "code_execution_result": "codeExecutionResult",
    "thought_signature": "thoughtSignature",
    "mime_type": "mimeType",
    "file_uri": "fileUri",
    "display_name": "displayName",
    "start_offset": "startOffset",
    "end_offset": "endOffset",
    "function_declarations": "functionDeclarations",
}
_PART_KINDS = frozenset(
    {"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"}
)
_MISSING = frozenset({"NAType", "NaTType"})


class Columns(msgspec.Struct, frozen=True):
    """The two named columns of flat rows."""

    input: str = "input"
    output: str = "output"


def shape_of(row: Mapping[str, Json], columns: Columns, where: Location) -> Shape:
    """Whether the row is flat or Gemini's; raises DataError when it is both, or a format that is known by name."""
    named = columns.input in row and columns.output in row
    if "contents" in row:
        if named:
            what = f"it has 'contents' (Gemini) and the columns {columns.input!r} and {columns.output!r} (flat)"
            hint = "say which it is: format='gemini', or format='jsonl', 'json' or 'csv' for the columns."
            refuse(where, None, what, "data-ambiguous", hint)
        return "gemini"
    known = _known_by_name(row, columns, named)
    if known:
        name, hint = known
        what = f"this looks like {name} (columns {', '.join(map(repr, row))}), which is not read yet"
        refuse(where, None, what, "data-format-unsupported", hint)
    return "flat"


def _known_by_name(row: Mapping[str, Json], columns: Columns, named: bool) -> tuple[str, str] | None:
    flat = "turn it into rows with one input and one output, or into Gemini's shape (contents, systemInstruction)."
    if named:
        if "instruction" in row and columns == Columns():
            return "Alpaca", (
                "put instruction and input into one column and name it with input=; or, if the column 'instruction' is "
                "not to be sent, say format='jsonl', 'json' or 'csv'."
            )
        return None
    for names, name, hint in (
        (("messages",), "OpenAI chat", flat),
        (("conversations",), "ShareGPT", flat),
        (("conversation",), "ms-swift conversations", flat),
        (("prompt", "chosen", "rejected"), "preference pairs", "only supervised data is read so far."),
        (("instruction", "output"), "Alpaca", "input='instruction' reads rows that have no other input."),
    ):
        if all(key in row for key in names) and columns.input not in names:
            return name, hint
    return None


def to_example(row: Mapping[str, Json], shape: Shape, columns: Columns, where: Location) -> Example:
    """The example that a record says, or DataError with its place."""
    return _from_gemini(row, where) if shape == "gemini" else _from_flat(row, columns, where)


# --- flat rows -----------------------------------------------------------------------------------------------------

_USUAL_PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("input_text", "output_text"),
    ("text_input", "output"), ("text", "label"), ("query", "response"),
)  # fmt: skip


def _from_flat(row: Mapping[str, Json], columns: Columns, where: Location) -> Example:
    for argument, column in (("input", columns.input), ("output", columns.output)):
        if column not in row:
            _refuse_column(row, argument, column, where)
    texts = [
        _text(row[column], column, argument, where)
        for argument, column in (("input", columns.input), ("output", columns.output))
    ]
    meta = {str(name): plain_json(value) for name, value in row.items() if name not in (columns.input, columns.output)}
    for name, value in meta.items():
        if isinstance(value, str):
            check_unicode(value, name, where)
    return Example.of(texts[0], texts[1], where=where, meta=meta)


def _refuse_column(row: Mapping[str, Json], argument: str, column: str, where: Location) -> NoReturn:
    error = DataError.missing_column(column, row, argument=argument, file=where.file, line=where.line)
    for first, second in _USUAL_PAIRS:
        if first in row and second in row:
            error.hint = f"Did you mean input={first!r}, output={second!r}?"
            break
    raise error


def _is_missing(value: object) -> bool:
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, float) and value != value


def _text(value: Json, column: str, argument: str, where: Location) -> str:
    value = _scalar(value)
    if _is_missing(value):
        refuse(where, column, "it is empty (null)", "data-empty", "remove the row, or fill in the value.")
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool | int | float):
        text = json.dumps(value)
    else:
        refuse(
            where, column, f"expected a text, found {_kind(value)}", "data-type",
            "a structured value must be written as the text that the model should give: json.dumps(value).",
        )  # fmt: skip
    if not text.strip():
        what = "there is nothing to answer" if argument == "input" else "there is nothing to learn"
        refuse(where, column, f"it is empty: {what}", "data-empty", "remove the row, or fill in the value.")
    check_unicode(text, column, where)
    return text


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _scalar(value: Json) -> Json:
    """numpy and pandas scalars as Python's own, without importing either."""
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value


def plain_json(value: Json) -> Json:
    """The value as JSON can hold it: missing ones as None, what JSON does not know (dates, ...) as its text."""
    value = _scalar(value)
    if _is_missing(value):
        return None
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(name): plain_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    return str(value)


def check_unicode(text: str, field: str, where: Location) -> None:
    """Half of a surrogate pair has no UTF-8 form, so such a text could not be uploaded: refused with its place."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        refuse(
            where, field, f"character {error.start + 1} is half of a surrogate pair ({text[error.start]!r})",
            "data-encoding", "the text was cut or decoded wrongly where it comes from.",
        )  # fmt: skip


def refuse(where: Location, field: str | None, what: str, code: str, hint: str = "") -> NoReturn:
    """Raises DataError for a place."""
    raise DataError.at(what, file=where.file, line=where.line, field=field, hint=hint, code=code)


# --- Gemini's lines ------------------------------------------------------------------------------------------------


def canonical(value: Json, where: Location, field: str) -> str:
    """JSON with sorted keys and without spaces: equal values give equal text."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    check_unicode(text, field, where)
    return text


def _camel(value: Mapping[str, Json]) -> dict[str, Json]:
    return {_CAMEL.get(name, name): inner for name, inner in value.items()}


def _from_gemini(row: Mapping[str, Json], where: Location) -> Example:
    for name in ("completions", "references"):
        if name in row:
            method = "preference" if name == "completions" else "reinforcement"
            refuse(
                where, name, f"this is a line for {method} tuning, which is not read yet", "data-format-unsupported",
                "supervised lines have 'contents' that end with the model's turn.",
            )  # fmt: skip
    contents = row.get("contents")
    if not isinstance(contents, list) or not contents:
        found = "an empty list" if contents == [] else _kind(contents)
        refuse(where, "contents", f"expected a list of turns, found {found}", "data-shape")
    turns = tuple(_turn(turn, f"contents[{at}]", where) for at, turn in enumerate(contents))
    last = turns[-1]
    if last.role != "model":
        refuse(
            where, f"contents[{len(turns) - 1}].role",
            f"the last turn is {last.role or 'a function response'!r}: there is nothing to learn", "data-last-turn",
            "supervised tuning needs the model's answer as the last turn.",
        )  # fmt: skip
    if not any(turn.role == "user" for turn in turns):
        refuse(where, "contents", "there is no user turn", "data-shape")
    for at, turn in enumerate(turns):
        if not turn.text.strip() and all(part.other is None for part in turn.parts):
            what = "there is nothing to learn" if at == len(turns) - 1 else "the turn says nothing"
            hint = "remove the line, or fill it in."
            refuse(where, f"contents[{at}].parts", f"it is empty: {what}", "data-empty", hint)
    systems = [name for name in _SYSTEM if row.get(name) is not None]
    if len(systems) > 1:
        refuse(where, systems[1], "systemInstruction is given twice, in both spellings", "data-ambiguous")
    tools = row.get("tools")
    if tools is not None:
        if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
            refuse(where, "tools", f"expected a list of objects, found {_kind(tools)}", "data-shape")
        tools = [_camel(tool) for tool in tools]
    known = {"contents", "tools", *_SYSTEM}
    return Example(
        turns=turns,
        system=_system(row[systems[0]], systems[0], where) if systems else None,
        tools=canonical(tools, where, "tools") if tools else None,
        where=where,
        meta={
            ("generationConfig" if name == "generation_config" else str(name)): plain_json(value)
            for name, value in row.items()
            if name not in known
        },
    )


def _system(value: Json, name: str, where: Location) -> str:
    parts = value.get("parts") if isinstance(value, Mapping) else None
    if isinstance(parts, list) and parts and all(isinstance(part, Mapping) and _is_text(part) for part in parts):
        text = "".join(part["text"] for part in parts)
        check_unicode(text, name, where)
        return text
    return refuse(
        where, name, f"expected {{'parts': [{{'text': ...}}]}}, found {_kind(value)} of another form", "data-shape"
    )


def _is_text(part: Mapping[str, Json]) -> bool:
    return set(part) == {"text"} and isinstance(part["text"], str)


def _turn(turn: Json, field: str, where: Location) -> Turn:
    if not isinstance(turn, Mapping):
        refuse(where, field, f"expected an object with role and parts, found {_kind(turn)}", "data-shape")
    if "parts" not in turn:
        hint = "Gemini's turns have parts: [{'text': ...}]; 'content' is OpenAI's." if "content" in turn else ""
        found = ", ".join(map(repr, turn)) or "nothing"
        refuse(where, f"{field}.parts", f"it is missing; the turn has {found}", "data-shape", hint)
    raw = turn["parts"]
    if not isinstance(raw, list) or not raw:
        found = "an empty list" if raw == [] else _kind(raw)
        code = "data-empty" if raw == [] else "data-shape"
        refuse(where, f"{field}.parts", f"expected a list of parts, found {found}", code)
    parts = tuple(_part(part, f"{field}.parts[{at}]", where) for at, part in enumerate(raw))
    role = turn.get("role") or ""
    response = any(part.other is not None and "functionResponse" in json.loads(part.other) for part in parts)
    if response and role in ("", "user", "function", "tool"):
        return Turn("", parts)
    if role not in ("user", "model"):
        hint = {
            "assistant": "Gemini's name for it is 'model'.",
            "system": "a system prompt belongs into systemInstruction.",
        }.get(role, "")
        refuse(where, f"{field}.role", f"expected 'user' or 'model', found {role!r}", "data-role", hint)
    return Turn(role, parts)


def _part(part: Json, field: str, where: Location) -> Part:
    if not isinstance(part, Mapping):
        hint = "write {'text': ...}." if isinstance(part, str) else ""
        refuse(where, field, f"expected an object, found {_kind(part)}", "data-shape", hint)
    part = _camel(part)
    kinds = _PART_KINDS & set(part)
    if len(kinds) != 1:
        found = ", ".join(map(repr, part)) or "nothing"
        refuse(where, field, f"expected exactly one of {', '.join(sorted(_PART_KINDS))}; found {found}", "data-shape")
    text = part.get("text")
    if "text" in part:
        if not isinstance(text, str):
            refuse(where, f"{field}.text", f"expected a text, found {_kind(text)}", "data-type")
        check_unicode(text, f"{field}.text", where)
    nested = ("fileData", "inlineData", "videoMetadata")
    other = {
        name: _camel(value) if name in nested and isinstance(value, Mapping) else value
        for name, value in part.items()
        if name != "text"
    }
    return Part(text=text, other=canonical(other, where, field) if other else None)


# --- and back ------------------------------------------------------------------------------------------------------


def _content(turn: Turn) -> dict[str, Json]:
    parts = [
        {**({} if part.text is None else {"text": part.text}), **({} if part.other is None else json.loads(part.other))}
        for part in turn.parts
    ]
    return {"role": turn.role, "parts": parts} if turn.role else {"parts": parts}


def to_gemini(example: Example) -> dict[str, Json]:
    """The JSON of one tuning line, camelCase, exactly what is uploaded.

    Other columns are not sent. `generationConfig` is, when the line that was read had one (media resolution).
    """
    line: dict[str, Json] = {}
    if example.system is not None:
        line["systemInstruction"] = {"role": "system", "parts": [{"text": example.system}]}
    line["contents"] = [_content(turn) for turn in example.turns]
    if example.completions:
        line["completions"] = [{"score": each.score, "completion": _content(each.turn)} for each in example.completions]
    if example.references is not None:
        line["references"] = json.loads(example.references)
    if example.tools is not None:
        line["tools"] = json.loads(example.tools)
    if isinstance(example.meta.get("generationConfig"), Mapping):
        line["generationConfig"] = example.meta["generationConfig"]
    return line
