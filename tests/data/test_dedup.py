import itertools
import json
import subprocess
import sys
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data import (
    DedupReport,
    Parts,
    dedup,
    dedup_parts,
    exact_duplicates,
    from_records,
    near_duplicates,
    read,
)
from gemini_tuning.data.similar import fold as fold_module
from gemini_tuning.data.similar.dedup import survey
from gemini_tuning.data.similar.fold import all_numbers, fold, key, numbers
from gemini_tuning.data.similar.shingles import ShingleIndex, jaccard, may_reach, quick_windows
from gemini_tuning.errors import DataError, PlanError
from gemini_tuning.types import Dataset, Example

BASE = "I would like to know why my card was declined in the shop this morning"


def rows(*pairs):
    return from_records([{"input": a, "output": b} for a, b in pairs])


def shingles(text):
    """The documented windows, in plain Python."""
    text = fold(text)
    dense = lambda char: "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff"  # noqa: E731
    return {text[at : at + (2 if dense(text[at]) else 4)] for at in range(len(text))}


def partition(texts, groups):
    """The groups as sets of texts."""
    found = {}
    for text, group in zip(texts, groups.tolist(), strict=True):
        found.setdefault(group, Counter())[text] += 1
    return sorted((sorted(members.items()) for members in found.values()), key=repr)


@pytest.mark.parametrize(
    ("left", "right"),
    [("Hello,  World!", "hello world"), ("ＡＢＣ１２", "abc12"), ("我 想 查询余额。", "我想查询余额"), ("1,000 kg", "1000kg"),
     ("straße", "STRASSE"), ("e\u0301te\u0301", "été"), ("one\u200btwo", "onetwo")],
)  # fmt: skip
def test_formatting_does_not_make_a_text_another(left, right):
    """Case, width, spaces, punctuation and composition are folded away."""
    assert exact_duplicates([left, right]).groups.tolist() == [0, 0]
    assert exact_duplicates([left, right], normalized=False).groups.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("left", "right"),
    [("1.5", "15"), ("room 5, 10 people", "room 51, 0 people"), ("C++", "C#"), ("is -5", "is 5"), ("!!", "??"), ("", " "),
     ("👍", "👎"), ("50%", "50"), ("10:30", "1030")],
)  # fmt: skip
def test_what_means_something_else_stays_another(left, right):
    """Numbers, symbols and texts of punctuation only are not folded into each other."""
    assert exact_duplicates([left, right]).groups.tolist() == [0, 1]
    assert near_duplicates([left, right], threshold=0.1).groups.tolist() == [0, 1]


def test_equal_texts_without_letters_are_equal():
    """Texts that fold to nothing are duplicates only of the same characters."""
    assert exact_duplicates(["!!", "?", "!!", "", ""]).groups.tolist() == [0, 1, 0, 3, 3]
    assert near_duplicates(["!!", "?", "!!", "", ""]).groups.tolist() == [0, 1, 0, 3, 3]


def test_near_duplicates_in_english_and_chinese():
    """A small edit is found in both, and an unrelated text is not."""
    chinese = "请问我的信用卡为什么今天早上在商店里付款的时候被拒绝了呢"
    texts = [
        BASE,
        BASE.replace("morning", "mornin"),
        "Where is my parcel?",
        chinese,
        chinese.replace("商店", "超市"),
        "你好",
    ]
    result = near_duplicates(texts, threshold=0.7)
    assert result.groups.tolist() == [0, 0, 2, 3, 3, 5]
    assert result.complete
    assert result.pairs.tolist() == [[0, 1], [3, 4]]
    assert result.duplicates == 2
    assert result.clusters() == ((0, 1), (3, 4))
    for (left, right), similarity in zip(result.pairs.tolist(), result.similarity.tolist(), strict=True):
        a, b = shingles(texts[left]), shingles(texts[right])
        assert similarity == pytest.approx(len(a & b) / len(a | b))
    assert "2 duplicates" in repr(result)
    assert len(result.to_records()) == 2


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [("a refund of 100 euros", "a refund of 1000 euros", False), ("for 2 people", "for two people", True),
     ("for 两个人", "for 三个人", False), ("at -5 degrees", "at 5 degrees", False), ("for one", "for me", True)],
)  # fmt: skip
def test_a_changed_number_is_never_a_near_duplicate(left, right, same):
    """Two texts that hold different numbers are different, however similar."""
    around = "We ask you politely and for the last time to please arrange everything {} before the end of the week"
    assert (numbers(left) == numbers(right)) is same
    pair = [around.format(left), around.format(right)]
    assert (near_duplicates(pair, threshold=0.7).duplicates == 1) is same


