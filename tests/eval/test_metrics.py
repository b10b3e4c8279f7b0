from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from gemini_tuning.errors import PlanError
from gemini_tuning.eval.judge import Judge
from gemini_tuning.eval.metrics import Accuracy, MacroF1, classification, metric_name, metric_spec

words = st.sampled_from(["refund", "billing", "退款", "other", "x y", ""])
rows = st.lists(st.tuples(words, words.filter(bool)), min_size=1, max_size=40)


class TestAccuracy:
    @pytest.mark.parametrize(
        ("prediction", "reference", "plain", "folded"),
        [
            ("refund", "refund", True, True),
            (" refund\n", "refund", True, True),
            ("Refund", "refund", False, True),
            ("60%", "60", False, False),
            ('"refund"', "refund", False, False),
            ("re fund", "refund", False, False),
            ("", "refund", False, False),
            ("", " ", True, True),
            ("退款", "退款", True, True),
            ("STRASSE", "straße", False, True),
        ],
    )
    def test_exact_match(self, prediction, reference, plain, folded):
        """White space around the text never counts, letter case when asked, everything else always."""
        assert Accuracy()(prediction, reference) is plain
        assert Accuracy(ignore_case=True)(prediction, reference) is folded


class TestClassification:
    @given(rows)
    def test_equals_sklearn(self, pairs):
        """Every number is scikit-learn's over the labels of the references."""
        predictions, references = map(list, zip(*pairs, strict=True))
        table = classification(predictions, references)
        labels = sorted(set(references))
        peer = precision_recall_fscore_support(references, predictions, labels=labels, zero_division=0)
        assert list(table.labels) == labels
        for column, name in zip(peer, ("precision", "recall", "f1", "support"), strict=True):
            assert [getattr(each, name) for each in table.per_class] == pytest.approx(column.tolist())
        for average in ("macro", "micro", "weighted"):
            value = f1_score(references, predictions, labels=labels, average=average, zero_division=0)
            assert getattr(table, f"{average}_f1") == pytest.approx(value)
        assert table.accuracy == pytest.approx(accuracy_score(references, predictions))
        square = (
            np.array([[len(references)]])
            if len({*predictions, *labels}) == 1
            else (confusion_matrix(references, predictions, labels=[*labels, *sorted({*predictions} - {*labels})]))[
                : len(labels), : len(labels)
            ]
        )
        assert [list(row[:-1]) for row in table.confusion] == square.tolist()
        assert sum(map(sum, table.confusion)) == table.n == len(pairs)
        assert table.other == sum(each not in labels for each in predictions)
        assert MacroF1()(predictions, references) == pytest.approx(table.macro_f1)

    def test_choice_of_labels(self):
        """Foreign words do not become labels: sklearn's default would average over them too."""
        predictions, references = ["a", "b", "zebra", "b"], ["a", "b", "a", "b"]
        union = f1_score(references, predictions, average="macro", zero_division=0)
        assert MacroF1()(predictions, references) > union

    @given(rows)
    def test_laws(self, pairs):
        """In [0, 1], the same in any order, and 1 for perfect predictions."""
        predictions, references = map(list, zip(*pairs, strict=True))
        metric = MacroF1()
        value = metric(predictions, references)
        assert 0 <= value <= 1
        assert metric(predictions[::-1], references[::-1]) == pytest.approx(value, abs=1e-12)
        assert metric(references, references) == 1

    def test_confusions(self):
        """Mistakes by count, foreign predictions under `(other)`."""
        table = classification(["b", "b", "zebra", "a"], ["a", "a", "a", "a"])
        assert table.confusions() == [("a", "(other)", 3)]
        assert classification(["b", "b", "a"], ["a", "a", "b"]).confusions(1) == [("a", "b", 2)]

    @pytest.mark.parametrize(("predictions", "references"), [([], []), (["a"], ["a", "b"])])
    def test_impossible(self, predictions, references):
        """No rows, or sides of different length, are refused."""
        with pytest.raises(PlanError):
            classification(predictions, references)


def length_match(prediction: str, reference: str) -> float:
    return float(len(prediction) == len(reference))


def holding(least: int):
    def long_enough(prediction: str, reference: str) -> bool:
        return len(prediction) >= least

    return long_enough


class TestSpec:
    def test_metrics(self):
        """A spec tells arguments apart and holds nothing but JSON."""
        specs = [Accuracy().spec(), Accuracy(ignore_case=True).spec(), MacroF1().spec(), Judge("polite").spec()]
        assert len({repr(spec) for spec in specs}) == 4
        assert metric_spec(Accuracy()) == Accuracy().spec()

    def test_function(self):
        """A function is named by its place and a hash of its source, never pickled."""
        spec = metric_spec(length_match)
        assert spec["name"].endswith("test_metrics:length_match")
        assert len(spec["source"]) == 64
        assert metric_spec(lambda p, r: 1.0)["source"] != metric_spec(lambda p, r: 0.0)["source"]
        partials = [metric_spec(functools.partial(length_match, reference=text))["source"] for text in "xxy"]
        assert partials[0] == partials[1] != partials[2]
        made = [metric_spec(holding(3)), metric_spec(holding(4)), metric_spec(holding(4))]
        assert made[0] != made[1] == made[2]
        assert metric_name(length_match) == "length_match"
        assert metric_spec(math.dist)["name"] == "math:dist"
