"""Tokens as the service counts them: all of a small data set, a sample of a large one with its interval.

`countTokens` is not charged, up to 3,000 requests a minute (models/capabilities/get-token-count), and generates
nothing; but one request an example is an absurd way to learn the size of 10,000 of them. A sample tells how the
estimate that is made here has to be corrected.

A quarter of the sample are the heaviest examples, which are counted and not guessed; the others are chosen by a hash of
their content. Without the first, a few very long examples decide everything and are mostly not in the sample: of data
with such a tail 83 % of the intervals held the truth, and with them 95 %, at half the width.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import msgspec

from ..errors import BackendError, PlanError
from ..ledger import Journal, digest
from ..types import Caller, Example, Json, Progress, Prompt
from .tokens import error_band, training_tokens

VERSION = 1
"""Raised when the same example would be counted in another way: stored counts are then not used."""

SAMPLE = 200
LEAST = 40
"""The smallest sample: 30 of them are chosen by chance, and fewer do not carry a normal interval."""

_DRAWN = LEAST - LEAST // 4
_Z = 1.959964
_HOPELESS = (401, 403, 404)
"""HTTP statuses that no further example will turn: no right, no such model."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many tokens the service reads in a data set in one epoch.

    Attributes:
        model: What counted.
        simulated: Whether the offline simulator counted: its tokens are not Gemini's.
        examples: Rows.
        distinct: Different examples among them; equal ones are counted once.
        counted: Different examples that were counted.
        failed: Different examples that could not be counted.
        tokens: Low and high end, all rows; equal when everything was counted. Else what was counted of the heaviest,
            and the 95 % interval of the ratio estimator for the others (Cochran, Sampling Techniques, 6.3), with the
            jackknife's residuals and the correction for a finite population.
        ratio: The middle of `tokens` over what is estimated here without counting.
        error: What the first failure said.
    """

    model: str
    simulated: bool
    examples: int
    distinct: int
    counted: int
    failed: int = 0
    tokens: tuple[int, int]
    ratio: float
    error: str = ""

    @property
    def exact(self) -> bool:
        """Whether every example was counted."""
        return self.counted == self.distinct

    def describe(self) -> str:
        """How the number came about, in words."""
        who = "the offline simulator" if self.simulated else self.model
        if self.exact:
            return f"count_tokens of {who}: every example"
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"count_tokens of {who}: {self.counted:,} of {self.distinct:,} different examples{failed}; 95 % interval"

    def to_records(self) -> list[dict[str, Json]]:
        """One flat row."""
        row = asdict(self)
        low, high = row.pop("tokens")
        return [{**row, "tokens_low": low, "tokens_high": high, "exact": self.exact}]

    def __repr__(self) -> str:
        low, high = self.tokens
        tokens = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        return f"Counts({tokens} tokens in {self.examples:,} examples; {self.describe()})"


@dataclass(frozen=True)
class _Unit:
    """One different example: how many rows have it, what it is estimated at, and what is asked about it."""

    rows: int
    estimate: float
    asked: tuple[tuple[str, Prompt, str | None], ...] = ()

    @property
    def weight(self) -> float:
        """Estimated tokens of all its rows."""
        return self.rows * self.estimate


async def count(
    examples: Sequence[Example],
    caller: Caller,
    cache: Journal | None = None,
    *,
    sample: int = SAMPLE,
    concurrency: int = 8,
    progress: Callable[[Progress], None] | None = None,
) -> Counts:
    """Lets the service count, to be awaited on the private loop: `backend.run(count(dataset, caller))`.

    A supervised example is counted whole, its answer included; a preference pair once with each answer.

    Args:
        examples: Training examples, instructions included.
        caller: The model's; its `count_tokens` is called.
        cache: Where counts are stored and looked up, by content and model; None keeps nothing.
        sample: Different examples to count, at least 40: all of them when there are no more than that. The order of
            rows does not matter, and a larger sample only adds.
        concurrency: Most requests under way.
        progress: Called with `Progress("count tokens", done, total)` on the library's own thread.

    Raises:
        PlanError: No example, a sample below 40, a concurrency below 1.
        BackendError: Nothing could be counted. A few failures are counted in `failed` instead.
    """
    if not len(examples):
        raise PlanError.bad_value("count", "examples", examples, "at least one example", hint="nothing has no tokens.")
    if sample < LEAST:
        raise PlanError.bad_value("count", "sample", sample, f"{LEAST} or more")
    if concurrency < 1:
        raise PlanError.bad_value("count", "concurrency", concurrency, "at least 1")
    units = await asyncio.to_thread(_units, examples, caller, sample)
    chosen = units[:sample]
    known = await asyncio.to_thread(_stored, cache)
    found: dict[int, int] = {}
    errors: list[BackendError] = []
    queue = iter(enumerate(chosen))
    done = 0

    async def one(unit: _Unit) -> int:
        total = 0
        for key, prompt, resolution in unit.asked:
            if key not in known:
                known[key] = await caller.count_tokens(prompt, media_resolution=resolution)
                if cache is not None:
                    cache.append({"key": key, "model": caller.model, "tokens": known[key]})
            total += known[key]
        return total

    async def worker() -> None:
        nonlocal done
        for at, unit in queue:
            try:
                found[at] = await one(unit)
            except BackendError as error:
                errors.append(error)
                if not found and len(errors) >= concurrency and all(e.status_code in _HOPELESS for e in errors):
                    return
            done += 1
            if progress is not None:
                progress(Progress("count tokens", done, len(chosen)))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(chosen))):
            group.create_task(worker())
    if not found:
        raise errors[0]
    tokens, middle = _total(units, found, _heavy(sample, len(units)), error_band(examples))
    return Counts(
        model=caller.model,
        simulated=caller.simulated,
        examples=len(examples),
        distinct=len(units),
        counted=len(found),
        failed=len(errors),
        tokens=tokens,
        ratio=middle / sum(unit.weight for unit in units),
        error=errors[0].message if errors else "",
    )


def _heavy(sample: int, distinct: int) -> int:
    """How many of the heaviest are counted for certain."""
    return sample // 4 if sample < distinct else 0


def _total(units: Sequence[_Unit], found: Mapping[int, int], heavy: int, band: float) -> tuple[tuple[int, int], float]:
    """Low end, high end and middle of the tokens of all rows; the first `heavy` units were not drawn by chance."""
    drawn = [(units[at].rows * tokens, units[at].weight) for at, tokens in sorted(found.items()) if at >= heavy]
    certain = sum(units[at].rows * tokens for at, tokens in found.items())
    if len(found) == len(units):
        return (certain, certain), float(certain)
    # The others: what chance passed over, and what failed.
    n, m = len(units) - len(found) + len(drawn), len(drawn)
    left = sum(unit.weight for at, unit in enumerate(units) if at not in found)
    base = sum(x for _, x in drawn)
    if m < _DRAWN:
        # Only failures lead here, and they are no chance: the error of an estimate is all that is known.
        ratio = certain / sum(units[at].weight for at in found)
        half = band * ratio * left
    else:
        ratio = sum(y for y, _ in drawn) / base
        # Residuals as if each had not been in the fit, and a wider interval for a sample that is lighter than the
        # whole: both are the jackknife's (Royall and Cumberland, JASA 76, 1981).
        spread = sum(((y - ratio * x) / (1 - x / base)) ** 2 for y, x in drawn) / (m - 1)
        half = _Z * n * ((left + base) / n) / (base / m) * math.sqrt((1 - m / n) * spread / m)
    middle = certain + ratio * left
    # What was counted is certain.
    return (math.floor(max(certain, middle - half)), math.ceil(middle + half)), middle


def _units(examples: Sequence[Example], caller: Caller, sample: int) -> list[_Unit]:
    """The different examples in the order in which they are counted; only those that may be have their questions."""
    rows: dict[str, list[int]] = {}
    for at, example in enumerate(examples):
        key = f"{example.content_hash()}{_resolution(example) or ''}"
        rows.setdefault(key, []).append(at)
    order = sorted(rows, key=lambda key: digest("count", key))
    firsts = [examples[rows[key][0]] for key in order]
    units = [
        (_Unit(len(rows[key]), estimate), example)
        for key, example, estimate in zip(order, firsts, training_tokens(firsts), strict=True)
    ]
    # The heaviest first; the others stay in the order of their hashes.
    heaviest = sorted(range(len(units)), key=lambda at: (-units[at][0].weight, at))[: _heavy(sample, len(units))]
    taken = set(heaviest)
    units = [units[at] for at in heaviest] + [unit for at, unit in enumerate(units) if at not in taken]
    return [
        replace(unit, asked=_asked(example, caller)) if at < sample else unit
        for at, (unit, example) in enumerate(units)
    ]


def _asked(example: Example, caller: Caller) -> tuple[tuple[str, Prompt, str | None], ...]:
    resolution = _resolution(example)
    answers = [(*example.turns, each.turn) for each in example.completions] or [example.turns]
    prompts = [Prompt(turns, example.system, example.tools) for turns in answers]
    kind = "simulated" if caller.simulated else "service"
    head = ("count", str(VERSION), kind, caller.model, resolution or "")
    return tuple((digest(*head, msgspec.json.encode(prompt, order="sorted")), prompt, resolution) for prompt in prompts)


def _resolution(example: Example) -> str | None:
    config = example.meta.get("generationConfig")
    found = config.get("mediaResolution") if isinstance(config, Mapping) else None
    return found if isinstance(found, str) else None


def _stored(cache: Journal | None) -> dict[str, int]:
    """Counts by key; rows of another shape are not ours and are left alone."""
    found: dict[str, int] = {}
    for row in cache.rows() if cache is not None else ():
        key, tokens = row.get("key"), row.get("tokens")
        if isinstance(key, str) and isinstance(tokens, int) and tokens >= 0:
            found[key] = tokens
    return found
