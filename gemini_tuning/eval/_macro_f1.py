"""Macro-F1 with its uncertainty: resampling the cells of the confusion table instead of the rows.

A row matters only through its labels, so drawing the counts of the cells (multinomial) is the bootstrap over rows,
hundreds of times faster. Labels are compared as given: normalise them first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import PlanError
from ._means import _CELLS, bca_ends, check_resamples, no_variation
from ._proportions import z_value
from .score import Score

Ints = np.ndarray
Floats = np.ndarray


def encode(references: Sequence[str], *predictions: Sequence[str]) -> tuple[list[str], Ints, list[Ints]]:
    """Labels (those of the references, sorted) and the rows as numbers; a foreign prediction is `len(labels)`."""
    if not len(references):
        raise PlanError.bad_value("classification", "references", 0, "at least one row", hint="no rows, no score.")
    for side in predictions:
        if len(side) != len(references):
            raise PlanError.bad_value(
                "classification", "predictions", f"{len(side)} texts", f"{len(references)}, one for each reference"
            )
    labels = sorted(set(references))
    code = {label: at for at, label in enumerate(labels)}
    other, n = len(labels), len(references)
    truth = np.fromiter((code[each] for each in references), np.int64, n)
    return labels, truth, [np.fromiter((code.get(each, other) for each in side), np.int64, n) for side in predictions]


class _Groups:
    """Sums of cell weights by a code, for many weightings at once: (cells, k) -> (size, k)."""

    def __init__(self, codes: Ints, size: int) -> None:
        self.order = np.argsort(codes, kind="stable")
        self.present, self.starts = np.unique(codes[self.order], return_index=True)
        self.size = size

    def sums(self, weights: Floats) -> Floats:
        total = np.zeros((self.size, weights.shape[1]))
        if len(self.present):
            total[self.present] = np.add.reduceat(weights[self.order], self.starts, axis=0)
        return total


class _Table:
    """Cells (reference, prediction) whose macro-F1 can be taken under many weightings of the cells."""

    def __init__(self, truth: Ints, predicted: Ints, labels: int) -> None:
        self.labels = labels
        self.hits = np.flatnonzero(truth == predicted)
        self.by_truth = _Groups(truth, labels)
        self.by_prediction = _Groups(predicted, labels + 1)
        self.by_hit = _Groups(truth[self.hits], labels)

    def macro(self, weights: Floats) -> Floats:
        """Macro-F1 for each column of weights, shape (cells, k) -> (k,): the mean over labels with a reference row."""
        support = self.by_truth.sums(weights)
        both = support + self.by_prediction.sums(weights)[: self.labels]
        f1 = 2 * self.by_hit.sums(weights[self.hits]) / np.maximum(both, 1e-300)
        present = support > 0
        # Summing where present: a resample without a rare label is scored on the labels that it has.
        return np.asarray((f1 * present).sum(axis=0) / np.maximum(present.sum(axis=0), 1))


def macro_f1(truth: Ints, predicted: Ints, labels: int) -> float:
    """Macro-F1 of encoded rows over the labels of the references; 0.0 for a label that is never hit."""
    return float(_Table(truth, predicted, labels).macro(np.ones((len(truth), 1)))[0])


def _cells(*codes: Ints) -> tuple[list[Ints], Ints]:
    distinct, counts = np.unique(np.stack(codes), axis=1, return_counts=True)
    return list(distinct), counts.astype(np.int64)


class _Statistic:
    """Macro-F1 of one side, or the difference of two sides (after minus before), of weighted cells."""

    def __init__(self, truth: Ints, sides: Sequence[Ints], labels: int) -> None:
        self.tables = [_Table(truth, side, labels) for side in sides]

    def __call__(self, weights: Floats) -> Floats:
        values = [table.macro(weights) for table in self.tables]
        return values[0] if len(values) == 1 else values[1] - values[0]


def _resampled(statistic: _Statistic, counts: Ints, resamples: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    n = int(counts.sum())
    values = np.empty(resamples)
    step = max(1, _CELLS // len(counts))
    for at in range(0, resamples, step):
        size = min(step, resamples - at)
        drawn = rng.multinomial(n, counts / n, size=size).astype(np.float64)
        values[at : at + size] = statistic(drawn.T)
    return values


def _acceleration(statistic: _Statistic, counts: Ints) -> float:
    """The jackknife's: one row less in each distinct cell, weighted by its rows."""
    left_out = np.empty(len(counts))
    step = max(1, _CELLS // len(counts))
    for at in range(0, len(counts), step):
        here = np.arange(at, min(at + step, len(counts)))
        weights = np.repeat(counts.astype(np.float64)[:, None], len(here), axis=1)
        weights[here, np.arange(len(here))] -= 1
        left_out[here] = statistic(weights)
    deviations = np.average(left_out, weights=counts) - left_out
    spread = float((counts * deviations**2).sum())
    return float((counts * deviations**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0


def _interval(
    truth: Ints,
    sides: Sequence[Ints],
    labels: int,
    bounds: tuple[float, float],
    resamples: int,
    seed: int,
    confidence: float,
    verb: str,
) -> Score:
    check_resamples(verb, resamples)
    z = z_value(confidence, verb=verb)
    n = len(truth)
    (cell_truth, *cell_sides), counts = _cells(truth, *sides)
    statistic = _Statistic(cell_truth, cell_sides, labels)
    value = float(statistic(counts[:, None].astype(np.float64))[0])
    resampled = _resampled(statistic, counts, resamples, seed)
    if np.ptp(resampled) < 1e-12:
        support = np.bincount(truth, minlength=labels)
        low, high = no_variation(value, bounds, labels**2 / float((1 / support).sum()), z=z)
        return Score.around(value, low, high, n, confidence=confidence, method="no variation")
    low, high = bca_ends(value, resampled, _acceleration(statistic, counts), confidence)
    return Score.around(value, low, high, n, confidence=confidence, method="bca", resamples=resamples, seed=seed)


def macro_f1_interval(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """Macro-F1 over the labels of the references, with a BCa bootstrap interval over rows.

    The bootstrap draws the counts of the confusion cells; a resample is scored on the labels it has, as `MacroF1`
    scores a data set. The acceleration is the jackknife over rows (Efron 1987).

    Edge decisions: a label that is never predicted right has F1 0.0; a prediction that is no reference label counts
    against recall alone. When resampling changes nothing (all right, all wrong) the method is `no variation`: up to
    Wilson's bound for 0 of m rows may be unlike these, with m = K^2 / sum(1 / rows of label), the number of rows that
    count equally (n when the K labels are balanced). No rows are refused (PlanError).
    """
    labels, truth, sides = encode(references, predictions)
    return _interval(truth, sides, len(labels), (0.0, 1.0), resamples, seed, confidence, "macro_f1_interval")


def macro_f1_difference(
    before: Sequence[str],
    after: Sequence[str],
    references: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """Macro-F1 after minus before on the same rows, with a paired BCa bootstrap interval.

    Draws the joint cells (reference, before, after), so what both sides share cancels. Exchanging before and after
    gives exactly the mirrored interval. Edge decisions as in `macro_f1_interval`.
    """
    labels, truth, (old, new) = encode(references, before, after)
    # Any rule will do that depends on the set of rows alone and turns round when the sides are exchanged.
    here, there = (
        sorted(zip(truth.tolist(), one.tolist(), two.tolist(), strict=True)) for one, two in ((old, new), (new, old))
    )
    sides = (new, old) if here > there else (old, new)
    score = _interval(truth, sides, len(labels), (-1.0, 1.0), resamples, seed, confidence, "macro_f1_difference")
    if here == there:
        return score.symmetric()
    return -score if here > there else score


def macro_f1_swap(
    before: Sequence[str], after: Sequence[str], references: Sequence[str], *, resamples: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p-value for a difference in macro-F1: the two predictions are swapped within random rows.

    A permutation rather than the bootstrap's p: under the hypothesis that the sides are exchangeable within each row
    it holds its level for any statistic and any n, while a bootstrap of a ratio over rare labels does not. How many
    rows of a cell are swapped is binomial, so cells are drawn, not rows. p = (as extreme + 1) / (resamples + 1).

    Edge decisions: equal predictions on every row give exactly 1. Symmetric in before and after.
    """
    check_resamples("macro_f1_swap", resamples)
    labels, truth, (old, new) = encode(references, before, after)
    k = len(labels)
    # Sides in one order within each cell, so that exchanging before and after draws the same swaps.
    (cell_truth, one, two), counts = _cells(truth, np.minimum(old, new), np.maximum(old, new))
    differ = one != two
    if not differ.any():
        return 1.0
    observed = abs(macro_f1(truth, new, k) - macro_f1(truth, old, k))
    table = _Table(np.concatenate([cell_truth, cell_truth]), np.concatenate([one, two]), k)
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // len(counts))
    extreme = 0
    for at in range(0, resamples, step):
        size = min(step, resamples - at)
        swapped = rng.binomial(np.where(differ, counts, 0), 0.5, size=(size, len(counts))).T.astype(np.float64)
        stay = counts[:, None] - swapped
        # Where both predicted the same, one half of the row's weight may stand in either place: they are one label.
        change = table.macro(np.concatenate([stay, swapped])) - table.macro(np.concatenate([swapped, stay]))
        extreme += int(np.count_nonzero(np.abs(change) >= observed - 1e-12))
    return (extreme + 1) / (resamples + 1)
