"""From examples to a tuned Gemini that is provably better than its base.

    from gemini_tuning import TuningProject, Vertex

Everything is imported on first use, so `import gemini_tuning` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_exports

if TYPE_CHECKING:
    from .backend.offline import Offline
    from .backend.vertex import Vertex
    from .display import Bars, save_html
    from .plan.estimate import Estimate
    from .plan.plan import Manifest, Plan
    from .project import AsyncTuningProject, TuningProject
    from .recipes.presets import Recipe
    from .types import Dataset, Example, Finding, Instructions, Location, Progress, TunedModel

__version__ = "0.1.0"

__all__ = [
    "AsyncTuningProject",
    "Bars",
    "Dataset",
    "Estimate",
    "Example",
    "Finding",
    "Instructions",
    "Location",
    "Manifest",
    "Offline",
    "Plan",
    "Progress",
    "Recipe",
    "TunedModel",
    "TuningProject",
    "Vertex",
    "save_html",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AsyncTuningProject": ".project",
        "Bars": ".display",
        "Dataset": ".types",
        "Estimate": ".plan.estimate",
        "Example": ".types",
        "Finding": ".types",
        "Instructions": ".types",
        "Location": ".types",
        "Manifest": ".plan.plan",
        "Offline": ".backend.offline",
        "Plan": ".plan.plan",
        "Progress": ".types",
        "Recipe": ".recipes.presets",
        "TunedModel": ".types",
        "TuningProject": ".project",
        "Vertex": ".backend.vertex",
        "save_html": ".display",
    },
)
