"""Scripted faults: what goes wrong, for which requests, how often.

Each action is one thing that a network, a proxy or the service does to a client. They combine by scripting several.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from .wire import ApiError, Request

__all__ = ["Fault", "Faults"]

Action = Literal[
    "status",
    "delay",
    "reset_before",
    "reset_after",
    "hang_before",
    "hang_after",
    "truncate",
    "corrupt",
    "error_in_stream",
    "list_lag",
    "job_fails",
    "job_stays",
]
_JOB_ACTIONS = frozenset({"list_lag", "job_fails", "job_stays"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    A request matches when `method` is equal (empty: any), `path` (a regular expression over path and query as sent)
    is found, and `body` (one over the body text) is found. The first `skip` matches pass unharmed, the next `times`
    are hit.

    - `status`: answered with HTTP `status`, `message` and `retry_after` seconds; nothing is done.
    - `delay`: acted on as usual, `seconds` later.
    - `reset_before` / `reset_after`: TCP reset; with `after` the request was acted on and only the reply is lost.
    - `hang_before` / `hang_after`: no reply, for `seconds` (0: until the fault is cleared or the client goes away).
    - `truncate`: the reply breaks off in the middle of its body or stream.
    - `corrupt`: one byte of the reply body is changed, its headers stay as they were.
    - `error_in_stream`: an event stream gives its first event and then an error object with `status`.
    - `list_lag`: the job that this request creates is missing from lists for `seconds`.
    - `job_fails`: the job that this request creates ends FAILED with google.rpc `code` and `message`.
    - `job_stays`: the job that this request creates stays in `state` for `seconds`: JOB_STATE_RUNNING before its
      training, any other state before it starts.

    The last three, and only they, match nothing but the creation of a tuning job.
    """

    action: Action
    method: str = ""
    path: str = ""
    body: str = ""
    skip: int = 0
    times: int = 1
    status: int = 503
    message: str = ""
    retry_after: float | None = None
    seconds: float = 0.0
    code: int = 13
    state: str = "JOB_STATE_PENDING"

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            msg = f"unknown fault action {self.action!r}; known: {', '.join(get_args(Action))}"
            raise ValueError(msg)
        for pattern in (self.path, self.body):
            try:
                re.compile(pattern)
            except re.error as error:
                msg = f"{pattern!r} is not a regular expression: {error}"
                raise ValueError(msg) from None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Fault:
        """A fault from what was posted; 400 for an unknown key or action."""
        unknown = sorted(set(value) - {field.name for field in fields(cls)})
        if unknown:
            raise ApiError(400, f"Unknown fault fields {unknown}; known: {[field.name for field in fields(cls)]}.")
        try:
            return cls(**value)
        except (TypeError, ValueError) as error:
            raise ApiError(400, f"Invalid fault: {error}") from None

    def matches(self, request: Request, target: str) -> bool:
        """Whether the request is one that this fault is about."""
        if self.action in _JOB_ACTIONS and not (
            request.method == "POST" and request.path.rstrip("/").endswith("/tuningJobs")
        ):
            return False
        return (
            (not self.method or self.method.upper() == request.method)
            and re.search(self.path, target) is not None
            and (not self.body or re.search(self.body, request.body.decode("utf-8", "replace")) is not None)
        )

    @property
    def about_job(self) -> bool:
        """Whether the job rather than the request is hit."""
        return self.action in _JOB_ACTIONS

    @property
    def error(self) -> ApiError:
        """The error reply of a `status` or `error_in_stream` fault."""
        return ApiError(self.status, self.message or "Scripted by the emulator.", retry_after=self.retry_after)


class Faults:
    """The faults in force, counted by request; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[Fault, list[int]]] = []
        self.cleared = threading.Event()
        """Set, and replaced, when the faults are cleared: lets go of hanging requests."""

    def add(self, fault: Fault) -> None:
        """Put one more fault in force, after those that are."""
        with self._lock:
            self._entries.append((fault, [0]))

    def clear(self) -> None:
        """Drop all the faults and let go of every hanging request."""
        with self._lock:
            self._entries.clear()
            self.cleared.set()
            self.cleared = threading.Event()

    def hits(self, request: Request, target: str) -> tuple[Fault, ...]:
        """The faults that hit this request; every match is counted."""
        with self._lock:
            hit = []
            for fault, seen in self._entries:
                if fault.matches(request, target):
                    seen[0] += 1
                    if fault.skip < seen[0] <= fault.skip + fault.times:
                        hit.append(fault)
            return tuple(hit)

    def to_json(self) -> list[dict[str, Any]]:
        """The faults in force with the number of requests that each has matched."""
        with self._lock:
            return [{**asdict(fault), "matched": seen[0]} for fault, seen in self._entries]
