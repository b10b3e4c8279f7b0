"""Text as the simulated model sees it: tokens that join back exactly, and hashed lexical features.

Nothing here is Gemini's: its tokeniser is not public. These tokens are about as long as a real model's (four
Latin letters or one Chinese character), which is what counts, costs and curves need.
"""

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Iterable
from functools import lru_cache

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
_TOKEN = re.compile(rf" ?[^\W\d_{CJK}]+| ?\d{{1,3}}|[{CJK}]|\r?\n| +|.", re.DOTALL)
_CJK = re.compile(f"[{CJK}]")
_WORD = re.compile(rf"[^\W_{CJK}]+(?:'[^\W\d_{CJK}]+)?|[{CJK}]+")
_LONGEST_PIECE = 9
_PIECE = 6

# Kinds of feature and what one occurrence weighs before idf. Whole words carry more than the fragments that
# catch inflections and typing errors; a word has many fragments, so each must be light.
WORD, PAIR, FRAGMENT, SKIP = 1.0, 0.4, 0.5, 0.2


def tokens(text: str) -> list[str]:
    """Split `text` into tokens whose concatenation is `text`, for any Unicode string.

    A word takes the single space before it along. Words above nine letters are cut into pieces of six;
    numbers into groups of three digits; each CJK character, symbol and line break stands alone.
    """
    pieces: list[str] = []
    for match in _TOKEN.findall(text):
        if len(match) <= _LONGEST_PIECE:
            pieces.append(match)
        else:
            pieces.extend(match[i : i + _PIECE] for i in range(0, len(match), _PIECE))
    return pieces


def decode(pieces: Iterable[str]) -> str:
    """The text that `tokens` split: plain concatenation."""
    return "".join(pieces)


def count_tokens(text: str) -> int:
    """How many tokens `text` has; 0 for the empty string."""
    return len(tokens(text))


def digest(text: str) -> int:
    """A 32-bit number that depends on the text alone: the same in every process and on every machine."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def scatter(*parts: object) -> int:
    """A 48-bit number to draw lots with: it depends on the parts alone, and similar parts give unrelated ones."""
    joined = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=6).digest(), "big")


def words(text: str) -> list[str]:
    """Lower-case words in order, compatibility forms folded; a run of CJK characters counts as one word."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def is_cjk(word: str) -> bool:
    """Whether a word from `words` is a run of CJK characters."""
    return word >= "\u3040" and _CJK.match(word) is not None  # nearly always settled by the comparison


def _run_features(run: str) -> Iterable[tuple[int, float]]:
    """(hash, weight) of the characters, bigrams and trigrams of a run of CJK characters."""
    for n, weight in ((1, 0.5), (2, 1.0), (3, 0.6)):
        for i in range(len(run) - n + 1):
            yield digest("c" + run[i : i + n]), weight


# Words recur, runs of CJK characters hardly: only words are worth remembering.
@lru_cache(maxsize=1 << 14)
def _word_features(word: str, longest: int) -> tuple[tuple[int, float], ...]:
    """(hash, weight) of one word and of its character n-grams of three up to `longest` letters."""
    padded = f"<{word}>"
    grams = [(padded[i : i + n], FRAGMENT) for n in range(3, longest + 1) for i in range(len(padded) - n + 1)]
    return ((digest("w" + word), WORD), *((digest("g" + gram), weight) for gram, weight in grams))


def features(text: str, *, longest: int = 5, skips: bool = False) -> tuple[list[int], list[float]]:
    """Hashes (32 bits) and weights of the words, word pairs and character n-grams of `text`, with repeats.

    `longest` is the longest character n-gram of a Latin word; `skips` adds pairs with one word between.
    The features are lexical: two texts that share no fragment of a word share no feature.
    """
    found = words(text)
    hashes: list[int] = []
    weights: list[float] = []
    for word in found:
        for hashed, weight in _run_features(word) if is_cjk(word) else _word_features(word, longest):
            hashes.append(hashed)
            weights.append(weight)
    for gap, kind, weight in ((1, "p", PAIR), (2, "s", SKIP)):
        if gap == 1 or skips:
            for left, right in zip(found, found[gap:], strict=False):
                if not (is_cjk(left) and is_cjk(right)):
                    hashes.append(digest(f"{kind}{left} {right}"))
                    weights.append(weight)
    return hashes, weights
