"""Every error of the library.

    GeminiTuningError
      PlanError(ValueError)      a verb got a value that can never work
      DataError(ValueError)      a record is unusable: file, line, field, what was expected
      ConfigError(ValueError)    no backend, no staging bucket, unknown model, missing extra
      LedgerError(RuntimeError)  the working directory cannot be used as asked
      BackendError(RuntimeError) Google said no, or could not be reached
      BudgetError(RuntimeError)  the estimate, or the service's own count, is above the cap
      JobError(RuntimeError)     a tuning job did not give a model
        JobFailed, JobCancelled, JobTimeout(TimeoutError), JobUnknown

Each message has three parts: what was given, what is possible, what to do next. Each error has a stable
`code` with an anchor in `docs/errors.md`, and survives pickling with all its attributes.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

DOCS = "docs/errors.md"
_COLUMNS = 20
"""Columns that a message names."""


class GeminiTuningError(Exception):
    """Root of all errors that the library raises on purpose.

    Args:
        message: What was given, and why it does not work.
        hint: What to do next; shown on a line of its own.
        code: Stable identifier, an anchor in `docs/errors.md`.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        for name, value in details.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        hint = f"\nHint: {self.hint}" if self.hint else ""
        return f"{self.message}{hint}\n[{self.code}: {DOCS}#{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments and later attributes would be lost by the default, which repeats `args` only.
        return _rebuild, (type(self), self.message, dict(self.__dict__))


def _rebuild(cls: type[GeminiTuningError], message: str, state: dict[str, Any]) -> GeminiTuningError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class PlanError(GeminiTuningError, ValueError):
    """A verb got a value that can never work, or a plan that does not fit the data."""

    code = "plan"

    @classmethod
    def bad_value(cls, verb: str, argument: str, value: object, expected: str, *, hint: str = "") -> PlanError:
        """The message for one wrong argument of one verb."""
        msg = f"{verb}({argument}={value!r}): expected {expected}."
        return cls(msg, hint=hint, code="plan-value")


class DataError(GeminiTuningError, ValueError):
    """A record or a file is unusable.

    Attributes:
        file: The file as the user named it, or None for records in memory.
        line: 1-based line (JSONL, CSV) or record (JSON array, records), or None.
        field: The field at fault, or None.
    """

    code = "data"
    file: str | None = None
    line: int | None = None
    field: str | None = None

    @classmethod
    def at(
        cls,
        what: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
        hint: str = "",
        code: str = "data-record",
    ) -> DataError:
        """An error that names its place: `tickets.jsonl, line 3, field 'label': what`."""
        # What a message quotes comes from files: it must be writable, and must not move a terminal's cursor.
        what, hint, shown = (_plain(text) for text in (what, hint, file or ""))
        place = ", ".join(
            part
            for part in (shown, f"line {line}" if line is not None else "", f"field {field!r}" if field else "")
            if part
        )
        return cls(f"{place}: {what}" if place else what, hint=hint, code=code, file=file, line=line, field=field)

    @classmethod
    def missing_column(
        cls, column: str, available: Iterable[str], *, argument: str, file: str | None = None, line: int | None = None
    ) -> DataError:
        """A named column is not there: lists those that are, and the nearest one."""
        names = [str(name) for name in available]
        near = get_close_matches(column, names, n=1)
        guess = f"Did you mean {argument}={near[0]!r}? " if near else ""
        shown = ", ".join(map(repr, names[:_COLUMNS])) or "(none)"
        more = f" and {len(names) - _COLUMNS:,} more" if len(names) > _COLUMNS else ""
        return cls.at(
            f"no column {column!r}; the columns are {shown}{more}",
            file=file,
            line=line,
            field=column,
            hint=f"{guess}Name the column with {argument}=.",
            code="data-column",
        )


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


class ConfigError(GeminiTuningError, ValueError):
    """Something outside the data is missing or unknown: backend, bucket, model, extra."""

    code = "config"

    @classmethod
    def no_backend(cls, verb: str) -> ConfigError:
        """A run verb was called on a project without a backend."""
        return cls(
            f"{verb}() does real work and this project has no backend.",
            hint="choose one: .using(backend='offline') runs everything on this machine, simulated and free; "
            ".using(backend=Vertex('my-project', location='us-central1', staging='gs://my-bucket')) "
            "runs on Google Cloud and costs money.",
            code="config-backend",
        )

    @classmethod
    def missing_extra(cls, what: str, package: str, extra: str) -> ConfigError:
        """An optional package is not installed."""
        return cls(
            f"{what} needs the package {package!r}, which is not installed.",
            hint=f"pip install 'gemini-tuning[{extra}]'",
            code="config-extra",
        )

    @classmethod
    def unknown_model(cls, model: str, known: Iterable[str]) -> ConfigError:
        """The model is not in the dated model table."""
        names = list(known)
        near = get_close_matches(model, names, n=1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        return cls(
            f"unknown model {model!r}; the known ones are {', '.join(names)}.",
            hint=f"{guess}For a model that is newer than this table give the settings yourself: "
            ".recipe(epochs=..., learning_rate_multiplier=..., adapter_size=...), "
            "each a number, or None for the service's default.",
            code="config-model",
        )


class LedgerError(GeminiTuningError, RuntimeError):
    """The working directory belongs to another project, has a newer schema, or holds a stale claim."""

    code = "ledger"


class BackendError(GeminiTuningError, RuntimeError):
    """A call to Google failed for good; the client's own error is the `__cause__`.

    Attributes:
        status_code: HTTP status, or None when no answer came.
        status: Google's name for it (`RESOURCE_EXHAUSTED`), or the name of the transport error.
        retryable: Whether the same call may work later.
        attempts: How often it was tried.
        ambiguous: Whether the call may have been carried out although it failed (no answer came, or a 5xx).
    """

    code = "backend"
    status_code: int | None = None
    status: str = ""
    retryable: bool = False
    attempts: int = 1
    ambiguous: bool = False


class BudgetError(GeminiTuningError, RuntimeError):
    """The estimate, or the service's own count of billable tokens, is above `max_cost`."""

    code = "budget"


class JobError(GeminiTuningError, RuntimeError):
    """A tuning job did not give a model; `.job` is the live handle."""

    code = "job"
    job: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A live handle owns sockets: across a process boundary its name is what can travel.
        state = dict(self.__dict__)
        job = state.get("job")
        if job is not None and not isinstance(job, str):
            state["job"] = getattr(job, "name", None)
        return _rebuild, (type(self), self.message, state)


class JobFailed(JobError):
    """The service ended the job with an error; `.cause` names the kind, `.raw` is its own text."""

    code = "job-failed"


class JobCancelled(JobError):
    """The job was cancelled before it gave a model."""

    code = "job-cancelled"


class JobTimeout(JobError, TimeoutError):
    """`wait(timeout=)` passed; the job goes on, and `.job.wait()` attaches again."""

    code = "job-timeout"


class JobUnknown(JobError):
    """A create call got no answer and the job cannot be found: perhaps bought. Look before paying again."""

    code = "job-unknown"
