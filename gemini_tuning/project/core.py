"""What the verbs of a project do: the async core, run on the private loop, and what look verbs share with it."""

from __future__ import annotations

import asyncio
import logging
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..backend import loop
from ..errors import ConfigError, LedgerError, PlanError
from ..ledger import Ledger, digest
from ..models import RETIRED, Model
from ..plan.counting import Counts, count
from ..plan.plan import Manifest, Plan, library_versions
from ..plan.steps import AugmentStep, SplitStep
from ..recipes.presets import Recipe, known_model, recommend
from ..types import Dataset, Example, Finding, Progress, TunedModel

if TYPE_CHECKING:
    from ..backend.base import Backend
    from ..eval.metrics import MetricLike
    from ..eval.report import Baseline, EvalReport
    from ..jobs.job import TuningJob
    from ..plan.curation import Curation

_log = logging.getLogger(__name__)
Part = Literal["train", "validation", "test"]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Core:
    """One project at work: its plan, rows, backend and working directory, with what was worked out so far."""

    plan: Plan
    data: Dataset
    backend: Backend | None
    workdir: Path
    functions: Mapping[str, Callable[[Example], Any]]

    async def curate(self, progress: OnProgress | None) -> Curation:
        """As `TuningProject.curate`: equal work at once is done once."""
        # In a thread: hashing a million rows takes a while, and other projects share this loop.
        key = await asyncio.to_thread(lambda: self.data_key)
        async with loop.lock_for(f"{self.workdir.resolve()} {key}"):
            return await self.curate_once(key, progress)

    async def curate_once(self, key: str, progress: OnProgress | None) -> Curation:
        """The record, or the work and then the record."""
        from ..plan.curation import Curation, curate

        ledger = self.ledger
        kept = await asyncio.to_thread(ledger.read_bytes, "curation", key)
        if kept is not None:
            return await asyncio.to_thread(Curation.from_json, kept)
        augments = any(isinstance(step, AugmentStep) for step in self.plan.data_steps)
        caller = None
        if augments:
            caller = self.backend_for("curate").caller(self.plan.model)
        result = await curate(
            self.plan,
            self.data,
            key=key,
            caller=caller,
            replies=lambda: ledger.journal("replies", digest("augment", self.plan.model, str(self.where))),
            functions=self.functions,
            progress=progress,
            refuse=True,
        )
        if any(getattr(report, "failures", ()) for report in result.reports):
            # Not kept: the next call asks for what failed, and reads the replies that came from the journal.
            _log.warning("some augmentation calls failed; curate() again asks for them only")
        else:
            await asyncio.to_thread(ledger.write_bytes, "curation", key, result.to_json())
        await asyncio.to_thread(self.remember)
        return result

    async def count_tokens(self, sample: int, progress: OnProgress | None) -> Counts:
        """As `TuningProject.count_tokens`."""
        caller = self.backend_for("count_tokens").caller(self.plan.model)
        parts = await asyncio.to_thread(lambda: self.recorded_curation() or self.local_curation)
        key = digest("counts", caller.model, repr(self.where))
        async with loop.lock_for(f"{self.workdir.resolve()} {key}"):
            journal = self.ledger.journal("counts", key)
            return await count(parts.train, caller, journal, sample=sample, progress=progress)

    async def tune(self, attempt: int, progress: OnProgress | None) -> TuningJob:
        """As `TuningProject.tune`."""
        from ..data.formats.writing import gemini_lines
        from ..jobs.job import TuningJob
        from ..jobs.purchase import Order, recorded, submit
        from ..plan.tokens import training_tokens

        if isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1:
            raise PlanError.bad_value("tune", "attempt", attempt, "1 or more")
        backend, ledger = self.backend_for("tune"), self.ledger
        backend.check_ready()
        self.known_model()
        curation = await self.curate(progress)
        lost = sum(len(getattr(report, "failures", ())) for report in curation.reports)
        if lost:
            msg = f"tune(): {lost:,} augmentation calls failed, so the training data are not what the plan says."
            hint = "call again: only what failed is asked for."
            raise PlanError(msg, hint=hint, code="plan-incomplete")
        if not len(curation.train):
            msg = "tune(): no row is left to train on."
            raise PlanError(msg, hint="print(project.curate()) shows where the rows went.", code="plan-empty")
        _supervised(curation)
        tokens = await asyncio.to_thread(lambda: sum(training_tokens(curation.train)) / len(curation.train))
        recipe = self.recipe(len(curation.train), tokens)
        settings = recipe.settings()
        plan = self.plan
        start = [plan.tuned_from.model, plan.tuned_from.checkpoint] if plan.tuned_from else None
        key = digest("tune", curation.key, repr(self.where), plan.model, repr(start), repr(settings), str(attempt))
        if recorded(ledger, key) is None:
            await asyncio.to_thread(self.remember, "tuned")
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

    async def evaluate(
        self,
        metrics: Sequence[MetricLike],
        model: TunedModel | str | None,
        on: Part | Dataset,
        limit: int | None,
        concurrency: int,
        progress: OnProgress | None,
    ) -> EvalReport:
        """As `TuningProject.evaluate`."""
        from ..eval.metrics import metric_spec
        from ..eval.report import EvalReport
        from ..eval.runner import describe, evaluate_async

        describe(metrics, {})  # says what is no metric, before anything is asked
        backend, ledger = self.backend_for("evaluate"), self.ledger
        dataset, named = await self.part(on, progress)
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
            repr(self.where),
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
                generations=ledger.journal("generations", digest("generations", caller.model, repr(self.where))),
                grades=ledger.journal("grades", digest("grades", repr(self.where))),
                judge=lambda judge: backend.caller(judge or self.plan.model),
                progress=progress,
            )
            start = model.key if isinstance(model, TunedModel) else ""
            if model is None and self.plan.tuned_from is not None:
                start = self.plan.tuned_from.key
            if start and on != "train":
                leaks = await asyncio.to_thread(self.trained_on, start, dataset)
                report = msgspec.structs.replace(report, findings=(*leaks, *report.findings))
            await asyncio.to_thread(ledger.write_bytes, "evaluation", key, report.to_json())
            await asyncio.to_thread(self.remember)
            return report

    async def baseline(
        self,
        metrics: Sequence[MetricLike],
        models: Sequence[str],
        on: Part | Dataset,
        limit: int | None,
        concurrency: int,
        progress: OnProgress | None,
    ) -> Baseline:
        """As `TuningProject.baseline`."""
        from ..eval.report import Baseline

        reports = {}
        for model in (models,) if isinstance(models, str) else models or (self.plan.model,):
            reports[model] = await self.evaluate(metrics, model, on, limit, concurrency, progress)
        return Baseline(reports=reports)

    @property
    def ledger(self) -> Ledger:
        """The working directory; LedgerError when it belongs to another project."""
        return Ledger(self.workdir, self.plan.name)

    @cached_property
    def local_curation(self) -> Curation:
        """All steps that cost nothing: everything but augmentation."""
        from ..plan.curation import curate

        return loop.run(curate(self.plan, self.data, key="", caller=None, functions=self.functions))

    def trained_on(self, key: str, rows: Iterable[Example]) -> list[Finding]:
        """A finding when the model that was bought under `key` was trained on some of these rows.

        Known only where the working directory holds that job and its data.
        """
        from ..jobs.purchase import recorded
        from ..plan.curation import Curation

        job = recorded(self.ledger, key) if key else None
        kept = self.ledger.read_bytes("curation", str(job.facts.get("data_key", "none"))) if job else None
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
    def where(self) -> dict[str, str]:
        """What identifies the backend; empty without one."""
        return self.backend.describe() if self.backend else {}

    def backend_for(self, verb: str) -> Backend:
        """The backend, bound to the working directory; ConfigError names both choices when there is none."""
        if self.backend is None:
            raise ConfigError.no_backend(verb)
        return self.bound

    @cached_property
    def bound(self) -> Backend:
        """The backend with its connections: made once."""
        assert self.backend is not None
        return self.backend.bind(str(self.workdir.resolve()))

    @cached_property
    def data_key(self) -> str:
        """The key of the curated data."""
        return self.plan.data_key(self.data.fingerprint, self.where)

    def recorded_curation(self) -> Curation | None:
        """For look verbs: a directory that cannot be used is reported by the run verb that needs it."""
        from ..plan.curation import Curation

        try:
            kept = self.ledger.read_bytes("curation", self.data_key)
        except LedgerError:
            return None
        return None if kept is None else Curation.from_json(kept)

    def known_model(self) -> Model | ConfigError:
        """The model's row, or why there is none when all settings are given; raises ConfigError when they are not."""
        try:
            return known_model(self.plan.model)
        except ConfigError as error:
            explicit = {"epochs", "learning_rate_multiplier", "adapter_size"} <= set(self.plan.recipe.settings)
            if explicit and self.plan.model not in RETIRED:
                return error
            raise

    def recipe(self, examples: int, avg_tokens: float) -> Recipe:
        """The preset for these data, with the user's overrides."""
        step, model = self.plan.recipe, self.plan.model
        known = self.known_model()
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

    async def part(self, on: Part | Dataset, progress: OnProgress | None) -> tuple[Dataset, str]:
        """The rows of a part, or of a data set with the project's instructions; and what they are called."""
        if isinstance(on, Dataset):
            return on.replace(map(self.plan.instructions.apply, on)), f"{len(on):,} rows of {on.source}"
        if on not in ("train", "validation", "test"):
            raise PlanError.bad_value("evaluate", "on", on, "'train', 'validation', 'test' or a Dataset")
        curation = await self.curate(progress)
        part: Dataset = getattr(curation, on)
        if not len(part):
            is_split = any(isinstance(step, SplitStep) for step in self.plan.steps)
            hint = f"add .split({'' if on == 'train' else f'{on}=0.1'}), or give on= a Dataset."
            if is_split:
                hint = "print(project.curate()) shows where the rows went; bring more rows, or give on= a Dataset."
            msg = f"the {on} part is empty{' after the split: too few rows' if is_split else ''}."
            raise PlanError(msg, hint=hint, code="plan-empty")
        return part, on

    def remember(self, kind: Literal["project", "tuned"] = "project") -> None:
        """Keeps plan, rows and backend, so that `open(workdir)` finds them."""
        ledger = self.ledger
        rows = ledger.put_blob(msgspec.json.encode(self.data.examples))
        broken = ledger.put_blob(msgspec.json.encode(self.data.broken)) if self.data.broken else None
        record = {
            "plan": self.plan.model_dump(mode="json"), "rows": rows, "broken": broken,
            "notes": msgspec.to_builtins(self.data.notes), "source": self.data.source,
            "backend": self.where, "staging": getattr(self.backend, "staging", None),
            "manifest": self.manifest().model_dump(mode="json", exclude={"plan"}),
        }  # fmt: skip
        ledger.write(kind, digest(self.plan.to_json(), rows, repr(self.where)), record)

    def manifest(self) -> Manifest:
        """What a run is made from: plan, fingerprint of the data, versions, backend, keys."""
        where = self.backend.describe() if self.backend else None
        return Manifest(
            plan=self.plan,
            fingerprint=self.data.fingerprint,
            source=self.data.source,
            rows=len(self.data),
            step_keys=self.plan.step_keys(self.data.fingerprint, where),
            data_key=self.data_key,
            opaque=self.plan.opaque,
            backend=where,
            simulated=self.backend.simulated if self.backend else None,
            python=platform.python_version(),
            versions=library_versions(),
        )


def _supervised(curation: Curation) -> None:
    """Raises PlanError for rows that supervised tuning cannot learn from: pairs, or no answer of the model."""
    for example in (*curation.train, *curation.validation):
        if example.completions or not example.turns or example.turns[-1].role != "model":
            kind = "a preference pair" if example.completions else "a row without an answer of the model"
            msg = f"tune(): {example.where} is {kind}, and supervised tuning learns from the model's last turn."
            hint = "to learn the preferred answers, bring rows with the prompt and that answer."
            raise PlanError(msg, hint=hint, code="plan-method")


def _outside() -> int:
    """The `stacklevel` of the first frame that is not this package's: the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("gemini_tuning."):
        level, frame = level + 1, frame.f_back
    return level
