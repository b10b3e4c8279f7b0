"""Labels that are probably wrong, found by asking a model that has not seen the row.

Each row is labelled by a small model (`classifier`) learnt from other rows. Rows are ordered by the ratio of the
model's confidence in the best other class to that in the given label. Measured (`docs/labels.md`), that is as good as
the confidence in the given label alone where wrong labels are of any class, and better where they are of a class that
is alike.

How many of them to show is the harder question, because a model that is unsure contradicts right labels too. Two
explanations compete for the contradictions: the model's doubt (probabilities that should be less sharp) and wrong
labels (a share of the rows has a label drawn from the other classes alike). Both are fitted together by maximum
likelihood. Wrong labels show as contradictions of a model that is sure; where doubt explains all, no row is shown.

Confident learning (Northcutt, Jiang and Chuang, Confident learning, JAIR 70, 2021) counts a row when the model gives
another class at least the confidence that this class's own rows have on average. Its count is reported beside ours. It
takes hard rows for wrong ones (of those that it counts in product reviews with 5 % wrong labels, a sixth is wrong), so
it does not decide.

Rows that fold to the same text are never on both sides, or a copy with the same wrong label would defend it.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple, cast

import numpy as np

from ... import display
from ...errors import DataError, PlanError
from ...types import Json
from ..shares import wilson
from ..similar.fold import key
from .classifier import Floats, Mask, SmallModel, View, blended
from .features import MAX_CHARACTERS, Floats32, Ints

MAX_ROWS = 20_000
"""The model learns from at most so many rows; more make it slower and hardly better."""
TEXTS_PER_CLASS = 5
"""Classes with fewer different texts are left out: there is nothing to hold out."""
ROWS = 40
"""With fewer rows no rate can be told from chance."""
_ROWS_PER_TARGET = 2
_SAMPLED_PER_CLASS = 20
_PROBABILITIES = 50_000_000  # 200 MB: rows x classes held at once
_VIEW = 4096  # rows beyond the sample whose features are held at once
_LONG = 200  # characters: above, the quick model leaves out pieces of words, which cost most and add least there
_SURE = NormalDist().inv_cdf(0.99)


class Suspect(NamedTuple):
    """A row whose label the model contradicts.

    Attributes:
        row: 0-based place in what was given.
        given: The label it has.
        predicted: The label that the model would give.
        confidence: The model's probability of `predicted`.
        self_confidence: The model's probability of `given`.
        wrong: The probability that the label is wrong, by `Noise`'s reading of the whole data set.
        text: The row's text.
    """

    row: int
    given: str
    predicted: str
    confidence: float
    self_confidence: float
    wrong: float
    text: str


class Noise(NamedTuple):
    """The share of wrong labels among `n` rows: an estimate between two ends.

    Attributes:
        value: The most likely share when wrong labels fall on the other classes alike. Wrong labels that always take
            the same wrong class look like classes that overlap, and are not in it.
        low: The lower end of its 95 % interval (profile likelihood); 0 when the model's doubt explains everything.
        high: All labels that the model contradicts, with the upper end of their 95 % interval (Wilson).
        n: Rows looked at.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, eq=False, repr=False)
