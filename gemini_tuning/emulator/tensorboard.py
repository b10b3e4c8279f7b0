"""Training curves as the service keeps them: a metadata context per job, and TensorBoard series behind it.

A client goes from the job's `experiment` to its metadata context, from there to the tensorboard, its runs, their time
series and the values. Nothing is stored here: everything is a view on the jobs and their points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .jobs import Jobs, experiment_id
from .state import Record, State
from .wire import (
    ApiError,
    Request,
    Response,
    Route,
    filter_terms,
    json_response,
    matches,
    numeric_id,
    page,
    page_response,
    resource_name,
    route,
)

__all__ = ["Tensorboard"]

_SERIES = {
    "/train_total_loss": "train_loss",
    "/train_fraction_of_correct_next_step_preds": "train_accuracy",
    "/train_num_predictions": "train_predictions",
    "/eval_total_loss": "eval_loss",
    "/eval_fraction_of_correct_next_step_preds": "eval_accuracy",
    "/eval_num_predictions": "eval_predictions",
}
_RUN = "run-1"
_MOST_POINTS = 1000
_CONTEXT_FILTERS = ("schemaTitle", "parentContexts", "displayName", "name")


class Tensorboard:
    """The metadata store and the TensorBoard of every location that has a started job."""

    def __init__(self, state: State, jobs: Jobs) -> None:
        self._state = state
        self._jobs = jobs

    def routes(self) -> list[Route]:
        """Contexts, tensorboards, experiments, runs, time series and their data."""
        contexts = "{vertex}/metadataStores/{store}/contexts"
        board = "{vertex}/tensorboards"
        runs = board + "/{board}/experiments/{experiment}/runs"
        series = runs + "/{run}/timeSeries"
        return [
            route("GET", contexts, self._list_contexts),
            route("GET", contexts + "/{id}", self._get_context),
            route("GET", board, self._list_boards),
            route("GET", board + "/{board}", self._get_board),
            route("GET", board + "/{board}:batchRead", self._batch_read),
            route("GET", board + "/{board}/experiments", self._list_experiments),
            route("GET", board + "/{board}/experiments/{experiment}", self._get_experiment),
            route("GET", runs, self._list_runs),
            route("GET", runs + "/{run}", self._get_run),
            route("GET", series, self._list_series),
            route("GET", series + "/{series}", self._get_series),
            route("GET", series + "/{series}:read", self._read),
        ]

    # --- contexts ----------------------------------------------------------------------------------------------

    def _contexts(self, found: Mapping[str, str]) -> dict[str, Record]:
        contexts = {}
        for job in self._started(found["location"]):
            name = experiment_id(job)
            full = resource_name(job, "metadataStores/default/contexts", name)
            times = {"createTime": job["startTime"], "updateTime": job["updateTime"]}
            contexts[name] = {
                "name": full,
                "displayName": name,
                "schemaTitle": "system.Experiment",
                "schemaVersion": "0.0.1",
                "metadata": {
                    "experiment_deleted": False,
                    "backing_tensorboard_resource": _board(job)["name"],
                },
                **times,
            }
            contexts[f"{name}-{_RUN}"] = {
                "name": f"{full}-{_RUN}",
                "displayName": _RUN,
                "schemaTitle": "system.ExperimentRun",
                "schemaVersion": "0.0.1",
                "parentContexts": [full],
                "metadata": {},
                **times,
            }
        return contexts

    def _get_context(self, _request: Request, found: Mapping[str, str]) -> Response:
        context = self._contexts(found).get(found["id"])
        if context is None:
            raise ApiError(404, f"Context {found['id']} not found in metadata store {found['store']}.")
        return json_response(context)

    def _list_contexts(self, request: Request, found: Mapping[str, str]) -> Response:
        terms = [
            # A client may name the parent by its project id; the contexts carry the project's number.
            (name, operator, _any_project(value, found["project"]) if "parent" in name else value)
            for name, operator, value in filter_terms(request)
        ]
        items = [
            item
            for item in self._contexts(found).values()
            if matches(terms, {**item, **_any_project_item(item)}, _CONTEXT_FILTERS)
        ]
        return _page(request, "contexts", items)

    # --- tensorboards --------------------------------------------------------------------------------------------

    def _list_boards(self, request: Request, found: Mapping[str, str]) -> Response:
        boards = {board["name"]: board for job in self._started(found["location"]) for board in [_board(job)]}
        return _page(request, "tensorboards", list(boards.values()))

    def _get_board(self, _request: Request, found: Mapping[str, str]) -> Response:
        for job in self._started(found["location"]):
            if _board_id(job) == found["board"]:
                return json_response(_board(job))
        raise ApiError(404, f"Tensorboard {found['board']} not found.")

    def _list_experiments(self, request: Request, found: Mapping[str, str]) -> Response:
        jobs = [job for job in self._started(found["location"]) if _board_id(job) == found["board"]]
        return _page(request, "tensorboardExperiments", [_experiment(job) for job in jobs])

    def _get_experiment(self, _request: Request, found: Mapping[str, str]) -> Response:
        return json_response(_experiment(self._job(found)))

    def _list_runs(self, request: Request, found: Mapping[str, str]) -> Response:
        return _page(request, "tensorboardRuns", [_run(self._job(found))])

    def _get_run(self, _request: Request, found: Mapping[str, str]) -> Response:
        return json_response(_run(self._job(found)))

    def _list_series(self, request: Request, found: Mapping[str, str]) -> Response:
        job = self._job(found)
        terms = filter_terms(request)
        items = [
            item
            for number in range(len(_SERIES))
            if (item := self._series(job, number)) is not None and matches(terms, item, ("displayName", "valueType"))
        ]
        return _page(request, "tensorboardTimeSeries", items)

    def _get_series(self, _request: Request, found: Mapping[str, str]) -> Response:
        item = self._series(self._job(found), _number(found["series"]))
        if item is None:
            raise ApiError(404, f"TensorboardTimeSeries {found['series']} not found.")
        return json_response(item)

    def _series(self, job: Record, number: int) -> Record | None:
        """A series appears with its first value: a job without validation data has no `/eval_*`."""
        title, key = list(_SERIES.items())[number]
        points = self._points(job, key)
        if not points:
            return None
        return {
            "name": f"{_run(job)['name']}/timeSeries/{number + 1}",
            "displayName": title,
            "valueType": "SCALAR",
            "pluginName": "scalars",
            "createTime": points[0]["wallTime"],
            "updateTime": points[-1]["wallTime"],
            "metadata": {"maxStep": str(points[-1]["step"]), "maxWallTime": points[-1]["wallTime"]},
        }

    def _read(self, request: Request, found: Mapping[str, str]) -> Response:
        data = self._data(self._job(found), found["series"], request.number("maxDataPoints", _MOST_POINTS))
        return json_response({"timeSeriesData": data})

    def _batch_read(self, request: Request, found: Mapping[str, str]) -> Response:
        answer = []
        for name in request.many("timeSeries"):
            parts = name.split("/")
            if len(parts) != 12:
                raise ApiError(400, f"Invalid TensorboardTimeSeries name: {name!r}.")
            here = {"location": parts[3], "board": parts[5], "experiment": parts[7], "run": parts[9]}
            if here["board"] != found["board"]:
                raise ApiError(400, f"{name!r} is not in Tensorboard {found['board']}.")
            answer.append(self._data(self._job(here), parts[11], _MOST_POINTS))
        return json_response({"timeSeriesData": answer} if answer else {})

    def _data(self, job: Record, series: str, most: int) -> Record:
        number = _number(series)
        points = self._points(job, list(_SERIES.values())[number])
        values = [
            {"step": str(point["step"]), "wallTime": point["wallTime"], "scalar": {"value": point["value"]}}
            for point in _thinned(points, most or _MOST_POINTS)
        ]
        return {
            "tensorboardTimeSeriesId": series,
            "valueType": "SCALAR",
            **({"values": values} if values else {}),
        }

    def _points(self, job: Record, key: str) -> list[Record]:
        return [
            {"step": point["step"], "wallTime": point["wallTime"], "value": point[key]}
            for point in self._jobs.points(job["id"])
            if point.get(key) is not None
        ]

    # --- jobs --------------------------------------------------------------------------------------------------

    def _started(self, location: str) -> list[Record]:
        return [job for job in self._state.jobs.values() if job["location"] == location and job.get("startTime")]

    def _job(self, found: Mapping[str, str]) -> Record:
        for job in self._started(found["location"]):
            if (_board_id(job), experiment_id(job)) == (found["board"], found["experiment"]):
                if found.get("run", _RUN) == _RUN:
                    return job
                break
        where = f"tensorboards/{found['board']}/experiments/{found['experiment']}"
        raise ApiError(404, f"{where}{'/runs/' + found['run'] if 'run' in found else ''} not found.")


def _board_id(job: Record) -> str:
    return numeric_id("tensorboard", job["location"])


def _board(job: Record) -> Record:
    return {"name": resource_name(job, "tensorboards", _board_id(job)), "displayName": "Emulated tuning jobs"}


def _experiment(job: Record) -> Record:
    name = experiment_id(job)
    return {"name": f"{_board(job)['name']}/experiments/{name}", "displayName": name, "createTime": job["startTime"]}


def _run(job: Record) -> Record:
    return {"name": f"{_experiment(job)['name']}/runs/{_RUN}", "displayName": _RUN, "createTime": job["startTime"]}


def _number(series: str) -> int:
    if not series.isdigit() or not 1 <= int(series) <= len(_SERIES):
        raise ApiError(404, f"TensorboardTimeSeries {series} not found.")
    return int(series) - 1


def _thinned(points: Sequence[Record], most: int) -> list[Record]:
    """At most so many points, spread evenly, the first and the last always among them."""
    if len(points) <= most:
        return list(points)
    if most == 1:
        return [points[-1]]
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def _page(request: Request, key: str, items: Sequence[Record]) -> Response:
    # Reversed: pages come in descending order, and these lists read better in the order of their names.
    order = {id(item): f"{len(items) - index:09d}" for index, item in enumerate(items)}
    return page_response(key, *page(request, items, lambda item: order[id(item)]))


def _any_project(name: str, project: str) -> str:
    parts = name.split("/")
    return "/".join([parts[0], "-", *parts[2:]]) if len(parts) > 2 and parts[0] == "projects" and project else name


def _any_project_item(item: Mapping[str, Any]) -> Record:
    parents = item.get("parentContexts")
    return {"parentContexts": [_any_project(name, "-") for name in parents]} if parents else {}
