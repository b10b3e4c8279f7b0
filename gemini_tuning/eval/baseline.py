"""Base models side by side on the same rows, and which one to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from .. import display
from ..errors import ConfigError, PlanError
from ..types import Json
from .comparison import ALPHA, MetricComparison, compare
from .report import EvalReport, read_json, score_cells, write_json
from .rows import MARK
from .statistics import holm

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


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """Several models on the same rows.

    Attributes:
        reports: Model -> report, in the order asked.
    """

    reports: dict[str, EvalReport]

    @classmethod
    def of(cls, reports: Sequence[EvalReport]) -> Baseline:
        """The reports by their model's name; PlanError for none, for one model twice, for different rows."""
        if not reports:
            raise PlanError.bad_value("baseline", "models", (), "at least one model")
        by_model = {report.model: report for report in reports}
        if len(by_model) < len(reports):
            raise PlanError.bad_value("baseline", "models", [report.model for report in reports], "each model once")
        if len({(report.fingerprint, report.simulated) for report in reports}) > 1:
            raise PlanError.bad_value("baseline", "models", list(by_model), "reports of the same rows and backend")
        return cls(reports=by_model)

    @property
    def simulated(self) -> bool:
        """True when the offline simulator answered."""
        return any(report.simulated for report in self.reports.values())

    def recommend(
        self, prefer: Prefer = "quality", *, prices: Mapping[str, float] | None = None
    ) -> Recommendation:
        """The model to start from, by the first metric asked.

        Args:
            prefer: `quality`: the best score; `why` names faster models that cannot be told from it. `latency`: the
                lowest median among the best and those not significantly worse. `cost`: the lowest price for these
                rows among the same.
            prices: Model -> USD per million tokens, input and output alike; needed for `cost`.

        Others are compared with the best in pairs, Holm-adjusted. "Not significantly worse" is not "equally good":
        `why` gives the difference with its interval. Equal scores go to the lower median latency, then to the order
        asked.

        Raises:
            ConfigError: `cost` without prices for all models, or without token counts.
            PlanError: The first metric has no score for any model.
        """
        name = next(iter(self.reports.values())).metrics[0].name
        scored = [report for report in self.reports.values() if name in report.scores]
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
            bills = {report.model: _bill(report, prices) for report in self.reports.values()}
            chosen = min([best, *alike], key=lambda report: bills[report.model])
            what = f"lowest price for these rows, {bills[chosen.model]:.4g} USD,"
        else:
            raise PlanError.bad_value("recommend", "prefer", prefer, "'quality', 'latency' or 'cost'")
        if chosen is best:
            why = f"{what} and the best {name}, {best.scores[name]}."
        else:
            why = f"{what} among the models not significantly below the best; {_gap(name, best, pairs[chosen.model])}."
        return Recommendation(model=chosen.model, why=why, prefer=prefer)

    def to_records(self) -> list[dict[str, Json]]:
        """One flat row for each model and metric."""
        return [
            {
                "model": model, "metric": name, "value": made.value, "low": made.low, "high": made.high, "n": made.n,
                "latency_median": report.latency.median, "latency_p95": report.latency.p95,
                "tokens": report.tokens.total, "failures": len(report.failures),
            }
            for model, report in self.reports.items()
            for name, made in report.scores.items()
        ]

    def to_json(self) -> bytes:
        """Everything, as JSON with a schema number."""
        return write_json("Baseline", self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Baseline:
        """The baseline again; unknown keys are ignored, a newer schema is refused."""
        return read_json("Baseline", data, cls)

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        names = list(dict.fromkeys(info.name for report in self.reports.values() for info in report.metrics))
        rows = []
        for model, report in self.reports.items():
            cells = {cell[0]: f"{cell[1]} {cell[2]}" for cell in score_cells(report)}
            tokens = report.tokens.total
            rows.append(
                (
                    model, *(cells.get(name, "–") for name in names), f"{len(report.rows):,}",
                    f"{report.latency.median:.3g}", f"{report.latency.p95:.3g}",
                    "–" if tokens is None else f"{tokens:,}", f"{len(report.failures):,}",
                )
            )
        return ("model", *names, "rows", "median s", "p95 s", "tokens", "failures"), rows

    def __repr__(self) -> str:
        findings = [f"{model}: {finding}" for model, report in self.reports.items() for finding in report.findings]
        return "\n".join([MARK] * self.simulated + [display.table(*self._table()), *findings])

    def _repr_html_(self) -> str:
        parts = [display.paragraph(MARK)] * self.simulated + [display.html_table(*self._table(), caption="base models")]
        parts += [display.details(model, report._repr_html_()) for model, report in self.reports.items()]
        return "".join(parts)


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
