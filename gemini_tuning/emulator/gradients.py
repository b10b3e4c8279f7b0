"""Forward and backward through the adapter, for a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .arrays import Floats, Ints, product
from .batches import Batch, Encoded
from .vocabulary import END, REST
from .weights import LEAK, REST_SIZE, Parameters

__all__ = ["STEP_PREDICTIONS", "evaluate", "loss_and_gradients"]

STEP_PREDICTIONS = 512  # predictions of one step, and of one block of evaluation


def _forward(p: Parameters, batch: Batch) -> tuple[Floats, Floats, Ints]:
    """Hidden values (n, k), log-probabilities (n, V), and bounds (rows + 1) of each row's predictions."""
    hidden = product(batch.prompts, p["down_prompt"])[batch.owner]
    hidden += product(batch.context, p["down_context"])
    hidden += p["shift"]
    np.maximum(hidden, LEAK * hidden, out=hidden)
    scores = product(hidden, p["up"])
    scores += p["bias"]
    bounds = np.searchsorted(batch.owner, np.arange(len(batch.prompts) + 1))
    for i in range(len(batch.prompts)):
        rows = scores[bounds[i] : bounds[i + 1]]
        rows[:, batch.user[i]] += p["copy"][0]
        rows[:, batch.other[i]] += p["copy"][1]
    scores[batch.follows] += p["copy"][2]
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return hidden, scores, bounds


def _measured(scores: Floats, targets: Ints) -> tuple[float, float]:
    """Sum of losses and number of hits. An unknown token costs what one of REST_SIZE costs, and never hits."""
    losses = -scores[np.arange(len(targets)), targets] + np.where(targets == REST, math.log(REST_SIZE), 0.0)
    hits = (scores[:, END:].argmax(axis=1) + END == targets) & (targets != REST)
    return float(losses.sum()), float(hits.sum())


def loss_and_gradients(p: Parameters, batch: Batch) -> tuple[float, float, Parameters]:
    """Mean loss, accuracy, and the gradient of the mean loss for every parameter."""
    hidden, scores, bounds = _forward(p, batch)
    n = len(batch.targets)
    loss, hits = _measured(scores, batch.targets)
    error = np.exp(scores)
    error[np.arange(n), batch.targets] -= 1
    error /= n
    copy = np.zeros(3, error.dtype)
    for i in range(len(batch.prompts)):
        rows = error[bounds[i] : bounds[i + 1]]
        copy[0] += rows[:, batch.user[i]].sum()
        copy[1] += rows[:, batch.other[i]].sum()
    copy[2] = error[batch.follows].sum()
    back = product(error, p["up"].T)
    back *= np.where(hidden > 0, 1.0, LEAK).astype(back.dtype)
    per_row = np.zeros((len(batch.prompts), back.shape[1]), back.dtype)
    filled = np.flatnonzero(np.diff(bounds))
    per_row[filled] = np.add.reduceat(back, bounds[filled], axis=0)
    gradients = {
        "down_prompt": product(batch.prompts.T, per_row),
        "down_context": product(batch.context.T, back),
        "shift": back.sum(axis=0),
        "up": product(hidden.T, error),
        "bias": error.sum(axis=0),
        "copy": copy,
    }
    return loss / n, hits / n, gradients


def evaluate(p: Parameters, rows: Sequence[Encoded], buckets: int) -> tuple[float, float, int]:
    """Mean loss, accuracy and number of predictions over `rows`, in blocks of bounded size."""
    loss = hits = 0.0
    count = size = 0
    block: list[Encoded] = []
    for i, row in enumerate(rows):
        block.append(row)
        size += len(row.targets)
        if size >= STEP_PREDICTIONS or i == len(rows) - 1:
            batch = Batch.of(block, buckets)
            _, scores, _ = _forward(p, batch)
            more_loss, more_hits = _measured(scores, batch.targets)
            loss, hits, count, block, size = loss + more_loss, hits + more_hits, count + size, [], 0
    return loss / count, hits / count, count
