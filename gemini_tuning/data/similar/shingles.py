"""Texts as sets of short character windows, and their exact Jaccard similarity.

A window starts at every character of the folded text and is 4 characters long, or 2 when it starts with a Chinese
character, kana or hangul; past the end it is filled up with nothing. So a text of n characters has at most n windows,
texts shorter than a window have one for each suffix, and one wrong letter costs a text of 40 letters 4 windows of 40
(similarity .82): one setting for short questions, long documents and Chinese.

A window is a 64-bit hash. Two different windows share one with probability 2**-64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .fold import blocks

U64: TypeAlias = npt.NDArray[np.uint64]
Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

_LONG, _SHORT = 4, 2
# Odd, random, fixed: hashes must be the same on every machine and in every run.
_WEIGHTS = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xC2B2AE3D27D4EB4F, 0xA0761D6478BD642F], dtype=np.uint64)
_MIX = np.uint64(0xE7037ED1A0B428DB)


def _dense(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which characters carry about as much as half a word: ideographs, kana, hangul."""
    return (
        ((codes >= 0x3040) & (codes <= 0x30FF))
        | ((codes >= 0x3400) & (codes <= 0x9FFF))
        | ((codes >= 0xAC00) & (codes <= 0xD7A3))
        | ((codes >= 0xF900) & (codes <= 0xFAFF))
        | ((codes >= 0x20000) & (codes <= 0x3FFFF))
    )


