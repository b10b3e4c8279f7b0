"""Training: what a tuning job's settings mean, the optimiser, and the loop that yields checkpoints.

Everything is deterministic for equal inputs and seed on one machine. The model that is trained is in `weights`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .batches import Batch, bounded, encode, thinned
from .features import Encoder, blocks, flavour
from .gradients import STEP_PREDICTIONS, evaluate, loss_and_gradients
from .values import Point, Row, Settings
from .vocabulary import Known
from .weights import Parameters, Weights, grown, initial, rounded

__all__ = ["RANK_PER_ADAPTER", "Checkpoint", "planned_steps", "resolve", "train"]

RANK_PER_ADAPTER = 24  # hidden units for each unit of adapter size
_BASE_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.02
_EVALUATIONS = 40  # about how often validation is measured in one run
_EVAL_PREDICTIONS = 4096  # about how many are made each time; of a larger validation set only some rows are used


@dataclass(frozen=True)
class Checkpoint:
    """The adapter after `step` steps; ids count from "1" as the service's do."""

    checkpoint_id: str
    epoch: int
    step: int
    weights: Weights


def resolve(settings: Settings, rows: int) -> Settings:
    """The settings with the defaults filled in, alike for every base model.

    The service's formulas are unpublished; these are the emulator's own. Epochs fall with the size of the data,
    `600 / sqrt(rows)` rounded and kept within 3..30 (100 rows: 30, 1,000: 19, 2,500: 12, 10,000: 6); the learning
    rate multiplier is 1; the adapter size is 4.
    """
    epochs = settings.epochs
    if epochs is None:
        epochs = min(30, max(3, round(600 / math.sqrt(max(rows, 1)))))
    multiplier = settings.learning_rate_multiplier
    adapter = settings.adapter_size
    return Settings(epochs, 1.0 if multiplier is None else multiplier, 4 if adapter is None else adapter)


def _batch_size(rows: int) -> int:
    """Rows per step: 8 for small data, 16 from 800 rows, 32 from 4,000."""
    return 8 if rows < 800 else 16 if rows < 4000 else 32


def planned_steps(rows: int, settings: Settings) -> int:
    """Steps of the whole run."""
    return (resolve(settings, rows).epochs or 0) * math.ceil(rows / _batch_size(rows))


