"""Data before tuning: read, check, repair, redact, deduplicate, split, augment, instruct, write.

Each function works alone, on files or `Dataset`s, and returns its result with a report of what it did and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .augment import Paraphrase, RareLabels, augment, paraphrase, rare_labels
    from .augment_report import AugmentReport, CallFailure, Rejected
    from .checks.check import Limits, check, check_file
    from .checks.report import Cluster, DataReport, Distribution, Diversity
    from .files.reading import from_records, read
    from .formats.openai_lines import to_openai
    from .formats.rows import to_gemini
    from .formats.writing import gemini_lines, to_dataframe, write
    from .instruct import instruct
    from .learning.label_errors import LabelSuspects, label_suspects
    from .learning.learning_curve import LearningCurve, learning_curve
    from .mending.repair import fixable, repair
    from .mending.report import Change, RepairReport
    from .parts import Parts
    from .private.detectors import Detector, Presidio, presidio
    from .private.finding import find_personal
    from .private.redact import redact
    from .private.report import RedactReport
    from .scripts import language_of
    from .select import FilterReport, keep, sample
    from .similar.dedup import Groups, dedup, dedup_parts, exact_duplicates, near_duplicates
    from .similar.drops import DedupReport, Drop
    from .split import SplitReport, split
    from .tokens import estimate_tokens, example_tokens
    from .transcript import Preview, Transcript, transcript

_HOMES = {
    "AugmentReport": ".augment_report",
    "CallFailure": ".augment_report",
    "Change": ".mending.report",
    "Cluster": ".checks.report",
    "DataReport": ".checks.report",
    "DedupReport": ".similar.drops",
    "Detector": ".private.detectors",
    "Distribution": ".checks.report",
    "Diversity": ".checks.report",
    "Drop": ".similar.drops",
    "FilterReport": ".select",
    "Groups": ".similar.dedup",
    "LabelSuspects": ".learning.label_errors",
    "LearningCurve": ".learning.learning_curve",
    "Limits": ".checks.check",
    "Paraphrase": ".augment",
    "Parts": ".parts",
    "Presidio": ".private.detectors",
    "Preview": ".transcript",
    "RareLabels": ".augment",
    "RedactReport": ".private.report",
    "Rejected": ".augment_report",
    "RepairReport": ".mending.report",
    "SplitReport": ".split",
    "Transcript": ".transcript",
    "augment": ".augment",
    "check": ".checks.check",
    "check_file": ".checks.check",
    "dedup": ".similar.dedup",
    "dedup_parts": ".similar.dedup",
    "estimate_tokens": ".tokens",
    "exact_duplicates": ".similar.dedup",
    "example_tokens": ".tokens",
    "find_personal": ".private.finding",
    "fixable": ".mending.repair",
    "from_records": ".files.reading",
    "gemini_lines": ".formats.writing",
    "instruct": ".instruct",
    "keep": ".select",
    "label_suspects": ".learning.label_errors",
    "language_of": ".scripts",
    "learning_curve": ".learning.learning_curve",
    "near_duplicates": ".similar.dedup",
    "paraphrase": ".augment",
    "presidio": ".private.detectors",
    "rare_labels": ".augment",
    "read": ".files.reading",
    "redact": ".private.redact",
    "repair": ".mending.repair",
    "sample": ".select",
    "split": ".split",
    "to_dataframe": ".formats.writing",
    "to_gemini": ".formats.rows",
    "to_openai": ".formats.openai_lines",
    "transcript": ".transcript",
    "write": ".formats.writing",
}

__all__ = [
    "AugmentReport",
    "CallFailure",
    "Change",
    "Cluster",
    "DataReport",
    "DedupReport",
    "Detector",
    "Distribution",
    "Diversity",
    "Drop",
    "FilterReport",
    "Groups",
    "LabelSuspects",
    "LearningCurve",
    "Limits",
    "Paraphrase",
    "Parts",
    "Presidio",
    "Preview",
    "RareLabels",
    "RedactReport",
    "Rejected",
    "RepairReport",
    "SplitReport",
    "Transcript",
    "augment",
    "check",
    "check_file",
    "dedup",
    "dedup_parts",
    "estimate_tokens",
    "exact_duplicates",
    "example_tokens",
    "find_personal",
    "fixable",
    "from_records",
    "gemini_lines",
    "instruct",
    "keep",
    "label_suspects",
    "language_of",
    "learning_curve",
    "near_duplicates",
    "paraphrase",
    "presidio",
    "rare_labels",
    "read",
    "redact",
    "repair",
    "sample",
    "split",
    "to_dataframe",
    "to_gemini",
    "to_openai",
    "transcript",
    "write",
]

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
