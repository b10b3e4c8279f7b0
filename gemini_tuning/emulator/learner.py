"""A small language model that is really tuned: frozen hashed features, a low-rank adapter, next-token
softmax.

The frozen part stands for the base model: what it sees of a prompt (`text.features`, projected to a fixed
number of buckets), what it sees of the answer so far, and a habit of copying words from the prompt. The
adapter is a bottleneck of `RANK_PER_ADAPTER * adapter_size` units between them and the scores of the next
token:

    scores = up . relu(down . [prompt, answer so far] + shift) + bias + copy habits

`up` starts at zero, so an untrained adapter is the base model, as with LoRA. Everything is deterministic for
equal inputs and seed on one machine.
"""

import json
import math
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gemini_tuning.emulator import text as lexical

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Parameters = dict[str, Floats]

RANK_PER_ADAPTER = 24
BASE_LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.02
LEAK = 0.1  # slope of the hidden units below zero: none can die for good
DROPOUT = 0.2  # of the features of a prompt, while training
REST, END = 0, 1  # ids: every token the adapter does not know; the end of the answer
REST_SIZE = 400.0  # how many such tokens the base model spreads its belief over
VOCABULARY_LIMIT = 6000
TARGET_LIMIT = 512  # tokens of one target that are trained on
STEP_PREDICTIONS = 512  # predictions of one step, and of one block of evaluation
EVAL_PREDICTIONS = 4096
ONE_THREAD = 1 << 19  # multiplications of one call of the BLAS library
EVALUATIONS = 40  # about how often validation is measured in one run
COPY_HABITS = (0.7, 0.4, 1.5)  # belief in a token of the user's turn, of the rest, that comes next there
_SLOTS, _SLOT = 4, 48  # what is seen of the answer so far: four codes of 48 numbers each
_SYSTEM, _HISTORY = 0x9E3779B9, 0x7F4A7C15
_SYSTEM_WEIGHT, _HISTORY_WEIGHT = 0.3, 0.4
_IDF_FLOOR = 0.3


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
    """What a tuning job asks for; None is the service's default (see `resolve`)."""

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


@dataclass(frozen=True)
class Flavour:
    """The frozen features of one model family: number of buckets, longest character n-gram, skip pairs."""

    buckets: int
    longest: int
    skips: bool


def flavour(base_model: str) -> Flavour:
    """Pro sees more of a prompt than flash, and flash more than flash-lite; unknown names count as flash."""
    if "pro" in base_model:
        return Flavour(6144, 6, True)
    if "lite" in base_model:
        return Flavour(2048, 4, False)
    return Flavour(4096, 5, False)


def resolve(settings: Settings, rows: int, base_model: str) -> Settings:
    """Fill in the defaults.

    The service's formulas are unpublished; these are the simulator's own. Epochs fall with the size of the
    data, `600 / sqrt(rows)` rounded and kept within 3..30 (100 rows: 30, 1,000: 19, 2,500: 12, 10,000: 6);
    the learning-rate multiplier is 1; the adapter size is 4. `base_model` does not change them today.
    """
    epochs = settings.epochs
    if epochs is None:
        epochs = min(30, max(3, round(600 / math.sqrt(max(rows, 1)))))
    multiplier = settings.learning_rate_multiplier
    adapter = settings.adapter_size
    return Settings(epochs, 1.0 if multiplier is None else multiplier, 4 if adapter is None else adapter)


def batch_size(rows: int) -> int:
    """Rows per step: 8 for small data, 16 from 800 rows, 32 from 4,000."""
    return 8 if rows < 800 else 16 if rows < 4000 else 32


def planned_steps(rows: int, settings: Settings) -> int:
    """Steps of the whole run; `settings.epochs` must be filled in (`resolve`)."""
    if settings.epochs is None:
        settings = resolve(settings, rows, "")
    return (settings.epochs or 0) * math.ceil(rows / batch_size(rows))


# --- the frozen part


@lru_cache(maxsize=512)
def _counted(text: str, longest: int, skips: bool, salt: int) -> tuple[Ints, Floats]:
    """Distinct feature hashes of `text`, ascending, with weight times the square root of the count."""
    hashes, weights = lexical.features(text, longest=longest, skips=skips)
    distinct, inverse, counts = np.unique(
        np.array(hashes, np.uint32) ^ np.uint32(salt), return_inverse=True, return_counts=True
    )
    total = np.bincount(inverse, weights, minlength=len(distinct))
    return distinct, (total / np.sqrt(np.maximum(counts, 1))).astype(np.float32)


