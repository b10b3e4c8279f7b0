"""The handle of a bought job: watch it, wait for it, read its curves, be told what is wrong."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..backend import loop
from ..backend.base import Backend, JobState, JobView
from ..errors import BackendError, JobCancelled, JobFailed, JobTimeout
from ..ledger import Ledger
from ..types import Finding, Instructions, TunedModel
from .curves import Curves
from .diagnosis import diagnose
from .purchase import JobRecord

_log = logging.getLogger(__name__)

_LOOK = 2.0  # seconds that a read may take at least: the look at the deadline itself is worth having
_PATIENCE = 3600.0  # seconds of nothing but failing reads before a wait without a timeout gives up

OnUpdate = Callable[["TuningJob"], None]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A named cause of a failed job, and what to do."""

    cause: str
    hint: str


# The first row with a word of the text counts, so the narrower causes stand first.
_CAUSES: tuple[tuple[tuple[str, ...], Failure], ...] = (
    (("quota", "resource exhausted"), Failure(
        cause="quota", hint="the project's tuning quota is used up; wait or ask for more, then tune(attempt={next}).")),
    (("not found", "does not exist", "gcs object", "should be a gcs"), Failure(
        cause="data-not-found", hint="the training file is not where the job looked; check the staging bucket, then "
        "tune(attempt={next}).")),
    (("missing required", "row:", "invalid example", "parse", "jsonl", "no valid", "empty"), Failure(
        cause="data-format", hint="a row was refused; project.check() names rows by file and line. Mend them and tune "
        "again: other data are another key.")),
    (("too many tokens", "exceed", "dropped"), Failure(
        cause="data-limits", hint="examples are over the model's limits; project.check() lists them.")),
    (("permission", "denied", "service account"), Failure(
        cause="permission", hint="give the tuning service account read access to the staging bucket, then "
        "tune(attempt={next}).")),
    (("unimplemented", "not supported", "does not train"), Failure(
        cause="unsupported", hint="this way of tuning is not available here.")),
)  # fmt: skip
_INTERNAL = Failure(cause="internal", hint="the service failed; tune(attempt={next}) buys again, on purpose.")


