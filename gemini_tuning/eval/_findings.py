"""What a reader of an evaluation should know before believing its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..types import Finding, Location
from .judge import family
from .metrics import normalise
from .rows import EvalRow, Failure, MetricInfo
from .score import Score

TOO_MANY = 0.02
"""Share of rows lost, or unscored, above which a score may be of the easy rows only."""

_PLACES = 1_000


def _where(rows: Iterable[EvalRow | Failure]) -> tuple[Location, ...]:
    return tuple(row.where for row, _ in zip(rows, range(_PLACES), strict=False))


def find(
    *,
    model: str,
    infos: Sequence[MetricInfo],
    rows: Sequence[EvalRow],
    failures: Sequence[Failure],
    scores: Mapping[str, Score],
) -> tuple[Finding, ...]:
    """All findings of one evaluation, the most important first."""
    found = [
        *_lost(rows, failures),
        *_metric_errors(failures),
        *_unscored(infos, rows, failures, scores),
        *_no_answer(rows),
        *_predictions(infos, rows, scores),
        *_self_judging(model, infos),
    ]
    order = {"stop": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def _lost(rows: Sequence[EvalRow], failures: Sequence[Failure]) -> list[Finding]:
    lost = [each for each in failures if each.stage == "generate"]
    asked = len(rows) + len(lost)
    if not lost:
        return []
    many = len(lost) / asked > TOO_MANY
    kinds = sorted({each.status or each.code for each in lost})
    return [
        Finding(
            code="eval-failures",
            severity="warning" if many else "note",
            message=f"{len(lost):,} of {asked:,} rows got no answer ({', '.join(kinds)}) and are outside every score.",
            hint="evaluate again: only the missing rows are sent." if many else "",
            where=_where(lost),
            count=len(lost),
            details={"share": len(lost) / asked, "kinds": kinds},
        )
    ]


def _metric_errors(failures: Sequence[Failure]) -> list[Finding]:
    found = []
    for name in dict.fromkeys(each.metric for each in failures if each.stage == "metric"):
        broken = [each for each in failures if each.stage == "metric" and each.metric == name]
        found.append(
            Finding(
                code="eval-metric-error",
                severity="warning",
                message=f"the metric {name!r} failed on {len(broken):,} rows, first with {broken[0].code}: "
                f"{broken[0].message}",
                hint="these rows are outside its score; call the metric on one of them to see the error.",
                where=_where(broken),
                count=len(broken),
                details={"metric": name},
            )
        )
    return found


def _unscored(
    infos: Sequence[MetricInfo], rows: Sequence[EvalRow], failures: Sequence[Failure], scores: Mapping[str, Score]
) -> list[Finding]:
    found = []
    for info in infos:
        without = [row for row in rows if info.name in row.unscored]
        reasons: dict[str, int] = {}
        for row in without:
            reasons[row.unscored[info.name]] = reasons.get(row.unscored[info.name], 0) + 1
        told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda each: -each[1]))
        if info.name not in scores:
            severity, message = "stop", f"{info.name} has no score: no row could be scored ({told})."
        elif rows and len(without) / len(rows) > TOO_MANY:
            severity = "warning"
            message = f"{info.name} scored {len(rows) - len(without):,} of {len(rows):,} rows; the others: {told}."
        else:
            continue
        found.append(
            Finding(
                code="eval-unscored",
                severity=severity,  # type: ignore[arg-type]
                message=message,
                hint="rows without a score are outside its n; they may be the hard ones.",
                where=_where(without),
                count=len(without),
                details={"metric": info.name, "reasons": reasons},
            )
        )
    return found


def _no_answer(rows: Sequence[EvalRow]) -> list[Finding]:
    found = []
    cut = [row for row in rows if row.finish == "MAX_TOKENS"]
    if cut:
        found.append(
            Finding(
                code="eval-truncated",
                severity="warning" if len(cut) / len(rows) > TOO_MANY else "note",
                message=f"{len(cut):,} of {len(rows):,} answers were cut at the token limit and scored as they are.",
                hint="raise the output limit, or lower the model's thinking, which counts against it.",
                where=_where(cut),
                count=len(cut),
            )
        )
    empty = [row for row in rows if row.finish != "MAX_TOKENS" and not row.prediction.strip()]
    if empty:
        kinds = sorted({row.finish for row in empty})
        found.append(
            Finding(
                code="eval-empty",
                severity="warning" if len(empty) / len(rows) > TOO_MANY else "note",
                message=f"{len(empty):,} of {len(rows):,} answers are empty or blocked ({', '.join(kinds)}) and scored "
                "as such: to a user that is an answer.",
                where=_where(empty),
                count=len(empty),
                details={"finish": kinds},
            )
        )
    return found


def _predictions(infos: Sequence[MetricInfo], rows: Sequence[EvalRow], scores: Mapping[str, Score]) -> list[Finding]:
    labelled = next((info for info in infos if info.spec.get("kind") in ("Accuracy", "MacroF1")), None)
    pairs = [(row, normalise(row.prediction), normalise(row.reference)) for row in rows if row.reference is not None]
    if labelled is None or not pairs:
        return []
    found = []
    labels, told = {wanted for _, _, wanted in pairs}, {given for _, given, _ in pairs}
    if len(told) == 1 and len(labels) > 1 and len(pairs) >= 10:
        only = next(iter(told))
        found.append(
            Finding(
                code="eval-constant",
                severity="warning",
                message=f"all {len(pairs):,} answers are the same, {only[:60]!r}, for {len(labels):,} references.",
                hint="look at project.preview(): does the prompt hold the input?",
                count=len(pairs),
            )
        )
    wrong = [(row, given, wanted) for row, given, wanted in pairs if given != wanted]
    chatty = [row for row, given, wanted in wrong if wanted and _contains(given, wanted)]
    value = scores.get(labelled.name)
    if value is not None and value.value == 0:
        foreign = sum(given not in labels for _, given, _ in pairs)
        found.append(
            Finding(
                code="eval-zero",
                severity="warning",
                message=f"{labelled.name} is 0: not one answer is right, and "
                f"{foreign:,} of {len(pairs):,} are no label of the references at all.",
                hint="a base model cannot know label names that it was never told: list them in the system instruction "
                "(.instruct(system=...)), so that the comparison is with a fair base.",
                where=_where(row for row, _, _ in pairs),
                count=len(pairs),
                details={"foreign": foreign},
            )
        )
    if len(chatty) > len(wrong) / 2 and len(wrong) >= 3:
        found.append(
            Finding(
                code="eval-format",
                severity="warning",
                message=f"{len(chatty):,} of {len(wrong):,} wrong answers contain the right one: it is the form.",
                hint="ask for the label alone in the instruction, or judge the form apart with a metric of your own.",
                where=_where(chatty),
                count=len(chatty),
            )
        )
    return found


def _contains(text: str, label: str) -> bool:
    """Whether the label stands in the text as words of its own; ASCII edges only, so that it works in Chinese too."""
    edge = "[A-Za-z0-9_]"
    return re.search(f"(?<!{edge}){re.escape(label)}(?!{edge})", text, re.IGNORECASE) is not None


def _self_judging(model: str, infos: Sequence[MetricInfo]) -> list[Finding]:
    found = []
    for info in infos:
        if info.kind != "judge" or info.model is None or family(info.model) != family(model):
            continue
        whose = "the very model that it judges" if info.model == model else f"of the family it judges ({family(model)})"
        found.append(
            Finding(
                code="eval-self-judging",
                severity="note",
                message=f"{info.name}: {info.model} is {whose}; judges tend to prefer their own kind.",
                hint="trust it for differences between two models of the same kind, or check it against people.",
                details={"metric": info.name},
            )
        )
    return found
