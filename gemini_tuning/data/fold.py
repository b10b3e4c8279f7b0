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

_KEPT = frozenset("%#@&*/\\_")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])", re.ASCII)
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])[^\w]+(?=[0-9])")
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


def _protected(match: re.Match[str]) -> str:
    between = match.group()
    if any(char.isspace() for char in between):
        return "\u3000"
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in between)


def plain(text: str) -> str:
    """NFKC and casefold: width, ligatures and case are gone, everything else is there."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def fold(text: str) -> str:
    """The folded text; `""` when nothing is left of it."""
    folded = plain(text)
    if any(digit in folded for digit in "0123456789"):
        folded = _THOUSANDS.sub(lambda match: match.group().replace(",", ""), folded)
        folded = _BETWEEN_DIGITS.sub(_protected, folded)
        folded = _MINUS.sub("\uff0d", folded)
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
_NUMBER = re.compile(
    r"(?:(?<![^\W_])[-\u2212])?[0-9]+"
    r"|[〇零一二两兩三四五六七八九十百千万萬亿億]+"
    r"|(?<![^\W_])(?:" + "|".join(word for word in _WORDS if word.isascii()) + r")(?![^\W_])"
)


def numbers(text: str) -> tuple[str, ...]:
    """The numbers of a text in order: runs of digits with their sign, English number words, Chinese numerals.

    "one" and a lone 一 are left out: they are articles and parts of words far more often than numbers. A change from
    them to another number still shows, because that other number is listed. "two", "两" and "2" are equal.
    """
    text = plain(text)
    if "," in text:
        text = _THOUSANDS.sub(lambda match: match.group().replace(",", ""), text)
    found = (match.group().replace("\u2212", "-") for match in _NUMBER.finditer(text))
    return tuple(_WORDS.get(number, number) for number in found if number != "一")


def white(text: str) -> str:
    """The text with each run of white space as one space and none at the ends: how short outputs are compared."""
    return " ".join(text.split())
