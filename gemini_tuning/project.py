"""`TuningProject`: the whole road as one fluent value. Each verb is one step over a layer function."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, TypeVar

import msgspec
from pydantic import ValidationError

from .backend import loop
from .backend.selection import from_description, resolve
from .display import html_table, table
from .errors import ConfigError, LedgerError, PlanError
from .ledger import DEFAULT, Ledger, digest
from .models import RETIRED, Model, find
from .plan.estimate import Estimate
from .plan.plan import Manifest, Plan, TunedFrom, library_versions
from .plan.steps import (
    AnyStep,
    AugmentStep,
    DedupStep,
    FilterStep,
    InstructStep,
    RecipeStep,
    SampleStep,
    SplitStep,
    wrong_setting,
)
from .recipes.presets import PresetName, Recipe, known_model, recommend
from .types import Dataset, Example, Finding, Progress, TunedModel

if TYPE_CHECKING:
    from .backend.base import Backend
    from .data.data_report import DataReport
    from .eval.metrics import MetricLike
    from .eval.report import Baseline, EvalReport
    from .jobs.job import TuningJob
    from .plan.curation import Curation
    from .plan.steps import Method, Selector

_log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
Part = Literal["train", "validation", "test"]
OnProgress = Callable[[Progress], None]
BackendLike = Any
"""`"offline"`, a `Vertex(...)`, or anything else that has the backend's methods."""


class _Unset:
    """The type of `UNSET`: "not said", where None means "the service's default"."""

    def __repr__(self) -> str:
        return "unset"


UNSET: Final = _Unset()


