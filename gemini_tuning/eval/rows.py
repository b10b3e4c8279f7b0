"""The rows of an evaluation, and the score that a metric makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from ..types import Json, Location
from .metrics import normalise
from .score import Score
from .statistics import macro_f1_interval, mean_interval, wilson

MARK = "simulated: answers of the offline simulator, which say nothing about Gemini"
"""First line of everything that shows offline results."""

NO_REFERENCE = "no reference"


class MetricInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A metric as recorded: enough to score stored rows again, and to tell whether two reports used the same.

    Attributes:
        name: Key in `scores`.
        kind: `row` (value of each row, averaged), `macro_f1` (of all rows), `judge` (grade of each row, averaged).
        spec: Kind, arguments and version of the metric; for a function `module:qualname` and a hash of its source.
        bounds: Lowest and highest possible value, None for a function, whose range nobody knows.
        model: The model that judged, as its backend names it.
    """

    name: str
    kind: Literal["row", "macro_f1", "judge"]
    spec: dict[str, Json]
    bounds: tuple[float, float] | None = None
    model: str | None = None

    @property
    def same(self) -> tuple[object, ...]:
        """What must be equal for two scores to be comparable."""
        return self.kind, msgspec.json.encode(self.spec, order="sorted"), self.model


class EvalRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answered row.

    Attributes:
        origin: `<content hash>#<occurrence>` of the example.
        input: The user's text, without instructions.
        prediction: The answer, `""` when nothing came (`finish` says why).
        reference: The answer wanted, None when the example has none.
        finish: Google's finish reason, or `BLOCKED:<reason>`.
        latency: Seconds.
        values: Metric -> value; a metric that is missing here did not score the row.
        unscored: Metric -> why it did not.
        reasons: Judge -> its reasons, as it wrote them.
        where: Place in the user's data.
    """

    origin: str
    input: str
    prediction: str
    reference: str | None = None
    finish: str = "STOP"
    latency: float = 0.0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    thought_tokens: int | None = None
    values: dict[str, float] = {}
    unscored: dict[str, str] = {}
    reasons: dict[str, str] = {}
    where: Location = Location()

    @property
    def pairing(self) -> tuple[str, str, str | None]:
        """What makes it the same row in two reports; an augmented example shares its parent's origin."""
        return self.origin, self.input, self.reference


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that kept a row, or one metric of it, out of the scores.

    Attributes:
        stage: `generate` (no answer: the row is in no score), `judge` or `metric` (the row lacks this metric).
        metric: The metric, None for `generate`.
        code: The error's code, or its class for an exception from a user's metric.
        status: Google's name for it (`RESOURCE_EXHAUSTED`), where there is one.
        message: The error's text.
    """

    origin: str
    stage: Literal["generate", "judge", "metric"]
    code: str
    message: str
    metric: str | None = None
    status: str = ""
    input: str = ""
    reference: str | None = None
    where: Location = Location()

    @property
    def pairing(self) -> tuple[str, str, str | None]:
        """As in `EvalRow`."""
        return self.origin, self.input, self.reference


def is_binary(info: MetricInfo, values: Sequence[float]) -> bool:
    """Whether the values are right/wrong: 0 and 1 only, from a metric whose scale allows no others in between.

    A judge on 1 to 5 that gives only 1s is not right/wrong.
    """
    return info.bounds in (None, (0.0, 1.0)) and all(value in (0.0, 1.0) for value in values)


def labels_of(info: MetricInfo, texts: Sequence[str]) -> list[str]:
    """Labels as this metric compares them."""
    return [normalise(text, ignore_case=bool(info.spec.get("ignore_case"))) for text in texts]


def score(info: MetricInfo, rows: Sequence[EvalRow], *, seed: int = 0) -> Score | None:
    """A metric's score over the rows that it scored; None when there are none.

    Right/wrong values get Wilson's interval, other values a BCa bootstrap, macro-F1 a bootstrap over its cells.
    """
    if info.kind == "macro_f1":
        pairs = [(row.prediction, row.reference) for row in rows if row.reference is not None]
        if not pairs:
            return None
        predictions, references = zip(*pairs, strict=True)
        return macro_f1_interval(labels_of(info, predictions), labels_of(info, references), seed=seed)
    values = [row.values[info.name] for row in rows if info.name in row.values]
    if not values:
        return None
    if is_binary(info, values):
        return wilson(round(sum(values)), len(values))
    return mean_interval(values, bounds=info.bounds, seed=seed)
