from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.errors import BackendError, ConfigError, DataError, LedgerError, PlanError
from gemini_tuning.eval import (
    Accuracy,
    Baseline,
    Comparison,
    EvalReport,
    EvalRow,
    Failure,
    Judge,
    MacroF1,
    MetricInfo,
    compare,
    evaluate,
)
from gemini_tuning.types import Reply

from .fakes import FakeCaller, labelled, numbered, right

BUSY = BackendError("quota", status="RESOURCE_EXHAUSTED", status_code=429)
BOTH = (Accuracy(), MacroF1())
EVIL = "<script>alert(1)</script>"


def correct_up_to(share: float, *, seed: int = 0, wrong: str = "a", **arguments) -> FakeCaller:
    """Right on a random share of numbered rows, the same rows for a larger share and more."""
    luck = np.random.default_rng(seed).random(5000)
    return FakeCaller(lambda text: right(text) if luck[int(text.split()[-1])] < share else wrong, **arguments)


def report(share: float, *, n: int = 200, metrics=BOTH, **arguments) -> EvalReport:
    return evaluate(numbered(n), metrics, correct_up_to(share, **arguments))


def graded(before: list[float | None], after: list[float | None]) -> tuple[EvalReport, EvalReport]:
    """Two reports of one judge with these grades; None is a row whose call failed."""
    info = MetricInfo(name="judge", kind="judge", spec={"kind": "Judge"}, bounds=(1.0, 5.0), model="j")
    sides = []
    for name, values in (("old", before), ("new", after)):
        rows = [
            EvalRow(origin=f"{at}#0", input=f"q{at}", prediction=name, reference="r", values={"judge": value})
            for at, value in enumerate(values) if value is not None
        ]  # fmt: skip
        failures = [
            Failure(origin=f"{at}#0", stage="generate", code="backend", message="lost", input=f"q{at}", reference="r")
            for at, value in enumerate(values) if value is None
        ]  # fmt: skip
        sides.append(
            EvalReport.of(model=name, simulated=False, on="test", metrics=[info], rows=rows, failures=failures)
        )
    return sides[0], sides[1]


