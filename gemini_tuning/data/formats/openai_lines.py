"""Examples as OpenAI's lines: chat, preference, and reinforcement with `references`.

OpenAI pairs a call with its result by an id. Ours are the calls' numbers in the conversation (`call_1`, `call_2`, ...),
so equal examples give equal bytes.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import NoReturn

from ...types import Example, Json, Part, Turn
from .chat_rows import from_chat
from .media import AUDIO
from .preference_rows import from_openai_preference
from .row_values import refuse
from .tool_calls import response_of

_FORMATS = {mime: name for name, mime in AUDIO.items()}


def to_openai(example: Example) -> dict[str, Json]:
    """The JSON of one line; DataError for an example that would not read back as the same one.

    OpenAI's form has no place for video, documents, signatures of thoughts, tools other than functions and a
    `generationConfig`. `weights` in `meta`, as reading leaves them, are written; other columns are not.
    """
    if isinstance(example.meta.get("generationConfig"), Mapping):
        _refuse(example, "it has a generationConfig")
    messages = _messages(example)
    tools = _tools(example)
    line: dict[str, Json]
    if example.completions:
        chosen = sorted(example.completions, key=lambda each: -each.score)
        if [each.score for each in chosen] != [1.0, 0.0]:
            _refuse(example, "its completions are not one with score 1 and one with score 0")
        asked = {"messages": messages, **({"tools": tools} if tools else {})}
        preferred, other = ([_model(each.turn, [], example)] for each in chosen)
        line = {"input": asked, "preferred_output": preferred, "non_preferred_output": other}
    else:
        line = {"messages": messages, **({"tools": tools} if tools else {})}
        if example.references is not None:
            line["references"] = _loaded(example.references, example)
    if not _is_plain(example):
        _check(example, line)
    return line


def _is_plain(example: Example) -> bool:
    """Whether there is nothing in it that the other form could lack."""
    return (
        example.tools is None
        and example.references is None
        and not example.completions
        and example.system != ""
        and bool(example.turns)
        and example.turns[-1].role == "model"
        and all(len(turn.parts) == 1 and turn.parts[0].other is None for turn in example.turns)
    )


def _check(example: Example, line: Mapping[str, Json]) -> None:
    """Reads the line again: a line that says something else is worse than none."""
    read = from_openai_preference if example.completions else from_chat
    if _said(read(line, example.where)) != _said(example):
        _refuse(example, "it holds something that OpenAI's form has no place for")


def _said(example: Example) -> tuple[object, ...]:
    """What an example says, whatever the spelling: ids of calls and absent arguments say nothing."""
    turns = tuple((turn.role, _turn_said(turn, example)) for turn in example.turns)
    pairs = sorted((each.score, _turn_said(each.turn, example)) for each in example.completions)
    return turns, example.system or None, _declared(example), pairs, example.references


def _turn_said(turn: Turn, example: Example) -> tuple[str, ...]:
    return tuple(filter(None, (_part_said(part, example) for part in turn.parts)))


def _part_said(part: Part, example: Example) -> str:
    if part.other is None:
        return json.dumps(part.text) if part.text else ""
    other = _other(part, example)
    for kind in ("functionCall", "functionResponse"):
        if isinstance(other.get(kind), dict):
            other[kind].pop("id", None)
    if isinstance(other.get("functionCall"), dict):
        other["functionCall"].setdefault("args", {})
    return json.dumps([part.text, other], sort_keys=True)


def _declared(example: Example) -> str:
    """The declarations of all tools as one list."""
    tools = _loaded(example.tools, example) if example.tools else []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        _refuse(example, "its tools are no list of objects")
    lists = [tool.get("functionDeclarations") or [] for tool in tools]
    if not all(isinstance(each, list) for each in lists):
        _refuse(example, "its functionDeclarations are no list")
    functions = [each for functions in lists for each in functions]
    others = [tool for tool in tools if set(tool) != {"functionDeclarations"}]
    return json.dumps([functions, others], sort_keys=True)


def _refuse(example: Example, what: str) -> NoReturn:
    refuse(example.where, None, f"it has no OpenAI line: {what}", "data-shape", "use format='gemini'.")


def _loaded(text: str, example: Example) -> Json:
    """The value of a JSON text of the example, which anybody may have made."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        _refuse(example, "it holds a text that should be JSON and is not")


