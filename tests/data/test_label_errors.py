import gzip
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data.learning.classifier import PENALTY, SmallModel, log_loss, logistic, softmax
from gemini_tuning.data.learning.features import folded_down, hashed, tfidf_sketch
from gemini_tuning.data.learning.label_errors import (
    Unusable,
    confident_errors,
    held_out,
    label_suspects,
    wrong_probabilities,
    wrong_share,
)
from gemini_tuning.data.similar.fold import key
from gemini_tuning.errors import DataError, PlanError

TOPICS = {
    "card": "card declined chip terminal contactless swipe plastic",
    "transfer": "transfer recipient iban pending wire sent",
    "cash": "cash atm withdraw notes machine banknotes",
    "pin": "pin code forgot blocked digits unlock",
}
FILLER = [
    "please",
    "today",
    "the",
    "my",
    "why",
    "is",
    "not",
    "again",
    "since",
    "help",
    "with",
    "this",
    "in",
    "a",
    "shop",
    "could",
    "you",
    "tell",
    "me",
    "about",
    "it",
]


def topics(n, seed=0):
    """Easy texts of four classes."""
    draw = random.Random(seed)
    labels = [draw.choice(list(TOPICS)) for _ in range(n)]
    texts = [" ".join(draw.choices(TOPICS[label].split(), k=3) + draw.choices(FILLER, k=6)) for label in labels]
    return [f"{text} {at}" for at, text in enumerate(texts)], labels


def planted(labels, share, seed=0):
    draw = random.Random(seed)
    wrong = set(draw.sample(range(len(labels)), round(share * len(labels))))
    names = sorted(set(labels))
    changed = [
        draw.choice([n for n in names if n != label]) if at in wrong else label for at, label in enumerate(labels)
    ]
    return changed, wrong