class TuningJob:
    """A tuning job that was bought once. Any number of handles, in any process, may watch the same job.

    Attributes:
        name: The service's resource name.
        key: The run's key in the ledger.
        view: What the service said last; `refresh()` asks again.
    """

    def __init__(self, backend: Backend, ledger: Ledger, record: JobRecord, view: JobView) -> None:
        self.name = record.name
        self.key = record.key
        self.view = view
        self._backend = backend
        self._ledger = ledger
        self._record = record

    @property
    def state(self) -> JobState:
        """The state that the service said last."""
        return self.view.state

    @property
    def _model(self) -> str:
        """The base model's name, also when the job went on from a tuned one."""
        return str(self._record.facts.get("model", self._record.base_model))

    @property
    def simulated(self) -> bool:
        """Whether the offline simulator runs it."""
        return self._record.simulated

    @property
    def facts(self) -> dict[str, Any]:
        """What was remembered with the purchase: recipe, data key, instructions, counts."""
        return dict(self._record.facts)

    @property
    def aio(self) -> AsyncTuningJob:
        """The awaitable form."""
        return AsyncTuningJob(self)

    def refresh(self) -> TuningJob:
        """Asks the service once and returns this handle."""
        return loop.run(self._refresh())

    def wait(self, timeout: float | None = None, *, on_update: OnUpdate | None = None) -> TunedModel:
        """Waits for the end and returns the tuned model.

        Args:
            timeout: Seconds; None waits as long as it takes.
            on_update: Called with this handle whenever something changed, in the caller's thread.

        Raises:
            JobFailed: The service ended it; `.cause` names the kind, `.raw` is the service's text.
            JobCancelled: Somebody cancelled it.
            JobTimeout: The time is over; the job goes on, and `.job` is this handle.
        """
        updates = self._updates(timeout)
        try:
            while True:
                if loop.run(_next(updates)) is None:
                    break
                if on_update is not None:
                    on_update(self)
        except KeyboardInterrupt:
            _log.warning("the job %s goes on; project.tune().wait() attaches to it again", self.name)
            raise
        return self._outcome()

    def cancel(self) -> None:
        """Asks the service to end the job; what was trained until then is billed and may leave no model."""
        loop.run(self._cancel())

    def curves(self) -> Curves:
        """Loss and fraction of correct next-step predictions so far."""
        return loop.run(self._curves())

    def diagnose(self) -> tuple[Finding, ...]:
        """What the curves say, most important first; exactly one finding is a verdict on the whole run."""
        return diagnose(self.curves())

    # --- the async core ---

    async def _cancel(self) -> None:
        await self._backend.cancel_job(self.name)
        await self._refresh()

    async def _refresh(self) -> TuningJob:
        self.view = await self._backend.get_job(self.name)
        return self

    async def _updates(self, timeout: float | None) -> AsyncIterator[JobView]:
        """Views as they change, the last one final; raises JobTimeout.

        A read that fails and may work later does not end the wait: jobs take hours, and networks come back.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        # The simulator trains in seconds, the service in minutes to hours.
        pause, longest = (0.1, 0.5) if self.simulated else (5.0, 60.0)
        shown: JobView | None = None
        failing_since: float | None = None
        while True:
            trouble = await self._look(deadline)
            if trouble is None:
                failing_since = None
                if self.view != shown:
                    shown = self.view
                    yield self.view
                if self.view.ended_for_good:
                    return
            elif deadline is None:
                now = time.monotonic()
                failing_since = now if failing_since is None else failing_since
                if now - failing_since >= _PATIENCE:
                    raise trouble
            if deadline is not None and time.monotonic() >= deadline:
                unread = f"; the last look at it failed ({type(trouble).__name__})" if trouble is not None else ""
                msg = f"{self.name} is still {self.describe()} after {timeout:g} s{unread}."
                raise JobTimeout(
                    msg,
                    hint="it goes on and costs nothing more to look at: .job.wait() attaches again.",
                    job=self,
                ) from trouble
            left = longest if deadline is None else max(0.0, deadline - time.monotonic())
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, longest)

    async def _look(self, deadline: float | None) -> Exception | None:
        """Asks the service once, no longer than to the deadline; gives back the error that may pass, raises others."""
        allowed = None if deadline is None else max(_LOOK, deadline - time.monotonic())
        try:
            # Around all tries of the one read: they may take minutes.
            async with asyncio.timeout(allowed):
                await self._refresh()
        except TimeoutError as error:
            return error
        except BackendError as error:
            if not error.retryable:
                raise
            _log.warning("looking at %s failed and is tried again: %s", self.name, error.message)
            return error
        return None

    async def _wait(self, timeout: float | None, on_update: OnUpdate | None) -> TunedModel:
        async for _ in self._updates(timeout):
            if on_update is not None:
                on_update(self)
        return self._outcome()

    async def _curves(self) -> Curves:
        kept = self._ledger.read_bytes("curves", self.key)
        if kept is not None:
            return Curves.from_records(msgspec.json.decode(kept), simulated=self.simulated)
        if not self.view.experiment:
            await self._refresh()
        if not self.view.experiment:
            return Curves.from_records((), simulated=self.simulated)
        ended = self.view.ended_for_good  # before reading: afterwards nothing can be missing
        rows = await self._backend.curves(self.view.experiment)
        if ended and rows:
            self._ledger.write_bytes("curves", self.key, msgspec.json.encode(storable(rows)))
        return Curves.from_records(rows, simulated=self.simulated)

    def _outcome(self) -> TunedModel:
        view = self.view
        if view.state == "succeeded":
            return TunedModel(
                endpoint=view.endpoint,
                model=view.model,
                base_model=self._model,
                job=self.name,
                key=self.key,
                checkpoints=view.checkpoints,
                instructions=msgspec.convert(self._record.facts.get("instructions", {}), Instructions),
                simulated=self.simulated,
                connect=_Connect(self._backend, self._model),
            )
        again = int(self._record.facts.get("attempt", 1)) + 1
        if view.state == "cancelled":
            msg = f"{self.name} was cancelled."
            raise JobCancelled(msg, hint=f"tune(attempt={again}) buys again.", job=self)
        failure = classify(view.error)
        msg = f"{self.name} failed ({failure.cause}): {view.error or 'the service gave no reason'}"
        raise JobFailed(
            msg,
            hint=failure.hint.format(next=again),
            job=self,
            cause=failure.cause,
            raw=view.error,
            status=view.error_code,
        )

    def describe(self) -> str:
        """The state in a few words: `running (tuning), epoch 3 of 20`."""
        view = self.view
        words = view.state + (f" ({view.detail})" if view.detail and not view.ended_for_good else "")
        if view.epochs_done is not None and not view.ended_for_good:
            of = f" of {view.epochs}" if view.epochs else ""
            words += f", epoch {view.epochs_done}{of}"
        return words

    def __repr__(self) -> str:
        mark = "simulated, " if self.simulated else ""
        return f"TuningJob({mark}{self.describe()}, {self.name})"

    def _repr_html_(self) -> str:
        from ..display import html_table

        view = self.view
        rows = [("state", self.describe()), ("name", self.name), ("key", self.key[:16])]
        rows += [("examples", f"{view.examples:,}")] if view.examples else []
        rows += [("endpoint", view.endpoint)] if view.endpoint else []
        rows += [("error", view.error)] if view.error else []
        return html_table(("tuning job", "simulated" if self.simulated else "Vertex AI"), rows)


async def _next(views: AsyncIterator[JobView]) -> JobView | None:
    return await anext(views, None)


def storable(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of curves for JSON, which has no NaN and would keep a diverged loss as "not measured": as words instead.

    `Curves.from_records` reads the words "nan", "inf" and "-inf" as the numbers.
    """
    return [
        {
            name: str(float(value)) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def classify(error: str) -> Failure:
    """The named cause of a service's error text; an unknown one is `internal`."""
    text = error.lower()
    return next((failure for words, failure in _CAUSES if any(word in text for word in words)), _INTERNAL)


@dataclass(frozen=True)
class _Connect:
    """Gives callers for endpoints; a class and not a closure so that a TunedModel can be pickled."""

    backend: Backend
    base_model: str = field(default="")

    def __call__(self, endpoint: str) -> Any:
        return self.backend.caller(endpoint, base_model=self.base_model)


class AsyncTuningJob:
    """`job.aio`: the same verbs, awaitable from any loop."""

    def __init__(self, job: TuningJob) -> None:
        self._job = job

    async def refresh(self) -> TuningJob:
        """Asks the service once."""
        return await loop.join(self._job._refresh())

    async def wait(self, timeout: float | None = None, *, on_update: OnUpdate | None = None) -> TunedModel:
        """As `TuningJob.wait`; `on_update` is called on the library's own thread. Cancelling leaves the job running."""
        return await loop.join(self._job._wait(timeout, on_update))

    async def curves(self) -> Curves:
        """As `TuningJob.curves`."""
        return await loop.join(self._job._curves())

    async def diagnose(self) -> tuple[Finding, ...]:
        """As `TuningJob.diagnose`."""
        return diagnose(await self.curves())

    async def cancel(self) -> None:
        """As `TuningJob.cancel`."""
        await loop.join(self._job._cancel())
