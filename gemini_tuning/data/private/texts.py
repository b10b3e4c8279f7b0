"""Every text of an example that could hold something personal, to be read and to be changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

import msgspec

from ...types import Completion, Example, Json, Part, Turn
from ..formats.row_values import canonical

__all__ = ["changed", "example_texts", "field_group", "strings", "with_texts"]

_BINARY = frozenset({"inlineData", "fileData", "thoughtSignature"})
"""What a part can hold that is no text: bytes, and addresses of files, which changed would be those of others."""

_FIELDS = frozenset({"system", "tools", "input", "output", "contents", "completions", "references", "broken"})

Change = Callable[[str], str]


def _long(number: int) -> bool:
    """Whether a JSON number is looked at as a text: phones and cards are often stored as numbers."""
    return 10**9 <= abs(number) < 10**20


def strings(value: Json) -> Iterator[str]:
    """The texts in a JSON value: strings, names of fields, and numbers that are long enough to be somebody's."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, int) and _long(value):
        yield str(value)


def changed(value: Json, change: Change) -> Json:
    """The JSON value with its texts changed; a number that changes becomes a text."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        result: dict[str, Json] = {}
        for name, inner in value.items():
            new = change(str(name))
            # Two spellings of one address may both be names of fields: neither's value may be lost.
            while new in result:
                new += "'"
            result[new] = changed(inner, change)
        return result
    if isinstance(value, list | tuple):
        return [changed(inner, change) for inner in value]
    if isinstance(value, int) and _long(value):
        new = change(str(value))
        return value if new == str(value) else new
    return value


def _turn_texts(turn: Turn) -> Iterator[str]:
    for part in turn.parts:
        if part.text is not None:
            yield part.text
        if part.other is not None:
            for name, value in json.loads(part.other).items():
                if name not in _BINARY:
                    yield from strings(value)


def example_texts(example: Example) -> list[tuple[str, str]]:
    """`(field, text)` of everything that can be personal, in the order in which it is read."""
    plain = _plain_texts(example)
    return list(_all_texts(example)) if plain is None else plain


def _plain_texts(example: Example) -> list[tuple[str, str]] | None:
    """The same for a question and its answer, which most rows are; None for others. Checks must not wait for it."""
    if len(example.turns) != 2 or example.meta or example.completions:
        return None
    if example.tools is not None or example.references is not None or example.raw_input is not None:
        return None
    (asked, answer) = example.turns
    if asked.role != "user" or answer.role != "model" or len(asked.parts) != 1 or len(answer.parts) != 1:
        return None
    question, target = asked.parts[0], answer.parts[0]
    if question.text is None or target.text is None or question.other is not None or target.other is not None:
        return None
    spoken = [("input", question.text), ("output", target.text)]
    return spoken if example.system is None else [("system", example.system), *spoken]


def _all_texts(example: Example) -> Iterator[tuple[str, str]]:
    if example.system is not None:
        yield "system", example.system
    if example.tools is not None:
        yield from (("tools", text) for text in strings(json.loads(example.tools)))
    fields = _turn_fields(example)
    for field, turn in zip(fields, example.turns, strict=True):
        yield from ((field, text) for text in _turn_texts(turn))
    for at, completion in enumerate(example.completions):
        yield from ((f"completions[{at}]", text) for text in _turn_texts(completion.turn))
    if example.references is not None:
        yield from (("references", text) for text in strings(json.loads(example.references)))
    for name, value in example.meta.items():
        yield from ((name, text) for text in strings(value))
    if example.raw_input is not None:
        yield "input", example.raw_input


def _turn_fields(example: Example) -> list[str]:
    fields = [f"contents[{at}]" for at in range(len(example.turns))]
    asked = len(fields)
    if example.turns and example.turns[-1].role == "model":
        asked -= 1
        fields[asked] = "output"
    last = next((at for at in reversed(range(asked)) if example.turns[at].role == "user"), None)
    if last is not None:
        fields[last] = "input"
    return fields


def with_texts(example: Example, change: Change) -> Example:
    """The example with every text changed; its origin and its place stay."""

    def turn(old: Turn) -> Turn:
        return Turn(
            old.role,
            tuple(
                Part(
                    text=None if part.text is None else change(part.text),
                    other=None if part.other is None else other(part.other),
                )
                for part in old.parts
            ),
        )

    def other(written: str) -> str:
        value = {
            name: inner if name in _BINARY else changed(inner, change) for name, inner in json.loads(written).items()
        }
        return canonical(value, example.where, "parts")

    def text_of(written: str) -> str:
        return canonical(changed(json.loads(written), change), example.where, "tools")

    return msgspec.structs.replace(
        example,
        turns=tuple(turn(each) for each in example.turns),
        system=None if example.system is None else change(example.system),
        tools=None if example.tools is None else text_of(example.tools),
        completions=tuple(Completion(each.score, turn(each.turn)) for each in example.completions),
        references=None if example.references is None else text_of(example.references),
        # The names of columns stay: instructions use them.
        meta={name: changed(value, change) for name, value in example.meta.items()},
        raw_input=None if example.raw_input is None else change(example.raw_input),
    )


def field_group(field: str) -> str:
    """The field without its number, and `meta` for the name of a column."""
    name = field.partition("[")[0]
    return name if name in _FIELDS else "meta"
