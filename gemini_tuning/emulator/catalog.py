"""Which model names the emulator answers to, and the rules that differ by model. As of 2026-11-22.

Any `gemini-<version>-<family>` is known, retired ones included: the emulator stands in for the service of any year.
Misspelt names are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .wire import ApiError

__all__ = [
    "ADAPTERS",
    "PUBLISHED",
    "adapter_sizes",
    "base_model_id",
    "check_thinking",
    "embedding_dimensions",
    "is_gemini",
    "serving_location",
]

PUBLISHED = (
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3.1-flash-lite",
    "gemini-3.5-flash",
    "gemini-3.5-flash-lite",
    "gemini-embedding-001",
    "gemini-embedding-2",
    "text-embedding-005",
)

ADAPTERS = {
    "ADAPTER_SIZE_ONE": 1,
    "ADAPTER_SIZE_TWO": 2,
    "ADAPTER_SIZE_FOUR": 4,
    "ADAPTER_SIZE_EIGHT": 8,
    "ADAPTER_SIZE_SIXTEEN": 16,
    "ADAPTER_SIZE_THIRTY_TWO": 32,
}

_GEMINI = re.compile(
    r"gemini-(?P<version>\d+(?:\.\d+)?)-(?P<family>pro|flash-lite|flash)(?:-(?:preview.*|exp.*|\d{3}))?"
)
_DIMENSIONS = {"text-embedding-005": 768, "text-embedding-004": 768, "text-multilingual-embedding-002": 768}
# The lowest and the highest thinking budget, and whether 0 turns thinking off.
_BUDGETS = {"pro": (128, 32_768, False), "flash": (1, 24_576, True), "flash-lite": (512, 24_576, True)}


def is_gemini(model: str) -> bool:
    """Whether the id is one of a generating Gemini model."""
    return _GEMINI.fullmatch(model) is not None


def base_model_id(name: str) -> str:
    """The model id of `gemini-2.5-flash` or `publishers/google/models/gemini-2.5-flash`."""
    return name.removeprefix("publishers/google/models/").removeprefix("models/")


def adapter_sizes(model: str) -> tuple[int, ...]:
    """The adapter sizes that can be tuned."""
    return (1, 2, 4, 8) if model.startswith("gemini-2.5-pro") else (1, 2, 4, 8, 16)


def serving_location(model: str, location: str) -> str:
    """Where a tuned model is served: Gemini 3 and later only from `us` or `eu`, whatever region trained it."""
    found = _GEMINI.fullmatch(model)
    if found is None or float(found["version"]) < 3:
        return location
    return "eu" if location.startswith("eu") else "us"


def embedding_dimensions(model: str, asked: int | None) -> int:
    """The length of a vector; 404 for a model that does not embed, 400 for a length that it does not offer."""
    if model.startswith("gemini-embedding-"):
        most = 3072
    elif model in _DIMENSIONS:
        most = _DIMENSIONS[model]
    else:
        raise ApiError(404, f"Publisher Model `publishers/google/models/{model}` was not found as an embedding model.")
    if asked is not None and not 1 <= asked <= most:
        raise ApiError(400, f"outputDimensionality must be between 1 and {most} for {model}, got {asked}.")
    return asked or most


def check_thinking(model: str, config: Mapping[str, Any]) -> None:
    """400 for a thinking configuration that the model does not take."""
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    found = _GEMINI.fullmatch(model)
    if found is None:
        return
    if level is not None and level != "THINKING_LEVEL_UNSPECIFIED" and budget is not None:
        raise ApiError(400, "You can only set only one of thinking budget and thinking level.")
    if level is not None and float(found["version"]) < 3:
        raise ApiError(400, f"Thinking level is not supported for this model: {model}.")
    if budget is None:
        return
    try:
        budget = int(budget)
    except (TypeError, ValueError):
        message = f"Invalid value at 'generation_config.thinking_config.thinking_budget': {budget!r}"
        raise ApiError(400, message) from None
    low, high, off = _BUDGETS[found["family"]]
    if budget == -1 or (budget == 0 and off) or low <= budget <= high:
        return
    if budget == 0:
        raise ApiError(400, f"Budget 0 is invalid. This model ({model}) only works in thinking mode.")
    message = f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}."
    raise ApiError(400, message)
