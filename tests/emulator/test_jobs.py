"""The life of a tuning job, as google-genai and plain REST see it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemini_tuning.emulator import Emulator, Fault

from .conftest import PARENT, Clients, Tuned, dataset, wait

pytestmark = pytest.mark.filterwarnings("ignore")


def losses(emulator: Emulator, job: str) -> list[float]:
    points = emulator._jobs.points(job.rsplit("/", 1)[1])
    return [point["train_loss"] for point in points if point["train_loss"] is not None]


def test_job_succeeds_with_all_its_parts(tuned: Tuned) -> None:
    """A finished job carries its model, a checkpoint per epoch with its own endpoint, statistics and times."""
    job = tuned.job
    checkpoints = job["tunedModel"]["checkpoints"]
    assert [item["checkpointId"] for item in checkpoints] == ["1", "2", "3", "4", "5", "6"]
    assert len({item["endpoint"] for item in checkpoints}) == 6
    assert job["tunedModel"]["endpoint"] == checkpoints[-1]["endpoint"]
    assert job["tunedModel"]["model"].endswith("@1")
    assert job["createTime"] <= job["startTime"] <= job["endTime"]
    assert job["labels"] == {"run": "abc"}
    stats = job["tuningDataStats"]["supervisedTuningDataStats"]
    assert stats["tuningDatasetExampleCount"] == "60"
    assert stats["tuningStepCount"] == job["tuningJobMetadata"]["completedStepCount"] == checkpoints[-1]["step"]
    assert job["tuningJobMetadata"]["completedEpochCount"] == "6"
    inputs, outputs = stats["userInputTokenDistribution"], stats["userOutputTokenDistribution"]
    assert int(stats["totalBillableTokenCount"]) == int(inputs["sum"]) + int(outputs["sum"])
    assert sum(bucket["count"] for bucket in inputs["buckets"]) == 60


def test_genai_reads_the_job(tuned: Tuned) -> None:
    """google-genai parses a finished job without losing a field."""
    job = tuned.clients.genai().tunings.get(name=tuned.job["name"])
    assert job.has_succeeded
    assert job.tuned_model.checkpoints[2].epoch == 3
    assert job.tuning_data_stats.supervised_tuning_data_stats.total_billable_token_count > 0
    assert job.supervised_tuning_spec.hyper_parameters.epoch_count == 6
    assert job.experiment


def test_defaults_are_filled_in(clients: Clients) -> None:
    """A job without hyperparameters reports the ones that were used."""
    clients.upload("train.jsonl", dataset(4))
    created = clients.create(supervisedTuningSpec={"trainingDatasetUri": "gs://bkt/train.jsonl"})
    job = clients.ended(created["name"])
    used = job["supervisedTuningSpec"]["hyperParameters"]
    assert int(used["epochCount"]) >= 1
    assert used["learningRateMultiplier"] == 1
    assert used["adapterSize"].startswith("ADAPTER_SIZE_")


def test_tune_with_everything(clients: Clients, emulator: Emulator) -> None:
    """google-genai's fullest call is accepted, echoed, and has nothing lost on the way."""
    from google.genai import types

    job = clients.genai().tunings.tune(
        base_model="gemini-2.5-flash",
        training_dataset=types.TuningDataset(gcs_uri="gs://bkt/train.jsonl"),
        config=types.CreateTuningJobConfig(
            epoch_count=20,
            adapter_size="ADAPTER_SIZE_FOUR",
            learning_rate_multiplier=10.0,
            tuned_model_display_name="demo",
            description="d",
            validation_dataset=types.TuningValidationDataset(gcs_uri="gs://bkt/val.jsonl"),
            labels={"run": "abc"},
            export_last_checkpoint_only=False,
        ),
    )
    assert job.state == types.JobState.JOB_STATE_PENDING
    assert job.supervised_tuning_spec.hyper_parameters.adapter_size == types.AdapterSize.ADAPTER_SIZE_FOUR
    assert job.labels == {"run": "abc"}
    posted = next(request for request in emulator.requests if request.method == "POST")
    assert posted.json["supervisedTuningSpec"]["hyperParameters"]["epochCount"] == 20
    assert posted.headers["authorization"] == "REDACTED"


