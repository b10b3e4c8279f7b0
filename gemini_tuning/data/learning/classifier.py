"""The small text classifier behind label errors and learning curves: two linear models, averaged.

Naive Bayes on the sparse features is one pass over the data and hard to overfit; logistic regression on a dense sketch
of them is sharper where classes share their words. They err on different rows, so their mean ranks wrong labels better
than either, and about as well as logistic regression on all features, which takes several times as long
(`benchmarks/label_errors.py`).

Everything is deterministic: no sampling, fixed starts, one order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from .features import Floats32, Hashed, Ints, folded_down, hashed

Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

SMOOTHING = 0.05
"""Of naive Bayes: added to the weight of every feature in a class of mean size (rows have length 1: this is little)."""
BACKGROUND = 0.03
"""Of naive Bayes: the weight of all rows together in each class, as a share of the mean class."""
PENALTY = 1 / 3
"""Of logistic regression: half of it times the sum of squared weights stands beside the log-loss; 1 / `C` elsewhere."""
ITERATIONS = 40
LOGISTIC_CLASSES = 150
"""With more classes naive Bayes works alone: the cost of logistic regression grows with them."""
LOGISTIC_ROWS = 10_000
LEAST_DIMENSIONS, MOST_DIMENSIONS = 1024, 4096
_DENSE = 1 << 25  # numbers in the sketch of all rows: 128 MB
_WEIGHTS = 1 << 17  # weights of logistic regression: its time grows with them
_CELLS = 1 << 23  # feature x class weights of naive Bayes: 64 MB
_GATHER = 1 << 21  # weights gathered at once: 8 MB


class Linear(NamedTuple):
    """Scores are `x @ weights + intercept`: weights (columns, classes), intercept (classes,)."""

    weights: Floats32
    intercept: Floats32


# --- naive Bayes on sparse rows ------------------------------------------------------------------------------------


def naive_bayes(features: Hashed, labels: Ints, classes: int, rows: Mask) -> Linear:
    """Multinomial naive Bayes from the rows of the mask: log shares of each feature in each class, log class sizes.

    Shares are smoothed towards uniform in proportion to the size of the class, and a little towards the shares of all
    rows together. The usual constant would give a class of few rows a high share of every word it has not seen, so
    that it wins the rows of large ones; so would the first part alone for a class without any rows.
    """
    entries = np.diff(features.indptr)
    taken = np.repeat(rows, entries)
    label = np.repeat(labels, entries)[taken]
    cells = features.indices[taken].astype(np.int64) * classes + label
    weights = features.values[taken]
    sums = np.bincount(cells, weights=weights, minlength=features.buckets * classes)
    shares = sums.reshape(features.buckets, classes).astype(np.float32)
    total = shares.sum(axis=0, dtype=np.float64)
    mean = max(float(total.mean()), 1e-6)
    overall = shares.sum(axis=1, dtype=np.float64) + 1e-3 * mean * classes / features.buckets
    overall /= overall.sum()
    flat, common = SMOOTHING * total / mean, BACKGROUND * mean
    shares += flat.astype(np.float32)
    shares += (common * overall).astype(np.float32)[:, None]
    np.log(shares, out=shares)
    shares -= np.log(total + flat * features.buckets + common).astype(np.float32)
    sizes = np.bincount(labels[rows], minlength=classes)
    return Linear(shares, np.log(sizes + 1.0).astype(np.float32))


def sparse_scores(features: Hashed, model: Linear, rows: Ints) -> Floats32:
    """The scores of some rows, (len(rows), classes)."""
    classes = model.weights.shape[1]
    result = np.tile(model.intercept, (len(rows), 1))
    sizes = np.diff(features.indptr)[rows]
    ends = np.cumsum(sizes)
    at = 0
    while at < len(rows):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + _GATHER // classes, "right")))
        here = np.flatnonzero(sizes[at:stop]) + at  # reduceat has no empty groups
        if len(here):
            size = sizes[here]
            starts = np.cumsum(size) - size
            place = np.arange(int(size.sum())) + np.repeat(features.indptr[rows[here]] - starts, size)
            gathered = model.weights[features.indices[place]]
            gathered *= features.values[place, None]
            if classes <= 8:  # summing along the long side is faster one class at a time
                for k in range(classes):
                    result[here, k] += np.add.reduceat(np.ascontiguousarray(gathered[:, k]), starts)
            else:
                result[here] += np.add.reduceat(gathered, starts, axis=0)
        at = stop
    return result


# --- logistic regression on dense rows -----------------------------------------------------------------------------


def softmax(scores: npt.NDArray[np.floating]) -> Floats32:
    """Rows of probabilities."""
    result: Floats32 = np.exp(scores - scores.max(axis=1, keepdims=True)).astype(np.float32)
    result /= result.sum(axis=1, keepdims=True)
    return result


def logistic(
    x: Floats32, labels: Ints, classes: int, *, penalty: float = PENALTY, iterations: int = ITERATIONS
) -> Linear:
    """Multinomial logistic regression with an L2 penalty on the weights (not on the intercept), by L-BFGS from zero.

    Args:
        x: (n, columns).
        labels: n class numbers.
        classes: How many classes; one without rows gets a low intercept.
        penalty: See `PENALTY`.
        iterations: At most so many steps; it stops earlier where a step gains less than 1e-5 of the loss.

    Source: Nocedal and Wright, Numerical Optimization, algorithm 7.4, with backtracking.
    """
    n, columns = x.shape
    target = np.zeros((n, classes), np.float32)
    target[np.arange(n), labels] = 1
    each = np.arange(n)

    def loss(point: Floats32) -> tuple[float, Floats32]:
        weights = point[:-1]
        scores = x @ weights
        scores += point[-1]
        scores -= scores.max(axis=1, keepdims=True)
        own = scores[each, labels]
        np.exp(scores, out=scores)
        total = scores.sum(axis=1)
        value = float(np.sum(np.log(total), dtype=np.float64) - np.sum(own, dtype=np.float64))
        value += penalty / 2 * float(np.einsum("ij,ij->", weights, weights, dtype=np.float64))
        scores /= total[:, None]
        scores -= target
        gradient = np.empty_like(point)
        np.matmul(x.T, scores, out=gradient[:-1])
        gradient[:-1] += np.float32(penalty) * weights
        gradient[-1] = scores.sum(axis=0)
        return value, gradient

    point = np.zeros((columns + 1, classes), np.float32)
    value, gradient = loss(point)
    steps: list[tuple[Floats32, Floats32, float]] = []
    for _ in range(iterations):
        direction = _direction(gradient, steps)
        slope = -_dot(gradient, direction)
        if slope >= 0:  # rounding at the optimum
            break
        size = 1.0 if steps else min(1.0, 10.0 / max(1e-12, _dot(gradient, gradient) ** 0.5))
        for _ in range(20):
            candidate = point - np.float32(size) * direction
            new, slopes = loss(candidate)
            if new <= value + 1e-4 * size * slope:
                break
            size /= 2
        else:
            break
        moved, turned = candidate - point, slopes - gradient
        curvature = _dot(moved, turned)
        if curvature > 0:
            steps = [*steps[-7:], (moved, turned, 1 / curvature)]
        gained = value - new
        point, value, gradient = candidate, new, slopes
        if gained < 1e-5 * abs(value):
            break
    return Linear(point[:-1], point[-1])


def _dot(a: Floats32, b: Floats32) -> float:
    return float(np.vdot(a, b))


def _direction(gradient: Floats32, steps: Sequence[tuple[Floats32, Floats32, float]]) -> Floats32:
    """The two-loop recursion: the gradient times what is known of the inverse Hessian."""
    direction = gradient.copy()
    factors = []
    for moved, turned, inverse in reversed(steps):
        factor = inverse * _dot(moved, direction)
        direction -= np.float32(factor) * turned
        factors.append(factor)
    if steps:
        _, turned, inverse = steps[-1]
        direction *= np.float32(1 / (inverse * _dot(turned, turned)))
    for (moved, turned, inverse), factor in zip(steps, reversed(factors), strict=True):
        direction += np.float32(factor - inverse * _dot(turned, direction)) * moved
    return direction


# --- together ------------------------------------------------------------------------------------------------------


def temperature(scores: Floats32, labels: Ints) -> float:
    """The factor on held-out scores that makes their probabilities fit best: a grid of 41 from 0.1 to 10.

    Source: Guo et al., On calibration of modern neural networks, 2017. One number from many rows; a sample of 4,000,
    evenly spaced, decides.
    """
    step = max(1, len(labels) // 4000)
    scores, labels = scores[::step], labels[::step]
    factors = np.exp(np.linspace(np.log(0.1), np.log(10), 41))
    losses = [log_loss(softmax(scores * np.float32(factor)), labels) for factor in factors]
    return float(factors[int(np.argmin(losses))])


def log_loss(probabilities: Floats32, labels: Ints) -> float:
    """The mean of minus the log-probability of the labels."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(own, 1e-12)).mean())


