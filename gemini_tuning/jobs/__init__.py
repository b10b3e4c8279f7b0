"""Tuning jobs: bought once, watched, explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .curves import Curves
    from .diagnosis import diagnose
    from .job import AsyncTuningJob, TuningJob
    from .purchase import Order, submit

__all__ = ["AsyncTuningJob", "Curves", "Order", "TuningJob", "diagnose", "submit"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncTuningJob": ".job",
        "Curves": ".curves",
        "Order": ".purchase",
        "TuningJob": ".job",
        "diagnose": ".diagnosis",
        "submit": ".purchase",
    },
)
