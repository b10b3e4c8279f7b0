"""The run verbs for callers with an event loop of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..backend import loop
from ..types import Dataset, TunedModel
from .core import Core, OnProgress, Part

if TYPE_CHECKING:
    from ..eval.metrics import MetricLike
    from ..eval.report import Baseline, EvalReport
    from ..jobs.job import TuningJob
    from ..plan.curation import Curation


class AsyncTuningProject:
    """`project.aio`: the run verbs, awaitable from any event loop; cancelling cancels the work, not a bought job."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def curate(self, *, progress: OnProgress | None = None) -> Curation:
        """As `TuningProject.curate`."""
        return await loop.join(self._core.curate(progress))

    async def baseline(
        self,
        *metrics: MetricLike,
        models: Sequence[str] = (),
        on: Part | Dataset = "validation",
        limit: int | None = None,
        concurrency: int = 8,
        progress: OnProgress | None = None,
    ) -> Baseline:
        """As `TuningProject.baseline`."""
        return await loop.join(self._core.baseline(metrics, models, on, limit, concurrency, progress))

    async def tune(self, *, attempt: int = 1, progress: OnProgress | None = None) -> TuningJob:
        """As `TuningProject.tune`; safe to repeat after a crash."""
        return await loop.join(self._core.tune(attempt, progress))

    async def evaluate(
        self,
        *metrics: MetricLike,
        model: TunedModel | str | None = None,
        on: Part | Dataset = "test",
        limit: int | None = None,
        concurrency: int = 8,
        progress: OnProgress | None = None,
    ) -> EvalReport:
        """As `TuningProject.evaluate`."""
        return await loop.join(self._core.evaluate(metrics, model, on, limit, concurrency, progress))
