"""One metric on two sides of the same rows: the paired difference, its test, and what lost rows could have hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .rows import EvalRow, Failure, MetricInfo, is_binary, labels_of
from .score import Score
from .statistics import (
    macro_f1_difference,
    macro_f1_swap,
    mcnemar,
    paired_binary_interval,
    paired_interval,
    sign_flip,
)

Pairing = tuple[str, str, str | None]


class Item(NamedTuple):
    """One row that was asked on both sides; a side is None where the call failed."""

    reference: str | None
    before: EvalRow | None
    after: EvalRow | None


def match(
    before: Sequence[EvalRow | Failure], after: Sequence[EvalRow | Failure]
) -> list[tuple[EvalRow | Failure, EvalRow | Failure]]:
    """The same rows of both sides, in the order of `after`; equal rows are matched in order."""
    waiting: dict[Pairing, list[EvalRow | Failure]] = {}
    for row in reversed(before):
        waiting.setdefault(row.pairing, []).append(row)
    return [(waiting[row.pairing].pop(), row) for row in after if waiting.get(row.pairing)]


class Difference(NamedTuple):
    """A paired difference: the score, the two-sided p-value and its test, and the variance behind it.

    `variance` is per pair, as a share of the squared range of the metric: for right/wrong the discordant share.
    """

    score: Score
    p: float
    test: str
    variance: float


@dataclass(frozen=True)
class Sample:
    """A metric's values on both sides; None where it did not score the row. Rows without a reference are not in it."""

    info: MetricInfo
    before: tuple[float | str | None, ...]
    after: tuple[float | str | None, ...]
    references: tuple[str, ...] = ()

    @classmethod
    def of(cls, info: MetricInfo, items: Sequence[Item]) -> Sample:
        """The values of one metric: for macro-F1 the labels predicted."""
        if info.kind == "macro_f1":
            known = [item for item in items if item.reference is not None]

            def labels(rows: list[EvalRow | None]) -> tuple[str | None, ...]:
                return tuple(None if row is None else labels_of(info, [row.prediction])[0] for row in rows)

            return cls(
                info,
                labels([item.before for item in known]),
                labels([item.after for item in known]),
                tuple(labels_of(info, [item.reference or "" for item in known])),
            )
        scorable = [item for item in items if info.kind == "judge" or item.reference is not None]

        def values(rows: list[EvalRow | None]) -> tuple[float | None, ...]:
            return tuple(None if row is None else row.values.get(info.name) for row in rows)

        return cls(info, values([item.before for item in scorable]), values([item.after for item in scorable]))

    @property
    def only_before_lost(self) -> int:
        """Rows scored after and not before."""
        return sum(b is None and a is not None for b, a in zip(self.before, self.after, strict=True))

    @property
    def only_after_lost(self) -> int:
        """Rows scored before and not after."""
        return sum(a is None and b is not None for b, a in zip(self.before, self.after, strict=True))

    @property
    def lost(self) -> int:
        """Rows without a pair."""
        return sum(b is None or a is None for b, a in zip(self.before, self.after, strict=True))

    def complete(self) -> Sample:
        """The pairs alone."""
        keep = [at for at in range(len(self.before)) if self.before[at] is not None and self.after[at] is not None]
        return Sample(
            self.info,
            tuple(self.before[at] for at in keep),
            tuple(self.after[at] for at in keep),
            tuple(self.references[at] for at in keep) if self.references else (),
        )

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lowest and highest value that the metric can take, as far as known."""
        seen = [value for value in (*self.before, *self.after) if isinstance(value, float)]
        return self.info.bounds or ((0.0, 1.0) if is_binary(self.info, seen) else None)

    def worst_case(self, *, against_after: bool) -> Sample | None:
        """Every lost value filled in as badly as it can be for one side, or None when the metric has no known range.

        Values that are known stay. `against_after` gives `after` its lowest and `before` its highest.
        """
        if self.info.kind == "macro_f1":
            never = "\x00lost"  # white space is stripped from labels, control characters are not expected in any

            def filled(side: tuple[float | str | None, ...], good: bool) -> tuple[float | str | None, ...]:
                return tuple(
                    value if value is not None else wanted if good else never
                    for value, wanted in zip(side, self.references, strict=True)
                )
        else:
            bounds = self.bounds
            if bounds is None:
                return None

            def filled(side: tuple[float | str | None, ...], good: bool) -> tuple[float | str | None, ...]:
                return tuple((bounds[1] if good else bounds[0]) if value is None else value for value in side)

        before, after = filled(self.before, against_after), filled(self.after, not against_after)
        return Sample(self.info, before, after, self.references)

    def difference(self, *, test: bool = True) -> Difference:
        """After minus before over complete pairs, at least one.

        Right/wrong: Tango's interval and McNemar's mid-p. Grades: BCa and sign-flip. Macro-F1: paired bootstrap and
        swapping of predictions.
        """
        if self.info.kind == "macro_f1":
            sides = [str(value) for value in self.before], [str(value) for value in self.after], self.references
            score = macro_f1_difference(*sides)
            half = (score.high - score.low) / 2 / 1.96
            p = macro_f1_swap(*sides) if test else math.nan
            return Difference(score, p, "prediction swap", min(1.0, half * half * score.n))
        before, after = np.array(self.before, dtype=float), np.array(self.after, dtype=float)
        if is_binary(self.info, [*before.tolist(), *after.tolist()]):
            won, lost = int((after > before).sum()), int((before > after).sum())
            both = int(((before == 1) & (after == 1)).sum())
            score = paired_binary_interval(both, won, lost, len(before) - both - won - lost)
            return Difference(score, mcnemar(won, lost), "McNemar mid-p", (won + lost) / len(before))
        score = paired_interval(before, after, bounds=self.info.bounds)
        variance = float(((after - before) ** 2).mean()) / self.reach**2
        return Difference(score, sign_flip(before, after) if test else math.nan, "sign flip", min(1.0, variance))

    @property
    def reach(self) -> float:
        """The range of the metric: known, or as seen, or 1."""
        if self.info.kind == "macro_f1":
            return 1.0
        if self.bounds:
            return self.bounds[1] - self.bounds[0]
        seen = [value for value in (*self.before, *self.after) if isinstance(value, float)]
        return (max(seen) - min(seen) if seen else 0.0) or 1.0
