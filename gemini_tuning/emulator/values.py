"""What goes into the learner and what it reports: prompts, rows, settings, points of a curve."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Point", "Prompt", "Row", "Settings"]


@dataclass(frozen=True)
class Prompt:
    """A system instruction (or "") and the turns as (role, text); the last turn is the user's."""

    system: str
    turns: tuple[tuple[str, str], ...]

    @property
    def user(self) -> str:
        """The last user turn, or "" when there is none."""
        return next((text for role, text in reversed(self.turns) if role != "model"), "")

    @property
    def history(self) -> str:
        """All turns before the last user turn, one a line."""
        last = max((i for i, (role, _) in enumerate(self.turns) if role != "model"), default=0)
        return "\n".join(text for _, text in self.turns[:last])


@dataclass(frozen=True)
class Row:
    """One example: a prompt and the answer to learn."""

    prompt: Prompt
    target: str


@dataclass(frozen=True)
class Settings:
    """What a tuning job asks for; None is the service's default (see `learner.resolve`)."""

    epochs: int | None
    learning_rate_multiplier: float | None
    adapter_size: int | None


@dataclass(frozen=True)
class Point:
    """Metrics after `step` steps. Train values are means over the step's batch, before its update.

    Losses are mean nats per predicted token and may be inf or nan when training diverges. Accuracy is the
    fraction of correct next-token predictions given the true answer so far. None where nothing was measured.
    """

    step: int
    epoch: float
    train_loss: float | None
    train_accuracy: float | None
    train_predictions: int | None
    eval_loss: float | None
    eval_accuracy: float | None
    eval_predictions: int | None
