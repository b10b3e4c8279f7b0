"""Personal data and secrets in texts, found on this machine by form and checksum: no model and no network.

Precision comes first: a finder that cries at every long number is switched off. So a number must prove itself, by a
checksum (cards, IBANs, resident ids), by a form that little else has (phones with separators, emails), or by the word
before it (social security numbers, bare phone numbers). Names and street addresses have no form: for them use a
detector (`detectors.py`).

Speed: most texts hold nothing, and finding that out costs about a nanosecond a character. Texts are looked at in blocks
in which numpy finds the digits; the patterns see only those texts whose digits stand close enough together.
"""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...types import Example, Finding, Location
from . import forms
from .secrets import logins, secrets
from .spans import KINDS, Span
from .texts import example_texts, field_group

__all__ = ["find_personal", "fold_ascii", "personal_findings", "resolve", "scan"]

_RANK = {kind: at for at, kind in enumerate(("resident_id", "iban", "card", "ssn", "secret", "email", "ip", "phone"))}
"""Which kind wins over another with the same span: the one with more proof."""

_NAMES = {
    "email": "email addresses", "phone": "phone numbers", "card": "bank card numbers", "iban": "bank accounts (IBAN)",
    "resident_id": "Chinese resident ids", "ssn": "US social security numbers", "ip": "IP addresses",
    "secret": "keys, tokens or passwords",
}  # fmt: skip

_PLACES = 1000
"""Places that a finding names; `count` says how many rows there are."""

_BLOCK = 1 << 16
"""Characters looked at together: as much as stays in a processor's cache."""
_DIGITS, _WINDOW = 7, 24
"""The shortest number has so many digits, and they stand within so many characters."""
_WORD = 8
"""The shortest secret."""


def find_personal(text: str, *, kinds: Collection[str] | None = None) -> tuple[Span, ...]:
    """What is personal in a text: spans in order that do not overlap; where two finds do, the longer one stands.

    Args:
        text: Any text.
        kinds: Only these; all when None.
    """
    return tuple(span for _, span in scan((text,), kinds=kinds))


def scan(texts: Sequence[str], *, kinds: Collection[str] | None = None) -> list[tuple[int, Span]]:
    """The same for many texts at once: `(index of the text, span)`, in order. Linear in the size of the texts."""
    wanted = frozenset(KINDS if kinds is None else kinds)
    found: list[tuple[int, Span]] = []
    for first, block in _blocks(texts):
        may = _rows_that_may(block)
        for row in sorted(may.at | may.number | may.dotted | may.colons | may.mixed):
            spans = resolve(_find(block[row], wanted, may, row))
            found += [(first + row, span) for span in spans]
    return found


def resolve(spans: Iterable[Span]) -> list[Span]:
    """The spans without those that overlap a longer one (or one with more proof), in order."""
    ranked = sorted(spans, key=lambda span: (span.start - span.end, _RANK.get(span.kind, len(_RANK)), span))
    taken: list[Span] = []
    for span in ranked:
        # What is taken does not overlap, so only its two neighbours can be in the way.
        at = bisect.bisect_left(taken, span)
        if (at == 0 or taken[at - 1].end <= span.start) and (at == len(taken) or span.end <= taken[at].start):
            taken.insert(at, span)
    return taken


def fold_ascii(text: str) -> str:
    """The text with one character for each: full-width and other digits, spaces, dashes and signs as ASCII.

    Letters of alphabets are `\\xc0`, all else that is not ASCII is `\\x80`: positions are those of the text itself.
    """
    return text if text.isascii() else _codes(text).tobytes().decode("latin-1")


@cache
def _table() -> npt.NDArray[np.uint8]:
    """Code point -> its folded character."""
    table = np.full(0x110000, 0x80, np.uint8)
    table[:0x80] = np.arange(0x80)
    for first, last in ((0xC0, 0x24F), (0x370, 0x52F)):
        table[first : last + 1] = 0xC0
    table[[0xD7, 0xF7]] = 0x80  # the signs of multiplication and division stand among the letters
    table[0xFF01:0xFF5F] = np.arange(0x21, 0x7F)
    table[0xFE6B] = ord("@")
    table[[0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]] = ord(" ")
    table[[*range(0x2010, 0x2016), 0x2212, 0xFE63]] = ord("-")
    for code in range(0x80, 0x20000):  # the mathematical digits are the last of those with such a form
        digit = unicodedata.decimal(chr(code), None)
        if digit is not None:
            table[code] = ord("0") + digit
    return table


