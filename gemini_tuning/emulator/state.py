"""The emulator's state on disk: one small file per entity, replaced atomically, owned by one process.

A kill at any moment leaves either the old file or the new one. Nothing is fsynced: the promise is about killed
processes, not about lost power. Names that come from clients never become file names; callers give ids or hashes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

__all__ = ["Record", "State", "StateBusy", "Table", "write_atomic"]

Record = dict[str, Any]
_SAFE = re.compile(r"[0-9A-Za-z][0-9A-Za-z@_-]{0,127}")


class StateBusy(RuntimeError):
    """Another emulator owns the directory."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file or nothing."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class Table:
    """A named set of JSON records, kept in memory and written through.

    Records are never changed in place: a writer puts a new one, so a reader may use what it got without a lock.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._records: dict[str, Record] = {}
        root.mkdir(parents=True, exist_ok=True)
        for path in root.glob("*/*.json"):
            with suppress(ValueError):  # a torn file cannot happen here; a stray one is left alone
                self._records[path.stem] = json.loads(path.read_bytes())

    def get(self, key: str) -> Record | None:
        """The record, or None."""
        return self._records.get(key)

    def put(self, key: str, record: Record) -> Record:
        """Write the record to disk, then show it."""
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        with self._lock:
            write_atomic(path, json.dumps(record, ensure_ascii=False).encode())
            self._records[key] = record
        return record

    def update(self, key: str, **changes: Any) -> Record:
        """Put the record with some fields changed."""
        with self._lock:
            return self.put(key, {**self._records[key], **changes})

    def delete(self, key: str) -> None:
        """Forget the record; deleting what is gone is fine."""
        with self._lock:
            self._path(key).unlink(missing_ok=True)
            self._records.pop(key, None)

    def values(self) -> list[Record]:
        """A snapshot of all the records."""
        with self._lock:
            return list(self._records.values())

    def items(self) -> list[tuple[str, Record]]:
        """A snapshot of all the keys and records."""
        with self._lock:
            return list(self._records.items())

    def _path(self, key: str) -> Path:
        if not _SAFE.fullmatch(key):
            msg = f"not a safe record key: {key!r}"
            raise ValueError(msg)
        return self._root / key[-2:] / f"{key}.json"


class State:
    """The directory: tables of records beside folders of larger files, behind one lock file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._lock_file = _take(root / "lock")
        for leftover in root.rglob(".*.tmp*"):
            leftover.unlink(missing_ok=True)
        self.lock = threading.RLock()
        """Held around a change that touches more than one record."""
        self.jobs = Table(root / "jobs")
        self.models = Table(root / "models")
        self.endpoints = Table(root / "endpoints")
        self.operations = Table(root / "operations")
        self.objects = Table(root / "objects")
        self.uploads = Table(root / "uploads")

    def folder(self, name: str, shard: str = "") -> Path:
        """A folder for larger files, made when missing."""
        path = self.root / name / shard[-2:] if shard else self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def close(self, *, remove: bool = False) -> None:
        """Give the directory up, for somebody else or for good."""
        self._lock_file.close()
        if remove:
            shutil.rmtree(self.root, ignore_errors=True)


def read_lines(path: Path) -> Iterator[Record]:
    """The records of an append-only JSONL file, without the torn last line that a kill may leave."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                with suppress(ValueError):
                    yield json.loads(line)


def _take(path: Path) -> IO[bytes]:
    """Lock the file for as long as it stays open; the operating system lets go when the process dies."""
    file = path.open("a+b")
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        msg = f"another emulator serves the state directory {str(path.parent)!r}; give this one its own"
        raise StateBusy(msg) from None
    return file
