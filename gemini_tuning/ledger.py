"""The working directory: what was done, under content keys, safe against a kill at any byte.

Layout of `.gemini_tuning/`::

    project.json             schema and the project's name
    runs/<kind>/<key>.json   one finished record (written whole or not at all)
    runs/<kind>/<key>.jsonl  a journal: rows appended as they happen; a torn last line is ignored
    blobs/<sha256>           bytes by content
    claims/<kind>-<key>      who is working on it, with a heartbeat
    offline/                 the simulator's own state

This module knows bytes, JSON and keys only. Nothing from data or servers is ever used as a path: kinds are the
library's own words, and keys are hex digits.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import LedgerError

SCHEMA = 1
DEFAULT = Path(".gemini_tuning")

_log = logging.getLogger(__name__)
_SAFE = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


def digest(*parts: str | bytes) -> str:
    """64 hex digits over length-prefixed parts, so that ("ab", "c") and ("a", "bc") differ."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big"))
        sha.update(data)
    return sha.hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Writes whole or not at all: a temporary file beside it, flushed to disk, then renamed over it."""
    with open_atomic(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """The same for what is written piece by piece: the file appears when the block ends, and not when it raises."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            msg = f"{path} cannot be written: {error.strerror or error}."
            hint = "free some space, or choose another workdir= that this user may write to."
            raise LedgerError(msg, hint=hint, code="ledger-write") from error
        raise


