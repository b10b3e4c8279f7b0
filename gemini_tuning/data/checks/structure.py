"""Conversations, tools and files: what Gemini refuses or reads otherwise than meant.

Sources: Google's pages on function calling and on image, audio, video and document tuning, read 2026-11; the limits are
in `models.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ... import models
from ...display import counted
from ...types import Example, Finding, Turn
from .table import Limits, Table, finding

_URI = re.compile(r"gs://[^/\s]+/\S.*|https?://[^/\s]+/\S.*", re.DOTALL)
_SHOWN = 3


def lengths(table: Table, tokens: Iterable[float], limits: Limits) -> Iterable[Finding]:
    """Examples with more tokens than the model takes."""
    limit = limits.tokens_per_example
    over = [(count, example) for example, count in zip(table.rows, tokens, strict=True) if count > limit]
    if over:
        yield finding(
            "too-long", "stop",
            f"{counted(len(over), 'example has', 'examples have')} more than {limit:,} tokens (estimated; the largest "
            f"has {max(count for count, _ in over):,.0f})", [example for _, example in over],
            hint="the service drops them: shorten them, or .repair(too_long='drop').",
        )  # fmt: skip


def turns(table: Table) -> Iterable[Finding]:
    """Two turns of one speaker in a row; weights that Gemini has no counterpart for."""
    double = [
        example
        for example, plain in zip(table.rows, table.plain, strict=True)
        if not plain and any(a.role == b.role for a, b in zip(example.turns, example.turns[1:], strict=False))
    ]
    if double:
        yield finding(
            "consecutive-turns", "warning",
            f"{counted(len(double), 'conversation has', 'conversations have')} two turns of one speaker in a row",
            double, hint=".repair() joins them into one turn with several parts.", field="contents",
        )  # fmt: skip

    untrained = [example for example in table.rows if _has_zero(example.meta.get("weights"))]
    if untrained:
        yield finding(
            "untrained-turns", "warning",
            f"{counted(len(untrained), 'conversation has', 'conversations have')} turns with weight 0; Gemini trains "
            "on every turn of the model", untrained,
            hint="cut the conversation after the turn to learn, or accept that the others are learnt too.",
        )  # fmt: skip


def _has_zero(weights: object) -> bool:
    return isinstance(weights, list) and 0 in weights


# --- tools ---------------------------------------------------------------------------------------------------------


class _Problems:
    """Problems of one kind: rows, fields and words, in the order found."""

    def __init__(self) -> None:
        self.rows: list[Example] = []
        self.fields: list[str] = []
        self.words: list[str] = []

    def add(self, example: Example, field: str, words: str) -> None:
        self.rows.append(example)
        self.fields.append(field)
        self.words.append(words)

    def finding(self, code: str, severity: Any, what: str, hint: str) -> Iterator[Finding]:
        if self.rows:
            shown = "; ".join(list(dict.fromkeys(self.words))[:_SHOWN])
            yield finding(code, severity, f"{what}: {shown}", self.rows, hint=hint, fields=self.fields)


def tools(table: Table) -> Iterable[Finding]:
    """Function calls against the functions that the example declares."""
    undeclared, arguments, responses = _Problems(), _Problems(), _Problems()
    declared: dict[str, dict[str, Mapping[str, Any]]] = {}  # many rows share their tools
    for example, plain in zip(table.rows, table.plain, strict=True):
        if plain:
            continue
        known = declared.setdefault(example.tools or "", _declarations(example.tools))
        open_calls: dict[str, int] = {}
        for at, part_at, part in _other_parts(example.turns):
            field = f"contents[{at}].parts[{part_at}]"
            call, response = part.get("functionCall"), part.get("functionResponse")
            if isinstance(call, Mapping):
                name = str(call.get("name"))
                open_calls[name] = open_calls.get(name, 0) + 1
                if name not in known:
                    have = ", ".join(map(repr, list(known)[:8])) or "no function"
                    undeclared.add(example, f"{field}.functionCall.name", f"{name!r}; tools declare {have}")
                else:
                    for path, words in _mismatches(call.get("args") or {}, known[name]):
                        arguments.add(example, f"{field}.functionCall.args{path}", f"{name}: {words}")
            elif isinstance(response, Mapping):
                name = str(response.get("name"))
                if not open_calls.get(name):
                    responses.add(example, f"{field}.functionResponse.name", repr(name))
                else:
                    open_calls[name] -= 1
    yield from undeclared.finding(
        "tool-undeclared", "stop", "a functionCall names a function that tools does not declare",
        "declare it in tools, or correct the name.",
    )  # fmt: skip
    yield from arguments.finding(
        "tool-arguments", "warning", "arguments do not fit the declaration",
        "the model would learn calls that your function refuses.",
    )  # fmt: skip
    yield from responses.finding(
        "tool-response", "warning", "a functionResponse answers no call before it", "is a turn missing?"
    )


def _declarations(tools: str | None) -> dict[str, Mapping[str, Any]]:
    known: dict[str, Mapping[str, Any]] = {}
    for tool in json.loads(tools) if tools else []:
        functions = tool.get("functionDeclarations") if isinstance(tool, Mapping) else None
        for function in functions if isinstance(functions, list) else []:
            if isinstance(function, Mapping) and isinstance(function.get("name"), str):
                schema = function.get("parameters") or function.get("parametersJsonSchema") or {}
                known[function["name"]] = schema if isinstance(schema, Mapping) else {}
    return known


def _other_parts(turns: Sequence[Turn]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    for at, turn in enumerate(turns):
        for part_at, part in enumerate(turn.parts):
            if part.other is not None:
                yield at, part_at, json.loads(part.other)


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,), "array": (list,),
    "object": (dict,),
}  # fmt: skip


def _mismatches(args: Any, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What of the arguments the schema does not allow: names, types, required ones, enums. One level deep."""
    if not isinstance(args, Mapping):
        yield "", "the arguments are not an object"
        return
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if name not in args:
            yield "", f"{name!r} is required and missing"
    for name, value in args.items():
        rule = properties.get(name)
        if not isinstance(rule, Mapping):
            if properties:
                yield f".{name}", f"{name!r} is not declared"
            continue
        expected = _TYPES.get(str(rule.get("type", "")).lower())
        wrong_bool = isinstance(value, bool) and expected is not None and bool not in expected
        whole = expected == (int,) and isinstance(value, float) and value.is_integer()
        if value is None and rule.get("nullable"):
            continue
        if expected and (wrong_bool or not isinstance(value, expected)) and not whole:
            yield f".{name}", f"{name!r} should be {rule.get('type')}, is {type(value).__name__}"
        elif isinstance(rule.get("enum"), list) and value not in rule["enum"]:
            yield f".{name}", f"{name!r} is {str(value)[:40]!r}, not one of its enum"


