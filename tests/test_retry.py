"""The one retry policy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gemini_tuning.backend.retry import ONCE, Policy, call, retry_after, to_backend_error
from gemini_tuning.errors import BackendError, PlanError


class ServiceError(Exception):
    """Looks like a client's error: module, code, response."""

    def __init__(self, code: int | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"status {code}")
        if code is not None:
            self.code = code
        self.response = type("Response", (), {"headers": headers or {}, "status_code": code})()


ServiceError.__module__ = "google.genai.errors"


class Service:
    """Fails as scripted, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def attempt(service: Service, **policy: Any) -> tuple[str, list[float]]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    given = policy.pop("policy", None) or Policy(**policy)
    return asyncio.run(call("asking", service, policy=given, sleep=sleep)), pauses


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_temporary_answers_are_tried_again(code: int) -> None:
    """With pauses that grow."""
    answer, pauses = attempt(Service(ServiceError(code), ServiceError(code), ServiceError(code)))
    assert answer == "answer"
    assert len(pauses) == 3
    assert 0.25 <= pauses[0] <= 0.5
    assert 1.0 <= pauses[2] <= 2.0


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 412, 501])
def test_definite_answers_are_not(code: int) -> None:
    """One call, and the error says that trying again is of no use."""
    service = Service(ServiceError(code))
    with pytest.raises(BackendError) as caught:
        attempt(service)
    assert service.calls == 1
    assert (caught.value.status_code, caught.value.retryable, caught.value.attempts) == (code, False, 1)
    assert caught.value.hint


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), BrokenPipeError()])
def test_a_broken_connection_is_tried_again(error: Exception) -> None:
    """Whatever the HTTP library."""
    assert attempt(Service(error))[0] == "answer"


def test_creates_are_sent_once() -> None:
    """And the error says that the call may have been carried out."""
    for error, ambiguous in ((ServiceError(503), True), (ConnectionResetError(), True), (ServiceError(400), False),
                             (ConnectionRefusedError(), False)):  # fmt: skip
        service = Service(error)
        with pytest.raises(BackendError) as caught:
            attempt(service, policy=ONCE)
        assert service.calls == 1
        assert caught.value.ambiguous is ambiguous


def test_attempts_are_capped() -> None:
    """The last error is the cause, and the number of tries is told."""
    service = Service(*(ServiceError(503) for _ in range(10)))
    with pytest.raises(BackendError, match="after 4 tries") as caught:
        attempt(service, attempts=4)
    assert service.calls == 4
    assert isinstance(caught.value.__cause__, ServiceError)


def test_total_time_is_capped() -> None:
    """No try is started when the time is over."""
    service = Service(*(ServiceError(503) for _ in range(100)))
    with pytest.raises(BackendError):
        asyncio.run(call("asking", service, policy=Policy(attempts=100, total=0.3, first=0.05)))
    assert service.calls < 12


def test_retry_after_is_honoured_up_to_the_total() -> None:
    """As seconds or as a date."""
    _, pauses = attempt(Service(ServiceError(429, {"retry-after": "7"})))
    assert pauses[0] == pytest.approx(7, abs=0.1)
    _, pauses = attempt(Service(ServiceError(429, {"retry-after": "7000"})), total=30)
    assert pauses[0] <= 30
    assert retry_after(ServiceError(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})) == 0.0
    assert retry_after(ServiceError(429, {"retry-after": "soon"})) is None


def test_other_errors_are_left_through() -> None:
    """A mistake in the caller's code is neither tried again nor dressed up."""
    for error in (ZeroDivisionError(), PlanError("no"), asyncio.CancelledError()):
        service = Service(error)
        with pytest.raises(type(error)):
            attempt(service)
        assert service.calls == 1


def test_errors_of_newer_clients_are_known_by_their_home() -> None:
    """google-genai 3 raises errors of a library that is not installed here."""
    error = type("ReadTimeout", (Exception,), {"__module__": "httpx2"})()
    assert to_backend_error("asking", error, 1).ambiguous
    refused = type("ConnectError", (Exception,), {"__module__": "httpx2"})()
    assert not to_backend_error("asking", refused, 1).ambiguous
    assert attempt(Service(error))[0] == "answer"
