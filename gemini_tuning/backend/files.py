"""Training files in Cloud Storage, under names made from their content."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, ConfigError
from .address import is_loopback
from .retry import call, no_credentials

if TYPE_CHECKING:
    from .vertex import Vertex

_STAGING = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?")


def parse_staging(staging: str) -> tuple[str, str]:
    """Bucket and folder (with a slash at its end, or empty) of `gs://bucket/folder`."""
    match = _STAGING.fullmatch(staging)
    if match is None:
        msg = f"staging={staging!r} is not a Cloud Storage address."
        raise ConfigError(msg, hint="write it as 'gs://bucket' or 'gs://bucket/folder'", code="config-staging")
    folder = (match.group(2) or "").strip("/")
    return match.group(1), f"{folder}/" if folder else ""


def storage_client(backend: Vertex, url: str | None) -> Any:
    """A storage client for the backend; at a loopback address without credentials."""
    from google.cloud import storage  # half a second

    if is_loopback(url):
        from google.auth.credentials import AnonymousCredentials

        return storage.Client(
            project=backend.project, credentials=AnonymousCredentials(), client_options={"api_endpoint": url}
        )
    from google.auth.exceptions import DefaultCredentialsError

    try:
        return storage.Client(project=backend.project, credentials=backend.credentials)
    except DefaultCredentialsError as error:
        raise no_credentials() from error


async def put(client: Any, staging: str, name: str, data: bytes) -> str:
    """Uploads once under a content-addressed name; an object that is there with the same checksum is left."""
    bucket_name, folder = parse_staging(staging)
    uri = f"gs://{bucket_name}/{folder}gemini-tuning/{name}"
    blob = client.bucket(bucket_name).blob(f"{folder}gemini-tuning/{name}")

    def there() -> bool:
        from google.cloud.exceptions import NotFound

        try:
            blob.reload(retry=None, timeout=60)
        except NotFound:
            return False
        if (blob.size, blob.crc32c) == (len(data), crc32c(data)):
            return True
        msg = f"{uri} exists with other content than its name says."
        raise BackendError(msg, hint="delete that object, then call again.", code="backend-file")

    def upload() -> None:
        blob.upload_from_string(
            data, content_type="application/jsonl", if_generation_match=0, checksum="crc32c", retry=None, timeout=300
        )

    async def once() -> str:
        if await asyncio.to_thread(there):
            return uri
        try:
            await asyncio.to_thread(upload)
        except Exception as error:
            # 412 after a lost reply of our own, or another process was first: the checksum decides.
            if type(error).__name__ == "PreconditionFailed" and await asyncio.to_thread(there):
                return uri
            raise
        return uri

    return await call(f"uploading {uri}", once)


def crc32c(data: bytes) -> str:
    """The checksum as Cloud Storage writes it: base64 of the big-endian CRC32C."""
    import google_crc32c

    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