# --- files ---------------------------------------------------------------------------------------------------------


def media(table: Table) -> Iterable[Finding]:
    """File addresses, MIME types, numbers of files, media resolutions."""
    address, kind, amount, videos, resolution = (_Problems() for _ in range(5))
    seen: dict[str, list[Example]] = {}
    with_files = 0
    for example, plain in zip(table.rows, table.plain, strict=True):
        own = example.meta.get("generationConfig")
        level = own.get("mediaResolution", own.get("media_resolution")) if isinstance(own, Mapping) else None
        if level is not None and level not in models.MEDIA_RESOLUTIONS:
            resolution.add(example, "generationConfig.mediaResolution", f"{str(level)[:60]!r} is no media resolution")
        if plain:
            continue
        files: dict[str, int] = {}
        for at, part_at, part in _other_parts(example.turns):
            field = f"contents[{at}].parts[{part_at}]"
            data = part.get("fileData")
            if not isinstance(data, Mapping):
                if isinstance(part.get("inlineData"), Mapping):
                    address.add(example, f"{field}.inlineData", "inline bytes; tuning reads files")
                continue
            uri, mime = data.get("fileUri"), data.get("mimeType")
            if not isinstance(uri, str) or not _URI.fullmatch(uri):
                address.add(example, f"{field}.fileData.fileUri", repr(str(uri)[:80]))
            known = models.media_of(mime) if isinstance(mime, str) else None
            if known is None:
                shown = "missing" if mime is None else repr(str(mime)[:60])
                kind.add(example, f"{field}.fileData.mimeType", shown)
            else:
                files[known.kind] = files.get(known.kind, 0) + 1
        for each in models.MEDIA:
            count = files.get(each.kind, 0)
            if count > each.files:
                # Google's page on video says one, and its own sample has two.
                (videos if each.kind == "video" else amount).add(
                    example, "contents", f"{count} {each.kind} files; one example takes {each.files}"
                )
        if files:
            with_files += 1
        if "video" in files:
            seen.setdefault(str(level or "unset"), []).append(example)
    if len(seen) > 1:
        usual = max(seen, key=lambda level: len(seen[level]))  # of equals the first met, so that later rows are named
        for level, rows in seen.items():
            for example in rows if level != usual else ():
                words = f"{level} beside {usual}: all rows of a video set must have the same"
                resolution.add(example, "generationConfig.mediaResolution", words)
    if with_files > models.EXAMPLES_MULTIMODAL:
        yield finding(
            "too-many-examples", "stop",
            f"{with_files:,} examples with files; a model takes {models.EXAMPLES_MULTIMODAL:,}", hint=".sample(n)",
        )  # fmt: skip
    yield from address.finding(
        "file-uri", "stop", "files that the service cannot read", "use gs://bucket/object or a public https:// address."
    )
    yield from kind.finding(
        "mime-type", "stop", "MIME types that tuning does not take",
        f"it takes {', '.join(mime for each in models.MEDIA for mime in each.mime_types)}; convert it, or correct "
        "mimeType.",
    )  # fmt: skip
    yield from amount.finding("media-limit", "stop", "more files than one example may have", "divide the example.")
    yield from videos.finding("media-limit", "warning", "more videos than Google's page allows", "divide the example.")
    yield from resolution.finding(
        "media-resolution", "stop", "media resolutions", "give all rows of the file one generationConfig."
    )
