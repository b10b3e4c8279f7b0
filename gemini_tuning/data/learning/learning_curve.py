"""Would more of the same data help? The small model at growing shares of the data, each row judged while held out.

The data is cut into folds. For each fold and repeat the other rows are put in a random order, class by class, and the
model learns from the first 10, 20, 40, 80 and 100 % of them; so a larger share contains the smaller, and shares are
compared row by row. `100 %` is all the rows of the other folds.

To the curve a power law is fitted, `value = a - b * rows ** -c`, the shape that learning curves have (Hestness et al.,
Deep learning scaling is predictable, empirically, 2017), and read off at twice the rows. The uncertainty of all this is
a bootstrap over the held-out rows, with the spread between repeats added, because other training rows of the same
number would have given another value.

It is a proxy: a tuned Gemini starts from what it knows and needs fewer rows. A curve that is flat for the small model
may still rise for Gemini on a task that word counts cannot do, and the other way round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from ... import display
from ...errors import PlanError
from ...types import Dataset, Example, Json
from ..similar.fold import key
from .classifier import Floats, Mask, SmallModel, blended
from .features import MAX_CHARACTERS, Ints
from .label_errors import Unusable, better_than_sizes, folds_of, sample_rows, usable_classes

MAX_ROWS = 10_000
"""The curve is drawn from at most so many rows: enough to see where it goes, and bounded in time."""
FOLDS = 5
MARGIN = 0.01
"""The gain that doubling the data must promise to be worth it: one point of accuracy or macro-F1."""
_RESAMPLES = 1000
_EXPONENTS = np.geomspace(0.1, 2, 24)
_Z = NormalDist().inv_cdf(0.975)
_CAVEAT = "The small model is a proxy: Gemini starts from what it knows, and its own curve may be flatter or steeper."

Verdict = Literal["more_helps", "saturated", "cannot_tell"]


class Point(NamedTuple):
    """The value after learning from `rows` rows, with a 95 % interval, judged on `n` held-out rows."""

    rows: int
    value: float
    low: float
    high: float
    n: int


class Gain(NamedTuple):
    """A difference with a 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve:
    """Held-out quality of the small model against the number of rows that it learnt from.

    Attributes:
        points: Accuracy at each share. The intervals cover the draw of the held-out rows and, as far as the repeats
            show it, the draw of the training rows; not the choice of the small model.
        macro_f1: Macro-F1 at each share, the same way; a class that is never hit counts as 0.
        expected_gain, expected_gain_f1: What twice the rows would add by the fitted power law; None without a curve.
        verdict: `more_helps` when one of the two gains is surely above 0 and probably at least `margin`; `saturated`
            when both are surely below `margin` (accuracy alone would call a rare class that is never hit saturated);
            else `cannot_tell`.
        reading: The verdict as a sentence, with its caveat.
        margin: The smallest gain that is worth the work.
        n: Rows given.
        usable: Whether a curve could be drawn at all.
        reason: Why not, or "".
        left_out: Classes with too few different texts, and their rows.
    """

    points: tuple[Point, ...] = ()
    macro_f1: tuple[Point, ...] = ()
    expected_gain: Gain | None = None
    expected_gain_f1: Gain | None = None
    verdict: Verdict = "cannot_tell"
    reading: str = ""
    margin: float = MARGIN
    n: int = 0
    usable: bool = True
    reason: str = ""
    left_out: dict[str, int] = field(default_factory=dict)

    def to_records(self) -> list[dict[str, Json]]:
        """One row a point: `metric`, `rows`, `value`, `low`, `high`, `n`."""
        return [
            {"metric": metric, **point._asdict()}
            for metric, points in (("accuracy", self.points), ("macro_f1", self.macro_f1))
            for point in points
        ]

    def _table(self) -> list[tuple[object, ...]]:
        return [
            (f"{one.rows:,}", f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}", f"{two.value:.3f}",
             f"{two.low:.3f} to {two.high:.3f}")
            for one, two in zip(self.points, self.macro_f1, strict=True)
        ]  # fmt: skip

    _HEADER = ("rows learnt from", "accuracy", "95 %", "macro-F1", "95 %")

    def __repr__(self) -> str:
        head = f"LearningCurve: {self.reading}"
        return f"{head}\n{display.table(self._HEADER, self._table())}" if self.points else head

    def _repr_html_(self) -> str:
        if not self.points:
            return display.paragraph(self.reading)
        rows = [float(point.rows) for point in self.points]
        lines = [
            display.Series("accuracy", rows, [point.value for point in self.points]),
            display.Series("low", rows, [point.low for point in self.points]),
            display.Series("high", rows, [point.high for point in self.points]),
        ]
        chart = display.line_chart(
            lines, title="Learning curve", x_label="rows learnt from", y_label="held-out accuracy", message=self.reading
        )
        return display.paragraph(self.reading) + chart + display.html_table(self._HEADER, self._table())


