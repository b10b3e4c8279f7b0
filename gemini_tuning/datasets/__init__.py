"""Real data that ship with the package, each with its licence beside it."""

from __future__ import annotations

from pathlib import Path


def banking77() -> Path:
    """2,501 questions of bank customers with one of 77 intents (columns `text`, `intent`); CC BY 4.0, PolyAI."""
    return Path(__file__).parent / "banking77" / "questions.jsonl"
