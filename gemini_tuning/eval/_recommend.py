"""Which of several models to start from, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from ..errors import ConfigError, PlanError
from .comparison import ALPHA, compare
from .score import Score
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
    reports: Mapping[str, EvalReport], prefer: Prefer, *, prices: Mapping[str, float] | None = None
) -> Recommendation:
    """What `Baseline.recommend` documents, for at least one report."""
    if prefer not in ("quality", "latency", "cost"):
        raise PlanError.bad_value("recommend", "prefer", prefer, "'quality', 'latency' or 'cost'")
    metric = next(iter(reports.values())).metrics[0].name
    scored = [model for model, report in reports.items() if metric in report.scores]
    if not scored:
        msg = f"{metric} has no score for any model."
        raise PlanError(msg, hint="look at the findings of the reports.", code="baseline-unscored")
    speed = {model: report.latency.median for model, report in reports.items()}
    # Of equal ones the first named: measured speed differs from run to run, and advice should not.
    best = max(scored, key=lambda model: reports[model].scores[metric].value)
    gaps = _gaps(metric, best, {model: reports[model] for model in scored})
    standing = f"best {metric}, {reports[best].scores[metric]}"
    if prefer == "quality":
        why = standing
        for other in gaps:
            if speed[other] < speed[best]:
                why += (
                    f"; but {other} answers in {speed[other]:.3g} s instead of {speed[best]:.3g} s, and the difference "
                    f"to it is inconclusive ({gaps[other].signed()})"
                )
            else:
                why += f"; the difference to {other}, which is no faster, is inconclusive ({gaps[other].signed()})"
        return Recommendation(model=best, why=f"{why}.", prefer=prefer)
    if prefer == "latency":
        chosen = min([best, *gaps], key=lambda model: speed[model])
        what = f"lowest median latency, {speed[chosen]:.3g} s"
    else:
        bills = {model: _bill(model, reports[model], prices) for model in reports}
        chosen = min([best, *gaps], key=lambda model: bills[model])
        what = f"lowest price for these rows, {bills[chosen]:.4g} USD"
    if chosen == best:
        return Recommendation(model=best, why=f"{what}, and the {standing}.", prefer=prefer)
    why = (
        f"{what}, among the models not significantly below the best; {best} is {gaps[chosen].signed()} above it in "
        f"{metric}, which may be chance."
    )
    return Recommendation(model=chosen, why=why, prefer=prefer)


def _gaps(metric: str, best: str, reports: Mapping[str, EvalReport]) -> dict[str, Score]:
    """The models that are not significantly below the best, with the best's lead over each; Holm over all of them."""
    pairs = {
        model: found
        for model, report in reports.items()
        if model != best and (found := compare(report, reports[best]).metrics.get(metric)) is not None
    }
    adjusted = dict(zip(pairs, holm([pair.p_value for pair in pairs.values()]), strict=True))
    return {
        model: pair.difference
        for model, pair in pairs.items()
        if not (adjusted[model] < ALPHA and pair.difference.low > 0)
    }


def _bill(model: str, report: EvalReport, prices: Mapping[str, float] | None) -> float:
    price = (prices or {}).get(model)
    if price is None:
        msg = f"no price for {model}; prices are known for {', '.join(prices or {}) or '(none)'}."
        raise ConfigError(msg, hint="prices={'model': USD per million tokens} for each model.", code="config-price")
    if report.tokens.total is None:
        msg = f"the service gave no token counts for {model}, so its cost is not known."
        raise ConfigError(msg, hint="prefer='latency' or 'quality'.", code="config-price")
    return price * report.tokens.total / 1e6