def banking(shared, n=None):
    with gzip.open(shared / "intent_banking77" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(0).shuffle(rows)
    return [row["text"] for row in rows[:n]], [row["intent"] for row in rows[:n]]


def share_right(result, wrong):
    k = len(wrong)
    return len(wrong & set(result.order[:k].tolist())) / k


# --- suspects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [True, False])
def test_planted_labels_come_first(quick):
    """Where classes are clear, the changed labels are the first rows of the order, and the list holds little else."""
    texts, clean = topics(600)
    labels, wrong = planted(clean, 0.05)
    result = label_suspects(texts, labels, quick=quick)
    assert result.usable
    assert share_right(result, wrong) > 0.9
    listed = {suspect.row for suspect in result.suspects}
    assert len(listed) >= 15
    assert len(listed & wrong) >= 0.9 * len(listed)
    assert result.noise.low <= 0.05 <= result.noise.high
    assert result.noise.low <= result.noise.value <= result.noise.high
    for suspect in result.suspects:
        assert suspect.given == labels[suspect.row] != suspect.predicted
        assert suspect.text == texts[suspect.row]
        assert suspect.self_confidence < suspect.confidence <= 1
    right = [suspect.predicted == clean[suspect.row] for suspect in result.suspects if suspect.row in wrong]
    assert np.mean(right) > 0.9


def test_on_banking77_more_than_half_of_the_first_rows_are_the_planted_ones(shared):
    """77 classes, 5 % of the labels changed: precision at the number changed is far above one half."""
    texts, clean = banking(shared, 4000)
    labels, wrong = planted(clean, 0.05)
    result = label_suspects(texts, labels, quick=True)
    assert share_right(result, wrong) > 0.75
    listed = {suspect.row for suspect in result.suspects}
    assert len(listed & wrong) > 0.85 * len(listed)
    assert listed


def test_an_order_as_good_as_scikit_learn_on_the_same_features(shared):
    """Logistic regression on the full sparse features ranks the planted rows hardly better."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    texts, clean = banking(shared, 1500)
    keep = [at for at, label in enumerate(clean) if clean.count(label) >= 25]
    texts, clean = [texts[at] for at in keep], [clean[at] for at in keep]
    labels, wrong = planted(clean, 0.05)
    held = held_out(texts, labels)
    rows = held.rows.tolist()
    features = hashed([texts[row] for row in rows], buckets=1 << 15)
    matrix = csr_matrix((features.values, features.indices, features.indptr), shape=(len(rows), 1 << 15))
    matrix = matrix[:, np.flatnonzero(matrix.getnnz(axis=0))]
    theirs = np.zeros(len(rows))
    for fold in range(5):
        inside = held.folds == fold
        model = LogisticRegression(C=3, max_iter=40, tol=1e-3).fit(matrix[~inside], held.labels[~inside])
        theirs[inside] = model.predict_proba(matrix[inside])[np.arange(inside.sum()), held.labels[inside]]
    k = len(wrong)
    peer = len(wrong & {rows[at] for at in np.argsort(theirs)[:k].tolist()}) / k
    assert share_right(label_suspects(texts, labels), wrong) > peer - 0.05


@pytest.mark.parametrize("seed", range(4))
def test_one_wrong_label_among_easy_rows_is_found(seed):
    """A single wrong label is too little for an estimate of a share, and is listed all the same."""
    texts, labels = topics(300, seed)
    changed, wrong = planted(labels, 1 / 300, seed)
    result = label_suspects(texts, changed, seed=seed)
    assert {each.row for each in result.suspects} == wrong


def test_clean_easy_data_have_no_suspects():
    """Nothing is listed where nothing is wrong."""
    texts, labels = topics(500, seed=3)
    result = label_suspects(texts, labels)
    assert result.suspects == ()
    assert result.noise.low == 0
    assert result.accuracy > 0.95


def test_classes_that_overlap_are_doubt_not_suspicion():
    """Where a third of the words of a class are those of another, contradictions are expected and none is listed."""
    draw = random.Random(5)
    labels = [draw.choice(["a", "b"]) for _ in range(800)]
    own = {name: [f"{name}{at}" for at in range(40)] for name in "ab"}
    texts = [
        " ".join(draw.choice(own[label if draw.random() < 0.62 else "ab".replace(label, "")]) for _ in range(4))
        for label in labels
    ]
    result = label_suspects(texts, labels)
    assert result.usable
    assert result.accuracy < 0.9
    assert len(result.suspects) <= 8
    assert result.noise.low < 0.01


def test_random_labels_are_not_usable():
    """Labels that have nothing to do with the texts: no model, no suspicion."""
    texts, labels = topics(400)
    for seed in range(5):
        shuffled = random.Random(seed).sample(labels, len(labels))
        result = label_suspects(texts, shuffled, seed=seed)
        assert not result.usable
        assert "no better than" in result.reason
        assert result.suspects == ()


@pytest.mark.parametrize(
    ("texts", "labels", "reason"),
    [
        ([], [], "only 0 rows"),
        (["a b"] * 10, ["x", "y"] * 5, "only 10 rows"),
        ([f"text {at}" for at in range(60)], ["x"] * 60, "same label"),
        ([f"text {at}" for at in range(60)], [f"answer {at}" for at in range(60)], "texts, not classes"),
        (["same"] * 60, ["x", "y"] * 30, "different texts"),
        ([f"t{at}" for at in range(60)], [f"c{at // 3}" for at in range(60)], "different texts"),
        (["!?"] * 30 + [f"{'.' * at}" for at in range(30)], ["x"] * 30 + ["y"] * 30, ""),
    ],
)
def test_data_that_cannot_support_it_say_so(texts, labels, reason):
    """Too few rows, one class, free text, copies of one text: a result with the reason, never an error or a guess."""
    result = label_suspects(texts, labels)
    assert not result.usable
    assert reason in result.reason
    assert result.reason in repr(result)
    assert result.noise is None
    assert result.to_records() == []


def test_small_classes_are_left_out_and_named():
    """A class with fewer than five different texts is not looked at."""
    texts, labels = topics(300)
    result = label_suspects([*texts, "x one", "x two", "X ONE!"], [*labels, "rare", "rare", "rare"])
    assert result.left_out == {"rare": 3}
    assert result.scored == 300
    assert "'rare' 3" in repr(result)
    assert not set(result.order.tolist()) & {300, 301, 302}


def test_the_order_of_the_rows_does_not_matter():
    """The same rows in another order: the same suspects with the same numbers."""
    texts, clean = topics(300)
    labels, _ = planted(clean, 0.08)
    texts, labels = texts + texts[:20], labels + labels[:20]
    first = label_suspects(texts, labels, seed=4)
    order = random.Random(1).sample(range(len(texts)), len(texts))
    second = label_suspects([texts[at] for at in order], [labels[at] for at in order], seed=4)
    assert [each[1:] for each in first.suspects] == [each[1:] for each in second.suspects]
    assert first.suspects
    assert first.noise == second.noise
    assert [order[each.row] for each in second.suspects if texts.count(each.text) == 1] == [
        each.row for each in first.suspects if texts.count(each.text) == 1
    ]


def test_copies_of_a_text_are_held_out_together():
    """Rows that fold to the same text share their fold, and no class is missing from a fold's model for that."""
    texts, labels = topics(200)
    copies = [text.upper() + "!!" for text in texts]
    held = held_out(texts + copies, labels + labels)
    folds = {}
    for row, fold in zip(held.rows.tolist(), held.folds.tolist(), strict=True):
        folds.setdefault(key((texts + copies)[row]), set()).add(fold)
    assert len(folds) == 200
    assert all(len(each) == 1 for each in folds.values())
    assert np.bincount(held.folds).min() >= 70


def test_a_wrong_label_is_found_though_its_copies_have_it_too():
    """Copies of a wrongly labelled row do not defend it."""
    texts, labels = topics(400)
    at = labels.index("cash")
    copies = [texts[at] + "!" * n for n in range(8)]
    result = label_suspects(texts + copies, labels[:at] + ["pin"] + labels[at + 1 :] + ["pin"] * 8)
    assert {each.text.rstrip("!") for each in result.suspects[:9]} == {texts[at]}


def test_rows_above_the_limit_are_scored_by_a_model_of_a_sample():
    """The model learns from a sample; all rows are looked at, or the sample alone, and the result says which."""
    texts, clean = topics(900)
    labels, wrong = planted(clean, 0.05)
    sampled = label_suspects(texts, labels, max_rows=300)
    assert (sampled.scored, sampled.n) == (900, 900)
    assert 280 <= sampled.trained <= 310
    assert share_right(sampled, wrong) > 0.8
    assert "sample" in repr(sampled)
    cut = label_suspects(texts, labels, max_rows=300, score_all=False, quick=True)
    assert cut.scored == cut.trained == sampled.trained
    assert "not looked at" in repr(cut)
    order = random.Random(1).sample(range(900), 900)
    again = label_suspects(
        [texts[at] for at in order], [labels[at] for at in order], max_rows=300, score_all=False, quick=True
    )
    assert [each[1:] for each in again.suspects] == [each[1:] for each in cut.suspects]


def test_the_sample_keeps_rows_of_every_class():
    """A class of 30 among 5,000 rows has at least 20 rows in a sample of 500."""
    texts, labels = topics(5000)
    texts += [f"rare words number {at} lonely" for at in range(30)]
    held = held_out(texts, labels + ["rare"] * 30, max_rows=500, score_all=False, quick=True)
    counts = np.bincount(held.labels)
    assert counts[held.names.index("rare")] >= 20
    assert 450 <= len(held.rows) <= 550


def test_results_show_themselves_and_escape_what_comes_from_data():
    """The repr has the first suspects; the HTML is escaped; records are plain."""
    texts, clean = topics(400)
    names = {"card": "<script>card", "transfer": "b", "cash": "c", "pin": "d"}
    labels, _ = planted([names[label] for label in clean], 0.1)
    result = label_suspects([f"<b>{text}" for text in texts], labels)
    assert "suspicious" in repr(result)
    html = result._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    records = result.to_records()
    assert [record["rank"] for record in records] == list(range(1, len(records) + 1))
    assert json.loads(json.dumps(records)) == records
    assert records


@pytest.mark.parametrize(
    "arguments", [{"folds": 1}, {"folds": 2.5}, {"max_rows": 3}, {"max_rows": True}, {"folds": "5"}]
)
def test_arguments_that_cannot_work_are_refused(arguments):
    with pytest.raises(PlanError, match="label_suspects"):
        label_suspects(["a"] * 50, ["b"] * 50, **arguments)


def test_other_values_than_texts_are_refused():
    with pytest.raises(PlanError, match="one for each text"):
        label_suspects(["a", "b"], ["x"])
    with pytest.raises(PlanError, match="several"):
        label_suspects("ab", ["x"])
    with pytest.raises(DataError, match="found int") as error:
        label_suspects(["a", "b"], ["x", 1])
    assert error.value.line == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), st.sampled_from("abc")), min_size=40, max_size=70), st.integers(2, 6))
