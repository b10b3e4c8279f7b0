"""Vertex AI through Google's own clients: google-genai for tuning and generation, google-cloud-storage for files,
google-cloud-aiplatform for training curves.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import warnings
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, ConfigError
from ..types import Caller, Checkpoint
from . import curves, files, loop
from .address import is_loopback, location_of
from .base import JobRequest, JobState, JobView
from .generation import GeminiCaller
from .retry import ONCE, call, no_credentials

if TYPE_CHECKING:
    from google import genai

_STATES: dict[str, JobState] = {
    "JOB_STATE_QUEUED": "queued",
    "JOB_STATE_PENDING": "pending",
    "JOB_STATE_RUNNING": "running",
    "JOB_STATE_UPDATING": "running",
    "JOB_STATE_PAUSED": "paused",
    "JOB_STATE_CANCELLING": "cancelling",
    "JOB_STATE_SUCCEEDED": "succeeded",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "succeeded",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_EXPIRED": "failed",
    "JOB_STATE_CANCELLED": "cancelled",
}
_ADAPTERS = {1: "ONE", 2: "TWO", 4: "FOUR", 8: "EIGHT", 16: "SIXTEEN", 32: "THIRTY_TWO"}
_ADAPTER_SIZES = {f"ADAPTER_SIZE_{word}": size for size, word in _ADAPTERS.items()}


_all_open: weakref.WeakSet[_Connections] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # Sockets that are left open make the interpreter complain as it ends.
    if any(each.genai or each.storage for each in _all_open):
        for each in list(_all_open):
            with contextlib.suppress(Exception):
                loop.submit(each.close()).result(timeout=2)


class _Connections:
    """Clients by address and location, made on first use, used on the private loop only. Pickles as empty."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.genai: dict[tuple[str | None, str], genai.Client] = {}
        self.storage: dict[str | None, Any] = {}
        self.lock: asyncio.Lock | None = None
        self.address: tuple[float, str] | None = None
        self.bound: dict[str, Any] = {}
        _all_open.add(self)

    async def close(self) -> None:
        """Closes all clients; new ones are made when they are needed."""
        clients, storages = list(self.genai.values()), list(self.storage.values())
        self.genai.clear()
        self.storage.clear()
        for client in clients:
            await client.aio.aclose()
            client.close()
        for storage in storages:
            storage.close()
        for backend in list(self.bound.values()):
            await backend.close()

    def __reduce__(self) -> tuple[type[_Connections], tuple[()]]:
        return type(self), ()


