"""All pairs of texts above a similarity: candidates by MinHash bands, every one verified by its exact Jaccard.

Up to `EVERY_PAIR` texts every pair is a candidate, so the result is exact. Above, the number of bands is chosen so
that a pair at the threshold is missed with probability below 1e-9 (for independent minima; measured: agreements have
the mean and 1.03 times the spread of a binomial), and what is found is exact.

Texts are looked at in the order of their content, never of their rows, so the groups depend on the set of texts.
The work stays linear in large buckets: first each member against the first and against its neighbour, then the pairs
that are not connected yet, small buckets first. When there would be more than `PAIRS_A_ROW` of them a row (texts from
one long template are all similar), each member of the larger buckets is compared with the `NEIGHBOURS` that come next
in the order of the texts only, and then `complete` is False.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from . import shingles
from .fold import blocks
from .shingles import U64, Floats, Ints

EVERY_PAIR = 256
PAIRS_A_ROW = 500
"""Pairs a row, on average, that are compared for what the first round leaves unconnected: it keeps the work linear."""
PAIRS = 1 << 25
"""So many are always compared: some seconds."""
NEIGHBOURS = 16
_MISS = 1e-9
_MINIMA = 192
_BLOCK = 1 << 18  # characters per sketching block: the working arrays stay in the processor's cache
_PIECE = 256  # windows of a text whose minima are taken together
_LONG = 2000  # mean characters above which 16 bits for a window are too few to tell texts apart
_PAIRS = 1 << 13  # pairs of sketches compared at once, for the same reason
_FEW = 64  # minima of a pair that are compared before all others
_BATCH = 1 << 20  # pairs that are freed from repeats together
_SEED = 0x67656D69


class Edges(NamedTuple):
    """Verified pairs (`left < right`, positions in the input), enough to connect every group."""

    left: Ints
    right: Ints
    similarity: Floats
    complete: bool


def connected(n: int, left: Ints, right: Ints) -> Ints:
    """One id a row: the smallest row that it is connected with."""
    # Only rows of a pair have an entry: among a million rows they are few.
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while (above := parent.setdefault(row, row)) != row:
            parent[row] = row = parent[above]
        return row

    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        one, other = root(a), root(b)
        parent[max(one, other)] = min(one, other)
    groups = np.arange(n)
    rows = list(parent)
    groups[rows] = [root(row) for row in rows]
    return groups


class Sketches:
    """The MinHash sketches of texts, made when first needed and once, for several questions about the same texts.

    Args:
        folded: Folded texts; more than one question may be asked about any of them.
        threshold: As `find_edges` will be called with.
    """

    def __init__(self, folded: Iterable[str], threshold: float) -> None:
        self._texts = sorted({text for text in folded if text})
        self._minima = math.prod(_plan(threshold))
        self._sketch: _Minima | None = None

    def of(self, texts: Sequence[str]) -> _Minima:
        """(minima, texts)."""
        if self._sketch is None:
            self._sketch = _sketch(self._texts, self._minima)
        if texts == self._texts:
            return self._sketch
        place = {text: place for place, text in enumerate(self._texts)}
        return self._sketch[:, [place[text] for text in texts]]


def find_edges(
    folded: Sequence[str],
    keys: Sequence[Any],
    threshold: float,
    *,
    seconds: Sequence[str] | None = None,
    sketches: Sketches | None = None,
) -> Edges:
    """Pairs with the same key whose texts (and second texts, where either has one) are at least this similar.

    Args:
        folded: Folded texts; an empty one has no pairs.
        keys: What must be equal for two rows to be compared at all; of one type that can be hashed and ordered.
        threshold: Jaccard similarity in (0, 1].
        seconds: A second folded text a row that must be as similar too (long outputs); `""` for none.
        sketches: Of these texts (and maybe more), when they are needed for more than one question.
    """
    second = list(seconds) if seconds is not None else [""] * len(folded)
    content = list(zip(folded, second, keys, strict=True))
    order = sorted((row for row in range(len(folded)) if folded[row]), key=content.__getitem__)
    texts = [folded[row] for row in order]
    others = [second[row] for row in order]
    numbered: dict[Any, int] = {}
    classes = np.fromiter((numbered.setdefault(keys[row], len(numbered)) for row in order), np.int64, len(order))
    verifier = _Verifier(texts, others, threshold)
    if len(texts) <= EVERY_PAIR:
        left, right = (side.astype(np.int64) for side in np.triu_indices(len(texts), 1))
        same = classes[left] == classes[right]
        verifier.add(left[same], right[same])
        complete = True
    else:
        sketch = (sketches or Sketches(texts, threshold)).of(texts)
        complete = _by_bands(sketch, classes, threshold, verifier)
    left, right, similarity = verifier.found()
    rows = np.array(order, np.int64)
    a, b = rows[left], rows[right]
    return Edges(np.minimum(a, b), np.maximum(a, b), similarity, complete)


class _Verifier:
    """Collects the pairs that hold."""

    def __init__(self, texts: list[str], others: list[str], threshold: float) -> None:
        self._texts, self._others, self._threshold = texts, others, threshold
        self._two = any(others)
        self._left: list[Ints] = []
        self._right: list[Ints] = []
        self._similarity: list[Floats] = []

    def add(self, left: Ints, right: Ints) -> None:
        if self._two:
            held = np.fromiter(
                (self._others[a] == self._others[b] for a, b in zip(left.tolist(), right.tolist(), strict=True)),
                bool, len(left),
            )  # fmt: skip
            unlike = np.flatnonzero(~held)
            held[unlike] = shingles.jaccard(self._others, left[unlike], right[unlike]) >= self._threshold
            left, right = left[held], right[held]
        possible = shingles.may_reach(self._texts, left, right, self._threshold)
        left, right = left[possible], right[possible]
        similarity = shingles.jaccard(self._texts, left, right)
        held = similarity >= self._threshold
        self._left.append(left[held])
        self._right.append(right[held])
        self._similarity.append(similarity[held])

    def found(self) -> tuple[Ints, Ints, Floats]:
        empty = np.zeros(0, np.int64)
        return (
            np.concatenate([empty, *self._left]),
            np.concatenate([empty, *self._right]),
            np.concatenate([np.zeros(0), *self._similarity]),
        )


def _plan(threshold: float) -> tuple[int, int]:
    """Minima a band, and bands: the longest bands that miss a pair at the threshold with at most .8 of `_MISS`."""
    for size in range(8, 0, -1):
        hit = threshold**size
        bands = 4 if hit >= 1 else math.ceil(math.log(0.8 * _MISS) / math.log1p(-hit))
        if size * bands <= _MINIMA:
            return size, bands
    return 1, _MINIMA


def _least(minima: int, threshold: float) -> int:
    """Agreements to ask for, of so many minima: a pair at the threshold has fewer with at most .1 of `_MISS`."""
    short = 0.0
    for count in range(minima + 1):
        short += math.comb(minima, count) * threshold**count * (1 - threshold) ** (minima - count)
        if short > 0.1 * _MISS:
            return count
    return minima


_Minima: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
"""16 or 32 bits each."""


def _sketch(texts: list[str], minima: int) -> _Minima:
    """(minima, texts) minima over the windows of each text; texts must not be empty.

    A window has 16 bits, which makes twice as many fit into an instruction. Two windows that share them raise the
    similarity that a sketch shows, so nothing is missed by it, and a little more is looked at.
    """
    kind: type[np.unsignedinteger[Any]] = np.uint16 if sum(map(len, texts)) <= _LONG * len(texts) else np.uint32
    factors: _Minima = np.random.default_rng(_SEED).integers(0, 1 << 32, minima, dtype=np.uint64).astype(kind)
    factors |= factors.dtype.type(1)
    result = np.empty((minima, len(texts)), kind)
    start = 0
    for rows in blocks(range(len(texts)), texts, _BLOCK):
        hashes, starts = shingles.quick_windows([texts[row] for row in rows])
        if kind is np.uint16:
            hashes = hashes >> np.uint32(16)
        odd: _Minima = hashes.astype(kind)
        # Odd numbers stay distinct and spread evenly when multiplied with an odd factor.
        odd |= odd.dtype.type(1)
        some = _block_minima(odd, starts, [len(texts[row]) for row in rows], factors)
        result[:, start : start + len(rows)] = some
        start += len(rows)
    return result


def _block_minima(hashes: _Minima, starts: Ints, lengths: list[int], factors: _Minima) -> _Minima:
    """(factors, texts). Texts are cut in pieces and pieces of about one length laid side by side, a column each: the
    minima of many columns at a time are much faster than those of one text after the other.
    """
    counts = -(-np.array(lengths) // _PIECE)
    first = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(lengths)), counts)
    part = np.arange(len(owner)) - first[owner]
    size, pieces = np.array(lengths)[owner], counts[owner]
    begin, end = part * size // pieces, (part + 1) * size // pieces
    offset, width = starts[owner] + begin, end - begin
    order = np.argsort(width.astype(np.uint16), kind="stable")
    result = np.empty((len(factors), len(owner)), hashes.dtype)
    at = 0
    while at < len(order):
        # About half as long again at most, so that little is filled up, and no more than stays in the cache.
        longest = int(width[order[at]]) * 3 // 2 + 4
        stop = min(
            int(np.searchsorted(width[order], longest, "right")), at + max(1, _BLOCK // longest), len(order)
        )  # fmt: skip
        some = order[at:stop]
        deep = np.arange(int(width[some[-1]]))[:, None]
        # A shorter column is filled up with its last window, which changes no minimum.
        columns = hashes[offset[some] + np.minimum(deep, width[some] - 1)]
        least = np.empty((len(factors), len(some)), hashes.dtype)
        for number, factor in enumerate(factors):
            columns *= factor  # each is the product of all factors so far
            np.minimum.reduce(columns, axis=0, out=least[number])
        result[:, some] = least
        at = stop
    minima = result[:, first]
    several = np.flatnonzero(counts > 1)
    if len(several):
        theirs = counts[several]
        minima[:, several] = np.minimum.reduceat(result[:, counts[owner] > 1], np.cumsum(theirs) - theirs, axis=1)
    return minima


_MIX = np.uint64(0xD6E8FEB86659FD93)
_LOW = np.uint64(0xFFFFFFFF)


_Rows: TypeAlias = npt.NDArray[np.int32]


def _runs(band: _Minima, classes: Ints) -> tuple[_Rows, _Rows, _Rows]:
    """The rows that share a bucket with another, sorted by bucket, and start and size of each bucket."""
    value = classes.astype(np.uint64) + np.uint64(1)
    for minimum in band:
        value = (value ^ minimum) * _MIX
        value ^= value >> np.uint64(32)
    value = (value & ~_LOW) | np.arange(len(classes), dtype=np.uint64)
    value.sort()
    bucket = value >> np.uint64(32)
    starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
    sizes = np.diff(np.append(starts, len(bucket)))
    many = sizes > 1
    rows, sizes = value[np.repeat(many, sizes)] & _LOW, sizes[many]
    # Kept for all bands until the end, so in as few bytes as will do.
    return rows.astype(np.int32), (np.cumsum(sizes) - sizes).astype(np.int32), sizes.astype(np.int32)


def _by_bands(sketch: _Minima, classes: Ints, threshold: float, verifier: _Verifier) -> bool:
    size, bands = _plan(threshold)
    # One byte of each minimum is enough to count agreements: chance adds 1/256, which only lets more through.
    columns = np.zeros((len(classes), -(-len(sketch) // _FEW) * _FEW), np.uint8)
    columns[:, : len(sketch)] = (sketch >> sketch.dtype.type(1)).astype(np.uint8).T
    filled = columns.shape[1] - len(sketch)  # these agree always
    few = min(_FEW, len(sketch))
    least_of_few = _least(few, threshold) + _FEW - few
    least = _least(len(sketch), threshold) + filled

    def agreements(codes: U64, minima: int) -> npt.NDArray[np.int64]:
        left, right = _sides(codes)
        equal = np.packbits(columns[left, :minima] == columns[right, :minima], axis=1)
        counts: npt.NDArray[np.int64] = np.bitwise_count(equal.view(np.uint64)).sum(axis=1, dtype=np.int64)
        return counts

    def likely(codes: U64) -> U64:
        """Those of the pairs whose sketches agree enough. Most do not, which a few of the minima show."""
        held = [codes[:0]]
        for at in range(0, len(codes), _PAIRS):
            some = codes[at : at + _PAIRS]
            left, right = _sides(some)
            some = some[classes[left] == classes[right]]
            some = some[agreements(some, _FEW) >= least_of_few]
            held.append(some[agreements(some, columns.shape[1]) >= least])
        return np.concatenate(held)

    buckets = [_runs(sketch[at * size : (at + 1) * size], classes) for at in range(bands)]
    seen = _distinct([likely(codes) for codes in _batches(map(_first_pairs, buckets))])
    verifier.add(*_sides(seen))

    left, right, _ = verifier.found()
    group = connected(len(classes), left, right)
    buckets = [_open(*bucket, group) for bucket in buckets]
    most = _most(np.concatenate([sizes for _, _, sizes in buckets]), max(PAIRS, PAIRS_A_ROW * len(classes)))
    complete = all(sizes.max(initial=0) <= most for _, _, sizes in buckets)

    def unconnected() -> Iterator[U64]:
        for bucket in buckets:
            yield from _unconnected(*bucket, group, most)

    rest = [likely(codes) for codes in _batches(unconnected())]
    verifier.add(*_sides(np.setdiff1d(_distinct(rest), seen, assume_unique=True)))
    return complete


def _first_pairs(bucket: tuple[_Rows, _Rows, _Rows]) -> U64:
    """Each member of a bucket with the first one, and with the one before it."""
    rows, starts, sizes = bucket
    later = np.ones(len(rows), bool)
    later[starts] = False
    leader, before = np.repeat(rows[starts], sizes - 1), rows[np.flatnonzero(later) - 1]
    return np.concatenate([_codes(leader, rows[later]), _codes(before, rows[later])])


def _batches(some: Iterable[U64]) -> Iterator[U64]:
    """Distinct pairs of many buckets at a time: those that are similar meet in many."""
    waiting: list[U64] = []
    for codes in some:
        waiting.append(codes)
        if sum(map(len, waiting)) >= _BATCH:
            yield _distinct(waiting)
            waiting = []
    yield _distinct(waiting)


def _distinct(codes: list[U64]) -> U64:
    return shingles.distinct(np.concatenate([np.zeros(0, np.uint64), *codes]))


def _sides(codes: U64) -> tuple[Ints, Ints]:
    return (codes >> np.uint64(32)).astype(np.int64), (codes & _LOW).astype(np.int64)


def _codes(left: Ints | _Rows, right: Ints | _Rows) -> U64:
    low, high = np.minimum(left, right).astype(np.uint64), np.maximum(left, right).astype(np.uint64)
    return (low << np.uint64(32)) | high


def _open(rows: _Rows, starts: _Rows, sizes: _Rows, group: Ints) -> tuple[_Rows, _Rows, _Rows]:
    """The buckets whose members are not all in one group yet."""
    if not len(rows):
        return rows, starts, sizes
    ids = group[rows]
    apart = np.add.reduceat(ids != np.repeat(ids[starts], sizes), starts) > 0
    kept = sizes[apart]
    return rows[np.repeat(apart, sizes)], (np.cumsum(kept) - kept).astype(np.int32), kept


def _most(sizes: _Rows, pairs: int) -> int:
    """The largest size of which, with all smaller ones, every bucket can be compared within so many pairs."""
    ordered = np.sort(sizes.astype(np.int64))
    over = np.flatnonzero(np.cumsum(ordered * (ordered - 1) // 2) > pairs)
    return int(ordered[over[0]]) - 1 if len(over) else int(ordered.max(initial=0))


def _unconnected(rows: _Rows, starts: _Rows, sizes: _Rows, group: Ints, most: int) -> Iterator[U64]:
    """Every pair of a bucket that is not in one group; of neighbours only in buckets larger than `most`.

    Buckets of one size are taken together, some at a time, so that memory stays bounded.
    """
    ids = group[rows]
    for size in sorted(set(sizes.tolist())):
        members = starts[sizes == size][:, None] + np.arange(size)
        if size <= most:
            a, b = np.triu_indices(size, 1)
        else:
            gaps = range(1, min(NEIGHBOURS + 1, size))
            a = np.concatenate([np.arange(size - gap) for gap in gaps])
            b = np.concatenate([np.arange(gap, size) for gap in gaps])
        step = max(1, (1 << 20) // len(a))
        for at in range(0, len(members), step):
            lines = members[at : at + step]
            left, right = lines[:, a].ravel(), lines[:, b].ravel()
            apart = ids[left] != ids[right]
            yield _codes(rows[left[apart]], rows[right[apart]])
