"""What training curves say, and what to change.

Noise is estimated from the curve itself (second differences), so nothing is compared with a number from the air
but the initial loss. Fewer than five evaluation points give no verdict that needs evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from ..types import Finding
from .curves import Curves, finite

_HIGH_INITIAL = 10.0  # nats: the article's sign of cut or wrongly formatted inputs
_ENOUGH = 5


def diagnose(curves: Curves) -> tuple[Finding, ...]:
    """Findings, most important first. The first one is the verdict on the run.

    `diverged` is judged from the training curve only, `overfit` from the evaluation curve; `cannot_tell` is a good
    answer when there are too few points.
    """
    train, measured = list(curves.series("train_loss").y), curves.series("eval_loss")
    # Steps go with their values: a position in the filtered values is none in all of them.
    evaluation = [(step, value) for step, value in zip(measured.x, measured.y, strict=True) if math.isfinite(value)]
    extra = _initial(train)
    if not train and not measured.y:
        return (_finding("cannot_tell", "note", "there are no points yet.", "wait for the first steps."),)
    if len(finite(train)) < len(train):
        verdict = _finding(
            "diverged", "stop", "the training loss is not a finite number.",
            "lower the learning-rate multiplier by a factor of 5 and tune again.",
        )  # fmt: skip
        return (verdict, *extra)
    blocks = _blocks(train, 20)
    noise = _noise(blocks)
    drop = blocks[0] - min(blocks) if blocks else 0.0
    if len(blocks) >= _ENOUGH:
        rise = blocks[-1] - min(blocks)
        if rise > max(5 * noise, 0.3 * max(drop, 1e-9)) and blocks.index(min(blocks)) < len(blocks) - 2:
            verdict = _finding(
                "diverged", "stop", f"the training loss rose by {rise:.3g} from its lowest value and stayed up.",
                "lower the learning-rate multiplier and tune again.", rise=rise, noise=noise,
            )  # fmt: skip
            return (verdict, *extra)
        if drop < max(5 * noise, 0.01 * abs(blocks[0])):
            verdict = _finding(
                "not_learning", "stop", f"the training loss hardly moved ({blocks[0]:.3g} to {min(blocks):.3g}).",
                "look at the format and the labels of the data first; then raise the learning-rate multiplier.",
                drop=drop, noise=noise,
            )  # fmt: skip
            return (verdict, *extra)
    if len(evaluation) < _ENOUGH <= len(measured.y):
        verdict = _finding(
            "cannot_tell", "note",
            f"only {len(evaluation)} of {len(measured.y)} evaluation losses are finite numbers: too few for a verdict.",
            "look for empty or very long outputs in the validation part.", points=len(evaluation),
        )  # fmt: skip
        return (verdict, *extra)
    if len(evaluation) < _ENOUGH:
        if len(blocks) >= _ENOUGH and _still_falling(blocks, noise):
            return (_still_improving("training"), *extra)
        verdict = _finding(
            "cannot_tell", "note", f"{len(evaluation)} evaluation points are too few for a verdict.",
            "give a validation part: .split(validation=0.1).", points=len(evaluation),
        )  # fmt: skip
        return (verdict, *extra)
    return (_from_evaluation(blocks, evaluation, curves), *extra)


def _from_evaluation(train: Sequence[float], points: Sequence[tuple[float, float]], curves: Curves) -> Finding:
    """The verdict from (step, finite evaluation loss) pairs."""
    steps, evaluation = [step for step, _ in points], [value for _, value in points]
    noise = _noise(evaluation)
    lowest = min(evaluation)
    at = evaluation.index(lowest)
    fall = evaluation[0] - lowest
    rise = evaluation[-1] - lowest
    if fall <= 3 * noise and train and train[0] - train[-1] > 0.3 * abs(train[0]):
        return _finding(
            "generalization_gap", "warning", "training improves and validation never does.",
            "look whether the validation part is like the training part, and for wrong labels; add more varied data.",
            fall=fall, noise=noise,
        )  # fmt: skip
    if rise > max(3 * noise, 0.02 * max(fall, 1e-9)) and at < len(evaluation) - 2:
        accuracy = finite(curves.series("eval_accuracy").y)
        level = bool(accuracy) and accuracy[-1] >= max(accuracy) - 0.02
        if level:
            return _finding(
                "over_confidence", "note",
                f"the validation loss rose by {rise:.3g} after step {steps[at]:.0f}, but not the errors.",
                "judge by the task's own metric before cutting epochs.", rise=rise, best_step=steps[at],
            )  # fmt: skip
        return _finding(
            "overfit", "warning",
            f"the validation loss was lowest at step {steps[at]:.0f} ({lowest:.3g}) and rose by {rise:.3g} after it.",
            "use the checkpoint nearest to that step, or fewer epochs; add more varied data.",
            rise=rise, noise=noise, best_step=steps[at],
        )  # fmt: skip
    if _still_falling(evaluation, noise):
        return _still_improving("validation")
    return _finding(
        "healthy", "note",
        f"training and validation loss fell together (validation {evaluation[0]:.3g} to {evaluation[-1]:.3g}).",
        "nothing to change.", fall=fall, rise=rise, noise=noise,
    )  # fmt: skip


def _still_improving(which: str) -> Finding:
    return _finding(
        "still_improving", "note", f"the {which} loss is still falling clearly at the end.",
        "more epochs, or a higher learning-rate multiplier, may help.",
    )  # fmt: skip


def _initial(train: Sequence[float]) -> tuple[Finding, ...]:
    if not train or not (train[0] > _HIGH_INITIAL):
        return ()
    return (
        _finding(
            "high_initial_loss", "warning", f"the first training loss is {train[0]:.3g}, above {_HIGH_INITIAL:g}.",
            "inputs may be cut or wrongly formatted: look at project.preview() and project.check().", first=train[0],
        ),
    )  # fmt: skip


def _still_falling(values: Sequence[float], noise: float) -> bool:
    """Whether the last third fell by more than a twentieth of the whole fall and more than its noise explains."""
    third = values[-max(3, len(values) // 3) :]
    fall = third[0] - third[-1]
    return fall > max(3 * noise, 0.05 * (max(values) - min(values)))


def _blocks(values: Sequence[float], count: int) -> list[float]:
    """Medians of about `count` stretches: single steps are noisy and depend on each other."""
    if len(values) <= count:
        return list(values)
    bounds = [at * len(values) // count for at in range(count + 1)]
    return [sorted(values[low:high])[(high - low) // 2] for low, high in pairwise(bounds)]


def _noise(values: Sequence[float]) -> float:
    """Standard deviation of the noise around a smooth curve: second differences of white noise have 6 sigma^2."""
    seconds = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    if not seconds:
        return 0.0
    # The median, because the bend of the curve itself fills the largest ones.
    return 1.4826 * sorted(seconds)[len(seconds) // 2] / math.sqrt(6)


def _finding(code: str, severity: str, message: str, hint: str, **details: float) -> Finding:
    return Finding(code=code, severity=severity, message=message, hint=hint, details=details)  # type: ignore[arg-type]
