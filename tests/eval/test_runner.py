from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from gemini_tuning.backend import loop
from gemini_tuning.errors import BackendError, ConfigError, PlanError
from gemini_tuning.eval import Accuracy, Judge, MacroF1, evaluate, evaluate_async
from gemini_tuning.ledger import Journal
from gemini_tuning.types import Dataset, Progress, Reply

from .fakes import FakeCaller, labelled, numbered, right, unanswered

BUSY = BackendError("quota", code="backend-quota", status="RESOURCE_EXHAUSTED", status_code=429, retryable=True)


def journals(tmp_path):
    return {"generations": Journal(tmp_path / "g.jsonl"), "grades": Journal(tmp_path / "j.jsonl")}


def grader(grade=4):
    return FakeCaller(lambda text: json.dumps({"reason": "because", "grade": grade}), model="gemini-2.5-pro")


class TestScores:
    def test_right_and_wrong(self):
        """Every row is asked once, in bounded time and order of the data, and scored."""
        caller = FakeCaller(lambda text: right(text) if int(text.split()[-1]) < 30 else "zebra")
        report = evaluate(numbered(40), [MacroF1(), Accuracy()], caller)
        assert sorted(caller.sent) == sorted(f"row {at}" for at in range(40))
        assert list(report.scores) == ["macro_f1", "accuracy"]
        assert (report.scores["accuracy"].value, report.scores["accuracy"].n) == (0.75, 40)
        assert [row.input for row in report.rows] == [f"row {at}" for at in range(40)]
        assert report.rows[3].where.line == 4
        assert report.tokens.total == 160

    def test_answers_that_are_none(self):
        """Blocked, empty and cut answers are answers: scored, inside n, and counted by kind."""
        replies = {"row 0": Reply(text="", finish="BLOCKED:SAFETY"), "row 1": Reply(text="b", finish="MAX_TOKENS")}
        caller = FakeCaller(lambda text: replies.get(text, right(text)))
        report = evaluate(numbered(6), [Accuracy()], caller)
        assert (report.scores["accuracy"].value, report.scores["accuracy"].n) == (pytest.approx(5 / 6), 6)
        assert report.finishes == {"STOP": 4, "BLOCKED:SAFETY": 1, "MAX_TOKENS": 1}
        assert {finding.code for finding in report.findings} >= {"eval-empty", "eval-truncated"}

    def test_no_reference(self):
        """A row without a reference is unscored by metrics that need one, and can be judged."""
        report = evaluate(unanswered(3), [Accuracy(), Judge("c")], FakeCaller(lambda t: "x"), judge=lambda _: grader())
        assert list(report.scores) == ["judge"]
        assert report.rows[0].unscored == {"accuracy": "no reference"}
        assert [f.severity for f in report.findings if f.code == "eval-unscored"] == ["stop"]

    def test_own_function(self):
        """A plain function is a metric; one that raises is a failure row of that metric, outside n."""

        def half(prediction: str, reference: str) -> float:
            if prediction == "a":
                raise KeyError("no a")
            return 0.5

        report = evaluate(numbered(9), [half, Accuracy()], FakeCaller(right))
        assert (report.scores["half"].value, report.scores["half"].n, report.scores["accuracy"].n) == (0.5, 6, 9)
        assert [(f.stage, f.metric, f.code) for f in report.failures] == [("metric", "half", "KeyError")] * 3
        assert "eval-metric-error" in {finding.code for finding in report.findings}

    @pytest.mark.parametrize("value", [float("nan"), None, "0.5", float("inf")])
    def test_no_number(self, value):
        """What is no finite number is a failure, never a score."""
        report = evaluate(numbered(3), [Accuracy(), lambda p, r: value], FakeCaller(right))
        assert list(report.scores) == ["accuracy"]
        assert len(report.failures) == 3

    def test_half_a_surrogate(self):
        """An answer that UTF-8 cannot hold can still be reported and stored."""
        report = evaluate(numbered(1), [Accuracy()], FakeCaller(lambda t: "x\ud800"))
        assert report.rows[0].prediction == "x\ufffd"
        assert report.to_json()