_Block = tuple[Ints, Floats, float]  # features of one part of a prompt: hashes, weights, the part's length


def _blocks(prompt: Prompt, kind: Flavour) -> list[_Block]:
    parts = (
        (prompt.user, 0, 1.0),
        (prompt.system, _SYSTEM, _SYSTEM_WEIGHT),
        (prompt.history, _HISTORY, _HISTORY_WEIGHT),
    )
    return [(*_counted(part, kind.longest, kind.skips, salt), weight) for part, salt, weight in parts if part]


@dataclass(frozen=True, eq=False)
class Encoder:
    """Prompt -> sparse vector. `keys` (uint32, ascending) and `idf` (float32) weigh the features by how rare
    they were among the training prompts, so that text which is the same in all of them does not swamp the
    input; a feature that is not listed was met once or never and weighs `rare`."""

    flavour: Flavour
    keys: Ints
    idf: Floats
    rare: float

    @classmethod
    def fit(cls, kind: Flavour, prompts: Sequence[Sequence[_Block]]) -> "Encoder":
        """Count in how many prompts each feature occurs; the 32,768 most frequent are kept."""
        seen = [hashes for blocks in prompts for hashes, _, _ in blocks]
        keys, counts = np.unique(np.concatenate([np.zeros(0, np.uint32), *seen]), return_counts=True)
        order = np.argsort(-counts, kind="stable")[:32768]
        order = np.sort(order[counts[order] > 1])
        n = len(prompts)
        idf = (np.log((n + 1) / (counts[order] + 1)) + _IDF_FLOOR).astype(np.float32)
        return cls(kind, keys[order], idf, math.log((n + 1) / 2) + _IDF_FLOOR)

    def __call__(self, blocks: Sequence[_Block]) -> tuple[Ints, Floats]:
        """Distinct buckets (ascending) and values; each part of the prompt is scaled to its own length."""
        buckets: list[Ints] = [np.zeros(0, np.int64)]
        values: list[Floats] = [np.zeros(0, np.float32)]
        for hashes, counted, weight in blocks:
            scaled = counted * self._weights(hashes)
            norm = float(np.sqrt(scaled @ scaled))
            sign = np.where(hashes >> np.uint32(31), -1.0, 1.0).astype(np.float32)
            buckets.append((hashes % np.uint32(self.flavour.buckets)).astype(np.int64))
            values.append(scaled * sign * np.float32(weight / norm if norm else 0.0))
        distinct, inverse = np.unique(np.concatenate(buckets), return_inverse=True)
        summed = np.bincount(inverse, np.concatenate(values), minlength=len(distinct))
        return distinct, summed.astype(np.float32)

    def _weights(self, hashes: Ints) -> Floats:
        if not len(self.keys):
            return np.full(len(hashes), self.rare, np.float32)
        at = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
        return np.where(self.keys[at] == hashes, self.idf[at], np.float32(self.rare)).astype(np.float32)


@lru_cache(maxsize=1)
def _codes() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(77)
    return (
        rng.standard_normal((4096, _SLOT)).astype(np.float32) / np.float32(math.sqrt(_SLOT)),
        rng.choice(np.array([-1.0, 1.0], np.float32), (4096, _SLOT)),
    )


def _context(keys: Ints) -> Floats:
    """Codes of the answer so far: (positions, _SLOTS) hashes -> (positions, _SLOTS * _SLOT)."""
    table, signs = _codes()
    codes: Floats = table[keys & 4095] * signs[(keys >> 12) & 4095]
    return codes.reshape(len(keys), _SLOTS * _SLOT)


class _Trail:
    """The answer so far as four hashes: all of it, its last token, its last two tokens, its length."""

    def __init__(self) -> None:
        self.whole, self.last, self.before, self.length = 0, 0, 0, 0

    def keys(self) -> tuple[int, int, int, int]:
        pair = zlib.crc32(self.before.to_bytes(4, "big"), self.last ^ 0x5BD1E995)
        return self.whole, self.last, pair, 2654435761 * (1 + min(self.length, 24)) % (1 << 32)

    def add(self, token: str) -> None:
        raw = token.encode("utf-8", "surrogatepass")
        # Beyond 12 tokens the whole prefix is as good as unique and would only be memorised.
        self.whole = zlib.crc32(raw, self.whole) if self.length < 12 else 0
        self.before, self.last, self.length = self.last, zlib.crc32(raw), self.length + 1


