"""Texts as numbers for the small models: hashed words, pairs of words and pieces of words, weighted by rarity.

A text is folded to one width and case, then read as words; every Chinese character, kana or hangul is a word of its
own, so pairs of words are the character pairs that Chinese needs. Pieces are windows of 4 characters inside a word,
with the space before and after it, so that "declined" and "decline" share most of theirs.

Everything is hashed to a bucket by 64-bit arithmetic on whole blocks of text: there is no loop over words and no
vocabulary, and equal texts have equal features on every machine. Two words may share a bucket; with some hundred
thousand buckets that costs next to nothing.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..similar.fold import plain

Ints: TypeAlias = npt.NDArray[np.int64]
Indices: TypeAlias = npt.NDArray[np.int32]
Floats32: TypeAlias = npt.NDArray[np.float32]
U64: TypeAlias = npt.NDArray[np.uint64]

MAX_CHARACTERS = 2000
"""Only so many characters from the start of a text are read: it bounds the time, and the topic shows early."""

_BLOCK = 1 << 17  # characters at once: the working arrays stay in the processor's cache
_GAP, _WORD, _SINGLE = 0, 1, 2
# Odd, random, fixed: hashes must be the same on every machine and in every run.
_BASE = 0x9E3779B97F4A7C15
_PAIR = np.uint64(0xC2B2AE3D27D4EB4F)
_PIECES = np.array([0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3], dtype=np.uint64)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


class Hashed(NamedTuple):
    """A sparse matrix by rows: row `i` has `indices[indptr[i]:indptr[i + 1]]`, sorted, with their `values`.

    `indptr` is (n + 1,), `indices` and `values` (entries,), `rarity` (columns,) the weights that were used. Each row
    that has a word has length 1 (L2).
    """

    indptr: Ints
    indices: Indices
    values: Floats32
    rarity: Floats32

    @property
    def buckets(self) -> int:
        """The number of columns."""
        return len(self.rarity)


@functools.cache
def _kinds() -> npt.NDArray[np.uint8]:
    """Code point -> gap, part of a word, or a word of its own (ideographs, kana, hangul, emoji and other symbols)."""
    kinds = np.full(sys.maxunicode + 1, _SINGLE, np.uint8)
    kinds[:0x10000] = [
        _WORD if category[0] in "LNM" else _SINGLE if category[0] == "S" else _GAP
        for category in map(unicodedata.category, map(chr, range(0x10000)))
    ]
    for low, high in ((0x3040, 0x3100), (0x3400, 0xA000), (0xAC00, 0xD7A4), (0xF900, 0xFB00)):
        part = kinds[low:high]
        part[part == _WORD] = _SINGLE
    kinds[0x10000:0x1F000] = _WORD  # letters of rare scripts; above are emoji and ideographs
    kinds[0xE0000:] = _GAP
    return kinds


@functools.cache
def _powers(size: int) -> tuple[U64, U64]:
    """Powers of the base and of its inverse, modulo 2**64."""
    inverse = pow(_BASE, -1, 1 << 64)
    both = []
    for base in (_BASE, inverse):
        steps = np.full(size, base, np.uint64)
        steps[0] = 1
        both.append(np.cumprod(steps))
    return both[0], both[1]


def _mixed(values: U64) -> U64:
    values = values ^ (values >> np.uint64(33))
    values *= _MIX
    values ^= values >> np.uint64(29)
    return values


def _blocks(texts: Sequence[str], characters: int) -> Iterator[tuple[int, int, npt.NDArray[np.uint32]]]:
    """First row, row after the last, and the code points of some rows, each row after a NUL and one NUL at the end."""
    start, taken = 0, 0
    part: list[str] = []
    for row, text in enumerate(texts):
        cut = text[:characters] if len(text) > characters else text
        part.append(cut.replace("\0", " ") if "\0" in cut else cut)
        taken += len(cut) + 1
        if taken >= _BLOCK or row == len(texts) - 1:
            joined = plain("\0" + "\0".join(part) + "\0")
            yield start, row + 1, np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
            start, taken, part = row + 1, 0, []


class _Tokens(NamedTuple):
    """The words of a block: their hashes, the row of each (in the block), and what pieces need."""

    hashes: U64
    offsets: Ints
    single: npt.NDArray[np.bool_]


def _words(codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]) -> _Tokens:
    """Each word's polynomial hash, from one running sum over the block."""
    word = kinds == _WORD
    single = kinds == _SINGLE
    begins, stops = single.copy(), single.copy()
    begins[1:] |= word[1:] & ~word[:-1]  # the first and the last character are NULs
    stops[:-1] |= word[:-1] & ~word[1:]
    begin, stop = np.flatnonzero(begins), np.flatnonzero(stops)
    powers, inverses = _powers(1 << max(17, len(codes).bit_length()))
    terms = codes.astype(np.uint64)
    terms *= powers[: len(codes)]
    np.cumsum(terms, out=terms)
    hashes = _mixed((terms[stop] - terms[begin - 1]) * inverses[begin])
    ends = np.flatnonzero(codes == 0)
    return _Tokens(hashes, np.searchsorted(begin, ends).astype(np.int64), single[begin])


