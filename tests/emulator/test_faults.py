"""Scripted faults, as the clients meet them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from gemini_tuning.emulator import Emulator, Fault

from .conftest import PARENT, Clients, dataset, wait

pytestmark = pytest.mark.filterwarnings("ignore")
httpx = pytest.importorskip("httpx")
errors = pytest.importorskip("google.genai.errors")
FLASH = "gemini-2.5-flash"


def ask(clients: Clients, **options: Any) -> str:
    return str(clients.genai(**options).models.generate_content(model=FLASH, contents="hi").text)


def test_status(clients: Clients, emulator: Emulator) -> None:
    """A status fault hits so many matches after so many, with its message and Retry-After."""
    emulator.fault(
        Fault(action="status", path=":generateContent", skip=1, times=2, status=429, message="slow", retry_after=7)
    )
    assert ask(clients)
    for _ in range(2):
        with pytest.raises(errors.ClientError, match="slow") as caught:
            ask(clients)
        assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert caught.value.response.headers["retry-after"] == "7"
    assert ask(clients)


def test_clients_own_retries_can_be_seen(clients: Clients, emulator: Emulator) -> None:
    """A client that retries is seen to: two failures and a success are three requests."""
    from google.genai import types

    emulator.fault(Fault(action="status", path=":generateContent", times=2, status=503))
    assert ask(clients, retry_options=types.HttpRetryOptions(attempts=3, initial_delay=0.01))
    assert len(emulator.requests) == 3


def test_reset_before_and_after(clients: Clients, emulator: Emulator) -> None:
    """A reset breaks the call; only the `after` kind has made the job."""
    for action, jobs in (("reset_before", 0), ("reset_after", 1)):
        emulator.fault(Fault(action=action, method="POST", path="/tuningJobs$"))  # type: ignore[arg-type]
        with pytest.raises((ConnectionError, OSError)):
            clients.create()
        assert len(clients.raw("GET", f"/v1/{PARENT}/tuningJobs")[2].get("tuningJobs", [])) == jobs
    emulator.fault(Fault(action="reset_before", path=":generateContent"))
    with pytest.raises(httpx.TransportError):
        ask(clients)


def test_hang(clients: Clients, emulator: Emulator) -> None:
    """A hanging call runs into the client's timeout; with `after` it was acted on."""
    emulator.fault(Fault(action="hang_after", method="POST", path="/tuningJobs"))
    from google.genai import types

    client = clients.genai(timeout=300)
    with pytest.raises(httpx.TimeoutException):
        client.tunings.tune(base_model=FLASH, training_dataset=types.TuningDataset(gcs_uri="gs://b/t.jsonl"))
    emulator.fault(Fault(action="hang_before", method="POST", path="/tuningJobs"))
    with pytest.raises(httpx.TimeoutException):
        client.tunings.tune(base_model=FLASH, training_dataset=types.TuningDataset(gcs_uri="gs://b/t.jsonl"))
    assert len(list(clients.genai().tunings.list())) == 1
    wait(lambda: emulator.active == 0)  # a client that hung up is let go


def test_hang_is_released(clients: Clients, emulator: Emulator) -> None:
    """Clearing the faults lets go of a hanging request."""
    emulator.fault(Fault(action="hang_before", path=":generateContent"))
    ended = threading.Event()

    def call() -> None:
        with pytest.raises(httpx.TransportError):
            ask(clients)
        ended.set()

    thread = threading.Thread(target=call)
    thread.start()
    wait(lambda: emulator.active == 1)
    emulator.clear_faults()
    assert ended.wait(5)
    thread.join()


def test_delay(clients: Clients, emulator: Emulator) -> None:
    """A delayed request is answered as usual, later."""
    ask(clients)
    emulator.fault(Fault(action="delay", path=":generateContent", seconds=0.3))
    start = time.perf_counter()
    assert ask(clients)
    assert time.perf_counter() - start >= 0.3


