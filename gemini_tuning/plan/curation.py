"""Carrying out the data steps of a plan, with a reason for every row that came or went."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ..data.augment import augment
from ..data.augment_report import AugmentReport
from ..data.formats.rows import Columns
from ..data.mending.repair import fixable, repair
from ..data.mending.report import RepairReport
from ..data.parts import Parts
from ..data.private.evidence import redacted_evidence
from ..data.private.redact import redact
from ..data.private.report import RedactReport
from ..data.select import FilterReport, keep, sample
from ..data.similar.dedup import dedup, dedup_parts
from ..data.similar.drops import DedupReport
from ..data.split import SplitReport, split
from ..display import details, html_table, paragraph, table
from ..errors import DataError, PlanError
from ..ledger import Journal
from ..types import Broken, Caller, Dataset, Example, Finding, Progress
from .plan import Plan
from .steps import AnyStep, AugmentStep, DedupStep, FilterStep, RedactStep, RepairStep, SampleStep, SplitStep

_log = logging.getLogger(__name__)


Report = DedupReport | SplitReport | AugmentReport | FilterReport | RepairReport | RedactReport


class Stage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one step did: rows before and after, and its report."""

    op: str
    arguments: str
    rows_in: int
    rows_out: int
    dedup: DedupReport | None = None
    split: SplitReport | None = None
    augment: AugmentReport | None = None
    filter: FilterReport | None = None
    repair: RepairReport | None = None
    redact: RedactReport | None = None

    @property
    def report(self) -> Report | None:
        """The step's own report, with its evidence."""
        return self.dedup or self.split or self.augment or self.filter or self.repair or self.redact


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    key: str
    source: str
    simulated: bool
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    stages: tuple[Stage, ...]
    schema: int = 1


