"""The captured requests, sent as they were: the replies have every field of the documented ones, with its JSON type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from gemini_tuning.emulator.wire import camelize

from .conftest import Tuned

Captures = Callable[[str], dict[str, Any]]

# Documented fields that the emulator leaves out on purpose.
ABSENT = {
    "unknownNewField", "newField", "gcsMetricsUri", "pipelineJob", "serviceAccount", "evaluateDatasetRuns",
    "totalTruncatedExampleCount", "truncatedExampleIndices", "droppedExampleReasons", "avgLogprobs",
    "thoughtsTokenCount", "tunedModelDisplayName", "description", "nextPageToken",
}  # fmt: skip


def gaps(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """What `found` lacks of the shape of `expected`."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            yield f"{where}: not an object"
            return
        for key, value in expected.items():
            if key in found:
                yield from gaps(value, found[key], f"{where}.{key}")
            elif key not in ABSENT:
                yield f"{where}.{key}: missing"
    elif isinstance(expected, list):
        if not isinstance(found, list) or (expected and not found):
            yield f"{where}: not a list with items"
        elif expected:
            yield from gaps(expected[0], found[0], f"{where}[0]")
    elif isinstance(expected, bool) or isinstance(found, bool):
        if type(expected) is not type(found):
            yield f"{where}: {expected!r} and {found!r}"
    elif isinstance(expected, int | float):
        # The captured replies echo the number that was sent; the service's int64 is a string.
        if not isinstance(found, int | float) and not (isinstance(found, str) and found.isdigit()):
            yield f"{where}: {found!r} is no number"
    elif expected is not None and not isinstance(found, type(expected)):
        yield f"{where}: {found!r} is no {type(expected).__name__}"


def here(text: str, tuned: Tuned) -> str:
    """The text with the capture's resource names replaced by those of the finished job."""
    job = tuned.job
    number = job["name"].split("/")[1]
    experiment = job["experiment"].rsplit("/", 1)[1]
    board = tuned.clients.raw("GET", f"/v1/{job['experiment']}")[2]["metadata"]["backing_tensorboard_resource"]
    for old, new in (
        ("tuning-experiment-20261101100000000000", experiment),
        ("projects/123456789/", f"projects/{number}/"),
        ("tuningJobs/111", "tuningJobs/" + job["name"].rsplit("/", 1)[1]),
        ("tuningJobs/1?", "tuningJobs/" + job["name"].rsplit("/", 1)[1] + "?"),
        ("models/777@1", "models/" + job["tunedModel"]["model"].rsplit("/", 1)[1]),
        ("endpoints/888", "endpoints/" + job["tunedModel"]["endpoint"].rsplit("/", 1)[1]),
        ("tensorboards/42", "tensorboards/" + board.rsplit("/", 1)[1]),
    ):
        text = text.replace(old, new).replace(quote(old, safe=""), quote(new, safe=""))
    return text


@pytest.mark.parametrize(
    "name",
    [
        "compute_tokens", "count_tokens_base", "count_tokens_endpoint",
        "embed_content_gemini_embedding_001_1", "embed_content_gemini_embedding_001_2",
        "embed_content_gemini_embedding_2_1", "embed_content_gemini_embedding_2_2",
        "embed_content_text_embedding_005_1", "embed_content_text_embedding_005_2",
        "gapic_get_tuning_job", "generate_content_async", "generate_content_base_model",
        "generate_content_tuned_endpoint",
        "metadata_get_context", "metadata_list_experiment_runs",
        "models_get_base", "models_get_tuned", "models_list_base", "models_list_tuned",
        "tensorboard_batch_read", "tensorboard_list_runs", "tensorboard_list_time_series",
        "tensorboard_read_time_series", "tensorboard_read_time_series_max_points",
        "tune_continuous", "tune_continuous_preference", "tune_distillation", "tune_extra_body_service_account",
        "tune_multimodal_dataset_resource", "tune_preference", "tune_reinforcement", "tune_sft",
        "tune_sft_evaluation_config", "tune_trap_continuous_dict_config",
        "tune_trap_preference_silently_dropped_fields", "tunings_cancel", "tunings_get_succeeded",
    ],
)  # fmt: skip
def test_reply_has_the_captured_shape(tuned: Tuned, captures: Captures, name: str) -> None:
    """Every field of the captured reply is in the emulator's, unless it is one that is left out on purpose."""
    for exchange in captures(name)["exchanges"]:
        request = exchange["request"]
        if "/storage/" in request["path"]:
            continue
        body = None if request["json"] is None else json.loads(here(json.dumps(request["json"]), tuned))
        if isinstance(body, dict) and "preTunedModel" in body and "checkpoint_id" in body["preTunedModel"]:
            body["preTunedModel"]["checkpoint_id"] = "3"
        status, _, answer = tuned.clients.raw(request["method"], here(request["path"], tuned), body)
        assert status == exchange["response"]["status"], answer
        expected = exchange["response"]["json"]
        if name.startswith("tune_"):
            expected = camelize(expected)  # the captured replies echo the snake_case that leaked
        assert not list(gaps(expected, answer)), answer
        if name.startswith("tune_"):
            tuned.clients.raw("POST", f"/v1/{answer['name']}:cancel")


@pytest.mark.parametrize("name", ["tune_trap_beta_without_method", "tune_trap_both_learning_rates"])
def test_contradictions_are_refused(tuned: Tuned, captures: Captures, name: str) -> None:
    """Two specs or two learning rates, which google-genai sends without a word, are a 400."""
    request = captures(name)["exchanges"][0]["request"]
    assert tuned.clients.raw("POST", request["path"], request["json"])[0] == 400


def test_thinking_level_on_a_2_5_model_is_refused(tuned: Tuned, captures: Captures) -> None:
    """The captured call was to a stand-in; on a tuned 2.5 model the documents make it an error."""
    request = captures("generate_content_thinking_level")["exchanges"][0]["request"]
    assert tuned.clients.raw("POST", here(request["path"], tuned), request["json"])[0] == 400