def test_any_texts_give_a_result(rows, folds):
    """Whatever the characters: a usable result with every row of a large class, or a reason."""
    result = label_suspects([text for text, _ in rows], [label for _, label in rows], folds=folds)
    assert result.usable == (result.reason == "")
    assert len(set(result.order.tolist())) == len(result.order) == result.scored
    if result.usable:
        assert result.scored + sum(result.left_out.values()) == len(rows)
    repr(result), result._repr_html_()


# --- the rules by themselves ---------------------------------------------------------------------------------------


def test_confident_errors_are_those_of_the_definition():
    """Thresholds are mean self-confidences; a row counts for the best class that reaches its own."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.05, 0.95]], np.float32)
    labels = np.array([0, 0, 1, 1, 1, 0])
    # Thresholds: class 0 (.9 + .8 + .05) / 3 = .58, class 1 (.9 + .8 + .6) / 3 = .77.
    assert confident_errors(probabilities, labels).tolist() == [False] * 5 + [True]


def drawn(alpha, n, seed):
    random_ = np.random.default_rng(seed)
    probabilities = random_.dirichlet(np.full(4, alpha), n).astype(np.float32)
    labels = np.array([random_.choice(4, p=row / row.sum()) for row in probabilities.astype(float)])
    return probabilities, labels, random_


def test_labels_drawn_from_the_model_itself_are_doubt():
    """If the probabilities are true, the share of wrong labels is 0 within its interval, but for 1 case in 20."""
    above = [wrong_share(*drawn(0.4, 1200, seed)[:2]).low > 0 for seed in range(40)]
    assert sum(above) <= 5


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_planted_share_is_in_the_interval(share):
    """Labels changed to any other class: the interval holds their share, and the probabilities add up to it."""
    held = 0
    for seed in range(20):
        probabilities, labels, random_ = drawn(0.15, 1200, seed)
        wrong = random_.choice(1200, round(share * 1200), replace=False)
        labels[wrong] = (labels[wrong] + random_.integers(1, 4, len(wrong))) % 4
        found = wrong_share(probabilities, labels)
        held += found.low <= share <= found.high
        probable = wrong_probabilities(probabilities, labels, found)
        assert probable.mean() == pytest.approx(found.share, abs=0.02)
        assert probable[wrong].mean() > 5 * np.delete(probable, wrong).mean()
    assert held >= 16


def test_a_model_that_is_less_sure_than_it_could_be_does_not_hide_wrong_labels():
    """Probabilities flattened by wrong labels give the same share as those without: sharpness is fitted too."""
    probabilities, labels, random_ = drawn(0.15, 2000, 0)
    wrong = random_.choice(2000, 200, replace=False)
    labels[wrong] = (labels[wrong] + random_.integers(1, 4, 200)) % 4
    flat = probabilities**0.4
    flat /= flat.sum(axis=1, keepdims=True)
    found = wrong_share(flat, labels)
    assert found.sharpness == pytest.approx(2.5, rel=0.2)
    assert found.low <= 0.1 <= found.high


# --- the model -----------------------------------------------------------------------------------------------------


def test_logistic_regression_reaches_the_optimum_of_scikit_learn():
    """The penalised loss is within a thousandth of scikit-learn's, the log-loss within three hundredths."""
    from sklearn.linear_model import LogisticRegression

    texts, clean = topics(500, seed=1)
    labels, _ = planted(clean, 0.1)
    codes = np.array([sorted(TOPICS).index(label) for label in labels])
    x = folded_down(hashed(texts), 256)
    ours = logistic(x, codes, 4, iterations=200)
    theirs = LogisticRegression(C=1 / PENALTY, max_iter=1000, tol=1e-7).fit(x, codes)

    def losses(probabilities, weights):
        loss = log_loss(probabilities, codes)
        return loss, loss * len(codes) + PENALTY / 2 * float((weights.astype(float) ** 2).sum())

    mine = losses(softmax(x @ ours.weights + ours.intercept), ours.weights)
    peer = losses(theirs.predict_proba(x).astype(np.float32), theirs.coef_)
    assert mine[1] == pytest.approx(peer[1], rel=1e-3)
    assert mine[0] == pytest.approx(peer[0], rel=0.03)


