"""The emulator as an object: an HTTP server on loopback, its routes, its record of requests and its faults."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import select
import socket
import tempfile
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .faults import Fault, Faults
from .handler import Server
from .inference import Inference
from .jobs import Jobs
from .registry import Registry
from .state import State
from .storage import Storage
from .tensorboard import Tensorboard
from .wire import ApiError, Request, Response, Route, json_response

__all__ = ["Emulator", "Recorded"]

_log = logging.getLogger("gemini_tuning.emulator")
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-goog-api-key", "cookie"})
_SECRET_QUERY = re.compile(r"(?<=[?&])(key|access_token)=[^&]*")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_RECORDED = 10_000
_BODY_KEPT = 1 << 16


@dataclass(frozen=True)
class Recorded:
    """One request as it came over the wire; credentials are left out and large or binary bodies only counted."""

    method: str
    path: str
    """With the query, as sent."""
    headers: dict[str, str]
    json: Any
    size: int


class Emulator:
    """Vertex tuning, inference, TensorBoard and Cloud Storage on one loopback port.

    Used as a context manager it serves from threads of this process. With `state`, everything is kept in that
    directory and taken up again by the next emulator on it, a running job included; without, in a temporary
    directory that goes away.

    Args:
        state: The directory; one emulator at a time owns it (`StateBusy` otherwise).
        port: 0 takes a free one.
        host: A loopback address; anything else is refused with `ValueError`.
        concurrency: How many jobs train at a time; the rest wait for quota, as with the service's default of 1.
    """

    def __init__(
        self, state: str | Path | None = None, port: int = 0, *, host: str = "127.0.0.1", concurrency: int = 1
    ) -> None:
        if host not in _LOOPBACK:
            msg = f"the emulator has no authentication and binds loopback only, not {host!r}"
            raise ValueError(msg)
        self._temporary = state is None
        self._root = Path(tempfile.mkdtemp(prefix="gemini-emulator-")) if state is None else Path(state)
        self._port = port
        self._host = "127.0.0.1" if host == "localhost" else host
        self._concurrency = concurrency
        self._server: Server | None = None

    def start(self) -> Self:
        """Take the directory, take up unfinished jobs, and listen."""
        self._requests: deque[Recorded] = deque(maxlen=_RECORDED)
        self._faults = Faults()
        self._stopping = threading.Event()
        self.active = 0
        self.last_request = time.monotonic()
        self._active_lock = threading.Lock()
        self._state = State(self._root)
        try:
            self._server = Server((self._host, self._port), self)
        except OSError:
            self._state.close(remove=self._temporary)
            raise
        storage = Storage(self._state)
        registry = Registry(self._state)
        self._jobs = Jobs(self._state, storage, registry, concurrency=self._concurrency)
        inference = Inference(self._state, registry)
        tensorboard = Tensorboard(self._state, self._jobs)
        self._routes: list[Route] = [
            *inference.routes(),
            *storage.routes(),
            *self._jobs.routes(),
            *registry.routes(),
            *tensorboard.routes(),
            *self._control(),
        ]
        self._jobs.start()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="emulator", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop answering and training; what is not finished stays as it is on disk."""
        if self._server is None:
            return
        self._stopping.set()
        self._faults.clear()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._jobs.stop()
        self._state.close(remove=self._temporary)
        self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        if self._server is None:
            msg = "the emulator is not running; use it in a `with` block or call start()"
            raise RuntimeError(msg)
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Recorded]:
        """The requests so far (the last 10,000), in the order in which they came."""
        return list(self._requests)

    def fault(self, fault: Fault) -> None:
        """Put one more fault in force."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Drop all the faults and let go of every hanging request."""
        self._faults.clear()

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been asked and no job was queued or running."""
        if self.active or self._jobs.busy:
            self.last_request = time.monotonic()
        return time.monotonic() - self.last_request

    # --- requests ----------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answer a request, without faults; every failure is a JSON error."""
        try:
            for candidate in self._routes:
                if (found := candidate.match(request)) is not None:
                    return candidate.handler(request, found)
        except ApiError as error:
            return error.response()
        except Exception as error:  # noqa: BLE001 -- a client gets a JSON error, never a broken connection
            _log.exception("%s %s failed", request.method, request.path)
            return ApiError(500, f"Internal error encountered in the emulator: {error!r}").response()
        return _no_route(request).response()

    def begin(self, request: Request, target: str) -> tuple[Fault, ...]:
        """Record a request and return the faults that hit it."""
        if request.path.startswith("/_emulator/"):
            return ()
        with self._active_lock:
            self.active += 1
            self.last_request = time.monotonic()
        parsed: Any = None
        if request.body and len(request.body) <= _BODY_KEPT:
            with contextlib.suppress(ValueError, RecursionError):
                parsed = json.loads(request.body)
        headers = {name: "REDACTED" if name in _SECRET_HEADERS else value for name, value in request.headers.items()}
        path = _SECRET_QUERY.sub(r"\1=REDACTED", target)
        self._requests.append(Recorded(request.method, path, headers, parsed, len(request.body)))
        return self._faults.hits(request, target)

    def end(self, request: Request) -> None:
        """Note that a request is over."""
        if not request.path.startswith("/_emulator/"):
            with self._active_lock:
                self.active -= 1
                self.last_request = time.monotonic()

    def hang(self, connection: socket.socket, seconds: float) -> None:
        """Wait until `seconds` are over (0: for ever), the faults are cleared, or the client hangs up."""
        cleared = self._faults.cleared
        deadline = time.monotonic() + seconds if seconds else None
        while not cleared.wait(0.02) and not self._stopping.is_set():
            if deadline is not None and time.monotonic() >= deadline:
                return
            try:
                readable, _, _ = select.select([connection], [], [], 0)
                if readable and not connection.recv(1, socket.MSG_PEEK):
                    return
            except OSError:
                return

    def _control(self) -> list[Route]:
        def at(method: str, path: str, answer: Any) -> Route:
            return Route(method, re.compile(path), lambda request, _found: json_response(answer(request)))

        def add(request: Request) -> object:
            value = json.loads(request.body or b"{}")
            for item in value if isinstance(value, list) else [value]:
                self.fault(Fault.from_json(item))
            return {"faults": self._faults.to_json()}

        def health(_request: Request) -> object:
            return {"status": "ok", "simulated": True, "url": self.url, "state": str(self._root.resolve())}

        def clear(_request: Request) -> object:
            self.clear_faults()
            return {}

        return [
            at("GET", "/_emulator/health", health),
            at("GET", "/_emulator/requests", lambda _: {"requests": [asdict(item) for item in self.requests]}),
            at("GET", "/_emulator/faults", lambda _: {"faults": self._faults.to_json()}),
            at("POST", "/_emulator/faults", add),
            at("DELETE", "/_emulator/faults", clear),
        ]


_KNOWN_ELSEWHERE = re.compile(
    r"batchPredictionJobs|validateReinforcementTuningReward|rebaseTunedModel|cachedContents|/datasets|evaluationRuns"
    r"|/batch/storage|pipelineJobs"
)


def _no_route(request: Request) -> ApiError:
    if _KNOWN_ELSEWHERE.search(request.path):
        message = f"The emulator does not implement {request.method} {request.path} (the real service does)."
        return ApiError(501, message)
    return ApiError(404, f"The emulator has no route {request.method} {request.path}.")
