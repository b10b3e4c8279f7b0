"""The one protocol between the library and whatever runs the models, and the values that cross it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from ..types import Caller, Checkpoint

JobState = Literal[
    "queued", "pending", "running", "cancelling", "paused", "succeeded", "failed", "cancelled", "unknown"
]
"""Our own closed set: the client's enum grows a member for each state that it does not know."""

TERMINAL: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is bought. A setting of None is not sent, so the service chooses.

    `base_model` is a model name, or the resource name of a tuned model (`projects/.../models/7@1`) for continuous
    tuning, then with the checkpoint to start from.
    """

    base_model: str
    train_uri: str
    validation_uri: str | None
    display_name: str
    labels: dict[str, str]
    epochs: int | None = None
    learning_rate_multiplier: float | None = None
    adapter_size: int | None = None
    checkpoint: str | None = None


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """What the service says of a job at one moment; counts are None until it knows them."""

    name: str
    state: JobState
    detail: str = ""
    error_code: int | None = None
    error: str = ""
    model: str = ""
    endpoint: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    epochs_done: int | None = None
    steps_done: int | None = None
    steps: int | None = None
    epochs: int | None = None
    learning_rate_multiplier: float | None = None
    adapter_size: int | None = None
    examples: int | None = None
    billable_tokens: int | None = None
    experiment: str = ""
    labels: dict[str, str] = {}
    created: str = ""
    started: str = ""
    ended: str = ""

    @property
    def ended_for_good(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in TERMINAL


class Backend(Protocol):
    """Runs jobs, keeps files, answers prompts. All `async` methods are awaited on the private loop.

    **Errors**: every method raises `BackendError` (or `ConfigError` before any call) and nothing of the clients.
    **Retries**: reads retry by themselves; `create_job` is sent once and never repeated.
    **Pickling**: the fields only; clients are made where they are used.
    """

    @property
    def simulated(self) -> bool:
        """True when nothing here reaches Google."""
        ...

    @property
    def reconcile(self) -> float:
        """Seconds for which a job is looked for after a create call without an answer: longer than a list can lag."""
        ...

    def describe(self) -> dict[str, str]:
        """What identifies this backend in keys and manifests; no credential, and enough to make it again."""
        ...

    def bind(self, workdir: str) -> Backend:
        """The same backend for a project's working directory (the simulator keeps its state there)."""
        ...

    def check_ready(self) -> None:
        """Raises ConfigError when a job could never be bought here, before anything is written or sent."""
        ...

    async def put_file(self, data: bytes, *, name: str) -> str:
        """Puts a file under a content-addressed name and returns its URI; what is there is not sent again."""
        ...

    async def create_job(self, request: JobRequest) -> JobView:
        """One POST. A `BackendError` with `ambiguous` means: perhaps created."""
        ...

    async def find_jobs(self, label: str, value: str) -> list[JobView]:
        """All jobs that carry a label, oldest first."""
        ...

    async def get_job(self, name: str) -> JobView:
        """The job now."""
        ...

    async def cancel_job(self, name: str) -> None:
        """Asks for an end."""
        ...

    async def curves(self, experiment: str) -> list[dict[str, Any]]:
        """Rows with `step` and any of `train_loss`, `eval_loss`, `train_accuracy`, `eval_accuracy`, by step."""
        ...

    def caller(self, model: str, *, base_model: str | None = None) -> Caller:
        """What answers prompts: a base model by name, or an endpoint by resource name (then with its base model)."""
        ...

    async def close(self) -> None:
        """Closes the connections; the backend may be used again."""
        ...