class LabelSuspects:
    """Labels that are probably wrong, most suspicious first.

    Attributes:
        suspects: The rows whose label is more probably wrong than right; none when the model's doubt may explain all
            contradictions (`noise.low` is 0). Where the model contradicts at most 5 % of the labels, which is
            too few to fit and few enough to read, also those whose label has less than 5 % of its confidence. Read
            them: some are right and merely unusual.
        n: Rows given.
        scored: Rows that were looked at (those of classes with too few texts are not, nor those above a limit).
        trained: Rows that the model learnt from.
        noise: Estimated share of wrong labels among the scored rows, between two ends that are wide where the model
            is weak; None when not usable.
        confident: How many rows confident learning counts as wrong.
        accuracy: How often the model gives a held-out row its label; None when not usable.
        left_out: Labels with too few different texts, and their rows.
        usable: Whether the data can support such a search at all.
        reason: Why not, or "".
        order: Every scored row, most suspicious first (0-based); for another cut than `suspects`.
    """

    suspects: tuple[Suspect, ...] = ()
    n: int = 0
    scored: int = 0
    trained: int = 0
    noise: Noise | None = None
    confident: int = 0
    accuracy: float | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    usable: bool = True
    reason: str = ""
    order: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def to_records(self) -> list[dict[str, Json]]:
        """One row a suspect, most suspicious first, with its `rank` from 1."""
        return [{"rank": rank, **each._asdict()} for rank, each in enumerate(self.suspects, 1)]

    def _head(self) -> str:
        if not self.usable:
            return f"LabelSuspects: cannot tell for these {self.n:,} rows: {self.reason}"
        noise = cast(Noise, self.noise)
        return (
            f"LabelSuspects: {len(self.suspects):,} of {self.scored:,} labels are suspicious; wrong are about "
            f"{noise.value:.1%} ({noise.low:.1%} to {noise.high:.1%})"
        )

    def _notes(self) -> list[str]:
        notes = []
        if self.usable:
            notes.append(
                f"The small model gives {self.accuracy:.1%} of held-out rows their label; read before you change."
            )
            if self.trained < self.scored:
                notes.append(f"It learnt from a sample of {self.trained:,} rows.")
        skipped = self.n - self.scored - sum(self.left_out.values())
        if self.usable and skipped > 0:
            notes.append(f"{skipped:,} rows were not looked at: above the limit of rows.")
        if self.left_out and self.usable:
            names = ", ".join(
                f"{display.shorten(name, 30)!r} {rows:,}" for name, rows in list(self.left_out.items())[:5]
            )
            more = f", and {len(self.left_out) - 5:,} more" if len(self.left_out) > 5 else ""
            notes.append(f"Left out, fewer than {TEXTS_PER_CLASS} different texts: {names}{more}.")
        return notes

    _HEADER = ("row", "given", "predicted", "wrong", "text")

    def _rows(self, n: int) -> list[tuple[object, ...]]:
        return [(each.row, each.given, each.predicted, f"{each.wrong:.2f}", each.text) for each in self.suspects[:n]]

    def __repr__(self) -> str:
        shown = [display.table(self._HEADER, self._rows(5))] if self.suspects else []
        return "\n".join([self._head(), *shown, *self._notes()])

    def _repr_html_(self) -> str:
        rows = [tuple(display.shorten(cell, 200) for cell in row) for row in self._rows(20)]
        shown = display.html_table(self._HEADER, rows, caption="Most suspicious first") if rows else ""
        return display.paragraph(self._head()) + shown + "".join(map(display.paragraph, self._notes()))


