"""What a project does to its data and with which settings, as data: steps, plans, manifests, and their execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .curation import Curation, Stage, curate
    from .plan import Manifest, Plan, TunedFrom
    from .steps import AugmentStep, DedupStep, FilterStep, InstructStep, RecipeStep, SampleStep, SplitStep, Step

__all__ = [
    "AugmentStep",
    "Curation",
    "DedupStep",
    "FilterStep",
    "InstructStep",
    "Manifest",
    "Plan",
    "RecipeStep",
    "SampleStep",
    "SplitStep",
    "Stage",
    "Step",
    "TunedFrom",
    "curate",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Curation", "Stage", "curate"), ".curation"),
        **dict.fromkeys(("Manifest", "Plan", "TunedFrom"), ".plan"),
        **dict.fromkeys(
            (
                "AugmentStep",
                "DedupStep",
                "FilterStep",
                "InstructStep",
                "RecipeStep",
                "SampleStep",
                "SplitStep",
                "Step",
            ),
            ".steps",
        ),
    },
)
