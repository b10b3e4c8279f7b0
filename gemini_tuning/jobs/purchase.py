"""Buying a tuning job at most once.

Vertex has no request token, so the purchase is made safe around one POST:

1. claim the key in the ledger (a second process waits, then attaches);
2. upload under content-addressed names;
3. look for a job that carries the key as a label;
4. note the intent, POST once, without any retry;
5. when no answer came: look for the label again, for longer than a list can lag, before anything else;
6. record the job's name.

Whatever happens in between (a lost reply, a killed process, two processes at once), calling again with the same key
leads to the same job. When an answer was lost and no job shows up, nobody can know: `JobUnknown`, and no second POST.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ..backend import loop
from ..backend.base import Backend, JobRequest, JobView
from ..errors import BackendError, JobUnknown
from ..ledger import Claim, Ledger

LABEL = "gemini-tuning-key"
KIND = "tune"

_log = logging.getLogger(__name__)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to buy: the files as bytes, the settings, and what to remember with the job."""

    key: str
    display_name: str
    base_model: str
    train: bytes
    validation: bytes | None
    epochs: int | None = None
    learning_rate_multiplier: float | None = None
    adapter_size: int | None = None
    checkpoint: str | None = None
    facts: dict[str, Any] = {}


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger keeps of a bought job."""

    name: str
    key: str
    base_model: str
    backend: dict[str, str]
    simulated: bool
    facts: dict[str, Any] = {}


def recorded(ledger: Ledger, key: str) -> JobRecord | None:
    """The job that was bought under this key, or None."""
    data = ledger.read_bytes(KIND, key)
    return None if data is None else msgspec.json.decode(data, type=JobRecord)


async def submit(
    backend: Backend,
    ledger: Ledger,
    order: Order,
    *,
    claim_wait: float = 600.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> JobRecord:
    """The job of this order: bought now, or the one that was bought before.

    Args:
        backend: Where to buy.
        ledger: Where it is remembered.
        order: What to buy; its key decides what is "the same".
        claim_wait: Seconds to wait for another live process that is buying the same.
        clock: Wall clock, seconds.
        sleep: For tests.

    Raises:
        BackendError: The service refused; nothing was bought.
        JobUnknown: No answer came and no job can be found; perhaps bought, and not tried again.
        LedgerError: Another live process still held the key after `claim_wait`.
    """
    while True:
        found = recorded(ledger, order.key)
        if found is not None:
            ledger.drop_claim(KIND, order.key)
            return found
        claim = await ledger.claim_async(
            KIND, order.key, wait=claim_wait, done=lambda: recorded(ledger, order.key) is not None
        )
        if claim is not None:
            # From here a cancelled caller (Ctrl-C, a closed notebook cell) must not tear the purchase from its record.
            bought = await loop.protect(_buy(backend, ledger, order, claim, clock, sleep))
            if bought is not None:
                return bought


async def _buy(
    backend: Backend,
    ledger: Ledger,
    order: Order,
    claim: Claim,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> JobRecord | None:
    """The record, or None when the claim was lost on the way: then another process is buying."""
    try:
        found = recorded(ledger, order.key)
        if found is not None:
            return found
        journal = ledger.journal(KIND, order.key)
        events = [row for row in journal.rows() if row.get("event") != "uploaded"]
        last = events[-1] if events else {}
        view: JobView | None
        if last.get("event") == "created":
            # Bought, and killed (or out of disk) before the record was written.
            view = await backend.get_job(str(last["name"]))
        elif last.get("event") in ("posting", "unknown"):
            # An earlier life asked and never learned the answer. The whole window by our own clock: the other life's
            # may have been another machine's.
            view = await _look(backend, order.key, until=clock() + backend.reconcile, clock=clock, sleep=sleep)
            if view is None and last["event"] == "unknown":
                raise _unknown(order, backend, "an earlier call got no answer, and there is still no such job")
        else:
            view = await _look(backend, order.key, until=0.0, clock=clock, sleep=sleep)
        if view is None:
            view = await _post(backend, order, claim, journal.append, clock, sleep)
        if view is None:
            return None
        record = JobRecord(
            name=view.name,
            key=order.key,
            base_model=order.base_model,
            backend=backend.describe(),
            simulated=backend.simulated,
            facts=order.facts,
        )
        journal.append({"event": "created", "at": clock(), "name": view.name})
        ledger.write_bytes(KIND, order.key, msgspec.json.encode(record))
        return record
    finally:
        await asyncio.to_thread(claim.release)


async def _post(
    backend: Backend,
    order: Order,
    claim: Claim,
    note: Callable[[dict[str, Any]], None],
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> JobView | None:
    train_uri = await backend.put_file(order.train, name=file_name("train", order.train))
    validation_uri = None
    if order.validation:
        validation_uri = await backend.put_file(order.validation, name=file_name("validation", order.validation))
    request = JobRequest(
        base_model=order.base_model,
        train_uri=train_uri,
        validation_uri=validation_uri,
        display_name=order.display_name,
        labels={LABEL: label_of(order.key)},
        epochs=order.epochs,
        learning_rate_multiplier=order.learning_rate_multiplier,
        adapter_size=order.adapter_size,
        checkpoint=order.checkpoint,
    )
    note({"event": "uploaded", "at": clock(), "train": train_uri, "validation": validation_uri})
    if not claim.is_held():
        # This process slept (a closed laptop, Ctrl-Z) while it uploaded, and was taken for dead.
        return None
    sent = clock()
    note({"event": "posting", "at": sent})
    try:
        return await backend.create_job(request)
    except BackendError as error:
        if not error.ambiguous:
            note({"event": "refused", "at": clock(), "status": error.status_code})
            raise
        _log.warning("creating the tuning job got no clear answer (%s); looking whether it exists", error.status)
        try:
            view = await _look(backend, order.key, until=sent + backend.reconcile, clock=clock, sleep=sleep)
        except BackendError as look:
            note({"event": "unknown", "at": sent})
            raise _unknown(
                order, backend, f"no answer came, and looking for the job failed too: {look.message}"
            ) from error
        if view is not None:
            return view
        if error.status_code == 503:
            # The service did answer: it was not available, and there is no such job. The next call still looks for
            # as long again before it posts, since the note of this one stays unresolved.
            raise
        note({"event": "unknown", "at": sent})
        why = f"no answer came ({error.status}), and no such job showed up within {backend.reconcile:g} s"
        raise _unknown(order, backend, why) from error


async def _look(
    backend: Backend,
    key: str,
    *,
    until: float,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> JobView | None:
    """The oldest job with the key's label; asked at least once, and again until the clock says `until`."""
    pause = 0.25
    while True:
        jobs = await backend.find_jobs(LABEL, label_of(key))
        if jobs:
            if len(jobs) > 1:
                _log.error("%d jobs carry the key %s: %s", len(jobs), key[:12], [job.name for job in jobs])
            return jobs[0]
        if clock() >= until:
            return None
        await sleep(min(pause, max(0.0, until - clock())))
        pause = min(pause * 2, 10.0)


def label_of(key: str) -> str:
    """The key as a label value: 40 of its hex digits (labels hold at most 64 characters)."""
    return key[:40]


def file_name(part: str, data: bytes) -> str:
    """A name made from the content, so that equal data are uploaded once."""
    import hashlib

    return f"{hashlib.sha256(data).hexdigest()[:32]}-{part}.jsonl"


def _unknown(order: Order, backend: Backend, why: str) -> JobUnknown:
    again = int(order.facts.get("attempt", 1)) + 1
    where = " ".join(f"{name}={value}" for name, value in backend.describe().items())
    return JobUnknown(
        f"perhaps bought: {why} (label {LABEL}={label_of(order.key)}, {where}).",
        hint="nothing is posted again by itself. Look for that label among the tuning jobs; tune() looks again each "
        f"time it is called and attaches when the job appears. tune(attempt={again}) buys anew, on purpose.",
        key=order.key,
    )
