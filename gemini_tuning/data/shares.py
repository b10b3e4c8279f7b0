"""The interval of a share. `eval.statistics` has the full one, which this layer may not import."""

from __future__ import annotations

import math

_Z = 1.959964


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of `k` of `n` (Wilson 1927), within 0 and 1; `n` is 1 or more."""
    middle, spread = (k + _Z * _Z / 2) / (n + _Z * _Z), _Z / (n + _Z * _Z) * math.sqrt(k * (n - k) / n + _Z * _Z / 4)
    return max(0.0, middle - spread), min(1.0, middle + spread)
