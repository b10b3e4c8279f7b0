"""The preset table and `recommend`.

Knowledge is in rows, with source and date; the code only reads them. A model that has no row gets the service's
defaults and is told so: numbers of one model are never carried over to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..errors import ConfigError, PlanError
from ..models import RETIRED, Method, Model, find, models

PresetName = Literal["auto", "article", "default"]

_ARTICLE = (
    "best-practices article on tuning Gemini 2.5 (after E. Huizenga and B. Wang, Google Cloud, January 2025, "
    "https://cloud.google.com/blog/products/ai-machine-learning/master-gemini-sft)"
)
_CAVEAT = (
    "the numbers were published for Gemini 1.5 and carried over to 2.5 without a new benchmark; the original also "
    "asks for fewer than 500 tokens an example on average. Google's advice today is to run the first job with the "
    "service's defaults: .recipe('default')"
)
_DEFAULT = (
    "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/tuning/supervised-tuning/use: "
    '"Submit your first tuning job without changing the hyperparameters"'
)


class Recipe(BaseModel):
    """The hyperparameters of one job and why these. `None` is sent as absence: the service's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    epochs: int | None = None
    learning_rate_multiplier: float | None = None
    adapter_size: int | None = None
    why: str
    source: str
    caveat: str = ""
    alternatives: tuple[str, ...] = ()
    preset: str = "default"

    def settings(self) -> dict[str, int | float | None]:
        """The three hyperparameters, as sent."""
        return {
            "epochs": self.epochs,
            "learning_rate_multiplier": self.learning_rate_multiplier,
            "adapter_size": self.adapter_size,
        }

    def describe(self) -> str:
        """One line: `epochs 20, learning-rate multiplier 10, adapter size 4`."""
        words = {
            "epochs": "epochs",
            "learning_rate_multiplier": "learning-rate multiplier",
            "adapter_size": "adapter size",
        }
        return ", ".join(
            f"{words[name]} {'service default' if value is None else f'{value:,}'.removesuffix('.0')}"
            for name, value in self.settings().items()
        )

    def __repr__(self) -> str:
        return f"Recipe({self.model}: {self.describe()}; because {self.why})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        from ..display import html_table

        rows = [
            (name.replace("_", " "), "service default" if value is None else f"{value:g}")
            for name, value in self.settings().items()
        ]
        rows += [("why", self.why), ("source", self.source)]
        rows += [("caveat", self.caveat)] if self.caveat else []
        return html_table(("recipe", self.model), rows)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One row: for `model` with at least `at_least` and fewer than `below` examples."""

    name: str
    model: str
    at_least: int
    below: int | None
    epochs: int | None
    learning_rate_multiplier: float | None
    adapter_size: int | None
    alternatives: tuple[str, ...] = ()
    source: str = _ARTICLE
    caveat: str = _CAVEAT
    as_of: str = "2026-11-22"

    @property
    def size(self) -> str:
        """The size band in words."""
        return f"fewer than {self.below:,}" if self.below is not None else f"{self.at_least:,} or more"


_PRESETS = (
    Preset(name="article", model="gemini-2.5-pro", at_least=0, below=1000,
           epochs=20, learning_rate_multiplier=10, adapter_size=4),
    Preset(name="article", model="gemini-2.5-pro", at_least=1000, below=None,
           epochs=10, learning_rate_multiplier=None, adapter_size=4,
           alternatives=("learning_rate_multiplier=5",)),
    Preset(name="article", model="gemini-2.5-flash", at_least=0, below=1000,
           epochs=None, learning_rate_multiplier=10, adapter_size=4),
    Preset(name="article", model="gemini-2.5-flash", at_least=1000, below=None,
           epochs=None, learning_rate_multiplier=None, adapter_size=8),
)  # fmt: skip


def presets() -> tuple[Preset, ...]:
    """All rows of the table."""
    return _PRESETS


def recommend(
    model: str,
    examples: int,
    *,
    avg_tokens: float | None = None,
    method: Method = "supervised",
    preset: PresetName = "auto",
) -> Recipe:
    """The recipe for a model and a number of training examples.

    `auto` is the article's row where there is one and `default` elsewhere; `article` insists on a row;
    `default` sends no hyperparameter at all. Below or at a band's edge: 999 examples are small, 1,000 are not.

    Args:
        model: Base model name. A model outside the table is refused: give the settings yourself.
        examples: Training examples, 0 or more.
        avg_tokens: Mean tokens an example. The published table is for fewer than 500; above that the caveat says so.
        method: Way of tuning; only `supervised` has rows.

    Raises:
        ConfigError: The model is unknown or retired, cannot be tuned this way, or has no `article` row.
        PlanError: A negative number of examples, or an unknown preset.
    """
    if examples < 0:
        raise PlanError.bad_value("recommend", "examples", examples, "a number of examples, 0 or more")
    if preset not in ("auto", "article", "default"):
        raise PlanError.bad_value("recipe", "name", preset, "'auto', 'article' or 'default'")
    known = known_model(model)
    if method not in known.methods:
        others = [each.name for each in models() if method in each.methods]
        msg = f"{model} cannot be tuned with method {method!r}; it supports {', '.join(known.methods)}."
        raise ConfigError(msg, hint=f"models that can: {', '.join(others) or 'none'}", code="config-method")
    rows = [row for row in _PRESETS if row.model == model and method == "supervised"]
    row = next((row for row in rows if row.at_least <= examples and (row.below is None or examples < row.below)), None)
    if preset == "default" or (preset == "auto" and row is None):
        why = (
            "asked for by name: no hyperparameter is sent and the service chooses"
            if preset == "default"
            else f"no preset is published for {model}, so no hyperparameter is sent and the service chooses"
        )
        return Recipe(model=model, why=why, source=_DEFAULT)
    if row is None:
        have = ", ".join(sorted({each.model for each in _PRESETS}))
        msg = f"recipe('article') has no row for {model}; there are rows for {have}."
        raise ConfigError(msg, hint="use .recipe('default'), or give the settings yourself.", code="config-recipe")
    caveat = row.caveat
    if avg_tokens is not None and avg_tokens >= 500:
        caveat = f"your examples have {avg_tokens:,.0f} tokens on average, outside the published condition; {caveat}"
    return Recipe(
        model=model, epochs=row.epochs, learning_rate_multiplier=row.learning_rate_multiplier,
        adapter_size=row.adapter_size, alternatives=row.alternatives, preset=row.name,
        why=f"the article's row for {row.model} with {row.size} examples ({examples:,} here)",
        source=row.source, caveat=caveat,
    )  # fmt: skip


def known_model(name: str) -> Model:
    """The model's row; ConfigError for a retired one (with its successor) or an unknown one (with the known)."""
    if name in RETIRED:
        msg = f"{name} is retired."
        raise ConfigError(
            msg, hint=f"tune {RETIRED[name]} instead: .using(model={RETIRED[name]!r})", code="config-model"
        )
    found = find(name)
    if found is None:
        raise ConfigError.unknown_model(name, [each.name for each in models()])
    return found