class TestFailures:
    def test_rows_outside_n(self):
        """A failed call is a row in `failures`: n shrinks, accuracy does not."""
        caller = FakeCaller(lambda text: BUSY if text in ("row 3", "row 7") else right(text))
        report = evaluate(numbered(50), [Accuracy(), MacroF1()], caller)
        assert (report.scores["accuracy"].value, report.scores["accuracy"].n, report.asked) == (1.0, 48, 50)
        assert [(f.stage, f.status, f.input) for f in report.failures] == [
            ("generate", "RESOURCE_EXHAUSTED", "row 3"), ("generate", "RESOURCE_EXHAUSTED", "row 7"),
        ]  # fmt: skip
        assert ("eval-failures", "warning") in {(f.code, f.severity) for f in report.findings}

    def test_every_row_failed(self):
        """Without any answer there is no report but the error."""
        with pytest.raises(BackendError, match="quota"):
            evaluate(numbered(5), [Accuracy()], FakeCaller(lambda text: BUSY))

    def test_hopeless(self):
        """A model that is not there is not asked ten thousand times."""
        gone = BackendError("no such model", status="NOT_FOUND", status_code=404)
        caller = FakeCaller(lambda text: gone)
        with pytest.raises(BackendError, match="no such model"):
            evaluate(numbered(1000), [Accuracy()], caller)
        assert len(caller.sent) < 30

    def test_judge_failed(self):
        """A judge's failed call is a failure of that metric alone."""
        judge = FakeCaller(
            lambda text: BUSY if '"row 1"' in text else '{"reason": "r", "grade": 5}', model="gemini-2.5-pro"
        )
        report = evaluate(numbered(4), [Accuracy(), Judge("c")], FakeCaller(right), judge=lambda _: judge)
        assert (report.scores["judge"].n, report.scores["accuracy"].n) == (3, 4)
        assert [(f.stage, f.metric) for f in report.failures] == [("judge", "judge")]

    def test_bug_in_a_caller(self):
        """What is no transport failure is not swallowed, and nothing is left running."""
        caller = FakeCaller(lambda text: ZeroDivisionError("bug"))
        with pytest.raises(ZeroDivisionError):
            evaluate(numbered(50), [Accuracy()], caller)
        assert caller.under_way == 0


class TestConcurrency:
    @pytest.mark.parametrize("concurrency", [1, 5])
    def test_bound(self, concurrency):
        """Never more calls at once than allowed, and as many as allowed."""
        caller = FakeCaller(right, wait=0.001)
        evaluate(numbered(40), [Accuracy()], caller, concurrency=concurrency)
        assert caller.most == concurrency

    def test_not_one_task_a_row(self):
        """A long data set does not become as many tasks."""
        tasks = []

        def count(_: Progress) -> None:
            tasks.append(len(asyncio.all_tasks()))

        evaluate(numbered(2000), [Accuracy()], FakeCaller(right), concurrency=4, progress=count)
        assert max(tasks) < 20

    def test_same_question_once(self):
        """Rows with the same prompt are one call, whatever their references."""
        caller = FakeCaller(lambda text: "a", wait=0.001)
        report = evaluate(labelled([("same", "a"), ("same", "b"), ("same", "a")]), [Accuracy()], caller)
        assert caller.sent == ["same"]
        assert report.scores["accuracy"].value == pytest.approx(2 / 3)

    def test_loop_stays_free(self):
        """While a slow metric runs, the loop serves others."""

        def slow(prediction: str, reference: str) -> bool:
            time.sleep(0.01)
            assert threading.current_thread().name != "gemini-tuning-loop"
            return True

        async def both() -> float:
            work = asyncio.ensure_future(evaluate_async(numbered(30), [slow], FakeCaller(right)))
            worst = 0.0
            while not work.done():
                start = time.perf_counter()
                await asyncio.sleep(0.001)
                worst = max(worst, time.perf_counter() - start)
            await work
            return worst

        assert loop.run(both()) < 0.15

    def test_cancel(self):
        """Cancelling stops the calls under way, passes on, and leaves what was answered in the journal."""

        async def start(caller: FakeCaller) -> None:
            work = asyncio.ensure_future(evaluate_async(numbered(100), [Accuracy()], caller, concurrency=3))
            while len(caller.sent) < 10:
                await asyncio.sleep(0.001)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

        caller = FakeCaller(right, wait=0.005)
        loop.run(start(caller))
        assert caller.under_way == 0
        assert caller.cancelled == 3
        assert len(caller.sent) < 30


