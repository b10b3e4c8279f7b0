import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data.learning.classifier import SmallModel
from gemini_tuning.data.learning.learning_curve import learning_curve
from gemini_tuning.errors import PlanError
from gemini_tuning.types import Dataset, Example

from .test_label_errors import banking, planted, topics


def dataset(texts, labels):
    return Dataset([Example.of(text, label) for text, label in zip(texts, labels, strict=True)])


def test_77_classes_with_13_rows_each_want_more(shared):
    """On 1,000 rows of banking77 more of the same helps, and twice the rows bring what was promised."""
    texts, labels = banking(shared, 2000)
    curve = learning_curve(dataset(texts[:1000], labels[:1000]))
    assert curve.verdict == "more_helps"
    assert curve.expected_gain.low > 0
    values = [point.value for point in curve.points]
    assert values == sorted(values)
    twice = learning_curve(dataset(texts, labels)).points[-1].value - values[-1]
    assert curve.expected_gain.low - 0.02 < twice < curve.expected_gain.high + 0.02


def test_easy_data_are_saturated():
    """Four classes that their words give away: the curve is flat at the top."""
    curve = learning_curve(dataset(*topics(1200)))
    assert curve.verdict == "saturated"
    assert curve.points[-1].value > 0.98
    assert curve.points[-1].low < curve.points[-1].value <= curve.points[-1].high <= 1
    assert "hardly" in curve.reading


def test_labels_with_a_share_of_noise_are_saturated_below_the_top():
    """A tenth of the labels is random: the curve ends near 0.92 and more of the same will not lift it."""
    texts, clean = topics(2000)
    labels, _ = planted(clean, 0.1)
    curve = learning_curve(dataset(texts, labels))
    assert curve.verdict != "more_helps"
    assert 0.85 < curve.points[-1].value < 0.93


@pytest.mark.parametrize("seed", range(6))
def test_random_labels_never_ask_for_more(seed):
    """Labels that have nothing to do with the texts give no curve."""
    texts, labels = topics(400)
    curve = learning_curve(dataset(texts, random.Random(seed).sample(labels, len(labels))), seed=seed)
    assert curve.verdict == "cannot_tell"
    assert not curve.usable


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "only 0 rows"),
        ([(f"question {at}", f"a long answer, number {at}") for at in range(80)], "texts, not classes"),
        ([(f"question {at}", "yes") for at in range(80)], "same label"),
    ],
)
def test_data_without_classes_have_no_curve(rows, reason):
    """Free text, one class, no rows: unusable with the reason, which every view of the result shows."""
    curve = learning_curve(Dataset([Example.of(*row) for row in rows]))
    assert (curve.usable, curve.verdict, curve.points) == (False, "cannot_tell", ())
    assert reason in curve.reason
    assert reason in curve.reading
    assert reason in repr(curve)
    assert reason in curve._repr_html_()
    assert curve.expected_gain is None


def test_the_points_say_how_many_rows_were_learnt_from():
    """At 100 % the model learns from all rows of the other folds; each share has its rows of every class."""
    curve = learning_curve(dataset(*topics(500)), shares=(0.25, 0.5, 1))
    rows = [point.rows for point in curve.points]
    assert rows[-1] == 400
    assert rows[0] == pytest.approx(100, abs=4)
    assert rows[1] == pytest.approx(200, abs=4)
    assert all(point.n == 500 for point in curve.points + curve.macro_f1)
    assert all(point.low <= point.value <= point.high for point in curve.points + curve.macro_f1)


def test_the_order_of_the_rows_does_not_matter():
    """The same examples in another order, the same numbers; another seed, others."""
    texts, clean = topics(300)
    labels, _ = planted(clean, 0.2)
    data = dataset(texts, labels)
    shuffled = Dataset(random.Random(3).sample(list(data), len(data)))
    first = learning_curve(data)
    assert learning_curve(shuffled).to_records() == first.to_records()
    assert learning_curve(shuffled).expected_gain == first.expected_gain
    assert learning_curve(data, seed=1).to_records() != first.to_records()


def test_copies_are_no_evidence():
    """Ten copies of every row make neither the accuracy higher nor the intervals much narrower."""
    texts, clean = topics(150)
    labels, _ = planted(clean, 0.2)
    once = learning_curve(dataset(texts, labels)).points[-1]
    copied = [text + "!" * at for at in range(10) for text in texts]
    often = learning_curve(dataset(copied, labels * 10)).points[-1]
    assert often.value < once.value + 0.08
    assert often.high - often.low > 0.7 * (once.high - once.low)


