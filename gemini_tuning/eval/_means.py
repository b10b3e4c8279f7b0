"""Means of graded scores: BCa bootstrap intervals and sign-flip tests, vectorised, seeded, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from ..errors import PlanError
from ._proportions import binomial_half, z_value
from .score import Score

_CELLS = 2_000_000
"""Numbers held at once by a resampling step: 16 MB, whatever the number of rows and resamples."""

_FEW = 256
"""Up to so many distinct values the bootstrap draws their counts instead of rows: grades and right/wrong have few."""

Floats = np.ndarray


def as_row(verb: str, name: str, values: Sequence[float] | Floats) -> Floats:
    """A sequence of numbers as a float array of shape (n,), or PlanError with the reason."""
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not len(row):
        raise PlanError.bad_value(verb, name, row.shape, "a sequence of at least one number")
    if not np.isfinite(row).all():
        raise PlanError.bad_value(
            verb,
            name,
            "a NaN or an infinity",
            "finite numbers",
            hint="an unscored row is not a number: leave the pair out and count it.",
        )
    return row


def check_resamples(verb: str, resamples: int) -> None:
    """Refuses a number of resamples that cannot give 95 % interval ends."""
    if resamples < 100:
        raise PlanError.bad_value(verb, "resamples", resamples, "at least 100")


def no_variation(value: float, bounds: tuple[float, float], n: float, *, z: float) -> tuple[float, float]:
    """An honest interval where all rows are equal and a bootstrap would give a point.

    The share of rows unlike these is below `z^2 / (n + z^2)` (Wilson's bound for 0 of n), and such rows could lie
    anywhere within the bounds. For paired right/wrong answers this is Tango's interval.
    """
    unseen = z * z / (n + z * z)
    return value - unseen * max(0.0, value - bounds[0]), value + unseen * max(0.0, bounds[1] - value)


def bca_ends(value: float, resampled: Floats, acceleration: float, confidence: float) -> tuple[float, float]:
    """Both ends of the bias-corrected and accelerated bootstrap interval.

    Source: Efron, "Better bootstrap confidence intervals", JASA 82 (1987). Resamples equal to the estimate count half
    on each side (as scipy does), which matters for right/wrong answers, where many are.
    """
    normal = NormalDist()
    total = len(resampled)
    slack = 1e-12 * max(1.0, float(np.abs(resampled).max()))
    below = np.count_nonzero(resampled < value - slack)
    up_to = np.count_nonzero(resampled <= value + slack)
    # An estimate beyond all its resamples would give an infinite correction: hold it half a resample inside.
    share = min(max((below + up_to) / (2 * total), 0.5 / total), 1 - 0.5 / total)
    bias = normal.inv_cdf(share)
    ends = []
    for level in ((1 - confidence) / 2, (1 + confidence) / 2):
        moved = bias + normal.inv_cdf(level)
        divisor = 1 - acceleration * moved
        ends.append(normal.cdf(bias + moved / divisor) if divisor > 0 else (0.0 if moved < 0 else 1.0))
    low, high = np.quantile(resampled, ends)
    return float(low), float(high)


def _resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    means = np.empty(resamples)
    if len(distinct) <= _FEW:
        step = max(1, _CELLS // len(distinct))
        for at in range(0, resamples, step):
            size = min(step, resamples - at)
            means[at : at + size] = rng.multinomial(n, counts / n, size=size) @ distinct / n
        return means
    step = max(1, _CELLS // n)
    for at in range(0, resamples, step):
        size = min(step, resamples - at)
        means[at : at + size] = values[rng.integers(0, n, (size, n), dtype=np.int32)].mean(axis=1)
    return means


def mean_interval(
    values: Sequence[float] | Floats,
    *,
    bounds: tuple[float, float] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """The mean of graded scores with a BCa bootstrap interval over rows.

    Args:
        values: One finite number a row; at least one.
        bounds: Lowest and highest possible value: (0, 1), or a judge's scale (1, 5).
        resamples: Bootstrap resamples, at least 100.
        seed: Seed of the resampling; the same seed and values give the same interval, in any order of rows.
        confidence: Coverage aimed at.

    The acceleration is the jackknife's, which for a mean has the closed form
    `sum(d^3) / (6 sum(d^2)^1.5)` with d the deviations (Efron and Tibshirani, An Introduction to the Bootstrap,
    14.3). With up to 256 distinct values their counts are drawn (multinomial): the same distribution, hundreds of
    times faster.

    Edge decisions: when all values are equal (n = 1 included) the bootstrap has nothing to draw from. Then the
    method is `no variation`: with bounds, the share of unlike rows may be up to Wilson's bound for 0 of n; without
    bounds the interval is the point, which says nothing. Below some 20 rows any bootstrap is too narrow.
    """
    row = np.sort(as_row("mean_interval", "values", values))
    check_resamples("mean_interval", resamples)
    z = z_value(confidence, verb="mean_interval")
    value, n = float(row.mean()), len(row)
    if row[0] == row[-1]:
        low, high = no_variation(float(row[0]), bounds or (float(row[0]),) * 2, n, z=z)
        return Score.around(float(row[0]), low, high, n, confidence=confidence, method="no variation")
    deviations = row - value
    acceleration = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    low, high = bca_ends(value, _resampled_means(row, resamples, seed), acceleration, confidence)
    return Score.around(value, low, high, n, confidence=confidence, method="bca", resamples=resamples, seed=seed)


def _differences(verb: str, a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> Floats:
    before, after = as_row(verb, "a", a), as_row(verb, "b", b)
    if len(before) != len(after):
        raise PlanError.bad_value(
            verb,
            "b",
            f"{len(after)} values",
            f"{len(before)} values, one for each of a",
            hint="pairs are rows that both sides answered, in the same order.",
        )
    return np.asarray(after - before)


def paired_interval(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    *,
    bounds: tuple[float, float] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """The mean difference `b - a` over pairs, a before and b after, with a BCa bootstrap interval over pairs.

    Args:
        a: The score of each row before.
        b: The score of the same rows after, in the same order.
        bounds: Lowest and highest possible *score* (not difference); by default the lowest and highest seen.
        resamples: Bootstrap resamples, at least 100.
        seed: Seed of the resampling.
        confidence: Coverage aimed at.

    Exchanging a and b gives exactly the mirrored interval. Method and sources as in `mean_interval`.

    Edge decisions: when all differences are equal (all ties among them) the interval is not a point: up to Wilson's
    bound for 0 of n of the pairs may differ by the whole range of the scores, which for right/wrong answers is
    Tango's interval. When all scores on both sides are equal and no bounds are given, it is a point.
    """
    difference = _differences("paired_interval", a, b)
    seen = (min(np.min(a), np.min(b)), max(np.max(a), np.max(b)))
    low, high = bounds or seen
    reach = max(float(high - low), float(np.abs(difference).max()))
    # Resampling always in one direction makes `compare(a, b)` and `compare(b, a)` mirror images, not just nearly so.
    up, down = np.sort(difference), np.sort(-difference)
    unequal = np.flatnonzero(up != down)
    mirrored = bool(len(unequal) and up[unequal[0]] < down[unequal[0]])
    score = mean_interval(
        down if mirrored else up, bounds=(-reach, reach), resamples=resamples, seed=seed, confidence=confidence
    )
    if not len(unequal):
        return score.symmetric()
    return -score if mirrored else score


def sign_flip(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, *, resamples: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p-value of the paired permutation test: were before and after exchangeable within each row?

    The statistic is the mean difference; under the null hypothesis each difference has either sign with probability
    1/2. Source: Fisher, The Design of Experiments (1935), section 21; Phipson and Smyth (2010) for the `+ 1` below.

    Exact, without a seed, when the differences are whole multiples of the smallest one (right/wrong: the binomial
    test; grades: by convolution) or when at most 16 are not zero (all sign patterns). Else `resamples` random sign
    patterns, and p = (as extreme + 1) / (resamples + 1), never 0.

    Edge decisions: differences of 0 do not matter; all ties give exactly 1. Symmetric in a and b.
    """
    difference = _differences("sign_flip", a, b)
    check_resamples("sign_flip", resamples)
    sizes = np.sort(np.abs(difference[difference != 0]))  # sorted: random signs must not depend on the order of rows
    if not len(sizes):
        return 1.0
    observed = abs(float(difference.sum()))
    steps = sizes / sizes.min()
    whole = np.rint(steps)
    if steps.max() < 1e5 and np.abs(steps - whole).max() < 1e-9 * steps.max():
        exact = _flip_lattice(whole.astype(np.int64), round(observed / float(sizes.min())))
        if exact is not None:
            return exact
    slack = 1e-9 * float(sizes.sum())
    if len(sizes) <= 16:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return float(np.count_nonzero(np.abs(sums) >= observed - slack) / len(sums))
    return _flip_random(sizes, observed, resamples, seed)


def _flip_lattice(sizes: np.ndarray, observed: int) -> float | None:
    """Exact p for whole sizes: the sum of sizes that keep their sign is a convolution of spread binomials."""
    magnitudes, counts = np.unique(sizes, return_counts=True)
    lengths = magnitudes * counts + 1
    if len(magnitudes) > 16 or float(lengths.sum()) ** 2 > 4e8:  # beyond 0.3 s or so, random signs are as good
        return None
    total = int(sizes.sum())
    mass = np.ones(1)
    for magnitude, count in zip(magnitudes, counts, strict=True):
        spread = np.zeros(int(magnitude * count) + 1)
        spread[:: int(magnitude)] = binomial_half(int(count))
        mass = np.convolve(mass, spread)
    sums = 2 * np.arange(total + 1) - total
    return float(min(1.0, mass[np.abs(sums) >= observed].sum()))


def _flip_random(sizes: Floats, observed: float, resamples: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    weights = sizes.astype(np.float32)
    total, slack = float(sizes.sum()), 1e-6 * float(sizes.sum())
    step = max(1, _CELLS // len(sizes))
    extreme = 0
    for at in range(0, resamples, step):
        size = min(step, resamples - at)
        packed = rng.integers(0, 256, (size, (len(sizes) + 7) // 8), dtype=np.uint8)
        signs = np.unpackbits(packed, axis=1, count=len(sizes)).astype(np.float32)
        extreme += int(np.count_nonzero(np.abs(2 * (signs @ weights) - total) >= observed - slack))
    return (extreme + 1) / (resamples + 1)