class View(NamedTuple):
    """Texts as the models see them: sparse rows, and dense ones unless naive Bayes works alone."""

    sparse: Hashed
    dense: Floats32 | None


class Fitted(NamedTuple):
    """What was learnt from some rows."""

    bayes: Linear
    logistic: Linear | None

    def scores(self, view: View, rows: Ints) -> list[Floats32]:
        """The scores of some rows of a view, by each of the models: (len(rows), classes)."""
        result = [sparse_scores(view.sparse, self.bayes, rows)]
        if self.logistic is not None and view.dense is not None:
            result.append(view.dense[rows] @ self.logistic.weights + self.logistic.intercept)
        return result


class SmallModel:
    """Labelled texts, ready to be learnt from any of their rows.

    Args:
        texts: n texts.
        labels: n class numbers below `classes`.
        classes: Number of classes, 2 or more.
        quick: Naive Bayes alone, which is many times faster and almost as good.
        pieces: Whether windows inside words count (`features.hashed`).
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Ints,
        classes: int,
        *,
        quick: bool = False,
        pieces: bool = True,
    ) -> None:
        self.labels, self.classes = labels, classes
        self._pieces, self._dimensions = pieces, _dimensions(len(labels), classes)
        self._dense = not quick and classes <= LOGISTIC_CLASSES
        self._buckets = min(1 << 18, max(1 << 12, 1 << ((_CELLS // classes).bit_length() - 1)))
        own = hashed(texts, buckets=self._buckets, pieces=pieces)
        used = np.flatnonzero(np.bincount(own.indices, minlength=self._buckets))
        # Only columns in use are kept, and one more for what is new in other texts: most buckets are empty.
        self._column = np.full(self._buckets, len(used), np.int32)
        self._column[used] = np.arange(len(used), dtype=np.int32)
        self._rarity = own.rarity
        self._used = np.append(own.rarity[used], np.float32(0))
        self.own = self._view(own)

    def _view(self, sparse: Hashed) -> View:
        kept = Hashed(sparse.indptr, self._column[sparse.indices], sparse.values, self._used)
        return View(kept, folded_down(kept, self._dimensions) if self._dense else None)

    def view(self, texts: Sequence[str]) -> View:
        """Other texts, with words weighted as in the model's own."""
        return self._view(hashed(texts, buckets=self._buckets, pieces=self._pieces, rarity=self._rarity))

    def fit(self, rows: Mask) -> Fitted:
        """Learns from the rows of the mask; logistic regression from at most `LOGISTIC_ROWS`, evenly spaced."""
        bayes = naive_bayes(self.own.sparse, self.labels, self.classes, rows)
        if self.own.dense is None:
            return Fitted(bayes, None)
        taken = np.flatnonzero(rows)
        if len(taken) > LOGISTIC_ROWS:
            taken = taken[np.linspace(0, len(taken) - 1, LOGISTIC_ROWS).astype(np.int64)]
        return Fitted(bayes, logistic(self.own.dense[taken], self.labels[taken], self.classes))


def _dimensions(n: int, classes: int) -> int:
    """Columns of the sketch: long texts with few classes gain from more; many rows or classes cannot afford them."""
    most = min(_DENSE // max(1, n), _WEIGHTS // classes, MOST_DIMENSIONS)
    return max(LEAST_DIMENSIONS, 1 << max(0, most.bit_length() - 1))


def blended(scores: Sequence[Floats32], labels: Ints) -> Floats32:
    """The mean of the models' probabilities, each with its temperature; `labels` are those of the held-out rows."""
    result = np.zeros_like(scores[0])
    for each in scores:
        result += softmax(each * np.float32(temperature(each, labels)))
    result /= np.float32(len(scores))
    return result