@dataclass(frozen=True)
class Vertex:
    """Google Cloud, for money.

    Args:
        project: Google Cloud project id.
        location: Where tuning jobs run and base models are called, for example `us-central1`.
        staging: `gs://bucket` or `gs://bucket/folder` for training files; only `tune()` needs it.
        credentials: A google-auth credentials object; None means application default credentials.
        base_url: Another address of the service. At a loopback address, storage and TensorBoard are called there
            too, without credentials, and everything counts as simulated.
        reconcile: Seconds for which a job is looked for after a create call without an answer.
        timeout: Seconds for one request; a request without a time limit can hang for ever.
    """

    project: str
    location: str = field(kw_only=True)
    staging: str | None = field(default=None, kw_only=True)
    credentials: Any = field(default=None, kw_only=True, repr=False, compare=False)
    base_url: str | None = field(default=None, kw_only=True)
    reconcile: float = field(default=120.0, kw_only=True)
    timeout: float = field(default=120.0, kw_only=True)
    _open: _Connections = field(default_factory=_Connections, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.staging is not None:
            files.parse_staging(self.staging)
        if self.base_url is not None and "@" in self.base_url:
            # It stands in keys, manifests and messages.
            msg = "base_url holds a user name or password."
            raise ConfigError(msg, hint="pass credentials= instead.", code="config-credentials")

    @property
    def simulated(self) -> bool:
        """True when the address is this machine: whatever answers there, it is not Google."""
        return is_loopback(self.base_url)

    def describe(self) -> dict[str, str]:
        """What identifies this backend in keys and manifests; no credential."""
        parts = {"kind": "vertex", "project": self.project, "location": self.location}
        return parts | ({"base_url": self.base_url} if self.base_url else {})

    def bind(self, workdir: str) -> Vertex:
        """Itself: nothing of it is kept on this machine."""
        return self

    # --- clients ---

    async def address(self) -> str | None:
        """The address of the service, or None for Google's own."""
        return self.base_url

    def _lock(self) -> asyncio.Lock:
        if self._open.pid != os.getpid():
            # A forked child: these clients belong to a loop whose thread stayed behind.
            self._open.__init__()  # type: ignore[misc]
        if self._open.lock is None:
            self._open.lock = asyncio.Lock()
        return self._open.lock

    async def client(self, location: str | None = None) -> genai.Client:
        """The google-genai client for a location; hosts differ by location, so each has its own."""
        url = await self.address()
        key = (url, location or self.location)
        async with self._lock():
            if key not in self._open.genai:
                # In a thread: the import takes a second and credentials may be read from files or a server.
                self._open.genai[key] = await asyncio.to_thread(self._new_client, *key)
            return self._open.genai[key]

    def _new_client(self, url: str | None, location: str) -> genai.Client:
        from google import genai  # its import takes a second
        from google.auth.exceptions import DefaultCredentialsError
        from google.genai import types
        from google.oauth2.credentials import Credentials

        options = types.HttpOptions(
            base_url=url,
            timeout=int(self.timeout * 1000),
            # One attempt. Left unset, the async client repeats *every* request once after a broken connection,
            # a paid create among them (google-genai 2.34, `_async_request_once`).
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        # AnonymousCredentials cannot be refreshed, and google-genai wants to; a token of no value can stay.
        credentials = self.credentials or (Credentials(token="loopback") if is_loopback(url) else None)
        try:
            return genai.Client(
                vertexai=True, project=self.project, location=location, credentials=credentials, http_options=options
            )
        except DefaultCredentialsError as error:
            raise no_credentials() from error

    async def close(self) -> None:
        """Closes the connections; the backend may be used again."""
        await self._open.close()

    # --- files ---

    def check_ready(self) -> None:
        """Tuning reads its data from Cloud Storage, so it needs a bucket."""
        if self.staging is None:
            msg = f"{self!r} has no staging bucket, and tuning reads its data from Cloud Storage."
            raise ConfigError(
                msg, hint="Vertex(..., staging='gs://my-bucket'), a bucket near the location", code="config-staging"
            )

    async def put_file(self, data: bytes, *, name: str) -> str:
        """Puts a file into the staging folder, unless the same bytes are there, and returns its `gs://` URI."""
        self.check_ready()
        assert self.staging is not None
        url = await self.address()
        async with self._lock():
            if url not in self._open.storage:
                self._open.storage[url] = await asyncio.to_thread(files.storage_client, self, url)
        return await files.put(self._open.storage[url], self.staging, name, data)

    # --- jobs ---

    async def create_job(self, request: JobRequest) -> JobView:
        """One POST through the *synchronous* client.

        Its HTTP library never repeats a request by itself, in any version; the asynchronous one has done so.
        """
        client = await self.client()

        def post() -> JobView:
            return self._view(_tune(client, request, self.timeout))

        return await call("creating the tuning job", lambda: asyncio.to_thread(post), policy=ONCE)

    async def find_jobs(self, label: str, value: str) -> list[JobView]:
        """All jobs with a label, oldest first.

        Whether the service filters tuning jobs by label is not documented, so an empty filtered list is not
        believed: all jobs are then looked through here.
        """
        client = await self.client()

        async def listed(config: dict[str, Any]) -> list[JobView]:
            pager = await client.aio.tunings.list(config=config)  # type: ignore[arg-type]
            return [self._view(job) async for job in pager if (job.labels or {}).get(label) == value]

        try:
            found = await call(
                "looking for the tuning job", lambda: listed({"page_size": 100, "filter": f'labels.{label}="{value}"'})
            )
        except BackendError as error:
            if error.status_code != 400:  # a filter that the service does not take
                raise
            found = []
        if not found:
            found = await call("listing the tuning jobs", lambda: listed({"page_size": 100}))
        return sorted(found, key=lambda view: (view.created, view.name))

    async def get_job(self, name: str) -> JobView:
        """The job now."""
        client = await self.client(location_of(name))
        return self._view(await call("reading the tuning job", lambda: client.aio.tunings.get(name=name)))

    async def cancel_job(self, name: str) -> None:
        """Asks for an end; what was trained until then is billed."""
        client = await self.client(location_of(name))
        await call("cancelling the tuning job", lambda: client.aio.tunings.cancel(name=name))

    def _view(self, job: Any) -> JobView:
        tuned, stats, done = job.tuned_model, job.tuning_data_stats, job.tuning_job_metadata
        stats = stats and stats.supervised_tuning_data_stats
        spec = job.supervised_tuning_spec and job.supervised_tuning_spec.hyper_parameters
        adapter = spec and spec.adapter_size
        state = job.state.value if job.state else ""
        return JobView(
            name=job.name or "",
            state=_STATES.get(state, "unknown"),
            detail=_detail(job) or ("" if state in _STATES else state),
            error_code=job.error.code if job.error else None,
            error=(job.error.message or "") if job.error else "",
            model=(tuned and tuned.model) or "",
            endpoint=(tuned and tuned.endpoint) or "",
            checkpoints=tuple(
                Checkpoint(id=each.checkpoint_id or "", epoch=each.epoch, step=each.step, endpoint=each.endpoint)
                for each in (tuned and tuned.checkpoints) or ()
            ),
            epochs_done=done.completed_epoch_count if done else None,
            steps_done=done.completed_step_count if done else None,
            steps=stats.tuning_step_count if stats else None,
            epochs=spec.epoch_count if spec else None,
            learning_rate_multiplier=spec.learning_rate_multiplier if spec else None,
            adapter_size=_ADAPTER_SIZES.get(adapter.value) if adapter else None,
            examples=stats.tuning_dataset_example_count if stats else None,
            billable_tokens=stats.total_billable_token_count if stats else None,
            experiment=job.experiment or "",
            labels=dict(job.labels or {}),
            created=_when(job.create_time),
            started=_when(job.start_time),
            ended=_when(job.end_time),
        )

    async def curves(self, experiment: str) -> list[dict[str, Any]]:
        """The training curves of a job's experiment, through Vertex TensorBoard."""
        url = await self.address()
        return await call("reading the training curves", lambda: asyncio.to_thread(curves.read, self, url, experiment))

    # --- models ---

    def caller(self, model: str, *, base_model: str | None = None) -> Caller:
        """What answers prompts, over a client for the endpoint's own location."""
        where = location_of(model)
        return GeminiCaller(
            model=model,
            base_model=base_model or model,
            simulated=self.simulated,
            client=lambda: self.client(where),
        )

    def __enter__(self) -> Vertex:
        return self

    def __exit__(self, *_: object) -> None:
        loop.run(self.close())


def _when(time: Any) -> str:
    return time.isoformat() if time is not None else ""


def _detail(job: Any) -> str:
    """`TUNING_JOB_STATE_WAITING_FOR_QUOTA` -> `waiting for quota`."""
    state = getattr(job, "tuning_job_state", None)
    value = getattr(state, "value", state) or ""
    return str(value).removeprefix("TUNING_JOB_STATE_").replace("_", " ").lower()


def _tune(client: genai.Client, request: JobRequest, timeout: float) -> Any:
    from google.genai import types

    config = types.CreateTuningJobConfig(
        # Typed on purpose: as a dict the client silently drops `pre_tuned_model_checkpoint_id`.
        tuned_model_display_name=request.display_name,
        labels=request.labels,
        epoch_count=request.epochs,
        learning_rate_multiplier=request.learning_rate_multiplier,
        adapter_size=types.AdapterSize(f"ADAPTER_SIZE_{_ADAPTERS[request.adapter_size]}")
        if request.adapter_size
        else None,
        validation_dataset=types.TuningValidationDataset(gcs_uri=request.validation_uri)
        if request.validation_uri
        else None,
        pre_tuned_model_checkpoint_id=request.checkpoint,
        http_options=types.HttpOptions(timeout=int(timeout * 1000), retry_options=types.HttpRetryOptions(attempts=1)),
    )
    with warnings.catch_warnings():
        # The client warns that tuning is experimental on every call; that is for us to know, not for the user.
        warnings.filterwarnings("ignore", message=".*experimental.*")
        return client.tunings.tune(
            base_model=request.base_model,
            training_dataset=types.TuningDataset(gcs_uri=request.train_uri),
            config=config,
        )