@lru_cache(maxsize=128)
def _sequence(text: str) -> tuple[tuple[str, ...], Mapping[str, frozenset[str]]]:
    """The tokens of a text without case and blanks, and for each those that come after it ("" is the end)."""
    shown = tuple(bare for token in lexical.tokens(text) if (bare := _bare(token)))
    after: dict[str, set[str]] = {}
    for left, right in zip(shown, (*shown[1:], ""), strict=False):
        after.setdefault(left, set()).add(right)
    return shown, {token: frozenset(following) for token, following in after.items()}


class _Copying:
    """Which known tokens the prompt offers for copying, and which of them follow which."""

    def __init__(self, prompt: Prompt, known: "Known") -> None:
        parts = [_sequence(part) for part in (prompt.user, prompt.system, prompt.history)]
        self.user = known.ids(parts[0][0])
        self.other = known.ids((*parts[1][0], *parts[2][0]))
        self._after = [after for _, after in parts]
        self._known = known

    def following(self, token: str) -> Ints:
        """Ids of the known tokens that come after `token` in the prompt."""
        bare = _bare(token)
        if not bare:
            return _NONE
        return self._known.ids([right for after in self._after for right in after.get(bare, ())])


_NONE = np.zeros(0, np.int32)


def _bare(token: str) -> str:
    return token.strip().lower()


class Known:
    """The vocabulary: ids of tokens, and spelling of tokens that are not in it."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        self.index = {token: i for i, token in enumerate(self.vocabulary) if i > END}
        self._bare: dict[str, list[int]] = {}
        for token, i in self.index.items():
            self._bare.setdefault(_bare(token), []).append(i)

    @classmethod
    def of(cls, targets: Sequence[str], earlier: Sequence[str] = ()) -> "Known":
        """The tokens of the targets, most frequent first, after those of an `earlier` vocabulary.

        Above VOCABULARY_LIMIT rare tokens are spelled in characters instead.
        """
        counts = Counter(token for target in targets for token in lexical.tokens(target))
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        start = list(earlier) or ["<rest>", "<end>"]
        have = set(start[2:])
        fresh = [token for token in ordered if token not in have]
        room = max(0, VOCABULARY_LIMIT - len(start))
        if len(fresh) > room:
            letters = Counter(letter for token in fresh for letter in token)
            alphabet = [letter for letter, _ in letters.most_common(room // 2) if letter not in have]
            fresh = (alphabet + [token for token in fresh if token not in set(alphabet)])[:room]
        return cls([*start, *fresh])

    def spell(self, target: str) -> list[tuple[str, int]]:
        """(token, id) of a target; a token that can be neither found nor spelled is REST."""
        spelled: list[tuple[str, int]] = []
        for token in lexical.tokens(target):
            if token in self.index:
                spelled.append((token, self.index[token]))
            elif all(letter in self.index for letter in token):
                spelled.extend((letter, self.index[letter]) for letter in token)
            else:
                spelled.append((token, REST))
        return spelled

    def ids(self, bare: Sequence[str]) -> Ints:
        """Distinct ids of the tokens whose text without case and blanks is among `bare`; "" and commas
        end."""
        found = {i for token in bare for i in self._bare.get(token, ())}
        if any(token in _ENDS for token in bare):
            found.add(END)
        return np.array(sorted(found), np.int32)


_ENDS = frozenset(("", ",", ";", "、", "，", "；", "。", "."))


# --- weights


def product(left: Floats, right: Floats) -> Floats:
    """`left @ right` in pieces of at most ONE_THREAD multiplications each.

    A larger product would wake the threads of the BLAS library, and on a machine shared with others each call
    then waits until the scheduler has run all of them: 5 to 15 ms measured instead of 0.05. Pieces also make
    the result independent of the number of cores.
    """
    out = np.empty((left.shape[0], right.shape[1]), np.result_type(left, right))
    _product_into(left, right, out)
    return out


def _product_into(left: Floats, right: Floats, out: Floats) -> None:
    (n, k), m = left.shape, right.shape[1]
    if n * k * m <= ONE_THREAD:
        np.matmul(left, right, out=out)
    elif n >= max(k, m):
        _product_into(left[: n // 2], right, out[: n // 2])
        _product_into(left[n // 2 :], right, out[n // 2 :])
    elif m >= k:
        _product_into(left, right[:, : m // 2], out[:, : m // 2])
        _product_into(left, right[:, m // 2 :], out[:, m // 2 :])
    else:
        _product_into(left[:, : k // 2], right[: k // 2], out)
        out += product(left[:, k // 2 :], right[k // 2 :])


def _one(row: Floats, right: Floats) -> Floats:
    """`row @ right` for a vector, as two equal rows: BLAS wakes its threads sooner for vectors."""
    result: Floats = product(np.stack((row, row)), right)[0]
    return result


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained adapter with all that is needed to answer; arrays are shared between threads and never
    written.

    `parameters`: down_prompt (buckets, k), down_context (_SLOTS * _SLOT, k), shift (k), up (k, V), bias (V),
    copy (3); float32 with values that float16 can hold, so that saving is exact.
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
        buckets, values = self.encoder(_blocks(prompt, self.encoder.flavour))
        base = _one(values, p["down_prompt"][buckets]) + p["shift"]
        copying = _Copying(prompt, self.known)
        offered = p["bias"].copy()
        offered[copying.user] += p["copy"][0]
        offered[copying.other] += p["copy"][1]
        trail, previous = _Trail(), ""
        pieces: list[str] = []
        bound = min(limit, 2 * self.longest + 16)
        while len(pieces) < bound:
            hidden = base + _one(_context(np.array([trail.keys()], np.int64))[0], p["down_context"])
            scores = _one(np.maximum(hidden, LEAK * hidden), p["up"]) + offered
            scores[copying.following(previous)] += p["copy"][2]
            best = int(scores[END:].argmax()) + END
            if best == END:
                return lexical.decode(pieces), True
            previous = self.known.vocabulary[best]
            trail.add(previous)
            pieces.append(previous)
        # A model that runs past twice anything it was taught is stopped as a real one would be by its own
        # end.
        return lexical.decode(pieces), bound < limit

    def save(self, path: str | os.PathLike[str]) -> None:
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
        target = Path(path)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez_compressed(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Weights":
        """Read what `save` wrote; nothing in the file is executed."""
        with np.load(path, allow_pickle=False) as stored:
            meta = json.loads(stored["meta"].tobytes())
            parameters = {name: stored[name].astype(np.float32) for name in _NAMES}
            encoder = Encoder(flavour(meta["base_model"]), stored["keys"], stored["idf"], meta["rare"])
        return cls(meta["base_model"], encoder, Known(meta["vocabulary"]), parameters, meta["longest"])


_NAMES = ("down_prompt", "down_context", "shift", "up", "bias", "copy")


@dataclass(frozen=True)
class Checkpoint:
    """The adapter after `step` steps; ids count from "1" as the service's do."""

    checkpoint_id: str
    epoch: int
    step: int
    weights: Weights


