"""Kills processes in the middle of `tune()` and runs it again; prints what came of it. Used by test_purchase.

A process that has imported everything forks one child for each moment of death: fresh interpreters would spend their
lives importing. No thread and no event loop exists before a fork.

    python -m tests.kill_points local|hang_before|hang_after URL FOLDER FIRST EVERY
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401
import numpy as np  # noqa: F401

import gemini_tuning.data.tokens
import gemini_tuning.jobs.job
import gemini_tuning.jobs.purchase
import gemini_tuning.plan.curation  # noqa: F401
from gemini_tuning import Vertex
from gemini_tuning.ledger import Ledger

from . import test_purchase
from .conftest import tickets

WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.utime", "os.link")


def ask(url: str, path: str, *, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, method=method, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def jobs(url: str) -> int:
    return len(ask(url, "/v1beta1/projects/p/locations/us-central1/tuningJobs").get("tuningJobs", []))


def seen(url: str) -> int:
    return sum(not each["path"].startswith("/_emulator") for each in ask(url, "/_emulator/requests")["requests"])


def forked(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            work()
        except BaseException:
            traceback.print_exc()
            code = 1
        os._exit(code)
    return pid


def tune(url: str, workdir: Path, rows: list[dict[str, Any]], kill_at: int | None) -> None:
    if kill_at is not None:
        count = 0

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal count
            if event == "socket.connect" or (event in WATCHED and str(workdir) in str(args[0])):
                count += 1
                if count >= kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
    # A short patience with the dead, or each of them would cost the full claim timeout.
    original = Ledger.__init__
    Ledger.__init__ = lambda self, path, name: original(self, path, name, claim_timeout=0.3)  # type: ignore[method-assign]
    test_purchase.tickets = lambda: rows
    vertex = Vertex("p", location="us-central1", staging="gs://bucket", base_url=url, reconcile=0.3)
    test_purchase.make(vertex, workdir).tune()


def main(how: str, url: str, folder: str, first: int, every: int) -> None:
    report = []
    moment = first
    while True:
        workdir = Path(folder) / str(moment)
        # Each moment of death is a purchase of its own, so the rows differ.
        rows = [dict(row, text=f"{row['text']} {how} {'x' * moment}") for row in tickets()]
        before, requests = jobs(url), seen(url)
        if how == "local":
            pid = forked(lambda: tune(url, workdir, rows, moment))
        else:
            fault = {"action": how, "path": "^/(v1|upload|storage|download)", "skip": moment - 1}
            ask(url, "/_emulator/faults", method="POST", body=fault)
            requests = seen(url)
            pid = forked(lambda: tune(url, workdir, rows, None))
            while os.waitpid(pid, os.WNOHANG)[0] == 0 and seen(url) - requests < moment:
                time.sleep(0.02)
            time.sleep(0.1)  # let the service act, or not
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pid = -1
            ask(url, "/_emulator/faults", method="DELETE")
        died = False
        if pid > 0:
            _, status = os.waitpid(pid, 0)
            died = os.WIFSIGNALED(status)
        after_kill = jobs(url) - before
        _, second = os.waitpid(forked(lambda: tune(url, workdir, rows, None)), 0)
        claims = workdir / "claims"
        report.append({
            "moment": moment, "died": died, "jobs_after_kill": after_kill, "second_run": second,
            "jobs": jobs(url) - before, "claims_left": [str(each) for each in claims.rglob("*") if each.is_file()],
        })  # fmt: skip
        # A request that nothing waits for (storage reads the bucket in a thread) may hang without stopping anything.
        if not died and (how == "local" or moment >= 14):
            break
        moment += every
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:6]))  # type: ignore[arg-type]
