"""Data before tuning: read, check, deduplicate, split, augment, instruct, write.

Each function works alone, on files or `Dataset`s, and returns its result with a report of what it did and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .augment import Paraphrase, RareLabels, augment, paraphrase, rare_labels
    from .augment_report import AugmentReport, CallFailure, Rejected
    from .check import Limits, check, check_file
    from .data_report import DataReport, Distribution
    from .dedup import Groups, dedup, dedup_parts, exact_duplicates, near_duplicates
    from .drops import DedupReport, Drop
    from .instruct import instruct
    from .parts import Parts
    from .reading import from_records, read
    from .rows import to_gemini
    from .select import FilterReport, keep, sample
    from .split import SplitReport, split
    from .tokens import estimate_tokens, example_tokens
    from .writing import gemini_lines, write

_HOMES = {
    "AugmentReport": ".augment_report",
    "CallFailure": ".augment_report",
    "DataReport": ".data_report",
    "DedupReport": ".drops",
    "Distribution": ".data_report",
    "Drop": ".drops",
    "FilterReport": ".select",
    "Groups": ".dedup",
    "Limits": ".check",
    "Paraphrase": ".augment",
    "Parts": ".parts",
    "RareLabels": ".augment",
    "Rejected": ".augment_report",
    "SplitReport": ".split",
    "augment": ".augment",
    "check": ".check",
    "check_file": ".check",
    "dedup": ".dedup",
    "dedup_parts": ".dedup",
    "estimate_tokens": ".tokens",
    "exact_duplicates": ".dedup",
    "example_tokens": ".tokens",
    "from_records": ".reading",
    "gemini_lines": ".writing",
    "instruct": ".instruct",
    "keep": ".select",
    "near_duplicates": ".dedup",
    "paraphrase": ".augment",
    "rare_labels": ".augment",
    "read": ".reading",
    "sample": ".select",
    "split": ".split",
    "to_gemini": ".rows",
    "write": ".writing",
}

__all__ = [
    "AugmentReport",
    "CallFailure",
    "DataReport",
    "DedupReport",
    "Distribution",
    "Drop",
    "FilterReport",
    "Groups",
    "Limits",
    "Paraphrase",
    "Parts",
    "RareLabels",
    "Rejected",
    "SplitReport",
    "augment",
    "check",
    "check_file",
    "dedup",
    "dedup_parts",
    "estimate_tokens",
    "exact_duplicates",
    "example_tokens",
    "from_records",
    "gemini_lines",
    "instruct",
    "keep",
    "near_duplicates",
    "paraphrase",
    "rare_labels",
    "read",
    "sample",
    "split",
    "to_gemini",
    "write",
]

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
