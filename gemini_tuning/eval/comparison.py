"""Is the one model better than the other? Paired differences on the same rows, and a verdict that says when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from .. import display
from ..errors import PlanError
from ..types import Finding, Json, Location
from ._findings import TOO_MANY
from ._json import read_json, write_json
from ._pairs import Difference, Item, Sample, match
from .rows import MARK, EvalRow, Failure, MetricInfo, labels_of, score
from .score import Score
from .statistics import holm, mcnemar, minimum_detectable, needed_n

if TYPE_CHECKING:
    from .report import EvalReport

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]

ALPHA = 0.05
FEW_PAIRS = 30


class MetricComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One metric on both sides.

    Attributes:
        before: Score before, over the pairs.
        after: Score after, over the same pairs.
        difference: After minus before, paired; its n is the number of pairs.
        p_value: Two-sided, of this metric alone.
        p_adjusted: The same after Holm's correction for all metrics of the comparison.
        test: How it was tested.
        margin: The margin in the metric's own unit, or None.
        lost: Rows that lack this metric on one side or both.
        worst_case: Lowest and highest mean difference that the lost rows allow, or None when the metric has no
            known range; equal to the value when none are lost.
        verdict: Of this metric alone, by the rule in `compare`.
    """

    name: str
    before: Score
    after: Score
    difference: Score
    p_value: float
    p_adjusted: float
    test: str
    margin: float | None
    lost: int
    worst_case: tuple[float, float] | None
    verdict: Verdict


