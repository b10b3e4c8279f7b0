"""The simulator on this machine: the same Vertex backend, pointed at a loopback server of our own.

The server is a process of its own, as the real service is: a job goes on when the notebook's kernel dies, and two
processes with one working directory see one service. It ends by itself when nobody asks and nothing trains.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import BackendError, ConfigError
from .vertex import Vertex

_IDLE_EXIT = 60.0
_START_TIMEOUT = 30.0
_TRUST = 5.0


@dataclass(frozen=True)
class Offline(Vertex):
    """Everything on this machine, free of charge, and *simulated*: a small numpy model in the place of Gemini.

    It really trains, so data and settings change the outcome as they would, but its quality says nothing about
    Gemini's. State is kept under `offline/` in the working directory.
    """

    project: str = "offline"
    location: str = field(default="us-central1", kw_only=True)
    staging: str | None = field(default="gs://offline-staging", kw_only=True)
    reconcile: float = field(default=2.0, kw_only=True)
    timeout: float = field(default=60.0, kw_only=True)
    state: str | None = field(default=None, kw_only=True)

    @property
    def simulated(self) -> bool:
        """True, and every number made with it says so."""
        return True

    def describe(self) -> dict[str, str]:
        """`{"kind": "offline"}`: where its state lies does not change what it would answer."""
        return {"kind": "offline"}

    def bind(self, workdir: str) -> Offline:
        """The simulator whose state lies in this working directory."""
        if self.state is not None:
            return self
        if workdir not in self._open.bound:
            self._open.bound[workdir] = replace(self, state=str(Path(workdir) / "offline"))
        return self._open.bound[workdir]  # type: ignore[no-any-return]

    async def address(self) -> str:
        """The address of the running simulator; starts it when it does not answer.

        Asked again after a few seconds: an idle simulator ends, and the next one has another port.
        """
        known = self._open.address
        if known is None or time.monotonic() - known[0] > _TRUST:
            url = await asyncio.to_thread(running_emulator, self.state)
            self._open.address = known = (time.monotonic(), url)
        return known[1]


def running_emulator(state: str | None) -> str:
    """Finds or starts the emulator process that owns a state directory; blocks until it answers."""
    if state is None:
        msg = "the offline backend has no working directory yet."
        raise ConfigError(msg, hint="use it in a project: .using(backend='offline')", code="config-backend")
    folder = Path(state).resolve()
    ready = folder / "server.json"
    url = _answering(ready)
    if url is not None:
        return url
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _START_TIMEOUT
    process: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        if process is None or process.poll() is not None:
            # Exit code 3: another process was first and owns the directory; it will write the same ready file.
            process = _start(folder, ready)
        for _ in range(40):
            url = _answering(ready)
            if url is not None:
                return url
            if process.poll() is not None and process.returncode != 3:
                tail = (folder / "server.log").read_text(encoding="utf-8", errors="backslashreplace")[-2000:]
                msg = f"the offline simulator ended with exit code {process.returncode} as it started:\n{tail}"
                raise BackendError(msg, hint="see server.log in the offline folder.", code="backend-offline")
            time.sleep(0.05)
    msg = f"the offline simulator did not answer within {_START_TIMEOUT:g} s."
    raise BackendError(msg, hint=f"see {folder / 'server.log'}", code="backend-offline", retryable=True)


def _start(folder: Path, ready: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gemini_tuning.emulator", "--port", "0", "--state", str(folder)]
    command += ["--ready-file", str(ready), "--idle-exit", str(_IDLE_EXIT)]
    package_root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    detached: dict[str, Any] = (
        {"creationflags": 0x00000008 | 0x00000200} if sys.platform == "win32" else {"start_new_session": True}
    )
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=environment, **detached
        )
    for earlier in _started:
        earlier.poll()  # those that have ended since are taken off the process table
    _started.append(process)
    return process


_started: list[subprocess.Popen[bytes]] = []


@atexit.register
def _let_go() -> None:
    # The simulator outlives this process on purpose; Popen would warn that it is still running.
    for process in _started:
        process.returncode = 0


def _answering(ready: Path) -> str | None:
    """The URL of the ready file when a server answers there that owns the same directory."""
    try:
        url = str(json.loads(ready.read_bytes())["url"])
        # The file may be of an earlier life and the port somebody else's by now.
        if not url.startswith("http://127.0.0.1:"):
            return None
        with urllib.request.urlopen(f"{url}/_emulator/health", timeout=2) as answer:
            health = json.load(answer)
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return None
    return url if Path(health.get("state", "")) == ready.parent else None
