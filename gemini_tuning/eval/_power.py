"""How small a change a test set can show, how many rows a change needs, and what many tests at once cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from ..errors import PlanError


def _reach(verb: str, discordant: float, power: float, alpha: float) -> float:
    if not 0 <= discordant <= 1:
        raise PlanError.bad_value(verb, "discordant", discordant, "a share of pairs between 0 and 1")
    if not 0 < power < 1:
        raise PlanError.bad_value(verb, "power", power, "a number between 0 and 1, both excluded")
    if not 0 < alpha < 1:
        raise PlanError.bad_value(verb, "alpha", alpha, "a number between 0 and 1, both excluded")
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)


def minimum_detectable(n: int, *, discordant: float = 0.1, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest difference of paired proportions that n rows show with this power.

    Args:
        n: Pairs; at least 1.
        discordant: Share of pairs that exactly one side gets right. 0.1 is two similar models; a base model against
            a tuned one is often above 0.3. For graded scores: the mean squared difference.
        power: Chance to find it.
        alpha: Two-sided level of the test.

    `max(z sqrt(discordant / n), z^2 / n)` with z the sum of both quantiles: Miettinen, Biometrics 24 (1968), with the
    variance of the null hypothesis, and at least as many discordant pairs as the difference itself needs. With 10 %
    discordant: 8.9 points at n = 100, 2.8 at n = 1,000. 1.0 means: these rows cannot show anything.
    """
    if n < 1:
        raise PlanError.bad_value("minimum_detectable", "n", n, "at least one row")
    z = _reach("minimum_detectable", discordant, power, alpha)
    return min(1.0, max(z * math.sqrt(discordant / n), z * z / n))


def needed_n(effect: float, *, discordant: float = 0.1, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs that show this difference with this power; the inverse of `minimum_detectable`.

    Args:
        effect: The difference, of either sign; not 0, because no number of rows shows a difference of nothing.
        discordant: Share of pairs that exactly one side gets right; taken as the effect where that is larger.
        power: Chance to find it.
        alpha: Two-sided level of the test.
    """
    if not 0 < abs(effect) <= 1:
        raise PlanError.bad_value("needed_n", "effect", effect, "a difference in [-1, 1] other than 0")
    z = _reach("needed_n", discordant, power, alpha)
    return math.ceil(z * z * max(discordant, abs(effect)) / effect**2 - 1e-9)


def holm(pvalues: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for having looked at all of them, in the order given.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
    (1979). Holds the chance of any false alarm under every kind of dependence. No p-values give an empty tuple.
    """
    for p in pvalues:
        if not 0 <= p <= 1:
            raise PlanError.bad_value("holm", "pvalues", p, "numbers between 0 and 1")
    adjusted = [0.0] * len(pvalues)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(pvalues)), key=lambda at: pvalues[at])):
        highest = max(highest, min(1.0, (len(pvalues) - rank) * pvalues[at]))
        adjusted[at] = highest
    return tuple(adjusted)
