"""Tuning data in Gemini's JSONL: what is read, what is refused, and what the service says about it.

Both spellings of the fields are in Google's documents. Error texts that are known from the service are used as they
are ("Row: 0. Missing required `contents` field.", with 0-based rows); the others follow their pattern.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .text import count_tokens
from .wire import camelize

if TYPE_CHECKING:
    from .values import Row

__all__ = ["Dataset", "DatasetError", "Example", "content_text", "read_dataset"]

TOKEN_LIMIT = 131_072
"""Tokens per example, input and output together; a longer one is dropped and reported as "truncated"."""

_SHOWN_EXAMPLES = 3
_SHOWN_INDICES = 10
_BUCKETS = 10


class DatasetError(Exception):
    """The data cannot be tuned on; the message is the one that the failed job shows."""


@dataclass(frozen=True)
class Example:
    """One line: its rows to learn (one for each model turn that counts) and its sizes."""

    rows: tuple[Row, ...]
    contents: tuple[Mapping[str, Any], ...]
    input_tokens: int
    output_tokens: int
    characters: int
    messages: int


@dataclass(frozen=True)
class Dataset:
    """The examples that are trained on, and those that were too long."""

    examples: tuple[Example, ...]
    dropped: tuple[tuple[int, str], ...]
    """1-based index and reason."""

    @property
    def rows(self) -> list[Row]:
        """Everything to learn, in order."""
        return [row for example in self.examples for row in example.rows]

    def stats(self, steps: int) -> dict[str, Any]:
        """`supervisedTuningDataStats`; the billable count is one pass over the data that is not dropped.

        The service multiplies it by the epochs on the bill; its own recipes divide this field by the number of
        examples to get their average length, so epochs are not in it.
        """
        examples = self.examples
        stats: dict[str, Any] = {
            "tuningDatasetExampleCount": str(len(examples) + len(self.dropped)),
            "totalTuningCharacterCount": str(sum(example.characters for example in examples)),
            "totalBillableTokenCount": str(sum(e.input_tokens + e.output_tokens for e in examples)),
            "tuningStepCount": str(steps),
            "userInputTokenDistribution": _distribution([example.input_tokens for example in examples]),
            "userOutputTokenDistribution": _distribution([example.output_tokens for example in examples]),
            "userMessagePerExampleDistribution": _distribution([example.messages for example in examples]),
            "userDatasetExamples": [e.contents[0] for e in examples[:_SHOWN_EXAMPLES]],
        }
        if self.dropped:
            shown = self.dropped[:_SHOWN_INDICES]  # a partial sample, as the service gives
            stats["totalTruncatedExampleCount"] = str(len(self.dropped))
            stats["truncatedExampleIndices"] = [str(index) for index, _ in shown]
            stats["droppedExampleReasons"] = [reason for _, reason in shown]
        return stats


def read_dataset(data: bytes, uri: str) -> Dataset:
    """Read a JSONL file; `DatasetError` names the first row that cannot be used (0-based, as the service does)."""
    examples: list[Example] = []
    dropped: list[tuple[int, str]] = []
    count = 0
    for count, example in enumerate(_examples(data, uri), start=1):
        tokens = example.input_tokens + example.output_tokens
        if tokens > TOKEN_LIMIT:
            dropped.append((count, f"Too many tokens: {tokens} > {TOKEN_LIMIT}."))
        else:
            examples.append(example)
    if not count:
        msg = f"The dataset {uri} is empty."
        raise DatasetError(msg)
    if not any(example.rows for example in examples):
        msg = f"The dataset {uri} has no example to learn from: {len(dropped)} of {count} were dropped."
        raise DatasetError(msg)
    return Dataset(tuple(examples), tuple(dropped))


def _examples(data: bytes, uri: str) -> Iterator[Example]:
    row = 0
    for line in data.removeprefix(b"\xef\xbb\xbf").splitlines():
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            if not row:  # the whole file is something else
                msg = f"{uri} should be a GCS object of type JSONL. Row: 0. Failed to parse JSON."
                raise DatasetError(msg) from None
            msg = f"Row: {row}. Failed to parse JSON."
            raise DatasetError(msg) from None
        if not isinstance(value, dict):
            msg = f"Row: {row}. Expected a JSON object."
            raise DatasetError(msg)
        yield _example(camelize(value), row)
        row += 1


def _example(value: Mapping[str, Any], row: int) -> Example:
    from .values import Prompt, Row

    contents = value.get("contents")
    if not isinstance(contents, list) or not contents:
        msg = f"Row: {row}. Missing required `contents` field."
        raise DatasetError(msg)
    try:
        system = content_text(value.get("systemInstruction") or {})
        turns = [_turn(content) for content in contents]
    except DatasetError as error:
        msg = f"Row: {row}. {error}"
        raise DatasetError(msg) from None
    if turns[-1][0] != "model":
        msg = f"Row: {row}. The last content must have role `model`."
        raise DatasetError(msg)
    if turns[0][0] != "user":
        msg = f"Row: {row}. The first content must have role `user`."
        raise DatasetError(msg)
    rows: list[Row] = []
    before: list[tuple[str, str]] = []
    learned = 0
    for role, text, weight in turns:
        if role == "model" and text and weight and before[-1][0] == "user":
            rows.append(Row(Prompt(system, tuple(before)), text))
        if role == "model":
            learned += count_tokens(text)
        if before and before[-1][0] == role:
            before[-1] = (role, f"{before[-1][1]}\n{text}")
        else:
            before.append((role, text))
    characters = len(system) + sum(len(text) for _, text, _ in turns)
    asked = count_tokens(system) + sum(count_tokens(text) for role, text, _ in turns if role == "user")
    return Example(tuple(rows), tuple(contents), asked, learned, characters, len(turns))


def _turn(content: object) -> tuple[str, str, float]:
    if not isinstance(content, Mapping):
        msg = "Each item of `contents` must be an object."
        raise DatasetError(msg)
    role = content.get("role")
    if role in ("function", "tool"):
        role = "user"
    if role not in ("user", "model"):
        msg = f"Invalid role {role!r} in `contents`; valid roles: user, model."
        raise DatasetError(msg)
    weight = content.get("weight", 1)  # 0 marks a model turn that is context only
    return str(role), content_text(content), float(weight) if isinstance(weight, int | float) else 1.0


def content_text(content: object) -> str:
    """The text of a Content; other parts become a placeholder, so that such data trains and asks alike.

    A bare string where an object belongs (`"systemInstruction": "..."`) is refused, as the service's proto does.
    """
    if not isinstance(content, Mapping):
        msg = f"Expected a content object with `parts`, got {type(content).__name__}."
        raise DatasetError(msg)
    parts = content.get("parts") or []
    if isinstance(parts, Mapping):
        parts = [parts]
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        msg = "`parts` must be a list of objects."
        raise DatasetError(msg)
    return "\n".join(text for part in parts if (text := _part(part)))


def _part(part: object) -> str:
    if not isinstance(part, Mapping):
        msg = "Each item of `parts` must be an object."
        raise DatasetError(msg)
    if isinstance(text := part.get("text"), str):
        return "" if part.get("thought") else text
    for key in ("functionCall", "functionResponse"):
        if isinstance(call := part.get(key), Mapping):
            inside = call.get("args" if key == "functionCall" else "response") or {}
            verb = "call" if key == "functionCall" else "result"
            return f"[{verb} {call.get('name', '')} {json.dumps(inside, ensure_ascii=False, sort_keys=True)}]"
    for key in ("fileData", "inlineData"):
        if isinstance(file := part.get(key), Mapping):
            return f"[{file.get('mimeType', 'file')} {file.get('fileUri', '')}]"
    return ""


def _distribution(values: Sequence[int]) -> dict[str, Any]:
    """`SupervisedTuningDatasetDistribution`: int64 sums as strings, the rest as numbers."""
    ordered = sorted(values)
    if not ordered:
        return {}
    count = len(ordered)

    def at(share: float) -> float:
        place = share * (count - 1)
        low = int(place)
        return ordered[low] + (ordered[min(low + 1, count - 1)] - ordered[low]) * (place - low)

    low, high = ordered[0], ordered[-1]
    width = (high - low) / _BUCKETS or 1.0
    counts = [0] * (_BUCKETS if high > low else 1)
    for value in ordered:
        counts[min(int((value - low) / width), len(counts) - 1)] += 1
    return {
        "sum": str(sum(ordered)),
        "billableSum": str(sum(ordered)),
        "min": low,
        "max": high,
        "mean": sum(ordered) / count,
        "median": at(0.5),
        "p5": at(0.05),
        "p95": at(0.95),
        "buckets": [
            {"count": number, "left": low + index * width, "right": low + (index + 1) * width}
            for index, number in enumerate(counts)
        ],
    }
