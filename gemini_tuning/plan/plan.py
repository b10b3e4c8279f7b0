"""A plan: the steps and settings without any data, and the manifest that adds the data's fingerprint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import PlanError
from ..ledger import digest
from ..types import Instructions
from .steps import TRAIN_ONLY, AnyStep, AugmentStep, FilterStep, InstructStep, RecipeStep, RepairStep, SplitStep, Step


class TunedFrom(BaseModel):
    """A tuned model to go on from (continuous tuning); without a checkpoint its default one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    endpoint: str
    checkpoint: str | None = None
    key: str = ""


class Plan(BaseModel):
    """Everything but the data: serialisable, comparable, usable for any number of data sets.

    The fluent chain and the JSON are two spellings of one thing: equal plans have equal keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=100)
    model: str = Field(min_length=1)
    tuned_from: TunedFrom | None = None
    input: str = "input"
    output: str = "output"
    steps: tuple[Step, ...] = ()

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Reads a plan; PlanError says what is wrong in it."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            msg = f"this is not a plan of this version: {error}"
            raise PlanError(msg, hint="write plans with plan.to_json().", code="plan-json") from error

    def to_json(self) -> str:
        """The plan as JSON, with a stable order."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1, sort_keys=True)

    def then(self, step: AnyStep) -> Plan:
        """The plan with one more step."""
        return self.model_copy(update={"steps": (*self.steps, step)})

    @property
    def data_steps(self) -> tuple[AnyStep, ...]:
        """The steps that change rows, in the order in which they are carried out.

        Instructions are put on at the end and recipes do not touch data. A later `split` replaces an earlier one.
        A split that is written after a step for the training part is carried out just before that step, so that
        no order of verbs lets a test row into what is made for training. A `repair` comes first wherever it is written:
        a row that cannot be read is in no part, and what is not read cannot be compared or counted.
        """
        steps: list[AnyStep] = [step for step in self.steps if isinstance(step, RepairStep)]
        steps += [step for step in self.steps if not isinstance(step, (RepairStep, InstructStep, RecipeStep))]
        splits = [step for step in steps if isinstance(step, SplitStep)]
        if not splits:
            return tuple(steps)
        last = splits[-1]
        place = max(at for at, step in enumerate(steps) if step is last)
        first_train_only = next((at for at, step in enumerate(steps) if isinstance(step, TRAIN_ONLY)), place)
        ordered: list[AnyStep] = []
        for at, step in enumerate(steps):
            if at == min(place, first_train_only):
                ordered.append(last)
            if not isinstance(step, SplitStep):
                ordered.append(step)
        return tuple(ordered)

    @property
    def instructions(self) -> Instructions:
        """The instructions after all `instruct` steps."""
        result = Instructions()
        for step in self.steps:
            if isinstance(step, InstructStep):
                result = step.over(result)
        return result

    @property
    def recipe(self) -> RecipeStep:
        """The last preset named and all overrides, later ones winning field by field."""
        name: Literal["auto", "article", "default"] = "auto"
        settings = {}
        for step in self.steps:
            if isinstance(step, RecipeStep):
                name = step.name
                settings.update(step.settings)
        return RecipeStep(name=name, settings=settings)

    @property
    def opaque(self) -> tuple[str, ...]:
        """The functions that the plan names and does not hold."""
        return tuple(step.function for step in self.steps if isinstance(step, FilterStep))

    def step_keys(self, fingerprint: str, backend: Mapping[str, str] | None) -> tuple[str, ...]:
        """A key for the rows after each data step: sha256 over the parent's key, the step's JSON and its version.

        A step that a model writes for depends on which model, and on whether it is simulated.
        """
        keys = []
        key = digest("rows", fingerprint)
        for step in self.data_steps:
            written = json.dumps(step.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
            by = json.dumps([self.model, dict(backend or {})], sort_keys=True) if isinstance(step, AugmentStep) else ""
            key = digest(key, written, str(step.version), by)
            keys.append(key)
        return tuple(keys)

    def data_key(self, fingerprint: str, backend: Mapping[str, str] | None) -> str:
        """The key of the curated data, instructions included."""
        steps: Sequence[str] = self.step_keys(fingerprint, backend)
        last = steps[-1] if steps else digest("rows", fingerprint)
        words = self.instructions
        return digest(last, json.dumps([words.system, words.each], ensure_ascii=False))


class Manifest(BaseModel):
    """What exactly a run was made from: enough to make it again, or to see what differed."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    fingerprint: str
    source: str
    rows: int
    step_keys: tuple[str, ...]
    data_key: str
    opaque: tuple[str, ...]
    backend: dict[str, str] | None
    simulated: bool | None
    python: str
    versions: dict[str, str]

    def to_json(self) -> str:
        """As JSON."""
        return self.model_dump_json(indent=1)


def library_versions() -> dict[str, str]:
    """Versions of the packages whose behaviour shapes a result."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    clients = ("google-genai", "google-cloud-storage", "google-cloud-aiplatform")
    for name in ("gemini-tuning", *clients, "numpy", "pydantic"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