def test_async_client(clients: Clients) -> None:
    """The async client creates, gets, lists and cancels."""
    import asyncio

    from google.genai import types

    async def go() -> list[str]:
        client = clients.genai().aio
        job = await client.tunings.tune(
            base_model="gemini-2.5-flash", training_dataset=types.TuningDataset(gcs_uri="gs://bkt/none.jsonl")
        )
        await client.tunings.cancel(name=job.name)
        job = await client.tunings.get(name=job.name)
        names = [item.name async for item in await client.tunings.list()]
        await client.aclose()
        assert names == [job.name]
        return names

    assert asyncio.run(go())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", '{"messages": []}\n', "Row: 0. Missing required `contents` field."),
        ("bad.csv", "a,b\n", "should be a GCS object of type JSONL"),
        ("", "", "GCS object not found"),
    ],
)
def test_bad_data_fails_the_job_not_the_call(clients: Clients, name: str, content: str, message: str) -> None:
    """Bad or missing data is accepted at creation and fails the job with INVALID_ARGUMENT and the cause."""
    uri = clients.upload(name, content) if name else "gs://bkt/missing.jsonl"
    job = clients.ended(clients.create(uri)["name"])
    assert job["state"] == "JOB_STATE_FAILED"
    assert job["error"]["code"] == 3
    assert message in job["error"]["message"]


def test_other_methods_are_accepted_and_say_no(clients: Clients) -> None:
    """A preference job is created as on the service and ends FAILED, UNIMPLEMENTED, with the emulator named."""
    spec = {"trainingDatasetUri": "gs://bkt/p.jsonl", "hyperParameters": {"beta": 0.1, "epochCount": 1}}
    body = {"baseModel": "gemini-2.5-flash", "preferenceOptimizationSpec": spec}
    status, _, created = clients.raw("POST", f"/v1beta1/{PARENT}/tuningJobs", body)
    assert status == 200
    job = clients.ended(created["name"])
    assert job["error"]["code"] == 12
    assert "emulator" in job["error"]["message"]


def test_refusals_have_googles_shape(clients: Clients) -> None:
    """google-genai raises ClientError with code and status for a job that can never be."""
    from google.genai import errors, types

    with pytest.raises(errors.ClientError) as caught:
        clients.genai().tunings.tune(
            base_model="gemini-2.5-pro",
            training_dataset=types.TuningDataset(gcs_uri="gs://b/t.jsonl"),
            config=types.CreateTuningJobConfig(adapter_size="ADAPTER_SIZE_SIXTEEN"),
        )
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_list_filters_and_pages(clients: Clients, emulator: Emulator) -> None:
    """Lists are newest first, filtered on the server, and every job is on exactly one page."""
    emulator.fault(Fault(action="job_stays", seconds=60, times=5))
    names = [clients.create(labels={"k": str(number % 2)})["name"] for number in range(5)]
    client = clients.genai()
    assert [job.name for job in client.tunings.list(config={"page_size": 2})] == names[::-1]
    chosen = client.tunings.list(config={"filter": 'labels.k="1" AND state="JOB_STATE_PENDING"'})
    assert [job.name for job in chosen] == [names[3], names[1]]
    assert list(client.tunings.list(config={"filter": "labels.k=2"})) == []
    status, _, answer = clients.raw("GET", f"/v1/{PARENT}/tuningJobs?filter=what%20is%20this")
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_googles_own_pager_test(clients: Clients, emulator: Emulator) -> None:
    """After the last page google-genai's pager says so (python-genai tests/tunings/test_list.py)."""
    emulator.fault(Fault(action="job_stays", seconds=60, times=3))
    for _ in range(3):
        clients.create()
    pager = clients.genai().tunings.list(config={"page_size": 2})
    assert (pager.name, pager.page_size, len(pager)) == ("tuning_jobs", 2, 2)
    assert len(list(pager)) == 3
    with pytest.raises(IndexError, match="No more pages to fetch"):
        pager.next_page()