NUMBERS = st.sampled_from(
    [*"ab Z-_,.5３é一三", "two", "Ten", " 12", "twelve", "x2two", "-7", "often", "1,000", "thirty-five", "\x00", "\x1f"]
)


@given(texts=st.lists(st.lists(NUMBERS, max_size=8).map("".join), max_size=6), block=st.sampled_from([1, 30, 1 << 16]))
def test_the_numbers_of_many_texts_are_those_of_each(texts, block):
    """What is passed over in blocks holds no number, and a text folds alike alone in ASCII and beside another letter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_module, "_BLOCK", block)
        assert all_numbers(texts) == [numbers(text) for text in texts]
    for text in texts:
        if text.isascii():
            assert fold(f"{text} é") == fold(text) + "é"
            assert numbers(f"{text} é") == numbers(text)


def test_nothing_and_one():
    """No text and one text have no duplicates; a lone string and a number are refused."""
    assert near_duplicates([]).groups.tolist() == []
    assert near_duplicates(["a"]).groups.tolist() == [0]
    assert exact_duplicates([]).pairs.shape == (0, 2)
    with pytest.raises(PlanError):
        near_duplicates("text")
    with pytest.raises(DataError) as caught:
        near_duplicates(["a", 3])
    assert caught.value.line == 2
    for wrong in (0, 1.1, -1, float("nan"), True, "0.8"):
        with pytest.raises(PlanError, match="threshold"):
            near_duplicates(["a"], threshold=wrong)


WORDS = st.sampled_from(["card", "lost", "my", "refund", "12", "120", "卡", "余额", "!", "Card"])
TEXTS = st.lists(st.lists(WORDS, max_size=5).map(" ".join), max_size=14)
THRESHOLDS = st.floats(0.2, 1.0)


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, threshold=THRESHOLDS, data=st.data())
def test_groups_do_not_depend_on_the_order(texts, threshold, data):
    """In any order of the rows the groups are the same sets of texts."""
    other = data.draw(st.permutations(texts))
    for function in (exact_duplicates, lambda rows: near_duplicates(rows, threshold=threshold)):
        assert partition(texts, function(texts).groups) == partition(other, function(other).groups)


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, threshold=THRESHOLDS)
def test_groups_are_those_of_a_textbook_version(texts, threshold):
    """The groups are the components of the pairs whose plain Python set similarity reaches the threshold."""
    spelled = {}
    for text in texts:
        spelled[key(text)] = min(spelled.get(key(text), text), text)
    label = list(range(len(texts)))
    for a in range(len(texts)):
        for b in range(a):
            left, right = shingles(texts[a]), shingles(texts[b])
            similar = left | right and len(left & right) / len(left | right) >= threshold
            figures = numbers(spelled[key(texts[a])]) == numbers(spelled[key(texts[b])])
            if key(texts[a]) == key(texts[b]) or (similar and figures):
                low, high = sorted((label[a], label[b]))
                label = [low if each == high else each for each in label]
    assert near_duplicates(texts, threshold=threshold).groups.tolist() == label


def test_many_rows_find_what_every_pair_finds(monkeypatch):
    """Above the size where every pair is compared, the bands find the same groups."""
    from gemini_tuning.data.similar import near

    texts = [f"{BASE[: 20 + n % 40]} {chr(97 + n % 26) * 3} {'xyz' * (n % 7)} {BASE[n % 30 :]}" for n in range(300)]
    for threshold in (0.5, 0.9, 1.0):
        banded = near_duplicates(texts, threshold=threshold)
        with monkeypatch.context() as patch:
            patch.setattr(near, "EVERY_PAIR", 10**6)
            assert near_duplicates(texts, threshold=threshold).groups.tolist() == banded.groups.tolist()


def test_large_buckets_stay_linear(monkeypatch):
    """Thousands of rows from one template are grouped without comparing every pair, and a cut is admitted."""
    from gemini_tuning.data.similar import near

    names = [f"{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}{chr(97 + n // 676)}" for n in range(3000)]
    result = near_duplicates([f"{BASE} said {name} to all of us who were there" for name in names])
    assert result.complete
    assert result.duplicates == 2999
    monkeypatch.setattr(near, "PAIRS", 2)
    monkeypatch.setattr(near, "PAIRS_A_ROW", 0)
    mixed = [
        " ".join(words) for words in itertools.permutations(["card", "lost", "refund", "please", "wrong", "charged"])
    ]
    assert not near_duplicates(mixed).complete


def test_long_texts_find_what_every_pair_finds(monkeypatch):
    """Texts of several pieces, of one letter, in ASCII and not, with 16 and with 32 bits for a window."""
    from gemini_tuning.data.similar import near

    chinese = "请问我的信用卡为什么今天早上在商店里付款的时候被拒绝了呢"
    words = [f"{chr(97 + n % 26)}{chr(97 + n % 17)}{chr(97 + n % 11)}" for n in range(4000)]
    texts = ["x", "xy", chinese, chinese + "请", chinese[:20], BASE, f"{BASE} £", f"{BASE}é"]
    for n in range(20):
        text = " ".join(words[n * 37 : n * 37 + 40 + n * 20])
        texts += [text, text[: len(text) // 2] + "ü" + text[len(text) // 2 :], text + chinese * (n % 3)]
    wanted = near_duplicates(texts, threshold=0.7).groups.tolist()
    assert len(set(wanted)) < len(texts) - 20
    monkeypatch.setattr(near, "EVERY_PAIR", 0)
    for long in (10**6, 0):
        monkeypatch.setattr(near, "_LONG", long)
        assert near_duplicates(texts, threshold=0.7).groups.tolist() == wanted


@given(
    texts=st.lists(st.text(st.sampled_from([*"abc中か"]), max_size=14), min_size=2, max_size=6), threshold=THRESHOLDS
)
def test_a_bound_never_rules_out_a_pair(texts, threshold):
    """What `may_reach` rules out is below the threshold."""
    left, right = (side.astype(np.int64) for side in np.triu_indices(len(texts), 1))
    similarity, possible = jaccard(texts, left, right), may_reach(texts, left, right, threshold)
    assert not (similarity[~possible] >= threshold).any()
    assert not may_reach(["abcdefghijkl", "mnopqrstuvwx"], left[:1], right[:1], 0.5).any()


@given(
    texts=st.lists(st.text(st.sampled_from([*"abc中か"]), max_size=30), min_size=1, max_size=7),
    sizes=st.sampled_from([(1, 1), (9, 20), (1 << 21, 1 << 23)]),
    data=st.data(),
)
def test_similarities_are_the_same_when_sets_are_kept(texts, sizes, data):
    """Every way to measure pairs, in any order and with repeats, gives what plain Python sets give."""
    from gemini_tuning.data.similar import shingles as module

    row = st.integers(0, len(texts) - 1)
    pairs = data.draw(st.lists(st.tuples(row, row), min_size=1, max_size=40))
    left, right = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    sets = [shingles(text) for text in texts]
    wanted = [len(sets[a] & sets[b]) / max(1, len(sets[a] | sets[b])) for a, b in pairs]
    for limits in ((10**9, 10**9), (0, 0)):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in zip(("_MEAN", "_OFTEN", "_TILE", "_KEPT"), (*limits, *sizes), strict=True):
                patch.setattr(module, name, value)
            assert jaccard(texts, left, right).tolist() == wanted


@pytest.mark.parametrize("every_pair", [256, 0])
def test_long_prompts_from_one_template(monkeypatch, every_pair):
    """Long texts that share nearly all are measured exactly, and joined only where they are similar enough."""
    from gemini_tuning.data.similar import near

    monkeypatch.setattr(near, "EVERY_PAIR", every_pair)
    rows = 60
    words = [f"{chr(97 + n % 26)}{chr(97 + n % 17)}{chr(97 + n % 11)}x" for n in range(4000)]
    template = " ".join(words[3800:]) * 3
    starts = [n // 2 * 100 + n % 2 * n for n in range(rows)]
    filled = [f"{template} {' '.join(words[start : start + 80])}" for start in starts]
    result = near_duplicates(filled, threshold=0.75)
    sets = [shingles(text) for text in filled]
    for (left, right), similarity in zip(result.pairs.tolist(), result.similarity.tolist(), strict=True):
        assert similarity == len(sets[left] & sets[right]) / len(sets[left] | sets[right])
    label = list(range(rows))
    for a, b in itertools.combinations(range(rows), 2):
        if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= 0.75 and label[a] != label[b]:
            low, high = sorted((label[a], label[b]))
            label = [low if each == high else each for each in label]
    assert result.groups.tolist() == label
    assert 1 < len(set(label)) < rows


@given(texts=st.lists(st.text(st.sampled_from([*"ab1£中か한д😀"]), min_size=1, max_size=9), min_size=1, max_size=5))
def test_a_window_has_one_hash_whatever_stands_beside_its_text(texts):
    """Hashes for candidates are equal where the windows are, in any company."""
    together, starts = quick_windows(texts)
    for text, start in zip(texts, starts.tolist(), strict=True):
        alone, _ = quick_windows([text])
        assert together[start : start + len(text)].tolist() == alone[: len(text)].tolist()


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=12), max_size=6), query=st.text(max_size=12))
def test_the_index_gives_exact_similarities(texts, query):
    """An index answers with the similarity that plain Python sets have."""
    wanted = [len(shingles(query) & shingles(text)) / max(1, len(shingles(query) | shingles(text))) for text in texts]
    if all(ord(char) < 0xAC00 for text in [*texts, query] for char in fold(text)):
        assert ShingleIndex([fold(text) for text in texts]).similarities(fold(query)).tolist() == pytest.approx(wanted)


# --- examples ------------------------------------------------------------------------------------------------------

LABELS = st.sampled_from(
    [
        "a",
        "b",
        "b ",
        "A long answer that is more than forty characters",
        "A long answer that is more than forty characterz",
    ]
)
PAIRS = st.lists(
    st.tuples(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), LABELS, st.integers(0, 2)), max_size=12
)


def made(pairs):
    examples = [Example.of(text, output, meta={"n": n}) for text, output, n in pairs]
    return Dataset(
        msgspec.structs.replace(each, augmented="paraphrase" if each.meta["n"] == 2 else None) for each in examples
    )


def content(examples):
    return Counter((each.text, each.output, each.meta["n"]) for each in examples)


@settings(max_examples=80, deadline=None)
@given(pairs=PAIRS, near=st.none() | THRESHOLDS, data=st.data())
def test_the_laws_of_dedup(pairs, near, data):
    """Kept and dropped are the input, twice is once, order does not matter, exact duplicates never survive."""
    dataset = made(pairs)
    kept, report = dedup(dataset, near=near)
    assert content(kept) + content(drop.example for drop in report.dropped) == content(dataset)
    assert report.kept == len(kept)
    assert list(kept) == [each for each in dataset if each in kept.examples]
    again, second = dedup(kept, near=near)
    assert again == kept
    assert not second.dropped
    other, _ = dedup(made(data.draw(st.permutations(pairs))), near=near)
    assert content(other) == content(kept)
    pairs_left = Counter((each.text, each.output) for each in kept)
    assert all(count == 1 for count in pairs_left.values())
    assert all(drop.because_of in kept.examples for drop in report.dropped)
    if near is not None:
        fewer, _ = dedup(dataset, near=near / 2)
        assert len(fewer) <= len(kept) <= len(dedup(dataset)[0])


def test_what_is_kept_and_why():
    """The longest of the user's own rows stands for its group; the report names kind and similarity."""
    own = [Example.of(BASE, "declined"), Example.of(BASE + "!", "declined"), Example.of(BASE, "declined")]
    twin = msgspec.structs.replace(
        Example.of(BASE + " today, I think", "declined"), augmented="paraphrase", origin="z#0"
    )
    kept, report = dedup(Dataset([twin, *own]), near=0.7)
    assert [each.text for each in kept] == [BASE + "!"]
    assert sorted(drop.kind for drop in report.dropped) == ["near", "normalized", "normalized"]
    assert report.counts == {"exact": 0, "normalized": 2, "near": 1}
    assert report.ratio == 0.75
    (closest,) = report.closest_calls(1)
    assert closest.kind == "near"
    assert 0.7 <= closest.similarity < 1


