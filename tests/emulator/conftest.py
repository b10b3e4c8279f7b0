"""Real clients over real sockets against the emulator; nothing leaves loopback."""

from __future__ import annotations

import os

# Before numpy: on a busy two-core machine several BLAS threads make a small training ten times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gemini_tuning.emulator import Emulator

pytest.importorskip("google.genai")

PARENT = "projects/my-project/locations/us-central1"
WORDS = (("parcel", "SHIPPING"), ("invoice", "BILLING"), ("password", "TECHNICAL"))


def dataset(count: int = 20) -> str:
    """Gemini JSONL with three easy classes, `count` examples each."""
    rows = [
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "Route the ticket."}]},
            "contents": [
                {"role": "user", "parts": [{"text": f"My {word} number {number} does not work"}]},
                {"role": "model", "parts": [{"text": label}]},
            ],
        }
        for number in range(count)
        for word, label in WORDS
    ]
    return "\n".join(json.dumps(row) for row in rows) + "\n"


@dataclass(frozen=True)
class Clients:
    """The three Google clients, pointed at one emulator."""

    url: str
    kept: list[Any] = field(default_factory=list)
    """google-genai clients close themselves when they are collected, even in the middle of a call."""

    def genai(self, location: str = "us-central1", **options: Any) -> Any:
        """A google-genai client as its users make it."""
        from google import genai
        from google.genai import types
        from google.oauth2.credentials import Credentials

        client = genai.Client(
            vertexai=True,
            project="my-project",
            location=location,
            credentials=Credentials(token="secret-token"),
            http_options=types.HttpOptions(base_url=self.url, **options),
        )
        self.kept.append(client)
        return client

    def storage(self) -> Any:
        """A storage client."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client = storage.Client(
            project="my-project", credentials=AnonymousCredentials(), client_options={"api_endpoint": self.url}
        )
        self.kept.append(client)
        return client

    def gapic(self, name: str) -> Any:
        """A client of google-cloud-aiplatform over REST, such as `EndpointServiceClient`."""
        aiplatform_v1 = pytest.importorskip("google.cloud.aiplatform_v1")
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials

        client = getattr(aiplatform_v1, name)(
            transport="rest",
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=self.url),
        )
        self.kept.append(client.transport)
        return client

    def close(self) -> None:
        """Close what was made: an open socket that is collected later fails somebody else's test."""
        for client in self.kept:
            client.close()
        self.kept.clear()

    def raw(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], Any]:
        """Status, headers (lower case) and JSON (or text) of one plain request."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, headers, text = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, headers, text = error.code, error.headers, error.read()
        try:
            value = json.loads(text)
        except ValueError:
            value = text.decode("utf-8", "replace")
        return status, {key.lower(): item for key, item in headers.items()}, value

    def upload(self, name: str, content: str, bucket: str = "bkt") -> str:
        """Put an object there; returns its URI."""
        self.storage().bucket(bucket).blob(name).upload_from_string(content)
        return f"gs://{bucket}/{name}"

    def create(self, uri: str = "gs://bkt/train.jsonl", *, epochs: int = 2, **body: Any) -> dict[str, Any]:
        """Create a supervised job as plain REST does."""
        spec = {"trainingDatasetUri": uri, "hyperParameters": {"epochCount": epochs}}
        job = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec, **body}
        if "preTunedModel" in body:
            del job["baseModel"]
        status, _, answer = self.raw("POST", f"/v1/{PARENT}/tuningJobs", job)
        assert status == 200, answer
        return dict(answer)

    def job(self, name: str) -> dict[str, Any]:
        """The job as it is now."""
        status, _, answer = self.raw("GET", f"/v1/{name}")
        assert status == 200, answer
        return dict(answer)

    def ended(self, name: str, timeout: float = 30) -> dict[str, Any]:
        """The job once it has ended."""
        ends = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"}
        return wait(lambda: job if (job := self.job(name))["state"] in ends else None, timeout)


def wait(probe: Callable[[], Any], timeout: float = 20) -> Any:
    """The first true value of `probe`, or an AssertionError."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := probe():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout} s")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator of its own for the test."""
    with Emulator() as running:
        yield running


@pytest.fixture
def clients(emulator: Emulator) -> Iterator[Clients]:
    """The clients of `emulator`."""
    made = Clients(emulator.url)
    yield made
    made.close()


@dataclass(frozen=True)
class Tuned:
    """An emulator with one tuned model."""

    emulator: Emulator
    clients: Clients
    job: dict[str, Any]


@pytest.fixture(scope="session")
def tuned() -> Iterator[Tuned]:
    """A finished job, shared: tests may read it and call its model, and must not change it."""
    with Emulator() as running:
        clients = Clients(running.url)
        clients.upload("train.jsonl", dataset())
        clients.upload("val.jsonl", dataset(5))
        spec = {
            "trainingDatasetUri": "gs://bkt/train.jsonl",
            "validationDatasetUri": "gs://bkt/val.jsonl",
            "hyperParameters": {"epochCount": 6, "learningRateMultiplier": 5, "adapterSize": "ADAPTER_SIZE_FOUR"},
        }
        created = clients.create(supervisedTuningSpec=spec, tunedModelDisplayName="demo", labels={"run": "abc"})
        job = clients.ended(created["name"])
        assert job["state"] == "JOB_STATE_SUCCEEDED", job
        yield Tuned(running, clients, job)
        clients.close()


@pytest.fixture
def captures() -> Callable[[str], dict[str, Any]]:
    """Reads a wire capture; skips the test where the shared facts are not there."""
    folder = Path(__file__).parents[3] / "shared" / "facts" / "wire"

    def read(name: str) -> dict[str, Any]:
        path = folder / f"{name}.json"
        if not path.exists():
            pytest.skip("the shared captures are not here")
        return dict(json.loads(path.read_text("utf-8")))

    return read