def test_truncate(clients: Clients, emulator: Emulator) -> None:
    """A reply and a stream that break off are transport errors, the stream's after some text."""
    emulator.fault(Fault(action="truncate", path=":generateContent"))
    with pytest.raises(httpx.RemoteProtocolError):
        ask(clients)
    emulator.fault(Fault(action="truncate", path=":streamGenerateContent"))
    client = clients.genai()
    with pytest.raises(httpx.RemoteProtocolError):
        list(client.models.generate_content_stream(model=FLASH, contents="Tell me about a lost parcel, please."))


def test_error_in_stream(clients: Clients, emulator: Emulator) -> None:
    """An error object in the middle of a stream is raised after the first piece."""
    emulator.fault(Fault(action="error_in_stream", path=":streamGenerateContent", message="overloaded"))
    stream = clients.genai().models.generate_content_stream(model=FLASH, contents="Tell me about a lost parcel.")
    assert next(stream).text
    with pytest.raises(errors.ServerError, match="overloaded"):
        next(stream)


def test_list_lag(clients: Clients, emulator: Emulator) -> None:
    """A job can be there for get and not yet for list."""
    emulator.fault(Fault(action="list_lag", seconds=0.4))
    name = clients.create(labels={"k": "v"})["name"]
    assert clients.job(name)
    assert clients.raw("GET", f"/v1/{PARENT}/tuningJobs?filter=labels.k=v")[2] == {}
    wait(lambda: clients.raw("GET", f"/v1/{PARENT}/tuningJobs?filter=labels.k=v")[2])


def test_job_faults(clients: Clients, emulator: Emulator) -> None:
    """A job can be made to fail with a status, or to stay in any state for a while."""
    clients.upload("train.jsonl", dataset(4))
    emulator.fault(Fault(action="job_fails", body="unlucky", code=8, message="no capacity"))
    emulator.fault(Fault(action="job_stays", body="slow", state="JOB_STATE_QUEUED", seconds=0.4))
    slow = clients.create(labels={"k": "slow"})
    assert slow["state"] == "JOB_STATE_QUEUED"
    unlucky = clients.ended(clients.create(labels={"k": "unlucky"})["name"])
    assert unlucky["error"] == {"code": 8, "message": "no capacity"}
    assert clients.job(slow["name"])["state"] == "JOB_STATE_QUEUED"
    assert clients.ended(slow["name"])["state"] == "JOB_STATE_SUCCEEDED"


def test_faults_over_http(clients: Clients, emulator: Emulator) -> None:
    """Faults can be set, read and cleared from another process; a wrong one is refused with the known words."""
    status, _, answer = clients.raw("POST", "/_emulator/faults", {"action": "status", "status": 500, "times": 9})
    assert (status, answer["faults"][0]["matched"]) == (200, 0)
    assert clients.raw("GET", f"/v1/{PARENT}/tuningJobs")[0] == 500
    assert clients.raw("GET", "/_emulator/faults")[2]["faults"][0]["matched"] == 1
    clients.raw("DELETE", "/_emulator/faults")
    assert clients.raw("GET", f"/v1/{PARENT}/tuningJobs")[0] == 200
    for wrong in ({"action": "explode"}, {"action": "status", "nope": 1}, {"action": "status", "path": "("}):
        assert clients.raw("POST", "/_emulator/faults", wrong)[0] == 400
    recorded = clients.raw("GET", "/_emulator/requests")[2]["requests"]
    assert [item["method"] for item in recorded] == ["GET", "GET"]
    assert clients.raw("GET", "/_emulator/health")[2]["url"] == emulator.url


def test_no_credentials_are_kept(clients: Clients, emulator: Emulator) -> None:
    """Tokens and keys are in no record of a request."""
    ask(clients)
    clients.raw("GET", f"/v1/{PARENT}/tuningJobs?key=secret-key&access_token=secret-token")
    assert "secret" not in str(emulator.requests)
    assert "Bearer" not in str(emulator.requests)