def _place() -> str:
    """Names this machine's boot and process namespace, in which process ids mean something; empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _is_dead(holder: bytes) -> bool:
    """Whether a claim's process is known to be gone: only for a process of this very machine and namespace."""
    try:
        claim = json.loads(holder)
        if not claim["place"] or claim["place"] != _place():
            return False
        os.kill(int(claim["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False  # alive under another user, or a claim that is still being written
    return False


class Journal:
    """Append-only rows of one run. Threads may append; a reader skips a line that a kill has torn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def append(self, row: dict[str, Any]) -> None:
        """Adds one row and hands it to the operating system before returning."""
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # A torn line of an earlier life would swallow this one: end it first.
                if file.tell() and not self._ends_with_newline():
                    line = b"\n" + line
                file.write(line)

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows in order."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    row = json.loads(line.decode("utf-8", "surrogatepass"))
                    if isinstance(row, dict):
                        yield row


class Claim:
    """A key that this process works on: kept alive by a heartbeat thread until released."""

    def __init__(self, path: Path, token: str, beat: float) -> None:
        self._path = path
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, args=(beat,), name="gemini-tuning-claim", daemon=True)
        self._thread.start()

    def _keep_alive(self, beat: float) -> None:
        # Not after another process has taken it over: that would keep a claim alive that is not ours.
        while not self._stop.wait(beat) and self.is_held():
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def is_held(self) -> bool:
        """Whether it is still ours: a process that was suspended for long may have lost it without knowing."""
        try:
            return bool(json.loads(self._path.read_bytes()).get("token") == self._token)
        except (OSError, ValueError):
            return False

    def release(self) -> None:
        """Gives the key free; doing it twice is fine."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self.is_held():
                self._path.unlink()

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Ledger:
    """The working directory of one project, shared by any number of processes.

    Args:
        path: The directory; made on the first write.
        name: The project's name, checked against what is there.
        claim_timeout: Seconds without a heartbeat after which a claim counts as abandoned. Liveness is the
            claim file's modification time, because a process id means nothing on another host.
    """

    def __init__(self, path: Path, name: str, *, claim_timeout: float = 15.0) -> None:
        self.path = path
        self.name = name
        self.claim_timeout = claim_timeout
        self._checked = False

    @classmethod
    def describe(cls, path: Path) -> dict[str, Any] | None:
        """The header of the working directory, or None when there is none."""
        try:
            header = json.loads((path / "project.json").read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"{path} cannot be used as a working directory: {error.strerror or error}."
            raise LedgerError(msg, hint="choose another workdir=.", code="ledger-write") from error
        except ValueError as error:
            msg = f"{path / 'project.json'} is not readable as JSON."
            raise LedgerError(msg, hint="restore it, or use another workdir=.", code="ledger-corrupt") from error
        if not isinstance(header, dict) or not isinstance(header.get("schema"), int):
            msg = f"{path / 'project.json'} is not a header of a gemini_tuning project."
            raise LedgerError(msg, hint="use another workdir=.", code="ledger-corrupt")
        if header["schema"] > SCHEMA:
            msg = f"{path} has schema {header['schema']}; this version reads up to {SCHEMA}."
            raise LedgerError(msg, hint="upgrade gemini-tuning, or use another workdir=.", code="ledger-schema")
        return header

    def _check(self) -> None:
        header = self.describe(self.path)
        if header is not None and header.get("name") != self.name:
            msg = f"{self.path} belongs to the project {header.get('name')!r}, not to {self.name!r}."
            raise LedgerError(msg, hint="use another workdir=, or the same name=.", code="ledger-name")

    def _ready(self) -> None:
        if self._checked:
            return
        self._check()
        if self.describe(self.path) is None:
            header = {"schema": SCHEMA, "name": self.name}
            write_atomic(self.path / "project.json", json.dumps(header, ensure_ascii=False).encode())
            self._check()  # another process may have been first, with another name
        self._checked = True

    def _file(self, folder: str, kind: str, key: str, suffix: str = "") -> Path:
        if not (_SAFE.fullmatch(kind) and _SAFE.fullmatch(key)):
            msg = f"not a ledger key: {kind!r}/{key!r}"
            raise LedgerError(msg, code="ledger-key")
        return self.path / folder / kind / f"{key}{suffix}"

    def read(self, kind: str, key: str) -> Any:
        """The record as JSON, or None when there is none."""
        data = self.read_bytes(kind, key)
        return None if data is None else json.loads(data)

    def read_bytes(self, kind: str, key: str) -> bytes | None:
        """The record's bytes, or None; LedgerError when the directory belongs to another project."""
        self._check()
        try:
            return self._file("runs", kind, key, ".json").read_bytes()
        except FileNotFoundError:
            return None

    def write(self, kind: str, key: str, record: Any) -> None:
        """Writes a record whole; an equal key is written over."""
        self.write_bytes(kind, key, json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True).encode())

    def write_bytes(self, kind: str, key: str, data: bytes) -> None:
        """The same with bytes that are JSON already."""
        self._ready()
        write_atomic(self._file("runs", kind, key, ".json"), data)

    def keys(self, kind: str) -> list[str]:
        """The keys that have a record of this kind, oldest first."""
        files = sorted((self.path / "runs" / kind).glob("*.json"), key=lambda file: (file.stat().st_mtime, file.name))
        return [file.stem for file in files]

    def journal(self, kind: str, key: str) -> Journal:
        """The journal of a run."""
        self._ready()
        return Journal(self._file("runs", kind, key, ".jsonl"))

    def put_blob(self, data: bytes) -> str:
        """Keeps bytes under their sha256 and returns it; what is there already is not written again."""
        self._ready()
        name = hashlib.sha256(data).hexdigest()
        path = self.path / "blobs" / name
        if not path.exists():
            write_atomic(path, data)
        return name

    def blob(self, name: str) -> bytes | None:
        """The bytes, or None when they are not there or no longer what their name says."""
        if not re.fullmatch(r"[0-9a-f]{64}", name):
            return None
        try:
            data = (self.path / "blobs" / name).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == name else None

    def claim(self, kind: str, key: str, *, wait: float, done: Callable[[], bool] | None = None) -> Claim | None:
        """Takes a key for this process, by an exclusive create.

        While another process holds it with a live heartbeat this waits, up to `wait` seconds, and returns None
        as soon as `done()` says that the work was finished there. An abandoned claim (no heartbeat for
        `claim_timeout`) is taken over. Raises LedgerError when a live claim outlasts `wait`.
        """
        for claim in self._attempts(kind, key, wait, done):
            if claim is not None:
                return claim
            time.sleep(self._pause)
        return None

    async def claim_async(
        self, kind: str, key: str, *, wait: float, done: Callable[[], bool] | None = None
    ) -> Claim | None:
        """The same for the private loop: who waits here holds no thread, so hundreds may wait."""
        for claim in self._attempts(kind, key, wait, done):
            if claim is not None:
                return claim
            await asyncio.sleep(self._pause)
        return None

    def drop_claim(self, kind: str, key: str) -> None:
        """Takes away what a holder that was killed after its work was done has left; a live one does not mind."""
        with contextlib.suppress(FileNotFoundError):
            self._file("claims", kind, key).unlink()

    @property
    def _pause(self) -> float:
        return min(0.2, self.claim_timeout / 10)

    def _attempts(self, kind: str, key: str, wait: float, done: Callable[[], bool] | None) -> Iterator[Claim | None]:
        """Gives None for "wait a little", the claim when it is held; ends when `done()`."""
        self._ready()
        path = self._file("claims", kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + wait
        seen: tuple[float, float] | None = None  # (mtime last seen, our clock when it changed)
        waited: list[float] = []
        while True:
            token = secrets.token_hex(8)
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                pass
            else:
                with os.fdopen(handle, "wb") as file:
                    file.write(json.dumps({"token": token, "place": _place(), "pid": os.getpid()}).encode())
                yield Claim(path, token, self.claim_timeout / 5)
                return
            if done is not None and done():
                return
            try:
                beat, holder = path.stat().st_mtime, path.read_bytes()
            except FileNotFoundError:
                continue
            # Only differences of the file's own clock and of our own are compared: hosts disagree about the time.
            if seen is None or seen[0] != beat:
                seen = (beat, time.monotonic())
                waited.append(beat)
                if len(waited) == 1:
                    _log.warning("waiting for another process that works on the same %s (%s)", kind, path)
            if _is_dead(holder) or time.monotonic() - seen[1] > self.claim_timeout:
                _log.warning("taking over an abandoned claim: %s", path.name)
                self._take_away(path, holder)
                seen = None
                continue
            if time.monotonic() > deadline:
                msg = f"{kind} {key[:12]} is being worked on elsewhere, and still is after {wait:g} s ({path})."
                raise LedgerError(msg, hint="wait for it, or stop that process.", code="ledger-claim")
            yield None

    @staticmethod
    def _take_away(path: Path, stale: bytes) -> None:
        # Renaming is exclusive: of two processes that both saw it abandoned, one gets the file. If the other was
        # so quick that this is its new claim already, it goes back.
        grave = path.with_name(f".{path.name}.{secrets.token_hex(4)}.dead")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, grave)
            if grave.read_bytes() != stale:
                with contextlib.suppress(FileExistsError):
                    os.link(grave, path)
            grave.unlink()
