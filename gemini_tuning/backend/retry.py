"""The one retry policy, on tenacity. Google's clients have theirs switched off: otherwise attempts multiply, and a
create call is repeated after a lost reply.

No tenacity type leaves this file, and no HTTP library is imported: google-genai 2 raises httpx and aiohttp errors,
3 raises httpx2's, storage raises requests'. What all of them have in common is looked at instead.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import tenacity as _t

from ..errors import BackendError, ConfigError, GeminiTuningError

T = TypeVar("T")
_log = logging.getLogger(__name__)

_RETRY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_SERVICE_MODULES = (
    "aiohttp", "httpx", "httpcore", "requests", "urllib3", "http.client", "ssl", "google.genai.errors",
    "google.api_core.exceptions", "google.auth.exceptions", "google.cloud.storage.exceptions", "google.resumable_media",
)  # fmt: skip
# Nothing left this machine: safe to say that it was not carried out.
_NOT_SENT = ("ConnectError", "ConnectTimeout", "ClientConnectorError", "ClientConnectorDNSError", "NewConnectionError",
             "ConnectTimeoutError", "ConnectionRefusedError", "PoolTimeout", "gaierror")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How often and how long.

    Attributes:
        attempts: Tries in all.
        total: Seconds after which no further try is started.
        first: Seconds before the second try; doubled each time, with full jitter on top of a half.
        longest: Cap of one pause, except that a longer Retry-After is honoured up to `total`.
    """

    attempts: int = 6
    total: float = 120.0
    first: float = 0.5
    longest: float = 20.0


READ = Policy()
"""For reads, polls, uploads with a precondition and generation: repeating changes nothing."""

ONCE = Policy(attempts=1)
"""For creates."""


async def call(
    what: str,
    function: Callable[[], Awaitable[T]],
    *,
    policy: Policy = READ,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Awaits `function()` until it works, within the policy; raises BackendError with the last cause.

    Errors of the library itself and of the caller's own code go through untouched.
    """
    attempts = 0
    started = time.monotonic()
    try:
        async for attempt in _t.AsyncRetrying(
            retry=_t.retry_if_exception(lambda error: _may_retry(error)),
            stop=_t.stop_after_attempt(policy.attempts) | _t.stop_after_delay(policy.total),
            wait=lambda state: _pause(state, policy, started),
            before_sleep=lambda state: _log.info("%s: trying again after %s", what, _short(state)),
            sleep=sleep,
            reraise=True,
        ):
            with attempt:
                attempts = attempt.retry_state.attempt_number
                return await function()
    except Exception as error:
        if type(error).__name__ == "DefaultCredentialsError":
            raise no_credentials() from error
        if isinstance(error, GeminiTuningError) or not is_service_error(error):
            raise
        raise to_backend_error(what, error, attempts) from error
    msg = "unreachable: tenacity either returns or raises"
    raise AssertionError(msg)


def no_credentials() -> ConfigError:
    """google-auth found none; it says so only when the first request is made."""
    msg = "no Google Cloud credentials were found on this machine."
    hint = "gcloud auth application-default login; or pass credentials= to Vertex"
    return ConfigError(msg, hint=hint, code="config-credentials")


def _short(state: _t.RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome else None
    return f"{type(error).__name__} ({status_code(error)})" if error else "nothing"


def _may_retry(error: BaseException) -> bool:
    if isinstance(error, BackendError):
        return error.retryable
    if not isinstance(error, Exception) or not is_service_error(error):
        return False
    if type(error).__name__ in ("DefaultCredentialsError", "RefreshError") and not getattr(error, "retryable", False):
        return False
    code = status_code(error)
    return code in _RETRY_STATUS if code is not None else True


def _pause(state: _t.RetryCallState, policy: Policy, started: float) -> float:
    backoff = min(policy.longest, policy.first * 2 ** (state.attempt_number - 1))
    pause = float(_t.wait_random(backoff / 2, backoff)(state))
    error = state.outcome.exception() if state.outcome else None
    asked = retry_after(error) if error else None
    if asked is not None:
        left = policy.total - (time.monotonic() - started)
        pause = max(pause, min(asked, max(left, 0.0)))
    return pause


def is_service_error(error: BaseException) -> bool:
    """Whether an exception speaks of the service or the way to it, and not of a mistake in our own code."""
    if isinstance(error, (TimeoutError, ConnectionError, asyncio.IncompleteReadError)):
        return True
    if any(cls.__module__.startswith(_SERVICE_MODULES) for cls in type(error).__mro__):
        return True
    # A body that is not JSON under a 200: google-genai lets the decoder's error out.
    return type(error).__name__ == "JSONDecodeError"


def status_code(error: BaseException | None) -> int | None:
    """The HTTP status, wherever the client keeps it, or None when no answer came."""
    for name in ("code", "status_code", "status"):
        value = getattr(error, name, None)
        value = getattr(value, "value", value)
        if isinstance(value, int) and 100 <= value < 600:
            return value
    response = getattr(error, "response", None)
    value = getattr(response, "status_code", None) or getattr(response, "status", None)
    return value if isinstance(value, int) else None


def retry_after(error: BaseException) -> float | None:
    """Seconds of a Retry-After header (a number or a date), or None."""
    headers: Mapping[str, Any] | None = getattr(getattr(error, "response", None), "headers", None)
    text = (headers or {}).get("retry-after") or (headers or {}).get("Retry-After")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(str(text))
        except (TypeError, ValueError):
            return None
        return max(0.0, when.timestamp() - time.time())


def to_backend_error(what: str, error: BaseException, attempts: int) -> BackendError:
    """The library's error for a client's, with what to do next."""
    code = status_code(error)
    names = {cls.__name__ for cls in type(error).__mro__} | {
        type(error.__cause__).__name__,
        type(error.__context__).__name__,
    }
    not_sent = code is None and bool(names & set(_NOT_SENT))
    status = getattr(error, "status", None)
    status = status if isinstance(status, str) else type(error).__name__
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    tries = f" after {attempts} tries" if attempts > 1 else ""
    msg = f"{what} failed{tries}: {f'{code} ' if code else ''}{status}: {str(text)[:500]}"
    return BackendError(
        msg, hint=_hint(code, status), code=f"backend-{code}" if code in _HINTS else "backend",
        status_code=code, status=status, retryable=_may_retry(error), attempts=attempts,
        ambiguous=(code is None and not not_sent) or (code is not None and (code >= 500 or code == 408)),
    )  # fmt: skip


_HINTS = {
    400: "the request itself was refused; the message above says which field.",
    401: "log in again: gcloud auth application-default login",
    403: "the account lacks a permission that the message names (storage also needs storage.buckets.get), "
    "or the API is not enabled in this project.",
    404: "check the project, the location and the name; a tuned endpoint lives in its own location.",
    429: "the quota is used up; lower concurrency=, or try later.",
}


def _hint(code: int | None, status: str) -> str:
    if code in _HINTS:
        return _HINTS[code]
    if code is None:
        return f"no answer came ({status}); check the network, then call again."
    return "the service had a problem; call again later."
