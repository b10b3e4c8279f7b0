"""A small language model that is really tuned: frozen hashed features, a low-rank adapter, next-token softmax.

The frozen part stands for the base model: what it sees of a prompt and of the answer so far (`features`), and a
habit of copying words from the prompt (`vocabulary.Copying`). The adapter is a bottleneck between them and the
scores of the next token:

    scores = up . leaky_relu(down . [prompt, answer so far] + shift) + bias + copy habits

`up` starts at zero, so an untrained adapter is the base model, as with LoRA.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import text as lexical
from .arrays import Floats, row_product
from .features import CONTEXT_SIZE, Encoder, Flavour, Trail, blocks, context, flavour
from .state import write_atomic
from .values import Prompt
from .vocabulary import END, REST, Copying, Known

__all__ = ["LEAK", "REST_SIZE", "Parameters", "Weights", "grown", "initial", "rounded"]

Parameters = dict[str, Floats]

LEAK = 0.1  # slope of the hidden units below zero: none can die for good
REST_SIZE = 400.0  # over how many tokens outside the vocabulary the base model spreads its belief
_COPY_HABITS = (0.7, 0.4, 1.5)
"""What the base model adds to the scores of three kinds of token: those of the user's turn, those of the rest of the
prompt, and those that come next in the prompt after the one just said."""

_NAMES = ("down_prompt", "down_context", "shift", "up", "bias", "copy")


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained adapter with all that is needed to answer; its arrays are shared between threads and never written.

    `parameters`: down_prompt (buckets, k), down_context (CONTEXT_SIZE, k), shift (k), up (k, V), bias (V),
    copy (3); float32 as `rounded` leaves them, so that saving is exact.
    """

    base_model: str
    encoder: Encoder
    known: Known
    parameters: Parameters
    longest: int  # tokens of the longest target it was trained on
    rank: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", self.parameters["up"].shape[0])

    def answer(self, prompt: Prompt, limit: int) -> tuple[str, bool]:
        """The greedy answer of at most `limit` tokens, and whether it ended by itself."""
        p = self.parameters
        buckets, values = self.encoder(blocks(prompt, self.encoder.flavour))
        base = row_product(values, p["down_prompt"][buckets]) + p["shift"]
        copying = Copying(prompt, self.known)
        offered = p["bias"].copy()
        offered[copying.user] += p["copy"][0]
        offered[copying.other] += p["copy"][1]
        trail, previous = Trail(), ""
        pieces: list[str] = []
        bound = min(limit, 2 * self.longest + 16)
        while len(pieces) < bound:
            hidden = base + row_product(context(np.array([trail.keys()], np.int64))[0], p["down_context"])
            scores = row_product(np.maximum(hidden, LEAK * hidden), p["up"]) + offered
            scores[copying.following(previous)] += p["copy"][2]
            best = int(scores[END:].argmax()) + END
            if best == END:
                return lexical.decode(pieces), True
            previous = self.known.vocabulary[best]
            trail.add(previous)
            pieces.append(previous)
        # An answer that runs past twice anything it was taught counts as ended: a real model would have stopped.
        return lexical.decode(pieces), bound < limit

    def save(self, path: Path) -> None:
        """Write an .npz without pickles, atomically: a reader sees the old file or the new one."""
        meta = {
            "version": 1,
            "base_model": self.base_model,
            "rare": self.encoder.rare,
            "longest": self.longest,
            "vocabulary": self.known.vocabulary,
        }
        arrays: dict[str, Any] = {name: value.astype(np.float16) for name, value in self.parameters.items()}
        arrays["keys"], arrays["idf"] = self.encoder.keys, self.encoder.idf
        # JSON escapes lone surrogates, which UTF-8 cannot carry.
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode("ascii"), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Weights:
        """Read what `save` wrote; nothing in the file is executed."""
        with np.load(path, allow_pickle=False) as stored:
            meta = json.loads(stored["meta"].tobytes())
            parameters = {name: stored[name].astype(np.float32) for name in _NAMES}
            encoder = Encoder(flavour(meta["base_model"]), stored["keys"], stored["idf"], meta["rare"])
        return cls(meta["base_model"], encoder, Known(meta["vocabulary"]), parameters, meta["longest"])


def initial(kind: Flavour, vocabulary: int, rank: int, seed: int) -> Parameters:
    """The untrained adapter, float32: random reading, zero effect; the base model believes in REST."""
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 1])
    bias = np.zeros(vocabulary, np.float32)
    bias[REST] = math.log(REST_SIZE)
    return {
        "down_prompt": 0.1 * rng.standard_normal((kind.buckets, rank)).astype(np.float32),
        "down_context": 0.1 * rng.standard_normal((CONTEXT_SIZE, rank)).astype(np.float32),
        "shift": np.zeros(rank, np.float32),
        "up": np.zeros((rank, vocabulary), np.float32),
        "bias": bias,
        "copy": np.array(_COPY_HABITS, np.float32),
    }


def grown(start: Weights, known: Known, rank: int, seed: int) -> Parameters:
    """Parameters that continue `start` with a larger vocabulary and at least its rank; new parts have no effect."""
    old = start.parameters
    rank = max(rank, start.rank)
    new = initial(start.encoder.flavour, len(known.vocabulary), rank, seed)
    for name in ("down_prompt", "down_context", "shift"):
        new[name][..., : start.rank] = old[name]
    new["up"][: start.rank, : old["up"].shape[1]] = old["up"]
    new["bias"][: len(old["bias"])] = old["bias"]
    new["copy"][:] = old["copy"]
    return new


def rounded(p: Parameters) -> Parameters:
    """A copy cut and rounded to what float16 can hold (NaN becomes 0), so that saving it loses nothing.

    It stays float32, in which the arithmetic is done.
    """
    held = {name: np.nan_to_num(np.clip(value, -65000, 65000)) for name, value in p.items()}
    return {name: value.astype(np.float16).astype(np.float32) for name, value in held.items()}