def _pairs(tokens: _Tokens) -> tuple[U64, Ints]:
    """Hashes of neighbouring words of one row, and the row of each."""
    row = np.repeat(np.arange(len(tokens.offsets) - 1), np.diff(tokens.offsets))
    inside = row[1:] == row[:-1]
    return _mixed(tokens.hashes[:-1] * _PAIR + tokens.hashes[1:])[inside], row[1:][inside]


def _pieces(codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]) -> tuple[U64, Ints]:
    """Hashes of 4-character windows inside words (with a space at the ends), and the row of each."""
    size = len(_PIECES)
    word = kinds == _WORD
    spaced = np.where(word, codes, np.uint32(0x20))
    start = np.flatnonzero(word[1:-2] & word[2:-1])
    hashes = np.zeros(len(start), np.uint64)
    for at in range(size):
        hashes += spaced[start + at].astype(np.uint64) * _PIECES[at]
    ends = np.flatnonzero(codes == 0)
    counts = np.diff(np.searchsorted(start, ends))
    return _mixed(hashes), np.repeat(np.arange(len(ends) - 1), counts)


def hashed(
    texts: Sequence[str],
    *,
    buckets: int = 1 << 18,
    pieces: bool = True,
    max_characters: int = MAX_CHARACTERS,
    rarity: Floats32 | None = None,
) -> Hashed:
    """Hashed TF-IDF of words, pairs of words and, with `pieces`, 4-character windows.

    Args:
        texts: n texts, any Unicode; one without a word has an empty row.
        buckets: Columns.
        pieces: Whether windows inside words count too; they are most of the time for long texts.
        max_characters: Read from the start of each text.
        rarity: The weights of other texts (their `Hashed.rarity`) instead of those of these; `buckets` long.

    Weights are (1 + ln tf) (1 + ln((1 + n) / (1 + df))), with rows of length 1: the usual smoothed TF-IDF
    (Manning, Raghavan and Schuetze, Introduction to Information Retrieval, 6.4).
    """
    table = _kinds()
    keys: list[Indices] = []
    counts: list[Floats32] = []
    sizes: list[Ints] = []
    for start, stop, codes in _blocks(texts, max_characters):
        kinds = table[codes]
        tokens = _words(codes, kinds)
        row = np.repeat(np.arange(stop - start), np.diff(tokens.offsets))
        parts = [(tokens.hashes, row), _pairs(tokens)]
        if pieces:
            parts.append(_pieces(codes, kinds))
        found = np.concatenate([hashes for hashes, _ in parts])
        rows = np.concatenate([each for _, each in parts])
        bucket = (found >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)
        together = (rows.astype(np.uint64) << np.uint64(32)) | bucket
        together.sort()
        first = np.ones(len(together), bool)
        first[1:] = together[1:] != together[:-1]
        place = np.flatnonzero(first)
        keys.append((together[place] & np.uint64(0xFFFFFFFF)).astype(np.int32))
        counts.append(np.diff(np.append(place, len(together))).astype(np.float32))
        sizes.append(np.bincount((together[place] >> np.uint64(32)).astype(np.int64), minlength=stop - start))
    indptr = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.concatenate([np.zeros(0, np.int64), *sizes]), out=indptr[1:])
    indices = np.concatenate([np.zeros(0, np.int32), *keys])
    values = np.concatenate([np.zeros(0, np.float32), *counts])
    if rarity is None:
        rarity = _rarity(np.bincount(indices, minlength=buckets), len(texts))
    values = (1 + np.log(values)) * rarity[indices]
    return Hashed(indptr, indices, values / np.repeat(_lengths(values, indptr), np.diff(indptr)), rarity)