def test_another_output_is_a_conflict_and_kept():
    """Same input with different outputs is reported with its places and never dropped."""
    dataset = rows(("Is it on?", "yes"), ("is it on", "no"), ("Is it on?", "yes "))
    kept, report = dedup(dataset, near=0.5)
    assert [each.output for each in kept] == ["no", "yes "]
    (finding,) = report.findings
    assert (finding.code, finding.count) == ("label-conflict", 3)
    assert [place.line for place in finding.where] == [1, 2, 3]
    assert not dedup(rows(("a", "x"), ("a", "x ")))[1].findings


def test_short_outputs_are_compared_exactly_and_long_ones_nearly():
    """A label that differs in one letter differs; a long answer that differs in one letter does not."""
    long = "Thank you for asking, we have looked into it and your card works again."
    assert len(dedup(rows((BASE, "label_1"), (BASE, "label_2")), near=0.6)[0]) == 2
    assert len(dedup(rows((BASE, long), (BASE, long + " Bye")), near=0.6)[0]) == 1
    assert len(dedup(rows((BASE, long), (BASE, long + " Bye")))[0]) == 2
    assert len(dedup(rows((BASE, long), (BASE, "Something else entirely, forty characters long.")), near=0.6)[0]) == 2
    assert len(dedup(rows((BASE, f"{long} 5"), (BASE, f"{long} 6")), near=0.6)[0]) == 2


