"""`python -m gemini_tuning.emulator`: the emulator as a process of its own, for other people's CI.

Exit codes: 0 after SIGTERM, Ctrl-C or --idle-exit; 2 for bad arguments; 3 when another emulator owns the state
directory; 4 when the port is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

# Before numpy is loaded: the training thread must leave a core for requests, and one thread gives one result.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

_POINTERS = """\
Gemini tuning emulator at {url} (state: {state}). Everything it answers is simulated.

google-genai:
  from google import genai
  from google.genai import types
  from google.oauth2.credentials import Credentials
  client = genai.Client(vertexai=True, project="local", location="us-central1", credentials=Credentials("local"),
                        http_options=types.HttpOptions(base_url="{url}"))

google-cloud-storage:
  export STORAGE_EMULATOR_HOST={url}

google-cloud-aiplatform (curves, endpoints):
  from google.api_core.client_options import ClientOptions
  from google.auth.credentials import AnonymousCredentials
  from google.cloud import aiplatform_v1
  aiplatform_v1.TensorboardServiceClient(transport="rest", credentials=AnonymousCredentials(),
                                         client_options=ClientOptions(api_endpoint="{url}"))

Faults: POST {url}/_emulator/faults   Requests so far: GET {url}/_emulator/requests   Stop: Ctrl-C
"""


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gemini_tuning.emulator", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (anything else is refused)")
    parser.add_argument("--port", type=int, default=8085, help="0 takes a free port (default: %(default)s)")
    parser.add_argument("--state", type=Path, help="keep everything here (default: a temporary directory)")
    parser.add_argument("--concurrency", type=int, default=1, help="jobs that train at a time (default: %(default)s)")
    parser.add_argument("--idle-exit", type=float, metavar="SECONDS", help="end after so long without a request or job")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help='write {"url", "pid"} here once it listens')
    options = parser.parse_args(argv)

    from .server import Emulator
    from .state import StateBusy, write_atomic

    try:
        emulator = Emulator(options.state, options.port, host=options.host, concurrency=options.concurrency)
    except ValueError as error:
        parser.error(str(error))
    # A request takes the interpreter back several times; each wait behind the training thread is at most this long.
    sys.setswitchinterval(0.0005)
    try:
        emulator.start()
    except StateBusy as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"error: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 4
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        if options.ready_file:
            ready = json.dumps({"url": emulator.url, "pid": os.getpid()})
            write_atomic(options.ready_file, ready.encode())
        print(_POINTERS.format(url=emulator.url, state=options.state or "temporary"), flush=True)
        while not stop.wait(0.2):
            if options.idle_exit is not None and emulator.idle_seconds >= options.idle_exit:
                break
    finally:
        emulator.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
