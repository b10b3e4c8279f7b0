"""The threads that train jobs, oldest first, and bring each to its end.

One that a kill found RUNNING starts again from the beginning of its training, on the data that it had read: same
data, same seed, same weights. The points of its curves that were written already stay, so nobody sees a curve
shrink.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .catalog import ADAPTERS, base_model_id, serving_location
from .dataset import Dataset, DatasetError, read_dataset
from .registry import Registry
from .specs import METHODS, hyper_parameters
from .state import Record, State, read_lines, write_atomic
from .storage import Storage
from .wire import ApiError, timestamp

if TYPE_CHECKING:
    from .values import Point, Settings
    from .weights import Weights

__all__ = ["CANCELLED", "TERMINAL", "Trainer", "last_only"]

_log = logging.getLogger("gemini_tuning.emulator")
TERMINAL = frozenset({"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"})
CANCELLED, _INVALID_ARGUMENT, _UNIMPLEMENTED, _INTERNAL = 1, 3, 12, 13
_VALIDATION_LIMIT = 5000


class _Failed(Exception):
    """The job ends FAILED with this google.rpc.Status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Stopped(Exception):
    """The job was cancelled, or the emulator is going down."""


class Trainer:
    """Trains the jobs of one state directory, `concurrency` of them at a time."""

    def __init__(self, state: State, storage: Storage, registry: Registry, *, concurrency: int) -> None:
        self._state = state
        self._storage = storage
        self._registry = registry
        self._concurrency = concurrency
        self._wake = threading.Condition()
        self.claimed: set[str] = set()
        """The jobs that a thread works on."""
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._points: dict[str, list[Record]] = {}
        self._points_lock = threading.Lock()

    def start(self) -> None:
        """Begin to train, first of all what was RUNNING when the last process ended."""
        for number in range(self._concurrency):
            thread = threading.Thread(target=self._work, name=f"emulator-trainer-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop training where it is; the jobs stay RUNNING on disk."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(timeout=10)

    def wake(self) -> None:
        """Look for work: something about the jobs has changed."""
        with self._wake:
            self._wake.notify_all()

    def points(self, job: str) -> list[Record]:
        """The points of a job's curves so far, in order."""
        with self._points_lock:
            if job not in self._points:
                self._points[job] = list(read_lines(self._curve_path(job)))
            return list(self._points[job])

    def _curve_path(self, job: str) -> Path:
        return self._state.folder("curves", job) / f"{job}.jsonl"

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._run(job)
            except _Stopped:
                current = self._state.jobs.get(job)
                if current and current["state"] == "JOB_STATE_CANCELLING":
                    self.end(job, "JOB_STATE_CANCELLED", CANCELLED, "The tuning job was cancelled.")
            except _Failed as error:
                self.end(job, "JOB_STATE_FAILED", error.code, str(error))
            except Exception as error:  # noqa: BLE001 -- a job must end, whatever its data does to the learner
                _log.exception("tuning job %s failed", job)
                self.end(job, "JOB_STATE_FAILED", _INTERNAL, f"Internal error encountered. {error!r}")
            finally:
                with self._wake:
                    self.claimed.discard(job)
                    self._wake.notify_all()

    def _next(self) -> str | None:
        """Claim the job to train next, or None when the emulator stops."""
        with self._wake:
            while not self._stopping:
                now = time.time()
                waits: list[float] = []
                open_jobs = [
                    job
                    for job in self._state.jobs.values()
                    if job["state"] not in TERMINAL and job["id"] not in self.claimed
                ]
                # A job that had started keeps its place before those that never did.
                for job in sorted(open_jobs, key=lambda job: (not job.get("startTime"), job["createTime"], job["id"])):
                    left = 0.0 if job.get("startTime") else self._stay(job, now, running=False)
                    if left <= 0 or job["state"] == "JOB_STATE_CANCELLING":
                        self.claimed.add(job["id"])
                        return str(job["id"])
                    waits.append(left)
                self._wake.wait(min(waits, default=None))
        return None

    def _stay(self, job: Record, now: float, *, running: bool) -> float:
        """How many seconds a scripted fault keeps the job where it is."""
        stays = job.get("stays")
        if not stays or (stays["state"] == "JOB_STATE_RUNNING") != running:
            return 0.0
        return float(stays["since"] + stays["seconds"] - now)

    def _should_stop(self, job: str) -> bool:
        current = self._state.jobs.get(job)
        return self._stopping or current is None or current["state"] in TERMINAL | {"JOB_STATE_CANCELLING"}

    def _note(self, job: str, **changes: Any) -> Record:
        """Write progress, unless the job was cancelled meanwhile."""
        with self._state.lock:
            if self._should_stop(job):
                raise _Stopped
            return self._state.jobs.update(job, **changes, updateTime=timestamp())

    def _run(self, identity: str) -> None:
        """Bring one job to its end; every part can be repeated after a kill."""
        job = self._state.jobs.get(identity) or {}
        if not job.get("startTime"):
            job = self._note(
                identity,
                state="JOB_STATE_RUNNING",
                detail="TUNING_JOB_STATE_PROCESSING_DATASET",
                startTime=timestamp(),
                **({"stays": {**job["stays"], "since": time.time()}} if job.get("stays") else {}),
            )
        while self._stay(job, time.time(), running=True) > 0:
            if self._should_stop(identity):
                raise _Stopped
            time.sleep(0.01)
        if fails := job.get("fails"):
            raise _Failed(fails["code"], fails["message"])
        body = job["body"]
        if "supervisedTuningSpec" not in body:
            method = next(METHODS[key] for key in METHODS if key in body)
            message = f"The emulator does not train by {method}; it trains supervised jobs only."
            raise _Failed(_UNIMPLEMENTED, message)
        training, validation = self._datasets(job)
        self._train(job, training, validation)

    def _datasets(self, job: Record) -> tuple[Dataset, Dataset | None]:
        spec = job["body"]["supervisedTuningSpec"]
        try:
            training = read_dataset(*self._snapshot(job, spec, "trainingDatasetUri"))
            if not spec.get("validationDatasetUri"):
                return training, None
            validation = read_dataset(*self._snapshot(job, spec, "validationDatasetUri"))
        except DatasetError as error:
            raise _Failed(_INVALID_ARGUMENT, str(error)) from None
        if len(validation.examples) > _VALIDATION_LIMIT:
            count = len(validation.examples)
            message = f"The validation dataset has {count} examples; at most {_VALIDATION_LIMIT} are supported."
            raise _Failed(_INVALID_ARGUMENT, message)
        return training, validation

    def _snapshot(self, job: Record, spec: Mapping[str, Any], key: str) -> tuple[bytes, str]:
        """The data as the job first read it, which a restart must see again even if the object is gone by then."""
        uri = str(spec[key])
        kept = self._state.folder("snapshots") / f"{job['id']}-{key}"
        if kept.exists():
            return kept.read_bytes(), uri
        if not uri.startswith("gs://"):
            raise _Failed(_UNIMPLEMENTED, f"The emulator has no Multimodal Datasets: {uri}.")
        content = self._storage.read(uri)
        if content is None:
            raise _Failed(_INVALID_ARGUMENT, f"GCS object not found: {uri} does not exist or cannot be read.")
        if not uri.endswith(".jsonl"):
            raise _Failed(_INVALID_ARGUMENT, f"{uri} should be a GCS object of type JSONL.")
        write_atomic(kept, content)
        return content, uri

    def _train(self, job: Record, training: Dataset, validation: Dataset | None) -> None:
        from .learner import planned_steps, resolve, train
        from .values import Settings

        identity = job["id"]
        base, parent, start = self._start(job)
        rows = training.rows
        settings = resolve(Settings(*hyper_parameters(job["body"])), len(rows))
        self._note(
            identity,
            detail="TUNING_JOB_STATE_TUNING",
            stats=training.stats(planned_steps(len(rows), settings)),
            hyperParameters={**_filled(settings), **_asked(job)},
        )
        done = {point["step"] for point in self.points(identity)}
        made: list[Record] = []
        with self._curve_path(identity).open("ab") as curve:
            if curve.tell() and not _ends_line(self._curve_path(identity)):
                curve.write(b"\n")  # ends the line that a kill tore; readers skip it

            def on_point(point: Point) -> None:
                if point.step in done:
                    return
                record = {**asdict(point), "wallTime": timestamp()}
                curve.write(json.dumps(record).encode() + b"\n")
                curve.flush()
                with self._points_lock:
                    self._points[identity].append(record)

            for checkpoint in train(
                rows,
                validation.rows if validation else [],
                base_model=base,
                settings=settings,
                seed=_seed(job, base, settings, training, validation, start),
                start=start,
                on_point=on_point,
                should_stop=lambda: self._should_stop(identity),
            ):
                path = self._registry.weights_path(identity, checkpoint.checkpoint_id)
                checkpoint.weights.save(path)
                made.append(
                    {"checkpointId": checkpoint.checkpoint_id, "epoch": checkpoint.epoch, "step": checkpoint.step}
                )
        self._note(identity, detail="TUNING_JOB_STATE_POST_PROCESSING")
        for dropped in made[:-1] if last_only(job) else ():
            self._registry.weights_path(identity, dropped["checkpointId"]).unlink(missing_ok=True)
        with self._state.lock:  # a job that is cancelled now leaves no model behind
            if self._should_stop(identity):
                raise _Stopped
            model = self._registry.publish(job, made[-1:] if last_only(job) else made, base, parent)
            kept = {key: model[key] for key in ("id", "version", "checkpoints", "defaultCheckpointId")}
            kept["endpointLocation"] = serving_location(base, job["location"])
            self._note(identity, state="JOB_STATE_SUCCEEDED", endTime=timestamp(), model=kept)
        self._clean(identity)

    def _start(self, job: Record) -> tuple[str, Record | None, Weights | None]:
        """The base model, and for continuous tuning the model version and weights to go on from."""
        from .weights import Weights

        pre = job["body"].get("preTunedModel")
        if not pre:
            return base_model_id(job["body"]["baseModel"]), None, None
        try:
            parent, checkpoint = self._registry.pre_tuned(pre["tunedModelName"], pre["checkpointId"])
            start = Weights.load(self._registry.weights_path(parent["job"], checkpoint))
        except (ApiError, FileNotFoundError) as error:
            raise _Failed(_INVALID_ARGUMENT, f"The pre-tuned model cannot be read: {error}") from None
        return parent["baseModel"], parent, start

    def end(self, job: str, state: str, code: int, message: str) -> None:
        """End a job without a model."""
        self._state.jobs.update(
            job,
            state=state,
            detail=None,
            error={"code": code, "message": message},
            endTime=timestamp(),
            updateTime=timestamp(),
        )
        self._clean(job)

    def _clean(self, job: str) -> None:
        for path in self._state.folder("snapshots").glob(f"{job}-*"):
            path.unlink(missing_ok=True)


def last_only(job: Record) -> bool:
    """Whether only the last checkpoint is wanted."""
    return bool(job["body"]["supervisedTuningSpec"].get("exportLastCheckpointOnly"))


def _asked(job: Record) -> Record:
    return dict(job["body"]["supervisedTuningSpec"].get("hyperParameters") or {})


def _filled(settings: Settings) -> Record:
    """The hyperparameters in force, as the service reports them."""
    names = {size: name for name, size in ADAPTERS.items()}
    return {
        "epochCount": str(settings.epochs),
        "learningRateMultiplier": settings.learning_rate_multiplier,
        "adapterSize": names[settings.adapter_size or 4],
    }


def _seed(
    job: Record,
    base: str,
    settings: Settings,
    training: Dataset,
    validation: Dataset | None,
    start: Weights | None,
) -> int:
    """A seed from what goes in, so that equal jobs make equal models and a job repeated after a kill the same one."""
    pre = job["body"].get("preTunedModel") if start is not None else None
    inputs = [base, asdict(settings), pre, [e.contents for e in training.examples],
              [e.contents for e in validation.examples] if validation else None]  # fmt: skip
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