def initial(kind: Flavour, vocabulary: int, rank: int, seed: int) -> Parameters:
    """The untrained adapter, float32: random reading, zero effect; the base model believes in REST."""
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 1])
    bias = np.zeros(vocabulary, np.float32)
    bias[REST] = math.log(REST_SIZE)
    return {
        "down_prompt": 0.1 * rng.standard_normal((kind.buckets, rank)).astype(np.float32),
        "down_context": 0.1 * rng.standard_normal((_SLOTS * _SLOT, rank)).astype(np.float32),
        "shift": np.zeros(rank, np.float32),
        "up": np.zeros((rank, vocabulary), np.float32),
        "bias": bias,
        "copy": np.array(COPY_HABITS, np.float32),
    }


def _grown(start: Weights, known: Known, rank: int, seed: int) -> Parameters:
    """Parameters that continue `start` with a larger vocabulary and at least its rank; new parts have no
    effect."""
    old = start.parameters
    rank = max(rank, start.rank)
    new = initial(start.encoder.flavour, len(known.vocabulary), rank, seed)
    for name in ("down_prompt", "down_context", "shift"):
        new[name][..., : start.rank] = old[name]
    new["up"][: start.rank, : old["up"].shape[1]] = old["up"]
    new["bias"][: len(old["bias"])] = old["bias"]
    new["copy"][:] = old["copy"]
    return new


# --- training


