"""The steps of a plan: one frozen model a verb, told apart by `op`.

A step is data. `version` belongs to the class and is raised when the step's output changes, so that old records are
not taken for new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .._functions import function_hash, function_name
from ..data.augment import Paraphrase, RareLabels
from ..data.private.detectors import Presidio
from ..data.private.spans import Kind
from ..models import ADAPTER_SIZES, TOKENS_PER_EXAMPLE
from ..types import Example, Instructions

Method = Paraphrase
"""Ways of writing more examples; a union on `kind` when there are more."""
Selector = RareLabels
"""Ways of choosing which examples; a union on `kind` when there are more."""
Setting = Literal["epochs", "learning_rate_multiplier", "adapter_size"]


def wrong_setting(name: str, value: object) -> str:
    """What a setting must be when this value is none, or an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        return "a number above 0, or None for the service's default"
    if name != "learning_rate_multiplier" and value != int(value):
        return "a whole number, or None for the service's default"
    if name == "adapter_size" and value not in ADAPTER_SIZES:
        return f"one of {', '.join(map(str, ADAPTER_SIZES))}, or None for the service's default"
    return ""


class StepModel(BaseModel):
    """What all steps share."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: ClassVar[int] = 1

    def arguments(self) -> str:
        """The arguments that differ from the defaults, as the user would write them."""
        parts = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name != "op" and value != field.get_default(call_default_factory=True):
                parts.append(f"{name}={_written(value)}")
        return ", ".join(parts)


def _written(value: object) -> str:
    if isinstance(value, BaseModel):
        inner = ", ".join(f"{name}={item!r}" for name, item in value if name != "kind")
        return f"{getattr(value, 'kind', type(value).__name__)}({inner})"
    if isinstance(value, tuple):
        return ", ".join(_written(item) for item in value)
    return repr(value)


class FilterStep(StepModel):
    """Keeps the rows for which a named function is true. The function itself is never stored."""

    op: Literal["filter"] = "filter"
    function: str
    source_hash: str

    @classmethod
    def of(cls, predicate: Callable[[Example], bool], name: str | None) -> FilterStep:
        """Names the function `module:qualname` (or `name`) and hashes what it does, so that a change is a new key."""
        named, source_hash = name or function_name(predicate), function_hash(predicate)
        return cls(function=named, source_hash=source_hash[:16])

    @property
    def identity(self) -> str:
        """Name and hash: two lambdas of one script share the name."""
        return f"{self.function}#{self.source_hash}"

    def arguments(self) -> str:
        """The function's name."""
        return self.function


class RepairStep(StepModel):
    """Mends what is safely mended, each change listed; what is not stays aside (refused) or goes, as told."""

    op: Literal["repair"] = "repair"
    too_long: Literal["keep", "drop", "cut"] = "keep"
    unfixable: Literal["refuse", "drop"] = "refuse"
    limit: int = Field(default=TOKENS_PER_EXAMPLE, ge=1, strict=True)


class RedactStep(StepModel):
    """Puts stable placeholders in the place of personal data, in all parts."""

    op: Literal["redact"] = "redact"
    kinds: tuple[Kind, ...] | None = None
    keep: tuple[str, ...] | None = None
    detector: Presidio | None = None


class SampleStep(StepModel):
    """Keeps n rows, chosen by a keyed hash; after a split it thins the training part only."""

    op: Literal["sample"] = "sample"
    n: int = Field(ge=1, strict=True)
    seed: int = Field(default=0, strict=True)


class DedupStep(StepModel):
    """Removes duplicates; across parts from train, never from test."""

    op: Literal["dedup"] = "dedup"
    exact: bool = True
    near: float | None = Field(default=None, gt=0, le=1, strict=True)


class SplitStep(StepModel):
    """Parts the rows into train, validation and test."""

    op: Literal["split"] = "split"
    validation: float = Field(default=0.1, ge=0, lt=1, strict=True)
    test: float = Field(default=0.1, ge=0, lt=1, strict=True)
    seed: int = Field(default=0, strict=True)
    stratify: bool = True


class AugmentStep(StepModel):
    """Adds examples that a model writes, to the training part only, behind a gate."""

    op: Literal["augment"] = "augment"
    methods: tuple[Method, ...]
    only: Selector | None = None
    seed: int = 0

    def arguments(self) -> str:
        """`paraphrase(per_example=1), only=rare_labels(below=20)`."""
        parts = [_written(method) for method in self.methods]
        parts += [f"only={_written(self.only)}"] if self.only is not None else []
        return ", ".join([*parts, *([f"seed={self.seed}"] if self.seed else [])])


class InstructStep(StepModel):
    """Sets the system instruction, the instance instruction, or both; what is None stays as it was."""

    op: Literal["instruct"] = "instruct"
    system: str | None = None
    each: str | None = None

    def over(self, earlier: Instructions) -> Instructions:
        """The instructions after this step."""
        return Instructions(
            self.system if self.system is not None else earlier.system,
            self.each if self.each is not None else earlier.each,
        )


class RecipeStep(StepModel):
    """Chooses a preset and overrides some of its settings. A setting of None asks for the service's default."""

    op: Literal["recipe"] = "recipe"
    name: Literal["auto", "article", "default"] = "auto"
    settings: dict[Setting, int | float | None] = {}

    @field_validator("settings")
    @classmethod
    def _one_spelling(cls, settings: dict[Setting, int | float | None]) -> dict[Setting, int | float | None]:
        """10 and 10.0 are one multiplier and give one key; epochs and adapter sizes are whole numbers above 0."""
        result: dict[Setting, int | float | None] = {}
        for name, value in sorted(settings.items()):
            problem = wrong_setting(name, value)
            if problem:
                raise ValueError(f"{name} must be {problem}")  # noqa: EM102
            result[name] = None if value is None else float(value) if name == "learning_rate_multiplier" else int(value)
        return result

    def arguments(self) -> str:
        """`'auto', epochs=3`."""
        return ", ".join([repr(self.name), *(f"{name}={value!r}" for name, value in self.settings.items())])


Step = Annotated[
    RepairStep | RedactStep | FilterStep | SampleStep | DedupStep | SplitStep | AugmentStep | InstructStep | RecipeStep,
    Field(discriminator="op"),
]

AnyStep = (
    RepairStep | RedactStep | FilterStep | SampleStep | DedupStep | SplitStep | AugmentStep | InstructStep | RecipeStep
)
TRAIN_ONLY: tuple[type[StepModel], ...] = (AugmentStep,)
"""Steps that act on the training part: written before `split`, they still act on the rows that land in train."""
