"""Keys, tokens and passwords in texts: by the issuer's prefix, by their frame, or by the word before them.

A secret without any digit is not looked for: the keys that issuers make have them, and a word after "password:" is
mostly just a word. See `personal_forms` for what the functions take and give.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

Pair = tuple[int, int]

# (what must be in the text, the pattern). The look-behind has all characters of the body, so that each character is
# looked at from one start only: linear.
_PREFIXED = (
    ("AKIA", re.compile(r"(?<![0-9A-Za-z])AKIA[0-9A-Z]{16}(?![0-9A-Za-z])")),
    ("ASIA", re.compile(r"(?<![0-9A-Za-z])ASIA[0-9A-Z]{16}(?![0-9A-Za-z])")),
    ("AIza", re.compile(r"(?<![0-9A-Za-z_-])AIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])")),
    ("ya29.", re.compile(r"(?<![0-9A-Za-z_-])ya29\.[0-9A-Za-z_-]{20,}")),
    ("gh", re.compile(r"(?<![0-9A-Za-z_])gh[pousr]_[0-9A-Za-z]{36,255}(?![0-9A-Za-z])")),
    ("github_pat_", re.compile(r"(?<![0-9A-Za-z_])github_pat_[0-9A-Za-z_]{22,255}(?![0-9A-Za-z_])")),
    ("glpat-", re.compile(r"(?<![0-9A-Za-z_-])glpat-[0-9A-Za-z_-]{20,}")),
    ("sk-", re.compile(r"(?<![0-9A-Za-z_-])sk-[0-9A-Za-z_-]{20,}")),
    ("xox", re.compile(r"(?<![0-9A-Za-z-])xox[abeoprs]-[0-9A-Za-z-]{10,}")),
    ("k_", re.compile(r"(?<![0-9A-Za-z_])[sr]k_(?:live|test)_[0-9A-Za-z]{16,}")),
    ("hf_", re.compile(r"(?<![0-9A-Za-z_])hf_[0-9A-Za-z]{30,}")),
    ("eyJ", re.compile(r"(?<![0-9A-Za-z_-])eyJ[0-9A-Za-z_-]{8,}\.(?:eyJ|e30)[0-9A-Za-z_-]*\.[0-9A-Za-z_-]*")),
)
_PART = re.compile(r"[0-9A-Za-z]+")
_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_CUT = re.compile(r"[0-9A-Za-z+/=\s\\]*")
_PEM_LENGTH = 20_000
_USER = re.compile(r"([0-9A-Za-z._~%!$&*+=-]{1,64}):([0-9A-Za-z._~%!$&*+=-]{1,128})@")
_BEARER = re.compile(r"\b(?:bearer|basic)[ ]{1,2}([0-9A-Za-z._~+/=-]{16,4096})", re.IGNORECASE)
_STRONG = ("password", "passwd", "passcode", "passphrase", "pwd", "密码", "口令")
_WEAK = ("secret", "token", "key", "密钥", "令牌")
_WHOSE_KEY = re.compile(r"(?:api|access|secret|auth|private|client|account|encryption|signing)[ _-]?\Z")
_FRAME = re.compile(
    r"s?(?:[ _-]?(?:id|key|value))?[\"']?"
    r"(?:[ \t]{0,2}(?:=>|[:：=])[ \t]{0,2}|[ ](?:is|was)[ :]{1,2}|(?:是|为)[:：]?[ ]?)"
    r"[\"']?([!#$%&*+\-./0-9:=?@A-Z^_a-z~]{8,200})(?!\()",
    re.IGNORECASE,
)
_SAMPLE = re.compile(r"your|example|placeholder|change.?me|x{3,}|\*{3,}|\.{3,}|\$|password|secret", re.IGNORECASE)
"""What documents write where a secret would stand."""


def _issued(key: str) -> bool:
    """Whether it has a part that no name has: twelve letters and digits in a row, digits among them."""
    parts = _PART.findall(key)
    return any(len(part) >= 12 and not part.isalpha() for part in parts)


def _bits(value: str) -> float:
    """Shannon entropy a character."""
    counts = (value.count(char) for char in set(value))
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def _random(value: str, length: int, bits: float) -> bool:
    """Whether it is mixed like a secret: letters and digits, long enough, and no sample."""
    if len(value) < length or not any(char.isdigit() for char in value) or not any(char.isalpha() for char in value):
        return False
    return not _SAMPLE.search(value) and _bits(value[:200]) >= bits


def secrets(text: str, folded: str) -> Iterator[Pair]:
    """Keys and tokens of known issuers, private key blocks, and what follows "password:"."""
    for mark, pattern in _PREFIXED:
        if mark in folded:
            for match in pattern.finditer(folded):
                if _issued(match.group()):
                    yield match.span()
    if "PRIVATE KEY" in folded:
        yield from _pem(folded)
    lower = folded.lower()
    if "bearer" in lower or "basic" in lower:
        for match in _BEARER.finditer(folded):
            if _random(match.group(1), 16, 3.0):
                yield match.span(1)
    yield from _assigned(text, lower)


def _pem(folded: str) -> Iterator[Pair]:
    """From the first line to the last; a block that is cut off goes as far as its base64 does."""
    begin = _BEGIN.search(folded)
    while begin:
        end = _END.search(folded, begin.end(), begin.end() + _PEM_LENGTH)
        cut = _CUT.match(folded, begin.end(), begin.end() + _PEM_LENGTH)
        last = end.end() if end else cut.end() if cut else begin.end()
        yield begin.start(), last
        begin = _BEGIN.search(folded, last)


def logins(folded: str) -> Iterator[Pair]:
    """`user:password` of `https://user:password@host`."""
    at = folded.find("://")
    while at >= 0:
        match = _USER.match(folded, at + 3)
        if match and not _SAMPLE.search(match.group(2)) and match.group(2).lower() not in ("pass", "pwd", "pw"):
            yield match.start(1), match.end(2)
        at = folded.find("://", at + 3)


def _assigned(text: str, lower: str) -> Iterator[Pair]:
    """What follows `password:`, `api_key =` or 密码是, when it is mixed enough to be one."""
    for words, length, bits in ((_STRONG, 8, 2.5), (_WEAK, 16, 3.0)):
        for word in words:
            place = lower if word.isascii() else text
            at = place.find(word)
            while at >= 0:
                named = word != "key" or _WHOSE_KEY.search(lower[max(0, at - 12) : at])
                match = _FRAME.match(text, at + len(word)) if named else None
                if match:
                    value = match.group(1).rstrip(".,:;?!")
                    if _random(value, length, bits):
                        yield match.start(1), match.start(1) + len(value)
                at = place.find(word, at + len(word))
