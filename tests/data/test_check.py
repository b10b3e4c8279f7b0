import msgspec
import pytest

from gemini_tuning.data import DataReport, Distribution, Limits, Parts, check, check_file, from_records
from gemini_tuning.errors import PlanError
from gemini_tuning.types import Dataset, Example, text_turn

NAMES = ["card", "loan", "fees", "travel", "limit", "phone", "branch", "interest", "pin", "cheque", "transfer"]


def rows(n=120, label=lambda n: "ab"[n % 2]):
    return [
        {"input": f"{NAMES[n % 11]} {NAMES[n // 11 % 11]} {'xyzuvw'[n % 6] * (n % 9 + 2)} question", "output": label(n)}
        for n in range(n)
    ]


def codes(data, **arguments):
    report = check(data if isinstance(data, Parts) else from_records(data), **arguments)
    return {finding.code: finding for finding in report.findings}


def test_good_data_has_no_findings():
    """A hundred distinct, balanced examples are fine, and are described."""
    report = check(from_records(rows()))
    assert report.findings == ()
    assert report.ok
    assert report.rows == {"train": 120}
    assert report.labels == {"a": 60, "b": 60}
    assert report.scripts == {"latin": 1.0}
    assert report.tokens.min > 0
    assert report.output_characters == Distribution(1, 1, 1, 1, 120)


def test_duplicates_and_conflicts_name_their_rows():
    """Copies, near-copies and contradictions are findings with the lines of the rows."""
    long = "I would like to know why my card was declined in the shop this morning"
    extra = [(long, "a"), (long + "!", "a"), (long.replace("shop", "mart"), "a"), (rows()[0]["input"], "b")]
    found = codes([*rows(), *({"input": text, "output": label} for text, label in extra)], near=0.7)
    assert found["exact-duplicates"].count == 1
    pairs = {(pair["row"], pair["of"]) for pair in found["near-duplicates"].details["pairs"]}
    assert ("record 123", "record 122") in pairs
    assert [place.line for place in found["label-conflict"].where] == [1, 124]


def test_leaks_between_parts():
    """Equal inputs in two parts stop, similar ones warn, whatever their outputs."""
    long = "I would like to know why my card was declined in the shop this morning"
    train = [*rows(), {"input": long, "output": "a"}, {"input": "held out", "output": "a"}]
    found = codes(Parts(
        train=from_records(train),
        validation=from_records([{"input": long + " please", "output": "a"}]),
        test=from_records([{"input": "HELD out", "output": "b"}]),
    ))  # fmt: skip
    assert (found["leak-exact"].severity, [place.line for place in found["leak-exact"].where]) == ("stop", [122])
    assert (found["leak-near"].severity, [place.line for place in found["leak-near"].where]) == ("warning", [121])


@pytest.mark.parametrize(("n", "severity"), [(5, "warning"), (50, "note")])
def test_too_few_rows(n, severity):
    """Under 20 rows warn, under 100 are noted; none at all stop."""
    assert codes(rows(n))["few-examples"].severity == severity
    assert codes([])["no-examples"].severity == "stop"


def test_limits_of_the_model():
    """Rows above the limits that were passed in are named."""
    limits = Limits(tokens_per_example=10, examples=100, validation_examples=2)
    parts = Parts(train=from_records(rows()), validation=from_records(rows(3)))
    found = codes(parts, limits=limits, near=None)
    assert (
        found["too-long"].severity
        == found["too-many-examples"].severity
        == found["validation-limit"].severity
        == "stop"
    )


def test_labels_that_are_rare_alone_or_spelled_in_two_ways():
    """Balance and spelling of labels are looked at."""
    assert codes(rows(label=lambda n: "c" if n == 7 else "ab"[n % 2]))["rare-labels"].details == {"labels": {"c": 1}}
    assert codes(rows(label=lambda n: "only"))["single-label"].severity == "stop"
    found = codes(rows(label=lambda n: "Lost Card" if n == 7 else ["lost_card", "fees"][n % 2]))["label-spelling"]
    assert [place.line for place in found.where] == [8]
    assert "lost_card" in found.message


@pytest.mark.parametrize("text", ["N/A", "TODO", "???", "<answer>", "待定", "null"])
def test_placeholders_are_not_answers(text):
    """A stray placeholder among answers is named; a class of that name is not."""
    found = codes(rows(label=lambda n: text if n == 7 else f"answer number {n}"))
    assert [place.line for place in found["placeholder-target"].where] == [8]
    assert "placeholder-target" not in codes(rows(label=lambda n: ["fees", text][n % 2]))


def test_empty_targets_and_double_turns_of_examples_in_memory():
    """Examples that no reader has checked are checked here."""
    empty = Example(turns=(text_turn("user", "q"), text_turn("model", " ")))
    double = Example(turns=tuple(text_turn(role, "x") for role in ("user", "user", "model")))
    found = codes(Parts(train=Dataset([*from_records(rows()), empty, double])))
    assert found["empty-target"].severity == "stop"
    assert found["consecutive-turns"].severity == "warning"


def test_a_few_letters_of_another_script():
    """Shares of scripts are described and a trace of another one is noted."""
    found = codes([*rows(), {"input": "请问我的卡", "output": "a"}])
    assert "han" in found["mixed-scripts"].message


def test_distributions():
    """Median of an even count is the mean of the middle two; p95 is the nearest rank."""
    assert Distribution.of([4, 1, 3, 2]) == Distribution(1, 2.5, 4, 4, 10)
    assert Distribution.of([float(n) for n in range(1, 101)]).p95 == 95
    assert Distribution.of([]) == Distribution()


def test_the_report_crosses_files_and_is_escaped(file):
    """A report survives JSON, its texts cannot become markup, and the file's report says the same."""
    data = rows(label=lambda n: "<b>x</b>" if n == 7 else "ab"[n % 2])
    report = check_file(file(data))
    assert msgspec.json.decode(msgspec.json.encode(report), type=DataReport) == report
    assert "<b>" not in report._repr_html_()
    assert "rare-labels" in repr(report)
    assert [finding.code for finding in report.findings] == list(codes(data))
    assert report.to_records()[0]["code"] == "rare-labels"


def test_what_is_no_data_is_refused():
    """A list of rows or a path is not a data set."""
    with pytest.raises(PlanError, match="check_file"):
        check("rows.jsonl")
