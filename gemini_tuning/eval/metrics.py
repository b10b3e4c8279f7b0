"""What an answer is worth: row metrics, macro-F1, and the classification table.

A row metric is a callable `metric(prediction, reference) -> float | bool`; any plain function will do. A corpus
metric is called with all predictions and all references.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass

import msgspec
import numpy as np

from .._functions import function_hash, function_name
from ..errors import PlanError
from ..types import Json
from ._macro_f1 import encode, macro_f1
from .judge import Judge

RowFunction = Callable[[str, str], float | bool]
"""A plain function as a metric: (prediction, reference) -> value. Its name is the metric's name."""

OTHER = "(other)"
"""Heading of the column for predictions that are no label of the references."""


def normalise(text: str, *, ignore_case: bool = False) -> str:
    """White space around the text goes; with `ignore_case` it is case-folded. Nothing else is touched."""
    return text.strip().casefold() if ignore_case else text.strip()


@dataclass(frozen=True)
class Accuracy:
    """Exact match: is the prediction the reference, white space around both aside?

    Inner white space, punctuation, quotes, units and Unicode form count: `60%` is not `60`, `"refund"` is not
    `refund`, `Refund` is `refund` only with `ignore_case=True` (case-folded: `STRASSE` is then `straße`). An empty
    answer is wrong unless the reference is empty too. Strict on purpose: a program that reads the answer is strict,
    and what a looser match hides (a chatty base model) is what tuning repairs; the report says when wrong answers
    contain the right one.
    """

    _: KW_ONLY
    ignore_case: bool = False
    name: str = "accuracy"

    def __call__(self, prediction: str, reference: str) -> bool:
        """True for a match."""
        return normalise(prediction, ignore_case=self.ignore_case) == normalise(reference, ignore_case=self.ignore_case)

    def spec(self) -> dict[str, Json]:
        """What the metric is, for records and keys."""
        return {"kind": "Accuracy", "name": self.name, "version": 1, "ignore_case": self.ignore_case}


@dataclass(frozen=True)
class MacroF1:
    """The mean of F1 over the labels that occur in the references, every label with the same weight.

    Labels are compared as in `Accuracy`. A label that is never predicted right has F1 0.0. A prediction that is no
    reference label is a miss for its own row's label and no label of its own: that is scikit-learn's
    `f1_score(..., average="macro", labels=sorted(set(references)), zero_division=0)`. (Scikit-learn's default takes
    the union with the predicted labels, so each new wrong word that a base model invents would lower the mean once
    more, and two models would be averaged over different labels.)
    """

    _: KW_ONLY
    ignore_case: bool = False
    name: str = "macro_f1"

    def __call__(self, predictions: Sequence[str], references: Sequence[str]) -> float:
        """Macro-F1 of all rows, in [0, 1]; PlanError for no rows or sides of different length."""
        labels, truth, (predicted,) = encode(self.normalised(references), self.normalised(predictions))
        return macro_f1(truth, predicted, len(labels))

    def normalised(self, texts: Sequence[str]) -> list[str]:
        """The texts as they are compared."""
        return [normalise(text, ignore_case=self.ignore_case) for text in texts]

    def spec(self) -> dict[str, Json]:
        """What the metric is, for records and keys."""
        return {"kind": "MacroF1", "name": self.name, "version": 1, "ignore_case": self.ignore_case}


class ClassScores(msgspec.Struct, frozen=True):
    """One label: `support` rows have it as reference, `predicted` rows as prediction."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True)
class Classification:
    """Everything that counts of (reference, prediction) say.

    Attributes:
        labels: The labels of the references, sorted; K of them.
        per_class: Precision, recall, F1, support of each label, in the order of `labels`.
        confusion: K rows (reference) of K + 1 counts (prediction); the last column is `(other)`: predictions that
            are no label of the references.
        accuracy: Share of rows on the diagonal.
        macro_f1: Mean F1 over `labels`.
        weighted_f1: The same weighted by support.
        micro_f1: F1 of the pooled counts; equal to accuracy when no prediction is `(other)`.
        n: Rows.
    """

    labels: tuple[str, ...]
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: float
    macro_f1: float
    weighted_f1: float
    micro_f1: float
    n: int

    @property
    def other(self) -> int:
        """Predictions that are no label of the references."""
        return sum(row[-1] for row in self.confusion)

    def confusions(self, n: int = 10) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: (reference, prediction or `(other)`, count), largest first, then by name."""
        heads = (*self.labels, OTHER)
        wrong = [
            (label, heads[at], count)
            for row, label in enumerate(self.labels)
            for at, count in enumerate(self.confusion[row])
            if count and at != row
        ]
        return sorted(wrong, key=lambda each: (-each[2], each[0], each[1]))[:n]


def classification(
    predictions: Sequence[str], references: Sequence[str], *, ignore_case: bool = False
) -> Classification:
    """Counts rows by reference and prediction, labels compared as in `Accuracy`.

    Edge decisions: precision of a label that is never predicted, and F1 of a label that is never predicted right,
    are 0.0 (scikit-learn's `zero_division=0`). Labels are those of the references; see `MacroF1` for why. No rows,
    or sides of different length, raise PlanError.
    """
    clean = functools.partial(normalise, ignore_case=ignore_case)
    labels, truth, (predicted,) = encode([*map(clean, references)], [*map(clean, predictions)])
    k, n = len(labels), len(references)
    confusion = np.bincount(truth * (k + 1) + predicted, minlength=k * (k + 1)).reshape(k, k + 1)
    hits, support, chosen = confusion.diagonal(), confusion.sum(axis=1), confusion[:, :k].sum(axis=0)
    precision = hits / np.maximum(chosen, 1)
    recall = hits / support
    f1 = 2 * hits / (support + chosen)
    return Classification(
        labels=tuple(labels),
        per_class=tuple(
            ClassScores(label, *scores)
            for label, *scores in zip(
                labels, *(column.tolist() for column in (precision, recall, f1, support, chosen)), strict=True
            )
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        accuracy=float(hits.sum() / n),
        macro_f1=float(f1.mean()),
        weighted_f1=float((f1 * support).sum() / n),
        micro_f1=float(2 * hits.sum() / (n + chosen.sum())),
        n=n,
    )


MetricLike = Accuracy | MacroF1 | Judge | RowFunction
"""What `evaluate` takes: the metrics of this package, or any `f(prediction, reference) -> float | bool`."""


def metric_name(metric: MetricLike) -> str:
    """The name under which a metric's scores are reported: its `name`, else the function's."""
    name = getattr(metric, "name", None) or getattr(metric, "__name__", None)
    return name if isinstance(name, str) else type(metric).__name__


def metric_spec(metric: MetricLike) -> dict[str, Json]:
    """What a metric is, for records and keys: its own `spec()`, or a function's `module:qualname` and source hash.

    Nothing is ever pickled; see `_functions` for what the hash covers.
    """
    own = getattr(metric, "spec", None)
    if callable(own):
        described = own()
        if not isinstance(described, dict):
            raise PlanError.bad_value("evaluate", "metrics", metric, "a spec() that returns a dict")
        return described
    return {"kind": "function", "name": function_name(metric), "source": function_hash(metric)}
