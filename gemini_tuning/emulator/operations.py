"""Long-running operations, all of them done at once, with the response types that the gapic clients expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .state import Record, State
from .wire import (
    ApiError,
    Request,
    Response,
    Route,
    json_response,
    listed,
    numeric_id,
    project_number,
    resource_name,
    route,
    timestamp,
)

__all__ = ["Operations"]


class Operations:
    """The operations of one state directory."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Get, wait, list, cancel and delete, below a location or below a model or endpoint."""
        operations = "{vertex}(?:/(?:models|endpoints)/[^/]+)?/operations"
        return [
            route("GET", operations, self._list),
            route("GET", operations + "/{id}", self._get),
            route("POST", operations + "/{id}:wait", self._get),
            route("POST", operations + "/{id}:cancel", lambda *_: json_response({})),
            route("DELETE", operations + "/{id}", lambda *_: json_response({})),
        ]

    def done(
        self, found: Mapping[str, str], path: str, metadata: str, response: str, value: Mapping[str, Any] | None = None
    ) -> Response:
        """An operation that is done at once; the types of its parts are filled in when it is read."""
        now = timestamp()
        record: Record = {
            "id": numeric_id("operation", path, now),
            "project": project_number(found["project"]),
            "location": found["location"],
            "path": path,
            "metadata": metadata,
            "response": response,
            "value": dict(value or {}),
            "createTime": now,
        }
        self._state.operations.put(record["id"], record)
        return json_response(_operation_json(record, found["version"]))

    def _get(self, _request: Request, found: Mapping[str, str]) -> Response:
        record = self._state.operations.get(found["id"])
        if record is None or record["location"] != found["location"]:
            raise ApiError(404, f"Operation {found['id']} not found.")
        return json_response(_operation_json(record, found["version"]))

    def _list(self, request: Request, found: Mapping[str, str]) -> Response:
        items = [
            _operation_json(record, found["version"])
            for record in self._state.operations.values()
            if record["location"] == found["location"]
        ]
        return listed(request, "operations", items)


def _operation_json(record: Record, version: str) -> Record:
    package = f"google.cloud.aiplatform.{'v1' if version == 'v1' else 'v1beta1'}"
    response = "google.protobuf.Empty" if record["response"] == "Empty" else f"{package}.{record['response']}"
    times = {"createTime": record["createTime"], "updateTime": record["createTime"]}
    return {
        "name": resource_name(record, record["path"] + "/operations", record["id"]),
        "metadata": {
            "@type": f"type.googleapis.com/{package}.{record['metadata']}",
            "genericMetadata": times,
        },
        "done": True,
        "response": {"@type": f"type.googleapis.com/{response}", **record["value"]},
    }