class TestReport:
    def test_round_trip(self):
        """JSON gives the report again, and keys from the future are ignored."""
        judge = FakeCaller(lambda t: json.dumps({"reason": "因为", "grade": 4}), model="j")
        caller = FakeCaller(lambda t: BUSY if t == "row 1" else right(t), simulated=True)
        made = evaluate(numbered(9), [Accuracy(), MacroF1(), Judge("c")], caller, judge=lambda _: judge)
        assert EvalReport.from_json(made.to_json()) == made
        future = json.loads(made.to_json())
        future["new"] = future["result"]["new"] = future["result"]["rows"][0]["new"] = 1
        assert EvalReport.from_json(json.dumps(future)) == made

    @pytest.mark.parametrize("data", [b"", b"{}", b'{"schema": 1, "kind": "EvalReport", "result": {}}', b"\xff"])
    def test_not_a_report(self, data):
        """Other bytes are refused as data; a newer schema says to upgrade."""
        with pytest.raises(DataError):
            EvalReport.from_json(data)
        with pytest.raises(LedgerError, match="upgrade"):
            EvalReport.from_json(b'{"schema": 99, "kind": "EvalReport", "result": {}}')

    def test_kinds_do_not_mix(self):
        """A comparison's JSON is no report."""
        made = report(0.9)
        with pytest.raises(DataError, match=r"Comparison\.from_json"):
            EvalReport.from_json(compare(made, made).to_json())

    def test_repr(self):
        """Every score shows its interval and n; simulated results say so first."""
        text = repr(report(0.8, simulated=True))
        assert text.startswith("simulated")
        made = report(0.8)
        assert not repr(made).startswith("simulated")
        score = made.scores["accuracy"]
        line = next(line for line in repr(made).splitlines() if line.startswith("accuracy"))
        assert line.split() == ["accuracy", f"{score.value:.3f}", f"[{score.low:.3f},", f"{score.high:.3f}]", "200"]

    def test_html_is_escaped(self):
        """No text of a model, a user or a judge reaches the page raw."""
        judge = FakeCaller(lambda t: json.dumps({"reason": EVIL, "grade": 1}), model=EVIL)
        data = labelled([(f"{EVIL} {at}", EVIL + str(at % 3)) for at in range(30)])
        error = BackendError(EVIL, status=EVIL)
        sides = [
            evaluate(
                data, [Accuracy(name=EVIL), Judge("c")], FakeCaller(answer, model=EVIL + name), judge=lambda _: judge
            )
            for name, answer in (("1", lambda t: error if t.endswith(" 3") else EVIL), ("2", lambda t: EVIL + "1"))
        ]
        shown = [*sides, compare(*sides), Baseline.of(sides)]
        for result in shown:
            assert "<script" not in result._repr_html_()
            assert "&lt;script" in result._repr_html_()

    def test_classification(self):
        """The per-label table is there when labels were asked for, and in the page only when there are labels."""
        made = report(0.8)
        assert made.classification is made.classification
        assert made.classification.accuracy == pytest.approx(made.scores["accuracy"].value)
        assert "confusions" in made._repr_html_()
        assert evaluate(numbered(5), [lambda p, r: 1.0], FakeCaller(right)).classification is None
        assert EvalReport.from_json(made.to_json()).classification == made.classification

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (lambda text: "zebra", "eval-constant"), (lambda text: f"zebra {text}", "eval-zero"),
            (lambda text: f"The label is: {right(text)}.", "eval-format"),
            (lambda text: Reply(text="", finish="SAFETY"), "eval-empty"),
            (lambda text: Reply(text="x", finish="MAX_TOKENS"), "eval-truncated"),
        ],
    )  # fmt: skip
    def test_findings(self, answer, code):
        """What makes a number misleading is said beside it, with its places."""
        made = evaluate(numbered(30), [Accuracy()], FakeCaller(answer))
        finding = next(each for each in made.findings if each.code == code)
        assert finding.severity == "warning"
        assert finding.count == 30

    def test_no_findings(self):
        """A good run has none."""
        assert evaluate(numbered(60), [Accuracy(), MacroF1()], FakeCaller(right)).findings == ()

    def test_records(self):
        """One flat row for each answered row."""
        records = report(0.8).to_records()
        assert len(records) == 200
        assert {"input", "reference", "prediction", "accuracy", "line"} <= set(records[0])

    def test_wrong(self):
        """The rows to read first are those below the best value."""
        made = report(0.8)
        assert all(row.values["accuracy"] == 0 for row in made.wrong(500))
        assert len(made.wrong(500)) == 200 - round(200 * made.scores["accuracy"].value)


