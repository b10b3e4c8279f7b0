"""Files in Cloud Storage: training files, under names made from their content, and the user's own, read."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ..errors import BackendError, ConfigError, DataError
from . import loop
from .address import is_loopback
from .retry import call, no_credentials

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .base import Backend
    from .vertex import Vertex

T = TypeVar("T")
_CHUNK = 8 << 20
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


# --- reading -------------------------------------------------------------------------------------------------------


class StoredObject(io.BufferedReader):
    """An object of Cloud Storage as a file that is read forwards.

    Attributes:
        size: In bytes, as stored.
        served_packed: Whether the service knows the bytes to be gzip (its `Content-Encoding`).
    """

    def __init__(self, chunks: _Chunks) -> None:
        super().__init__(chunks, buffer_size=1 << 20)
        self.size = chunks.size
        self.served_packed = chunks.served_packed


def open_object(uri: str, backend: Backend | str | None = None) -> StoredObject:
    """Opens `gs://bucket/object` for reading in bounded memory.

    The generation is pinned: an object that is replaced while it is read is an error, never half old and half new. The
    checksum of the whole is compared at the end. Reads are repeated by the one retry policy.

    Args:
        uri: The address.
        backend: Whose credentials and address are used; None takes the application default credentials, or the address
            in STORAGE_EMULATOR_HOST.

    Raises:
        DataError: there is no such object, or no permission (`data-file`).
        BackendError: the service could not be reached.
        ConfigError: there are no credentials.
    """
    match = re.fullmatch(r"gs://([^/]+)/(.+)", uri, re.DOTALL)
    if match is None:
        raise DataError.at(
            "this is no object of Cloud Storage", file=uri, code="data-file", hint="write it as 'gs://bucket/object'."
        )
    return StoredObject(_Chunks(uri, match.group(1), match.group(2), backend))


def _reading_client(backend: Backend | str | None) -> Any:
    """A client of its own, closed with the file: the backend's belongs to the private loop."""
    from .selection import resolve

    found: Any = resolve(backend)
    if not hasattr(found, "address"):  # none, or one that does not know Cloud Storage
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage  # half a second

        try:
            # Reading needs no project; without one in the environment the client would refuse to start.
            return storage.Client(project=None)
        except DefaultCredentialsError as error:
            raise no_credentials() from error
    return storage_client(found, loop.run(found.address()))


class _Chunks(io.RawIOBase):
    """The bytes of one generation of an object, fetched in ranges."""

    def __init__(self, uri: str, bucket: str, name: str, backend: Backend | str | None) -> None:
        import google_crc32c

        self._uri = uri
        self._client = _reading_client(backend)
        self._at = 0
        self._held = memoryview(b"")
        self._sum: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
        try:
            blob = self._client.bucket(bucket).blob(name)
            self._fetch(lambda: blob.reload(retry=None, timeout=60))
        except BaseException:
            self._client.close()
            raise
        self.size = int(blob.size or 0)
        self.served_packed = blob.content_encoding == "gzip"
        self._expected = blob.crc32c
        self._blob = self._client.bucket(bucket).blob(name, generation=blob.generation)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._held and self._at < self.size:
            self._next()
        target = memoryview(buffer).cast("B")
        part = self._held[: len(target)]
        target[: len(part)] = part
        self._held = self._held[len(part) :]
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._client.close()
        super().close()

    def _next(self) -> None:
        start, end = self._at, min(self._at + _CHUNK, self.size) - 1
        data = self._fetch(
            # The client's own checksum is of the whole object and says nothing about a range.
            lambda: self._blob.download_as_bytes(
                start=start, end=end, raw_download=True, checksum=None, retry=None, timeout=120
            )
        )
        if len(data) != end - start + 1:
            self._refuse(f"{len(data):,} bytes came where {end - start + 1:,} were asked for", "read it again.")
        self._at = end + 1
        self._sum.update(data)
        self._held = memoryview(data)
        whole = self._at >= self.size and self._expected is not None
        if whole and base64.b64encode(self._sum.digest()).decode() != self._expected:
            self._refuse("its checksum is not that of the bytes that came", "read it again.")

    def _fetch(self, get: Callable[[], T]) -> T:
        try:
            return loop.run(call(f"reading {self._uri}", lambda: asyncio.to_thread(get)))
        except BackendError as error:
            if error.status_code == 404 and self._at:
                self._refuse("it was replaced or deleted while it was read", "read it again.", error)
            if error.status_code == 404:
                self._refuse("there is no such object in Cloud Storage, or no such bucket", "check the name.", error)
            if error.status_code in (401, 403):
                hint = "the account needs storage.objects.get (role Storage Object Viewer) on the bucket."
                self._refuse("Cloud Storage does not let this account read it", hint, error)
            raise

    def _refuse(self, what: str, hint: str, cause: Exception | None = None) -> NoReturn:
        raise DataError.at(what, file=self._uri, code="data-file", hint=hint) from cause