def _codes(text: str) -> npt.NDArray[np.uint8]:
    """The folded text as bytes, one a character."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    folded: npt.NDArray[np.uint8] = _table()[codes]
    return folded


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """The texts in runs of about `_BLOCK` characters, each with the index of its first."""
    first, size = 0, 0
    for row, text in enumerate(texts):
        size += len(text)
        if size >= _BLOCK:
            yield first, texts[first : row + 1]
            first, size = row + 1, 0
    if first < len(texts):
        yield first, texts[first:]


class _May(NamedTuple):
    """Which texts of a block may hold what: necessary conditions, cheap to test."""

    at: set[int]
    number: set[int]
    """Seven digits close together."""
    dotted: set[int]
    """`1.2.3.`"""
    colons: set[int]
    """Two colons beside digits, close together."""
    mixed: set[int]
    """A word of eight characters and more with letters and digits."""


def _rows_that_may(block: Sequence[str]) -> _May:
    codes = _codes("\n".join(["", *block, ""]) + " " * _WORD)
    digit = (codes - np.uint8(48)) < 10
    places = np.flatnonzero(digit)
    starts = np.cumsum([1, *(len(text) + 1 for text in block)])

    def together(places: npt.NDArray[np.int64], number: int, window: int) -> set[int]:
        if len(places) < number:
            return set()
        near = np.flatnonzero(places[number - 1 :] - places[: len(places) - number + 1] < window)
        begins, ends = places[near], places[near + number - 1]
        # The first window that begins in a text is also the first to end: it must end before the next text.
        first = np.searchsorted(begins, starts[:-1])
        ends = np.append(ends, starts[-1])
        return set(np.flatnonzero(ends[first] < starts[1:] - 1).tolist())

    dotted = places[(codes[places + 1] == ord(".")) & digit[places + 2]]
    colons = places[(codes[places + 1] == ord(":")) | (codes[places - 1] == ord(":"))]
    mixed = places[_in_mixed_words(codes, places)]
    return _May(
        at={row for row, text in enumerate(block) if "@" in text or "\uff20" in text or "\ufe6b" in text},
        number=together(places, _DIGITS, _WINDOW),
        dotted=together(dotted, 3, 10),
        colons=together(colons, 2, 12),
        mixed=together(mixed, 1, 1),
    )


def _in_mixed_words(codes: npt.NDArray[np.uint8], places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """For each digit, whether its word (ASCII without spaces) has eight characters and more, and a letter near it."""
    length = np.ones(len(places), np.int64)
    letter = np.zeros(len(places), np.bool_)
    for side in (-1, 1):
        on = np.ones(len(places), np.bool_)
        for step in range(1, _WORD):
            # Past the ends of the block is as good as a space: it begins and ends with some.
            codes_there = codes.take(places + side * step, mode="clip")
            on &= (codes_there - np.uint8(33)) < 94
            length += on
            letter |= on & (((codes_there | np.uint8(32)) - np.uint8(97)) < 26)
    return (length >= _WORD) & letter


def _find(text: str, wanted: frozenset[str], may: _May, row: int) -> Iterator[Span]:
    folded = fold_ascii(text)

    def spans(kind: str, pairs: Iterable[tuple[int, int]]) -> Iterator[Span]:
        return (Span(start, end, kind) for start, end in pairs) if kind in wanted else iter(())

    if row in may.at:
        yield from spans("email", forms.emails(text, folded))
        yield from spans("secret", logins(folded))
    if row in may.number:
        for run in forms.runs(folded):
            yield from spans("resident_id", forms.resident_ids(text, folded, run))
            yield from spans("card", forms.cards(text, folded, run))
            yield from spans("ssn", forms.ssns(text, folded, run))
            yield from spans("phone", forms.phones(text, folded, run))
            yield from spans("iban", forms.ibans(text, folded, run))
    if row in may.dotted:
        yield from spans("ip", forms.ipv4s(text, folded))
    if row in may.colons:
        yield from spans("ip", forms.ipv6s(text, folded))
    if row in may.mixed:
        yield from spans("secret", secrets(text, folded))


def personal_findings(examples: Sequence[Example]) -> tuple[Finding, ...]:
    """One finding a kind of personal data: how many values, in which rows and fields. It never holds a value.

    `count` is the number of rows, `details["values"]` that of the values, `details["fields"]` by field.
    """
    texts: list[str] = []
    ends: list[int] = []
    for example in examples:
        texts += [text for _, text in example_texts(example)]
        ends.append(len(texts))
    rows: dict[str, dict[int, str]] = {}
    counts: dict[str, dict[str, int]] = {}
    for at, span in scan(texts):
        row = bisect.bisect_right(ends, at)
        # Fields are named again only here: few rows hold anything.
        field = example_texts(examples[row])[at - (ends[row - 1] if row else 0)][0]
        rows.setdefault(span.kind, {}).setdefault(row, field)
        group = field_group(field)
        of_kind = counts.setdefault(span.kind, {})
        of_kind[group] = of_kind.get(group, 0) + 1
    return tuple(
        Finding(
            code="personal-data", severity="warning", count=len(rows[kind]),
            message=f"{len(rows[kind]):,} row{' holds' if len(rows[kind]) == 1 else 's hold'} {_NAMES[kind]}: "
            f"{sum(counts[kind].values()):,} in all",
            hint=f"replace them with placeholders: .redact(), or .redact(kinds=[{kind!r}]).",
            where=tuple(
                Location(examples[row].where.file, examples[row].where.line, field)
                for row, field in list(rows[kind].items())[:_PLACES]
            ),
            details={"kind": kind, "values": sum(counts[kind].values()), "fields": dict(sorted(counts[kind].items()))},
        )
        for kind in KINDS if kind in rows
    )  # fmt: skip