def test_naive_bayes_gives_few_rows_no_advantage():
    """A class of a tenth of the rows does not win the held-out rows of the large one."""
    draw = random.Random(0)
    words = [f"w{at}" for at in range(3000)]
    labels = np.array([0] * 360 + [1] * 40)
    texts = [" ".join(draw.choices(words, k=60) + ([f"mark{draw.randrange(5)}"] * 2 if y else [])) for y in labels]
    model = SmallModel(texts, labels, 2, quick=True)
    train = np.arange(400) % 4 != 0
    rows = np.flatnonzero(~train)
    predicted = model.fit(train).scores(model.own, rows)[0].argmax(axis=1)
    assert (predicted[labels[rows] == 0] == 0).mean() > 0.9


# --- features ------------------------------------------------------------------------------------------------------


def dense(features):
    n = len(features.indptr) - 1
    result = np.zeros((n, features.buckets))
    for row in range(n):
        inside = slice(features.indptr[row], features.indptr[row + 1])
        result[row, features.indices[inside]] = features.values[inside]
    return result


def test_features_are_the_textbook_tfidf():
    """With hardly any collision the inner products are those of scikit-learn's TF-IDF of words and pairs."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["my card was declined", "my card", "the card the card was was lost", "transfer money now", "the the"]
    peer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True).fit_transform(texts).toarray()
    ours = dense(hashed(texts, pieces=False, buckets=1 << 18))
    assert ours @ ours.T == pytest.approx(peer @ peer.T, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=12), st.data())
def test_features_of_a_text_depend_on_the_set_of_texts_only(texts, data):
    """Any Unicode; rows move with their texts; lengths are 0 or 1; indices are sorted and inside."""
    order = data.draw(st.permutations(range(len(texts))))
    features, moved = hashed(texts, buckets=4096), hashed([texts[at] for at in order], buckets=4096)
    assert np.array_equal(dense(features)[list(order)], dense(moved))
    lengths = np.linalg.norm(dense(features), axis=1)
    assert np.all((lengths == 0) | (np.abs(lengths - 1) < 1e-5))
    for row in range(len(texts)):
        assert np.all(np.diff(features.indices[features.indptr[row] : features.indptr[row + 1]]) > 0)
    sketch = tfidf_sketch(texts, dimensions=32)
    assert sketch.shape == (len(texts), 32)
    assert sketch.dtype == np.float32
    assert np.allclose(sketch[list(order)], tfidf_sketch([texts[at] for at in order], dimensions=32), atol=1e-6)


@pytest.mark.parametrize(
    ("left", "right"),
    [("Card, DECLINED!", "card declined"), ("ＡＢＣ", "abc"), ("我想查询余额。", "我想查询余额"), ("a\0b", "a b")],
)
def test_case_width_and_punctuation_do_not_count(left, right):
    """Equal words, equal features."""
    both = dense(hashed([left, right, "something else"]))
    assert np.array_equal(both[0], both[1])
    assert both[0].any()
    sketch = tfidf_sketch([left, right, "something else"])
    assert np.array_equal(sketch[0], sketch[1])


def test_chinese_has_pairs_of_characters():
    """Texts with the same characters in another order share some features, not all; texts without common ones none."""
    first, second, third = dense(hashed(["查询余额", "余额查询", "天气怎样"]))
    assert 0.3 < first @ second < 0.95
    assert first @ third == 0


def test_the_same_features_in_blocks_of_any_size():
    """Texts longer than a block, and many blocks, give what each text gives alone."""
    texts = [f"{at} " + "word " * (at % 7) + "ü" * (at % 5) for at in range(30_000)] + ["long " * 100_000]
    features = hashed(texts, buckets=1 << 12, max_characters=1_000_000)
    alone = hashed(texts[17_000:17_003] + texts[-1:], buckets=1 << 12, max_characters=1_000_000, rarity=features.rarity)
    for at, row in enumerate([17_000, 17_001, 17_002, 30_000]):
        one = slice(features.indptr[row], features.indptr[row + 1])
        two = slice(alone.indptr[at], alone.indptr[at + 1])
        assert np.array_equal(features.indices[one], alone.indices[two])
        assert np.allclose(features.values[one], alone.values[two])


def test_a_sketch_keeps_what_is_alike_together():
    """Texts of one topic are nearer to each other than to others, and other seeds give other sketches."""
    texts, labels = topics(200)
    sketch = tfidf_sketch(texts)
    alike = sketch @ sketch.T
    same = np.array(labels)[:, None] == np.array(labels)
    np.fill_diagonal(same, False)
    assert alike[same].mean() > alike[~same & ~np.eye(200, dtype=bool)].mean() + 0.1
    assert np.linalg.norm(sketch, axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    assert not np.allclose(sketch, tfidf_sketch(texts, seed=1))
    assert np.array_equal(sketch, tfidf_sketch(texts))


def test_unusable_says_why_for_held_out_predictions_too():
    found = held_out(["a"] * 50, ["x"] * 50)
    assert isinstance(found, Unusable)
    assert "same label" in found.reason
