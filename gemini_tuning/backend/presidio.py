"""The REST API of a Presidio analyzer: `POST /analyze`, one text a request, which every version of it takes.

Source: `presidio-analyzer/app.py` of microsoft/presidio, read 2026-11: an empty text is answered with 500, and so is an
unknown language. An answer is `[{"entity_type", "start", "end", "score", ...}]`, in code points since both are Python.
A request has no side effect, so it may be repeated.

The answers' error texts are not passed on: they may quote what was sent.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ..errors import BackendError
from .loop import run, together
from .retry import Policy, call

_LARGEST = 64 << 20
"""Bytes of one answer."""
_POLICY = Policy(attempts=4, total=60.0, first=0.2, longest=5.0)
_RETRY = frozenset({408, 429, 502, 503, 504})
"""Not 500: the analyzer answers so for what will never work, such as a language without a model."""

_FIELDS = ("entity_type", "start", "end")

Found = tuple[str, int, int]


def analyze(
    url: str,
    texts: Sequence[str],
    *,
    language: str,
    entities: Sequence[str] | None,
    score: float,
    timeout: float,
    concurrency: int,
) -> list[list[Found]]:
    """`(entity, start, end)` of each text, in the order of the texts.

    Raises:
        BackendError: the first request that failed for good.
    """
    if not texts:
        return []
    asked: dict[str, Any] = {"language": language, "score_threshold": score}
    if entities is not None:
        asked["entities"] = list(entities)
    return run(_all(url, texts, asked, timeout, min(concurrency, len(texts))))


async def _all(
    url: str, texts: Sequence[str], asked: dict[str, Any], timeout: float, concurrency: int
) -> list[list[Found]]:
    results: list[list[Found]] = [[] for _ in texts]
    waiting = iter(enumerate(texts))
    loop = asyncio.get_running_loop()
    # Threads of its own: those of the loop may all be taken by callers that wait for this.
    pool = concurrent.futures.ThreadPoolExecutor(concurrency, thread_name_prefix="gemini-tuning-presidio")

    async def work() -> None:
        for at, text in waiting:  # one iterator for all workers: each text is taken once
            body = json.dumps({**asked, "text": text}).encode()

            async def once(body: bytes = body) -> bytes:
                return await loop.run_in_executor(pool, _post, url, body, timeout)

            answer = await call("Presidio's analyzer", once, policy=_POLICY)
            results[at] = _read(answer, len(text), score=asked["score_threshold"])

    try:
        await together(work() for _ in range(concurrency))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return results


def _post(url: str, body: bytes, timeout: float) -> bytes:
    """One request. http.client follows no redirect and uses no proxy: the text goes to this host or nowhere."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(
            "POST", f"{parts.path.rstrip('/')}/analyze", body=body, headers={"Content-Type": "application/json"}
        )
        with connection.getresponse() as response:
            if response.status != 200:
                raise _refused(response.status, url)
            answer = response.read(_LARGEST + 1)
    except (OSError, http.client.HTTPException) as error:
        # OSError covers a refused connection, a name without an address, a timeout, and TLS.
        what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        msg = f"Presidio's analyzer at {url} cannot be reached: {what}"
        hint = "is it running? docker run -p 5002:3000 mcr.microsoft.com/presidio-analyzer"
        raise BackendError(
            msg, hint=hint, code="backend-presidio", status=type(error).__name__, retryable=True
        ) from error
    finally:
        connection.close()
    if len(answer) > _LARGEST:
        raise _unreadable("it is larger than any answer")
    return answer


def _refused(status: int, url: str) -> BackendError:
    hint = {
        404: "url= is the analyzer's address without /analyze.",
        500: "500 is also its answer to a language= or an entity that it has no model for; its own log says more.",
    }.get(status, "its own log says more.")
    msg = f"Presidio's analyzer at {url} answered {status}"
    return BackendError(msg, hint=hint, code="backend-presidio", status_code=status, retryable=status in _RETRY)


def _unreadable(why: str) -> BackendError:
    msg = f"the answer of Presidio's analyzer cannot be used: {why}"
    return BackendError(msg, hint="does something else listen at url=?", code="backend-presidio")


def _read(answer: bytes, length: int, *, score: float) -> list[Found]:
    """The finds of one answer, checked."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise _unreadable("it is no JSON list")
    result = []
    for each in found:
        entity, start, end = (each.get(name) if isinstance(each, dict) else None for name in _FIELDS)
        if not isinstance(entity, str) or type(start) is not int or type(end) is not int:
            raise _unreadable("a find has no entity_type, start and end")
        if not 0 <= start < end <= length:
            msg = f"it has the span {start}:{end} in a text of {length} characters"
            raise _unreadable(msg)
        sure = each.get("score")
        if not isinstance(sure, int | float) or sure >= score:
            result.append((entity, start, end))
    return result