@dataclass(frozen=True, kw_only=True)
class Curation:
    """The data after all steps, as the model will read them, and what was done and why.

    Attributes:
        train: What is trained on.
        validation: What training is watched with.
        test: What nothing is chosen by; touched once, at the end.
        stages: One entry a step, in the order carried out. What a `redact` step replaced is not in the reports of the
            steps before it either (but for what only its detector finds).
        key: The key of this result.
        simulated: Whether the simulator wrote some of the examples.
        broken: Rows that could not be read and were not mended; nothing is trained or kept while there are some.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    stages: tuple[Stage, ...]
    key: str
    simulated: bool = False
    broken: tuple[Broken, ...] = ()

    @property
    def parts(self) -> Parts:
        """The three parts as one value."""
        return Parts(train=self.train, validation=self.validation, test=self.test)

    @property
    def reports(self) -> tuple[Report, ...]:
        """The steps' reports, in order."""
        return tuple(stage.report for stage in self.stages if stage.report is not None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the steps found worth knowing."""
        return tuple(finding for report in self.reports for finding in getattr(report, "findings", ()))

    def to_json(self) -> bytes:
        """For the ledger."""
        return msgspec.json.encode(
            _Record(
                key=self.key,
                source=self.train.source,
                simulated=self.simulated,
                train=self.train.examples,
                validation=self.validation.examples,
                test=self.test.examples,
                stages=self.stages,
            )
        )

    @classmethod
    def from_json(cls, data: bytes) -> Curation:
        """From the ledger."""
        record = msgspec.json.decode(data, type=_Record)
        parts = [Dataset(rows, source=record.source) for rows in (record.train, record.validation, record.test)]
        return cls(
            train=parts[0],
            validation=parts[1],
            test=parts[2],
            stages=record.stages,
            key=record.key,
            simulated=record.simulated,
        )

    def to_records(self) -> list[dict[str, Any]]:
        """One row an example, with its part."""
        named = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return [{"part": name, **row} for name, part in named for row in part.to_records()]

    def _rows(self) -> list[tuple[object, ...]]:
        return [(stage.op, stage.arguments, f"{stage.rows_in:,}", f"{stage.rows_out:,}") for stage in self.stages]

    def _sizes(self) -> str:
        sizes = f"{len(self.train):,} train, {len(self.validation):,} validation, {len(self.test):,} test"
        return f"{sizes}{' (augmentation simulated)' if self.simulated else ''}"

    def __repr__(self) -> str:
        lines = [f"Curation({self._sizes()})", table(("step", "arguments", "rows in", "rows out"), self._rows())]
        return "\n".join([*lines, *map(str, self.findings)])

    def _repr_html_(self) -> str:
        parts = [paragraph(self._sizes()), html_table(("step", "arguments", "rows in", "rows out"), self._rows())]
        for stage in self.stages:
            if stage.report is not None:
                parts.append(details(f"{stage.op}: what and why", stage.report._repr_html_()))
        if self.findings:
            rows = [(each.severity, each.code, each.message, each.hint) for each in self.findings]
            parts.append(html_table(("severity", "code", "finding", "what to do"), rows))
        return "".join(parts)


@dataclass
class _State:
    """The rows on their way. Before a split everything is in train, and dedup need not mind parts."""

    parts: Parts
    broken: tuple[Broken, ...]
    is_split: bool = False


async def curate(
    plan: Plan,
    dataset: Dataset,
    *,
    key: str,
    caller: Caller | None,
    replies: Callable[[], Journal] | None = None,
    functions: Mapping[str, Callable[[Example], Any]] | None = None,
    progress: Callable[[Progress], None] | None = None,
    refuse: bool = False,
) -> Curation:
    """Carries out a plan's data steps; to be awaited on the private loop.

    Args:
        plan: What to do.
        dataset: With what.
        key: The key that the result gets.
        caller: The model that writes augmentations; None leaves `augment` steps out (for looking only).
        replies: Gives the journal in which paid replies are kept.
        functions: The functions that the plan only names.
        progress: Called as work goes on.
        refuse: Raise when rows are broken and not mended; else they are in the result, for looking.

    Raises:
        DataError: With `refuse`, for the first broken row; before any model is asked.
        PlanError: A step cannot be carried out on these data, or a function is missing.
    """
    state = _State(Parts(train=dataset, validation=dataset.replace(()), test=dataset.replace(())), dataset.broken)
    stages: list[Stage] = []
    simulated = False
    for step in (*plan.data_steps, None):
        if refuse and state.broken and not isinstance(step, RepairStep):  # repairs come first
            mends = sum(fixable(row, Columns(plan.input, plan.output)) for row in state.broken)
            add = ".repair(unfixable='drop') goes on without them."
            if mends == len(state.broken):
                add = "add .repair(), which mends them."
            elif mends:
                add = f".repair() mends {mends:,}, {add}"
            raise refuse_broken(state.broken, f"check() lists them; {add}")
        if step is None or (isinstance(step, AugmentStep) and caller is None):
            continue
        # Broken rows go in, and come out as examples or not at all.
        before = _count(state.parts) + (len(state.broken) if isinstance(step, RepairStep) else 0)
        if progress is not None:
            progress(Progress(step.op, 0, None))
        if isinstance(step, AugmentStep):
            assert caller is not None
            parts, report = await augment(
                state.parts,
                step.methods,
                caller,
                only=step.only,
                seed=step.seed,
                journal=replies() if replies else None,
                progress=progress,
            )
            state.parts = parts
            simulated = simulated or caller.simulated
            reports: dict[str, Any] = {"augment": report}
        else:
            # In a thread: deduplicating a million rows must not hold up other projects on this loop.
            reports = await asyncio.to_thread(_carry_out, step, state, plan, functions or {})
        stage = Stage(op=step.op, arguments=step.arguments(), rows_in=before, rows_out=_count(state.parts), **reports)
        if isinstance(step, RedactStep):
            # The reports are kept with the data: what is redacted must not stay in the evidence of earlier steps.
            stages = await asyncio.to_thread(redacted_evidence, stages, kinds=step.kinds, keep=step.keep)
        stages.append(stage)
        _log.info("%s: %d -> %d rows", step.op, stage.rows_in, stage.rows_out)
    parts = _instructed(plan, state.parts)
    return Curation(
        train=parts.train,
        validation=parts.validation,
        test=parts.test,
        stages=tuple(stages),
        key=key,
        simulated=simulated,
        broken=state.broken,
    )


def refuse_broken(rows: Sequence[Broken], hint: str) -> DataError:
    """The error for rows that cannot be used: the place and the reason of the first, and how many there are."""
    first = rows[0]
    more = f" ({len(rows) - 1:,} more rows cannot be used)" if len(rows) > 1 else ""
    return DataError.at(
        first.message + more, file=first.where.file, line=first.where.line, field=first.where.field,
        hint=f"{first.hint} {hint}".strip(), code=first.code,
    )  # fmt: skip


def _count(parts: Parts) -> int:
    return len(parts.train) + len(parts.validation) + len(parts.test)


def _instructed(plan: Plan, parts: Parts) -> Parts:
    instructions = plan.instructions

    def put_on(part: Dataset) -> Dataset:
        return part.replace(instructions.apply(example) for example in part)

    return Parts(train=put_on(parts.train), validation=put_on(parts.validation), test=put_on(parts.test))


def _carry_out(
    step: AnyStep, state: _State, plan: Plan, functions: Mapping[str, Callable[[Example], Any]]
) -> dict[str, Any]:
    parts = state.parts
    match step:
        case RepairStep():  # always before the split: `Plan.data_steps`
            whole, repair_report = repair(
                parts.train.replace(parts.train, broken=state.broken),
                too_long=step.too_long,
                unfixable=step.unfixable,
                limit=step.limit,
                input=plan.input,
                output=plan.output,
            )
            state.parts, state.broken = replace(parts, train=whole.replace(whole)), whole.broken
            return {"repair": repair_report}
        case RedactStep():
            done = [
                redact(part, kinds=step.kinds, keep=step.keep, detector=step.detector)
                for part in (parts.train.replace(parts.train, broken=state.broken), parts.validation, parts.test)
            ]
            state.broken = done[0][0].broken
            state.parts = Parts(train=done[0][0], validation=done[1][0], test=done[2][0])
            return {"redact": RedactReport.merged(report for _, report in done)}
        case DedupStep():
            if state.is_split:
                state.parts, report = dedup_parts(parts, exact=step.exact, near=step.near)
            else:
                train, report = dedup(parts.train, exact=step.exact, near=step.near)
                state.parts = replace(parts, train=train)
            return {"dedup": report}
        case SplitStep():
            everything = parts.train
            state.parts, split_report = split(
                everything, validation=step.validation, test=step.test, seed=step.seed, stratify=step.stratify
            )
            state.is_split = True
            return {"split": split_report}
        case SampleStep():
            state.parts = replace(parts, train=sample(parts.train, step.n, seed=step.seed))
            return {}
        case FilterStep():
            predicate = functions.get(step.identity) or _find_function(step, functions)
            kept = [keep(part, predicate) for part in (parts.train, parts.validation, parts.test)]
            state.parts = Parts(train=kept[0][0], validation=kept[1][0], test=kept[2][0])
            return {"filter": _merged([report for _, report in kept])}
        case _:
            msg = f"the step {step.op!r} does not change rows"
            raise AssertionError(msg)


def _merged(reports: Sequence[FilterReport]) -> FilterReport:
    dropped = tuple(example for report in reports for example in report.dropped)
    return msgspec.structs.replace(reports[0], kept=sum(report.kept for report in reports), dropped=dropped)


def _find_function(step: FilterStep, functions: Mapping[str, Callable[[Example], Any]]) -> Callable[[Example], Any]:
    """The function of that name that was given back, or that can be imported; refuses one that has changed."""
    found: Any = functions.get(step.function)
    if found is None:
        module, _, name = step.function.partition(":")
        try:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError):
            found = None
    if not callable(found):
        msg = f"the plan filters by the function {step.function!r}, which is not stored in it and cannot be imported."
        hint = f"give it back: functions={{{step.function!r}: your_function}}"
        raise PlanError(msg, hint=hint, code="plan-function")
    if FilterStep.of(found, step.function).source_hash != step.source_hash:
        msg = f"the function {step.function!r} is not the one that the plan was made with: its source has changed."
        hint = "filter again with the new function: a changed step is a new key."
        raise PlanError(msg, hint=hint, code="plan-function")
    return found  # type: ignore[no-any-return]