@dataclass(frozen=True, eq=False)
class _Encoded:
    """One row ready for training: prompt (sparse), n targets, (n, _SLOTS) context keys, copies; follows is
    two arrays, position and token id."""

    buckets: Ints
    values: Floats
    targets: Ints
    keys: Ints
    user: Ints
    other: Ints
    follows: tuple[Ints, Ints]


def _encode(row: Row, blocks: Sequence[_Block], encoder: Encoder, known: Known) -> _Encoded:
    copying = _Copying(row.prompt, known)
    trail, previous = _Trail(), ""
    keys: list[tuple[int, ...]] = []
    targets: list[int] = []
    at: list[Ints] = [_NONE]
    ids: list[Ints] = [_NONE]
    for token, i in [*known.spell(row.target)[:TARGET_LIMIT], ("", END)]:
        following = copying.following(previous)
        at.append(np.full(len(following), len(targets), np.int32))
        ids.append(following)
        keys.append(trail.keys())
        targets.append(i)
        trail.add(token)
        previous = token
    return _Encoded(
        *encoder(blocks),
        np.array(targets, np.int32),
        np.array(keys, np.uint32),
        copying.user,
        copying.other,
        (np.concatenate(at), np.concatenate(ids)),
    )


@dataclass(frozen=True, eq=False)
class Batch:
    """Predictions of some rows: prompts (rows, buckets), context (n, _SLOTS * _SLOT), targets (n), the row of
    each prediction, ascending; per row its copies; pairs (prediction, token id) for tokens that follow in the
    prompt."""

    prompts: Floats
    context: Floats
    targets: Ints
    owner: Ints
    user: tuple[Ints, ...]
    other: tuple[Ints, ...]
    follows: tuple[Ints, Ints]


def _batch(rows: Sequence[_Encoded], buckets: int, chosen: Ints | None) -> Batch:
    """Put rows together; `chosen` (ascending) keeps some of their predictions only."""
    prompts = np.zeros((len(rows), buckets), np.float32)
    for i, row in enumerate(rows):
        prompts[i, row.buckets] = row.values
    lengths = [len(row.targets) for row in rows]
    owner = np.repeat(np.arange(len(rows)), lengths)
    offsets = np.cumsum([0, *lengths[:-1]])
    at = np.concatenate([row.follows[0] + offset for row, offset in zip(rows, offsets, strict=True)])
    ids = np.concatenate([row.follows[1] for row in rows])
    keys, targets = np.concatenate([row.keys for row in rows]), np.concatenate([row.targets for row in rows])
    if chosen is not None:
        where = np.full(len(owner), -1)
        where[chosen] = np.arange(len(chosen))
        keys, targets, owner = keys[chosen], targets[chosen], owner[chosen]
        kept = where[at] >= 0
        at, ids = where[at][kept], ids[kept]
    return Batch(
        prompts,
        _context(keys),
        targets,
        owner,
        tuple(row.user for row in rows),
        tuple(row.other for row in rows),
        (at, ids),
    )


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
    """Sum of losses and number of hits. An unknown token costs what one of REST_SIZE costs, and never
    hits."""
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


def evaluate(p: Parameters, rows: Sequence[_Encoded], buckets: int) -> tuple[float, float, int]:
    """Mean loss, accuracy and number of predictions over `rows`, in blocks of bounded size."""
    loss = hits = 0.0
    count = size = 0
    block: list[_Encoded] = []
    for i, row in enumerate(rows):
        block.append(row)
        size += len(row.targets)
        if size >= STEP_PREDICTIONS or i == len(rows) - 1:
            batch = _batch(block, buckets, None)
            _, scores, _ = _forward(p, batch)
            more_loss, more_hits = _measured(scores, batch.targets)
            loss, hits, count, block, size = loss + more_loss, hits + more_hits, count + size, [], 0
    return loss / count, hits / count, count