class RowPair(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row whose value changed; `before` and `after` are the answers."""

    origin: str
    input: str
    before: str
    after: str
    difference: float
    reference: str | None = None
    where: Location = Location()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two models on the same rows; every difference is after minus before.

    Attributes:
        before: Model before.
        after: Model after.
        simulated: True when the offline simulator answered (on both sides: the mix is refused).
        on: What was evaluated.
        fingerprint: The rows, as in `EvalReport`.
        margin: What counts as too small to matter, as a share of each metric's range; None for not said.
        metrics: Metric -> comparison, in the order of `after`.
        pairs: Rows answered on both sides.
        counted: The metric that wins, losses and ties are counted on: the first with a value for each row.
        wins: Rows better after.
        losses: Rows worse after.
        ties: Rows equal.
        verdict: Of the whole, by the rule in `compare`.
        minimum_detectable: The smallest difference of the first metric that so many pairs, as alike as these, show
            with 80 % power; in the metric's unit.
        needed_n: Pairs that would show the margin (without one: the difference seen) with 80 % power; None when
            there is no difference to show. A difference that was seen is on average an overestimate: take more.
        findings: What to know before believing the verdict.
        won_rows: The rows better after, largest change first.
        lost_rows: The rows worse after, largest change first.
    """

    before: str
    after: str
    simulated: bool
    on: str
    fingerprint: str
    margin: float | None
    metrics: dict[str, MetricComparison]
    pairs: int
    counted: str
    wins: int
    losses: int
    ties: int
    verdict: Verdict
    minimum_detectable: float
    needed_n: int | None
    findings: tuple[Finding, ...] = ()
    won_rows: tuple[RowPair, ...] = ()
    lost_rows: tuple[RowPair, ...] = ()

    def won(self, n: int = 10) -> tuple[RowPair, ...]:
        """Up to n rows that got better, largest change first."""
        return self.won_rows[:n]

    def lost(self, n: int = 10) -> tuple[RowPair, ...]:
        """Up to n rows that got worse, largest change first: read these before shipping."""
        return self.lost_rows[:n]

    @property
    def decisive(self) -> MetricComparison:
        """The first metric whose own verdict is the overall one, else the first."""
        all_ = list(self.metrics.values())
        return next((each for each in all_ if each.verdict == self.verdict), all_[0])

    def to_records(self) -> list[dict[str, Json]]:
        """One flat row for each metric."""
        return [
            {
                "metric": each.name,
                "before": each.before.value,
                "after": each.after.value,
                "difference": each.difference.value,
                "low": each.difference.low,
                "high": each.difference.high,
                "n": each.difference.n,
                "p_value": each.p_value,
                "p_adjusted": each.p_adjusted,
                "test": each.test,
                "margin": each.margin,
                "lost": each.lost,
                "verdict": each.verdict,
            }
            for each in self.metrics.values()
        ]

    def to_json(self) -> bytes:
        """Everything, as JSON with a schema number."""
        return write_json("Comparison", self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Comparison:
        """The comparison again; unknown keys are ignored, a newer schema is refused."""
        return read_json("Comparison", data, cls)

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        head = ("metric", "before", "after", "difference", "95 % interval", "p (Holm)", "verdict")
        return head, [
            (
                each.name,
                f"{each.before.value:.3f}",
                f"{each.after.value:.3f}",
                f"{each.difference.value:+.3f}",
                f"[{each.difference.low:.3f}, {each.difference.high:.3f}]",
                "< 0.001" if each.p_adjusted < 0.001 else f"{each.p_adjusted:.3f}",
                each.verdict,
            )
            for each in self.metrics.values()
        ]

    def _lines(self) -> list[str]:
        needed = (
            ""
            if self.needed_n is None
            else (f"; {'the margin' if self.margin is not None else 'the difference seen'} needs {self.needed_n:,}")
        )
        return [
            f"rows by {self.counted}: {self.wins:,} better, {self.losses:,} worse, {self.ties:,} equal",
            f"{self.pairs:,} pairs show a difference of {self.minimum_detectable:.3f} with 80 % power{needed}",
            *map(str, self.findings),
        ]

    def _last_line(self) -> str:
        return f"verdict: {self.verdict} ({self.decisive.name} {self.decisive.difference.signed()})"

    def __repr__(self) -> str:
        after, before = display.short_name(self.after), display.short_name(self.before)
        title = f"Comparison of {after} with {before} on {self.on}"
        lines = [MARK] * self.simulated + [title, display.table(*self._table()), *self._lines(), self._last_line()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [display.paragraph(MARK)] * self.simulated
        after, before = display.short_name(self.after), display.short_name(self.before)
        parts.append(display.html_table(*self._table(), caption=f"{after} against {before} on {self.on}"))
        parts += [display.paragraph(line) for line in (*self._lines(), self._last_line())]
        for title, count, rows in (("got worse", self.losses, self.lost()), ("got better", self.wins, self.won())):
            if rows:
                cells = [
                    tuple(display.shorten(text or "", 200) for text in texts)
                    for texts in ((row.input, row.reference, row.before, row.after) for row in rows)
                ]
                shown = display.html_table(("input", "reference", "before", "after"), cells)
                parts.append(display.details(f"{count:,} rows {title}", shown))
        return "".join(parts)


def compare(before: EvalReport, after: EvalReport, *, margin: float | None = None) -> Comparison:
    """Compares two models on the same rows: for each metric after minus before, paired, with interval and test.

    Args:
        before: The report to beat.
        after: The report of the candidate.
        margin: The difference that is too small to matter, as a share of each metric's range: 0.02 is two points of
            accuracy, and 0.08 of a grade on a scale from 1 to 5. For functions with values other than 0 and 1, whose
            range nobody knows, it is in their own unit.

    Tests: right/wrong rows by McNemar's mid-p with Tango's interval; graded rows by sign flips with a BCa bootstrap;
    macro-F1 by swapping the two predictions within rows, with a paired bootstrap. p-values are Holm-adjusted over the
    metrics. A metric asked on one side only, or with other arguments or another judge, is left out with a finding.

    The verdict of a metric:

    1. with a margin, `equivalent` when the whole 95 % interval lies within (-margin, margin), even if it excludes 0:
       significant and too small to matter;
    2. else `better` (`worse`) when the adjusted p is below 0.05 and the whole interval is above (below) 0; a margin
       does not ask for more than that;
    3. else `inconclusive`. Without a margin never `equivalent`: not seeing a difference is no proof of none;
    4. `inconclusive` whatever the above says when significantly more rows were lost on one side than on the other
       (McNemar's mid-p below 0.05 on the rows lost on one side only), or when more than 2 % of the pairs are lost and
       the verdict does not hold with every lost value filled in as badly for it as can be.

    The verdict of the whole: `worse` if any metric is worse; `better` if at least one is better and none worse;
    `equivalent` if all are; else `inconclusive`. Comparing the other way round gives the mirror image, exactly.

    Raises:
        PlanError: One side is simulated and the other real; the rows differ; no metric or no scored row in common; a
            margin of 0 or less.
    """
    if margin is not None and not 0 < margin < 1:
        expected = "a share of the metric's range between 0 and 1, such as 0.02, or None"
        raise PlanError.bad_value("compare", "margin", margin, expected)
    _check_same(before, after)
    items = _items(before, after)
    infos, findings = _shared(before, after)
    samples = [(info, Sample.of(info, items)) for info in infos]
    usable = [(info, sample, pairs) for info, sample in samples if (pairs := sample.complete()).before]
    findings += [_nothing(info) for info, sample in samples if not sample.complete().before]
    if not usable:
        msg = "no row is scored on both sides by any metric, so there is nothing to compare."
        raise PlanError(msg, hint="look at the failures and findings of both reports.", code="compare-metrics")
    found = [pairs.difference() for _, _, pairs in usable]
    adjusted = holm([each.p for each in found])
    answered = [(item.before, item.after) for item in items if item.before is not None and item.after is not None]
    metrics = {}
    for (info, sample, pairs), made, p in zip(usable, found, adjusted, strict=True):
        metrics[info.name], more = _one(info, sample, pairs, made, p, margin, answered)
        findings += more
    counted, won, lost, ties = _changes(infos, answered)
    info, sample, pairs = usable[0]
    n = len(pairs.before)
    if n < FEW_PAIRS:
        findings.append(
            Finding(
                code="compare-few",
                severity="warning",
                message=f"{n} pairs: intervals of so few rows are rough, and only large differences show.",
                hint=f"evaluate at least {FEW_PAIRS} rows, better some hundreds.",
                count=n,
            )
        )
    leaks = [each for report in (before, after) for each in report.findings if each.code == "eval-trained-on"]
    findings = [*leaks, *findings]
    verdict = overall([each.verdict for each in metrics.values()])
    if leaks and verdict in ("better", "equivalent"):
        verdict = "inconclusive"  # a model that has seen the rows proves nothing by answering them
    effect = (margin if margin is not None else abs(found[0].score.value)) / (
        1.0 if margin is not None and sample.bounds else pairs.reach
    )
    return Comparison(
        before=before.model,
        after=after.model,
        simulated=after.simulated,
        on=after.on,
        fingerprint=after.fingerprint,
        margin=margin,
        metrics=metrics,
        pairs=len(answered),
        counted=counted,
        wins=len(won),
        losses=len(lost),
        ties=ties,
        verdict=verdict,
        minimum_detectable=pairs.reach * minimum_detectable(n, discordant=found[0].variance),
        needed_n=needed_n(min(1.0, effect), discordant=found[0].variance) if effect > 0 else None,
        findings=tuple(findings),
        won_rows=tuple(won),
        lost_rows=tuple(lost),
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of the whole from those of the metrics; the rule is in `compare`."""
    if "worse" in verdicts:
        return "worse"
    if "better" in verdicts:
        return "better"
    return "equivalent" if verdicts and set(verdicts) == {"equivalent"} else "inconclusive"


def _check_same(before: EvalReport, after: EvalReport) -> None:
    if before.simulated != after.simulated:
        offline, real = (before, after) if before.simulated else (after, before)
        msg = f"{offline.model} was simulated offline and {real.model} was not: their difference means nothing."
        raise PlanError(msg, hint="evaluate both on the same backend.", code="compare-simulated")
    if before.fingerprint != after.fingerprint:
        msg = (
            f"the reports are of different rows: {before.asked:,} on {before.on} ({before.fingerprint[:12]}) and "
            f"{after.asked:,} on {after.on} ({after.fingerprint[:12]})."
        )
        raise PlanError(msg, hint="evaluate both models on the same data with the same limit=.", code="compare-rows")


def _items(before: EvalReport, after: EvalReport) -> list[Item]:
    sides: list[list[EvalRow | Failure]] = [
        [*report.rows, *(each for each in report.failures if each.stage == "generate")] for report in (before, after)
    ]
    return [
        Item(new.reference, old if isinstance(old, EvalRow) else None, new if isinstance(new, EvalRow) else None)
        for old, new in match(*sides)
    ]


def _shared(before: EvalReport, after: EvalReport) -> tuple[list[MetricInfo], list[Finding]]:
    old = {info.name: info for info in before.metrics}
    new = {info.name: info for info in after.metrics}
    shared, findings = [], []
    for name in dict.fromkeys([*new, *old]):
        if name in old and name in new and old[name].same == new[name].same:
            shared.append(new[name])
            continue
        why = (
            "was asked on one side only"
            if name not in old or name not in new
            else ("is not the same on both sides (other arguments, another source or another judge)")
        )
        findings.append(
            Finding(code="compare-metric", severity="note", message=f"{name} {why} and is not compared.", count=1)
        )
    if not shared:
        msg = f"no metric in common: {', '.join(old)} before, {', '.join(new)} after."
        raise PlanError(msg, hint="evaluate both models with the same metrics.", code="compare-metrics")
    return shared, findings


def _nothing(info: MetricInfo) -> Finding:
    return Finding(
        code="compare-unscored",
        severity="warning",
        count=1,
        message=f"{info.name} scored no row on both sides and is not compared.",
    )


def _one(
    info: MetricInfo,
    sample: Sample,
    pairs: Sample,
    made: Difference,
    p: float,
    margin: float | None,
    answered: Sequence[tuple[EvalRow, EvalRow]],
) -> tuple[MetricComparison, list[Finding]]:
    reach = margin * (pairs.reach if sample.bounds or info.kind == "macro_f1" else 1.0) if margin is not None else None
    verdict = _rule(made.score, p, reach)
    worst: tuple[float, float] | None = (made.score.value, made.score.value)
    findings = []
    if sample.lost:
        filled = sample.worst_case(against_after=True), sample.worst_case(against_after=False)
        ends = [each.difference(test=False).score for each in filled if each is not None]
        worst = (ends[0].value, ends[1].value) if ends else None
        share, one_sided = sample.lost / len(sample.before), mcnemar(sample.only_before_lost, sample.only_after_lost)
        holds = bool(ends) and _holds(verdict, ends[0], ends[1], reach)
        if one_sided < ALPHA or (share > TOO_MANY and not holds):
            verdict = "inconclusive"
        if one_sided < ALPHA or share > TOO_MANY:
            findings.append(_missing(info, sample, share, one_sided < ALPHA, worst, holds))
    rows = [pair for pair in answered if _scored(info, pair)]
    old, new = score(info, [pair[0] for pair in rows]), score(info, [pair[1] for pair in rows])
    assert old is not None
    assert new is not None
    return MetricComparison(
        name=info.name,
        before=old,
        after=new,
        difference=made.score,
        p_value=made.p,
        p_adjusted=p,
        test=made.test,
        margin=reach,
        lost=sample.lost,
        worst_case=worst,
        verdict=verdict,
    ), findings


def _scored(info: MetricInfo, pair: tuple[EvalRow, EvalRow]) -> bool:
    if info.kind == "macro_f1":
        return pair[0].reference is not None
    return all(info.name in row.values for row in pair)


def _rule(difference: Score, p: float, margin: float | None) -> Verdict:
    if margin is not None and -margin < difference.low and difference.high < margin:
        return "equivalent"
    if p < ALPHA and difference.low > 0:
        return "better"
    if p < ALPHA and difference.high < 0:
        return "worse"
    return "inconclusive"


def _holds(verdict: Verdict, lowest: Score, highest: Score, margin: float | None) -> bool:
    """Whether the interval says the same however the lost rows would have come out."""
    if verdict == "better":
        return lowest.low > 0
    if verdict == "worse":
        return highest.high < 0
    return verdict == "equivalent" and margin is not None and lowest.low > -margin and highest.high < margin


def _missing(
    info: MetricInfo, sample: Sample, share: float, differential: bool, worst: tuple[float, float] | None, holds: bool
) -> Finding:
    lost = f"{info.name}: {sample.lost:,} of {len(sample.before):,} pairs are lost ({share:.1%})"
    sides = f"{sample.only_before_lost:,} before only, {sample.only_after_lost:,} after only"
    could = "" if worst is None else f"; they could put the difference anywhere in [{worst[0]:.3f}, {worst[1]:.3f}]"
    so = (
        "; significantly more on one side, so there is no verdict"
        if differential
        else "; the verdict holds for every way they could have come out"
        if holds
        else "; the verdict would not hold for every way they could have come out, so there is none"
    )
    return Finding(
        code="compare-missing",
        severity="note" if holds and not differential else "warning",
        message=f"{lost}, {sides}{could}{so}.",
        hint="evaluate again: only the missing rows are sent.",
        count=sample.lost,
        details={"metric": info.name, "share": share, "differential": differential},
    )


def _changes(
    infos: Sequence[MetricInfo], answered: Sequence[tuple[EvalRow, EvalRow]]
) -> tuple[str, list[RowPair], list[RowPair], int]:
    """Rows better, worse and equal by the first metric with a value for each row; else by label."""
    info = next((each for each in infos if each.kind != "macro_f1"), None)
    value: Callable[[EvalRow], float | None]
    if info is not None:
        name = info.name

        def value(row: EvalRow) -> float | None:
            return row.values.get(name)
    else:
        name, info = "label", infos[0]

        def value(row: EvalRow) -> float | None:
            if row.reference is None:
                return None
            given, wanted = labels_of(infos[0], [row.prediction, row.reference])
            return float(given == wanted)

    won: list[RowPair] = []
    lost: list[RowPair] = []
    ties = 0
    for old, new in answered:
        first, second = value(old), value(new)
        if first is None or second is None:
            continue
        if first == second:
            ties += 1
            continue
        pair = RowPair(
            origin=new.origin,
            input=new.input,
            reference=new.reference,
            before=old.prediction,
            after=new.prediction,
            difference=second - first,
            where=new.where,
        )
        (won if second > first else lost).append(pair)
    # Equal changes in the order of their origins, a hash: files are often sorted by label, and five examples of one
    # label would say little.
    won.sort(key=lambda pair: (-pair.difference, pair.origin))
    lost.sort(key=lambda pair: (pair.difference, pair.origin))
    return name, won, lost, ties
