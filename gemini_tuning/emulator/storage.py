"""Cloud Storage's JSON API, as far as the storage client needs it: upload, download, list, copy, delete.

Every bucket exists as soon as it is named. Objects are not versioned: an older generation is gone (404). A bucket or
object name never becomes a file name; the file name is a hash of both.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .crc32c import crc32c_base64
from .gcs_json import (
    bucket_resource,
    check_conditions,
    check_request,
    conditions_of,
    etag,
    gcs_error,
    missing,
    multipart,
    not_modified,
    object_resource,
    only_fields,
    plain_json,
)
from .state import Record, State
from .wire import ApiError, Request, Response, Route, json_response, timestamp

__all__ = ["Storage"]

_WRITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "metadata",
    "storageClass",
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class Storage:
    """Buckets and objects of one state directory."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._last_generation = 0
        self._lock = threading.RLock()
        self._sweep()

    def routes(self) -> list[Route]:
        """The JSON API, its upload and its download prefix."""
        bucket, name = r"/b/(?P<bucket>[^/]+)", r"/o/(?P<name>.+)"
        to = r"/b/(?P<to_bucket>[^/]+)/o/(?P<to_name>.+)"
        table = [
            ("GET", r"/storage/v1/b", self._list_buckets),
            ("POST", r"/storage/v1/b", self._create_bucket),
            ("GET", rf"/storage/v1{bucket}", self._get_bucket),
            ("DELETE", rf"/storage/v1{bucket}", self._delete_bucket),
            ("GET", rf"/storage/v1{bucket}/o", self._list),
            ("POST", rf"/storage/v1{bucket}/o/(?P<name>.+)/(?:copyTo|rewriteTo){to}", self._copy),
            ("GET", rf"/storage/v1{bucket}{name}", self._get),
            ("PATCH", rf"/storage/v1{bucket}{name}", self._patch),
            ("PUT", rf"/storage/v1{bucket}{name}", self._patch),
            ("DELETE", rf"/storage/v1{bucket}{name}", self._delete),
            ("GET", rf"/download/storage/v1{bucket}{name}", self._download),
            ("POST", rf"/upload/storage/v1{bucket}/o", self._upload),
            ("PUT", rf"/upload/storage/v1{bucket}/o", self._continue_upload),
            ("DELETE", rf"/upload/storage/v1{bucket}/o", self._abandon_upload),
        ]
        return [Route(method, re.compile(pattern), handler) for method, pattern, handler in table]

    def read(self, uri: str) -> bytes | None:
        """The content behind a `gs://bucket/name` URI, or None when there is no such object."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        with self._lock:
            record = self._state.objects.get(_key(bucket, name))
            return None if record is None else self._blob(record).read_bytes()

    # --- buckets -----------------------------------------------------------------------------------------------

    def _list_buckets(self, request: Request, _found: Mapping[str, str]) -> Response:
        names = sorted({record["bucket"] for record in self._state.objects.values()})
        return json_response({"kind": "storage#buckets", "items": [bucket_resource(request, name) for name in names]})

    def _create_bucket(self, request: Request, _found: Mapping[str, str]) -> Response:
        name = plain_json(request).get("name")
        if not isinstance(name, str) or not name:
            raise gcs_error(400, "Required parameter: name", "required")
        return json_response(bucket_resource(request, name))

    def _get_bucket(self, request: Request, found: Mapping[str, str]) -> Response:
        return json_response(only_fields(request, bucket_resource(request, found["bucket"])))

    def _delete_bucket(self, _request: Request, found: Mapping[str, str]) -> Response:
        if any(record["bucket"] == found["bucket"] for record in self._state.objects.values()):
            raise gcs_error(409, "The bucket you tried to delete is not empty.", "conflict")
        return Response(204)

    # --- objects -----------------------------------------------------------------------------------------------

    def _list(self, request: Request, found: Mapping[str, str]) -> Response:
        prefix, delimiter = request.one("prefix"), request.one("delimiter")
        most = min(request.number("maxResults", 1000) or 1000, 1000)
        after = ""
        if token := request.one("pageToken"):
            try:
                after = base64.urlsafe_b64decode(token.encode()).decode()
            except ValueError:
                raise gcs_error(400, "Invalid page token.", "invalid") from None
        start, end = request.one("startOffset"), request.one("endOffset")
        here = {
            record["name"]: record
            for record in self._state.objects.values()
            if record["bucket"] == found["bucket"]
            and record["name"].startswith(prefix)
            and record["name"] >= start
            and (not end or record["name"] < end)
        }
        entries: dict[str, Record | None] = {}  # None marks a common prefix
        for name, entry in here.items():
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            entries[name if cut < 0 else name[: cut + len(delimiter)]] = entry if cut < 0 else None
        names = [name for name in sorted(entries, key=lambda name: name.encode()) if name.encode() > after.encode()]
        chosen = names[:most]
        answer: dict[str, Any] = {"kind": "storage#objects"}
        if items := [object_resource(request, record) for name in chosen if (record := entries[name]) is not None]:
            answer["items"] = items
        if prefixes := [name for name in chosen if entries[name] is None]:
            answer["prefixes"] = prefixes
        if len(names) > most:
            answer["nextPageToken"] = base64.urlsafe_b64encode(chosen[-1].encode()).decode()
        return json_response(answer)

    def _get(self, request: Request, found: Mapping[str, str]) -> Response:
        if request.one("alt") == "media":
            return self._download(request, found)
        record = self._find(request, found["bucket"], found["name"])
        return not_modified(request, record) or json_response(only_fields(request, object_resource(request, record)))

    def _download(self, request: Request, found: Mapping[str, str]) -> Response:
        with self._lock:
            try:
                record = self._find(request, found["bucket"], found["name"])
            except ApiError as error:
                if error.code != 404:
                    raise
                return Response(404, error.message.encode(), {"Content-Type": "text/html; charset=UTF-8"})
            if unchanged := not_modified(request, record):
                return unchanged
            content = self._blob(record).read_bytes()
        headers = {
            "Content-Type": record.get("contentType") or "application/octet-stream",
            "ETag": f'"{record["etag"]}"',
            "Accept-Ranges": "bytes",
            "x-goog-generation": record["generation"],
            "x-goog-metageneration": record["metageneration"],
            "x-goog-hash": f"crc32c={record['crc32c']},md5={record['md5Hash']}",
            "x-goog-stored-content-length": record["size"],
            "x-goog-stored-content-encoding": record.get("contentEncoding") or "identity",
            "x-goog-storage-class": record["storageClass"],
        }
        if encoding := record.get("contentEncoding"):
            headers["Content-Encoding"] = encoding
        asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
        if asked is None or asked.groups() == ("", ""):
            return Response(200, content, headers)
        total = len(content)
        if asked[1]:
            first, last = int(asked[1]), min(int(asked[2] or total), total - 1)
        else:  # the last N bytes
            first, last = max(0, total - int(asked[2])), total - 1
        if first >= total:
            message = b"Requested range not satisfiable"
            return Response(416, message, {"Content-Type": "text/plain", "Content-Range": f"bytes */{total}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{total}"
        return Response(206, content[first : last + 1], headers)

    def _patch(self, request: Request, found: Mapping[str, str]) -> Response:
        body = plain_json(request)
        with self._lock:
            record = self._find(request, found["bucket"], found["name"])
            changed = {**record, **{key: body[key] for key in _WRITABLE if body.get(key) is not None}}
            for key in _WRITABLE:
                if key in body and body[key] is None:
                    changed.pop(key, None)
            if isinstance(body.get("metadata"), dict):  # PATCH merges the map; a null value removes the key
                merged = (
                    {**(record.get("metadata") or {}), **body["metadata"]}
                    if request.method == "PATCH"
                    else body["metadata"]
                )
                changed["metadata"] = {key: value for key, value in merged.items() if value is not None}
            changed["metageneration"] = str(int(record["metageneration"]) + 1)
            changed["etag"] = etag(changed)
            changed["updated"] = timestamp()
            self._state.objects.put(_key(found["bucket"], found["name"]), changed)
        return json_response(object_resource(request, changed))

    def _delete(self, request: Request, found: Mapping[str, str]) -> Response:
        with self._lock:
            record = self._find(request, found["bucket"], found["name"])
            self._state.objects.delete(_key(found["bucket"], found["name"]))
            self._forget(record)
        return Response(204)

    def _copy(self, request: Request, found: Mapping[str, str]) -> Response:
        body = plain_json(request)
        with self._lock:
            source = self._state.objects.get(_key(found["bucket"], found["name"]))
            wanted = request.one("sourceGeneration")
            if source is None or (wanted and wanted != source["generation"]):
                raise missing(found["bucket"], found["name"])
            check_request(request, source, prefix="ifSource")
            content = self._blob(source).read_bytes()
            kept = {key: source[key] for key in _WRITABLE if key in source}
            fields = {**kept, **{key: body[key] for key in _WRITABLE if key in body}}
            record = self._write(request, found["to_bucket"], found["to_name"], content, fields, conditions_of(request))
        resource = object_resource(request, record)
        if "/copyTo/" in request.path:
            return json_response(resource)
        size = record["size"]
        answer = {"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": True}
        return json_response({**answer, "resource": resource})

    # --- uploads -----------------------------------------------------------------------------------------------

    def _upload(self, request: Request, found: Mapping[str, str]) -> Response:
        bucket = found["bucket"]
        match request.one("uploadType"):
            case "multipart":
                fields, kind, content = multipart(request)
                fields.setdefault("contentType", kind)
                name = fields.get("name") or request.one("name")
                record = self._write(request, bucket, name, content, fields, conditions_of(request))
                return json_response(object_resource(request, record))
            case "media":
                fields = {"contentType": request.headers.get("content-type", "application/octet-stream")}
                name = request.one("name")
                record = self._write(request, bucket, name, request.body, fields, conditions_of(request))
                return json_response(object_resource(request, record))
            case "resumable":
                return self._start_upload(request, bucket)
        raise gcs_error(400, f"Unknown uploadType: {request.one('uploadType')!r}", "invalid")

    def _start_upload(self, request: Request, bucket: str) -> Response:
        fields = plain_json(request)
        name = fields.get("name") or request.one("name")
        if not name:
            raise gcs_error(400, "Required parameter: name", "required")
        fields.setdefault("contentType", request.headers.get("x-upload-content-type", "application/octet-stream"))
        conditions = conditions_of(request)
        check_conditions(conditions, self._state.objects.get(_key(bucket, name)))
        upload = uuid.uuid4().hex
        session = {"bucket": bucket, "name": name, "fields": fields, "conditions": conditions, "done": None}
        self._part(upload).write_bytes(b"")
        self._state.uploads.put(upload, session)
        location = f"{request.base}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={upload}"
        headers = {"Location": location, "X-GUploader-UploadID": upload, "Content-Type": "text/plain"}
        return Response(200, b"", headers)

    def _continue_upload(self, request: Request, _found: Mapping[str, str]) -> Response:
        upload = request.one("upload_id")
        with self._lock:
            session = self._state.uploads.get(upload)
            if session is None:
                raise gcs_error(404, f"No such upload: {upload}", "notFound")
            if session["done"]:  # the reply to the last chunk was lost and the client asks again
                return json_response({**session["done"]})
            part = self._part(upload)
            have = part.stat().st_size
            total, offset = self._place(request, have)
            if offset is not None:
                if offset > have:
                    raise gcs_error(400, f"Invalid offset {offset}: {have} bytes are here.", "invalid")
                with part.open("ab") as file:
                    file.write(request.body[have - offset :])
                have = part.stat().st_size
            if total is None or have < total:
                headers = {"Range": f"bytes=0-{have - 1}"} if have else {}
                return Response(308, b"", {**headers, "X-GUploader-UploadID": upload})
            fields = dict(session["fields"])
            for item in request.headers.get("x-goog-hash", "").split(","):
                kind, _, value = item.strip().partition("=")
                if kind in ("crc32c", "md5"):
                    fields[{"crc32c": "crc32c", "md5": "md5Hash"}[kind]] = value
            try:
                record = self._write(
                    request, session["bucket"], session["name"], part.read_bytes(), fields, session["conditions"]
                )
            except ApiError:
                self._state.uploads.delete(upload)
                part.unlink(missing_ok=True)
                raise
            resource = object_resource(request, record)
            self._state.uploads.put(upload, {**session, "done": resource})
            part.unlink(missing_ok=True)
        return json_response(resource)

    def _place(self, request: Request, have: int) -> tuple[int | None, int | None]:
        """The total size if it is known by now, and where the chunk begins (None: only a question)."""
        header = request.headers.get("content-range")
        if header is None:
            return have + len(request.body), have
        found = _CONTENT_RANGE.fullmatch(header.strip())
        if found is None:
            raise gcs_error(400, f"Invalid Content-Range: {header!r}", "invalid")
        total = None if found[3] == "*" else int(found[3])
        return total, None if found[1] is None else int(found[1])

    def _abandon_upload(self, request: Request, _found: Mapping[str, str]) -> Response:
        self._state.uploads.delete(request.one("upload_id"))
        self._part(request.one("upload_id")).unlink(missing_ok=True)
        return Response(499)

    def _part(self, upload: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{32}", upload):
            raise gcs_error(404, f"No such upload: {upload}", "notFound")
        return self._state.folder("parts") / upload

    # --- records -----------------------------------------------------------------------------------------------

    def _find(self, request: Request, bucket: str, name: str) -> Record:
        record = self._state.objects.get(_key(bucket, name))
        wanted = request.one("generation")
        if record is None or (wanted and wanted != record["generation"]):
            raise missing(bucket, name)
        check_request(request, record)
        return record

    def _write(
        self,
        request: Request,
        bucket: str,
        name: str,
        content: bytes,
        fields: Mapping[str, Any],
        conditions: Mapping[str, str],
    ) -> Record:
        """Store an object: bytes first, then the record that makes them visible."""
        if not name:
            raise gcs_error(400, "Required parameter: name", "required")
        sums = {"crc32c": crc32c_base64(content), "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode()}
        for key, label in (("crc32c", "CRC32C"), ("md5Hash", "MD5 hash")):
            if fields.get(key) and fields[key] != sums[key]:
                message = f'Provided {label} "{fields[key]}" doesn\'t match calculated {label} "{sums[key]}".'
                raise gcs_error(400, message, "invalid")
        key, blob = _key(bucket, name), uuid.uuid4().hex
        path = self._state.folder("blobs", blob) / blob
        path.with_name(f".{blob}.tmp").write_bytes(content)
        os.replace(path.with_name(f".{blob}.tmp"), path)
        with self._lock:
            old = self._state.objects.get(key)
            try:
                check_conditions(conditions, old)
            except ApiError:
                path.unlink(missing_ok=True)
                raise
            now = timestamp()
            record: Record = {
                "storageClass": "STANDARD",
                **{field: fields[field] for field in _WRITABLE if fields.get(field) is not None},
                **sums,
                "bucket": bucket,
                "name": name,
                "generation": str(self._next_generation(old)),
                "metageneration": "1",
                "size": str(len(content)),
                "timeCreated": now,
                "updated": now,
                "blob": blob,
            }
            record["etag"] = etag(record)
            self._state.objects.put(key, record)
            if old is not None:
                self._forget(old)
        return record

    def _next_generation(self, old: Record | None) -> int:
        """Generations grow over all objects and over restarts, as microseconds do; a clock set back cannot undo it."""
        from time import time_ns

        least = max(self._last_generation, int(old["generation"]) if old else 0)
        self._last_generation = max(least + 1, time_ns() // 1000)
        return self._last_generation

    def _blob(self, record: Record) -> Path:
        return self._state.folder("blobs", record["blob"]) / str(record["blob"])

    def _forget(self, record: Record) -> None:
        with contextlib.suppress(OSError):  # Windows keeps files that somebody reads; the next start sweeps them
            self._blob(record).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove content whose record a kill prevented."""
        known = {record["blob"] for record in self._state.objects.values()}
        for path in self._state.folder("blobs").glob("*/*"):
            if path.name not in known:
                path.unlink(missing_ok=True)


def _key(bucket: str, name: str) -> str:
    return hashlib.sha256(f"{bucket}\0{name}".encode()).hexdigest()
