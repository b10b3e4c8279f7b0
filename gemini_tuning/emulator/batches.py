"""Rows made ready for training, and put together for one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .arrays import Floats, Ints
from .features import Block, Encoder, Trail, context
from .values import Row
from .vocabulary import END, NO_IDS, Copying, Known

__all__ = ["Batch", "Encoded", "bounded", "encode", "thinned"]

_TARGET_LIMIT = 512  # tokens of one target that are trained on
_DROPOUT = 0.2  # of the features of a prompt, while training


@dataclass(frozen=True, eq=False)
class Encoded:
    """One row of n predictions.

    The prompt is sparse (`buckets`, `values`); `targets` (n) are token ids, END the last; `keys` (n, 4) are those of
    the `Trail` before each. `user` and `other` are ids that the prompt offers for copying, `follows` is two arrays:
    a position, and an id that comes next in the prompt there.
    """

    buckets: Ints
    values: Floats
    targets: Ints
    keys: Ints
    user: Ints
    other: Ints
    follows: tuple[Ints, Ints]


def encode(row: Row, parts: Sequence[Block], encoder: Encoder, known: Known) -> Encoded:
    """A row with the features of its prompt's `parts`; a long target is learnt up to _TARGET_LIMIT tokens."""
    copying = Copying(row.prompt, known)
    trail, previous = Trail(), ""
    keys: list[tuple[int, ...]] = []
    targets: list[int] = []
    at: list[Ints] = [NO_IDS]
    ids: list[Ints] = [NO_IDS]
    for token, i in [*known.spell(row.target)[:_TARGET_LIMIT], ("", END)]:
        following = copying.following(previous)
        at.append(np.full(len(following), len(targets), np.int32))
        ids.append(following)
        keys.append(trail.keys())
        targets.append(i)
        trail.add(token)
        previous = token
    return Encoded(
        *encoder(parts),
        np.array(targets, np.int32),
        np.array(keys, np.uint32),
        copying.user,
        copying.other,
        (np.concatenate(at), np.concatenate(ids)),
    )


@dataclass(frozen=True, eq=False)
class Batch:
    """n predictions of some rows: `prompts` (rows, buckets), `context` (n, CONTEXT_SIZE), `targets` (n).

    `owner` (n, ascending) is the row of each prediction. `user` and `other` are the ids of each row that are offered
    for copying; `follows` is two arrays, a prediction and an id that comes next in the prompt there.
    """

    prompts: Floats
    context: Floats
    targets: Ints
    owner: Ints
    user: tuple[Ints, ...]
    other: tuple[Ints, ...]
    follows: tuple[Ints, Ints]

    @classmethod
    def of(cls, rows: Sequence[Encoded], buckets: int, chosen: Ints | None = None) -> Batch:
        """Put rows together; `chosen` (ascending) keeps some of their predictions only."""
        prompts = np.zeros((len(rows), buckets), np.float32)
        for i, row in enumerate(rows):
            prompts[i, row.buckets] = row.values
        lengths = [len(row.targets) for row in rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        offsets = np.cumsum([0, *lengths[:-1]])
        at = np.concatenate([row.follows[0] + offset for row, offset in zip(rows, offsets, strict=True)])
        ids = np.concatenate([row.follows[1] for row in rows])
        keys, targets = np.concatenate([row.keys for row in rows]), np.concatenate([row.targets for row in rows])
        if chosen is not None:
            where = np.full(len(owner), -1)
            where[chosen] = np.arange(len(chosen))
            keys, targets, owner = keys[chosen], targets[chosen], owner[chosen]
            kept = where[at] >= 0
            at, ids = where[at][kept], ids[kept]
        return cls(
            prompts,
            context(keys),
            targets,
            owner,
            tuple(row.user for row in rows),
            tuple(row.other for row in rows),
            (at, ids),
        )


def thinned(row: Encoded, rng: np.random.Generator) -> Encoded:
    """The row without a share _DROPOUT of its prompt's features, the others raised to make up for them."""
    kept = rng.random(len(row.values)) >= _DROPOUT
    return replace(row, buckets=row.buckets[kept], values=row.values[kept] / np.float32(1 - _DROPOUT))


def bounded(rows: list[Encoded], most: int) -> list[Encoded]:
    """Evenly spread rows with about `most` predictions (at least one row)."""
    total = sum(len(row.targets) for row in rows)
    return rows[:: math.ceil(total / most)] if total > most else rows
