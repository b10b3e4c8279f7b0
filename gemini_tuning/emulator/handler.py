"""HTTP/1.1 on loopback: reading requests, sending replies and event streams, and breaking connections on purpose."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import sys
import uuid
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from .faults import Fault
from .wire import Request, Response

if TYPE_CHECKING:
    from .server import Emulator

__all__ = ["Server"]

_log = logging.getLogger("gemini_tuning.emulator")
_LINGER_NOT = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Server(ThreadingHTTPServer):
    """A thread per connection; connections are kept alive until the emulator closes."""

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
        """Bind and note the address."""
        # Not HTTPServer's: that one looks up the host's name, which can take seconds without a network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, and remember it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Hang up on clients that keep their connection for later."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what broke a connection; a client that went away is nobody's fault."""
        expected = isinstance(sys.exc_info()[1], ConnectionError | TimeoutError)
        _log.log(logging.DEBUG if expected else logging.ERROR, "connection from %s", client_address, exc_info=True)


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
        emulator = cast("Server", self.server).emulator
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
        response = emulator.handle(replace(request, faults=about_job))
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
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                # The server would shut the socket down first, which sends a polite FIN; closing both files that
                # share it here sends the reset.
                self.rfile.close()
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
