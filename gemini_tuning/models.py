"""The dated table of Gemini models: what can be tuned how, where, within which limits.

One row a model; every fact about a model lives here and nowhere else, so that a change at Google is one diff.
Sources are pages under https://docs.cloud.google.com/gemini-enterprise-agent-platform/ unless they say otherwise;
a value that no page states is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AS_OF = "2026-11-22"
"""When the table was last checked."""

TOKENS_PER_EXAMPLE = 131_072
"""Input and output of one training example; the same for all models here (models/tuning/supervised-tuning)."""
EXAMPLES = 10_000_000
"""Examples of a text-only training file (the same page)."""
VALIDATION_EXAMPLES, VALIDATION_SHARE, VALIDATION_FREE = 5_000, 0.3, 1_000
"""Most validation examples; and most as a share of the training examples, where there are more than the last number
of them (the same page)."""

ADAPTER_SIZES = (1, 2, 4, 8, 16, 32)
"""What the service's enum holds; which of them a model takes is in its row (reference/rest, AdapterSize)."""

Method = Literal["supervised", "preference", "distillation", "reinforcement"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known of one model.

    Attributes:
        name: As the service calls it.
        methods: Ways of tuning that its model card lists.
        adapters: Adapter sizes that supervised tuning accepts.
        tokens_per_example: Limit of input and output together.
        examples: Limit of a text-only training file.
        validation_examples: Limit of a validation file (or 30 % of the training count when that is more).
        train_at: Locations of tuning jobs; empty when several regions are listed without a closed set.
        serve_at: Locations that serve the tuned model; empty means the job's own.
        thinking_off: The lowest legal thinking of a tuned model: a budget in tokens (2.5), or a level (3.x).
        training_price: USD per million training tokens (data set tokens x epochs), or None when not published.
        price_source: Where the price is from.
        retirement: What Google says about its end, or None.
        source: Pages that the row was read from.
    """

    name: str
    methods: tuple[Method, ...]
    adapters: tuple[int, ...] = (1, 2, 4, 8, 16)
    tokens_per_example: int = TOKENS_PER_EXAMPLE
    examples: int = EXAMPLES
    validation_examples: int = VALIDATION_EXAMPLES
    train_at: tuple[str, ...] = ()
    serve_at: tuple[str, ...] = ()
    thinking_off: int | Literal["MINIMAL"] = 0
    training_price: float | None = None
    price_source: str | None = None
    retirement: str | None = None
    source: str = "models/tuning/supervised-tuning; models/model-versions"


_THIRD_PARTY_PRICE = "a third-party README of 2025 (Vvren2022/finetune-gemini-vertex-ai); not confirmed by Google"
_RETIRE_25 = "closed to new or 90-day-inactive projects since 2026-10-20; shutdown 2027-03-31"

_TABLE = (
    Model(
        name="gemini-3.5-flash", methods=("supervised", "reinforcement"),
        train_at=("us-central1", "europe-west4"), serve_at=("us", "eu"), thinking_off="MINIMAL",
        retirement="not before 2027-05-19",
    ),
    Model(
        name="gemini-3.1-flash-lite", methods=("supervised", "reinforcement"),
        train_at=("us-central1", "europe-west4"), serve_at=("us", "eu"), thinking_off="MINIMAL",
        retirement="not before 2027-05-07",
    ),
    Model(
        name="gemini-3.5-flash-lite", methods=("supervised",), thinking_off="MINIMAL",
        retirement="not before 2027-07-21",
        source="reference/models/tuning (2026-10-01) lists it; the model card of August 2026 did not",
    ),
    Model(
        name="gemini-2.5-pro", methods=("supervised",), adapters=(1, 2, 4, 8),
        thinking_off=128,  # 2.5 Pro cannot be told not to think: models/thinking
        training_price=25.0, price_source=_THIRD_PARTY_PRICE, retirement=_RETIRE_25,
    ),
    Model(
        name="gemini-2.5-flash", methods=("supervised", "preference"),
        training_price=5.0, price_source=_THIRD_PARTY_PRICE, retirement=_RETIRE_25,
    ),
    Model(
        name="gemini-2.5-flash-lite", methods=("supervised", "preference"),
        training_price=1.5, price_source=_THIRD_PARTY_PRICE,
        retirement="closed to new or 90-day-inactive projects since 2026-10-20; shutdown 2027-01-28",
    ),
)  # fmt: skip

RETIRED: dict[str, str] = {
    "gemini-2.0-flash": "gemini-3.5-flash",
    "gemini-2.0-flash-001": "gemini-3.5-flash",
    "gemini-2.0-flash-lite": "gemini-3.1-flash-lite",
    "gemini-2.0-flash-lite-001": "gemini-3.1-flash-lite",
    "gemini-1.5-pro": "gemini-3.5-flash",
    "gemini-1.5-pro-002": "gemini-3.5-flash",
    "gemini-1.5-flash": "gemini-3.5-flash",
    "gemini-1.5-flash-002": "gemini-3.5-flash",
}
"""Models that are gone, each with one that can be tuned today (2.0: 2026-06-01; 1.5: 2025)."""


def models() -> tuple[Model, ...]:
    """The known models, newest first."""
    return _TABLE


def find(name: str) -> Model | None:
    """The row of a model, or None. A version such as `gemini-2.5-flash-preview-09` is not its family."""
    return next((model for model in _TABLE if model.name == name), None)