class TestVerdict:
    def test_better(self):
        """A large gain is better, the other way round worse; the last line of the text says it with its numbers."""
        before, after = report(0.5), report(0.9)
        made = after.compare(before)
        assert made.verdict == "better"
        assert compare(after, before).verdict == "worse"
        assert list(made.metrics) == ["accuracy", "macro_f1"]
        difference = made.metrics["accuracy"].difference
        assert repr(made).splitlines()[-1] == (
            f"verdict: better (accuracy {difference.value:+.3f} [{difference.low:.3f}, {difference.high:.3f}], n = 200)"
        )
        assert made.wins - made.losses == round(200 * difference.value)
        assert made.wins + made.losses + made.ties == 200
        assert made.won(3)[0].after == made.won(3)[0].reference != made.won(3)[0].before
        assert (made.metrics["accuracy"].test, made.metrics["macro_f1"].test) == ("McNemar mid-p", "prediction swap")

    @settings(max_examples=40, deadline=None)
    @given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([None, 0.02, 0.2]), st.integers(0, 5))
    def test_mirror(self, one, two, margin, seed):
        """Comparing the other way round is the mirror image: better <=> worse, and every number."""
        before, after = (
            report(share, n=60, seed=seed + at, metrics=(Accuracy(), MacroF1())) for at, share in enumerate((one, two))
        )
        here, there = compare(before, after, margin=margin), compare(after, before, margin=margin)
        mirror = {"better": "worse", "worse": "better"}
        for name in here.metrics:
            assert here.metrics[name].difference == -there.metrics[name].difference
            assert here.metrics[name].p_value == there.metrics[name].p_value
            assert here.metrics[name].verdict == mirror.get(there.metrics[name].verdict, there.metrics[name].verdict)
        assert (here.wins, here.losses, here.ties) == (there.losses, there.wins, there.ties)
        if "worse" not in (here.verdict, there.verdict):
            assert here.verdict == there.verdict
        assert here.verdict != "equivalent" or margin is not None
        assert Comparison.from_json(here.to_json()) == here

    def test_equal_models(self):
        """Equal answers: inconclusive without a margin, equivalent with one that so many rows can show."""
        made = report(0.8, n=500)
        assert compare(made, made).verdict == "inconclusive"
        assert compare(made, made, margin=0.02).verdict == "equivalent"
        assert compare(made, made, margin=0.001).verdict == "inconclusive"
        assert compare(made, made).needed_n is None
        assert compare(made, made, margin=0.001).needed_n > 500

    def test_significant_and_too_small(self):
        """A difference that is sure and within the margin is equivalent."""
        before, after = report(0.80, n=2000, metrics=(Accuracy(),)), report(0.82, n=2000, metrics=(Accuracy(),))
        assert compare(before, after).verdict == "better"
        assert compare(before, after, margin=0.1).verdict == "equivalent"
        assert compare(before, after, margin=0.001).verdict == "better"

    def test_one_metric_worse(self):
        """A gain in one metric does not buy a loss in another."""

        def brevity(prediction: str, reference: str) -> float:
            return 1 / (1 + len(prediction))

        def answers(text: str) -> str:
            return f"{right(text)}{' ' * 20}"

        before = evaluate(numbered(100), [Accuracy(), brevity], correct_up_to(0.5))
        after = evaluate(numbered(100), [Accuracy(), brevity], FakeCaller(answers))
        made = compare(before, after)
        assert [each.verdict for each in made.metrics.values()] == ["better", "worse"]
        assert made.verdict == "worse"
        assert made.decisive.name == "brevity"

    @pytest.mark.parametrize("margin", [0, -0.1, float("nan"), float("inf")])
    def test_margin(self, margin):
        """A margin is above 0."""
        made = report(0.8)
        with pytest.raises(PlanError, match="margin"):
            compare(made, made, margin=margin)

    def test_grades(self):
        """Graded rows are tested by sign flips, and the margin is a share of the scale."""
        rng = np.random.default_rng(0)
        before = rng.integers(1, 5, 300).astype(float)
        made = compare(*graded(before.tolist(), (before + (rng.random(300) < 0.4)).tolist()))
        assert (made.verdict, made.metrics["judge"].test) == ("better", "sign flip")
        assert compare(*graded(before.tolist(), before.tolist()), margin=0.05).metrics["judge"].margin == pytest.approx(
            0.2
        )


class TestRefusals:
    def test_simulated(self):
        """A simulated report is never compared with a real one; two simulated ones say so first."""
        with pytest.raises(PlanError, match="simulated") as error:
            compare(report(0.5), report(0.9, simulated=True))
        assert error.value.code == "compare-simulated"
        both = compare(report(0.5, simulated=True), report(0.9, simulated=True))
        assert both.simulated
        assert repr(both).startswith("simulated")

    def test_other_rows(self):
        """Reports of different rows, or of other references, are not compared."""
        with pytest.raises(PlanError) as error:
            compare(report(0.5), report(0.5, n=199))
        assert error.value.code == "compare-rows"

    def test_other_metrics(self):
        """Metrics that differ are left out with a finding; with none in common there is nothing to compare."""
        before, after = report(0.5), report(0.9, metrics=(Accuracy(), MacroF1(ignore_case=True)))
        made = compare(before, after)
        assert list(made.metrics) == ["accuracy"]
        assert [finding.code for finding in made.findings] == ["compare-metric"]
        with pytest.raises(PlanError) as error:
            compare(before, report(0.9, metrics=(lambda p, r: 1.0,)))
        assert error.value.code == "compare-metrics"


