"""The real storage client against the emulator."""

from __future__ import annotations

import base64
import hashlib
import io
import random

import pytest

from gemini_tuning.emulator import Emulator, Fault
from gemini_tuning.emulator.crc32c import crc32c_base64

from .conftest import Clients

exceptions = pytest.importorskip("google.api_core.exceptions")


def test_upload_and_download(clients: Clients) -> None:
    """What was uploaded comes back, with checksums and sizes that belong to it."""
    blob = clients.storage().bucket("bkt").blob("a/b ü%2F/../c.jsonl")
    content = '{"text": "你好"}\n'.encode()
    blob.upload_from_string(content, content_type="application/jsonl", if_generation_match=0)
    again = clients.storage().bucket("bkt").get_blob(blob.name)
    assert again.download_as_bytes() == content
    assert again.size == len(content)
    assert again.crc32c == crc32c_base64(content)
    assert again.md5_hash == base64.b64encode(hashlib.md5(content).digest()).decode()
    assert again.content_type == "application/jsonl"
    assert again.generation == blob.generation


def test_resumable_upload(clients: Clients, emulator: Emulator) -> None:
    """A file sent in chunks arrives whole, even when a chunk's reply is lost on the way."""
    content = random.Random(0).randbytes(700_001)
    blob = clients.storage().bucket("bkt").blob("big.bin", chunk_size=256 * 1024)
    emulator.fault(Fault(action="reset_after", method="PUT", path="upload_id=", skip=1))
    blob.upload_from_file(io.BytesIO(content), if_generation_match=0)
    assert clients.storage().bucket("bkt").blob("big.bin").download_as_bytes() == content
    assert sum(request.method == "PUT" for request in emulator.requests) >= 3


def test_20_mb_in_three_seconds(clients: Clients) -> None:
    """A large upload is not slowed down by its checksums."""
    import time

    content = bytes(20_000_000)
    start = time.perf_counter()
    clients.storage().bucket("bkt").blob("large").upload_from_string(content)
    assert time.perf_counter() - start < 3


def test_empty_object(clients: Clients) -> None:
    """An object may be empty, however it is uploaded."""
    bucket = clients.storage().bucket("bkt")
    bucket.blob("one").upload_from_string(b"")
    bucket.blob("two", chunk_size=256 * 1024).upload_from_file(io.BytesIO(b""))
    assert bucket.blob("one").download_as_bytes() == bucket.blob("two").download_as_bytes() == b""


def test_wrong_checksum_is_refused(clients: Clients) -> None:
    """An upload whose checksum does not fit its content is a 400 and leaves nothing behind."""
    blob = clients.storage().bucket("bkt").blob("x")
    blob.crc32c = "AAAAAA=="
    body = b'--q\r\ncontent-type: application/json\r\n\r\n{"name": "x", "md5Hash": "AAAA"}\r\n--q\r\n\r\nabc\r\n--q--'
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        clients.url + "/upload/storage/v1/b/bkt/o?uploadType=multipart",
        body.replace(b"\r\n--q\r\n\r\nabc", b"\r\n--q\r\ncontent-type: text/plain\r\n\r\nabc"),
        {"Content-Type": "multipart/related; boundary=q"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    with caught.value:
        assert caught.value.code == 400
    assert not blob.exists()


def test_preconditions(clients: Clients) -> None:
    """Generation preconditions hold or the request is a 412 that changes nothing."""
    blob = clients.storage().bucket("bkt").blob("p")
    blob.upload_from_string("1", if_generation_match=0)
    first = blob.generation
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("2", if_generation_match=0)
    assert blob.download_as_bytes() == b"1"
    blob.upload_from_string("2", if_generation_match=first)
    assert blob.generation > first
    with pytest.raises(exceptions.PreconditionFailed):
        blob.delete(if_generation_match=first)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.download_as_bytes(if_generation_match=first)
    with pytest.raises(exceptions.NotModified):
        blob.reload(if_generation_not_match=blob.generation)
    blob.delete(if_generation_match=blob.generation)
    with pytest.raises(exceptions.NotFound):
        blob.delete()


def test_lost_reply_then_412(clients: Clients, emulator: Emulator) -> None:
    """When the reply to a create-only upload is lost, the retry is a 412 although the object is there."""
    emulator.fault(Fault(action="reset_after", method="POST", path="^/upload/"))
    blob = clients.storage().bucket("bkt").blob("lost")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("content", if_generation_match=0)
    found = clients.storage().bucket("bkt").get_blob("lost")
    assert found.crc32c == crc32c_base64(b"content")


def test_metadata(clients: Clients) -> None:
    """Custom metadata is kept, patched by key, and counted by the metageneration."""
    blob = clients.storage().bucket("bkt").blob("m")
    blob.metadata = {"snake_key": "1", "other": "2"}
    blob.upload_from_string("x")
    blob.metadata = {"snake_key": "3", "other": None}
    blob.patch()
    again = clients.storage().bucket("bkt").get_blob("m")
    assert again.metadata == {"snake_key": "3"}
    assert again.metageneration == 2


def test_list_pages_prefixes_and_delimiters(clients: Clients) -> None:
    """Lists are sorted, cut into pages without loss, and fold names at a delimiter."""
    client = clients.storage()
    bucket = client.bucket("bkt")
    names = ["a/1", "a/2", "a/b/3", "c", "d/4"]
    for name in reversed(names):
        bucket.blob(name).upload_from_string("x")
    client.bucket("other").blob("z").upload_from_string("x")
    assert [blob.name for blob in client.list_blobs("bkt", page_size=2)] == names
    assert [blob.name for blob in client.list_blobs("bkt", prefix="a/")] == names[:3]
    listed = client.list_blobs("bkt", delimiter="/", page_size=2)
    assert [blob.name for blob in listed] == ["c"]
    assert sorted(listed.prefixes) == ["a/", "d/"]
    assert [blob.name for blob in client.list_blobs("bkt", max_results=2)] == names[:2]
    assert list(client.list_blobs("nothing")) == []


def test_ranges_and_generations(clients: Clients) -> None:
    """A byte range gives those bytes; a generation that was replaced is gone."""
    blob = clients.storage().bucket("bkt").blob("r")
    blob.upload_from_string("0123456789")
    old = blob.generation
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    assert blob.download_as_bytes(start=7) == b"789"
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=10)
    blob.upload_from_string("new")
    with pytest.raises(exceptions.NotFound):
        clients.storage().bucket("bkt").blob("r", generation=old).download_as_bytes()


def test_missing_object_and_copy(clients: Clients) -> None:
    """A missing object is a NotFound; copies and rewrites have the source's content."""
    bucket = clients.storage().bucket("bkt")
    with pytest.raises(exceptions.NotFound):
        bucket.blob("absent").download_as_bytes()
    assert bucket.get_blob("absent") is None
    source = bucket.blob("dir/source")
    source.upload_from_string("x", content_type="text/x")
    copy = bucket.copy_blob(source, bucket, "dir/copy", if_generation_match=0)
    assert (copy.download_as_bytes(), copy.content_type) == (b"x", "text/x")
    assert bucket.blob("again").rewrite(source) == (None, 1, 1)
    assert bucket.exists()


def test_corrupt_download_is_noticed(clients: Clients, emulator: Emulator) -> None:
    """A byte that changes on the way makes the client's checksum fail."""
    from google.cloud.storage.exceptions import DataCorruption

    blob = clients.storage().bucket("bkt").blob("c")
    blob.upload_from_string("0123456789")
    emulator.fault(Fault(action="corrupt", path="^/download/", times=5))
    with pytest.raises(DataCorruption):
        blob.download_as_bytes()
