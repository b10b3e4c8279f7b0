"""A number with its uncertainty: the one type in which every estimate of this layer is given."""

from __future__ import annotations

import math

import msgspec

from ..errors import PlanError


class _Estimate(msgspec.Struct, frozen=True):
    value: float
    low: float
    high: float
    n: int


class Score(_Estimate, frozen=True, kw_only=True, omit_defaults=True):
    """An estimate with its interval: `Score(value, low, high, n)`.

    There is no score without rows: `n = 0`, a NaN, or an interval that does not hold its own value cannot be
    constructed (ValueError). A metric that scored no row has no `Score` at all.

    Attributes:
        value: The estimate, in the unit of the metric.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Rows (for a paired difference: pairs) that the estimate rests on; at least 1.
        confidence: Coverage that the interval aims at.
        method: How the interval was made: `wilson`, `tango`, `bca`, or `no variation` (see `mean_interval`).
        resamples: Bootstrap resamples, 0 for a closed form.
        seed: Seed of the resampling, None for a closed form.
    """

    confidence: float = 0.95
    method: str = ""
    resamples: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise PlanError.bad_value("Score", "n", self.n, "at least one row", hint="no rows, no score: leave it out.")
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise PlanError.bad_value("Score", "value", (self.value, self.low, self.high), "finite numbers")
        if not self.low <= self.value <= self.high:
            raise PlanError.bad_value("Score", "low", (self.low, self.value, self.high), "low <= value <= high")

    @classmethod
    def around(
        cls,
        value: float,
        low: float,
        high: float,
        n: int,
        *,
        confidence: float,
        method: str,
        resamples: int = 0,
        seed: int | None = None,
    ) -> Score:
        """The same, widened where rounding or a skewed bootstrap would leave the value just outside."""
        value = float(value)
        return cls(
            value,
            min(float(low), value),
            max(float(high), value),
            int(n),
            confidence=confidence,
            method=method,
            resamples=resamples,
            seed=seed,
        )

    def __neg__(self) -> Score:
        """The difference the other way round; exact."""
        return msgspec.structs.replace(self, value=0.0 - self.value, low=0.0 - self.high, high=0.0 - self.low)

    def symmetric(self) -> Score:
        """The interval around 0 of a difference that is the same in both directions; as wide as this one."""
        half = (self.high - self.low) / 2
        return msgspec.structs.replace(self, value=0.0, low=-half, high=half)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n:,}"

    def signed(self) -> str:
        """The text of a difference: `+0.412 [+0.371, +0.452], n = 600`, signs kept."""
        return f"{self.value:+.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n:,}"