class TestMissing:
    def test_lost_hard_rows_are_no_improvement(self):
        """Failing on what it gets wrong does not make a model better."""
        before = report(0.8, n=300)
        luck = np.random.default_rng(0).random(5000)
        after = evaluate(
            numbered(300), [Accuracy(), MacroF1()],
            FakeCaller(lambda text: right(text) if luck[int(text.split()[-1])] < 0.8 else BUSY),
        )  # fmt: skip
        assert after.scores["accuracy"].value == 1.0
        made = compare(before, after)
        assert made.verdict == "inconclusive"
        finding = next(each for each in made.findings if each.code == "compare-missing")
        assert finding.severity == "warning"
        assert finding.details["differential"]
        assert made.metrics["accuracy"].lost == len(after.failures)
        assert compare(after, before).verdict == "inconclusive"

    def test_a_verdict_may_survive(self):
        """A few lost rows do not undo a gain that holds however they would have come out."""
        before, after = [1.0] * 50 + [2.0] * 50, [4.0] * 50 + [5.0] * 50
        before[3] = before[60] = after[9] = None
        made = compare(*graded(before, after))
        assert (made.verdict, made.pairs) == ("better", 97)
        low, high = made.metrics["judge"].worst_case
        assert 2.5 < low < made.metrics["judge"].difference.value < high
        assert [each.severity for each in made.findings] == ["note"]

    def test_a_verdict_may_fall(self):
        """More lost rows than the gain is worth: no verdict, on neither side."""
        rng = np.random.default_rng(1)
        before = rng.integers(1, 5, 200).astype(float)
        after = before + (rng.random(200) < 0.15)
        first, second = before.tolist(), after.tolist()
        assert compare(*graded(first, second)).verdict == "better"
        first[:6], second[6:12] = [None] * 6, [None] * 6
        assert compare(*graded(first, second)).verdict == "inconclusive"

    def test_few_pairs(self):
        """Few pairs are said to be few."""
        assert "compare-few" in {each.code for each in compare(report(0.5, n=10), report(0.9, n=10)).findings}


class TestBaseline:
    def side(self, name, wrong_every, latency, n=300):
        """Wrong on each so-many-th row."""

        def answer(text: str) -> Reply:
            wrong = int(text.split()[-1]) % wrong_every == 0
            return Reply(text="zebra" if wrong else right(text), latency=latency, prompt_tokens=10)

        return evaluate(numbered(n), [Accuracy()], FakeCaller(answer, model=name))

    def test_recommend(self):
        """Quality takes the best, latency the fastest that is not significantly worse, cost the cheapest of these."""
        base = Baseline.of([self.side("big", 10, 3.0), self.side("small", 9, 1.0), self.side("tiny", 2, 0.1)])
        assert base.recommend().model == str(base.recommend()) == "big"
        assert "small answers in 1 s instead of 3 s" in base.recommend().why
        assert "tiny" not in base.recommend().why
        assert base.recommend("latency").model == "small"
        assert "may be chance" in base.recommend("latency").why
        prices = {"big": 1.0, "small": 2.0, "tiny": 0.01}
        assert base.recommend("cost", prices=prices).model == "big"
        assert base.recommend("cost", prices={**prices, "small": 0.5}).model == "small"
        with pytest.raises(ConfigError, match="tiny"):
            base.recommend("cost", prices={"big": 1.0, "small": 2.0})
        with pytest.raises(PlanError, match="prefer"):
            base.recommend("beauty")

    def test_shows(self):
        """Models side by side, in text, page, records and JSON."""
        base = Baseline.of([self.side("big", 10, 3.0), self.side("small", 5, 1.0)])
        assert Baseline.from_json(base.to_json()) == base
        assert [record["model"] for record in base.to_records()] == ["big", "small"]
        assert all(name in repr(base) and name in base._repr_html_() for name in ("big", "small"))

    def test_same_rows(self):
        """Models on different rows are no baseline."""
        with pytest.raises(PlanError, match="same rows"):
            Baseline.of([self.side("big", 10, 3.0), self.side("small", 5, 1.0, n=20)])


def test_import_is_lazy():
    """Importing the package loads no numpy; every exported name is there, and functions are not hidden by modules."""
    code = (
        "import sys, gemini_tuning.eval as e; assert 'numpy' not in sys.modules; "
        "import gemini_tuning.eval.comparison; assert all(getattr(e, n) for n in e.__all__); "
        "assert callable(e.compare) and callable(e.evaluate); "
        "assert not {'scipy', 'pandas', 'sklearn', 'google.genai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_results_are_frozen():
    """A result cannot be changed."""
    with pytest.raises(AttributeError):
        report(0.5).model = "other"
    assert msgspec.structs.replace(report(0.5), model="other").model == "other"
