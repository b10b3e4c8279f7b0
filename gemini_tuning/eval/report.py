"""The result of an evaluation: scores with intervals, the rows behind them, what went wrong; and several together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np

from .. import display
from ..errors import PlanError
from ..ledger import digest
from ..types import Finding, Json
from . import _findings
from ._json import read_json, write_json
from ._recommend import Prefer, Recommendation, recommend
from .comparison import Comparison, compare
from .metrics import Classification, classification
from .rows import MARK, EvalRow, Failure, MetricInfo, score
from .score import Score


class Latency(msgspec.Struct, frozen=True):
    """Seconds from sending to the whole answer, over the answered rows."""

    median: float
    p95: float
    mean: float


class Tokens(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Token sums over the answered rows, whether answered now or before; None when the service gave no counts."""

    prompt: int | None = None
    output: int | None = None
    thought: int | None = None

    @property
    def total(self) -> int | None:
        """All tokens, or None when none were counted."""
        known = [count for count in (self.prompt, self.output, self.thought) if count is not None]
        return sum(known) if known else None


class EvalReport(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One model on one set of rows.

    Attributes:
        model: The model or endpoint, as its backend names it.
        simulated: True when the offline simulator answered.
        on: What was evaluated: `test`, `validation`, `train`, `dataset`.
        fingerprint: 64 hex digits over the set of rows asked (origins and references), failed ones included. Two
            reports compare only when theirs are equal.
        metrics: The metrics asked, in order.
        scores: Metric -> score, in the same order; a metric that scored no row is missing and is a finding.
        rows: The answered rows, in the order of the data.
        failures: What kept rows, or one metric of a row, out of the scores.
        findings: What to know before believing the numbers.
        latency: Median, 95th percentile and mean, in seconds.
        tokens: Sums over the answered rows.
        finishes: Finish reason -> rows.
    """

    model: str
    simulated: bool
    on: str
    fingerprint: str
    metrics: tuple[MetricInfo, ...]
    scores: dict[str, Score]
    rows: tuple[EvalRow, ...]
    failures: tuple[Failure, ...] = ()
    findings: tuple[Finding, ...] = ()
    latency: Latency
    tokens: Tokens
    finishes: dict[str, int]

    @classmethod
    def of(
        cls,
        *,
        model: str,
        simulated: bool,
        on: str,
        metrics: Sequence[MetricInfo],
        rows: Sequence[EvalRow],
        failures: Sequence[Failure],
        seed: int = 0,
    ) -> EvalReport:
        """Scores rows that are there already: nothing is generated. At least one row; CPU work only."""
        scores = {info.name: made for info in metrics if (made := score(info, rows, seed=seed)) is not None}
        seconds = np.array([row.latency for row in rows])
        finishes: dict[str, int] = {}
        for row in rows:
            finishes[row.finish] = finishes.get(row.finish, 0) + 1
        lost = [each for each in failures if each.stage == "generate"]
        return cls(
            model=model,
            simulated=simulated,
            on=on,
            fingerprint=_fingerprint([*rows, *lost]),
            metrics=tuple(metrics),
            scores=scores,
            rows=tuple(rows),
            failures=tuple(failures),
            findings=_findings.find(model=model, infos=metrics, rows=rows, failures=failures, scores=scores),
            latency=Latency(
                float(np.median(seconds)), float(np.quantile(seconds, 0.95, method="higher")), float(seconds.mean())
            ),
            tokens=Tokens(
                prompt=_total(row.prompt_tokens for row in rows),
                output=_total(row.output_tokens for row in rows),
                thought=_total(row.thought_tokens for row in rows),
            ),
            finishes=dict(sorted(finishes.items(), key=lambda item: (-item[1], item[0]))),
        )

    @property
    def asked(self) -> int:
        """Rows that were asked, answered or not."""
        return len(self.rows) + sum(each.stage == "generate" for each in self.failures)

    @cached_property
    def classification(self) -> Classification | None:
        """Per-label table, when Accuracy or MacroF1 was asked and rows have references; else None."""
        info = next((each for each in self.metrics if each.spec.get("kind") in ("Accuracy", "MacroF1")), None)
        pairs = [(row.prediction, row.reference) for row in self.rows if row.reference is not None]
        if info is None or not pairs:
            return None
        predictions, references = zip(*pairs, strict=True)
        return classification(predictions, references, ignore_case=bool(info.spec.get("ignore_case")))

    def wrong(self, n: int = 10) -> tuple[EvalRow, ...]:
        """The rows below the best value of the first row metric, lowest first, then as in the data."""
        name = next((info.name for info in self.metrics if info.kind != "macro_f1"), None)
        values = [row.values[name] for row in self.rows if name in row.values] if name else []
        if name is None or not values:
            return ()
        info = next(info for info in self.metrics if info.name == name)
        best = info.bounds[1] if info.bounds else max(values)
        low = [row for row in self.rows if name in row.values and row.values[name] < best]
        return tuple(sorted(low, key=lambda row: row.values[name])[:n])

    def compare(self, before: EvalReport, *, margin: float | None = None) -> Comparison:
        """This report against an earlier one on the same rows; differences are this minus `before`.

        See `gemini_tuning.eval.compare`, which this is.
        """
        return compare(before, self, margin=margin)

    def to_records(self) -> list[dict[str, Json]]:
        """One flat row for each answered row: a column for each metric (None where unscored), and the reasons."""
        records = []
        for row in self.rows:
            record: dict[str, Json] = {
                "origin": row.origin,
                "file": row.where.file,
                "line": row.where.line,
                "input": row.input,
                "reference": row.reference,
                "prediction": row.prediction,
                "finish": row.finish,
                "latency": row.latency,
                "prompt_tokens": row.prompt_tokens,
                "output_tokens": row.output_tokens,
                "thought_tokens": row.thought_tokens,
            }
            for info in self.metrics:
                if info.kind == "macro_f1":
                    continue
                record[info.name] = row.values.get(info.name)
                record[f"{info.name}_unscored"] = row.unscored.get(info.name)
                if info.kind == "judge":
                    record[f"{info.name}_reason"] = row.reasons.get(info.name)
            records.append(record)
        return records

    def to_json(self) -> bytes:
        """Everything, as JSON with a schema number."""
        return write_json("EvalReport", self)

    @classmethod
    def from_json(cls, data: bytes | str) -> EvalReport:
        """The report again; keys that this version does not know are ignored, a newer schema is refused."""
        return read_json("EvalReport", data, cls)

    def _summary(self) -> list[tuple[str, str]]:
        lines = [
            ("rows", f"{len(self.rows):,} answered of {self.asked:,} asked, on {self.on}"),
            ("latency", f"median {self.latency.median:.3g} s, p95 {self.latency.p95:.3g} s"),
        ]
        if self.tokens.total is not None:
            counts = msgspec.structs.asdict(self.tokens)
            told = [f"{count:,} {kind}" for kind, count in counts.items() if count is not None]
            lines.append(("tokens", ", ".join(told)))
        if list(self.finishes) != ["STOP"]:
            lines.append(("finish", ", ".join(f"{count:,} {kind}" for kind, count in self.finishes.items())))
        return lines

    @property
    def heading(self) -> str:
        """What an HTML page calls it."""
        return f"{', '.join(self.scores)} of {display.short_name(self.model)}"

    def __repr__(self) -> str:
        scores = display.table(("metric", "score", "95 % interval", "n"), score_cells(self))
        summary = [f"{name}: {text}" for name, text in self._summary()]
        lines = [MARK] * self.simulated + [
            f"EvalReport of {display.short_name(self.model)}",
            scores,
            *summary,
            *map(str, self.findings),
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [display.paragraph(MARK)] * self.simulated
        head, title = ("metric", "score", "95 % interval", "n"), f"{display.short_name(self.model)} on {self.on}"
        parts.append(display.html_table(head, score_cells(self), caption=title))
        parts += [display.paragraph(f"{name}: {text}") for name, text in self._summary()]
        parts += [display.paragraph(finding) for finding in self.findings]
        table = self.classification
        if table is not None and len(table.labels) <= max(2, table.n // 2):  # free text has no classes to show
            per_class = display.html_table(
                ("label", "precision", "recall", "F1", "rows"),
                [(c.label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", c.support) for c in table.per_class],
            )
            parts.append(display.details(f"{len(table.labels)} labels", per_class))
            confusions = table.confusions()
            if confusions:
                mistakes = display.html_table(("reference", "prediction", "rows"), confusions)
                parts.append(display.details("most frequent confusions", mistakes))
        wrong = self.wrong()
        if wrong:
            shown = [
                tuple(display.shorten(text or "", 200) for text in (row.input, row.reference, row.prediction))
                for row in wrong
            ]
            parts.append(display.details("lowest rows", display.html_table(("input", "reference", "answer"), shown)))
        if self.failures:
            lost = [
                (each.stage, each.metric or "", each.status or each.code, display.shorten(each.message, 200))
                for each in self.failures[:20]
            ]
            failed = display.html_table(("stage", "metric", "code", "message"), lost)
            parts.append(display.details(f"{len(self.failures):,} failures", failed))
        return "".join(parts)


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

    def recommend(self, prefer: Prefer = "quality", *, prices: Mapping[str, float] | None = None) -> Recommendation:
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
        return recommend(self.reports, prefer, prices=prices)

    def to_records(self) -> list[dict[str, Json]]:
        """One flat row for each model and metric."""
        return [
            {
                "model": model,
                "metric": name,
                "value": made.value,
                "low": made.low,
                "high": made.high,
                "n": made.n,
                "latency_median": report.latency.median,
                "latency_p95": report.latency.p95,
                "tokens": report.tokens.total,
                "failures": len(report.failures),
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
                    model,
                    *(cells.get(name, "–") for name in names),
                    f"{len(report.rows):,}",
                    f"{report.latency.median:.3g}",
                    f"{report.latency.p95:.3g}",
                    "–" if tokens is None else f"{tokens:,}",
                    f"{len(report.failures):,}",
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


def score_cells(report: EvalReport) -> list[tuple[str, str, str, str]]:
    """Rows of a score table: metric, value, interval, n; a metric without a score says so."""
    cells = []
    for info in report.metrics:
        made = report.scores.get(info.name)
        if made is None:
            cells.append((info.name, "–", "not scored", "0"))
        else:
            cells.append((info.name, f"{made.value:.3f}", f"[{made.low:.3f}, {made.high:.3f}]", f"{made.n:,}"))
    return cells


def _fingerprint(rows: Sequence[EvalRow | Failure]) -> str:
    """Over the set of rows: the same rows in another order are the same rows."""
    return digest("rows", *sorted(msgspec.json.encode((row.origin, row.reference)) for row in rows))


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
