"""The way from a job to its curves, with the gapic clients that do it on the real service."""

from __future__ import annotations

import pytest

from .conftest import Clients, Tuned, dataset, wait

pytestmark = pytest.mark.filterwarnings("ignore")


def series(clients: Clients, experiment: str) -> dict[str, list[tuple[int, float]]]:
    """All the curves of an experiment, by the documented chain of calls."""
    metadata, boards = clients.gapic("MetadataServiceClient"), clients.gapic("TensorboardServiceClient")
    context = metadata.get_context(name=experiment)
    assert context.schema_title == "system.Experiment"
    board = context.metadata["backing_tensorboard_resource"]
    assert boards.get_tensorboard(name=board).name == board
    store, identity = experiment.split("/contexts/")
    query = f'schema_title="system.ExperimentRun" AND parent_contexts:"{experiment}"'
    runs = list(metadata.list_contexts(request={"parent": store, "filter": query}))
    assert len(runs) == 1
    run = runs[0].name.rsplit("/", 1)[1].removeprefix(f"{identity}-")
    place = f"{board}/experiments/{identity}"
    assert [item.name for item in boards.list_tensorboard_runs(parent=place)] == [f"{place}/runs/{run}"]
    curves = {}
    for item in boards.list_tensorboard_time_series(parent=f"{place}/runs/{run}"):
        data = boards.read_tensorboard_time_series_data(tensorboard_time_series=item.name).time_series_data
        curves[item.display_name] = [(value.step, value.scalar.value) for value in data.values]
    return curves


def test_chain(tuned: Tuned) -> None:
    """Six curves are found from `job.experiment` alone; the training loss falls."""
    curves = series(tuned.clients, tuned.job["experiment"])
    assert sorted(curves) == [
        "/eval_fraction_of_correct_next_step_preds",
        "/eval_num_predictions",
        "/eval_total_loss",
        "/train_fraction_of_correct_next_step_preds",
        "/train_num_predictions",
        "/train_total_loss",
    ]
    loss = curves["/train_total_loss"]
    assert loss[-1][1] < loss[0][1]
    assert str(loss[-1][0]) == tuned.job["tuningJobMetadata"]["completedStepCount"]
    assert all(0 <= value <= 1 for _, value in curves["/train_fraction_of_correct_next_step_preds"])
    steps = [step for step, _ in loss]
    assert steps == sorted(set(steps))


def test_fewer_points_and_batches(tuned: Tuned) -> None:
    """maxDataPoints thins a curve but keeps its ends; batchRead gives several curves at once."""
    boards = tuned.clients.gapic("TensorboardServiceClient")
    metadata = tuned.clients.gapic("MetadataServiceClient")
    experiment = tuned.job["experiment"]
    board = metadata.get_context(name=experiment).metadata["backing_tensorboard_resource"]
    parent = f"{board}/experiments/{experiment.rsplit('/', 1)[1]}/runs/run-1"
    found = list(boards.list_tensorboard_time_series(parent=parent))
    whole = boards.read_tensorboard_time_series_data(tensorboard_time_series=found[0].name).time_series_data.values
    few = boards.read_tensorboard_time_series_data(
        request={"tensorboard_time_series": found[0].name, "max_data_points": 3}
    ).time_series_data.values
    assert [value.step for value in few][::2] == [whole[0].step, whole[-1].step]
    assert len(few) == 3
    both = boards.batch_read_tensorboard_time_series_data(
        request={"tensorboard": board, "time_series": [found[0].name, found[3].name]}
    ).time_series_data
    assert [item.tensorboard_time_series_id for item in both] == [
        found[0].name.rsplit("/", 1)[1],
        found[3].name.rsplit("/", 1)[1],
    ]
    assert all(item.values for item in both)


def test_curves_grow_while_the_job_runs(clients: Clients) -> None:
    """Points and completed steps appear while a job is RUNNING; without validation data there are no eval curves."""
    clients.upload("train.jsonl", dataset(60))
    name = clients.create(epochs=200)["name"]
    job = wait(
        lambda: (
            job
            if (job := clients.job(name)).get("tuningJobMetadata", {}).get("completedStepCount", "0") > "0"
            else None
        )
    )
    assert job["state"] == "JOB_STATE_RUNNING"
    curves = series(clients, job["experiment"])
    assert curves["/train_total_loss"]
    assert not any(title.startswith("/eval") for title in curves)
    clients.raw("POST", f"/v1/{name}:cancel")
    assert clients.ended(name)["state"] == "JOB_STATE_CANCELLED"
    assert series(clients, job["experiment"])["/train_total_loss"]


def test_gapic_reads_a_tuning_job(tuned: Tuned) -> None:
    """The gapic tuning client parses the job and its list too."""
    client = tuned.clients.gapic("GenAiTuningServiceClient")
    job = client.get_tuning_job(name=tuned.job["name"])
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert job.tuned_model.endpoint == tuned.job["tunedModel"]["endpoint"]
    assert job.tuning_data_stats.supervised_tuning_data_stats.tuning_dataset_example_count == 60
    parent = tuned.job["name"].partition("/tuningJobs")[0]
    assert tuned.job["name"] in [item.name for item in client.list_tuning_jobs(parent=parent)]
