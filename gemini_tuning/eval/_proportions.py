"""Counts of right and wrong: Wilson, McNemar, Tango. All closed form or exact, so nothing here has a seed."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from ..errors import PlanError
from .score import Score


def z_value(confidence: float, *, verb: str) -> float:
    """The two-sided normal quantile of a confidence level."""
    if not 0 < confidence < 1:
        raise PlanError.bad_value(verb, "confidence", confidence, "a number between 0 and 1, both excluded")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _count(verb: str, name: str, value: int) -> int:
    if value != int(value) or value < 0:
        raise PlanError.bad_value(verb, name, value, "a count: a whole number, 0 or more")
    return int(value)


def wilson(k: int, n: int, *, confidence: float = 0.95) -> Score:
    """A proportion, k of n, with Wilson's score interval.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). Chosen
    over Wald, whose nominal 95 % covers 81 % at n = 30 and p = 0.9.

    Edge decisions: k = 0 gives `low` exactly 0 and k = n gives `high` exactly 1, with a width that is not 0;
    n = 0 is refused (PlanError), because no rows is not a score of 0.
    """
    k, n = _count("wilson", "k", k), _count("wilson", "n", n)
    if n == 0:
        raise PlanError.bad_value("wilson", "n", n, "at least one row", hint="no rows, no score: leave it out.")
    if k > n:
        raise PlanError.bad_value("wilson", "k", k, f"at most n = {n}")
    z = z_value(confidence, verb="wilson")
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else centre - half
    high = 1.0 if k == n else centre + half
    return Score.around(share, low, high, n, confidence=confidence, method="wilson")


def binomial_half(n: int) -> np.ndarray:
    """Probabilities of 0..n heads in n fair tosses (n + 1 floats), by cumulated log ratios: good for n in millions."""
    k = np.arange(1, n // 2 + 1, dtype=np.float64)
    steps = np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k))])
    half = np.exp(steps - n * math.log(2.0))
    return np.concatenate([half, half[: n + 1 - len(half)][::-1]])


def mcnemar(b: int, c: int) -> float:
    """Two-sided mid-p value of McNemar's exact test for paired right/wrong answers.

    Args:
        b: Pairs that only the one side got right.
        c: Pairs that only the other side got right. Pairs on which both agree say nothing and are not asked for.

    The p-value is `2 P(X < m) + P(X = m)` for X binomial(b + c, 1/2) and m = min(b, c). Source: Fagerland, Lydersen
    and Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than exact
    conditional", BMC Medical Research Methodology 13:91 (2013): it keeps the 5 % in practice and has more power
    than the exact test. Symmetric in b and c.

    Edge decisions: b = c gives exactly 1; no discordant pair (b = c = 0) gives 1.
    """
    b, c = _count("mcnemar", "b", b), _count("mcnemar", "c", c)
    if b == c:
        return 1.0
    m = min(b, c)
    head = binomial_half(b + c)[: m + 1]
    return float(min(1.0, 2 * head[:m].sum() + head[m]))


def paired_binary_interval(
    both: int, only_after: int, only_before: int, neither: int, *, confidence: float = 0.95
) -> Score:
    """The difference of two paired proportions, after minus before, with Tango's score interval.

    Args:
        both: Pairs right on both sides.
        only_after: Pairs right only after.
        only_before: Pairs right only before.
        neither: Pairs right on neither side.
        confidence: Coverage aimed at.

    Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998): the differences that a score test with the nuisance probability at its
    constrained maximum likelihood does not reject. Solved by bisection, since the score falls with the difference.

    Edge decisions: without a discordant pair the interval is `+- z^2 / (n + z^2)`, not a point; all pairs discordant
    the same way gives an end of exactly 1 or -1; no pairs at all is refused (PlanError).
    """
    cells = {"both": both, "only_after": only_after, "only_before": only_before, "neither": neither}
    counts = {name: _count("paired_binary_interval", name, value) for name, value in cells.items()}
    n, b, c = sum(counts.values()), counts["only_after"], counts["only_before"]
    if n == 0:
        raise PlanError.bad_value("paired_binary_interval", "both", 0, "at least one pair in the four cells")
    z = z_value(confidence, verb="paired_binary_interval")
    # The upper end is the mirror of the lower end with b and c exchanged: exact antisymmetry, whatever the rounding.
    low, high = _tango_lower(n, b, c, z), -_tango_lower(n, c, b, z)
    return Score.around((b - c) / n, low, high, n, confidence=confidence, method="tango")


def _tango_lower(n: int, b: int, c: int, z: float) -> float:
    def score(delta: float) -> float:
        a2 = 4.0 * n
        linear = -b - c + (2 * n - b + c) * delta
        constant = -c * delta * (1 - delta)
        q = max(0.0, (math.sqrt(max(0.0, linear * linear - 2 * a2 * constant)) - linear) / a2)
        variance = n * (2 * q + delta * (1 - delta))
        distance = b - c - n * delta
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    low, high = -1.0, (b - c) / n
    if c == n:
        return -1.0
    for _ in range(60):
        middle = (low + high) / 2
        if score(middle) > z:
            low = middle
        else:
            high = middle
    return (low + high) / 2