class _Adam:
    """AdamW with a linear warm-up and a cosine decay to a tenth; biases and the code reader do not decay."""

    def __init__(self, p: Parameters, peak: float, steps: int) -> None:
        self._first = {name: np.zeros_like(value) for name, value in p.items()}
        self._second = {name: np.zeros_like(value) for name, value in p.items()}
        self._peak, self._steps, self._warm = peak, steps, max(1, min(50, steps // 20))
        self._done = 0

    def rate(self) -> float:
        t = self._done
        decay = 0.55 + 0.45 * math.cos(math.pi * min(1.0, t / max(1, self._steps)))
        return self._peak * min(1.0, (t + 1) / self._warm) * decay

    def update(self, p: Parameters, gradients: Parameters) -> None:
        rate = self.rate()
        self._done += 1
        for name in ("down_prompt", "up"):
            p[name] *= max(0.0, 1 - WEIGHT_DECAY * rate)
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


def _snapshot(p: Parameters) -> Parameters:
    """A copy cut and rounded to what float16 can hold (NaN becomes 0), so that saving it loses nothing."""
    held = {name: np.nan_to_num(np.clip(value, -65000, 65000)) for name, value in p.items()}
    return {name: value.astype(np.float16).astype(np.float32) for name, value in held.items()}


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

    `on_point` is called before the first step (validation only), then after every step with the batch's
    values and, about EVALUATIONS times and at the end of each epoch that has a checkpoint, with those of
    validation. `start` continues from earlier weights: their features and idf are kept, their vocabulary
    grows, their rank grows when `settings` asks for more and stays when it asks for less. When `should_stop`
    says so the iterator ends without another checkpoint. When the loss of a step is not finite, the point
    says so, and training ends with a checkpoint of the parameters as they stand.
    """
    if not rows:
        raise ValueError("training needs at least one row")
    wanted = resolve(settings, len(rows), base_model)
    epochs, multiplier = wanted.epochs or 1, wanted.learning_rate_multiplier
    adapter = wanted.adapter_size or 4
    base_model = start.base_model if start else base_model
    kind = flavour(base_model)
    known = Known.of([row.target for row in rows], start.known.vocabulary if start else ())
    seen = [_blocks(row.prompt, kind) for row in rows]
    encoder = start.encoder if start else Encoder.fit(kind, seen)
    rank = RANK_PER_ADAPTER * adapter
    p = _grown(start, known, rank, seed) if start else initial(kind, len(known.vocabulary), rank, seed)
    encoded = [_encode(row, blocks, encoder, known) for row, blocks in zip(rows, seen, strict=True)]
    held_out = _bounded([_encode(row, _blocks(row.prompt, kind), encoder, known) for row in validation])
    longest = max(max(len(row.targets) for row in encoded), start.longest if start else 0)
    size = batch_size(len(rows))
    per_epoch = math.ceil(len(rows) / size)
    steps = epochs * per_epoch
    adam = _Adam(p, BASE_LEARNING_RATE * (1.0 if multiplier is None else multiplier), steps)
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 2])
    saved = _checkpoint_epochs(epochs)
    every = max(1, steps // EVALUATIONS)
    blank = Point(0, 0.0, None, None, None, None, None, None)

    def with_validation(point: Point) -> Point:
        if not held_out:
            return point
        loss, accuracy, count = evaluate(p, held_out, kind.buckets)
        return replace(point, eval_loss=loss, eval_accuracy=accuracy, eval_predictions=count)

    def checkpoint(number: int, epoch: int, step: int) -> Checkpoint:
        weights = Weights(base_model, encoder, known, _snapshot(p), longest)
        return Checkpoint(str(number), epoch, step, weights)

    with np.errstate(all="ignore"):
        on_point(with_validation(blank))
    step = taken = 0
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(encoded))
        for begin in range(0, len(encoded), size):
            if should_stop():
                return
            chosen = [_thinned(encoded[i], rng) for i in order[begin : begin + size]]
            count = sum(len(row.targets) for row in chosen)
            some = None
            if count > STEP_PREDICTIONS:
                some, count = np.sort(rng.choice(count, STEP_PREDICTIONS, replace=False)), STEP_PREDICTIONS
            with np.errstate(all="ignore"):
                loss, accuracy, gradients = loss_and_gradients(p, _batch(chosen, kind.buckets, some))
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


def _thinned(row: _Encoded, rng: np.random.Generator) -> _Encoded:
    """The row with a share DROPOUT of its prompt's features left out and the others raised to make up for
    it."""
    kept = rng.random(len(row.values)) >= DROPOUT
    return replace(row, buckets=row.buckets[kept], values=row.values[kept] / np.float32(1 - DROPOUT))


def _bounded(rows: list[_Encoded]) -> list[_Encoded]:
    """Evenly spread rows with about EVAL_PREDICTIONS predictions at most (at least one row)."""
    total = sum(len(row.targets) for row in rows)
    return rows[:: math.ceil(total / EVAL_PREDICTIONS)] if total > EVAL_PREDICTIONS else rows