def windows(folded: Sequence[str]) -> tuple[U64, Ints]:
    """All windows of all texts, in order, with repeats: the hashes, and n + 1 offsets into them."""
    lengths = np.fromiter(map(len, folded), np.int64, len(folded))
    offsets = np.zeros(len(folded) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    # Three zeros after each text keep every window inside its text; a NUL cannot occur in folded text.
    joined = ("\0" * (_LONG - 1)).join([*folded, ""])
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    hashes = np.zeros(len(codes), np.uint64)
    dense = _dense(codes)
    for at in range(_LONG):
        term = codes[at:].astype(np.uint64) * _WEIGHTS[at]
        if at >= _SHORT:
            term[dense[: len(term)]] = 0
        hashes[: len(term)] += term
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(29)
    inside = np.arange(int(offsets[-1])) + np.repeat(np.arange(len(folded)) * (_LONG - 1), lengths)
    return hashes[inside], offsets


_SPREAD = np.array([0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35], dtype=np.uint32)


def quick_windows(folded: Sequence[str]) -> tuple[npt.NDArray[np.uint32], Ints]:
    """Hashes of 32 bits of the same windows, for finding candidates only; and where each text starts among them.

    Between two texts are three hashes that belong to none. A window has the same hash whatever stands beside its
    text. Texts in ASCII need no look at single characters: four bytes are the window.
    """
    lengths = np.fromiter(map(len, folded), np.int64, len(folded))
    starts = np.cumsum(lengths + (_LONG - 1)) - lengths - (_LONG - 1)
    joined = ("\0" * (_LONG - 1)).join([*folded, ""])
    if joined.isascii():
        data = joined.encode()
        hashes = np.ndarray((max(0, len(data) - _LONG + 1),), "<u4", data, strides=(1,)) * _SPREAD[0]
    else:
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        # An ASCII character stays what it is, so that a window of four is the four bytes; others fill all 32 bits.
        filled = np.where(codes < 0x80, codes, codes * _SPREAD[1])
        dense = _dense(codes)
        hashes = filled[: max(0, len(codes) - _LONG + 1)].copy()
        for at in range(1, _LONG):
            term = filled[at : at + len(hashes)]
            term = (term << np.uint32(8 * at)) | (term >> np.uint32(32 - 8 * at))
            if at >= _SHORT:
                term[dense[: len(term)]] = 0
            hashes += term
        hashes *= _SPREAD[0]
    hashes ^= hashes >> np.uint32(15)
    hashes *= _SPREAD[2]
    return hashes, starts


def sets(folded: Sequence[str]) -> tuple[U64, Ints]:
    """The same as sets: hashes sorted and distinct within each text."""
    hashes, offsets = windows(folded)
    row = np.repeat(np.arange(len(folded)), np.diff(offsets))
    order = np.lexsort((hashes, row))
    hashes, row = hashes[order], row[order]
    first = np.ones(len(hashes), bool)
    if len(hashes):
        first[1:] = (hashes[1:] != hashes[:-1]) | (row[1:] != row[:-1])
    counts = np.bincount(row[first], minlength=len(folded)).astype(np.int64)
    return hashes[first], np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


_BITS = 2048
_MAPPED = 1 << 16  # characters of the texts whose bits are set at a time


def may_reach(folded: Sequence[str], left: Ints, right: Ints, threshold: float) -> npt.NDArray[np.bool_]:
    """Which pairs can have this similarity; the others surely have not. Much cheaper than `jaccard`.

    Each text has a map of 2,048 bits, one set for each of its windows. Every bit in which two maps differ stands for
    at least one window that only one of them has; with d of these and w windows together the similarity is at most
    (w - d) / (w + d). Texts of many thousand characters fill their maps, and then the answer is yes.
    """
    rows, at = np.unique(np.concatenate([left, right]), return_inverse=True)
    texts = [folded[row] for row in rows.tolist()]
    maps = np.empty((len(rows), _BITS // 64), np.uint64)
    for block in blocks(range(len(texts)), texts, _MAPPED):
        hashes, offsets = windows([texts[row] for row in block])
        owner = np.repeat(np.arange(len(block)), np.diff(offsets))
        bits = np.zeros((len(block), _BITS), bool)
        bits[owner, (hashes >> np.uint64(32)) % np.uint64(_BITS)] = True
        maps[block] = np.packbits(bits, axis=1).view(np.uint64)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    result = np.ones(len(left), bool)
    first, second = at[: len(left)], at[len(left) :]
    for start in range(0, len(left), _PAIRS):
        a, b = first[start : start + _PAIRS], second[start : start + _PAIRS]
        differ = np.bitwise_count(maps[a] ^ maps[b]).sum(axis=1, dtype=np.int64)
        together = lengths[a] + lengths[b]
        # A little slack for rounding: what is let through is measured anyway.
        result[start : start + _PAIRS] = together - differ >= (threshold - 1e-9) * (together + differ)
    return result


_CHUNK = 1 << 17  # windows per round of `jaccard`: 1 MB arrays
_PAIRS = 1 << 12  # pairs per round: their number has 12 bits
_OFTEN = 4  # pairs a text, on average, from which its set is made once and kept
_MEAN = 500  # characters a text from which that is worth a step of Python a pair
_TILE = 1 << 21  # distinct windows of the texts that are compared with as many others at a time: 16 MB each
_KEPT = 1 << 23  # windows of sets that are kept: 64 MB
_SOME = 16


def jaccard(folded: Sequence[str], left: Ints, right: Ints) -> Floats:
    """The exact similarity of the texts `folded[left[i]]` and `folded[right[i]]`, one number a pair.

    Two texts without any window have similarity 0: nothing in common.
    """
    result = np.zeros(len(left), np.float64)
    if not len(left):
        return result
    lengths = np.fromiter(map(len, folded), np.int64, len(folded))
    weight = np.cumsum(lengths[left] + lengths[right] + 1)
    once = lengths[np.bincount(np.concatenate([left, right]), minlength=len(folded)) > 0].sum()
    # Long texts that are in many pairs each (prompts from one template): their sets are made once.
    if weight[-1] >= 2 * _MEAN * len(left) and weight[-1] >= _OFTEN * once:
        return _jaccard_often(folded, left, right)
    start = 0
    while start < len(left):
        before = int(weight[start - 1]) if start else 0
        stop = min(max(start + 1, int(np.searchsorted(weight, before + _CHUNK))), start + _PAIRS)
        pairs = zip(left[start:stop].tolist(), right[start:stop].tolist(), strict=True)
        result[start:stop] = _jaccard_chunk([folded[row] for pair in pairs for row in pair])
        start = stop
    return result


class _Sets:
    """The sorted distinct windows of single texts. Those used last are kept, up to `_KEPT` windows."""

    def __init__(self, folded: Sequence[str]) -> None:
        self._folded = folded
        self._kept: dict[int, U64] = {}  # in the order of their last use
        self._total = 0

    def of(self, row: int) -> U64:
        held = self._kept.pop(row, None)
        if held is None:
            hashes, _ = windows([self._folded[row]])
            held = distinct(hashes)
            self._total += len(held)
        self._kept[row] = held
        while self._total > _KEPT and len(self._kept) > 1:
            self._total -= len(self._kept.pop(next(iter(self._kept))))
        return held


def distinct(values: U64) -> U64:
    """Sorted, each once; `values` is sorted in place."""
    # np.unique and union1d hash since numpy 2.3, which is many times slower on this than a sort.
    values.sort()
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    return values[first]


def _jaccard_often(folded: Sequence[str], left: Ints, right: Ints) -> Floats:
    """For long texts that are in many pairs each.

    The texts are cut into blocks of about `_TILE` windows, and the pairs of two blocks are taken together, so that
    memory stays bounded.
    """
    rows, at = np.unique(np.concatenate([left, right]), return_inverse=True)
    sets_ = _Sets(folded)
    sizes = np.fromiter((len(sets_.of(row)) for row in rows.tolist()), np.int64, len(rows))
    block = (np.cumsum(sizes) // _TILE)[at]
    low, high = np.minimum(block[: len(left)], block[len(left) :]), np.maximum(block[: len(left)], block[len(left) :])
    order = np.lexsort((right, left, high, low))
    change = np.flatnonzero((np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)) + 1
    both = np.zeros(len(left), np.int64)
    for tile in np.split(order, change):
        both[tile] = _shared(sets_, left[tile], right[tile])
    either = sizes[at[: len(left)]] + sizes[at[len(left) :]] - both
    similarity: Floats = np.divide(both, either, out=np.zeros(len(left)), where=either > 0)
    return similarity


def _shared(sets_: _Sets, left: Ints, right: Ints) -> Ints:
    """How many windows the texts of each pair share; pairs with one left side stand together."""
    rows = sorted({*left.tolist(), *right.tolist()})
    # Some texts first: what all have in common is then sorted in small arrays.
    some = [rows[at : at + _SOME] for at in range(0, len(rows), _SOME)]
    parts = [distinct(np.concatenate([sets_.of(row) for row in few])) for few in some]
    known = distinct(np.concatenate(parts))
    # Numbered from 0, windows can be ticked off in a table, many times faster than two sorted lists are merged.
    numbers = {row: np.searchsorted(known, sets_.of(row)).astype(np.int32) for row in rows}
    ticked = np.zeros(len(known), bool)
    both = np.zeros(len(left), np.int64)
    last = -1
    for pair, (one, other) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        if one != last:
            if last >= 0:
                ticked[numbers[last]] = False
            ticked[numbers[one]] = True
            last = one
        both[pair] = np.count_nonzero(ticked[numbers[other]])
    return both


def _jaccard_chunk(folded: list[str]) -> Floats:
    """Of each text at an even place and the next one."""
    hashes, offsets = windows(folded)
    pairs = len(folded) // 2
    # The pair's number in the 12 high bits, 51 bits of the hash, the side in the last: one sort brings equal windows
    # together, and tells those of one text from those that both have.
    number = np.arange(len(folded), dtype=np.uint64)
    mark = ((number >> np.uint64(1)) << np.uint64(52)) | (number & np.uint64(1))
    tagged = ((hashes >> np.uint64(13)) << np.uint64(1)) | np.repeat(mark, np.diff(offsets))
    tagged.sort()
    change = tagged[1:] ^ tagged[:-1]

    def count(where: npt.NDArray[np.bool_]) -> Ints:
        return np.bincount((tagged[1:][where] >> np.uint64(52)).astype(np.int64), minlength=pairs)

    # Sides differ and all else is equal: a window of both. More differs: a window that was not yet seen.
    both = count(change == 1)
    either = count(change > 1)
    if len(tagged):
        either[int(tagged[0] >> np.uint64(52))] += 1
    similarity: Floats = np.divide(both, either, out=np.zeros(pairs), where=either > 0)
    return similarity


class ShingleIndex:
    """Texts that others are compared with, one at a time, exactly and all at once.

    Args:
        folded: Folded texts, as `fold.fold` gives them.
    """

    def __init__(self, folded: Sequence[str]) -> None:
        hashes, offsets = sets(folded)
        self._sizes = np.diff(offsets)
        row = np.repeat(np.arange(len(folded), dtype=np.int32), self._sizes)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], row[order]

    def similarities(self, folded: str) -> Floats:
        """The similarity of one folded text with every text of the index."""
        query, _ = sets([folded])
        low = np.searchsorted(self._hashes, query, "left")
        high = np.searchsorted(self._hashes, query, "right")
        postings = [self._rows[a:b] for a, b in zip(low.tolist(), high.tolist(), strict=True) if a < b]
        if not postings:
            return np.zeros(len(self._sizes))
        both = np.bincount(np.concatenate(postings), minlength=len(self._sizes))
        similarity: Floats = both / (self._sizes + len(query) - both)
        return similarity