def _rarity(rows: Ints, n: int) -> Floats32:
    """The weight of a bucket that occurs in so many of n rows."""
    return (1 + np.log((1 + n) / (1 + rows))).astype(np.float32)


def _lengths(values: Floats32, indptr: Ints) -> Floats32:
    """The L2 length of each row; 1 for an empty one."""
    squares = np.concatenate([np.zeros(1), np.cumsum(np.square(values, dtype=np.float64))])
    length = np.sqrt(np.diff(squares[indptr]))
    return np.where(length > 0, length, 1).astype(np.float32)


def folded_down(features: Hashed, dimensions: int, *, seed: int = 0) -> Floats32:
    """The same rows in few dense columns, (n, dimensions): each bucket is added to a random column with a random sign.

    Inner products are kept on average (Weinberger et al., Feature hashing for large scale multitask learning, 2009).
    """
    column, sign = _columns(features.buckets, dimensions, seed)
    n = len(features.indptr) - 1
    result = np.empty((n, dimensions), np.float32)
    step = max(1, (1 << 20) // dimensions)
    for at in range(0, n, step):
        stop = min(at + step, n)
        low, high = features.indptr[at], features.indptr[stop]
        bucket = features.indices[low:high]
        row = np.repeat(np.arange(stop - at), np.diff(features.indptr[at : stop + 1]))
        dense = np.bincount(
            row * dimensions + column[bucket],
            weights=features.values[low:high] * sign[bucket],
            minlength=(stop - at) * dimensions,
        )
        result[at:stop] = dense.reshape(stop - at, dimensions)
    return result


def _columns(buckets: int, dimensions: int, seed: int) -> tuple[Ints, Floats32]:
    random = np.random.default_rng([seed, dimensions])
    column = random.integers(0, dimensions, buckets)
    return column, (random.integers(0, 2, buckets) * 2 - 1).astype(np.float32)


def tfidf_sketch(
    texts: Sequence[str], *, dimensions: int = 256, seed: int = 0, max_characters: int = MAX_CHARACTERS
) -> Floats32:
    """Dense vectors for clustering: (n, dimensions), each of length 1, zero for a text without a word.

    The inner product of two rows is near the cosine similarity of their TF-IDF vectors, with a standard error of about
    1 / sqrt(dimensions). Words only (every Chinese character is one), plain counts times rarity by the number of
    occurrences: simpler than `hashed` and several times faster. The vector of a text depends on the
    *set* of texts (through rarity), not on their order.
    """
    table = _kinds()
    size = 1 << 16
    buckets: list[npt.NDArray[np.uint16]] = []
    offsets: list[Ints] = []
    total = np.zeros(size, np.int64)
    for _, _, codes in _blocks(texts, max_characters):
        tokens = _words(codes, table[codes])
        bucket = (tokens.hashes >> np.uint64(48)).astype(np.uint16)
        total += np.bincount(bucket, minlength=size)
        buckets.append(bucket)
        offsets.append(tokens.offsets)
    occurrences = max(1, int(total.sum()))
    column, sign = _columns(size, dimensions, seed)
    weight = (np.log((1 + occurrences) / (1 + total)).astype(np.float32) * sign).astype(np.float64)
    result = np.zeros((len(texts), dimensions), np.float32)
    start = 0
    for bucket, offset in zip(buckets, offsets, strict=True):
        rows = len(offset) - 1
        row = np.repeat(np.arange(0, rows * dimensions, dimensions), np.diff(offset))
        dense = np.bincount(row + column[bucket], weights=weight[bucket], minlength=rows * dimensions)
        part = dense.reshape(rows, dimensions)
        length = np.sqrt(np.einsum("ij,ij->i", part, part))[:, None]
        result[start : start + rows] = np.divide(
            part, length, out=np.zeros_like(part, dtype=np.float64), where=length > 0
        )
        start += rows
    return result