def learning_curve(
    dataset: Dataset | Sequence[Example],
    *,
    shares: Sequence[float] = (0.1, 0.2, 0.4, 0.8, 1.0),
    seed: int = 0,
    repeats: int = 2,
    margin: float = MARGIN,
    max_rows: int = MAX_ROWS,
    quick: bool = True,
) -> LearningCurve:
    """The curve of these examples, and whether more of the same would help.

    Args:
        dataset: Examples whose outputs are classes; the text is all that the user wrote (`Example.text`).
        shares: Three or more different shares of the training folds, in (0, 1].
        seed: Of folds, orders and resampling.
        repeats: Random orders for each fold, 1 or more; 2 or more show how much the choice of rows matters.
        margin: The smallest gain from twice the rows that would be worth it, above 0.
        max_rows: At most so many rows are used, a sample by content and in proportion to the classes.
        quick: Naive Bayes alone (see `classifier`); False draws the curve of the mean with logistic regression, which
            is somewhat higher and takes ten times as long.

    The result does not depend on the order of the rows. It is `usable=False`, with the reason, where `label_suspects`
    would be: also for free-text outputs, whose quality no small model can stand for. Nothing is measured in its stead:
    the honest curve of a text task is a tuning run on half of the data.

    Raises:
        PlanError: for arguments that cannot work.
    """
    steps = _checked(shares, repeats, margin, max_rows)
    texts, labels = [each.text for each in dataset], [each.output for each in dataset]
    usable = usable_classes(texts, labels)
    if isinstance(usable, Unusable):
        return _unusable(len(texts), usable)
    here, numbers, classes = _ordered(texts, usable.rows, usable.labels, len(usable.names), max_rows, seed)
    part = folds_of(here, numbers, FOLDS, seed)
    model = SmallModel(here, numbers, classes, quick=quick)
    keys = _keys(here)
    predicted = np.empty((repeats, len(steps), len(here)), np.int64)
    sizes = np.zeros(len(steps))
    for repeat in range(repeats):
        order = _orders(keys, numbers, part, f"{seed} {repeat}")
        for step, share in enumerate(steps):
            probabilities, rows = _held_out(model, numbers, part, order, share)
            if share == steps[-1] and not better_than_sizes(probabilities, numbers):
                reason = "the small model predicts held-out labels no better than the class sizes do"
                return _unusable(len(texts), Unusable(reason, usable.left_out))
            predicted[repeat, step] = probabilities.argmax(axis=1)
            sizes[step] += rows / repeats
    return _read(predicted, numbers, classes, part, _groups(keys), sizes, len(texts), usable.left_out, margin, seed)


def _checked(shares: Sequence[float], repeats: int, margin: float, max_rows: int) -> list[float]:
    def bad(argument: str, value: object, expected: str) -> PlanError:
        return PlanError.bad_value("learning_curve", argument, value, expected)

    steps = sorted(set(shares))
    if len(steps) < 3 or not all(isinstance(each, int | float) and 0 < each <= 1 for each in steps):
        raise bad("shares", shares, "three or more different shares above 0 and up to 1")
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise bad("repeats", repeats, "a whole number of 1 or more")
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < 1:
        raise bad("margin", margin, "a difference of accuracies between 0 and 1")
    if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 100:
        raise bad("max_rows", max_rows, "a whole number of 100 or more")
    return [float(each) for each in steps]


def _unusable(n: int, why: Unusable) -> LearningCurve:
    reading = f"no curve for these {n:,} rows: {why.reason}."
    return LearningCurve(n=n, usable=False, reason=why.reason, reading=reading, left_out=why.left_out)


# --- the runs ------------------------------------------------------------------------------------------------------


def _ordered(
    texts: Sequence[str], places: Sequence[int], codes: Ints, classes: int, max_rows: int, seed: int
) -> tuple[list[str], Ints, int]:
    """Texts and class numbers of a sample, in the order of their content."""
    taken = sample_rows([texts[row] for row in places], codes, classes, max_rows, seed)
    order = sorted(np.flatnonzero(taken).tolist(), key=lambda at: (texts[places[at]], codes[at]))
    return [texts[places[at]] for at in order], codes[order], classes


def _groups(keys: Sequence[bytes]) -> Ints:
    """One number for all rows that fold to the same text: they are one observation, not several."""
    first: dict[bytes, int] = {}
    return np.fromiter((first.setdefault(each, len(first)) for each in keys), np.int64, len(keys))


