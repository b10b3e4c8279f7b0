"""The parts that can be wrong without any socket: checksums, filters, data sets, specs."""

from __future__ import annotations

import json
import random
import time

import pytest

from gemini_tuning.emulator.crc32c import crc32c
from gemini_tuning.emulator.dataset import TOKEN_LIMIT, DatasetError, read_dataset
from gemini_tuning.emulator.specs import check_job, labels_problem
from gemini_tuning.emulator.wire import ApiError, camelize, matches, parse_filter


def test_crc32c_check_value() -> None:
    """The checksum of the standard's test vector is the standard's."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0


@pytest.mark.parametrize("size", [1, 4095, 16384, 16385, 100_003, (1 << 21) + 77])
def test_crc32c_agrees_with_google(size: int) -> None:
    """Any content has the checksum that Google's own implementation gives."""
    google_crc32c = pytest.importorskip("google_crc32c")
    content = random.Random(size).randbytes(size)
    assert crc32c(content) == google_crc32c.value(content)


def test_crc32c_is_fast_enough() -> None:
    """20 MB take less than three seconds."""
    content = bytes(20_000_000)
    start = time.perf_counter()
    crc32c(content)
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('state="JOB_STATE_RUNNING"', True),
        ("state = JOB_STATE_RUNNING", True),
        ("labels.key=v-1", True),
        ('labels.key="v-1" AND state="JOB_STATE_RUNNING"', True),
        ('labels.key="v-1" AND state="JOB_STATE_FAILED"', False),
        ('labels.key="other"', False),
        ("labels.absent=v-1", False),
        ("labels.key:*", True),
        ("labels:key", True),
        ("labels.absent:*", False),
        ('state!="JOB_STATE_FAILED"', True),
        ("", True),
    ],
)
def test_filter(text: str, holds: bool) -> None:
    """A filter selects exactly the resources that fit all of its terms."""
    item = {"state": "JOB_STATE_RUNNING", "labels": {"key": "v-1"}}
    assert matches(parse_filter(text), item, ("state",)) is holds


@pytest.mark.parametrize("text", ["state", "state=", '"x"', "a=b OR c=d", "NOT a=b", "(a=b)", "nosuchfield=1"])
def test_filter_not_understood_is_refused(text: str) -> None:
    """A filter that is not understood is an error, never an empty or a full answer."""
    with pytest.raises(ApiError):
        matches(parse_filter(text), {"state": "x", "a": "b"}, ("state", "a", "c"))


def test_both_spellings_mean_the_same() -> None:
    """snake_case field names are read as camelCase, and the user's own map keys are left alone."""
    body = {"pre_tuned_model": {"tuned_model_name": "m"}, "labels": {"my_key": "v"}}
    assert camelize(body) == {"preTunedModel": {"tunedModelName": "m"}, "labels": {"my_key": "v"}}
    call = {"function_call": {"name": "f", "args": {"a_b": {"c_d": 1}}}}
    assert camelize(call) == {"functionCall": {"name": "f", "args": {"a_b": {"c_d": 1}}}}
    schema = {"response_schema": {"properties": {"a_b": {"any_of": [{"type": "STRING"}]}}}}
    assert camelize(schema) == {"responseSchema": {"properties": {"a_b": {"anyOf": [{"type": "STRING"}]}}}}


def row(*turns: tuple[str, str], **more: object) -> dict[str, object]:
    return {"contents": [{"role": role, "parts": [{"text": text}]} for role, text in turns], **more}


def lines(*rows: object) -> bytes:
    return "\n".join(json.dumps(value) for value in rows).encode()


def test_every_model_turn_is_learnt() -> None:
    """A conversation gives a row for each model turn, with all that came before as its prompt."""
    example = row(("user", "a"), ("model", "b"), ("user", "c"), ("model", "d"))
    rows = read_dataset(lines(example), "gs://b/o.jsonl").rows
    assert [(item.prompt.turns, item.target) for item in rows] == [
        ((("user", "a"),), "b"),
        ((("user", "a"), ("model", "b"), ("user", "c")), "d"),
    ]


def test_weight_zero_is_not_learnt() -> None:
    """A model turn of weight 0 is context and no target."""
    example = row(("user", "a"), ("model", "b"), ("user", "c"), ("model", "d"))
    example["contents"][1]["weight"] = 0  # type: ignore[index]
    assert [item.target for item in read_dataset(lines(example), "gs://b/o.jsonl").rows] == ["d"]


