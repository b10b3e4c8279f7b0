"""Rows laid out once for all checks, and the one way to make a finding about them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, islice
from zlib import crc32

import msgspec

from ...models import EXAMPLES, TOKENS_PER_EXAMPLE, VALIDATION_EXAMPLES, Model
from ...types import Example, Finding, Json, Location, Severity
from ..parts import Parts, label_like

PLACES = 1000
"""Places that a finding names; `count` says how many there are."""

_BLOCK = 1 << 20
"""Characters that `find_in` joins at a time."""
_USUAL = bytes([*b"\t\n\r", *range(0x20, 0x7F)])
"""ASCII that nothing is looked for in."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes: the strictest of today's models when nothing else is said (Google's pages, read 2026-11)."""

    tokens_per_example: int = TOKENS_PER_EXAMPLE
    examples: int = EXAMPLES
    validation_examples: int = VALIDATION_EXAMPLES

    @classmethod
    def of(cls, model: Model | None) -> Limits:
        """The limits of a row of the model table; the strictest of today's for None."""
        if model is None:
            return cls()
        return cls(
            tokens_per_example=model.tokens_per_example,
            examples=model.examples,
            validation_examples=model.validation_examples,
        )


class Table:
    """Columns of the rows of all parts: train, then validation, then test.

    Attributes:
        rows: The examples.
        part: The part of each row: `"train"`, `"validation"` or `"test"`.
        inputs: What the user wrote, without instructions.
        outputs: The targets.
        plain: Whether the row is one user text and one model text, without tools: most rows are, and need no look at
            their structure.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.rows: list[Example] = [*parts.train.given, *parts.validation.given, *parts.test.given]
        self.part: list[str] = (
            ["train"] * len(parts.train) + ["validation"] * len(parts.validation) + ["test"] * len(parts.test)
        )
        self.inputs = [example.input for example in self.rows]
        self.outputs = [example.output for example in self.rows]
        self.plain = [_is_plain(example) for example in self.rows]

    @cached_property
    def labels(self) -> bool:
        """Whether the outputs are classes. Last words of conversations, and texts that mostly occur once, are none."""
        if not label_like(self.rows) or sum(len(example.turns) > 2 for example in self.rows) > len(self.rows) / 2:
            return False
        counts = Counter(self.outputs)
        return sum(count == 1 for count in counts.values()) <= len(counts) / 2

    def sample(self, n: int, of: str | None = None) -> list[int]:
        """At most `n` row numbers, in order, chosen by content: the same rows whatever their order."""
        if of is None:
            return sorted(self._order[:n])
        return sorted(islice((row for row in self._order if self.part[row] == of), n))

    @cached_property
    def _order(self) -> list[int]:
        """The rows by a number made from their content: the order in which they are taken into samples."""
        ranks = [
            crc32(output.encode("utf-8", "surrogatepass"), crc32(text.encode("utf-8", "surrogatepass")))
            for text, output in zip(self.inputs, self.outputs, strict=True)
        ]
        return sorted(range(len(ranks)), key=ranks.__getitem__)


def _is_plain(example: Example) -> bool:
    turns = example.turns
    return (
        len(turns) == 2
        and example.tools is None
        and not example.completions
        and turns[0].role == "user"
        and turns[1].role == "model"
        and all(len(turn.parts) == 1 and turn.parts[0].other is None for turn in turns)
    )


def finding(
    code: str,
    severity: Severity,
    message: str,
    rows: Sequence[Example] = (),
    *,
    hint: str = "",
    field: str | None = None,
    fields: Sequence[str] = (),
    details: dict[str, Json] | None = None,
) -> Finding:
    """A finding about rows: `field` for all of them, or one of `fields` for each."""
    named: Sequence[str | None] = fields or [field] * min(len(rows), PLACES)
    return Finding(
        code=code, severity=severity, message=message, hint=hint, count=len(rows), details=details or {},
        where=tuple(
            Location(each.where.file, each.where.line, name or each.where.field)
            for each, name in zip(rows[:PLACES], named, strict=False)
        ),
    )  # fmt: skip


def find_in(
    texts: Sequence[str], pattern: re.Pattern[str], first: re.Pattern[str]
) -> Iterator[tuple[int, re.Match[str]]]:
    """Matches of a pattern with the number of the text that each is in.

    Texts are joined by a line break and scanned together, since a call for each of a million short texts costs more
    than the search. So the pattern must not match a line break. `first` is the set of characters that a match can begin
    with: one set is looked for many times faster than the alternatives of a pattern.
    """
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and (stop == start or size + len(texts[stop]) < _BLOCK):
            size += len(texts[stop]) + 1
            stop += 1
        block = "\n".join(texts[start:stop])
        if not (block.isascii() and not block.encode("ascii").translate(None, _USUAL)):
            ends = list(accumulate(len(text) + 1 for text in texts[start:stop]))
            at = 0
            for candidate in first.finditer(block):
                match = pattern.match(block, candidate.start()) if candidate.start() >= at else None
                if match is not None:
                    at = match.end()
                    yield start + bisect_right(ends, match.start()), match
        start = stop
