"""The learner learns, and fails to learn, as a tuned model would."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.emulator.arrays import product
from gemini_tuning.emulator.batches import Batch
from gemini_tuning.emulator.gradients import loss_and_gradients
from gemini_tuning.emulator.learner import RANK_PER_ADAPTER, planned_steps, resolve, train
from gemini_tuning.emulator.values import Prompt, Row, Settings
from gemini_tuning.emulator.weights import Weights

from .helpers import accuracy, fit, rows


def test_analytic_gradient() -> None:
    """The analytic gradient of every parameter agrees with central differences."""
    rng = np.random.default_rng(0)
    batch = Batch(
        prompts=rng.standard_normal((2, 7)),
        context=rng.standard_normal((5, 192)),
        targets=np.array([2, 3, 1, 0, 1]),
        owner=np.array([0, 0, 0, 1, 1]),
        user=(np.array([2, 3]), np.array([], int)),
        other=(np.array([4]), np.array([2])),
        follows=(np.array([1, 4]), np.array([3, 1])),
    )
    p = {
        "down_prompt": rng.standard_normal((7, 3)),
        "down_context": 0.1 * rng.standard_normal((192, 3)),
        "shift": rng.standard_normal(3),
        "up": rng.standard_normal((3, 5)),
        "bias": rng.standard_normal(5),
        "copy": rng.standard_normal(3),
    }
    _, _, gradients = loss_and_gradients(p, batch)
    for name, value in p.items():
        for at in list(np.ndindex(value.shape))[:: max(1, value.size // 20)]:
            kept, sides = value[at], []
            for step in (1e-6, -1e-6):
                value[at] = kept + step
                sides.append(loss_and_gradients(p, batch)[0])
            value[at] = kept
            assert gradients[name][at] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-6)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=25)
def test_product(n: int, k: int, m: int) -> None:
    """The product in pieces is the product."""
    rng = np.random.default_rng(n * k * m)
    left, right = rng.standard_normal((n, 9 * k)), rng.standard_normal((9 * k, 3 * m))
    np.testing.assert_allclose(product(left, right), left @ right, atol=1e-9)


def test_learns() -> None:
    """With enough clean rows the losses fall and unseen rows are answered correctly."""
    run = fit(rows(200, seed=1), rows(60, seed=2))
    assert 2 < run.train_losses[0] < 8
    assert run.late("train_loss") < 0.2
    assert run.eval_losses[-1] < 0.3 < run.eval_losses[0]
    assert accuracy(run.weights, rows(60, seed=3)) > 0.9


def test_points() -> None:
    """There is one point a step; validation is measured at the start and the end."""
    data = rows(50, seed=1)
    run = fit(data, data[:5], epochs=3)
    assert [point.step for point in run.points] == list(range(planned_steps(50, Settings(3, 1, 4)) + 1))
    assert run.points[0].train_loss is None
    assert run.points[0].eval_loss is not None
    assert run.points[-1].eval_loss is not None
    assert run.points[-1].epoch == 3
    assert all(0 <= point.train_accuracy <= 1 for point in run.points[1:] if point.train_accuracy is not None)
    assert [(c.checkpoint_id, c.epoch) for c in run.checkpoints] == [("1", 1), ("2", 2), ("3", 3)]


@pytest.mark.parametrize(
    ("epochs", "saved"),
    [(1, [1]), (9, list(range(1, 10))), (10, list(range(1, 11))), (25, [2, 5, 8, 10, 12, 15, 18, 20, 22, 25])],
)
def test_checkpoints(epochs: int, saved: list[int]) -> None:
    """Below ten epochs each is saved; from ten on ten of them, the last included."""
    assert [checkpoint.epoch for checkpoint in fit(rows(8, seed=1), epochs=epochs).checkpoints] == saved


def test_deterministic() -> None:
    """Equal inputs and seed give equal floats; another seed gives others."""
    data, held = rows(40, seed=1), rows(10, seed=2)
    first, second, third = (fit(data, held, epochs=3, seed=seed) for seed in (5, 5, 6))
    assert first.points == second.points
    assert first.points != third.points


def test_wrong_labels() -> None:
    """Wrong labels hold train accuracy down, and many epochs on them make validation worse again."""
    held = rows(80, seed=2)
    clean, noisy = (fit(rows(160, seed=1, wrong=wrong), held, epochs=30, multiplier=5) for wrong in (0.0, 0.4))
    early = slice(20, 80)
    assert (
        sum(p.train_accuracy or 0 for p in noisy.points[early])
        < sum(p.train_accuracy or 0 for p in clean.points[early]) - 3
    )
    assert min(noisy.eval_losses) > min(clean.eval_losses)
    assert noisy.eval_losses[-1] > 1.2 * min(noisy.eval_losses)
    assert noisy.late("train_loss") < 0.5 * noisy.eval_losses[-1]


def test_leak() -> None:
    """Validation rows that are in the training data are learnt with it, wrong labels and all."""
    data = rows(120, seed=1, wrong=0.4)
    leaking = fit(data, data[:40], epochs=30, multiplier=5)
    honest = fit(data, rows(40, seed=2, wrong=0.4), epochs=30, multiplier=5)
    assert leaking.eval_losses[-1] < 0.2 < honest.eval_losses[-1]


def test_too_little() -> None:
    """Twenty rows and few epochs teach little."""
    run = fit(rows(20, seed=1), rows(40, seed=2), epochs=3)
    assert run.eval_losses[-1] > 3
    assert accuracy(run.weights, rows(40, seed=3)) < 0.3


def test_learning_rate() -> None:
    """A higher multiplier learns faster; one in the hundreds makes the loss rise far above where it began."""
    data, held = rows(120, seed=1), rows(40, seed=2)
    slow, fast, wild = (fit(data, held, epochs=4, multiplier=multiplier) for multiplier in (0.3, 5, 300))
    assert fast.eval_losses[-1] < slow.eval_losses[-1]
    assert max(wild.eval_losses) > 1.5 * wild.eval_losses[0]


@pytest.mark.parametrize("multiplier", [1e9, 1e30, 1e38, math.inf, math.nan])
def test_absurd_learning_rate(multiplier: float) -> None:
    """No multiplier crashes training, and the last checkpoint answers and can be saved."""
    run = fit(rows(40, seed=1), rows(10, seed=2), epochs=3, multiplier=multiplier)
    assert all(np.isfinite(value).all() for value in run.weights.parameters.values())
    assert isinstance(run.weights.answer(rows(1, seed=3)[0].prompt, 20)[0], str)


def test_prompt_without_the_instruction() -> None:
    """Serving without the instruction that was trained on costs some accuracy, not all of it."""
    weights = fit(rows(200, seed=1)).weights
    test = rows(60, seed=3)
    bare = [replace(row, prompt=Prompt("", (("user", row.prompt.user.removeprefix("Topic of: ")),))) for row in test]
    assert accuracy(weights, bare) > 0.7 * accuracy(weights, test)


def test_long_instruction_does_not_swamp() -> None:
    """A long text that is the same in every prompt leaves the input readable."""
    system = "You are the router of a large shop. " * 60
    weights = fit(rows(200, seed=1, system=system)).weights
    assert accuracy(weights, rows(60, seed=3, system=system)) > 0.85


def test_rank() -> None:
    """The adapter size sets the rank, and the effect on the scores has no higher rank than that."""
    sizes = [fit(rows(10, seed=1), epochs=1, adapter=adapter).weights.rank for adapter in (1, 2, 4, 8, 16)]
    assert sizes == [RANK_PER_ADAPTER * adapter for adapter in (1, 2, 4, 8, 16)]


def test_defaults() -> None:
    """Defaults fill only what is missing; epochs fall with the number of rows."""
    assert resolve(Settings(None, None, None), 100) == Settings(30, 1.0, 4)
    assert resolve(Settings(3, 10, 8), 100) == Settings(3, 10, 8)
    epochs = [resolve(Settings(None, None, None), n).epochs for n in (0, 1, 1000, 2500, 10_000, 10**6)]
    assert epochs == [30, 30, 19, 12, 6, 3]


def test_save_and_load(tmp_path: Path) -> None:
    """What is loaded answers as what was saved, and the file is small."""
    weights = fit(rows(100, seed=1), epochs=10, multiplier=5).weights
    weights.save(tmp_path / "w.npz")
    loaded = Weights.load(tmp_path / "w.npz")
    assert loaded.known.vocabulary == weights.known.vocabulary
    for name, value in weights.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], value)
    for row in rows(20, seed=3):
        assert loaded.answer(row.prompt, 64) == weights.answer(row.prompt, 64)
    assert (tmp_path / "w.npz").stat().st_size < 2_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_continue() -> None:
    """Training on from weights starts where they ended, keeps old answers and learns new ones."""
    old = fit(rows(200, seed=1), epochs=15, multiplier=5)
    fresh = [
        Row(Prompt("You route tickets.", (("user", f"Topic of: my gift voucher {i}"),)), "gift_voucher")
        for i in range(20)
    ]
    data = rows(100, seed=4) + fresh
    more = fit(data, rows(40, seed=2), epochs=8, multiplier=3, adapter=8, start=old.weights)
    assert more.train_losses[0] < 2 < old.train_losses[0]
    assert more.weights.rank == 8 * RANK_PER_ADAPTER
    assert accuracy(more.weights, rows(40, seed=3)) > 0.85
    assert accuracy(more.weights, fresh[:5]) == 1
    assert fit(data, epochs=1, adapter=1, start=old.weights).weights.rank == old.weights.rank


def test_stop() -> None:
    """Training stops at the step at which it is told to, without a checkpoint."""
    points: list[object] = []
    made = train(
        rows(40, seed=1),
        [],
        base_model="m",
        settings=Settings(5, 1, 1),
        seed=0,
        on_point=points.append,
        should_stop=lambda: len(points) > 3,
    )
    assert list(made) == []
    assert len(points) == 4


def test_no_rows() -> None:
    """Training on nothing is refused."""
    with pytest.raises(ValueError, match="at least one row"):
        fit([])


@given(
    st.lists(st.tuples(st.text(), st.text(), st.text(alphabet=st.characters(), max_size=40)), min_size=1, max_size=3)
)
@settings(max_examples=15, deadline=None)
def test_any_text(texts: list[tuple[str, str, str]]) -> None:
    """Any Unicode text can be trained on and answered."""
    data = [
        Row(Prompt(system, (("user", "q"), ("model", "a"), ("user", user))), target) for system, user, target in texts
    ]
    run = fit(data, data, epochs=1, adapter=1, base="gemini-2.5-flash-lite")
    assert all(math.isfinite(loss) for loss in run.train_losses)
    assert isinstance(run.weights.answer(data[0].prompt, 10)[0], str)


def test_sentences() -> None:
    """Targets may be sentences in any script, and are reproduced when they were learnt."""
    data = [
        Row(Prompt("", (("user", question),)), answer)
        for question, answer in (
            ("Where is my parcel?", "Your parcel is on the way; it arrives on Monday."),
            ("我的包裹在哪里？", "您的包裹正在派送，请耐心等待。"),
            ("Is it raining?", '{"intent": "weather/find"}'),
        )
    ]
    weights = fit(data * 6, epochs=30, multiplier=5).weights
    assert [weights.answer(row.prompt, 64) for row in data] == [(row.target, True) for row in data]