class TestResume:
    def test_killed_in_the_middle(self, tmp_path):
        """The second run sends what the first did not answer, and gives the report of an undisturbed run."""

        class Killed(Exception):
            pass

        def stop(progress: Progress) -> None:
            if progress.done == 25:
                raise Killed

        with pytest.raises(Killed):
            evaluate(numbered(60), [Accuracy()], FakeCaller(right), concurrency=4, progress=stop, **journals(tmp_path))
        stored = len(list(Journal(tmp_path / "g.jsonl").rows()))
        second = FakeCaller(right)
        report = evaluate(numbered(60), [Accuracy()], second, **journals(tmp_path))
        assert 25 <= stored < 35
        assert len(second.sent) == 60 - stored
        assert report == evaluate(numbered(60), [Accuracy()], FakeCaller(right))

    def test_torn_line(self, tmp_path):
        """A line that a kill has torn is one row asked again."""
        evaluate(numbered(10), [Accuracy()], FakeCaller(right), **journals(tmp_path))
        path = tmp_path / "g.jsonl"
        path.write_bytes(path.read_bytes()[:-20] + b'\n{"key": 1}\n[1]\n')
        caller = FakeCaller(right)
        evaluate(numbered(10), [Accuracy()], caller, **journals(tmp_path))
        assert len(caller.sent) == 1

    def test_failures_are_not_kept(self, tmp_path):
        """A failed row is sent again by the next run, and only that one."""
        evaluate(
            numbered(10), [Accuracy()], FakeCaller(lambda t: BUSY if t == "row 4" else right(t)), **journals(tmp_path)
        )
        caller = FakeCaller(right)
        report = evaluate(numbered(10), [Accuracy()], caller, **journals(tmp_path))
        assert caller.sent == ["row 4"]
        assert report.failures == ()

    def test_scoring_again_never_generates_again(self, tmp_path):
        """Another metric or judge asks the model nothing; another model is asked everything."""
        evaluate(numbered(10), [Accuracy()], FakeCaller(right), **journals(tmp_path))
        caller, judge = FakeCaller(right), grader()
        evaluate(numbered(10), [MacroF1(), Judge("c")], caller, judge=lambda _: judge, **journals(tmp_path))
        assert (len(caller.sent), len(judge.sent)) == (0, 10)
        again = grader()
        evaluate(numbered(10), [Judge("c", name="tone")], caller, judge=lambda _: again, **journals(tmp_path))
        assert (len(caller.sent), len(again.sent)) == (0, 0)
        evaluate(numbered(10), [Judge("stricter")], caller, judge=lambda _: again, **journals(tmp_path))
        assert len(again.sent) == 10
        other = FakeCaller(right, model="gemini-2.5-flash-lite")
        evaluate(numbered(10), [Accuracy()], other, **journals(tmp_path))
        assert len(other.sent) == 10


class TestJudge:
    def test_grades(self):
        """The score is the mean of raw grades on the judge's scale, with reasons on the rows and a note on kinship."""
        asked = []

        def judge(model):
            asked.append(model)
            return grader(4)

        report = evaluate(numbered(5), [Judge("c", model="gemini-2.5-pro")], FakeCaller(right), judge=judge)
        assert asked == ["gemini-2.5-pro"]
        assert (report.scores["judge"].value, report.scores["judge"].method) == (4.0, "no variation")
        assert 1 < report.scores["judge"].low < 4 < report.scores["judge"].high < 5
        assert report.rows[0].reasons == {"judge": "because"}
        assert report.metrics[0].bounds == (1.0, 5.0)
        assert "eval-self-judging" in {finding.code for finding in report.findings}

    def test_unreadable_is_outside_n(self):
        """A reply without a grade leaves the row unscored with the reason, never 0."""
        judge = FakeCaller(lambda t: "no idea" if '"row 2"' in t else '{"reason": "", "grade": 3}', model="other")
        report = evaluate(numbered(6), [Judge("c")], FakeCaller(right), judge=lambda _: judge)
        assert (report.scores["judge"].value, report.scores["judge"].n) == (3.0, 5)
        assert report.rows[2].unscored == {"judge": "unreadable"}
        assert report.failures == ()
        assert judge.schemas[0] is not None

    def test_needs_a_caller(self):
        """A judge without anyone to ask is refused before any money is spent."""
        caller = FakeCaller(right)
        with pytest.raises(ConfigError, match="judge="):
            evaluate(numbered(5), [Judge("c")], caller)
        assert caller.sent == []


class TestArguments:
    @pytest.mark.parametrize(
        ("metrics", "arguments", "word"),
        [
            ([], {}, "at least one metric"),
            ([Accuracy(), Accuracy()], {}, "names that differ"),
            ([Accuracy], {}, "Accuracy\\(\\) instead"),
            ([Accuracy()], {"concurrency": 0}, "concurrency"),
            ([Accuracy()], {"limit": 0}, "limit"),
        ],
    )
    def test_impossible(self, metrics, arguments, word):
        """What can never work is said at once, by name, before anything is sent."""
        caller = FakeCaller(right)
        with pytest.raises(PlanError, match=word):
            evaluate(numbered(3), metrics, caller, **arguments)
        assert caller.sent == []

    def test_no_rows(self):
        """No rows, no score."""
        with pytest.raises(PlanError, match="at least one row"):
            evaluate(Dataset(), [Accuracy()], FakeCaller(right))

    def test_limit(self):
        """A limit takes a sample by hash: the same rows in any order of the data, and a larger one holds it."""
        data = numbered(100)
        few = evaluate(data, [Accuracy()], FakeCaller(right), limit=20)
        turned = evaluate(Dataset(reversed(data.examples)), [Accuracy()], FakeCaller(right), limit=20)
        more = evaluate(data, [Accuracy()], FakeCaller(right), limit=50)
        inputs = [{row.input for row in report.rows} for report in (few, turned, more)]
        assert inputs[0] == inputs[1] < inputs[2]
        assert inputs[0] != {f"row {at}" for at in range(20)}
        assert few.fingerprint == turned.fingerprint != more.fingerprint
        assert few.scores == turned.scores

    def test_progress(self):
        """Progress counts every row to the total."""
        seen: list[Progress] = []
        evaluate(numbered(7), [Accuracy()], FakeCaller(right), progress=seen.append)
        assert [each.done for each in seen] == list(range(1, 8))
        assert seen[-1].total == 7
