"""Models, endpoints and long-running operations.

A tuned model is a version `models/ID@V`; every checkpoint is deployed to an endpoint of its own. Names resolve under
any project segment; the location must be the resource's, since on the real service it decides the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .catalog import PUBLISHED, is_gemini, serving_location
from .operations import Operations
from .state import Record, State
from .wire import (
    ApiError,
    Request,
    Response,
    Route,
    filter_terms,
    json_response,
    listed,
    matches,
    numeric_id,
    project_number,
    resource_name,
    route,
    timestamp,
)

__all__ = ["Registry", "Served"]

_MODEL_FILTERS = ("displayName", "name", "versionId")
_ENDPOINT_FILTERS = ("displayName", "name", "endpoint")


class Served:
    """What answers a request: a base model, with the weights that were tuned onto it or None."""

    def __init__(self, base_model: str, weights: Path | None) -> None:
        self.base_model = base_model
        self.weights = weights


class Registry:
    """The tuned models of one state directory and where they are deployed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._operations = Operations(state)

    def routes(self) -> list[Route]:
        """Models, publisher models, endpoints, operations."""
        models, endpoints = "{vertex}/models", "{vertex}/endpoints"
        publisher = "/(?P<version>v1|v1beta1|ui)/(?:projects/[^/]+/locations/[^/]+/)?publishers/google/models"
        return [
            route("GET", models, self._list_models),
            route("GET", models + "/{id}", self._get_model),
            route("GET", models + "/{id}:listVersions", self._list_versions),
            route("PATCH", models + "/{id}", self._patch_model),
            route("DELETE", models + "/{id}", self._delete_model),
            route("DELETE", models + "/{id}:deleteVersion", self._delete_model),
            route("GET", endpoints, self._list_endpoints),
            route("POST", endpoints, self._create_endpoint),
            route("GET", endpoints + "/{id}", self._get_endpoint),
            route("PATCH", endpoints + "/{id}", self._patch_endpoint),
            route("DELETE", endpoints + "/{id}", self._delete_endpoint),
            route("POST", endpoints + "/{id}:undeployModel", self._undeploy),
            route("POST", endpoints + "/{id}:deployModel", self._deploy),
            *self._operations.routes(),
            route("GET", publisher, self._list_published),
            route("GET", publisher + "/{id}", self._get_published),
        ]

    # --- what the rest of the emulator asks ----------------------------------------------------------------------

    def weights_path(self, job: str, checkpoint: str) -> Path:
        """Where the weights of a job's checkpoint lie."""
        return self._state.folder("weights") / f"{job}-{checkpoint}.npz"

    def served_by_endpoint(self, endpoint: str, location: str) -> Served:
        """What an endpoint answers with; 404 when there is none here, 400 when nothing is deployed to it."""
        record = self._endpoint(endpoint, location)
        if not record["deployedModels"]:
            name = resource_name(record, "endpoints", record["id"])
            raise ApiError(400, f"Endpoint {name} does not have a deployed model.", "FAILED_PRECONDITION")
        deployed = record["deployedModels"][0]
        model = self._state.models.get(f"{deployed['model']}@{deployed['modelVersionId']}")
        if model is None:
            raise ApiError(404, f"The Model behind endpoint {endpoint} does not exist.")
        return Served(model["baseModel"], self.weights_path(model["job"], deployed["checkpointId"]))

    def served_by_model(self, model: str, location: str) -> Served:
        """What a model answers with: its default checkpoint, through the endpoint that this one is deployed to."""
        record = self._model(model, location)
        chosen = next(c for c in record["checkpoints"] if c["checkpointId"] == record["defaultCheckpointId"])
        endpoint = self._state.endpoints.get(chosen["endpoint"])
        if endpoint is None:
            name = resource_name(record, "models", record["id"])
            raise ApiError(400, f"Model {name} is not deployed to any endpoint.", "FAILED_PRECONDITION")
        return self.served_by_endpoint(chosen["endpoint"], endpoint["location"])

    def pre_tuned(self, name: str, checkpoint: str) -> tuple[Record, str]:
        """The model version and checkpoint to tune on; 404 or 400 when there is none."""
        parts = name.split("/")
        if len(parts) != 6 or parts[4] != "models":
            raise ApiError(400, f"Invalid tunedModelName {name!r}; expected projects/P/locations/L/models/M[@V].")
        record = self._model(parts[5], parts[3])
        known = [item["checkpointId"] for item in record["checkpoints"]]
        if checkpoint and checkpoint not in known:
            raise ApiError(400, f"Checkpoint {checkpoint!r} does not exist in {name}; it has {known}.")
        return record, checkpoint or record["defaultCheckpointId"]

    def publish(self, job: Record, checkpoints: list[Record], base_model: str, parent: Record | None) -> Record:
        """Register what a job made: a model version, and an endpoint for every checkpoint; safe to repeat.

        A job on a tuned model with that model's display name makes its next version, which becomes the default
        one; any other job makes a new model.
        """
        now = timestamp()
        body = job["body"]
        display = body.get("tunedModelDisplayName") or f"tuned-{base_model}-{job['id'][:6]}"
        labels = {
            **(body.get("labels") or {}),
            "google-vertex-llm-tuning-base-model-id": base_model,
            "google-vertex-llm-tuning-job-id": job["id"],
            "tune-type": "sft",
        }
        with self._state.lock:
            done = next((m for m in self._state.models.values() if m["job"] == job["id"]), None)
            if done:
                model_id, version = done["id"], done["version"]
            elif parent is not None and body.get("tunedModelDisplayName") == parent["displayName"]:
                model_id = parent["id"]
                version = str(1 + max(int(m["version"]) for m in self._versions(model_id)))
            else:
                model_id, version = numeric_id(job["id"], "model"), "1"
            where = {"project": job["project"], "location": job["location"]}
            made = []
            for item in checkpoints:
                endpoint = numeric_id(job["id"], "endpoint", item["checkpointId"])
                made.append({**item, "endpoint": endpoint})
                deployed = {
                    "id": numeric_id(job["id"], "deployed", item["checkpointId"]),
                    "model": model_id,
                    "modelVersionId": version,
                    "displayName": display,
                    "checkpointId": item["checkpointId"],
                    "createTime": now,
                }
                record = {
                    "id": endpoint,
                    **where,
                    "location": serving_location(base_model, job["location"]),
                    "displayName": display,
                    "labels": labels,
                    "deployedModels": [deployed],
                    "createTime": now,
                    "updateTime": now,
                }
                self._state.endpoints.put(endpoint, record)
            record = {
                "id": model_id,
                "version": version,
                **where,
                "displayName": display,
                "description": body.get("description") or "",
                "labels": labels,
                "baseModel": base_model,
                "job": job["id"],
                "checkpoints": made,
                "defaultCheckpointId": made[-1]["checkpointId"],
                "createTime": now,
                "updateTime": now,
            }
            return self._state.models.put(f"{model_id}@{version}", record)

    # --- models ------------------------------------------------------------------------------------------------

    def _versions(self, model: str) -> list[Record]:
        found = [record for record in self._state.models.values() if record["id"] == model]
        return sorted(found, key=lambda record: int(record["version"]))

    def _model(self, name: str, location: str) -> Record:
        model, _, version = name.partition("@")
        found = [record for record in self._versions(model) if record["location"] == location]
        if version and version != "default":
            found = [record for record in found if record["version"] == version]
        if not found:
            raise ApiError(404, f"The Model `locations/{location}/models/{name}` does not exist.")
        return found[-1]

    def _model_json(self, record: Record) -> Record:
        versions = self._versions(record["id"])
        return {
            "name": resource_name(record, "models", record["id"]),
            "versionId": record["version"],
            "versionAliases": ["default"] if versions and versions[-1]["version"] == record["version"] else [],
            "displayName": record["displayName"],
            **({"description": record["description"]} if record["description"] else {}),
            "labels": record["labels"],
            "deployedModels": [
                {"endpoint": resource_name(endpoint, "endpoints", endpoint["id"]), "deployedModelId": deployed["id"]}
                for endpoint, deployed in self._deployments(record)
            ],
            "checkpoints": [
                {"checkpointId": c["checkpointId"], "epoch": str(c["epoch"]), "step": str(c["step"])}
                for c in record["checkpoints"]
            ],
            "defaultCheckpointId": record["defaultCheckpointId"],
            "modelSourceInfo": {"sourceType": "GENIE"},
            "createTime": versions[0]["createTime"] if versions else record["createTime"],
            "updateTime": record["updateTime"],
            "versionCreateTime": record["createTime"],
            "versionUpdateTime": record["updateTime"],
        }

    def _deployments(self, record: Record) -> list[tuple[Record, Record]]:
        return [
            (endpoint, deployed)
            for endpoint in sorted(self._state.endpoints.values(), key=lambda item: str(item["id"]))
            for deployed in endpoint["deployedModels"]
            if deployed["model"] == record["id"] and deployed["modelVersionId"] == record["version"]
        ]

    def _list_models(self, request: Request, found: Mapping[str, str]) -> Response:
        terms = filter_terms(request)
        latest = {record["id"]: self._versions(record["id"])[-1] for record in self._state.models.values()}
        items = [
            item
            for record in latest.values()
            if record["location"] == found["location"]
            and matches(terms, item := self._model_json(record), _MODEL_FILTERS)
        ]
        return listed(request, "models", items)

    def _list_versions(self, request: Request, found: Mapping[str, str]) -> Response:
        self._model(found["id"], found["location"])
        items = [self._model_json(record) for record in self._versions(found["id"].partition("@")[0])]
        return listed(request, "models", items)

    def _get_model(self, _request: Request, found: Mapping[str, str]) -> Response:
        return json_response(self._model_json(self._model(found["id"], found["location"])))

    def _patch_model(self, request: Request, found: Mapping[str, str]) -> Response:
        body = request.json()
        with self._state.lock:
            record = self._model(found["id"], found["location"])
            changes = _changes(request, body, ("displayName", "description", "labels", "defaultCheckpointId"))
            known = [item["checkpointId"] for item in record["checkpoints"]]
            if changes.get("defaultCheckpointId", known[0]) not in known:
                wanted = changes["defaultCheckpointId"]
                raise ApiError(400, f"Checkpoint {wanted!r} does not exist in this model; it has {known}.")
            key = f"{record['id']}@{record['version']}"
            record = self._state.models.update(key, **changes, updateTime=timestamp())
        return json_response(self._model_json(record))

    def _delete_model(self, _request: Request, found: Mapping[str, str]) -> Response:
        with self._state.lock:
            record = self._model(found["id"], found["location"])
            doomed = [record] if "@" in found["id"] else self._versions(record["id"])
            for version in doomed:
                if places := self._deployments(version):
                    names = ", ".join(resource_name(endpoint, "endpoints", endpoint["id"]) for endpoint, _ in places)
                    name = f"{resource_name(record, 'models', record['id'])}@{version['version']}"
                    message = f"The Model {name} is deployed to the endpoints {names}. Undeploy it before deleting it."
                    raise ApiError(400, message, "FAILED_PRECONDITION")
            for version in doomed:
                self._state.models.delete(f"{version['id']}@{version['version']}")
                for checkpoint in version["checkpoints"]:
                    self.weights_path(version["job"], checkpoint["checkpointId"]).unlink(missing_ok=True)
        return self._operations.done(found, f"models/{record['id']}", "DeleteOperationMetadata", "Empty")

    def _list_published(self, request: Request, _found: Mapping[str, str]) -> Response:
        items = [_published(name) for name in PUBLISHED]
        return listed(request, "publisherModels", items)

    def _get_published(self, _request: Request, found: Mapping[str, str]) -> Response:
        name = found["id"].partition("@")[0]
        if not is_gemini(name) and name not in PUBLISHED:
            raise ApiError(404, f"Publisher Model `publishers/google/models/{name}` was not found.")
        return json_response(_published(name))

    # --- endpoints ---------------------------------------------------------------------------------------------

    def _endpoint(self, endpoint: str, location: str) -> Record:
        record = self._state.endpoints.get(endpoint) if endpoint.isalnum() else None
        if record is None or record["location"] != location:
            elsewhere = f" (it is in {record['location']!r})" if record else ""
            raise ApiError(404, f"Endpoint `locations/{location}/endpoints/{endpoint}` not found{elsewhere}.")
        return record

    def _endpoint_json(self, record: Record) -> Record:
        deployed = [{**item, "model": self._model_name(record, item["model"])} for item in record["deployedModels"]]
        return {
            "name": resource_name(record, "endpoints", record["id"]),
            "displayName": record["displayName"],
            "labels": record["labels"],
            **({"deployedModels": deployed} if deployed else {}),
            **({"trafficSplit": {deployed[0]["id"]: 100}} if deployed else {}),
            "createTime": record["createTime"],
            "updateTime": record["updateTime"],
        }

    def _model_name(self, endpoint: Record, model: str) -> str:
        versions = self._versions(model)
        return resource_name(versions[-1] if versions else endpoint, "models", model)

    def _list_endpoints(self, request: Request, found: Mapping[str, str]) -> Response:
        terms = filter_terms(request)
        items = [
            item
            for record in self._state.endpoints.values()
            if record["location"] == found["location"]
            and matches(terms, item := self._endpoint_json(record), _ENDPOINT_FILTERS)
        ]
        return listed(request, "endpoints", items)

    def _get_endpoint(self, _request: Request, found: Mapping[str, str]) -> Response:
        return json_response(self._endpoint_json(self._endpoint(found["id"], found["location"])))

    def _create_endpoint(self, request: Request, found: Mapping[str, str]) -> Response:
        body, now = request.json(), timestamp()
        record: Record = {
            "id": numeric_id("endpoint", now, str(len(self._state.endpoints.values()))),
            "project": project_number(found["project"]),
            "location": found["location"],
            "displayName": body.get("displayName") or "",
            "labels": body.get("labels") or {},
            "deployedModels": [],
            "createTime": now,
            "updateTime": now,
        }
        self._state.endpoints.put(record["id"], record)
        path, made = f"endpoints/{record['id']}", self._endpoint_json(record)
        return self._operations.done(found, path, "CreateEndpointOperationMetadata", "Endpoint", made)

    def _patch_endpoint(self, request: Request, found: Mapping[str, str]) -> Response:
        body = request.json()
        with self._state.lock:
            record = self._endpoint(found["id"], found["location"])
            changes = _changes(request, body, ("displayName", "labels"))
            record = self._state.endpoints.update(record["id"], **changes, updateTime=timestamp())
        return json_response(self._endpoint_json(record))

    def _delete_endpoint(self, _request: Request, found: Mapping[str, str]) -> Response:
        with self._state.lock:
            record = self._endpoint(found["id"], found["location"])
            if record["deployedModels"]:
                name = resource_name(record, "endpoints", record["id"])
                message = f"Endpoint {name} has deployed or being-deployed DeployedModels; undeploy them first."
                raise ApiError(400, message, "FAILED_PRECONDITION")
            self._state.endpoints.delete(record["id"])
        return self._operations.done(found, f"endpoints/{record['id']}", "DeleteOperationMetadata", "Empty")

    def _undeploy(self, request: Request, found: Mapping[str, str]) -> Response:
        wanted = str(request.json().get("deployedModelId") or "")
        with self._state.lock:
            record = self._endpoint(found["id"], found["location"])
            kept = [item for item in record["deployedModels"] if item["id"] != wanted]
            if len(kept) == len(record["deployedModels"]):
                known = [item["id"] for item in record["deployedModels"]]
                raise ApiError(400, f"DeployedModel {wanted!r} is not deployed to this endpoint; it has {known}.")
            self._state.endpoints.update(record["id"], deployedModels=kept, updateTime=timestamp())
        path = f"endpoints/{record['id']}"
        return self._operations.done(found, path, "UndeployModelOperationMetadata", "UndeployModelResponse")

    def _deploy(self, request: Request, found: Mapping[str, str]) -> Response:
        asked = request.json().get("deployedModel") or {}
        parts = str(asked.get("model") or "").split("/")
        if len(parts) != 6:
            raise ApiError(400, "deployedModel.model is required: projects/P/locations/L/models/M[@V].")
        with self._state.lock:
            record = self._endpoint(found["id"], found["location"])
            model = self._model(parts[5], parts[3])
            now = timestamp()
            deployed = {
                "id": str(asked.get("id") or numeric_id("deployed", record["id"], now)),
                "model": model["id"],
                "modelVersionId": model["version"],
                "displayName": asked.get("displayName") or model["displayName"],
                "checkpointId": str(asked.get("checkpointId") or model["defaultCheckpointId"]),
                "createTime": now,
            }
            changed = [*record["deployedModels"], deployed]
            self._state.endpoints.update(record["id"], deployedModels=changed, updateTime=now)
        answer = {"deployedModel": {**deployed, "model": resource_name(model, "models", model["id"])}}
        path = f"endpoints/{record['id']}"
        return self._operations.done(found, path, "DeployModelOperationMetadata", "DeployModelResponse", answer)


def _published(name: str) -> Record:
    return {"name": f"publishers/google/models/{name}", "versionId": "default", "launchStage": "GA"}


def _changes(request: Request, body: Mapping[str, Any], allowed: tuple[str, ...]) -> Record:
    """The fields of a PATCH: those of `updateMask`, or, as google-genai sends none, those that are there."""
    mask = [part.strip() for part in request.one("updateMask").split(",") if part.strip()]
    named = {"".join(p if not i else p.title() for i, p in enumerate(m.split("_"))) if "_" in m else m for m in mask}
    chosen = [key for key in allowed if (key in named if mask else key in body)]
    changes = {key: body.get(key, {} if key == "labels" else "") for key in chosen}
    if "defaultCheckpointId" in changes:
        changes["defaultCheckpointId"] = str(changes["defaultCheckpointId"])
    return changes
