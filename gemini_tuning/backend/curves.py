"""Training curves of a job: Vertex TensorBoard behind the job's experiment, read through google-cloud-aiplatform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .address import is_loopback

if TYPE_CHECKING:
    from .vertex import Vertex

_SERIES = {
    "/train_total_loss": "train_loss",
    "/train_fraction_of_correct_next_step_preds": "train_accuracy",
    "/eval_total_loss": "eval_loss",
    "/eval_fraction_of_correct_next_step_preds": "eval_accuracy",
}
"""Google's names of the series (supervised tuning) and ours."""

_MAX_POINTS = 10_000


def read(backend: Vertex, url: str | None, experiment: str) -> list[dict[str, Any]]:
    """Rows by step, empty while the experiment has no run yet. Blocks; to be called in a thread.

    The chain: experiment context -> its TensorBoard -> its runs -> their series -> their points. Several runs of
    one job (a restart) are merged, the later point of a step wins.
    """
    try:
        from google.api_core.client_options import ClientOptions
        from google.api_core.exceptions import NotFound
        from google.cloud import aiplatform_v1  # seconds and 60 MB: only those who look at curves pay
    except ImportError as error:
        what = "reading training curves"
        raise ConfigError.missing_extra(what, "google-cloud-aiplatform", "vertex") from error
    location = experiment.split("/")[3]
    options, credentials = ClientOptions(api_endpoint=f"{location}-aiplatform.googleapis.com"), backend.credentials
    if is_loopback(url):
        from google.auth.credentials import AnonymousCredentials

        # A scheme in the endpoint is kept; without it the client would speak TLS.
        options, credentials = ClientOptions(api_endpoint=url), AnonymousCredentials()
    common: dict[str, Any] = {"transport": "rest", "credentials": credentials, "client_options": options}
    metadata = aiplatform_v1.MetadataServiceClient(**common)
    boards = aiplatform_v1.TensorboardServiceClient(**common)
    with metadata, boards:
        try:
            context = metadata.get_context(name=experiment, timeout=60)
        except NotFound:
            return []
        board = dict(context.metadata or {}).get("backing_tensorboard_resource")
        if not board:
            return []
        store = experiment.rsplit("/contexts/", 1)[0]
        query = f'schema_title="system.ExperimentRun" AND parent_contexts:"{experiment}"'
        runs = metadata.list_contexts(request={"parent": store, "filter": query}, timeout=60)
        name = experiment.rsplit("/", 1)[-1]
        rows: dict[int, dict[str, Any]] = {}
        for run in runs:
            run_id = run.name.rsplit("/", 1)[-1].removeprefix(f"{name}-")
            parent = f"{board}/experiments/{name}/runs/{run_id}"
            for series in boards.list_tensorboard_time_series(parent=parent, timeout=60):
                ours = _SERIES.get(series.display_name)
                if ours is None:
                    continue
                data = boards.read_tensorboard_time_series_data(
                    request={"tensorboard_time_series": series.name, "max_data_points": _MAX_POINTS}, timeout=60
                )
                for point in data.time_series_data.values:
                    rows.setdefault(int(point.step), {"step": int(point.step)})[ours] = float(point.scalar.value)
    return [rows[step] for step in sorted(rows)]