@dataclass(frozen=True, repr=False)
class TuningProject:
    """Data, a plan, a backend and a working directory: an immutable value.

    *Plan verbs* return a new project and do nothing else. *Look verbs* are cheap. *Run verbs* do work, write to the
    working directory under a content key, and return frozen results; calling one again with the same plan and data
    reads the record, or attaches to the job that was paid for.

    Start with `from_records`, `from_file`, `from_plan` or `open`.
    """

    plan: Plan
    data: Dataset
    backend: Backend | None = None
    workdir: Path = DEFAULT
    functions: Mapping[str, Callable[[Example], Any]] = field(default_factory=dict, compare=False)

    # --- start -----------------------------------------------------------------------------------------------------

    @classmethod
    def from_records(
        cls,
        records: Iterable[Any],
        *,
        name: str,
        model: str,
        input: str = "input",
        output: str = "output",
        backend: BackendLike = None,
        workdir: str | os.PathLike[str] | None = None,
    ) -> TuningProject:
        """A project from rows in memory: mappings, data frames, Hugging Face data sets, anything iterable.

        Args:
            records: The rows.
            name: The project's name; a working directory belongs to one name.
            model: Base model, for example `gemini-2.5-flash`.
            input: Column of the user's text.
            output: Column of the answer.
            backend: `"offline"` or `Vertex(...)`; only run verbs need it.
            workdir: Working directory; default `.gemini_tuning` in the current one.

        Raises:
            DataError: A column is missing (lists those there are) or a row is unusable (names it).
            PlanError: A name or model that can never work.
        """
        from .data.reading import from_records

        plan = _plan(name, model, input, output)
        return cls._start(plan, from_records(records, input=input, output=output), backend, workdir)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str,
        model: str,
        input: str = "input",
        output: str = "output",
        format: Literal["jsonl", "json", "csv", "gemini"] | None = None,
        backend: BackendLike = None,
        workdir: str | os.PathLike[str] | None = None,
    ) -> TuningProject:
        """A project from a file: JSONL, JSON or CSV with named columns, or Gemini's own JSONL; also `.gz`.

        The format is detected and refused when ambiguous. See `from_records` for the other arguments.

        Raises:
            DataError: With file, line and field.
        """
        from .data.reading import read

        plan = _plan(name, model, input, output)
        return cls._start(plan, read(path, format=format, input=input, output=output), backend, workdir)

    @classmethod
    def from_plan(
        cls,
        plan: Plan,
        records: Iterable[Any],
        *,
        backend: BackendLike = None,
        workdir: str | os.PathLike[str] | None = None,
        functions: Mapping[str, Callable[[Example], Any]] | None = None,
    ) -> TuningProject:
        """The same plan for other data, for example one tenant's rows.

        Args:
            plan: The plan; it names the columns.
            records: The rows.
            backend: As in `from_records`.
            workdir: As in `from_records`.
            functions: Functions that the plan's `filter` steps name and that cannot be imported.
        """
        from .data.reading import from_records

        given: object = plan
        if not isinstance(given, Plan):
            expected = "a Plan"
            raise PlanError.bad_value("from_plan", "plan", plan, expected, hint="Plan.from_json(text) reads one.")
        project = cls._start(plan, from_records(records, input=plan.input, output=plan.output), backend, workdir)
        return replace(project, functions=dict(functions or {}))

    @classmethod
    def open(
        cls,
        workdir: str | os.PathLike[str] = DEFAULT,
        *,
        backend: BackendLike = None,
        functions: Mapping[str, Callable[[Example], Any]] | None = None,
    ) -> TuningProject:
        """The project that was tuned last in a working directory, or else the one that did anything last.

        The plan, the rows and the backend come back; credentials never were stored, so a Vertex backend gets the
        application default ones unless `backend=` is given.

        Raises:
            LedgerError: There is no project, or nothing was run in it.
        """
        path = Path(workdir).expanduser()
        header = Ledger.describe(path)
        if header is None:
            msg = f"{path} holds no project."
            raise LedgerError(msg, hint="start one with TuningProject.from_file(...)", code="ledger-empty")
        ledger = Ledger(path, header["name"])
        # What was bought counts more than what was looked at last: a variant that was only curated is no run to go on.
        kind = "tuned" if ledger.keys("tuned") else "project"
        keys = ledger.keys(kind)
        if not keys:
            msg = f"{path} belongs to the project {header['name']!r}, in which nothing was run yet."
            raise LedgerError(msg, hint="start it with TuningProject.from_file(...)", code="ledger-empty")
        record = ledger.read(kind, keys[-1])
        rows = ledger.blob(record["rows"])
        if rows is None:
            msg = f"the rows of the last run are missing or changed in {path} (blobs/{record['rows']})."
            raise LedgerError(msg, hint="start again from your own file.", code="ledger-corrupt")
        data = Dataset(msgspec.json.decode(rows, type=tuple[Example, ...]), source=record["source"])
        restored = backend if backend is not None else from_description(record["backend"], staging=record["staging"])
        project = cls._start(Plan.model_validate(record["plan"]), data, restored, path)
        return replace(project, functions=dict(functions or {}))

    @classmethod
    def _start(
        cls, plan: Plan, data: Dataset, backend: BackendLike, workdir: str | os.PathLike[str] | None
    ) -> TuningProject:
        path = Path(workdir).expanduser() if workdir is not None else DEFAULT
        return cls(plan=plan, data=data, backend=resolve(backend), workdir=path)

    # --- plan verbs ------------------------------------------------------------------------------------------------

    def filter(self, predicate: Callable[[Example], bool], *, name: str | None = None) -> TuningProject:
        """Keeps the examples for which `predicate(example)` is true.

        The function is recorded by name and source hash, never pickled.

        Args:
            predicate: Takes an `Example`.
            name: A name to record in place of `module:qualname`, for functions that cannot be imported.
        """
        if not callable(predicate):
            raise PlanError.bad_value("filter", "predicate", predicate, "a function of one Example")
        step = FilterStep.of(predicate, name)
        return replace(self._then(step), functions={**self.functions, step.identity: predicate})

    def sample(self, n: int, *, seed: int = 0) -> TuningProject:
        """Keeps `n` rows ("start with about 100"); after `split` it thins the training part only."""
        return self._add("sample", SampleStep, n=n, seed=seed)

    def dedup(self, *, exact: bool = True, near: float | None = None) -> TuningProject:
        """Removes duplicates, each with the row that caused it; the same input with another output is never dropped.

        Args:
            exact: Equal after folding case, width, white space and punctuation.
            near: Similarity from which rows count as duplicates, for example 0.8; None leaves them.
        """
        return self._add("dedup", DedupStep, exact=exact, near=near)

    def split(
        self, *, validation: float = 0.1, test: float = 0.1, seed: int = 0, stratify: bool = True
    ) -> TuningProject:
        """Parts the rows. Origins and near-duplicates stay together, then labels are balanced, then the shares hold.

        Args:
            validation: Share of the rows that training is watched with.
            test: Share of the rows that nothing is chosen by.
            seed: With the *set* of rows it decides everything.
            stratify: Balance by output where there are few different ones.
        """
        split = self._add("split", SplitStep, validation=validation, test=test, seed=seed, stratify=stratify)
        if validation + test >= 1:
            raise PlanError.bad_value("split", "validation + test", validation + test, "less than 1")
        return split

    def augment(self, *methods: Method, only: Selector | None = None, seed: int = 0) -> TuningProject:
        """Adds examples that the base model writes, to the training part only, behind a gate that lists rejections.

        Args:
            methods: For example `paraphrase(per_example=1)`.
            only: Which examples, for example `rare_labels(below=20)`.
            seed: Part of what the model is asked.
        """
        if not methods:
            raise PlanError.bad_value("augment", "methods", methods, "at least one method, such as paraphrase()")
        return self._add("augment", AugmentStep, methods=methods, only=only, seed=seed)

    def instruct(self, *, system: str | None = None, each: str | None = None) -> TuningProject:
        """Adds a system instruction, an instance instruction, or (best) both.

        Args:
            system: For all examples.
            each: A template around each input: `"Intent of: {input}"`; other columns can be named too.
        """
        if system is None and each is None:
            raise PlanError.bad_value("instruct", "system, each", None, "a system instruction, a template, or both")
        from .data.instruct import check_template

        own = f"{{{self.plan.input}}}"
        if each is not None and self.plan.input != "input" and own in each:
            hint = f"your column {self.plan.input!r} is written {{input}}: {each.replace(own, '{input}')!r}"
            raise PlanError.bad_value("instruct", "each", each, "{input} where the user's text goes", hint=hint)
        if each is not None:
            check_template(each, {name for example in self.data for name in example.meta})
        return self._add("instruct", InstructStep, system=system, each=each)

    def recipe(
        self,
        name: PresetName = "auto",
        *,
        epochs: int | _Unset | None = UNSET,
        learning_rate_multiplier: float | _Unset | None = UNSET,
        adapter_size: int | _Unset | None = UNSET,
    ) -> TuningProject:
        """Chooses the preset and overrides its settings: unset means the preset's, None the service's default."""
        given = {
            "epochs": epochs, "learning_rate_multiplier": learning_rate_multiplier, "adapter_size": adapter_size,
        }  # fmt: skip
        settings = {key: value for key, value in given.items() if not isinstance(value, _Unset)}
        for key, value in settings.items():
            problem = wrong_setting(key, value)
            if problem:
                raise PlanError.bad_value("recipe", key, value, problem)
        return self._add("recipe", RecipeStep, name=name, settings=settings)

    def using(
        self,
        *,
        model: str | TunedModel | None = None,
        backend: BackendLike = None,
        workdir: str | os.PathLike[str] | None = None,
    ) -> TuningProject:
        """The same plan with another model (or a tuned one, to go on from it), backend or working directory."""
        plan = self.plan
        if isinstance(model, TunedModel):
            start = TunedFrom(model=model.model, endpoint=model.endpoint, checkpoint=model.checkpoint, key=model.key)
            plan = plan.model_copy(update={"model": model.base_model, "tuned_from": start})
        elif model is not None:
            plan = _plan(plan.name, model, plan.input, plan.output).model_copy(update={"steps": plan.steps})
        return replace(
            self,
            plan=plan,
            backend=resolve(backend) if backend is not None else self.backend,
            workdir=Path(workdir).expanduser() if workdir is not None else self.workdir,
        )

    def extend(self, records: Iterable[Any]) -> TuningProject:
        """The same plan with more rows; they go through every step, deduplication among them."""
        from .data.reading import from_records

        more = from_records(records, input=self.plan.input, output=self.plan.output)
        # Origins count occurrences, so they are given anew over all rows; what was written from a row keeps its own.
        return replace(
            self,
            data=self.data.replace(
                row if row.augmented else msgspec.structs.replace(row, origin="") for row in (*self.data, *more)
            ),
        )

    def pipe(self, function: Callable[Concatenate[TuningProject, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`function(self, ...)`, so that a function of one's own fits into the chain."""
        return function(self, *args, **kwargs)

    # --- look verbs ------------------------------------------------------------------------------------------------

    def preview(self, n: int = 3) -> list[Example]:
        """`n` examples exactly as Gemini will read them, instructions included.

        From the curated training part when it is on record, else from the data as they are.
        """
        if n < 1:
            raise PlanError.bad_value("preview", "n", n, "1 or more")
        done = self._recorded_curation()
        if done is not None:
            return list(done.train[:n])
        return [self.plan.instructions.apply(example) for example in self.data[:n]]

    def explain(self) -> str:
        """The plan in words, in the order in which it is carried out."""
        lines = [f"{self.plan.name}: tune {self.plan.model} with {len(self.data):,} rows from {self.data.source}."]
        if self.plan.tuned_from:
            lines.append(f"Go on from {self.plan.tuned_from.model}.")
        for at, step in enumerate(self.plan.data_steps, start=1):
            words = (type(step).__doc__ or step.op).split("\n")[0]
            lines.append(f"{at}. {step.op}({step.arguments()}): {words}")
        written = self.plan.instructions
        if written.system is not None:
            lines.append(f"System instruction: {written.system!r}")
        if written.each is not None:
            lines.append(f"Each input becomes: {written.each!r}")
        recipe = self.plan.recipe
        lines.append(f"Recipe: {recipe.arguments()}")
        if self.plan.opaque:
            lines.append(f"Functions that the plan names and does not hold: {', '.join(self.plan.opaque)}")
        where = ", ".join(self._where.values()) or "none yet"
        lines.append(f"Backend: {where}. Working directory: {self.workdir}.")
        return "\n".join(lines)

    def check(self) -> DataReport:
        """What is wrong with the data, before any money is spent: findings with file, line, field and what to do.

        The plan's local steps are carried out first (everything but augmentation), so what they mend is not
        reported, and leaks between the parts are.
        """
        from .data.check import Limits, check

        parts = self._local_curation.parts
        model = find(self.plan.model)
        limits = Limits(tokens_per_example=model.tokens_per_example) if model else Limits()
        is_split = any(isinstance(step, SplitStep) for step in self.plan.steps)
        report = check(parts if is_split else parts.train, limits=limits)
        known = {finding.code for finding in report.findings}
        more = [each for each in self._local_curation.findings if each.code not in known]
        if self.plan.tuned_from is not None:
            held_out = (*self._local_curation.validation, *self._local_curation.test)
            more += self._trained_on(self.plan.tuned_from.key, held_out)
        return msgspec.structs.replace(report, findings=(*more, *report.findings))

    def estimate(self) -> Estimate:
        """Examples, tokens, cost range and the recipe with its reason, before anything is bought."""
        from .data.tokens import example_tokens

        done = self._recorded_curation()
        train = (done or self._local_curation).train
        augments = any(isinstance(step, AugmentStep) for step in self.plan.data_steps)
        basis = "after curation" if done or not augments else "after curation, without what augmentation will add"
        tokens = sum(example_tokens(example) for example in train)
        recipe = self._recipe(len(train), tokens / max(1, len(train)))
        model = find(self.plan.model)
        return Estimate(
            examples=len(train),
            tokens=(round(tokens * 0.8), round(tokens * 1.25)),
            recipe=recipe,
            price=model.training_price if model else None,
            price_source=(model.price_source if model else None) or "",
            simulated=self.backend.simulated if self.backend else None,
            basis=basis,
        )

    @property
    def is_recorded(self) -> bool:
        """Whether the working directory holds this project's curated data already."""
        return self._ledger.read_bytes("curation", self._data_key) is not None

    def manifest(self) -> Manifest:
        """What a run of this project is made from: plan, fingerprint of the data, versions, backend, keys."""
        where = self.backend.describe() if self.backend else None
        return Manifest(
            plan=self.plan,
            fingerprint=self.data.fingerprint,
            source=self.data.source,
            rows=len(self.data),
            step_keys=self.plan.step_keys(self.data.fingerprint, where),
            data_key=self._data_key,
            opaque=self.plan.opaque,
            backend=where,
            simulated=self.backend.simulated if self.backend else None,
            python=platform.python_version(),
            versions=library_versions(),
        )

    # --- run verbs -------------------------------------------------------------------------------------------------

    def curate(self, *, progress: OnProgress | None = None) -> Curation:
        """Carries out the data steps and returns the parts with a reason for every row that came or went.

        Needs a backend only when the plan augments.
        """
        return loop.run(self._curate(progress))

    def baseline(
        self,
        *metrics: MetricLike,
        models: Sequence[str] = (),
        on: Part | Dataset = "validation",
        limit: int | None = None,
        concurrency: int = 8,
        progress: OnProgress | None = None,
    ) -> Baseline:
        """Base models side by side on your task; `.recommend(prefer=...)` chooses.

        Args:
            metrics: As in `evaluate`.
            models: Model names; none means the project's own.
            on: Part or data set. The test part is for the end: choosing by it would spoil it.
            limit: At most this many rows, a fixed random choice.
            concurrency: Calls at a time.
            progress: Called as rows are done.
        """
        return loop.run(self._baseline(metrics, models, on, limit, concurrency, progress))

    def tune(self, *, attempt: int = 1, progress: OnProgress | None = None) -> TuningJob:
        """Buys the tuning job, at most once, and returns when the service has acknowledged it.

        Calling it again with the same plan and data, in this or any other process with this working directory,
        attaches to the same job.

        Args:
            attempt: Part of the key: `2` buys again on purpose, after a failure.
            progress: Called while the data are prepared.

        Raises:
            JobUnknown: No answer came and the job cannot be found: perhaps bought; nothing is posted again.
            ConfigError: No backend, no staging bucket, unknown model without explicit settings.
            BackendError: The service refused.
        """
        return loop.run(self._tune(attempt, progress))

    def evaluate(
        self,
        *metrics: MetricLike,
        model: TunedModel | str | None = None,
        on: Part | Dataset = "test",
        limit: int | None = None,
        concurrency: int = 8,
        progress: OnProgress | None = None,
    ) -> EvalReport:
        """Asks a model every row and scores the answers: each score with n and an interval.

        Args:
            metrics: `Accuracy()`, `MacroF1()`, `Judge("...")`, or plain functions `f(prediction, reference)`.
            model: A tuned model, a base model's or endpoint's name; None is the project's base model.
            on: A part, or a data set of your own (it gets the project's instructions).
            limit: At most this many rows, a fixed random choice.
            concurrency: Calls at a time.
            progress: Called as rows are done.
        """
        return loop.run(self._evaluate(metrics, model, on, limit, concurrency, progress))

    @property
    def aio(self) -> AsyncTuningProject:
        """The run verbs, awaitable from any event loop."""
        return AsyncTuningProject(self)

    # --- the async core --------------------------------------------------------------------------------------------

    async def _curate(self, progress: OnProgress | None) -> Curation:
        # In a thread: hashing a million rows takes a while, and other projects share this loop.
        key = await asyncio.to_thread(lambda: self._data_key)
        async with loop.lock_for(f"{self.workdir.resolve()} {key}"):
            return await self._curate_once(key, progress)

    async def _curate_once(self, key: str, progress: OnProgress | None) -> Curation:
        from .plan.curation import Curation, curate

        ledger = self._ledger
        kept = await asyncio.to_thread(ledger.read_bytes, "curation", key)
        if kept is not None:
            return await asyncio.to_thread(Curation.from_json, kept)
        augments = any(isinstance(step, AugmentStep) for step in self.plan.data_steps)
        caller = None
        if augments:
            caller = self._backend("curate").caller(self.plan.model)
        result = await curate(
            self.plan,
            self.data,
            key=key,
            caller=caller,
            replies=lambda: ledger.journal("replies", digest("augment", self.plan.model, str(self._where))),
            functions=self.functions,
            progress=progress,
        )
        if any(getattr(report, "failures", ()) for report in result.reports):
            # Not kept: the next call asks for what failed, and reads the replies that came from the journal.
            _log.warning("some augmentation calls failed; curate() again asks for them only")
        else:
            await asyncio.to_thread(ledger.write_bytes, "curation", key, result.to_json())
        await asyncio.to_thread(self._remember)
        return result

    async def _tune(self, attempt: int, progress: OnProgress | None) -> TuningJob:
        from .data.tokens import example_tokens
        from .data.writing import gemini_lines
        from .jobs.job import TuningJob
        from .jobs.purchase import Order, recorded, submit

        if isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1:
            raise PlanError.bad_value("tune", "attempt", attempt, "1 or more")
        backend, ledger = self._backend("tune"), self._ledger
        backend.check_ready()
        self._known_model()
        curation = await self._curate(progress)
        lost = sum(len(getattr(report, "failures", ())) for report in curation.reports)
        if lost:
            msg = f"tune(): {lost:,} augmentation calls failed, so the training data are not what the plan says."
            hint = "call again: only what failed is asked for."
            raise PlanError(msg, hint=hint, code="plan-incomplete")
        if not len(curation.train):
            msg = "tune(): no row is left to train on."
            raise PlanError(msg, hint="print(project.curate()) shows where the rows went.", code="plan-empty")
        tokens = await asyncio.to_thread(lambda: sum(map(example_tokens, curation.train)) / len(curation.train))
        recipe = self._recipe(len(curation.train), tokens)
        settings = recipe.settings()
        plan = self.plan
        start = [plan.tuned_from.model, plan.tuned_from.checkpoint] if plan.tuned_from else None
        key = digest("tune", curation.key, repr(self._where), plan.model, repr(start), repr(settings), str(attempt))
        if recorded(ledger, key) is None:
            await asyncio.to_thread(self._remember, "tuned")
        train = await asyncio.to_thread(gemini_lines, curation.train)
        validation = await asyncio.to_thread(gemini_lines, curation.validation) if len(curation.validation) else None
        instructions = msgspec.to_builtins(plan.instructions)
        order = Order(
            key=key,
            display_name=plan.name[:100],
            base_model=plan.tuned_from.model if plan.tuned_from else plan.model,
            checkpoint=plan.tuned_from.checkpoint if plan.tuned_from else None,
            train=train,
            validation=validation,
            epochs=recipe.epochs,
            learning_rate_multiplier=recipe.learning_rate_multiplier,
            adapter_size=recipe.adapter_size,
            facts={
                "model": plan.model, "recipe": recipe.model_dump(mode="json"), "instructions": instructions,
                "data_key": curation.key, "fingerprint": self.data.fingerprint, "attempt": attempt,
                "examples": len(curation.train), "validation_examples": len(curation.validation),
            },
        )  # fmt: skip
        record = await submit(backend, ledger, order)
        return TuningJob(backend, ledger, record, await backend.get_job(record.name))

    async def _evaluate(
        self,
        metrics: Sequence[MetricLike],
        model: TunedModel | str | None,
        on: Part | Dataset,
        limit: int | None,
        concurrency: int,
        progress: OnProgress | None,
    ) -> EvalReport:
        from .eval.metrics import metric_spec
        from .eval.report import EvalReport
        from .eval.runner import describe, evaluate_async

        describe(metrics, {})  # says what is no metric, before anything is asked
        backend, ledger = self._backend("evaluate"), self._ledger
        dataset, named = await self._part(on, progress)
        if isinstance(model, TunedModel):
            caller = model.caller
        elif model is None and self.plan.tuned_from is not None:
            caller = backend.caller(self.plan.tuned_from.endpoint, base_model=self.plan.model)
        else:
            # An endpoint by name is asked like the project's model: the settings of a call depend on the base model.
            named_model = model or self.plan.model
            base = self.plan.model if named_model.startswith("projects/") else None
            caller = backend.caller(named_model, base_model=base)
        fingerprint = await asyncio.to_thread(lambda: dataset.fingerprint)
        specs = [metric_spec(metric) for metric in metrics]
        key = digest(
            "evaluation",
            fingerprint,
            caller.model,
            repr(self._where),
            repr(specs),
            repr(limit),
            named,
            self.plan.model,  # the judge, where none is named
            model.key if isinstance(model, TunedModel) else "",
        )
        async with loop.lock_for(f"{self.workdir.resolve()} {key}"):
            kept = await asyncio.to_thread(ledger.read_bytes, "evaluation", key)
            if kept is not None:
                report = await asyncio.to_thread(EvalReport.from_json, kept)
                if not report.failures:  # rows that failed on the way are tried again; the others are on record
                    return report
            report = await evaluate_async(
                dataset,
                metrics,
                caller,
                on=named,
                concurrency=concurrency,
                limit=limit,
                generations=ledger.journal("generations", digest("generations", caller.model, repr(self._where))),
                grades=ledger.journal("grades", digest("grades", repr(self._where))),
                judge=lambda judge: backend.caller(judge or self.plan.model),
                progress=progress,
            )
            start = model.key if isinstance(model, TunedModel) else ""
            if model is None and self.plan.tuned_from is not None:
                start = self.plan.tuned_from.key
            if start and on != "train":
                leaks = await asyncio.to_thread(self._trained_on, start, dataset)
                report = msgspec.structs.replace(report, findings=(*leaks, *report.findings))
            await asyncio.to_thread(ledger.write_bytes, "evaluation", key, report.to_json())
            await asyncio.to_thread(self._remember)
            return report

    async def _baseline(
        self,
        metrics: Sequence[MetricLike],
        models: Sequence[str],
        on: Part | Dataset,
        limit: int | None,
        concurrency: int,
        progress: OnProgress | None,
    ) -> Baseline:
        from .eval.report import Baseline

        reports = {}
        for model in (models,) if isinstance(models, str) else models or (self.plan.model,):
            reports[model] = await self._evaluate(metrics, model, on, limit, concurrency, progress)
        return Baseline(reports=reports)

    # --- shared ----------------------------------------------------------------------------------------------------

    def _then(self, step: AnyStep) -> TuningProject:
        return replace(self, plan=self.plan.then(step))

    def _add(self, verb: str, model: type[AnyStep], **values: Any) -> TuningProject:
        try:
            return self._then(model(**values))
        except ValidationError as error:
            first = error.errors()[0]
            place = str(first["loc"][0]) if first["loc"] else "argument"
            raise PlanError.bad_value(verb, place, values.get(place), first["msg"]) from None

    @property
    def _ledger(self) -> Ledger:
        return Ledger(self.workdir, self.plan.name)

    @cached_property
    def _local_curation(self) -> Curation:
        """All steps that cost nothing: everything but augmentation."""
        from .plan.curation import curate

        return loop.run(curate(self.plan, self.data, key="", caller=None, functions=self.functions))

    def _trained_on(self, key: str, rows: Iterable[Example]) -> list[Finding]:
        """A finding when the model that was bought under `key` was trained on some of these rows.

        Known only where the working directory holds that job and its data.
        """
        from .jobs.purchase import recorded
        from .plan.curation import Curation

        job = recorded(self._ledger, key) if key else None
        kept = self._ledger.read_bytes("curation", str(job.facts.get("data_key", "none"))) if job else None
        if kept is None:
            return []
        trained = {(example.text, example.output) for example in Curation.from_json(kept).train}
        seen = [row for row in rows if (row.text, row.output) in trained]
        if not seen:
            return []
        return [
            Finding(
                code="eval-trained-on", severity="stop", count=len(seen), where=tuple(row.where for row in seen[:1000]),
                message=f"{len(seen):,} held-out rows are rows that the tuned model was trained on.",
                hint="split with the seed and the rows of that job, or evaluate on rows that are new: on=Dataset(...).",
            )
        ]  # fmt: skip

    @property
    def _where(self) -> dict[str, str]:
        return self.backend.describe() if self.backend else {}

    def _backend(self, verb: str) -> Backend:
        if self.backend is None:
            raise ConfigError.no_backend(verb)
        return self._bound

    @cached_property
    def _bound(self) -> Backend:
        assert self.backend is not None
        return self.backend.bind(str(self.workdir.resolve()))

    @cached_property
    def _data_key(self) -> str:
        return self.plan.data_key(self.data.fingerprint, self._where)

    def _recorded_curation(self) -> Curation | None:
        """For look verbs: a directory that cannot be used is reported by the run verb that needs it."""
        from .plan.curation import Curation

        try:
            kept = self._ledger.read_bytes("curation", self._data_key)
        except LedgerError:
            return None
        return None if kept is None else Curation.from_json(kept)

    def _known_model(self) -> Model | ConfigError:
        """The model's row, or why there is none when all settings are given; raises ConfigError when they are not."""
        try:
            return known_model(self.plan.model)
        except ConfigError as error:
            explicit = {"epochs", "learning_rate_multiplier", "adapter_size"} <= set(self.plan.recipe.settings)
            if explicit and self.plan.model not in RETIRED:
                return error
            raise

    def _recipe(self, examples: int, avg_tokens: float) -> Recipe:
        step, model = self.plan.recipe, self.plan.model
        known = self._known_model()
        if isinstance(known, ConfigError):
            message = f"{known.message} Your own settings are sent as they are."
            warnings.warn(message, UserWarning, stacklevel=_outside())
            base = Recipe(model=model, why="the model is outside the table", source="you")
        else:
            base = recommend(model, examples, avg_tokens=avg_tokens, preset=step.name)
            adapter = step.settings.get("adapter_size")
            if adapter is not None and adapter not in known.adapters:
                expected = f"one of {', '.join(map(str, known.adapters))} for {model}"
                raise PlanError.bad_value("recipe", "adapter_size", adapter, expected)
        if not step.settings:
            return base
        own = ", ".join(f"{name}={value}" for name, value in step.settings.items())
        why = f"{base.why}; given by you: {own}"
        return Recipe.model_validate({**base.model_dump(), **step.settings, "why": why})

    async def _part(self, on: Part | Dataset, progress: OnProgress | None) -> tuple[Dataset, str]:
        if isinstance(on, Dataset):
            return on.replace(map(self.plan.instructions.apply, on)), f"{len(on):,} rows of {on.source}"
        if on not in ("train", "validation", "test"):
            raise PlanError.bad_value("evaluate", "on", on, "'train', 'validation', 'test' or a Dataset")
        curation = await self._curate(progress)
        part: Dataset = getattr(curation, on)
        if not len(part):
            is_split = any(isinstance(step, SplitStep) for step in self.plan.steps)
            hint = f"add .split({'' if on == 'train' else f'{on}=0.1'}), or give on= a Dataset."
            if is_split:
                hint = "print(project.curate()) shows where the rows went; bring more rows, or give on= a Dataset."
            msg = f"the {on} part is empty{' after the split: too few rows' if is_split else ''}."
            raise PlanError(msg, hint=hint, code="plan-empty")
        return part, on

    def _remember(self, kind: Literal["project", "tuned"] = "project") -> None:
        """Keeps plan, rows and backend, so that `open(workdir)` finds them."""
        ledger = self._ledger
        rows = ledger.put_blob(msgspec.json.encode(self.data.examples))
        record = {
            "plan": self.plan.model_dump(mode="json"), "rows": rows, "source": self.data.source,
            "backend": self._where, "staging": getattr(self.backend, "staging", None),
            "manifest": self.manifest().model_dump(mode="json", exclude={"plan"}),
        }  # fmt: skip
        ledger.write(kind, digest(self.plan.to_json(), rows, repr(self._where)), record)

    def _table(self) -> list[tuple[str, str, str, str]]:
        done = self._recorded_curation()
        stages = dict(enumerate(done.stages)) if done else {}
        rows: list[tuple[str, str, str, str]] = []
        for at, step in enumerate(self.plan.data_steps):
            stage = stages.get(at)
            counts = f"{stage.rows_in:,} -> {stage.rows_out:,}" if stage else "?"
            rows.append((step.op, step.arguments(), counts, "yes" if stage else "no"))
        written = self.plan.instructions
        if written.system is not None or written.each is not None:
            shown = InstructStep(system=written.system, each=written.each)
            rows.append(("instruct", shown.arguments(), "", ""))
        rows.append(("recipe", self.plan.recipe.arguments(), "", ""))
        return rows

    def _title(self) -> str:
        where = "no backend" if self.backend is None else self._where["kind"]
        mark = ", simulated" if self.backend is not None and self.backend.simulated else ""
        return f"TuningProject({self.plan.name!r}, {self.plan.model}, {len(self.data):,} rows, {where}{mark})"

    def __repr__(self) -> str:
        return f"{self._title()}\n{table(('step', 'arguments', 'rows in -> out', 'cached'), self._table())}"

    def _repr_html_(self) -> str:
        return html_table(("step", "arguments", "rows in → out", "cached"), self._table(), caption=self._title())


class AsyncTuningProject:
    """`project.aio`: the run verbs, awaitable from any event loop; cancelling cancels the work, not a bought job."""

    def __init__(self, project: TuningProject) -> None:
        self._project = project

    async def curate(self, *, progress: OnProgress | None = None) -> Curation:
        """As `TuningProject.curate`."""
        return await loop.join(self._project._curate(progress))

    async def baseline(
        self,
        *metrics: MetricLike,
        models: Sequence[str] = (),
        on: Part | Dataset = "validation",
        limit: int | None = None,
        concurrency: int = 8,
        progress: OnProgress | None = None,
    ) -> Baseline:
        """As `TuningProject.baseline`."""
        return await loop.join(self._project._baseline(metrics, models, on, limit, concurrency, progress))

    async def tune(self, *, attempt: int = 1, progress: OnProgress | None = None) -> TuningJob:
        """As `TuningProject.tune`; safe to repeat after a crash."""
        return await loop.join(self._project._tune(attempt, progress))

    async def evaluate(
        self,
        *metrics: MetricLike,
        model: TunedModel | str | None = None,
        on: Part | Dataset = "test",
        limit: int | None = None,
        concurrency: int = 8,
        progress: OnProgress | None = None,
    ) -> EvalReport:
        """As `TuningProject.evaluate`."""
        return await loop.join(self._project._evaluate(metrics, model, on, limit, concurrency, progress))


def _outside() -> int:
    """The `stacklevel` of the first frame that is not this package's: the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(f"{__package__}."):
        level, frame = level + 1, frame.f_back
    return level


def _plan(name: str, model: str, input: str, output: str) -> Plan:
    try:
        return Plan(name=name, model=model, input=input, output=output)
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{first['loc'][0]}={first.get('input')!r}: {first['msg']}."
        raise PlanError(msg, code="plan-value") from None
