"""Gemini's own tuning lines in and out: supervised, preference and reinforcement.

Sources: Google's pages on preparing data for supervised, preference and reinforcement tuning and on function calling,
read 2026-11. camelCase and snake_case both occur there; a function response has no role.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ...types import Completion, Example, Json, Location, Part, Turn
from .row_values import (
    as_list,
    canonical,
    check_unicode,
    has,
    is_missing,
    kind,
    other_columns,
    refuse,
    refuse_missing,
)

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
_NESTED = ("fileData", "inlineData", "videoMetadata")
_USED = frozenset({"contents", "tools", "completions", "references", *_SYSTEM})


def from_gemini(row: Mapping[str, Json], where: Location) -> Example:
    """The example of a tuning line; `completions` make it a preference line, `references` a reinforcement line."""
    if "contents" not in row:
        refuse_missing(row, "contents", where)
    contents = as_list(row["contents"])
    if not contents:
        found = "an empty list" if contents == [] else kind(row["contents"])
        refuse(where, "contents", f"expected a list of turns, found {found}", "data-shape")
    turns = tuple(_turn(turn, f"contents[{at}]", where) for at, turn in enumerate(contents))
    completions, references = has(row, "completions"), has(row, "references")
    if completions and references:
        what = "it has 'completions' (preference) and 'references' (reinforcement)"
        refuse(where, None, what, "data-ambiguous", "a line is for one method: remove the other.")
    _check_turns(turns, "completions" if completions else "references" if references else None, where)
    meta = other_columns(row, _USED, where)
    if "generation_config" in meta:
        meta["generationConfig"] = meta.pop("generation_config")
    return Example(
        turns=turns,
        system=_system(row, where),
        tools=_tools(row["tools"], where) if has(row, "tools") else None,
        completions=_completions(row["completions"], where) if completions else (),
        references=read_references(row["references"], where) if references else None,
        where=where,
        meta=meta,
    )


def _check_turns(turns: tuple[Turn, ...], instead: str | None, where: Location) -> None:
    """The last turn is the one that the method needs, somebody asks, and no turn is empty."""
    last, wanted = turns[-1], "model" if instead is None else "user"
    if last.role != wanted:
        name = last.role or "a function response"
        if instead is None:
            what = f"the last turn is {name!r}: there is nothing to learn"
            hint = "supervised tuning needs the model's answer as the last turn."
        else:
            what, hint = f"the last turn is {name!r}", f"with {instead!r} the contents end with the user's turn."
        refuse(where, f"contents[{len(turns) - 1}].role", what, "data-last-turn", hint)
    if not any(turn.role == "user" for turn in turns):
        refuse(where, "contents", "there is no user turn", "data-shape")
    for at, turn in enumerate(turns):
        if not turn.text.strip() and all(part.other is None for part in turn.parts):
            what = "there is nothing to learn" if turn is last and instead is None else "the turn says nothing"
            hint = "remove the line, or fill it in."
            refuse(where, f"contents[{at}].parts", f"it is empty: {what}", "data-empty", hint)


def _camel(value: Mapping[str, Json]) -> dict[str, Json]:
    # A table with one column of objects gives each of them every key, most of them without a value.
    return {_CAMEL.get(name, name): inner for name, inner in value.items() if inner is not None}


def _system(row: Mapping[str, Json], where: Location) -> str | None:
    names = [name for name in _SYSTEM if has(row, name)]
    if not names:
        return None
    if len(names) > 1:
        refuse(where, names[1], "systemInstruction is given twice, in both spellings", "data-ambiguous")
    value = row[names[0]]
    parts = as_list(value.get("parts")) if isinstance(value, Mapping) else None
    texts = [part["text"] for part in parts or () if isinstance(part, Mapping) and _is_text(part)]
    if not parts or len(texts) != len(parts):
        what = f"expected {{'parts': [{{'text': ...}}]}}, found {kind(value)} of another form"
        refuse(where, names[0], what, "data-shape")
    text = "".join(texts)
    check_unicode(text, names[0], where)
    return text


def _is_text(part: Mapping[str, Json]) -> bool:
    return isinstance(part.get("text"), str) and all(name == "text" or part[name] is None for name in part)


def _tools(value: Json, where: Location) -> str | None:
    tools = as_list(value)
    if tools is None or not all(isinstance(tool, Mapping) for tool in tools):
        refuse(where, "tools", f"expected a list of objects, found {kind(value)}", "data-shape")
    result = [_camel(tool) for tool in tools]
    for at, tool in enumerate(result):
        functions = as_list(tool["functionDeclarations"]) if has(tool, "functionDeclarations") else []
        field = f"tools[{at}].functionDeclarations"
        if functions is None:
            found = kind(tool["functionDeclarations"])
            refuse(where, field, f"expected a list of objects, found {found}", "data-shape")
        for number, function in enumerate(functions):
            if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
                refuse(where, f"{field}[{number}]", "expected an object with a name", "data-shape")
            if not isinstance(function.get("parameters", {}), Mapping | None):
                found = kind(function["parameters"])
                refuse(where, f"{field}[{number}].parameters", f"expected an object, found {found}", "data-shape")
    return canonical(result, where, "tools") if result else None


def _turn(turn: Json, field: str, where: Location) -> Turn:
    if not isinstance(turn, Mapping):
        refuse(where, field, f"expected an object with role and parts, found {kind(turn)}", "data-shape")
    if "parts" not in turn:
        hint = "Gemini's turns have parts: [{'text': ...}]; 'content' is OpenAI's." if "content" in turn else ""
        found = ", ".join(map(repr, turn)) or "nothing"
        refuse(where, f"{field}.parts", f"it is missing; the turn has {found}", "data-shape", hint)
    raw = as_list(turn["parts"])
    if not raw:
        found, code = ("an empty list", "data-empty") if raw == [] else (kind(turn["parts"]), "data-shape")
        refuse(where, f"{field}.parts", f"expected a list of parts, found {found}", code)
    parts = tuple(_part(part, f"{field}.parts[{at}]", where) for at, part in enumerate(raw))
    role = turn.get("role") or ""
    if role in ("", "user", "function", "tool") and any(
        part.other is not None and "functionResponse" in json.loads(part.other) for part in parts
    ):
        return Turn("", parts)
    if role not in ("user", "model"):
        hint = {
            "assistant": "Gemini's name for it is 'model'.",
            "system": "a system prompt belongs into systemInstruction.",
        }.get(str(role), "")
        refuse(where, f"{field}.role", f"expected 'user' or 'model', found {role!r}", "data-role", hint)
    return Turn(role, parts)


def _part(part: Json, field: str, where: Location) -> Part:
    if not isinstance(part, Mapping):
        hint = "write {'text': ...}." if isinstance(part, str) else ""
        refuse(where, field, f"expected an object, found {kind(part)}", "data-shape", hint)
    if len(part) == 1 and type(part.get("text")) is str:  # nearly every part
        check_unicode(part["text"], f"{field}.text", where)
        return Part(text=part["text"])
    given, part = part, _camel(part)
    kinds = _PART_KINDS & set(part)
    if len(kinds) != 1:
        found = ", ".join(map(repr, given)) or "nothing"
        refuse(where, field, f"expected exactly one of {', '.join(sorted(_PART_KINDS))}; found {found}", "data-shape")
    for name in kinds - {"text"}:
        value = part[name]
        if not isinstance(value, Mapping):
            refuse(where, f"{field}.{name}", f"expected an object, found {kind(value)}", "data-shape")
        if name in ("functionCall", "functionResponse") and not isinstance(value.get("name"), str):
            refuse(where, f"{field}.{name}.name", f"expected a text, found {kind(value.get('name'))}", "data-shape")
        args = value.get("args")
        if args is not None and not isinstance(args, Mapping | str):  # a text is mended by repair, and told by check
            refuse(where, f"{field}.{name}.args", f"expected an object, found {kind(args)}", "data-tool-arguments")
    text = part.get("text")
    if "text" in part:
        if not isinstance(text, str):
            refuse(where, f"{field}.text", f"expected a text, found {kind(text)}", "data-type")
        check_unicode(text, f"{field}.text", where)
    other = {
        name: _camel(value) if name in _NESTED and isinstance(value, Mapping) else value
        for name, value in part.items()
        if name != "text"
    }
    return Part(text=text, other=canonical(other, where, field) if other else None)


def _completions(value: Json, where: Location) -> tuple[Completion, ...]:
    """Exactly two answers of the model, one with score 1 and one with score 0, that differ."""
    pair = as_list(value)
    if pair is None or len(pair) != 2:
        found = f"{len(pair)}" if pair is not None else kind(value)
        refuse(where, "completions", f"expected exactly two completions, found {found}", "data-completions")
    read: list[Completion] = []
    for at, each in enumerate(pair):
        field = f"completions[{at}]"
        if not isinstance(each, Mapping) or "score" not in each or "completion" not in each:
            refuse(where, field, "expected an object with score and completion", "data-completions")
        score = each["score"]
        if isinstance(score, bool) or not isinstance(score, int | float) or score not in (0, 1):
            what = f"expected the score 0 or 1, found {str(plain(score))[:40]!r}"
            refuse(where, f"{field}.score", what, "data-completions", "1 is the answer that is preferred.")
        turn = _turn(each["completion"], f"{field}.completion", where)
        if turn.role != "model" or not turn.text.strip():
            what = "expected a turn of the model with text"
            refuse(where, f"{field}.completion", what, "data-completions", "fill it in, or remove the line.")
        read.append(Completion(float(score), turn))
    if read[0].score == read[1].score:
        what = f"both scores are {read[0].score:g}: one must be 1, the other 0"
        refuse(where, "completions[1].score", what, "data-completions", "1 is the answer that is preferred.")
    check_differ(read[0].turn, read[1].turn, "completions", where)
    return tuple(read)


def plain(value: Json) -> Json:
    """A score as it is shown in a message."""
    return value if isinstance(value, str | int | float) else kind(value)


def check_differ(first: Turn, second: Turn, field: str, where: Location) -> None:
    """Two answers that say the same cannot be told apart by training."""
    if first == second:
        what = "both answers are equal: there is nothing to prefer"
        refuse(where, field, what, "data-completions", "remove the line.")


def read_references(value: Json, where: Location) -> str:
    """Named reference answers as canonical JSON."""
    if not isinstance(value, Mapping):
        refuse(where, "references", f"expected an object of texts, found {kind(value)}", "data-shape")
    texts = {name: text for name, text in value.items() if not is_missing(text)}
    if not texts:
        refuse(where, "references", "expected an object of texts, found none in it", "data-shape")
    for name, text in texts.items():
        if not isinstance(text, str):
            refuse(where, f"references.{name}", f"expected a text, found {kind(text)}", "data-type")
    return canonical(texts, where, "references")


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
