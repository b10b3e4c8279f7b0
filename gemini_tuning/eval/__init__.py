"""Evaluation: metrics, a model as judge, reports with intervals, paired comparisons with a verdict.

from gemini_tuning.eval import Accuracy, Judge, MacroF1, compare, evaluate

before = evaluate(dataset, [Accuracy(), MacroF1()], base_caller)
after = evaluate(dataset, [Accuracy(), MacroF1()], tuned_caller)
compare(before, after, margin=0.02).verdict
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from ._recommend import Recommendation
    from .comparison import Comparison, MetricComparison, RowPair, compare
    from .judge import Judge
    from .metrics import Accuracy, Classification, ClassScores, MacroF1, MetricLike, classification
    from .report import Baseline, EvalReport, Latency, Tokens
    from .rows import EvalRow, Failure, MetricInfo
    from .runner import evaluate, evaluate_async
    from .score import Score

# A module and a function of one name would hide each other here: `compare` lives in `.comparison`.
_HOMES = {
    "Accuracy": ".metrics",
    "Baseline": ".report",
    "ClassScores": ".metrics",
    "Classification": ".metrics",
    "Comparison": ".comparison",
    "EvalReport": ".report",
    "EvalRow": ".rows",
    "Failure": ".rows",
    "Judge": ".judge",
    "Latency": ".report",
    "MacroF1": ".metrics",
    "MetricComparison": ".comparison",
    "MetricInfo": ".rows",
    "MetricLike": ".metrics",
    "Recommendation": "._recommend",
    "RowPair": ".comparison",
    "Score": ".score",
    "Tokens": ".report",
    "classification": ".metrics",
    "compare": ".comparison",
    "evaluate": ".runner",
    "evaluate_async": ".runner",
}

__all__ = [
    "Accuracy",
    "Baseline",
    "ClassScores",
    "Classification",
    "Comparison",
    "EvalReport",
    "EvalRow",
    "Failure",
    "Judge",
    "Latency",
    "MacroF1",
    "MetricComparison",
    "MetricInfo",
    "MetricLike",
    "Recommendation",
    "RowPair",
    "Score",
    "Tokens",
    "classification",
    "compare",
    "evaluate",
    "evaluate_async",
]

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