def test_googles_own_tune_cases(clients: Clients) -> None:
    """The requests of python-genai tests/tunings/test_tune.py give PENDING jobs, evaluation config included."""
    from google.genai import types

    data = "gs://cloud-samples-data/ai-platform/generative_ai/gemini-1_5/text/sft_train_data.jsonl"
    cases: list[dict[str, Any]] = [
        {"training_dataset": types.TuningDataset(gcs_uri=data)},
        {
            "training_dataset": types.TuningDataset(gcs_uri=data),
            "config": types.CreateTuningJobConfig(
                tuned_model_display_name="Model display name",
                epoch_count=1,
                learning_rate_multiplier=1.0,
                adapter_size="ADAPTER_SIZE_ONE",
                validation_dataset=types.TuningValidationDataset(gcs_uri=data),
            ),
        },
        {
            "training_dataset": types.TuningDataset(
                vertex_dataset_resource="projects/613165508263/locations/us-central1/datasets/8254568702121345024"
            )
        },
        {
            "training_dataset": types.TuningDataset(gcs_uri=data),
            "config": types.CreateTuningJobConfig(
                evaluation_config=types.EvaluationConfig(
                    metrics=[types.Metric(name="bleu", prompt_template="test prompt template")],
                    output_config=types.OutputConfig(
                        gcs_destination=types.GcsDestination(output_uri_prefix="gs://sararob_test/")
                    ),
                ),
                http_options=types.HttpOptions(base_url=clients.url, api_version="ui"),
            ),
        },
    ]
    for case in cases:
        job = clients.genai().tunings.tune(base_model="gemini-1.5-pro-002", **case)
        assert job.state == types.JobState.JOB_STATE_PENDING


def test_cancel(clients: Clients, emulator: Emulator) -> None:
    """A waiting job and a running one can be cancelled; a job that ended stays as it is."""
    clients.upload("train.jsonl", dataset())
    emulator.fault(Fault(action="job_stays", state="JOB_STATE_RUNNING", seconds=60))
    running, waiting = clients.create()["name"], clients.create()["name"]
    wait(lambda: clients.job(running)["state"] == "JOB_STATE_RUNNING")
    assert clients.job(waiting)["tuningJobState"] == "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
    client = clients.genai()
    client.tunings.cancel(name=waiting)
    assert clients.job(waiting)["state"] == "JOB_STATE_CANCELLED"
    client.tunings.cancel(name=running)
    job = clients.ended(running)
    assert job["state"] == "JOB_STATE_CANCELLED"
    assert job["error"]["code"] == 1
    client.tunings.cancel(name=running)
    assert clients.job(running) == job


def test_cancel_while_training(clients: Clients) -> None:
    """A job that is cancelled in the middle of its training ends CANCELLED, without a model."""
    clients.upload("train.jsonl", dataset(60))
    name = clients.create(epochs=200)["name"]
    wait(lambda: clients.job(name).get("tuningJobMetadata", {}).get("completedStepCount", "0") != "0")
    clients.raw("POST", f"/v1/{name}:cancel")
    job = clients.ended(name)
    assert job["state"] == "JOB_STATE_CANCELLED"
    assert "tunedModel" not in job


