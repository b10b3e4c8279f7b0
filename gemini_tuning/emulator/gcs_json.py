"""What Cloud Storage's JSON API looks like: resources, multipart bodies, preconditions, and its older error shape."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from .state import Record
from .wire import ApiError, Request, Response, json_response

__all__ = [
    "bucket_resource",
    "check_conditions",
    "check_request",
    "conditions_of",
    "etag",
    "gcs_error",
    "missing",
    "multipart",
    "not_modified",
    "object_resource",
    "only_fields",
    "plain_json",
]

_INTERNAL = frozenset({"blob"})


def etag(record: Record) -> str:
    """An opaque tag that changes with the generation and the metageneration."""
    text = f"{record['generation']}/{record['metageneration']}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:9]).decode()


def bucket_resource(request: Request, name: str) -> Record:
    """A bucket; every name is one."""
    return {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "selfLink": f"{request.base}/storage/v1/b/{quote(name)}",
        "projectNumber": "123456789012",
        "location": "US-CENTRAL1",
        "locationType": "region",
        "storageClass": "STANDARD",
        "metageneration": "1",
        "timeCreated": "2026-01-01T00:00:00.000Z",
        "updated": "2026-01-01T00:00:00.000Z",
    }


def object_resource(request: Request, record: Record) -> Record:
    """An object as the API shows it."""
    where = f"b/{quote(record['bucket'], safe='')}/o/{quote(record['name'], safe='')}"
    generation = record["generation"]
    return {
        "kind": "storage#object",
        "id": f"{record['bucket']}/{record['name']}/{generation}",
        "selfLink": f"{request.base}/storage/v1/{where}",
        "mediaLink": f"{request.base}/download/storage/v1/{where}?generation={generation}&alt=media",
        **{key: value for key, value in record.items() if key not in _INTERNAL},
    }


def only_fields(request: Request, resource: Record) -> Record:
    """The resource cut to `fields=a,b`; nested selectors are answered in full."""
    wanted = request.one("fields")
    if not wanted or re.search(r"[(*/]", wanted):
        return resource
    return {key: value for key, value in resource.items() if key in wanted.split(",")}


def plain_json(request: Request) -> Record:
    """The body as it is: this API is camelCase only, and `metadata` keys are the user's."""
    if not request.body.strip():
        return {}
    try:
        body = json.loads(request.body)
    except ValueError:
        raise gcs_error(400, "Parse Error", "parseError") from None
    return dict(body) if isinstance(body, dict) else {}


def multipart(request: Request) -> tuple[Record, str, bytes]:
    """The metadata, the content type and the content of a multipart/related body."""
    found = re.search(r'boundary="?([^";]+)"?', request.headers.get("content-type", ""))
    if found is None:
        raise gcs_error(400, "Malformed multipart body: no boundary.", "badContent")
    mark = b"--" + found[1].encode()
    first = request.body.find(mark)
    second = request.body.find(b"\r\n" + mark, first + 1)
    end = request.body.rfind(b"\r\n" + mark + b"--")
    if min(first, second) < 0 or end <= second:
        raise gcs_error(400, "Malformed multipart body.", "badContent")
    head = request.body[first:second].partition(b"\r\n\r\n")[2]
    part = request.body[second + 2 + len(mark) : end]
    headers, _, content = part.partition(b"\r\n\r\n")
    kind = re.search(rb"(?i)content-type:\s*([^\r\n]+)", headers)
    try:
        fields = json.loads(head)
    except ValueError:
        raise gcs_error(400, "Metadata part is not valid JSON.", "parseError") from None
    return dict(fields), kind[1].decode().strip() if kind else "application/octet-stream", content


# --- preconditions ---------------------------------------------------------------------------------------------


def conditions_of(request: Request) -> dict[str, str]:
    """The preconditions in the query of a request."""
    names = (f"if{kind}{how}" for kind in ("Generation", "Metageneration") for how in ("Match", "NotMatch"))
    return {name: value for name in names if (value := request.one(name))}


def check_conditions(conditions: Mapping[str, str], record: Record | None) -> None:
    """412 unless the preconditions hold; generation 0 stands for "does not exist"."""
    generation = record["generation"] if record else "0"
    metageneration = record["metageneration"] if record else "0"
    for name, wanted in conditions.items():
        found = metageneration if "Metageneration" in name else generation
        if (found == wanted) == name.endswith("NotMatch"):
            raise _PreconditionError()


def check_request(request: Request, record: Record, prefix: str = "if") -> None:
    """412 for the conditions of a request on something that exists; the NotMatch ones of a read give 304 instead."""
    for kind, field in (("Generation", "generation"), ("Metageneration", "metageneration")):
        wanted = request.one(f"{prefix}{kind}Match")
        if wanted and wanted != record[field]:
            raise _PreconditionError()
        wanted = request.one(f"{prefix}{kind}NotMatch")
        if wanted and wanted == record[field] and request.method != "GET":
            raise _PreconditionError()


def not_modified(request: Request, record: Record) -> Response | None:
    """The 304 of a read whose NotMatch condition does not hold, or None."""
    for kind, field in (("Generation", "generation"), ("Metageneration", "metageneration")):
        if request.one(f"if{kind}NotMatch") == record[field]:
            return Response(304, b"", {"ETag": f'"{record["etag"]}"'})
    return None


class _GcsError(ApiError):
    """Cloud Storage's older error shape, with a list of errors and a reason."""

    def __init__(self, code: int, message: str, reason: str, **where: str) -> None:
        super().__init__(code, message)
        self._detail = {"message": message, "domain": "global", "reason": reason, **where}

    def response(self) -> Response:
        error = {"code": self.code, "message": self.message, "errors": [self._detail]}
        return json_response({"error": error}, self.code)


class _PreconditionError(_GcsError):
    def __init__(self) -> None:
        message = "At least one of the pre-conditions you specified did not hold."
        super().__init__(412, message, "conditionNotMet", locationType="header", location="If-Match")


def gcs_error(code: int, message: str, reason: str) -> ApiError:
    """An error in this API's shape."""
    return _GcsError(code, message, reason)


def missing(bucket: str, name: str) -> ApiError:
    """The 404 for an object."""
    return _GcsError(404, f"No such object: {bucket}/{name}", "notFound")
