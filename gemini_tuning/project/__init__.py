"""`TuningProject`: the whole road as one fluent value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .aio import AsyncTuningProject
    from .facade import TuningProject

__all__ = ["AsyncTuningProject", "TuningProject"]

__getattr__, __dir__ = lazy_exports(__name__, {"AsyncTuningProject": ".aio", "TuningProject": ".facade"})