def test_classes_with_long_names_are_not_texts():
    """A long output that answers several inputs is a label: another label is another, however similar."""
    one = "customer service / cards / virtual card not working abroad"
    two = "customer service / cards / virtual card not working aboard"
    similar = rows((BASE, one), (BASE + " please", two))
    assert len(dedup(similar, near=0.7)[0]) == 1
    others = rows(("Where is my parcel?", one), ("I lost my phone yesterday", two))
    assert len(dedup(Dataset([*similar, *others]), near=0.7)[0]) == 4
    same = rows((BASE, one), (BASE + " please", one), ("Where is my parcel?", one))
    assert len(dedup(same, near=0.7)[0]) == 2


def test_images_and_tools_make_examples_different():
    """The same question about another image, or with other tools, is another example."""

    def about(uri, **more):
        parts = [{"fileData": {"mimeType": "image/png", "fileUri": uri}}, {"text": "Describe it"}]
        return {"contents": [{"role": "user", "parts": parts}, {"role": "model", "parts": [{"text": "a cat"}]}], **more}

    dataset = from_records(
        [about("gs://b/1"), about("gs://b/2"), about("gs://b/1"), about("gs://b/1", tools=[{"a": 1}])]
    )
    kept, report = dedup(dataset, near=0.5)
    assert len(kept) == 3
    assert not report.findings