def _keys(texts: Sequence[str]) -> list[bytes]:
    return [key(text[:MAX_CHARACTERS]).encode("utf-8", "surrogatepass") for text in texts]


def _orders(keys: Sequence[bytes], labels: Ints, part: Ints, salt: str) -> Floats:
    """For each fold held out, where in [0, 1) each of the other rows stands in the order in which they are taken.

    (folds, n), infinite for rows of the fold itself; a row is taken by every share above its number. The order is by a
    hash of the folded text, within each class, so equal texts come together and every share has every class.
    """
    position = np.full((FOLDS, len(keys)), np.inf)
    for fold in range(FOLDS):
        name = f"{salt} {fold}".encode()
        digests = (hashlib.blake2b(each, digest_size=8, key=name).digest() for each in keys)
        hashes = np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(keys))
        rows = np.flatnonzero(part != fold)
        order = rows[np.lexsort((hashes[rows], labels[rows]))]
        sizes = np.bincount(labels[rows])
        rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        position[fold, order] = rank / np.repeat(sizes, sizes)
    return position


def _held_out(model: SmallModel, labels: Ints, part: Ints, position: Floats, share: float) -> tuple[np.ndarray, float]:
    """Held-out probabilities at one share, and the mean number of rows learnt from."""
    scores: list[np.ndarray] = []
    learnt = 0
    for fold in range(FOLDS):
        inside = np.flatnonzero(part == fold)
        rows: Mask = position[fold] < share
        learnt += int(rows.sum())
        if not len(inside):
            continue
        for at, each in enumerate(model.fit(rows).scores(model.own, inside)):
            if at == len(scores):
                scores.append(np.zeros((len(labels), each.shape[1]), np.float32))
            scores[at][inside] = each
    return blended(scores, labels), learnt / FOLDS


# --- reading the curve ---------------------------------------------------------------------------------------------


def _read(
    predicted: Ints,
    labels: Ints,
    classes: int,
    part: Ints,
    groups: Ints,
    sizes: Floats,
    n: int,
    left_out: dict[str, int],
    margin: float,
    seed: int,
) -> LearningCurve:
    repeats, steps, rows = predicted.shape
    random = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    drawn = random.multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    weights = np.concatenate([np.ones((1, count), np.int64), drawn])
    right = (predicted == labels).astype(np.float64)
    noise = random.standard_normal((_RESAMPLES, steps)) * _spread(right, part)
    accuracy = _accuracies(right.mean(axis=0), groups, weights)
    f1 = np.mean([_macro_f1(predicted[each], labels, classes, groups, weights) for each in range(repeats)], axis=0)
    accuracy[1:] += noise
    f1[1:] += noise
    gains = tuple(_doubling(values, sizes, count) for values in (accuracy, f1))
    verdict: Verdict = "cannot_tell"
    if all(gain.high < margin for gain in gains):
        verdict = "saturated"
    elif any(gain.low > 0 and gain.value >= margin for gain in gains):
        verdict = "more_helps"
    return LearningCurve(
        points=_points(accuracy, sizes, rows, count), macro_f1=_points(f1, sizes, rows, count),
        expected_gain=gains[0], expected_gain_f1=gains[1], verdict=verdict,
        reading=_sentence(verdict, gains, margin, round(sizes[-1])), margin=margin, n=n, left_out=left_out,
    )  # fmt: skip


def _sentence(verdict: Verdict, gains: Sequence[Gain], margin: float, rows: int) -> str:
    accuracy, f1 = (f"{gain.value:+.1%} {name} ({gain.low:+.1%} to {gain.high:+.1%})" for gain, name in zip(
        gains, ("accuracy", "macro-F1"), strict=True))  # fmt: skip
    promise = f"twice the {rows:,} rows learnt from promise {accuracy} and {f1}"
    what = {
        "more_helps": f"more of the same data would help: {promise}.",
        "saturated": f"more of the same data would hardly help: {promise}, below the {margin:.1%} worth having.",
        "cannot_tell": f"whether more of the same data would help cannot be told: {promise}.",
    }[verdict]
    return f"{what} {_CAVEAT}"


def _accuracies(right: Floats, groups: Ints, weights: Ints) -> Floats:
    """(1 + resamples, steps): the share of right rows with all weights 1, and with each resampling of the groups."""
    sums = np.stack([np.bincount(groups, weights=step) for step in right], axis=1)
    return np.asarray(weights @ sums / (weights @ np.bincount(groups))[:, None])