def label_suspects(
    texts: Iterable[str],
    labels: Iterable[str],
    *,
    folds: int = 5,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
    score_all: bool = True,
    quick: bool = False,
) -> LabelSuspects:
    """Rows whose label a model contradicts that has not seen them.

    Args:
        texts: n texts.
        labels: n labels, compared as they stand.
        folds: Parts that are held out in turn, 2 or more.
        seed: Of the parts and of the sample.
        max_rows: The model learns from at most so many rows, a sample by content and in proportion to the classes
            (at least 20 of each where there are so many).
        score_all: Look at every row even so; False looks at the sample only, and says so.
        quick: Naive Bayes alone: a tenth of the time, a little less precise where classes are alike.

    The result does not depend on the order of the rows. It is `usable=False`, with the reason, for fewer than 40 rows,
    one class, labels that are mostly different (texts, not classes), and where held-out labels cannot be predicted
    better than from the class sizes (one-sided test on the log-loss, 1 %): no model, no suspicion.

    Raises:
        PlanError: for arguments that cannot work, and for `texts` and `labels` of different lengths.
        DataError: for a text or label that is no string (`data-type`).
    """
    rows, names = _strings(texts, "text"), _strings(labels, "label")
    if len(rows) != len(names):
        msg = f"{len(names)} labels"
        raise PlanError.bad_value("label_suspects", "labels", msg, f"{len(rows)}, one for each text")
    for argument, value, least in (("folds", folds, 2), ("max_rows", max_rows, ROWS)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PlanError.bad_value("label_suspects", argument, value, f"a whole number of {least} or more")
    held = held_out(rows, names, folds=folds, seed=seed, max_rows=max_rows, score_all=score_all, quick=quick)
    if isinstance(held, Unusable):
        return LabelSuspects(n=len(rows), left_out=held.left_out, usable=False, reason=held.reason)
    return _ranked(rows, len(rows), held)


def _strings(values: Iterable[str], what: str) -> list[str]:
    if isinstance(values, str):
        raise PlanError.bad_value("label_suspects", f"{what}s", values, f"several {what}s", hint="put it in a list.")
    rows: list[object] = list(values)
    for at, value in enumerate(rows, 1):
        if not isinstance(value, str):
            msg = f"expected a {what} that is a string, found {type(value).__name__}"
            raise DataError.at(msg, line=at, code="data-type")
    return cast(list[str], rows)


# --- what a model says that has not seen the row -------------------------------------------------------------------


class Unusable(NamedTuple):
    """Why held-out predictions make no sense for these rows."""

    reason: str
    left_out: dict[str, int] = {}  # noqa: RUF012 - the default of a field


class HeldOut(NamedTuple):
    """Held-out probabilities, in an order that depends on content only.

    `rows` (m,) are places in the input, `labels` (m,) numbers into `names`, `folds` (m,) the part in which a row is
    held out, `probabilities` (m, classes), each row from a model that saw neither the row nor a copy of it.
    """

    rows: Ints
    names: list[str]
    labels: Ints
    folds: Ints
    probabilities: Floats32
    trained: int
    left_out: dict[str, int]


class Classes(NamedTuple):
    """The rows of classes that are large enough: places in the input, class numbers, names, and who is left out."""

    rows: list[int]
    labels: Ints
    names: list[str]
    left_out: dict[str, int]


def usable_classes(texts: Sequence[str], labels: Sequence[str]) -> Classes | Unusable:
    """The classes that can be learnt, or why there are none."""
    if len(texts) < ROWS:
        return Unusable(f"only {len(texts):,} rows; {ROWS} is the least")
    members: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    if len(members) == 1:
        return Unusable("all rows have the same label")
    if len(labels) < _ROWS_PER_TARGET * len(members):
        return Unusable(f"{len(members):,} different targets in {len(labels):,} rows: these are texts, not classes")
    left_out = {name: len(rows) for name, rows in sorted(members.items()) if not _enough(texts[row] for row in rows)}
    names = sorted(name for name in members if name not in left_out)
    kept = sorted(row for name in names for row in members[name])
    if len(names) < 2 or 2 * len(kept) < len(labels):
        few = f"{len(names)} classes have {TEXTS_PER_CLASS} different texts or more, with {len(kept):,} of the rows"
        return Unusable(few, left_out)
    number = {name: at for at, name in enumerate(names)}
    codes = np.fromiter((number[labels[row]] for row in kept), np.int64, len(kept))
    return Classes(kept, codes, names, left_out)


def _enough(texts: Iterable[str]) -> bool:
    """Whether there are `TEXTS_PER_CLASS` different texts; looks no further than needed."""
    seen: set[str] = set()
    for text in texts:
        seen.add(key(text[:MAX_CHARACTERS]))
        if len(seen) >= TEXTS_PER_CLASS:
            return True
    return False


def held_out(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    folds: int = 5,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
    score_all: bool = True,
    quick: bool = False,
) -> HeldOut | Unusable:
    """Held-out probabilities of every usable row, or why there can be none; arguments as in `label_suspects`."""
    usable = usable_classes(texts, labels)
    if isinstance(usable, Unusable):
        return usable
    places, codes, names, left_out = usable
    classes = len(names)
    sampled = sample_rows([texts[row] for row in places], codes, classes, max_rows, seed)
    looked = np.ones(len(places), bool) if score_all else sampled
    if int(looked.sum()) * classes > _PROBABILITIES:
        looked = sample_rows([texts[row] for row in places], codes, classes, _PROBABILITIES // classes, seed) | sampled
    # From here on rows are in the order of their content: sums of floats depend on the order of their terms.
    order = sorted(np.flatnonzero(looked).tolist(), key=lambda at: (texts[places[at]], codes[at]))
    rows = np.array([places[at] for at in order], np.int64)
    here = [texts[row] for row in rows.tolist()]
    numbers, learns = codes[order], np.flatnonzero(sampled[order])
    part = folds_of(here, numbers, folds, seed)
    lengths = [min(len(text), MAX_CHARACTERS) for text in here]
    pieces = not quick or sum(lengths) <= _LONG * len(here)
    model = SmallModel([here[at] for at in learns.tolist()], numbers[learns], classes, quick=quick, pieces=pieces)
    parts = [model.fit(part[learns] != fold) for fold in range(folds)]
    scores: list[Floats32] = []

    def score(view: View, view_rows: Ints) -> None:
        """Fills in the scores of the rows of a view, each by the model that did not see it."""
        for fold, fitted in enumerate(parts):
            inside = np.flatnonzero(part[view_rows] == fold)
            for at, each in enumerate(fitted.scores(view, inside)):
                if at == len(scores):
                    scores.append(np.zeros((len(here), classes), np.float32))
                scores[at][view_rows[inside]] = each

    score(model.own, learns)
    others = np.setdiff1d(np.arange(len(here)), learns, assume_unique=True)
    for at in range(0, len(others), _VIEW):
        some = others[at : at + _VIEW]
        score(model.view([here[row] for row in some.tolist()]), some)
    probabilities = blended(scores, numbers)
    if not better_than_sizes(probabilities, numbers):
        return Unusable("the small model predicts held-out labels no better than the class sizes do", left_out)
    return HeldOut(rows, names, numbers, part, probabilities, len(learns), left_out)


def better_than_sizes(probabilities: Floats32, labels: Ints) -> bool:
    """Whether held-out labels are more probable under the model than under the class sizes: one-sided, 1 %."""
    n, classes = probabilities.shape
    share = (np.bincount(labels, minlength=classes) + 0.5) / (n + 0.5 * classes)
    own = probabilities[np.arange(n), labels].astype(np.float64)
    gain = np.log(np.maximum(own, 1e-6)) - np.log(share[labels])
    return bool(gain.mean() > _SURE * gain.std() / math.sqrt(n))


def sample_rows(texts: Sequence[str], labels: Ints, classes: int, most: int, seed: int) -> Mask:
    """About `most` rows by a hash of their content: a share of each class, at least 20 where that leaves room."""
    n = len(texts)
    if n <= most:
        return np.ones(n, bool)
    hashes = np.fromiter(
        (zlib.crc32(text[:MAX_CHARACTERS].encode("utf-8", "surrogatepass")) for text in texts), np.uint64, n
    )
    # crc32 of a text and of its neighbour are alike; a multiplication by a random odd number parts them.
    factor = np.uint64(int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "little") | 1)
    mixed = (hashes + np.uint64(1)) * factor
    mixed ^= mixed >> np.uint64(29)
    mixed *= factor
    order = np.lexsort((mixed, labels))
    sizes = np.bincount(labels, minlength=classes)
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    least = min(_SAMPLED_PER_CLASS, most // classes)
    quota = np.maximum(least, np.floor(sizes * (most / n))).astype(np.int64)
    # A row whose hash equals the last one taken comes along, so that which of two equal texts is first is no matter.
    last = order[np.cumsum(sizes) - sizes + np.minimum(quota, sizes) - 1]
    taken = (rank < quota[labels]) | (mixed == mixed[last][labels])
    return np.asarray(taken & (quota[labels] > 0))


def folds_of(texts: Sequence[str], labels: Ints, folds: int, seed: int) -> Ints:
    """The part of each row: texts that fold to the same are together, each class is spread evenly, by content only."""
    label_of: dict[str, int] = {}
    keys = [key(text[:MAX_CHARACTERS]) for text in texts]
    for name, label in zip(keys, labels.tolist(), strict=True):
        label_of[name] = min(label, label_of.get(name, label))
    salt = str(seed).encode()

    def place(name: str) -> tuple[int, bytes, str]:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest()
        return label_of[name], digest, name

    part = {name: at % folds for at, name in enumerate(sorted(label_of, key=place))}
    return np.fromiter((part[name] for name in keys), np.int64, len(keys))


# --- from probabilities to suspects --------------------------------------------------------------------------------


def confident_errors(probabilities: Floats32, labels: Ints) -> Mask:
    """Rows off the diagonal of the confident joint: (n,) booleans.

    A class's threshold is the mean confidence of the rows that have its label. A row counts when the most probable of
    the classes whose thresholds it reaches is another than its label, and so is the most probable of all: without that,
    a class of a few rows, with a threshold near 0, would draw rows from everywhere (cleanlab decides so too).
    """
    n, classes = probabilities.shape
    own = probabilities[np.arange(n), labels].astype(np.float64)
    sizes = np.bincount(labels, minlength=classes)
    threshold = np.bincount(labels, weights=own, minlength=classes) / np.maximum(sizes, 1)
    reached = np.where(probabilities >= threshold.astype(np.float32), probabilities, -1)
    best = reached.argmax(axis=1)
    counted = (best != labels) & (reached[np.arange(n), best] >= 0)
    return np.asarray(counted & (probabilities.argmax(axis=1) != labels))


_SHARPNESS = np.geomspace(0.7, 6, 25)
_SHARES = np.concatenate([np.zeros(1), np.geomspace(1e-4, 0.6, 120)])
_FITTED = 10_000  # rows that decide the two numbers, evenly spaced in the order of content
_FEW = 0.05  # of all labels contradicted: so few that all of them could be read
_UNBELIEVED = 0.05  # confidence in a label that is doubted then
_DROP = 1.920729  # of the log-likelihood at the ends of a 95 % interval: half of the chi-square quantile


class WrongLabels(NamedTuple):
    """How sharp the model's probabilities are without the wrong labels, and the share of those with a 95 % interval."""

    sharpness: float
    share: float
    low: float
    high: float


def wrong_share(probabilities: Floats32, labels: Ints) -> WrongLabels:
    """The share of wrong labels that explains best, together with the model's doubt, how labels are contradicted.

    The label of a row is taken to be a draw from `p ** sharpness` (normalised) but for a share of the rows, where it
    is drawn from the other classes alike. Both numbers are fitted on a grid by maximum likelihood, and the interval of
    the share is that of its profile.
    """
    step = max(1, -(-len(labels) // _FITTED))
    p, labels = probabilities[::step], labels[::step]
    profile = np.full(len(_SHARES), -np.inf)
    best, sharpness = -np.inf, 1.0
    for each in _SHARPNESS.tolist():
        own = _sharpened(p, labels, each)
        other = (1 - own) / (p.shape[1] - 1)
        likelihood = np.array([np.log((1 - share) * own + share * other + 1e-12).sum() for share in _SHARES])
        profile = np.maximum(profile, likelihood)
        if likelihood.max() > best:
            best, sharpness = float(likelihood.max()), each
    inside = _SHARES[profile >= best - _DROP]
    return WrongLabels(sharpness, float(_SHARES[int(np.argmax(profile))]), float(inside.min()), float(inside.max()))


def _sharpened(probabilities: Floats32, labels: Ints, sharpness: float) -> Floats:
    """The probability of each row's label after all were raised to a power and normalised."""
    scores = np.log(np.maximum(probabilities, np.float32(1e-12))) * np.float32(sharpness)
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    own = scores[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(own / scores.sum(axis=1, dtype=np.float64))


def wrong_probabilities(probabilities: Floats32, labels: Ints, found: WrongLabels) -> Floats:
    """For each row the probability that its label is one of the wrong ones."""
    own = _sharpened(probabilities, labels, found.sharpness)
    other = found.share * (1 - own) / (probabilities.shape[1] - 1)
    return np.asarray(other / np.maximum((1 - found.share) * own + other, 1e-300))


def doubt(probabilities: Floats32, labels: Ints) -> tuple[Floats, Ints]:
    """How much better the best other class explains each row than its label (log of the ratio), and that class."""
    each = np.arange(len(labels))
    own = probabilities[each, labels].astype(np.float64)
    others = probabilities.copy()
    others[each, labels] = -1
    best = others.argmax(axis=1)
    ratio = np.log(np.maximum(others[each, best].astype(np.float64), 1e-12)) - np.log(np.maximum(own, 1e-12))
    return ratio, best.astype(np.int64)


def _ranked(texts: Sequence[str], n: int, held: HeldOut) -> LabelSuspects:
    probabilities, labels = held.probabilities, held.labels
    ratio, best = doubt(probabilities, labels)
    # Rows are in the order of their content, so a stable sort settles ties by content.
    order = np.argsort(-ratio, kind="stable")
    found = wrong_share(probabilities, labels)
    wrong = wrong_probabilities(probabilities, labels, found)
    contradicted = ratio > 0
    _, high = wilson(int(contradicted.sum()), len(labels))
    noise = Noise(min(found.share, high), min(found.low, high), high, len(labels))
    few = contradicted.mean() <= _FEW
    listed = contradicted & (wrong > 0.5) & bool(few or found.low > 0)
    if few:
        listed |= contradicted & (probabilities[np.arange(len(labels)), labels] < _UNBELIEVED)
    suspects = tuple(
        Suspect(
            row=int(held.rows[at]),
            given=held.names[labels[at]],
            predicted=held.names[best[at]],
            confidence=float(probabilities[at, best[at]]),
            self_confidence=float(probabilities[at, labels[at]]),
            wrong=float(wrong[at]),
            text=texts[int(held.rows[at])],
        )
        for at in order[listed[order]].tolist()
    )
    return LabelSuspects(
        suspects=suspects,
        n=n,
        scored=len(labels),
        trained=held.trained,
        noise=noise,
        confident=int(confident_errors(probabilities, labels).sum()),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        left_out=held.left_out,
        order=held.rows[order],
    )
