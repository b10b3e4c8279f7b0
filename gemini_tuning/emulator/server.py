"""The emulator as an object: an HTTP server on loopback, its routes, its record of requests and its faults."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import select
import socket
import struct
import tempfile
import threading
import time
import uuid
from collections import deque
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs

from .faults import Fault, Faults
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
_BODY_KEPT = 1 << 20


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
        self._server: _Server | None = None

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
            self._server = _Server((self._host, self._port), self)
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
        except Exception as error:
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
            with contextlib.suppress(OSError):
                readable, _, _ = select.select([connection], [], [], 0)
                if readable and not connection.recv(1, socket.MSG_PEEK):
                    return

    def _control(self) -> list[Route]:
        def at(method: str, path: str, answer: Any) -> Route:
            return Route(method, re.compile(path), lambda request, _found: json_response(answer(request)))

        def add(request: Request) -> object:
            value = json.loads(request.body or b"{}")
            for item in value if isinstance(value, list) else [value]:
                self.fault(Fault.from_json(item))
            return {"faults": self._faults.to_json()}

        def clear(_request: Request) -> object:
            self.clear_faults()
            return {}

        return [
            at("GET", "/_emulator/health", lambda _: {"status": "ok", "simulated": True, "url": self.url, "state": str(self._root.resolve())}),
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


# --- HTTP ------------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], emulator: Emulator) -> None:
        self.emulator = emulator
        self._connections: set[socket.socket] = set()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: that one looks up the host's name, which can take seconds without a network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Hang up on clients that keep their connection for later."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("connection from %s broke", client_address, exc_info=True)


class _HangUp(Exception):
    """The connection ends here; `reset` says how rudely."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "gemini-tuning-emulator"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        emulator = cast(_Server, self.server).emulator
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(
            self.command,
            path,
            parse_qs(query, keep_blank_values=True),
            headers,
            self._body(headers),
            f"http://{headers.get('host') or emulator.url.removeprefix('http://')}",
        )
        faults = emulator.begin(request, self.path)
        try:
            self._answer(emulator, request, faults)
        except _HangUp as end:
            self._hang_up(reset=end.reset)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            emulator.end(request)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def _answer(self, emulator: Emulator, request: Request, faults: tuple[Fault, ...]) -> None:
        for fault in faults:
            match fault.action:
                case "delay":
                    emulator.hang(self.connection, fault.seconds or 0.001)
                case "hang_before":
                    emulator.hang(self.connection, fault.seconds)
                    raise _HangUp(reset=False)
                case "reset_before":
                    raise _HangUp(reset=True)
                case "status":
                    self._send(fault.error.response())
                    return
        about_job = tuple(fault for fault in faults if fault.about_job)
        response = emulator.handle(
            request
            if not about_job
            else Request(
                request.method, request.path, request.query, request.headers, request.body, request.base, about_job
            )
        )
        cut = False
        for fault in faults:
            match fault.action:
                case "hang_after":
                    emulator.hang(self.connection, fault.seconds)
                    raise _HangUp(reset=False)
                case "reset_after":
                    raise _HangUp(reset=True)
                case "corrupt" if response.body:
                    changed = bytes([response.body[0] ^ 1]) + response.body[1:]
                    response = Response(response.status, changed, response.headers)
                case "error_in_stream" if response.events is not None:
                    error = b"data: " + fault.error.response().body + b"\r\n\r\n"
                    response = Response(200, b"", response.headers, (*response.events[:1], error))
                case "truncate":
                    cut = True
        self._send(response, cut=cut)

    def _send(self, response: Response, *, cut: bool = False) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("x-gemini-tuning-simulated", "true")
        self.send_header("x-goog-request-id", uuid.uuid4().hex)
        if response.events is not None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            events = response.events
            for number, event in enumerate(events):
                if cut and number >= len(events) // 2:
                    self.wfile.write(f"{len(event):x}\r\n".encode() + event[: len(event) // 2])
                    self.wfile.flush()
                    raise _HangUp(reset=False)
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        else:
            if response.status != 204:  # 204 must not have the header
                self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body[: len(response.body) // 2] if cut else response.body)
            if cut:
                self.wfile.flush()
                raise _HangUp(reset=False)
        self.wfile.flush()

    def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            if reset:  # lingering for 0 s turns close() into a TCP reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # The server would shut the socket down first, which sends a polite FIN; closing both files that
                # share it here sends the reset.
                self.rfile.close()
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