def _spread(right: Floats, part: Ints) -> Floats:
    """The standard error, by the choice of training rows, of the mean: (repeats, shares, n) -> (shares,).

    Repeats of a share and fold have the same held-out rows, so what differs is the training rows' doing. At 100 %
    repeats are equal and show nothing, yet other data of the same size would have given another value: the share
    before stands for it.
    """
    repeats = len(right)
    if repeats == 1:
        return np.zeros(right.shape[1])
    present = [part == fold for fold in range(FOLDS) if (part == fold).any()]
    varied = np.stack([right[:, :, inside].mean(axis=2).var(axis=0, ddof=1) for inside in present])
    spread = np.sqrt(varied.mean(axis=0) / (repeats * len(present)))
    if spread[-1] == 0:
        spread[-1] = spread[-2]
    return np.asarray(spread)


def _macro_f1(predicted: Ints, labels: Ints, classes: int, groups: Ints, weights: Ints) -> Floats:
    """(1 + resamples, steps): macro-F1 over the classes that a resample has."""
    result = np.empty((len(weights), len(predicted)))
    present = np.bincount(labels, minlength=classes)
    for step, guess in enumerate(predicted):
        hit = guess == labels
        for at, weight in enumerate(weights):
            each = weight[groups].astype(np.float64)
            support = np.bincount(labels, weights=each, minlength=classes) if at else present.astype(np.float64)
            said = np.bincount(guess, weights=each, minlength=classes)
            both = np.bincount(labels[hit], weights=each[hit], minlength=classes)
            f1 = 2 * both / np.maximum(support + said, 1e-300)
            result[at, step] = f1[support > 0].mean()
    return result


def _points(values: Floats, sizes: Floats, n: int, texts: int) -> tuple[Point, ...]:
    """Wilson's interval for the number of independent rows that would vary as much as the resamples do.

    So an interval stays inside [0, 1], and 100 % right of 50 texts is not "100 % to 100 %". Percentiles would not do
    for macro-F1, which resampling lowers.
    """
    points = []
    for size, value, spread in zip(sizes, values[0], values[1:].std(axis=0, ddof=1), strict=True):
        share = float(min(max(value, 0.0), 1.0))
        varied = share * (1 - share)
        m = min(float(texts), varied / spread**2) if spread > 0 and varied > 0 else float(texts)
        square = _Z * _Z
        middle = (share + square / (2 * m)) / (1 + square / m)
        half = _Z / (1 + square / m) * np.sqrt(varied / m + square / (4 * m * m))
        points.append(Point(round(size), share, float(max(0.0, middle - half)), float(min(1.0, middle + half)), n))
    return tuple(points)


def _doubling(values: Floats, sizes: Floats, texts: int) -> Gain:
    """What twice the last number of rows adds, by a power law through each curve: (curves, shares) -> a gain.

    For each exponent of a grid the rest is a straight line in `rows ** -c`, whose least squares have a closed form;
    the exponent with the smallest error is taken, in every resample anew. The exponent is at least 0.1 and at most 2:
    below, the law is a logarithm that never ends; above, it is a step. A law that ends above 1 is not taken when
    another does not.

    The law may be wrong: a curve that has only begun to rise bends the other way. So the interval also holds that of
    the last doubling, from half of the rows to all, which needs no law. Each is -/+ 1.96 standard deviations of the
    resamples, and never narrower than what errors too rare to be seen in these texts could change (Wilson's bound for
    0 of n).
    """
    scaled = sizes / sizes[-1]
    errors, gains = [], []
    for exponent in _EXPONENTS:
        x = scaled**-exponent
        mean = x.mean()
        x = x - mean
        slope = values @ x / (x @ x)
        middle = values.mean(axis=1)
        rest = values - middle[:, None] - slope[:, None] * x
        end = middle - slope * mean
        errors.append((rest**2).sum(axis=1) + np.where(end > 1, 1e3 + end, 0))
        gains.append(slope * (2.0**-exponent - 1))
    best = np.argmin(errors, axis=0)
    next_one = np.stack(gains)[best, np.arange(len(values))]
    unseen = _Z * _Z / (texts + _Z * _Z)
    ends: list[float] = []
    for gain in (next_one, _last_doubling(values, scaled)):
        if gain is not None:
            half = max(unseen, _Z * float(gain[1:].std(ddof=1)))
            ends += [float(gain[0]) - half, float(gain[0]) + half]
    return Gain(float(next_one[0]), min(ends), max(ends))


def _last_doubling(values: Floats, scaled: Floats) -> Floats | None:
    """Each curve's gain from half of the rows to all, on a line in the logarithm of the rows; None without a half."""
    after = int(np.searchsorted(scaled, 0.5))
    if after == 0:
        return None
    low, high = np.log(scaled[after - 1 : after + 1])
    weight = (np.log(0.5) - low) / (high - low)
    return np.asarray(values[:, -1] - (1 - weight) * values[:, after - 1] - weight * values[:, after])