def _other(part: Part, example: Example) -> dict[str, Json]:
    """What a part holds beside its text."""
    other = {} if part.other is None else _loaded(part.other, example)
    if not isinstance(other, dict):
        _refuse(example, "it has a part that is no object")
    return other


# --- messages ------------------------------------------------------------------------------------------------------


def _messages(example: Example) -> list[Json]:
    messages: list[Json] = []
    if example.system is not None:
        messages.append({"role": "system", "content": example.system})
    given = example.meta.get("weights")
    weights = given if isinstance(given, list) and len(given) == len(example.turns) else [None] * len(example.turns)
    open_calls: dict[str, deque[str]] = {}
    count = 0
    for at, turn in enumerate(example.turns):
        if turn.role == "":
            messages += _results(turn, open_calls, example)
        elif turn.role == "user":
            messages.append({"role": "user", "content": _content(turn.parts, example)})
        elif turn.role != "model":
            _refuse(example, f"it has a turn of {str(turn.role)[:40]!r}")
        else:
            calls = _calls(turn, example)
            ids = [f"call_{count + number}" for number in range(1, len(calls) + 1)]
            count += len(calls)
            for identity, call in zip(ids, calls, strict=True):
                open_calls.setdefault(str(call.get("name")), deque()).append(identity)
            message = _model(turn, ids, example)
            if isinstance(weights[at], int | float) and weights[at] != 1:
                message["weight"] = weights[at]
            messages.append(message)
    return messages


def _call(part: Part, example: Example) -> dict[str, Json] | None:
    """The part's function call, or None."""
    call = _other(part, example).get("functionCall")
    return call if isinstance(call, dict) else None


def _calls(turn: Turn, example: Example) -> list[dict[str, Json]]:
    return [call for call in (_call(part, example) for part in turn.parts) if call is not None]


def _model(turn: Turn, ids: list[str], example: Example) -> dict[str, Json]:
    rest = [part for part in turn.parts if _call(part, example) is None]
    calls = _calls(turn, example)
    if len(calls) != len(ids):
        _refuse(example, "a preferred or rejected answer calls a function")
    message: dict[str, Json] = {"role": "assistant", "content": _content(rest, example) if rest else None}
    if calls:
        message["tool_calls"] = [
            {
                "id": identity,
                "type": "function",
                "function": {"name": call.get("name"), "arguments": _text(call.get("args") or {})},
            }
            for identity, call in zip(ids, calls, strict=True)
        ]
    return message


def _results(turn: Turn, open_calls: dict[str, deque[str]], example: Example) -> list[Json]:
    messages = []
    for part in turn.parts:
        response = _other(part, example).get("functionResponse")
        if not isinstance(response, dict) or part.text is not None:
            _refuse(example, "a turn mixes the result of a function with something else")
        name = response.get("name")
        waiting = open_calls.get(str(name))
        if not waiting:
            _refuse(example, f"the result of {str(name)[:40]!r} follows no call of it")
        content = _result(response.get("response"))
        messages.append({"role": "tool", "tool_call_id": waiting.popleft(), "content": content})
    return messages


def _result(response: Json) -> str:
    """A result's own text when reading it gives the same object, else the object as JSON."""
    if isinstance(response, dict) and set(response) == {"output"} and isinstance(response["output"], str):
        text = str(response["output"])
        if response_of(text) == response:
            return text
    return _text(response)


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _content(parts: tuple[Part, ...] | list[Part], example: Example) -> Json:
    if len(parts) == 1 and parts[0].other is None:
        return parts[0].text
    return [_piece(part, example) for part in parts]


def _piece(part: Part, example: Example) -> dict[str, Json]:
    if part.other is None:
        return {"type": "text", "text": part.text}
    other = _other(part, example)
    file, inline = (each if isinstance(each := other.get(name), dict) else {} for name in ("fileData", "inlineData"))
    mime = str((file or inline).get("mimeType", ""))
    if inline and mime in _FORMATS:
        return {"type": "input_audio", "input_audio": {"data": inline.get("data"), "format": _FORMATS[mime]}}
    if not mime.startswith("image/"):
        _refuse(example, f"it has a part that is {mime or ', '.join(other) or 'nothing'}")
    url = file.get("fileUri") if file else f"data:{mime};base64,{inline.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _tools(example: Example) -> list[Json]:
    functions = json.loads(_declared(example))[0] if example.tools else []
    return [{"type": "function", "function": function} for function in functions]