def test_snake_case_data_is_the_same_data() -> None:
    """`system_instruction` and `systemInstruction` give the same rows."""
    turns = (("user", "a"), ("model", "b"))
    system = {"parts": [{"text": "s"}]}
    camel = read_dataset(lines(row(*turns, systemInstruction=system)), "gs://b/o.jsonl").rows
    assert camel == read_dataset(lines(row(*turns, system_instruction=system)), "gs://b/o.jsonl").rows
    assert camel[0].prompt.system == "s"


def test_function_calls_train_as_text() -> None:
    """Function calls and files become a textual placeholder, in targets and in prompts."""
    contents = [
        {"role": "user", "parts": [{"fileData": {"mimeType": "image/png", "fileUri": "gs://b/i.png"}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "find", "args": {"q": "x"}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "find", "response": {"r": 1}}}]},
        {"role": "model", "parts": [{"text": "done"}]},
    ]
    rows = read_dataset(lines({"contents": contents}), "gs://b/o.jsonl").rows
    assert "gs://b/i.png" in rows[0].prompt.turns[0][1]
    assert "find" in rows[0].target
    assert rows[1].target == "done"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines({"messages": []}), "Row: 0. Missing required `contents` field."),
        (lines(row(("user", "a"), ("model", "b")), {"contents": []}), "Row: 1. Missing required `contents` field."),
        (lines(row(("user", "a"))), "Row: 0. The last content must have role `model`."),
        (lines(row(("assistant", "a"))), "Row: 0. Invalid role"),
        (b"[1, 2", "should be a GCS object of type JSONL"),
        (lines(row(("user", "a"), ("model", "b"))) + b"\n{", "Row: 1. Failed to parse JSON."),
        (b"", "is empty"),
        (lines({"contents": [{"role": "user", "parts": "a"}]}), "Row: 0. "),
    ],
)
def test_bad_data_names_the_row(content: bytes, message: str) -> None:
    """Data that cannot be used is refused with the first bad row, counted from 0."""
    with pytest.raises(DatasetError, match=message.replace("[", r"\[")):
        read_dataset(content, "gs://b/o.jsonl")


def test_examples_over_the_limit_are_dropped_and_reported() -> None:
    """An example over 131,072 tokens is dropped, counted as truncated, and named by its 1-based index."""
    long = "word " * (TOKEN_LIMIT + 1)
    data = read_dataset(
        lines(row(("user", "a"), ("model", "b")), row(("user", long), ("model", "b"))), "gs://b/o.jsonl"
    )
    stats = data.stats(1)
    assert len(data.rows) == 1
    assert stats["totalTruncatedExampleCount"] == "1"
    assert stats["truncatedExampleIndices"] == ["2"]
    assert len(stats["droppedExampleReasons"]) == 1
    assert stats["tuningDatasetExampleCount"] == "2"


SPEC = {"trainingDatasetUri": "gs://b/o.jsonl"}


@pytest.mark.parametrize(
    "body",
    [
        {"supervisedTuningSpec": SPEC},
        {"baseModel": "gemini-2.5-flash"},
        {"baseModel": "gemini-2.5-falsh", "supervisedTuningSpec": SPEC},
        {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": {}},
        {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": {"trainingDatasetUri": "/tmp/x.jsonl"}},
        {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": SPEC, "preferenceOptimizationSpec": SPEC},
        {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": SPEC, "labels": {"A": "b"}},
        {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": SPEC, "labels": {"a": "b" * 65}},
        {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": SPEC, "tunedModelDisplayName": "x" * 129},
        *(
            {"baseModel": model, "supervisedTuningSpec": {**SPEC, "hyperParameters": wrong}}
            for model, wrong in (
                ("gemini-2.5-flash", {"epochCount": 0}),
                ("gemini-2.5-flash", {"epochCount": "1.5"}),
                ("gemini-2.5-flash", {"learningRateMultiplier": 0}),
                ("gemini-2.5-flash", {"adapterSize": "FOUR"}),
                ("gemini-2.5-flash", {"adapterSize": "ADAPTER_SIZE_THIRTY_TWO"}),
                ("gemini-2.5-pro", {"adapterSize": "ADAPTER_SIZE_SIXTEEN"}),
                ("gemini-2.5-flash", {"learningRate": 0.1, "learningRateMultiplier": 1}),
            )
        ),
    ],
)
def test_impossible_jobs_are_refused_at_once(body: dict[str, object]) -> None:
    """A request that can never become a job is an INVALID_ARGUMENT when it is made."""
    with pytest.raises(ApiError) as caught:
        check_job(body)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_labels_within_limits() -> None:
    """Lowercase letters, digits, underscores and dashes up to 64 code points are fine, in any script."""
    assert labels_problem({"gemini-tuning-key": "a" * 64, "k_1": "", "组": "值"}) == ""
