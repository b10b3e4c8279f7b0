"""`TuningProject`: the whole road as one fluent value. Each verb is one step over a layer function."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, TypeVar, overload

import msgspec
from pydantic import ValidationError

from ..backend import loop
from ..backend.selection import from_description, resolve
from ..display import html_table, table
from ..errors import LedgerError, PlanError
from ..ledger import DEFAULT, Ledger
from ..models import Price, find
from ..plan.counting import SAMPLE, Counts
from ..plan.estimate import Estimate
from ..plan.plan import Manifest, Plan, TunedFrom
from ..plan.steps import (
    AnyStep,
    AugmentStep,
    DedupStep,
    FilterStep,
    InstructStep,
    RecipeStep,
    RedactStep,
    RepairStep,
    SampleStep,
    SplitStep,
    wrong_setting,
)
from ..recipes.presets import PresetName
from ..types import Broken, Dataset, Example, Finding, TunedModel
from .aio import AsyncTuningProject
from .core import Core, OnProgress, Part

if TYPE_CHECKING:
    from ..backend.base import Backend
    from ..data.checks.report import DataReport
    from ..data.files.reading import Format
    from ..data.learning.learning_curve import LearningCurve
    from ..data.mending.report import RepairReport
    from ..data.private.detectors import Presidio
    from ..data.private.spans import Kind
    from ..eval.metrics import MetricLike
    from ..eval.report import Baseline, EvalReport
    from ..jobs.job import TuningJob
    from ..plan.curation import Curation
    from ..plan.steps import Method, Selector

P = ParamSpec("P")
R = TypeVar("R")
TooLong = Literal["keep", "drop", "cut"]
Unfixable = Literal["refuse", "drop"]
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
        bad_rows: Literal["raise", "keep"] = "raise",
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
            bad_rows: `"raise"` stops at a row that is unusable and that `repair()` cannot mend. Rows that it can mend,
                and with `"keep"` all unusable ones, are kept aside: `check()` lists them, `repair()` deals with them,
                and run verbs refuse to go on before that.
            backend: `"offline"` or `Vertex(...)`; only run verbs need it.
            workdir: Working directory; default `.gemini_tuning` in the current one.

        Raises:
            DataError: A column is missing (lists those there are) or a row is unusable (names it).
            PlanError: A name or model that can never work.
        """
        from ..data.files.reading import from_records

        plan = _plan(name, model, input, output)
        data = from_records(records, input=input, output=output, bad_rows="keep")
        return cls._start(plan, _usable(data, plan, bad_rows), backend, workdir)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str,
        model: str,
        input: str = "input",
        output: str = "output",
        format: Format | None = None,
        encoding: str | None = None,
        bad_rows: Literal["raise", "keep"] = "raise",
        backend: BackendLike = None,
        workdir: str | os.PathLike[str] | None = None,
    ) -> TuningProject:
        """A project from a file: any format that `data.read` knows, local or `gs://`, also `.gz`.

        The format is detected and refused when ambiguous. See `from_records` for the other arguments.

        Raises:
            DataError: With file, line and field.
        """
        from ..data.files.reading import read

        plan = _plan(name, model, input, output)
        reader = resolve(backend)
        data = read(path, format=format, input=input, output=output, encoding=encoding, bad_rows="keep", backend=reader)
        return cls._start(plan, _usable(data, plan, bad_rows), reader, workdir)

    @classmethod
    def from_plan(
        cls,
        plan: Plan,
        records: Iterable[Any],
        *,
        bad_rows: Literal["raise", "keep"] = "raise",
        backend: BackendLike = None,
        workdir: str | os.PathLike[str] | None = None,
        functions: Mapping[str, Callable[[Example], Any]] | None = None,
    ) -> TuningProject:
        """The same plan for other data, for example one tenant's rows.

        Args:
            plan: The plan; it names the columns.
            records: The rows.
            bad_rows: As in `from_records`; a plan with `repair(unfixable="drop")` keeps them, since it says what to do.
            backend: As in `from_records`.
            workdir: As in `from_records`.
            functions: Functions that the plan's `filter` steps name and that cannot be imported.
        """
        from ..data.files.reading import from_records

        given: object = plan
        if not isinstance(given, Plan):
            expected = "a Plan"
            raise PlanError.bad_value("from_plan", "plan", plan, expected, hint="Plan.from_json(text) reads one.")
        drops = any(isinstance(step, RepairStep) and step.unfixable == "drop" for step in plan.steps)
        data = from_records(records, input=plan.input, output=plan.output, bad_rows="keep")
        data = _usable(data, plan, "keep" if drops else bad_rows)
        project = cls._start(plan, data, backend, workdir)
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
        broken = ledger.blob(record["broken"]) if record.get("broken") else b"[]"
        if broken is None:
            msg = f"the broken rows of the last run are missing or changed in {path} (blobs/{record['broken']})."
            raise LedgerError(msg, hint="start again from your own file.", code="ledger-corrupt")
        data = Dataset(
            msgspec.json.decode(rows, type=tuple[Example, ...]),
            source=record["source"],
            broken=msgspec.json.decode(broken, type=tuple[Broken, ...]),
            notes=msgspec.convert(record.get("notes", []), tuple[Finding, ...]),
        )
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

    @overload
    def repair(
        self, *, too_long: TooLong = ..., unfixable: Unfixable = ..., dry_run: Literal[False] = ...
    ) -> TuningProject: ...
    @overload
    def repair(
        self, *, too_long: TooLong = ..., unfixable: Unfixable = ..., dry_run: Literal[True]
    ) -> RepairReport: ...
    def repair(
        self, *, too_long: TooLong = "keep", unfixable: Unfixable = "refuse", dry_run: bool = False
    ) -> TuningProject | RepairReport:
        """Mends what is safely mended: encodings, JSON layout, roles, shapes, arguments. Each change is listed.

        Never a label, an answer or the end of a cut line is guessed.

        Args:
            too_long: Examples over the model's limit: `"keep"` them (then `check()` says so), `"drop"` them, or
                `"cut"` whole turns from the beginning of a conversation.
            unfixable: Rows that cannot be mended: `"refuse"` keeps them aside, and run verbs stop with the first;
                `"drop"` goes on without them. Both list them.
            dry_run: Changes nothing and returns the list of what would change.
        """
        repaired = self._add("repair", RepairStep, too_long=too_long, unfixable=unfixable)
        if not dry_run:
            return repaired
        from ..data.mending.repair import repair

        return repair(
            self.data, too_long=too_long, unfixable=unfixable, input=self.plan.input, output=self.plan.output,
            dry_run=True,
        )[1]  # fmt: skip

    def redact(
        self,
        *,
        kinds: Sequence[Kind] | None = None,
        keep: Sequence[str] | None = None,
        detector: Presidio | None = None,
    ) -> TuningProject:
        """Puts stable placeholders (`<EMAIL_1>`) in the place of personal data, in all parts.

        Args:
            kinds: Which kinds; None is all.
            keep: Values to leave, such as the address of your own support desk.
            detector: A service that finds more, such as names: `Presidio(url=...)`.
        """
        from ..data.private.redact import check_kinds

        check_kinds(kinds, detector)
        return self._add(
            "redact",
            RedactStep,
            kinds=None if kinds is None else tuple(kinds),
            keep=None if keep is None else tuple(keep),
            detector=detector,
        )

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
        from ..data.instruct import check_template

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
        from ..data.files.reading import from_records

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

        From the training part after all steps; when it is not on record yet, after those that cost nothing.
        """
        if n < 1:
            raise PlanError.bad_value("preview", "n", n, "1 or more")
        from ..data.transcript import Preview

        if not self.plan.data_steps:
            return Preview(self.plan.instructions.apply(example) for example in self.data[:n])
        done = self._core.recorded_curation() or self._core.local_curation
        return Preview(done.train[:n])

    def explain(self) -> str:
        """The plan in words, in the order in which it is carried out, and one example exactly as Gemini reads it."""
        from ..data.transcript import transcript

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
        where = ", ".join(self._core.where.values()) or "none yet"
        lines.append(f"Backend: {where}. Working directory: {self.workdir}.")
        if len(self.data):
            lines += ["", "The first example, as Gemini reads it:"]
            lines.append(str(transcript(self.preview(1)[0], instructions=written)))
        return "\n".join(lines)

    def check(
        self,
        *,
        production: Dataset | Iterable[str] | str | os.PathLike[str] | None = None,
        leak_from: Dataset | str | os.PathLike[str] | None = None,
    ) -> DataReport:
        """What is wrong with the data, before any money is spent: findings with file, line, field and what to do.

        The plan's local steps are carried out first (everything but augmentation), so what they mend is not
        reported, and leaks between the parts are.

        Args:
            production: A sample of what users really ask: texts, a data set or a file. Training unlike it is a finding.
            leak_from: A data set or file that training must not have seen, for example a test set kept elsewhere.
        """
        from ..data.checks.check import Limits, check, merged, read_texts, unknown_model
        from ..data.checks.text import replaced_system
        from ..data.files.reading import read

        input, output = self.plan.input, self.plan.output
        if isinstance(production, str | os.PathLike):
            production = read_texts(production, input=input)
        if isinstance(leak_from, str | os.PathLike):
            leak_from = read(leak_from, input=input, output=output, bad_rows="keep", backend=self.backend)
        curation = self._core.local_curation
        train = Dataset(curation.train, source=self.data.source, broken=curation.broken, notes=self.data.notes)
        is_split = any(isinstance(step, SplitStep) for step in self.plan.steps)
        report = check(
            replace(curation.parts, train=train) if is_split else train,
            limits=Limits.of(find(self.plan.model)),
            production=production,
            leak_from=leak_from,
            input=input,
            output=output,
        )
        more = [
            *unknown_model(self.plan.model),
            *replaced_system(self.data, self.plan.instructions),
            *curation.findings,
        ]
        if self.plan.tuned_from is not None:
            more += self._core.trained_on(self.plan.tuned_from.key, (*curation.validation, *curation.test))
        return merged(report, more)

    def learning_curve(self, *, seed: int = 0) -> LearningCurve:
        """Would more of the same data help? A small model's score at 10, 20, 40, 80 and 100 % of the training rows.

        The curve of a small local model on this task, with intervals: a proxy for Gemini's, and it says so.
        """
        from ..data.learning.learning_curve import learning_curve

        return learning_curve(self._core.local_curation.train, seed=seed)

    def estimate(self, *, prices: Price | None = None, counts: Counts | None = None) -> Estimate:
        """Examples, tokens, cost range and the recipe with its reason, before anything is bought.

        Args:
            prices: Your own, in USD per million tokens; the table's, which are dated, when None.
            counts: Of `count_tokens()`, in place of the offline estimate.
        """
        from ..plan.tokens import training_tokens

        done = self._core.recorded_curation()
        parts = done or self._core.local_curation
        augments = any(isinstance(step, AugmentStep) for step in self.plan.data_steps)
        scope = "after curation" if done or not augments else "after curation, without what augmentation will add"
        average = sum(training_tokens(parts.train)) / max(1, len(parts.train))
        return Estimate.of(
            parts.train,
            parts.validation,
            test=parts.test,
            prices=prices,
            counts=counts,
            recipe=self._core.recipe(len(parts.train), average),
            simulated=self.backend.simulated if self.backend else None,
            scope=scope + (f"; {len(parts.broken):,} broken rows left out" if parts.broken else ""),
        )

    def count_tokens(self, *, sample: int = SAMPLE, progress: OnProgress | None = None) -> Counts:
        """Tokens of the training part as the service counts them, for `estimate(counts=...)`.

        Needs a backend. Up to `sample` examples are counted one by one and kept on record; the total of more is an
        interval. Google does not charge for counting.
        """
        return loop.run(self._core.count_tokens(sample, progress))

    @property
    def is_recorded(self) -> bool:
        """Whether the working directory holds this project's curated data already."""
        return self._core.ledger.read_bytes("curation", self._core.data_key) is not None

    def manifest(self) -> Manifest:
        """What a run of this project is made from: plan, fingerprint of the data, versions, backend, keys."""
        return self._core.manifest()

    # --- run verbs -------------------------------------------------------------------------------------------------

    def curate(self, *, progress: OnProgress | None = None) -> Curation:
        """Carries out the data steps and returns the parts with a reason for every row that came or went.

        Needs a backend only when the plan augments.
        """
        return loop.run(self._core.curate(progress))

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
        return loop.run(self._core.baseline(metrics, models, on, limit, concurrency, progress))

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
        return loop.run(self._core.tune(attempt, progress))

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
        return loop.run(self._core.evaluate(metrics, model, on, limit, concurrency, progress))

    @property
    def aio(self) -> AsyncTuningProject:
        """The run verbs, awaitable from any event loop."""
        return AsyncTuningProject(self._core)

    # --- shared ----------------------------------------------------------------------------------------------------

    @cached_property
    def _core(self) -> Core:
        return Core(self.plan, self.data, self.backend, self.workdir, self.functions)

    def _then(self, step: AnyStep) -> TuningProject:
        return replace(self, plan=self.plan.then(step))

    def _add(self, verb: str, model: type[AnyStep], **values: Any) -> TuningProject:
        try:
            return self._then(model(**values))
        except ValidationError as error:
            first = error.errors()[0]
            place = str(first["loc"][0]) if first["loc"] else "argument"
            raise PlanError.bad_value(verb, place, values.get(place), first["msg"]) from None

    def _table(self) -> list[tuple[str, str, str, str]]:
        done = self._core.recorded_curation()
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
        where = "no backend" if self.backend is None else self._core.where["kind"]
        mark = ", simulated" if self.backend is not None and self.backend.simulated else ""
        rows = f"{len(self.data):,} rows" + (f" and {len(self.data.broken):,} broken" if self.data.broken else "")
        return f"TuningProject({self.plan.name!r}, {self.plan.model}, {rows}, {where}{mark})"

    def __repr__(self) -> str:
        return f"{self._title()}\n{table(('step', 'arguments', 'rows in -> out', 'cached'), self._table())}"

    def _repr_html_(self) -> str:
        return html_table(("step", "arguments", "rows in → out", "cached"), self._table(), caption=self._title())


def _usable(data: Dataset, plan: Plan, bad_rows: Literal["raise", "keep"]) -> Dataset:
    """The data as read, unless a row is broken beyond repair and that was not to be kept."""
    from ..data.formats.rows import Columns
    from ..data.mending.repair import fixable
    from ..plan.curation import refuse_broken

    if bad_rows not in ("raise", "keep"):
        raise PlanError.bad_value("from_file", "bad_rows", bad_rows, "'raise' or 'keep'")
    if bad_rows == "raise":
        columns = Columns(plan.input, plan.output)
        lost = tuple(row for row in data.broken if not fixable(row, columns))
        if lost:
            hint = "with bad_rows='keep' check() lists them, and .repair(unfixable='drop') goes on without them."
            raise refuse_broken(lost, hint)
    return data


def _plan(name: str, model: str, input: str, output: str) -> Plan:
    try:
        return Plan(name=name, model=model, input=input, output=output)
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{first['loc'][0]}={first.get('input')!r}: {first['msg']}."
        raise PlanError(msg, code="plan-value") from None