def test_without_exact_and_near_nothing_is_dropped():
    """Conflicts are still reported when nothing is to be dropped."""
    dataset = rows(("a", "x"), ("a", "x"), ("a", "y"))
    kept, report = dedup(dataset, exact=False)
    assert kept == dataset
    assert report.findings
    with pytest.raises(PlanError, match="near"):
        dedup(dataset, near=2)


def test_across_parts_the_test_part_wins():
    """What leaks goes from train first, then from validation; test loses only its own exact copies."""
    shop = BASE.replace("shop", "store")
    parts = Parts(
        train=rows((BASE, "d"), ("unique", "u"), ("unique", "u"), ("held", "h")),
        validation=rows((BASE.upper(), "d"), ("held!", "h")),
        test=rows((BASE, "d"), (BASE, "d"), (shop, "d")),
    )
    clean, report = dedup_parts(parts, near=0.6)
    assert [each.text for each in clean.train] == ["unique"]
    assert [each.text for each in clean.validation] == ["held!"]
    assert [each.text for each in clean.test] == [BASE, shop]
    assert Counter((drop.part, drop.because_of_part) for drop in report.dropped) == {
        ("train", "test"): 1, ("train", "train"): 1, ("train", "validation"): 1, ("validation", "test"): 1, ("test", "test"): 1,
    }  # fmt: skip


# --- all questions at once -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(train=PAIRS, test=PAIRS, near=st.none() | THRESHOLDS, data=st.data())
def test_a_survey_finds_what_dedup_drops(train, test, near, data):
    """The drops and conflicts are those of `dedup_parts`, leaks are inputs of both parts, in any order of the rows."""
    parts = Parts(train=made(train), test=made(test))
    found = survey(parts, near)
    _, report = dedup_parts(parts, near=near)
    assert found.dropped == report.dropped
    assert sum(found.duplicates.values()) == len(report.dropped)
    assert [each for each in found.findings if each.code == "label-conflict"] == list(report.findings)
    asked = Counter(key(text) for text, _, _ in train)
    assert found.leaks["exact"] == sum(asked[text] for text in {key(text) for text, _, _ in test})
    assert {each.code: each.count for each in found.findings if each.code.startswith("leak")} == {
        f"leak-{kind}": count for kind, count in found.leaks.items() if count
    }
    assert survey(Parts(train=made(train)), near, leak_from=made(test)).leaks == found.leaks
    other = Parts(train=made(data.draw(st.permutations(train))), test=made(data.draw(st.permutations(test))))
    again = survey(other, near)
    assert (again.duplicates, again.leaks, again.conflicts, again.groups) == (
        found.duplicates, found.leaks, found.conflicts, found.groups,
    )  # fmt: skip


