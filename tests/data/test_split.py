import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data import SplitReport, check, from_records, near_duplicates, read, split
from gemini_tuning.errors import PlanError
from gemini_tuning.types import Dataset, Example

WORDS = ["card", "lost", "my", "refund", "please", "wrong", "charged", "twice", "卡", "余额"]
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
ROWS = st.lists(st.tuples(TEXT, st.sampled_from("abc")), max_size=24)
SHARES = st.sampled_from([0.1, 0.2, 0.3])


def dataset_of(rows):
    return from_records([{"input": text, "output": label} for text, label in rows])


def names(part):
    return sorted((each.text, each.output) for each in part)


def many(counts):
    """Distinct texts of each label."""
    combos = itertools.permutations(WORDS, 5)
    return dataset_of(
        [(" ".join(next(combos))[::-1] + label * 9, label) for label, n in counts.items() for _ in range(n)]
    )


@settings(max_examples=80, deadline=None)
@given(
    rows=ROWS, validation=SHARES, test=SHARES, seed=st.integers(0, 3), near=st.sampled_from([0.3, 0.8]), data=st.data()
)
def test_the_laws_of_split(rows, validation, test, seed, near, data):
    """Parts cover everything, share no origin and no near-duplicate, and depend on the seed and the set only."""
    dataset = dataset_of(rows)
    parts, report = split(dataset, validation=validation, test=test, seed=seed, near=near)
    three = (parts.train, parts.validation, parts.test)
    assert sorted(each.origin for part in three for each in part) == sorted(each.origin for each in dataset)
    owner = {each.text: number for number, part in enumerate(three) for each in part}
    groups = near_duplicates([each.text for each in dataset], threshold=near).groups.tolist()
    for row, group in enumerate(groups):
        assert owner[dataset[row].text] == owner[dataset[group].text]
    again, _ = split(
        dataset_of(data.draw(st.permutations(rows))), validation=validation, test=test, seed=seed, near=near
    )
    assert [names(part) for part in three] == [names(part) for part in (again.train, again.validation, again.test)]
    assert (report.train, report.validation, report.test) == tuple(map(len, three))
    assert not any(finding.code.startswith("leak") for finding in check(parts, near=near).findings)
    if not rows:
        assert {finding.code for finding in report.findings} == {"split-empty-part"}


@settings(max_examples=40, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1), validation=SHARES, test=SHARES
)
def test_strata_and_ratios(counts, validation, test):
    """Every label with three rows or more is in train, single rows stay there, totals are within one of the ratio."""
    dataset = many(counts)
    parts, report = split(dataset, validation=validation, test=test, near=None)
    for label, n in counts.items():
        if report.strata == "output" and n >= 1:
            assert parts.train.labels.get(label, 0) >= 1
    if report.strata == "output" and len(dataset) >= 20 and len(dataset) >= 4 * len(counts):
        for part, share in ((parts.validation, validation), (parts.test, test)):
            assert abs(len(part) - len(dataset) * share) <= 1
    for label, (in_train, in_validation, in_test) in report.labels.items():
        assert in_train + in_validation + in_test == counts[label]
        if counts[label] >= 30 and sum(counts.values()) == counts[label]:
            assert abs(in_test - counts[label] * test) <= 1


def test_labels_are_spread_in_proportion():
    """A label with 100 rows gives ten to each held-out part, one with ten gives one."""
    _, report = split(many({"a": 100, "b": 10, "c": 50}))
    assert report.labels == {"a": (80, 10, 10), "c": (40, 5, 5), "b": (8, 1, 1)}
    assert report.strata == "output"
    assert split(many({"a": 100, "b": 10}), seed=1)[0] != split(many({"a": 100, "b": 10}))[0]


def test_variants_follow_their_parent():
    """Examples of one origin are in one part, however different their texts."""
    dataset = many({"a": 40, "b": 40})
    variants = [
        msgspec.structs.replace(Example.of(f"variant {n}", each.output), origin=each.origin, augmented="paraphrase")
        for n, each in enumerate(dataset)
    ]
    parts, _ = split(Dataset([*dataset, *variants]), near=None)
    origins = [{each.origin for each in part} for part in (parts.train, parts.validation, parts.test)]
    assert not origins[0] & origins[1] | origins[0] & origins[2] | origins[1] & origins[2]
    assert all(
        len(part) == 2 * len(own)
        for part, own in zip((parts.train, parts.validation, parts.test), origins, strict=True)
    )


@pytest.mark.parametrize(
    "arguments",
    [{"validation": -0.1}, {"test": 1}, {"test": 1.5}, {"validation": 0.5, "test": 0.5}, {"validation": 0, "test": 0},
     {"test": float("nan")}, {"test": "0.1"}, {"test": True}, {"near": 0}, {"seed": 1.5}],
)  # fmt: skip
def test_impossible_arguments_are_refused(arguments):
    """A share that can never work names the verb and the value."""
    with pytest.raises(PlanError, match="split"):
        split(many({"a": 10}), **arguments)


def test_a_part_can_be_left_out():
    """A share of zero makes no such part, and that is no finding."""
    parts, report = split(many({"a": 50, "b": 50}), validation=0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (90, 0, 10)
    assert not report.findings


def test_few_rows():
    """Three rows give one to each part; one row stays in train and the empty parts say stop."""
    parts, report = split(many({"a": 3}))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1, 1, 1)
    parts, report = split(many({"a": 1}))
    assert len(parts.train) == 1
    assert [(finding.code, finding.severity) for finding in report.findings if finding.severity == "stop"] == [
        ("split-empty-part", "stop")
    ] * 2


def test_what_could_not_be_met_is_said():
    """Rare labels, one large group, texts as outputs and Gemini's limit are findings."""

    def codes(dataset, **arguments):
        return {finding.code for finding in split(dataset, **arguments)[1].findings}

    assert "split-rare-label" in codes(many({"a": 40, "b": 2, "c": 1}))
    text = "the very same question about the card that was declined in the shop"
    assert "split-large-group" in codes(
        dataset_of([(f"{text} {'ab'[n % 2]}", "x") for n in range(9)] + [("q", "y"), ("r", "z")] * 5)
    )
    assert "split-no-strata" in codes(dataset_of([(f"text {n}", f"answer {n}") for n in range(20)]))
    limit = split(dataset_of([(f"{n} {n * 7919}", "ab"[n % 2]) for n in range(4000)]), validation=0.4, near=None)[1]
    assert "split-validation-limit" in {finding.code for finding in limit.findings}


def test_the_report_crosses_files_and_is_escaped():
    """A report survives JSON and its labels cannot become markup."""
    _, report = split(many({"<i>a</i>": 20, "b": 20}))
    assert msgspec.json.decode(msgspec.json.encode(report), type=SplitReport) == report
    assert "<i>" not in report._repr_html_()
    assert report.to_records()[0] == {"part": "train", "rows": 32, "share": 0.8}
    assert "seed 0" in repr(report)


def test_a_real_set_splits_without_a_leak(shared):
    """A thousand real rows with 239 copies of each other split without one copy in two parts."""
    dataset = read(shared / "sentiment_en_food_reviews" / "reviews.jsonl.gz", input="text", output="label")
    parts, report = split(dataset)
    assert abs(report.test - 100) <= 1
    assert not any(finding.code.startswith("leak") for finding in check(parts).findings)
