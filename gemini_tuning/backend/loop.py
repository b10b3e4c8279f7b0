"""One private event loop on a background thread: all network work runs there.

Sync verbs wait for a future, `aio` verbs await the same one, so both work in a notebook, a web service, uvloop
and a plain script; no loop is ever patched or nested, and no client crosses loops.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

_SETTLE = 150.0  # seconds; longer than one request may take
_lock = threading.Lock()
_locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
_critical: set[asyncio.Future[Any]] = set()
_loop: asyncio.AbstractEventLoop | None = None
_pid = -1


def private_loop() -> asyncio.AbstractEventLoop:
    """The loop, started on first use; a forked child gets its own, since threads do not survive a fork."""
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():
            loop = asyncio.new_event_loop()
            # Users' functions and files run there too; with the default of six on a small machine, a few slow ones
            # would hold up every purchase. Threads are made when they are needed.
            pool = concurrent.futures.ThreadPoolExecutor(64, thread_name_prefix="gemini-tuning")
            loop.set_default_executor(pool)
            _locks.clear()
            started = threading.Event()

            def serve() -> None:
                asyncio.set_event_loop(loop)
                loop.call_soon(started.set)
                loop.run_forever()

            threading.Thread(target=serve, name="gemini-tuning-loop", daemon=True).start()
            started.wait()
            _loop, _pid = loop, os.getpid()
        return _loop


def submit(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Starts a coroutine on the private loop."""
    return asyncio.run_coroutine_threadsafe(work, private_loop())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of the library on the private loop and waits; Ctrl-C cancels it and is raised here.

    For layer functions that are coroutines: `run(augment(parts, [paraphrase()], caller))`.
    """
    if _loop is not None and threading.current_thread().name == "gemini-tuning-loop":
        work.close()
        msg = "a sync verb was called from inside the library's own loop (a callback or metric); use `aio` there"
        raise RuntimeError(msg)
    ended = threading.Event()

    async def watched() -> T:
        try:
            return await work
        finally:
            ended.set()

    future = submit(watched())
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            # Not before the work has stopped: the interpreter may be about to end, and would tear a purchase from
            # its record. A second Ctrl-C does not wait.
            ended.wait(_SETTLE)
            deadline = time.monotonic() + _SETTLE
            while _critical and time.monotonic() < deadline:
                time.sleep(0.02)
        raise


def lock_for(key: str) -> asyncio.Lock:
    """One lock a key, on the private loop: equal work asked for twice at once is done, and paid for, once."""
    lock = _locks.get(key)
    if lock is None:
        lock = _locks[key] = asyncio.Lock()
    return lock


async def protect(work: Coroutine[Any, Any, T]) -> T:
    """Awaits work that goes on to its end even when the caller is cancelled."""
    task = asyncio.ensure_future(work)
    _critical.add(task)
    task.add_done_callback(_critical.discard)
    return await asyncio.shield(task)


async def join(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the private loop and awaits it from the caller's loop; cancelling cancels it."""
    return await asyncio.wrap_future(submit(work))


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Awaits all; when one fails or this is cancelled, the others are cancelled and waited for before it goes on.

    The first error is raised as itself. Not a TaskGroup: its ExceptionGroup would hide a ConfigError, or what a
    `progress` callback raised, from the user's `except`.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
