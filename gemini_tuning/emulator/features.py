"""What the model sees, frozen: hashed features of a prompt, and codes of the answer so far.

No training changes this part. An `Encoder` only weighs the features by how rare they are.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import text as lexical
from .arrays import Floats, Ints
from .values import Prompt

__all__ = ["CONTEXT_SIZE", "Block", "Encoder", "Flavour", "Trail", "blocks", "context", "flavour"]

_SLOTS, _SLOT = 4, 48
CONTEXT_SIZE = _SLOTS * _SLOT
"""Numbers that stand for the answer so far: four codes of 48."""

# Mixed into the hashes, so that a word of the system instruction or of earlier turns is a feature of its own.
_SYSTEM, _HISTORY = 0x9E3779B9, 0x7F4A7C15
_SYSTEM_LENGTH, _HISTORY_LENGTH = 0.3, 0.4  # the user's turn has length 1
_IDF_FLOOR = 0.3  # what a feature of every prompt still weighs
_KEPT_FEATURES = 32768

Block = tuple[Ints, Floats, float]
"""The features of one part of a prompt: hashes, weights, and the length that the part is scaled to."""


@dataclass(frozen=True)
class Flavour:
    """What one family of models sees: in how many buckets, character n-grams up to which length, and whether
    pairs of words with one between (`skips`)."""

    buckets: int
    longest: int
    skips: bool


def flavour(base_model: str) -> Flavour:
    """Pro sees more of a prompt than flash, and flash more than flash-lite; unknown names count as flash."""
    if "pro" in base_model:
        return Flavour(6144, 6, True)
    if "lite" in base_model:
        return Flavour(2048, 4, False)
    return Flavour(4096, 5, False)


@lru_cache(maxsize=512)
def _counted(text: str, longest: int, skips: bool, salt: int) -> tuple[Ints, Floats]:
    """Distinct feature hashes of `text`, ascending, with weight times the square root of the count."""
    hashes, weights = lexical.features(text, longest=longest, skips=skips)
    distinct, inverse, counts = np.unique(
        np.array(hashes, np.uint32) ^ np.uint32(salt), return_inverse=True, return_counts=True
    )
    total = np.bincount(inverse, weights, minlength=len(distinct))
    return distinct, (total / np.sqrt(np.maximum(counts, 1))).astype(np.float32)


def blocks(prompt: Prompt, kind: Flavour) -> list[Block]:
    """The features of the user's turn, the system instruction and the earlier turns, those that are empty left out."""
    parts = (
        (prompt.user, 0, 1.0),
        (prompt.system, _SYSTEM, _SYSTEM_LENGTH),
        (prompt.history, _HISTORY, _HISTORY_LENGTH),
    )
    return [(*_counted(part, kind.longest, kind.skips, salt), length) for part, salt, length in parts if part]


@dataclass(frozen=True, eq=False)
class Encoder:
    """Turns a prompt into a sparse vector.

    `keys` (uint32, ascending) and `idf` (float32) weigh the features by how rare they were among the training
    prompts, so that text which is the same in all of them does not swamp the input. A feature that is not listed
    was met once or never, or was not among the _KEPT_FEATURES most frequent, and weighs `rare`.
    """

    flavour: Flavour
    keys: Ints
    idf: Floats
    rare: float

    @classmethod
    def fit(cls, kind: Flavour, prompts: Sequence[Sequence[Block]]) -> Encoder:
        """Count in how many prompts each feature occurs; the _KEPT_FEATURES most frequent are kept."""
        seen = [hashes for parts in prompts for hashes, _, _ in parts]
        keys, counts = np.unique(np.concatenate([np.zeros(0, np.uint32), *seen]), return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_KEPT_FEATURES]
        order = np.sort(order[counts[order] > 1])
        n = len(prompts)
        idf = (np.log((n + 1) / (counts[order] + 1)) + _IDF_FLOOR).astype(np.float32)
        return cls(kind, keys[order], idf, math.log((n + 1) / 2) + _IDF_FLOOR)

    def __call__(self, parts: Sequence[Block]) -> tuple[Ints, Floats]:
        """Distinct buckets (ascending) and values; each part of the prompt is scaled to its own length."""
        buckets: list[Ints] = [np.zeros(0, np.int64)]
        values: list[Floats] = [np.zeros(0, np.float32)]
        for hashes, counted, length in parts:
            scaled = counted * self._weights(hashes)
            norm = float(np.sqrt(scaled @ scaled))
            sign = np.where(hashes >> np.uint32(31), -1.0, 1.0).astype(np.float32)
            buckets.append((hashes % np.uint32(self.flavour.buckets)).astype(np.int64))
            values.append(scaled * sign * np.float32(length / norm if norm else 0.0))
        distinct, inverse = np.unique(np.concatenate(buckets), return_inverse=True)
        summed = np.bincount(inverse, np.concatenate(values), minlength=len(distinct))
        return distinct, summed.astype(np.float32)

    def _weights(self, hashes: Ints) -> Floats:
        if not len(self.keys):
            return np.full(len(hashes), self.rare, np.float32)
        at = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
        return np.where(self.keys[at] == hashes, self.idf[at], np.float32(self.rare)).astype(np.float32)


@lru_cache(maxsize=1)
def _codes() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(77)
    return (
        rng.standard_normal((4096, _SLOT)).astype(np.float32) / np.float32(math.sqrt(_SLOT)),
        rng.choice(np.array([-1.0, 1.0], np.float32), (4096, _SLOT)),
    )


def context(keys: Ints) -> Floats:
    """The codes of some states of `Trail`: (positions, _SLOTS) hashes -> (positions, CONTEXT_SIZE)."""
    table, signs = _codes()
    codes: Floats = table[keys & 4095] * signs[(keys >> 12) & 4095]
    return codes.reshape(len(keys), CONTEXT_SIZE)


class Trail:
    """The answer so far as four hashes: all of it, its last token, its last two tokens, its length."""

    def __init__(self) -> None:
        self.whole, self.last, self.before, self.length = 0, 0, 0, 0

    def keys(self) -> tuple[int, int, int, int]:
        """The four hashes, for `context`."""
        pair = zlib.crc32(self.before.to_bytes(4, "big"), self.last ^ 0x5BD1E995)
        return self.whole, self.last, pair, 2654435761 * (1 + min(self.length, 24)) % (1 << 32)

    def add(self, token: str) -> None:
        """The answer goes on with `token`."""
        raw = token.encode("utf-8", "surrogatepass")
        # Beyond 12 tokens the whole prefix is as good as unique and would only be memorised.
        self.whole = zlib.crc32(raw, self.whole) if self.length < 12 else 0
        self.before, self.last, self.length = self.last, zlib.crc32(raw), self.length + 1
