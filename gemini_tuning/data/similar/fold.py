"""What two texts must share to count as "the same text": folding, and the numbers in a text.

Folding is NFKC, casefold, NFKC again, then white space, control characters and punctuation go away. Three things stay
because dropping them merges texts that mean different things:

- `% # @ & * / \\ _` and all symbols (`+`, `$`, emoji): "C++" is not "C#", a thumb up is not a thumb down;
- whatever stands between two digits, so "1.5" is not "15" and "room 5, 10 people" is not "room 51, 0 people"
  (a thousands comma does go: "1,000" is "1000"; white space with or without punctuation becomes one space);
- a minus sign that starts a number.

A text that folds to nothing ("!!", "") has no folded form and is compared as it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_KEPT = frozenset("%#@&*/\\_")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])", re.ASCII)
_THOUSANDS_LIKELY = re.compile(r"[0-9],[0-9]{3}")
# These start with a set of characters and not with a look behind, which makes the search four times as fast.
_BETWEEN_DIGITS = re.compile(r"[0-9][^\w]+(?=[0-9])")
_MINUS = re.compile(r"(?<![^\W_])[-\u2212](?=[0-9])")


class _Table(dict[int, int | None]):
    """A `str.translate` table that fills itself: code point -> itself, another, or None for "drop"."""

    def __missing__(self, code: int) -> int | None:
        # Full-width forms cannot occur after NFKC: below they carry the punctuation that numbers need through here.
        if 0xFF01 <= code <= 0xFF5E:
            kept: int | None = code - 0xFEE0
        elif code == 0x3000:
            kept = 0x20
        else:
            char = chr(code)
            category = unicodedata.category(char)
            drop = (category[0] in "ZP" and char not in _KEPT) or category in ("Cc", "Cf") or 0xFE00 <= code <= 0xFE0F
            kept = None if drop else code
        self[code] = kept
        return kept


_TABLE = _Table()


# The same for texts of ASCII characters only, which `bytes.translate` folds in one go. NFKC leaves them as they are.
_ASCII_LOWER = bytes(range(128)).lower() + bytes(range(128, 256))
_ASCII_DROPPED = bytes(code for code in range(128) if _TABLE[code] is None)


def _protected(match: re.Match[str]) -> str:
    digit, between = match.group()[0], match.group()[1:]
    if any(char.isspace() for char in between):
        return digit + "\u3000"
    return digit + "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in between)


def _has_digit(text: str) -> bool:
    # Ten looks for one character each are faster than one regular expression, and than `any`.
    return (
        "0" in text or "1" in text or "2" in text or "3" in text or "4" in text
        or "5" in text or "6" in text or "7" in text or "8" in text or "9" in text
    )  # fmt: skip


def _without_thousands(text: str) -> str:
    if _THOUSANDS_LIKELY.search(text) is None:
        return text
    return _THOUSANDS.sub(lambda match: match.group().replace(",", ""), text)


def plain(text: str) -> str:
    """NFKC and casefold: width, ligatures and case are gone, everything else is there."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def fold(text: str) -> str:
    """The folded text; `""` when nothing is left of it."""
    folded = plain(text)
    if _has_digit(folded):
        folded = _BETWEEN_DIGITS.sub(_protected, _without_thousands(folded))
        if "-" in folded or "\u2212" in folded:
            folded = _MINUS.sub("\uff0d", folded)
    if folded.isascii():
        return folded.encode().translate(_ASCII_LOWER, _ASCII_DROPPED).decode()
    return folded.translate(_TABLE)


def key(text: str) -> str:
    """What equal texts share: the folded text, or the raw one (marked) when it folds to nothing."""
    return fold(text) or f"\0{text}"


_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12", "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50",
    "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90", "hundred": "100", "thousand": "1000",
    "million": "1000000", "billion": "1000000000",
    "二": "2", "两": "2", "兩": "2", "三": "3", "四": "4", "五": "5", "六": "6", "七": "7", "八": "8", "九": "9",
    "十": "10",
}  # fmt: skip
_NUMERALS = "〇零一二两兩三四五六七八九十百千万萬亿億"
_NUMBER = re.compile(
    r"(?:(?<![^\W_])[-\u2212])?[0-9]+"
    rf"|[{_NUMERALS}]+"
    r"|(?<![^\W_])(?:" + "|".join(word for word in _WORDS if word.isascii()) + r")(?![^\W_])"
)