def test_results_show_themselves():
    """A table and a chart, escaped, with both metrics; records are plain rows."""
    texts, labels = topics(300)
    curve = learning_curve(dataset(texts, [f"<i>{label}" for label in labels]))
    assert "rows learnt from" in repr(curve)
    assert "proxy" in repr(curve)
    html = curve._repr_html_()
    assert "<svg" in html
    assert "<i>" not in html
    records = curve.to_records()
    assert json.loads(json.dumps(records)) == records
    assert {record["metric"] for record in records} == {"accuracy", "macro_f1"}
    assert len(records) == 10


def test_the_slower_model_draws_a_curve_too():
    """`quick=False` adds logistic regression and reads the same easy data the same way."""
    assert learning_curve(dataset(*topics(700)), quick=False, repeats=1).points[-1].value > 0.97


def test_macro_f1_is_the_usual_one():
    """Each point lies within its interval, and with equal classes and few errors it is near the accuracy."""
    texts, clean = topics(600)
    labels, _ = planted(clean, 0.1)
    curve = learning_curve(dataset(texts, labels))
    assert curve.macro_f1[-1].value == pytest.approx(curve.points[-1].value, abs=0.02)


@pytest.mark.parametrize(
    "arguments",
    [{"shares": (0.5, 1)}, {"shares": (0, 0.5, 1)}, {"shares": (0.1, 0.5, 1.5)}, {"repeats": 0}, {"repeats": 1.5},
     {"margin": 0}, {"max_rows": 5}],
)  # fmt: skip
def test_arguments_that_cannot_work_are_refused(arguments):
    with pytest.raises(PlanError, match="learning_curve"):
        learning_curve(dataset(*topics(100)), **arguments)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=10), st.sampled_from("ab")), min_size=40, max_size=60))
def test_any_texts_give_a_result(rows):
    """Whatever the characters: a curve of probabilities, or a reason."""
    curve = learning_curve(Dataset([Example.of(text, label) for text, label in rows]))
    assert curve.usable == (curve.reason == "")
    assert all(0 <= point.low <= point.value <= point.high <= 1 for point in curve.points + curve.macro_f1)
    repr(curve), curve._repr_html_()


# --- coverage ------------------------------------------------------------------------------------------------------


def population(seed, classes=4, words=300):
    """Word shares of each class, alike enough that the curve still rises at 400 rows."""
    random_ = np.random.default_rng(seed)
    shares = np.exp(0.9 * random_.standard_normal((classes, words))) / np.arange(1, words + 1)
    return shares / shares.sum(axis=1, keepdims=True)


def drawn(shares, n, random_):
    labels = random_.integers(0, len(shares), n)
    return [" ".join(f"w{w}" for w in random_.choice(shares.shape[1], 8, p=shares[y])) for y in labels], labels


def true_accuracy(shares, rows, repeats):
    """The mean accuracy on new rows of models that learnt from `rows` rows, spread evenly over the classes."""
    random_ = np.random.default_rng(99)
    found = []
    for _ in range(repeats):
        texts, labels = drawn(shares, rows + 1500, random_)
        train = np.zeros(len(labels), bool)
        for each in range(len(shares)):
            train[np.flatnonzero(labels == each)[: round(rows / len(shares))]] = True
        model = SmallModel(texts, labels, len(shares), quick=True)
        test = np.flatnonzero(~train)
        found.append((model.fit(train).scores(model.own, test)[0].argmax(axis=1) == labels[test]).mean())
    return float(np.mean(found))


def coverage(data_sets, repeats):
    shares = population(0)
    hits, gains, truth = [], [], None
    for seed in range(data_sets):
        texts, labels = drawn(shares, 400, np.random.default_rng(1000 + seed))
        curve = learning_curve(dataset(texts, [f"class {y}" for y in labels]))
        rows = [point.rows for point in curve.points]
        truth = truth or [true_accuracy(shares, n, repeats) for n in [*rows, 2 * rows[-1]]]
        hits.append([point.low <= value <= point.high for point, value in zip(curve.points, truth, strict=False)])
        gains.append(curve.expected_gain.low <= truth[-1] - truth[-2] <= curve.expected_gain.high)
    return np.mean(hits, axis=0), np.mean(gains)


def test_intervals_hold_the_truth_mostly():
    """On a dozen data sets of one population nearly all intervals hold the accuracy that new models have."""
    points, gain = coverage(12, 6)
    assert points.mean() >= 0.85
    assert gain >= 0.75


@pytest.mark.soak
def test_intervals_hold_the_truth_as_often_as_they_say():
    """On 150 data sets: 95 % intervals hold the truth in at least 87 % at every share, the gain's in at least 90 %."""
    points, gain = coverage(150, 40)
    assert points.min() >= 0.87
    assert gain >= 0.9
