"""All pairs of texts above a similarity: candidates by MinHash bands, every one verified by its exact Jaccard.

Up to `EVERY_PAIR` texts every pair is a candidate, so the result is exact. Above, the number of bands is chosen so
that a pair at the threshold is missed with probability below 1e-9 (independent minima), and what is found is exact.

Texts are looked at in the order of their content, never of their rows, so the groups depend on the set of texts.
The work stays linear in large buckets: first each member against the first and against its neighbour, then the pairs
that are not connected yet. Only a bucket of more than `BUCKET` members that are *not* connected by that is cut to
neighbours, and then `complete` is False.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import shingles
from .shingles import U64, Floats, Ints

EVERY_PAIR = 256
BUCKET = 3000
NEIGHBOURS = 64
_MISS = 1e-9
_MINIMA = 192
_BLOCK = 1 << 18  # characters per sketching block: the working arrays stay in the processor's cache
_PAIRS = 1 << 14  # pairs of sketches compared at once, for the same reason
_SEED = 0x67656D69


class Edges(NamedTuple):
    """Verified pairs (`left < right`, positions in the input), enough to connect every group."""

    left: Ints
    right: Ints
    similarity: Floats
    complete: bool


def connected(n: int, left: Ints, right: Ints) -> Ints:
    """One id a row: the smallest row that it is connected with."""
    parent = list(range(n))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.fromiter((root(row) for row in range(n)), np.int64, n)


def find_edges(
    folded: Sequence[str], keys: Sequence[str], threshold: float, *, seconds: Sequence[str] | None = None
) -> Edges:
    """Pairs with the same key whose texts (and second texts, where either has one) are at least this similar.

    Args:
        folded: Folded texts; an empty one has no pairs.
        keys: What must be equal for two rows to be compared at all.
        threshold: Jaccard similarity in (0, 1].
        seconds: A second folded text a row that must be as similar too (long outputs); `""` for none.
    """
    second = list(seconds) if seconds is not None else [""] * len(folded)
    order = sorted(
        (row for row in range(len(folded)) if folded[row]), key=lambda row: (keys[row], folded[row], second[row])
    )
    texts = [folded[row] for row in order]
    others = [second[row] for row in order]
    numbered: dict[str, int] = {}
    classes = np.fromiter((numbered.setdefault(keys[row], len(numbered)) for row in order), np.int64, len(order))
    verifier = _Verifier(texts, others, threshold)
    if len(texts) <= EVERY_PAIR:
        left, right = (side.astype(np.int64) for side in np.triu_indices(len(texts), 1))
        same = classes[left] == classes[right]
        verifier.add(left[same], right[same])
        complete = True
    else:
        complete = _by_bands(texts, classes, threshold, verifier)
    left, right, similarity = verifier.found()
    rows = np.array(order, np.int64)
    a, b = rows[left], rows[right]
    return Edges(np.minimum(a, b), np.maximum(a, b), similarity, complete)


class _Verifier:
    """Collects the pairs that hold."""

    def __init__(self, texts: list[str], others: list[str], threshold: float) -> None:
        self._texts, self._others, self._threshold = texts, others, threshold
        self._lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        self._two = any(others)
        self._left: list[Ints] = []
        self._right: list[Ints] = []
        self._similarity: list[Floats] = []

    def add(self, left: Ints, right: Ints) -> None:
        if self._two:
            held = shingles.jaccard(self._others, left, right) >= self._threshold
            held |= np.fromiter(
                (self._others[a] == self._others[b] for a, b in zip(left.tolist(), right.tolist(), strict=True)),
                bool, len(left),
            )  # fmt: skip
            left, right = left[held], right[held]
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
    """Minima a band, and bands: the longest bands whose miss rate at the threshold is below `_MISS`."""
    for size in range(8, 0, -1):
        hit = threshold**size
        bands = 4 if hit >= 1 else math.ceil(math.log(_MISS) / math.log1p(-hit))
        if size * bands <= _MINIMA:
            return size, bands
    return 1, _MINIMA


def _sketch(texts: list[str], minima: int) -> npt.NDArray[np.uint32]:
    """(minima, texts) minima over the windows of each text; texts must not be empty."""
    random = np.random.default_rng(_SEED)
    masks = random.integers(0, 1 << 32, minima, dtype=np.uint64).astype(np.uint32)
    factors = random.integers(0, 1 << 32, minima, dtype=np.uint64).astype(np.uint32) | np.uint32(1)
    result = np.empty((minima, len(texts)), np.uint32)
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    start = 0
    while start < len(texts):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _BLOCK)))
        hashes, offsets = shingles.windows(texts[start:stop])
        high = (hashes >> np.uint64(32)).astype(np.uint32)
        scratch = np.empty_like(high)
        for at in range(minima):
            np.bitwise_xor(high, masks[at], out=scratch)
            np.multiply(scratch, factors[at], out=scratch)
            result[at, start:stop] = np.minimum.reduceat(scratch, offsets[:-1])
        start = stop
    return result


_MIX = np.uint64(0xD6E8FEB86659FD93)
_LOW = np.uint64(0xFFFFFFFF)


def _runs(band: npt.NDArray[np.uint32], classes: Ints) -> tuple[Ints, Ints, Ints]:
    """Rows sorted by bucket, and start and size of each bucket of two or more."""
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
    return (value & _LOW).astype(np.int64), starts[many], sizes[many]


def _by_bands(texts: list[str], classes: Ints, threshold: float, verifier: _Verifier) -> bool:
    size, bands = _plan(threshold)
    sketch = _sketch(texts, size * bands)
    # One byte of each minimum is enough to count agreements: chance adds 1/256, which only lets more through.
    columns = np.ascontiguousarray(sketch.astype(np.uint8).T)
    least = (threshold - 6 * math.sqrt(threshold * (1 - threshold) / len(sketch))) * len(sketch)

    def likely(codes: U64) -> U64:
        """Those of the pairs whose sketches agree enough; what they miss is six standard errors away."""
        held = [codes[:0]]
        for at in range(0, len(codes), _PAIRS):
            some = codes[at : at + _PAIRS]
            left, right = _sides(some)
            agree = (columns[left] == columns[right]).sum(axis=1, dtype=np.uint16) >= least
            held.append(some[agree & (classes[left] == classes[right])])
        return np.concatenate(held)

    buckets = [_runs(sketch[at * size : (at + 1) * size], classes) for at in range(bands)]
    near = []
    for rows, starts, sizes in buckets:
        inside = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)
        first = np.repeat(starts, sizes)
        later = inside != first
        each, leader, neighbour = rows[inside[later]], rows[first[later]], rows[inside[later] - 1]
        near.append(likely(_distinct([_codes(leader, each), _codes(neighbour, each)])))
    seen = _distinct(near)
    verifier.add(*_sides(seen))

    left, right, _ = verifier.found()
    group = connected(len(texts), left, right)
    complete = True
    rest = []
    for rows, starts, sizes in buckets:
        for codes, whole in _unconnected(rows, starts, sizes, group):
            complete &= whole
            rest.append(likely(codes))
    verifier.add(*_sides(np.setdiff1d(_distinct(rest), seen, assume_unique=True)))
    return complete


def _distinct(codes: list[U64]) -> U64:
    # np.unique and union1d hash since numpy 2.3, which is many times slower on this than a sort.
    together = np.concatenate([np.zeros(0, np.uint64), *codes])
    together.sort()
    first = np.ones(len(together), bool)
    first[1:] = together[1:] != together[:-1]
    return together[first]


def _sides(codes: U64) -> tuple[Ints, Ints]:
    return (codes >> np.uint64(32)).astype(np.int64), (codes & _LOW).astype(np.int64)


def _codes(left: Ints, right: Ints) -> U64:
    low, high = np.minimum(left, right).astype(np.uint64), np.maximum(left, right).astype(np.uint64)
    return (low << np.uint64(32)) | high


def _unconnected(rows: Ints, starts: Ints, sizes: Ints, group: Ints) -> Iterator[tuple[U64, bool]]:
    """Every pair inside a bucket whose members are not in one group yet; False when a bucket was too large for that.

    Buckets of one size are taken together, some at a time, so that memory stays bounded.
    """
    ids = group[rows]
    for size in _distinct([sizes[sizes > 2].astype(np.uint64)]).tolist():
        members = starts[sizes == size][:, None] + np.arange(size)
        members = members[(ids[members] != ids[members[:, :1]]).any(axis=1)]
        if not len(members):
            continue
        if size <= BUCKET:
            a, b = np.triu_indices(size, 1)
        else:
            gaps = range(1, NEIGHBOURS + 1)
            a = np.concatenate([np.arange(size - gap) for gap in gaps])
            b = np.concatenate([np.arange(gap, size) for gap in gaps])
        step = max(1, (1 << 20) // len(a))
        for at in range(0, len(members), step):
            lines = members[at : at + step]
            left, right = lines[:, a].ravel(), lines[:, b].ravel()
            apart = ids[left] != ids[right]
            yield _codes(rows[left[apart]], rows[right[apart]]), size <= BUCKET