# Of an ASCII text everything but letters, digits and minus signs is a gap; its words are then looked up one by one.
_ASCII_WORDS = bytes(
    ord(chr(code).lower()) if chr(code).isascii() and (chr(code).isalnum() or chr(code) == "-") else 32
    for code in range(256)
)
_ASCII_GAPS = _ASCII_WORDS.replace(b"-", b" ")


def numbers(text: str) -> tuple[str, ...]:
    """The numbers of a text in order: runs of digits with their sign, English number words, Chinese numerals.

    "one" and a lone 一 are left out: they are articles and parts of words far more often than numbers. A change from
    them to another number still shows, because that other number is listed. "two", "两" and "2" are equal.
    """
    text = plain(text)
    if "," in text:
        text = _without_thousands(text)
    if not text.isascii():
        return _matched(text)
    words = text.encode().translate(_ASCII_WORDS).decode().split()
    found: list[str] = []
    for word in [word for word in words if word in _WORDS or not word.isalpha()]:
        found += [_WORDS[word]] if word in _WORDS else _matched(word)
    return tuple(found)


# Where a number can be: found several times as fast as the number itself.
_LIKELY = re.compile(rf"[0-9a-z{_NUMERALS}]+")


def _matched(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for run in _LIKELY.finditer(text):
        start, stop = run.span()
        # A word is one only between gaps, so one that is a part of a run never is.
        if run.group() not in _WORDS and run.group().isascii() and run.group().isalpha():
            continue
        signed = start > 0 and text[start - 1] in "-\u2212"
        found += [match.group() for match in _NUMBER.finditer(text, start - signed, min(stop + 1, len(text)))]
    return tuple(_WORDS.get(number, number.replace("\u2212", "-")) for number in found if number != "一")


# The first four letters of the ASCII number words with the gap before them: what `all_numbers` looks for.
_STARTS = sorted({f" {word} "[:5] for word in _WORDS if word.isascii()})
_BLOCK = 1 << 16  # characters at a time: the working arrays stay in the processor's cache


def all_numbers(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """`numbers` of every text. ASCII texts without a digit or the start of a number word are passed over in blocks."""
    # numpy is loaded only by the work that needs it.
    import numpy as np

    def places(windows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """A place in `wanted` for the first five of eight characters."""
        return ((windows << np.uint64(24)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48)

    wanted = np.zeros(1 << 16, bool)
    wanted[places(np.array([int.from_bytes(start.encode(), "little") for start in _STARTS], np.uint64))] = True
    result: list[tuple[str, ...]] = [()] * len(texts)
    for rows in blocks([row for row, text in enumerate(texts) if text.isascii()], texts, _BLOCK):
        codes = " ".join(["", *(texts[row] for row in rows), " " * 8]).encode().translate(_ASCII_GAPS)
        ends = np.cumsum(np.fromiter((len(texts[row]) + 1 for row in rows), np.int64, len(rows)))
        # The eight characters from each place on. A text is found at the gap before it or inside it.
        windows = np.ndarray((len(codes) - 7,), "<u8", codes, strides=(1,))
        likely = wanted[places(windows)]
        likely |= np.frombuffer(codes, np.uint8, len(windows)) - np.uint8(48) < 10
        for at in np.unique(np.searchsorted(ends, np.flatnonzero(likely), "right")).tolist():
            result[rows[at]] = numbers(texts[rows[at]])
    for row, text in enumerate(texts):
        if not text.isascii():
            result[row] = numbers(text)
    return result


def blocks(rows: Sequence[int], texts: Sequence[str], characters: int) -> Iterator[list[int]]:
    """The rows in order, cut so that the texts of each piece have about so many characters; a longer one is alone."""
    some: list[int] = []
    size = 0
    for row in rows:
        length = len(texts[row]) + 1
        if some and size + length > characters:
            yield some
            some, size = [], 0
        some.append(row)
        size += length
    if some:
        yield some


def white(text: str) -> str:
    """The text with each run of white space as one space and none at the ends: how short outputs are compared."""
    return " ".join(text.split())