class _Adam:
    """AdamW with a linear warm-up and a cosine decay to a tenth; only `down_prompt` and `up` decay."""

    def __init__(self, p: Parameters, peak: float, steps: int) -> None:
        self._first = {name: np.zeros_like(value) for name, value in p.items()}
        self._second = {name: np.zeros_like(value) for name, value in p.items()}
        self._peak, self._steps, self._warm = peak, steps, max(1, min(50, steps // 20))
        self._done = 0

    def _rate(self) -> float:
        t = self._done
        decay = 0.55 + 0.45 * math.cos(math.pi * min(1.0, t / max(1, self._steps)))
        return self._peak * min(1.0, (t + 1) / self._warm) * decay

    def update(self, p: Parameters, gradients: Parameters) -> None:
        rate = self._rate()
        self._done += 1
        for name in ("down_prompt", "up"):
            p[name] *= max(0.0, 1 - _WEIGHT_DECAY * rate)
        rate *= math.sqrt(1 - 0.99**self._done) / (1 - 0.9**self._done)
        for name, g in gradients.items():
            first, second = self._first[name], self._second[name]
            first *= 0.9
            first += 0.1 * g
            second *= 0.99
            np.multiply(g, g, out=g)
            g *= 0.01
            second += g
            np.sqrt(second, out=g)
            g += 1e-7
            np.divide(first, g, out=g)
            g *= rate
            p[name] -= g


def _checkpoint_epochs(epochs: int) -> list[int]:
    """Below ten epochs each one; from ten on ten of them, evenly spread, the last included."""
    return list(range(1, epochs + 1)) if epochs < 10 else [round(epochs * i / 10) for i in range(1, 11)]


def train(
    rows: Sequence[Row],
    validation: Sequence[Row],
    *,
    base_model: str,
    settings: Settings,
    seed: int,
    start: Weights | None = None,
    on_point: Callable[[Point], None],
    should_stop: Callable[[], bool],
) -> Iterator[Checkpoint]:
    """Train, yielding checkpoints as they are reached; nothing runs until the iterator is advanced.

    `on_point` is called before the first step (validation only), then after every step with the batch's values and,
    about _EVALUATIONS times and at the end of each epoch that has a checkpoint, with those of validation. `start`
    continues from earlier weights: their base model, features and idf are kept, their vocabulary grows, their rank
    grows when `settings` asks for more and stays when it asks for less. When `should_stop` says so the iterator ends
    without another checkpoint. When the loss of a step is not finite, the point says so, and training ends with a
    checkpoint of the parameters as they stand.
    """
    if not rows:
        raise ValueError("training needs at least one row")
    wanted = resolve(settings, len(rows))
    epochs, multiplier = wanted.epochs or 1, wanted.learning_rate_multiplier
    adapter = wanted.adapter_size or 4
    base_model = start.base_model if start else base_model
    kind = flavour(base_model)
    known = Known.of([row.target for row in rows], start.known.vocabulary if start else ())
    seen = [blocks(row.prompt, kind) for row in rows]
    encoder = start.encoder if start else Encoder.fit(kind, seen)
    rank = RANK_PER_ADAPTER * adapter
    p = grown(start, known, rank, seed) if start else initial(kind, len(known.vocabulary), rank, seed)
    encoded = [encode(row, parts, encoder, known) for row, parts in zip(rows, seen, strict=True)]
    held_out = bounded([encode(row, blocks(row.prompt, kind), encoder, known) for row in validation], _EVAL_PREDICTIONS)
    longest = max(max(len(row.targets) for row in encoded), start.longest if start else 0)
    size = _batch_size(len(rows))
    per_epoch = math.ceil(len(rows) / size)
    steps = epochs * per_epoch
    adam = _Adam(p, _BASE_LEARNING_RATE * (1.0 if multiplier is None else multiplier), steps)
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 2])
    saved = _checkpoint_epochs(epochs)
    every = max(1, steps // _EVALUATIONS)
    blank = Point(0, 0.0, None, None, None, None, None, None)

    def with_validation(point: Point) -> Point:
        if not held_out:
            return point
        loss, accuracy, count = evaluate(p, held_out, kind.buckets)
        return replace(point, eval_loss=loss, eval_accuracy=accuracy, eval_predictions=count)

    def checkpoint(number: int, epoch: int, step: int) -> Checkpoint:
        weights = Weights(base_model, encoder, known, rounded(p), longest)
        return Checkpoint(str(number), epoch, step, weights)

    with np.errstate(all="ignore"):
        on_point(with_validation(blank))
    step = taken = 0
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(encoded))
        for begin in range(0, len(encoded), size):
            if should_stop():
                return
            chosen = [thinned(encoded[i], rng) for i in order[begin : begin + size]]
            count = sum(len(row.targets) for row in chosen)
            some = None
            if count > STEP_PREDICTIONS:
                some, count = np.sort(rng.choice(count, STEP_PREDICTIONS, replace=False)), STEP_PREDICTIONS
            with np.errstate(all="ignore"):
                loss, accuracy, gradients = loss_and_gradients(p, Batch.of(chosen, kind.buckets, some))
                step += 1
                point = replace(
                    blank,
                    step=step,
                    epoch=step / per_epoch,
                    train_loss=loss,
                    train_accuracy=accuracy,
                    train_predictions=count,
                )
                if not math.isfinite(loss):
                    on_point(with_validation(point))
                    yield checkpoint(taken + 1, epoch, step)
                    return
                adam.update(p, gradients)
                last = step == epoch * per_epoch
                if step % every == 0 or (last and epoch in saved):
                    point = with_validation(point)
            on_point(point)
        if epoch in saved:
            taken += 1
            yield checkpoint(taken, epoch, step)
