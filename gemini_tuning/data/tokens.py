"""How many tokens a text has, roughly, without a network and without a tokenizer.

Google's pages say that a token is about four characters and that 100 tokens are 60 to 80 English words; Gemini's open
relatives (Gemma) split numbers into single digits. The rates below follow from that. They have not been fitted to the
service's own count: expect +-25 % for prose, +-40 % for code, tables and rare scripts. The service counts for itself
(`totalBillableTokenCount`), and that number is what is paid.

A text is cut into runs of one class of characters (a run of marks is of one and the same mark), and each run has its
price. Many texts are counted together: they are joined, and the runs are found and priced with numpy, a few
nanoseconds a character. `estimate_tokens` and `example_tokens` are the same code for one; for many call
`estimate_many` and `dataset_tokens`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from ..types import Example, Turn
from .similar.fold import blocks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_TURN = 4.0
"""Role and end marks of one turn."""

MEDIA = 258.0
"""One image, document page or unknown file: only a placeholder, since its size is not known here."""

# The classes of characters. Every character is in one; `_GAP` stands between two texts.
_GAP, _LATIN, _DIGIT, _SPACE, _HAN, _KANA, _HANGUL, _CYRILLIC_GREEK, _EMOJI, _LETTER, _MARK = range(11)
# Tokens a character and the least a run counts, by class.
_RATES = (0.0, 1 / 6, 1.0, 0.0, 0.7, 0.65, 0.75, 0.38, 1.5, 0.5, 1 / 8)
# Common words are one token, long and rare ones are cut. A run of one mark ("----") is about one token. Line breaks and
# indents are tokens of their own; one space belongs to the next word.
_LEAST = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_RANGES = (
    (0x41, 0x5A, _LATIN), (0x61, 0x7A, _LATIN), (0xC0, 0x24F, _LATIN), (0x30, 0x39, _DIGIT),
    (0x370, 0x52F, _CYRILLIC_GREEK), (0x2600, 0x27BF, _EMOJI),
    (0x3040, 0x30FF, _KANA), (0x3400, 0x9FFF, _HAN), (0xAC00, 0xD7A3, _HANGUL),
    (0xF900, 0xFAFF, _HAN), (0x1F000, 0x1FFFF, _EMOJI), (0x20000, 0x3FFFF, _HAN),
)  # fmt: skip
_BMP = 1 << 16
_BLOCK = 1 << 16  # characters at a time: the working arrays stay in the processor's cache
_SIZES = 64  # runs shorter than this have their price in a table


def _class_of(code: int) -> int:
    for first, last, kind in _RANGES:
        if first <= code <= last:
            return kind
    char = chr(code)
    if char.isspace():
        return _SPACE
    return _LETTER if char.isalnum() and not char.isdecimal() else _MARK


@lru_cache(maxsize=1)
def _classes() -> npt.NDArray[np.uint8]:
    """The class of each of the first 65,536 code points."""
    # numpy is loaded only by the work that needs it.
    import numpy as np

    return np.fromiter(map(_class_of, range(_BMP)), np.uint8, _BMP)


@lru_cache(maxsize=1)
def _ascii_kinds() -> bytes:
    """A `bytes.translate` table: class, or the character itself plus 16 for a mark (so that runs are of one mark)."""
    kinds = [_class_of(code) for code in range(128)]
    return bytes(code + 16 if kind == _MARK else kind for code, kind in enumerate(kinds)) + bytes(128)


def _price(kinds: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    import numpy as np

    return cast("npt.NDArray[np.float64]", np.maximum(np.array(_LEAST)[kinds], np.array(_RATES)[kinds] * sizes))


@lru_cache(maxsize=1)
def _prices() -> npt.NDArray[np.float64]:
    """Tokens of a run, at class * `_SIZES` + size."""
    import numpy as np

    return _price(np.arange(_MARK + 1)[:, None], np.arange(_SIZES)).ravel()


def estimate_tokens(text: str) -> float:
    """Tokens of a text, estimated by script class; 0 for an empty text. See the module for the error."""
    return float(estimate_many([text])[0])


def estimate_many(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """`estimate_tokens` of each text, as an array: for many texts a hundred times as fast."""
    import numpy as np

    result = np.zeros(len(texts))
    # ASCII texts apart, since they need one byte a character and no large table.
    ascii_ = [row for row, text in enumerate(texts) if text and text.isascii()]
    other = [row for row, text in enumerate(texts) if not text.isascii()]
    for rows in (*blocks(ascii_, texts, _BLOCK), *blocks(other, texts, _BLOCK)):
        result[rows] = _block_tokens([texts[row] for row in rows])
    return result


def _block_tokens(texts: list[str]) -> npt.NDArray[np.float64]:
    import numpy as np

    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths + 1)
    joined = " ".join([*texts, ""])
    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint32]
    kinds: npt.NDArray[np.uint8] | npt.NDArray[np.uint32]
    if joined.isascii():
        raw = joined.encode()
        codes = np.frombuffer(raw, np.uint8)
        kinds = np.frombuffer(bytearray(raw.translate(_ascii_kinds())), np.uint8)
    else:
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        kinds = _classes()[np.minimum(codes, _BMP - 1)].astype(np.uint32)
        if codes.max() >= _BMP:
            high = codes >= _BMP
            distinct, places = np.unique(codes[high], return_inverse=True)
            kinds[high] = np.array([_class_of(code) for code in distinct.tolist()], np.uint32)[places]
        marks = kinds == _MARK
        kinds[marks] = codes[marks] + np.uint32(16)
    kinds[ends - 1] = _GAP
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(kinds[1:] != kinds[:-1]) + 1])
    sizes = np.diff(starts, append=len(kinds))
    kind = np.minimum(kinds[starts], _MARK)
    tokens = _prices()[kind.astype(np.intp) * _SIZES + np.minimum(sizes, _SIZES - 1)]
    long = np.flatnonzero(sizes >= _SIZES)
    tokens[long] = _price(kind[long], sizes[long])
    # A run that is one white character and no plain space: priced as a space until here.
    lone = np.flatnonzero((kind == _SPACE) & (sizes == 1))
    tokens[lone] = codes[starts[lone]] != ord(" ")
    # No text is empty, so that each has runs of its own; its gap counts nothing.
    return cast("npt.NDArray[np.float64]", np.add.reduceat(tokens, np.searchsorted(starts, ends - lengths - 1)))


def example_tokens(example: Example) -> float:
    """Tokens of one training example, input and output: turns, system instruction, tools, completions.

    A function call counts as its JSON; a file counts `MEDIA`, whatever its size. For many rows use `dataset_tokens`.
    """
    return float(dataset_tokens([example])[0])


def dataset_tokens(examples: Iterable[Example]) -> npt.NDArray[np.float64]:
    """`example_tokens` of each example, as an array. What many rows share (system instruction, tools, labels) is
    counted once and added to each.
    """
    import numpy as np

    fixed: list[float] = []
    owners: list[int] = []
    pieces: list[int] = []
    number: dict[str, int] = {}
    for row, example in enumerate(examples):
        turns: Sequence[Turn] = example.turns
        if example.completions:
            turns = (*turns, *(each.turn for each in example.completions))
        other = _TURN * len(turns)
        texts = [example.system, example.tools]
        for turn in turns:
            for part in turn.parts:
                texts.append(part.text)
                if part.other is not None:
                    media = media_tokens(part.other)
                    if media is None:
                        texts.append(part.other)
                    else:
                        other += media
        fixed.append(other)
        for text in texts:
            if text:
                owners.append(row)
                pieces.append(number.setdefault(text, len(number)))
    counted = estimate_many(list(number))
    result = np.array(fixed)
    if owners:
        result += np.bincount(owners, weights=counted[pieces], minlength=len(fixed))
    return cast("npt.NDArray[np.float64]", result)


def media_tokens(other: str) -> float | None:
    """Tokens of a part that is no text (its canonical JSON), or None when it is no file and counts as its JSON."""
    return MEDIA if '"fileData"' in other or '"inlineData"' in other else None
