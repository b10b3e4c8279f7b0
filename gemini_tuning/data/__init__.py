"""Data before tuning: read, check, repair, redact, deduplicate, split, augment, instruct, write.

Each function works alone, on files or `Dataset`s, and returns its result with a report of what it did and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .augment import Paraphrase, RareLabels, augment, paraphrase, rare_labels
    from .augment_report import AugmentReport, CallFailure, Rejected
    from .check import Limits, check, check_file
    from .data_report import Cluster, DataReport, Distribution, Diversity
    from .dedup import Groups, dedup, dedup_parts, exact_duplicates, near_duplicates
    from .detectors import Detector, Presidio, presidio
    from .drops import DedupReport, Drop
    from .instruct import instruct
    from .label_errors import LabelSuspects, label_suspects
    from .learning_curve import LearningCurve, learning_curve
    from .openai_lines import to_openai
    from .parts import Parts
    from .personal import find_personal
    from .reading import from_records, read
    from .redact import redact
    from .redact_report import RedactReport
    from .repair import fixable, repair
    from .repair_report import Change, RepairReport
    from .rows import to_gemini
    from .scripts import language_of
    from .select import FilterReport, keep, sample
    from .split import SplitReport, split
    from .tokens import estimate_tokens, example_tokens
    from .transcript import Preview, Transcript, transcript
    from .writing import gemini_lines, to_dataframe, write

_HOMES = {
    "AugmentReport": ".augment_report",
    "CallFailure": ".augment_report",
    "Change": ".repair_report",
    "Cluster": ".data_report",
    "DataReport": ".data_report",
    "DedupReport": ".drops",
    "Detector": ".detectors",
    "Distribution": ".data_report",
    "Diversity": ".data_report",
    "Drop": ".drops",
    "FilterReport": ".select",
    "Groups": ".dedup",
    "LabelSuspects": ".label_errors",
    "LearningCurve": ".learning_curve",
    "Limits": ".check",
    "Paraphrase": ".augment",
    "Parts": ".parts",
    "Presidio": ".detectors",
    "Preview": ".transcript",
    "RareLabels": ".augment",
    "RedactReport": ".redact_report",
    "Rejected": ".augment_report",
    "RepairReport": ".repair_report",
    "SplitReport": ".split",
    "Transcript": ".transcript",
    "augment": ".augment",
    "check": ".check",
    "check_file": ".check",
    "dedup": ".dedup",
    "dedup_parts": ".dedup",
    "estimate_tokens": ".tokens",
    "exact_duplicates": ".dedup",
    "example_tokens": ".tokens",
    "find_personal": ".personal",
    "fixable": ".repair",
    "from_records": ".reading",
    "gemini_lines": ".writing",
    "instruct": ".instruct",
    "keep": ".select",
    "label_suspects": ".label_errors",
    "language_of": ".scripts",
    "learning_curve": ".learning_curve",
    "near_duplicates": ".dedup",
    "paraphrase": ".augment",
    "presidio": ".detectors",
    "rare_labels": ".augment",
    "read": ".reading",
    "redact": ".redact",
    "repair": ".repair",
    "sample": ".select",
    "split": ".split",
    "to_dataframe": ".writing",
    "to_gemini": ".rows",
    "to_openai": ".openai_lines",
    "transcript": ".transcript",
    "write": ".writing",
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
