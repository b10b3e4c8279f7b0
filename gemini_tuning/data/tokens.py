"""How many tokens a text has, roughly, without a network and without a tokenizer.

Google's pages say that a token is about four characters and that 100 tokens are 60 to 80 English words; Gemini's open
relatives (Gemma) split numbers into single digits. The rates below follow from that. They have not been fitted to the
service's own count: expect +-25 % for prose, +-40 % for code, tables and rare scripts. The service counts for itself
(`totalBillableTokenCount`), and that number is what is paid.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..types import Example

# Tokens a character, by script class; words and gaps of the Latin class are counted by word.
_IDEOGRAPH = 0.7
_KANA = 0.65
_HANGUL = 0.75
_CYRILLIC_GREEK = 0.38
_OTHER_LETTER = 0.5
_SYMBOL = 1.0
_EMOJI = 1.5
_LETTERS_A_TOKEN = 6.0
_TURN = 4.0
"""Role and end marks of one turn."""

MEDIA = 258.0
"""One image, document page or unknown file: only a placeholder, since its size is not known here."""

_PIECE = re.compile(
    r"(?P<latin>[A-Za-z\u00c0-\u024f]+)"
    r"|(?P<digit>[0-9])"
    r"|(?P<space>\s+)"
    r"|(?P<han>[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
    r"|(?P<kana>[\u3040-\u30ff]+)"
    r"|(?P<hangul>[\uac00-\ud7a3]+)"
    r"|(?P<cyrillic>[\u0370-\u052f]+)"
    r"|(?P<emoji>[\u2600-\u27bf\U0001f000-\U0001ffff]+)"
    r"|(?P<letter>[^\W\d_]+)"
    r"|(?P<symbol>(?P<mark>[^\w\s]|_|\d)(?P=mark)*)"
)
_RATES = {
    "han": _IDEOGRAPH, "kana": _KANA, "hangul": _HANGUL, "cyrillic": _CYRILLIC_GREEK, "emoji": _EMOJI,
    "letter": _OTHER_LETTER, "digit": 1.0,
}  # fmt: skip


def estimate_tokens(text: str) -> float:
    """Tokens of a text, estimated by script class; 0 for an empty text. See the module for the error."""
    total = 0.0
    for match in _PIECE.finditer(text):
        kind, size = match.lastgroup, match.end() - match.start()
        if kind == "latin":
            # Common words are one token, long and rare ones are cut.
            total += max(1.0, size / _LETTERS_A_TOKEN)
        elif kind == "space":
            # One space belongs to the next word; line breaks and indents are tokens of their own.
            total += 0.0 if size == 1 and match.group() == " " else 1.0
        elif kind in _RATES:
            total += _RATES[kind] * size
        else:
            # A run of one mark ("----") is about one token.
            total += _SYMBOL * max(1.0, size / 8)
    return total


@lru_cache(maxsize=64)
def _shared_tokens(text: str) -> float:
    """The same for texts that many examples share: a system instruction is counted once."""
    return estimate_tokens(text)


def example_tokens(example: Example) -> float:
    """Tokens of one training example, input and output: turns, system instruction, tools, completions.

    A function call counts as its JSON; a file counts `MEDIA`, whatever its size.
    """
    total = _shared_tokens(example.system or "") + _shared_tokens(example.tools or "")
    for turn in (*example.turns, *(each.turn for each in example.completions)):
        total += _TURN
        for part in turn.parts:
            total += estimate_tokens(part.text or "")
            if part.other is not None:
                file = '"fileData"' in part.other or '"inlineData"' in part.other
                total += MEDIA if file else estimate_tokens(part.other)
    return total
