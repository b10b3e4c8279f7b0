"""Curves as a value, and what they are said to mean."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.jobs import Curves, diagnose
from gemini_tuning.jobs.job import storable

from .conftest import SHARED

values = st.none() | st.floats(allow_nan=True, allow_infinity=True, width=32)
rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "step": st.integers(0, 50), "epoch": st.floats(0, 9), "train_loss": values, "eval_loss": values,
            "train_accuracy": values, "eval_accuracy": values,
        },
    ),
    max_size=40,
)  # fmt: skip


@given(rows)
def test_any_rows_give_curves_and_a_verdict(given_rows: list[dict[str, float]]) -> None:
    """Steps are sorted and unique, nothing raises, and there is always a first finding with a known code."""
    curves = Curves.from_records(given_rows)
    steps = [point.step for point in curves.points]
    assert steps == sorted(set(steps))
    assert diagnose(curves)[0].code in CODES
    assert repr(curves).startswith("Curves(")
    assert curves._repr_html_()


CODES = {
    "healthy", "not_learning", "diverged", "overfit", "generalization_gap", "still_improving", "over_confidence",
    "cannot_tell", "high_initial_loss",
}  # fmt: skip


def test_a_restart_writes_over_what_it_repeats() -> None:
    """The later value of a step counts, and train and evaluation of one step are one point."""
    curves = Curves.from_records([
        {"step": 1, "train_loss": 3}, {"step": 2, "train_loss": 2}, {"step": 2, "eval_loss": 2.5}, {"step": 1, "train_loss": 2.9},
    ])  # fmt: skip
    assert curves.to_records() == [{"step": 1, "train_loss": 2.9}, {"step": 2, "train_loss": 2.0, "eval_loss": 2.5}]


def test_what_is_kept_of_a_diverged_run_is_still_diverged() -> None:
    """JSON has no NaN: kept as null, a second look would take the value for one that was never measured."""
    losses = [*falling(50), math.nan, math.inf, -math.inf]
    rows = [{"step": at, "train_loss": value, "eval_loss": None} for at, value in enumerate(losses, 1)]
    again = Curves.from_records(msgspec.json.decode(msgspec.json.encode(storable(rows))))
    assert repr(again) == repr(Curves.from_records(rows))
    assert [str(value) for value in again.series("train_loss").y[-3:]] == ["nan", "inf", "-inf"]
    assert diagnose(again)[0].code == "diverged"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_evaluation_losses_that_are_no_numbers_are_left_out_with_their_steps(bad: float) -> None:
    """Too few that are left give no verdict; enough of them name the step that is meant."""
    train = falling(200)
    assert diagnose(made(train, [bad] * 6))[0].code == "cannot_tell"
    assert diagnose(made(train, [bad] * 6 + [3.0, 2.0, 1.0, 0.9]))[0].code == "cannot_tell"
    found = diagnose(made(train, [bad] * 3 + [3.0, 2.0, 1.0, 2.0, 2.1, 2.2, 2.3], noise=0))[0]
    assert (found.code, found.details["best_step"]) == ("overfit", 120)


def made(train: list[float], evaluation: list[float] | None = None, seed: int = 0, noise: float = 0.01) -> Curves:
    rng = np.random.default_rng(seed)
    points = [{"step": at, "train_loss": value + rng.normal(0, noise)} for at, value in enumerate(train, 1)]
    every = max(1, len(train) // len(evaluation)) if evaluation else 1
    points += [
        {"step": (at + 1) * every, "eval_loss": value + rng.normal(0, noise)}
        for at, value in enumerate(evaluation or [])
    ]
    return Curves.from_records(points)


def falling(n: int, to: float = 0.3, start: float = 3.0, speed: float = 6) -> list[float]:
    return [to + (start - to) * math.exp(-speed * at / n) for at in range(n)]


@pytest.mark.parametrize(
    ("curves", "code"),
    [
        (made(falling(200), falling(20, 0.5)), "healthy"),
        (made([3.0] * 200, [3.0] * 20), "not_learning"),
        (made(falling(100) + [0.3 + 0.1 * at for at in range(60)], falling(20)), "diverged"),
        (made([*falling(50), float("nan")]), "diverged"),
        (made(falling(200, 0.01), falling(10, 0.5) + [0.5 + 0.1 * at for at in range(10)]), "overfit"),
        (made(falling(200, 0.01), [3.0] * 20), "generalization_gap"),
        (made(falling(200), falling(20, 0.0, speed=1.2)), "still_improving"),
        (made(falling(200, speed=1.0)), "still_improving"),
        (made(falling(200), [3.0, 1.0, 0.5]), "cannot_tell"),
        (made([]), "cannot_tell"),
    ],
)
def test_clear_cases(curves: Curves, code: str) -> None:
    """What anyone would say who looks at the picture."""
    assert diagnose(curves)[0].code == code


def test_a_high_first_loss_is_said_beside_the_verdict() -> None:
    """Above 10 nats the data are suspect, whatever the curve does then."""
    codes = [finding.code for finding in diagnose(made(falling(200, start=14), falling(20, start=14)))]
    assert codes[1:] == ["high_initial_loss"]


def test_real_curves_are_not_called_the_opposite() -> None:
    """Public training runs: what overfits is never called healthy, what is healthy never overfit or diverged."""
    path = SHARED / "training_curves" / "curves.jsonl"
    if not path.exists():
        pytest.skip("the real curves are not here")
    opposite = {"overfit": {"healthy", "not_learning"}, "healthy": {"overfit", "diverged", "not_learning"},
                "diverged": {"healthy", "still_improving"}, "nan": {"healthy", "still_improving"}}  # fmt: skip
    wrong = []
    for line in path.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        points = [
            {
                "step": row.get("step", row.get("epoch")),
                "train_loss": row.get("train_loss"),
                "eval_loss": row.get("val_loss"),
            }
            for row in run["rows"]
        ]
        verdict = diagnose(Curves.from_records(points))[0].code
        if verdict in opposite.get(run["label"], ()):
            wrong.append((run["id"], run["label"], verdict))
    # `nan` rows hold null where the value was: nothing is left to see them by.
    assert len([entry for entry in wrong if entry[1] != "nan"]) <= 3, wrong


def test_plot_draws_on_the_axes_given() -> None:
    """matplotlib is used where it is installed, on the caller's axes."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    assert made(falling(20), falling(5)).plot(axes) is axes
    assert len(axes.lines) == 2
    plt.close(figure)
