"""Which of several models to start from, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from ..errors import ConfigError, PlanError
from .comparison import ALPHA, MetricComparison, compare
from .statistics import holm

if TYPE_CHECKING:
    from .report import EvalReport

Prefer = Literal["quality", "latency", "cost"]


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """A model, and why."""

    model: str
    why: str
    prefer: Prefer

    def __str__(self) -> str:
        return self.model

    def __repr__(self) -> str:
        return f"{self.model} (for {self.prefer}): {self.why}"


def recommend(
    reports: Sequence[EvalReport], prefer: Prefer, *, prices: Mapping[str, float] | None = None
) -> Recommendation:
    """What `Baseline.recommend` documents, for at least one report."""
    name = next(iter(reports)).metrics[0].name
    scored = [report for report in reports if name in report.scores]
    if not scored:
        msg = f"{name} has no score for any model."
        raise PlanError(msg, hint="look at the findings of the reports.", code="baseline-unscored")
    best = min(scored, key=lambda report: (-report.scores[name].value, report.latency.median))
    others = [report for report in scored if report is not best]
    pairs = {other.model: compare(other, best).metrics.get(name) for other in others}
    known = [(model, pair) for model, pair in pairs.items() if pair is not None]
    adjusted = dict(zip((model for model, _ in known), holm([pair.p_value for _, pair in known]), strict=True))
    alike = [
        other for other in others
        if (pair := pairs[other.model]) is not None
        and not (adjusted[other.model] < ALPHA and pair.difference.low > 0)
    ]
    if prefer == "quality":
        return _quality(name, best, alike, pairs)
    if prefer == "latency":
        chosen = min([best, *alike], key=lambda report: report.latency.median)
        what = f"lowest median latency, {chosen.latency.median:.3g} s,"
    elif prefer == "cost":
        bills = {report.model: _bill(report, prices) for report in reports}
        chosen = min([best, *alike], key=lambda report: bills[report.model])
        what = f"lowest price for these rows, {bills[chosen.model]:.4g} USD,"
    else:
        raise PlanError.bad_value("recommend", "prefer", prefer, "'quality', 'latency' or 'cost'")
    if chosen is best:
        why = f"{what} and the best {name}, {best.scores[name]}."
    else:
        why = f"{what} among the models not significantly below the best; {_gap(name, best, pairs[chosen.model])}."
    return Recommendation(model=chosen.model, why=why, prefer=prefer)


def _gap(name: str, best: EvalReport, pair: MetricComparison | None) -> str:
    assert pair is not None
    return f"{best.model} is {pair.difference.signed()} in {name} above it, which may be chance"


def _quality(
    name: str, best: EvalReport, alike: Sequence[EvalReport], pairs: Mapping[str, MetricComparison | None]
) -> Recommendation:
    why = f"best {name}, {best.scores[name]}"
    faster = [other for other in alike if other.latency.median < best.latency.median]
    for other in faster:
        pair = pairs[other.model]
        assert pair is not None
        why += (
            f"; but {other.model} answers in {other.latency.median:.3g} s instead of {best.latency.median:.3g} s and "
            f"the difference is inconclusive ({pair.difference.signed()})"
        )
    if alike and not faster:
        why += f"; not told apart from {', '.join(other.model for other in alike)}, and no slower"
    return Recommendation(model=best.model, why=f"{why}.", prefer="quality")


def _bill(report: EvalReport, prices: Mapping[str, float] | None) -> float:
    price = (prices or {}).get(report.model)
    if price is None:
        msg = f"no price for {report.model}; prices are known for {', '.join(prices or {}) or '(none)'}."
        raise ConfigError(msg, hint="prices={'model': USD per million tokens} for each model.", code="config-price")
    if report.tokens.total is None:
        msg = f"the service gave no token counts for {report.model}, so its cost is not known."
        raise ConfigError(msg, hint="prefer='latency' or 'quality'.", code="config-price")
    return price * report.tokens.total / 1e6