def test_continuous_tuning(clients: Clients, emulator: Emulator) -> None:
    """Tuning goes on from a checkpoint; the same display name makes the next version, another a new model."""
    clients.upload("train.jsonl", dataset(8))
    first = clients.ended(clients.create(tunedModelDisplayName="demo", epochs=4)["name"])
    parent = first["tunedModel"]["model"]
    bodies = {
        "demo": {"tunedModelName": parent, "checkpointId": "2"},
        "other": {"tuned_model_name": parent, "checkpoint_id": "2"},
    }
    made = {}
    for display, pre in bodies.items():
        job = clients.ended(clients.create(preTunedModel=pre, tunedModelDisplayName=display, epochs=1)["name"])
        assert job["state"] == "JOB_STATE_SUCCEEDED", job
        assert (job["preTunedModel"]["checkpointId"], job["preTunedModel"]["baseModel"]) == ("2", "gemini-2.5-flash")
        assert "baseModel" not in job
        began = [next(iter(losses(emulator, name))) for name in (job["name"], first["name"])]
        assert began[0] < began[1]
        made[display] = job["tunedModel"]["model"]
    assert made["demo"] == parent.replace("@1", "@2")
    assert made["other"].endswith("@1")
    assert made["other"] != parent


def test_unknown_parent_is_refused(clients: Clients) -> None:
    """Continuing from a model that is not there is a NOT_FOUND at creation."""
    spec = {"trainingDatasetUri": "gs://b/t.jsonl"}
    body = {"preTunedModel": {"tunedModelName": f"{PARENT}/models/7@1"}, "supervisedTuningSpec": spec}
    assert clients.raw("POST", f"/v1/{PARENT}/tuningJobs", body)[0] == 404


def test_last_checkpoint_only(clients: Clients) -> None:
    """With exportLastCheckpointOnly there is one endpoint and no list of checkpoints."""
    clients.upload("train.jsonl", dataset(4))
    spec = {
        "trainingDatasetUri": "gs://bkt/train.jsonl",
        "hyperParameters": {"epochCount": "3"},
        "exportLastCheckpointOnly": True,
    }
    job = clients.ended(clients.create(supervisedTuningSpec=spec)["name"])
    assert "checkpoints" not in job["tunedModel"]
    assert len(clients.raw("GET", f"/v1/{PARENT}/endpoints")[2]["endpoints"]) == 1


def test_equal_jobs_give_equal_models(clients: Clients, emulator: Emulator) -> None:
    """Two jobs with the same inputs have the same curves."""
    clients.upload("train.jsonl", dataset(6))
    names = [clients.create()["name"] for _ in range(2)]
    curves = []
    for name in names:
        clients.ended(name)
        points = emulator._jobs.points(name.rsplit("/", 1)[1])
        curves.append([{key: value for key, value in point.items() if key != "wallTime"} for point in points])
    assert curves[0] == curves[1]
    assert curves[0]


def test_gemini_3_serves_elsewhere(clients: Clients) -> None:
    """A tuned Gemini 3 trains in its region and answers only from `us` or `eu`."""
    clients.upload("train.jsonl", dataset(4))
    job = clients.ended(clients.create(baseModel="gemini-3.5-flash")["name"])
    endpoint = job["tunedModel"]["endpoint"]
    assert "/locations/us/endpoints/" in endpoint
    assert "/locations/us-central1/" in job["name"]
    content = {"contents": [{"role": "user", "parts": [{"text": "My parcel"}]}]}
    assert clients.raw("POST", f"/v1/{endpoint}:generateContent", content)[0] == 200
    wrong = endpoint.replace("/us/", "/us-central1/")
    assert clients.raw("POST", f"/v1/{wrong}:generateContent", content)[0] == 404


def test_names_resolve_under_any_project(tuned: Tuned) -> None:
    """Names carry the project's number and are found under its id as well."""
    clients = tuned.clients
    assert tuned.job["name"].startswith("projects/123456789012/")
    for project in ("my-project", "123456789012"):
        name = tuned.job["name"].replace("123456789012", project)
        assert json.dumps(clients.job(name)) == json.dumps(clients.job(tuned.job["name"]))