def test_a_survey_names_rows_and_partners():
    """Each kind of finding has its rows, the partner of each, and the counts."""
    shop = BASE.replace("shop", "store")
    train = rows((BASE, "d"), (BASE + "!", "d"), (shop, "d"), ("held", "h"), ("said", "x"), ("said", "y"))
    outside = rows(("Held!", "other"), (BASE + " once", "other"))
    found = survey(Parts(train=train), 0.7, leak_from=outside)
    by_code = {each.code: each for each in found.findings}
    assert set(by_code) == {"exact-duplicates", "near-duplicates", "label-conflict", "leak-exact", "leak-near"}
    assert (found.duplicates, found.leaks, found.conflicts) == ({"exact": 1, "near": 1}, {"exact": 1, "near": 3}, 1)
    assert found.groups == (3,)
    assert by_code["leak-exact"].severity == "stop"
    assert by_code["leak-exact"].details["pairs"] == [{"row": "record 4", "of": "record 1"}]
    assert [place.line for place in by_code["leak-near"].where] == [1, 2, 3]
    assert by_code["near-duplicates"].details["pairs"][0]["similarity"] >= 0.7
    alone = survey(Parts(train=train), None)
    assert alone.leaks == {"exact": 0, "near": 0}
    assert alone.duplicates == {"exact": 1, "near": 0}
    assert survey(Parts(), 0.8).findings == ()
    with pytest.raises(PlanError, match="near"):
        survey(Parts(train=train), 2)


def test_the_report_crosses_files_and_is_escaped():
    """A report survives JSON, and texts in it cannot become markup."""
    _, report = dedup(rows(("<b>x</b> y", "l"), ("<b>X</b> y", "l"), ("<b>x</b> y", "m")), near=0.8)
    assert msgspec.json.decode(msgspec.json.encode(report), type=DedupReport) == report
    assert "<b>" not in report._repr_html_()
    assert "&lt;b&gt;" in report._repr_html_()
    assert "label-conflict" in repr(report)
    assert json.dumps(report.to_records())


def test_importing_the_package_loads_no_numpy():
    """`gemini_tuning.data` and what plans need of it load without numpy, and functions are not hidden by modules."""
    code = (
        "import sys, gemini_tuning.data as d\n"
        "from gemini_tuning.data import augment, from_records, instruct, paraphrase, read, repair, sample, split\n"
        "assert 'numpy' not in sys.modules\n"
        "import gemini_tuning.data.similar.dedup\n"
        "from gemini_tuning.data import near_duplicates, dedup\n"
        "assert callable(dedup) and callable(d.split) and callable(d.check) and callable(d.redact)\n"
        "assert sorted(d.__all__) == d.__all__ and all(hasattr(d, name) for name in d.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_planted_copies_are_found(shared):
    """On real texts most planted copies are found, and no row whose number was changed is merged."""
    path = shared / "neardup_planted" / "docs.jsonl.gz"
    dataset = read(path, input="text", output="lang")
    group = [each.meta["group"] for each in dataset]
    found = near_duplicates([each.text for each in dataset], threshold=0.7).groups.tolist()
    first = {}
    for row, name in enumerate(group):
        first.setdefault(name, row)
    planted = [row for row in range(len(group)) if first[group[row]] != row]
    assert sum(found[row] == found[first[group[row]]] for row in planted) / len(planted) > 0.75
    for row, example in enumerate(dataset):
        if example.meta["edit"].startswith("NOT_DUP:number"):
            assert found[row] != found[first[example.meta["of"]]]
    # A flipped meaning ("is", "is not") is a small edit: characters cannot tell; outputs do, in `dedup`.
    wrong = [
        row for row, other in enumerate(found)
        if group[row] != group[other] and not dataset[row].meta["edit"].startswith("NOT_DUP:meaning")
    ]  # fmt: skip
    assert len(wrong) / len(planted) < 0.1
