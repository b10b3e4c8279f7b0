"""Tuning jobs as clients see them: create, get, list, cancel.

States go PENDING -> RUNNING -> SUCCEEDED, FAILED or CANCELLED (through CANCELLING), with the finer `tuningJobState`
beside. A job is on disk before its creation is answered; `trainer.py` brings it to its end.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from .catalog import adapter_sizes
from .registry import Registry
from .specs import check_job, hyper_parameters
from .state import Record, State
from .storage import Storage
from .trainer import CANCELLED, TERMINAL, Trainer, last_only
from .wire import (
    ApiError,
    Request,
    Response,
    Route,
    filter_terms,
    json_response,
    matches,
    page,
    page_response,
    project_number,
    resource_name,
    route,
    timestamp,
)

__all__ = ["Jobs"]

_FILTERS = ("state", "tunedModelDisplayName", "baseModel", "createTime", "updateTime", "name", "description")


class Jobs:
    """The tuning jobs of one state directory; `concurrency` of them train at a time, oldest first."""

    def __init__(self, state: State, storage: Storage, registry: Registry, *, concurrency: int = 1) -> None:
        self._state = state
        self._registry = registry
        self._concurrency = concurrency
        self._trainer = Trainer(state, storage, registry, concurrency=concurrency)

    def routes(self) -> list[Route]:
        """The tuningJobs collection."""
        jobs = "{vertex}/tuningJobs"
        return [
            route("POST", jobs, self._create),
            route("GET", jobs, self._list),
            route("GET", jobs + "/{id}", self._get),
            route("POST", jobs + "/{id}:cancel", self._cancel),
        ]

    def start(self) -> None:
        """Begin to train, first of all what was RUNNING when the last process ended."""
        self._trainer.start()

    def stop(self) -> None:
        """Stop training where it is; the jobs stay RUNNING on disk."""
        self._trainer.stop()

    @property
    def busy(self) -> bool:
        """Whether any job is queued or running."""
        return any(job["state"] not in TERMINAL for job in self._state.jobs.values())

    # --- requests ----------------------------------------------------------------------------------------------

    def _create(self, request: Request, found: Mapping[str, str]) -> Response:
        body = check_job(request.json())
        if pre := body.get("preTunedModel"):
            checkpoint = str(pre.get("checkpointId") or "")
            model, checkpoint = self._registry.pre_tuned(str(pre.get("tunedModelName") or ""), checkpoint)
            size = hyper_parameters(body)[2] if "supervisedTuningSpec" in body else None
            if size is not None and size not in adapter_sizes(model["baseModel"]):
                raise ApiError(400, f"Adapter size {size} is not supported for {model['baseModel']}.")
            body["preTunedModel"] = {**pre, "checkpointId": checkpoint, "baseModel": model["baseModel"]}
        now = timestamp()
        job: Record = {
            "id": str(10**18 + secrets.randbelow(8 * 10**18)),
            "project": project_number(found["project"]),
            "location": found["location"],
            "body": body,
            "state": "JOB_STATE_PENDING",
            "createTime": now,
            "updateTime": now,
        }
        for fault in request.faults:
            match fault.action:
                case "list_lag":
                    job["listedFrom"] = time.time() + fault.seconds
                case "job_fails":
                    job["fails"] = {"code": fault.code, "message": fault.message or "Scripted by the emulator."}
                case "job_stays":
                    job["stays"] = {"state": fault.state, "seconds": fault.seconds, "since": time.time()}
                    if fault.state != "JOB_STATE_RUNNING":
                        job["state"] = fault.state
        self._state.jobs.put(job["id"], job)
        answer = self._json(job)
        self._trainer.wake()
        return json_response(answer)

    def _get(self, _request: Request, found: Mapping[str, str]) -> Response:
        return json_response(self._json(self._find(found)))

    def _list(self, request: Request, found: Mapping[str, str]) -> Response:
        terms = filter_terms(request)
        now = time.time()
        jobs = [
            job
            for job in self._state.jobs.values()
            if job["location"] == found["location"] and job.get("listedFrom", 0) <= now
        ]
        chosen = [job for job in jobs if matches(terms, self._filtered(job), _FILTERS)]
        shown, token = page(request, chosen, lambda job: f"{job['createTime']}|{job['id']}")
        return page_response("tuningJobs", [self._json(job) for job in shown], token)

    def _cancel(self, _request: Request, found: Mapping[str, str]) -> Response:
        """Cancelling what has ended changes nothing and is no error: the service calls it best effort."""
        with self._state.lock:
            job = self._find(found)
            if job["state"] not in TERMINAL:
                if job["id"] in self._trainer.claimed or job.get("startTime"):
                    self._state.jobs.update(job["id"], state="JOB_STATE_CANCELLING", updateTime=timestamp())
                else:
                    self._trainer.end(job["id"], "JOB_STATE_CANCELLED", CANCELLED, "The tuning job was cancelled.")
        self._trainer.wake()
        return json_response({})

    def _find(self, found: Mapping[str, str]) -> Record:
        job = self._state.jobs.get(found["id"]) if found["id"].isalnum() else None
        if job is None or job["location"] != found["location"]:
            name = f"projects/{found['project']}/locations/{found['location']}/tuningJobs/{found['id']}"
            raise ApiError(404, f"TuningJob {name} not found.")
        return job

    # --- what a job looks like -----------------------------------------------------------------------------------

    def _filtered(self, job: Record) -> Record:
        name = resource_name(job, "tuningJobs", job["id"])
        return {**job["body"], "state": job["state"], "name": name, "createTime": job["createTime"],
                "updateTime": job["updateTime"]}  # fmt: skip

    def _json(self, job: Record) -> Record:
        answer: Record = {
            "name": resource_name(job, "tuningJobs", job["id"]),
            **job["body"],
            "state": job["state"],
            **{key: job[key] for key in ("createTime", "startTime", "endTime", "updateTime") if job.get(key)},
        }
        detail = job.get("detail")
        full = len(self._trainer.claimed) >= self._concurrency
        if full and not job.get("startTime") and job["state"] == "JOB_STATE_PENDING":
            detail = "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
        if detail:
            answer["tuningJobState"] = detail
        if job.get("error"):
            answer["error"] = job["error"]
        if job.get("hyperParameters"):
            spec = answer["supervisedTuningSpec"]
            answer["supervisedTuningSpec"] = {**spec, "hyperParameters": job["hyperParameters"]}
        if job.get("startTime"):
            answer["experiment"] = resource_name(job, "metadataStores/default/contexts", experiment_id(job))
        if job.get("stats"):
            answer["tuningDataStats"] = {"supervisedTuningDataStats": job["stats"]}
            points = self.points(job["id"])
            steps = max((point["step"] for point in points), default=0)
            epochs = max((point["epoch"] for point in points), default=0)
            answer["tuningJobMetadata"] = {
                "completedEpochCount": str(int(epochs + 1e-9)),
                "completedStepCount": str(steps),
            }
        if job.get("model"):
            answer["tunedModel"] = self._tuned_model(job)
        return answer

    def _tuned_model(self, job: Record) -> Record:
        """The result; `endpoint` follows the model's default checkpoint for as long as the model exists."""
        model = job["model"]
        now = self._state.models.get(f"{model['id']}@{model['version']}") or model
        places = {item["checkpointId"]: item["endpoint"] for item in model["checkpoints"]}
        where = f"projects/{job['project']}/locations/{model['endpointLocation']}/endpoints"
        answer: Record = {
            "model": resource_name(job, "models", f"{model['id']}@{model['version']}"),
            "endpoint": f"{where}/{places[now['defaultCheckpointId']]}",
        }
        if not last_only(job):
            answer["checkpoints"] = [
                {
                    "checkpointId": item["checkpointId"],
                    "epoch": str(item["epoch"]),
                    "step": str(item["step"]),
                    "endpoint": f"{where}/{item['endpoint']}",
                }
                for item in model["checkpoints"]
            ]
        return answer

    def points(self, job: str) -> list[Record]:
        """The points of a job's curves so far, in order."""
        return self._trainer.points(job)


def experiment_id(job: Record) -> str:
    """The name of the job's TensorBoard experiment, made of the time and the job as the service's are."""
    moment = datetime.fromisoformat(job["createTime"]).astimezone(UTC)
    return f"tuning-experiment-{moment:%Y%m%d%H%M%S}{job['id'][:6]}"
