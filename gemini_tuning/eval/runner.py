"""Asks a model every row, scores the answers, and can be killed and started again at any point.

Generation and grading are stored apart, row by row as they happen, each under a key of everything it depends on.
Scoring again never generates again; failures are not stored, so the next run sends exactly what is missing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from ..backend import loop
from ..errors import BackendError, ConfigError, PlanError
from ..ledger import Journal, digest
from ..types import Caller, Dataset, Example, Json, Progress, Prompt, Reply
from .judge import Judge
from .metrics import Accuracy, MacroF1, MetricLike, metric_name, metric_spec
from .report import EvalReport
from .rows import NO_REFERENCE, EvalRow, Failure, MetricInfo

GENERATION_VERSION = 1
"""Raised when the same prompt would be sent in another way: stored answers are then not reused."""

_HOPELESS = (401, 403, 404)
"""HTTP statuses that no further row will turn: no right, no such model."""


class _Work(NamedTuple):
    """One prompt and the rows that share it: at temperature 0 the same question is paid for once."""

    key: str
    prompt: Prompt
    rows: tuple[int, ...]


class _Jury(NamedTuple):
    judge: Judge
    caller: Caller


def evaluate(
    dataset: Dataset,
    metrics: Sequence[MetricLike],
    caller: Caller,
    *,
    on: str = "dataset",
    concurrency: int = 8,
    limit: int | None = None,
    generations: Journal | None = None,
    grades: Journal | None = None,
    judge: Callable[[str | None], Caller] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> EvalReport:
    """Asks `caller` every row of `dataset` and scores the answers; for use without a project, waits for the end.

    Args:
        dataset: What is asked (`example.prompt`, instructions included) and the answers wanted (`example.output`).
        metrics: At least one; their names must differ. Plain functions run on a worker thread.
        caller: The model.
        on: What the report calls the data.
        concurrency: Most calls under way at any time, judges included.
        limit: Evaluates a sample of so many rows: always the same ones, chosen by a hash of their origin.
        generations: Where answers are stored and looked up; None keeps nothing.
        grades: The same for the judges' replies.
        judge: Gives the caller for a judge's model (None is the default judge); needed when a `Judge` is asked.
        progress: Called with `Progress("evaluate", done, total)` after each row, on the library's own thread.

    Returns:
        The report. Rows whose call failed are in `failures`, outside every n. Blocked, empty and cut answers are
        answers and are scored.

    Raises:
        PlanError: An argument can never work: no rows, no metric, two metrics of one name, no `judge=`.
        BackendError: *No* row got an answer: the first row's error. Also, before all are tried, when no row works
            and the service says that none will (no right, no such model).
    """
    return loop.run(
        evaluate_async(
            dataset,
            metrics,
            caller,
            on=on,
            concurrency=concurrency,
            limit=limit,
            generations=generations,
            grades=grades,
            judge=judge,
            progress=progress,
        )
    )


async def evaluate_async(
    dataset: Dataset,
    metrics: Sequence[MetricLike],
    caller: Caller,
    *,
    on: str = "dataset",
    concurrency: int = 8,
    limit: int | None = None,
    generations: Journal | None = None,
    grades: Journal | None = None,
    judge: Callable[[str | None], Caller] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> EvalReport:
    """`evaluate`, to be awaited on the private loop, where the callers' clients live.

    A fixed number of workers takes rows from one iterator, so 100,000 rows are not 100,000 tasks. Cancelling it
    cancels the calls under way and passes on; what was answered before is stored.
    """
    if concurrency < 1:
        raise PlanError.bad_value("evaluate", "concurrency", concurrency, "at least 1")
    juries = {each.name: _Jury(each, _caller_for(each, judge)) for each in metrics if isinstance(each, Judge)}
    infos = describe(metrics, {name: jury.caller.model for name, jury in juries.items()})
    examples = await asyncio.to_thread(_chosen, dataset, limit)
    run = _Run(
        examples,
        caller,
        juries,
        generations=generations,
        grades=grades,
        progress=progress,
        replies=await asyncio.to_thread(_stored, generations),
        graded=await asyncio.to_thread(_stored, grades),
    )
    await run.work(await asyncio.to_thread(_plan, examples, caller.model), concurrency)
    return await asyncio.to_thread(run.report, on, metrics, infos)


def describe(metrics: Sequence[MetricLike], judged_by: dict[str, str]) -> tuple[MetricInfo, ...]:
    """The metrics as they are recorded; PlanError for none, for two of one name, for what is no metric."""
    infos = []
    for metric in metrics:
        if isinstance(metric, Judge):
            low, high = metric.scale
            info = MetricInfo(
                name=metric.name,
                kind="judge",
                spec=metric.spec(),
                bounds=(float(low), float(high)),
                model=judged_by.get(metric.name),
            )
        elif isinstance(metric, MacroF1):
            info = MetricInfo(name=metric.name, kind="macro_f1", spec=metric.spec(), bounds=(0.0, 1.0))
        elif isinstance(metric, Accuracy):
            info = MetricInfo(name=metric.name, kind="row", spec=metric.spec(), bounds=(0.0, 1.0))
        elif callable(metric) and not isinstance(metric, type):
            info = MetricInfo(name=metric_name(metric), kind="row", spec=metric_spec(metric))
        else:
            raise PlanError.bad_value(
                "evaluate",
                "metrics",
                metric,
                "a metric: Accuracy(), MacroF1(), Judge('...') or a function",
                hint="a class is made a metric by calling it: Accuracy() instead of Accuracy.",
            )
        infos.append(info)
    names = [info.name for info in infos]
    if not names:
        raise PlanError.bad_value("evaluate", "metrics", (), "at least one metric", hint="for example Accuracy().")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PlanError.bad_value(
            "evaluate",
            "metrics",
            twice,
            "names that differ",
            hint="give one of them another name: Judge('...', name='tone').",
        )
    return tuple(infos)


def _caller_for(asked: Judge, judge: Callable[[str | None], Caller] | None) -> Caller:
    if judge is None:
        msg = f"the metric {asked.name!r} needs a model that judges, and evaluate() got no judge=."
        raise ConfigError(msg, hint="judge=lambda model: a caller for that model.", code="config-judge")
    return judge(asked.model)


def _chosen(dataset: Dataset, limit: int | None) -> list[Example]:
    if not len(dataset):
        raise PlanError.bad_value("evaluate", "dataset", dataset, "at least one row", hint="no rows, no score.")
    if limit is None or limit >= len(dataset):
        return list(dataset)
    if limit < 1:
        raise PlanError.bad_value("evaluate", "limit", limit, "at least 1, or None for all rows")
    # By hash, so that the sample depends on the set of rows and not on their order; a larger limit only adds rows.
    ranks = sorted(range(len(dataset)), key=lambda at: (digest("limit", dataset[at].origin), dataset[at].text, at))
    return [dataset[at] for at in sorted(ranks[:limit])]


def _plan(examples: Sequence[Example], model: str) -> list[_Work]:
    shared: dict[str, tuple[Prompt, list[int]]] = {}
    for at, example in enumerate(examples):
        prompt = example.prompt
        key = digest("generate", str(GENERATION_VERSION), model, msgspec.json.encode(prompt, order="sorted"))
        shared.setdefault(key, (prompt, []))[1].append(at)
    return [_Work(key, prompt, tuple(rows)) for key, (prompt, rows) in shared.items()]


def _stored(journal: Journal | None) -> dict[str, Reply]:
    """Replies by key; rows of another shape are not ours and are left alone."""
    found: dict[str, Reply] = {}
    for row in journal.rows() if journal is not None else ():
        try:
            found[str(row["key"])] = msgspec.convert(row["reply"], Reply)
        except (KeyError, msgspec.ValidationError):
            continue
    return found


def _clean(reply: Reply) -> Reply:
    """Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a replacement character."""
    try:
        reply.text.encode()
    except UnicodeEncodeError:
        text = reply.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return msgspec.structs.replace(reply, text=text)
    return reply


class _Run:
    """The state of one evaluation: answers and grades by row, filled in by the workers."""

    def __init__(
        self,
        examples: list[Example],
        caller: Caller,
        juries: dict[str, _Jury],
        *,
        generations: Journal | None,
        grades: Journal | None,
        progress: Callable[[Progress], None] | None,
        replies: dict[str, Reply],
        graded: dict[str, Reply],
    ) -> None:
        self.examples = examples
        self.caller = caller
        self.juries = juries
        self.generations = generations
        self.grades = grades
        self.progress = progress
        self.replies = replies
        self.graded = graded
        self.answers: list[Reply | None] = [None] * len(examples)
        self.judged: dict[tuple[int, str], Reply] = {}
        self.failures: dict[tuple[int, str], Failure] = {}
        self.errors: list[BackendError] = []
        self.answered = 0
        self.done = 0

    async def work(self, plan: Sequence[_Work], concurrency: int) -> None:
        """All rows, with `concurrency` workers on one iterator."""
        patience = max(8, concurrency)
        queue = iter(plan)

        async def worker() -> None:
            for work in queue:
                await self._row(work)
                if not self.answered and len(self.errors) >= patience and self._hopeless():
                    raise self.errors[0]

        await loop.together([worker() for _ in range(min(concurrency, len(plan)))])
        if not self.answered:
            raise self.errors[0]

    def _hopeless(self) -> bool:
        return all(error.status_code in _HOPELESS for error in self.errors)

    async def _row(self, work: _Work) -> None:
        try:
            reply = await self._ask(self.caller, work.key, work.prompt, None, self.replies, self.generations)
        except BackendError as error:
            self.errors.append(error)
            for at in work.rows:
                self._fail(at, "", error)
                self._step()
            return
        for at in work.rows:
            self.answers[at] = reply
            self.answered += 1
            for name, jury in self.juries.items():
                await self._grade(at, name, jury, reply)
            self._step()

    async def _grade(self, at: int, name: str, jury: _Jury, reply: Reply) -> None:
        prompt = jury.judge.prompt(self.examples[at], reply.text)
        # Without the name: calling a judge otherwise must not buy its grades again.
        spec = {key: value for key, value in jury.judge.spec().items() if key != "name"}
        content = [msgspec.json.encode(each, order="sorted") for each in (spec, prompt)]
        key = digest("grade", jury.caller.model, *content)
        try:
            self.judged[at, name] = await self._ask(
                jury.caller, key, prompt, jury.judge.schema, self.graded, self.grades
            )
        except BackendError as error:
            self._fail(at, name, error)

    async def _ask(
        self,
        caller: Caller,
        key: str,
        prompt: Prompt,
        schema: dict[str, Json] | None,
        known: dict[str, Reply],
        journal: Journal | None,
    ) -> Reply:
        if key in known:
            return known[key]
        reply = _clean(await caller.generate(prompt, schema=schema))
        known[key] = reply
        if journal is not None:
            journal.append({"key": key, "model": caller.model, "reply": msgspec.to_builtins(reply)})
        return reply

    def _fail(self, at: int, metric: str, error: BackendError) -> None:
        example = self.examples[at]
        self.failures[at, metric] = Failure(
            origin=example.origin,
            stage="judge" if metric else "generate",
            metric=metric or None,
            code=error.code,
            status=error.status,
            message=error.message,
            input=example.input,
            reference=_reference(example),
            where=example.where,
        )

    def _step(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(Progress("evaluate", self.done, len(self.examples)))

    def report(self, on: str, metrics: Sequence[MetricLike], infos: Sequence[MetricInfo]) -> EvalReport:
        """Scores what was answered; on a worker thread, since metrics and bootstraps take the CPU."""
        rows = [self._scored(at, reply, metrics, infos) for at, reply in enumerate(self.answers) if reply is not None]
        failures = [self.failures[key] for key in sorted(self.failures)]
        return EvalReport.of(
            model=self.caller.model, simulated=self.caller.simulated, on=on, metrics=infos, rows=rows, failures=failures
        )

    def _scored(self, at: int, reply: Reply, metrics: Sequence[MetricLike], infos: Sequence[MetricInfo]) -> EvalRow:
        example = self.examples[at]
        reference = _reference(example)
        values: dict[str, float] = {}
        unscored: dict[str, str] = {}
        reasons: dict[str, str] = {}
        for metric, info in zip(metrics, infos, strict=True):
            if isinstance(metric, Judge):
                judged = self.judged.get((at, info.name))
                if judged is None:
                    unscored[info.name] = "the judge's call failed"
                    continue
                grade = metric.read(judged)
                if grade.reason:
                    reasons[info.name] = grade.reason
                if grade.value is None:
                    unscored[info.name] = grade.unscored or "unreadable"
                else:
                    values[info.name] = float(grade.value)
            elif reference is None:
                unscored[info.name] = NO_REFERENCE
            elif not isinstance(metric, MacroF1):
                try:
                    values[info.name] = _number(metric(reply.text, reference))
                except Exception as error:  # noqa: BLE001 - a user's function may raise anything: it is a row, not a crash
                    unscored[info.name] = "the metric failed"
                    self.failures[at, info.name] = Failure(
                        origin=example.origin,
                        stage="metric",
                        metric=info.name,
                        code=type(error).__name__,
                        message=str(error),
                        input=example.input,
                        reference=reference,
                        where=example.where,
                    )
        return EvalRow(
            origin=example.origin,
            input=example.input,
            prediction=reply.text,
            reference=reference,
            finish=reply.finish,
            latency=reply.latency,
            prompt_tokens=reply.prompt_tokens,
            output_tokens=reply.output_tokens,
            thought_tokens=reply.thought_tokens,
            values=values,
            unscored=unscored,
            reasons=reasons,
            where=example.where,
        )


def _number(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]  # anything that is a number, numpy's among them; else TypeError
    if isinstance(value, str) or not math.isfinite(number):
        msg = f"a metric must give a finite number or a bool, not {value!r}"
        raise ValueError(msg)
    return number


def _reference(example: Example) -> str | None:
    """The answer wanted, or None: a real scene whose last turn is the user's has none, which is not an empty one."""
    has_target = bool(example.completions) or (bool(example.turns) and example.turns[-1].role == "model")
    return example.output if has_target else None
