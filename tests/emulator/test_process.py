"""The emulator as a process: killed, restarted, locked, idle, told to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gemini_tuning.emulator import Emulator, StateBusy

from .conftest import PARENT, Clients, dataset, wait

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def spawn(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gemini_tuning.emulator", "--port", "0", *arguments]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def serving(tmp_path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Clients]]:
    ready = tmp_path / f"ready-{os.urandom(4).hex()}.json"
    process = spawn(tmp_path, "--ready-file", str(ready), *arguments)
    try:
        wait(lambda: ready.exists() or process.poll() is not None)
        value = json.loads(ready.read_text())
        assert value["pid"] == process.pid
        clients = Clients(value["url"])
        yield process, clients
        clients.close()
    finally:
        print("exit code before the end of the test:", process.poll())
        process.kill()
        print(process.communicate()[1])


def curve(clients: Clients, job: dict[str, Any]) -> list[Any]:
    """Every value of every series, without the wall times."""
    board = clients.raw("GET", f"/v1/{job['experiment']}")[2]["metadata"]["backing_tensorboard_resource"]
    run = f"{board}/experiments/{job['experiment'].rsplit('/', 1)[1]}/runs/run-1"
    names = [item["name"] for item in clients.raw("GET", f"/v1/{run}/timeSeries")[2]["tensorboardTimeSeries"]]
    return [
        [(value["step"], value["scalar"]["value"]) for value in data["timeSeriesData"]["values"]]
        for data in (clients.raw("GET", f"/v1/{name}:read")[2] for name in names)
    ]


def test_kill_and_restart_reach_the_same_result(tmp_path: Path) -> None:
    """A job whose emulator is killed in the middle of training succeeds after a restart with identical curves."""
    state = str(tmp_path / "state")
    spec = {
        "trainingDatasetUri": "gs://bkt/train.jsonl",
        "validationDatasetUri": "gs://bkt/val.jsonl",
        "hyperParameters": {"epochCount": 30},
    }
    with serving(tmp_path, "--state", state) as (process, clients):
        clients.upload("train.jsonl", dataset(30))
        clients.upload("val.jsonl", dataset(5))
        name = clients.create(supervisedTuningSpec=spec)["name"]
        waiting = clients.create(supervisedTuningSpec=spec)["name"]
        wait(lambda: int(clients.job(name).get("tuningJobMetadata", {}).get("completedStepCount", 0)) > 5)
        process.kill()
        process.wait()
    with serving(tmp_path, "--state", state) as (_, clients):
        clients.upload("train.jsonl", dataset(2))  # what is there now is not what the job has read
        jobs = [clients.ended(each) for each in (name, waiting)]
        assert [job["state"] for job in jobs] == ["JOB_STATE_SUCCEEDED"] * 2
        interrupted = curve(clients, jobs[0])
        endpoint = jobs[0]["tunedModel"]["endpoint"]
        content = {"contents": [{"role": "user", "parts": [{"text": "My parcel number 3 does not work"}]}]}
        said = clients.raw("POST", f"/v1/{endpoint}:generateContent", content)
    with serving(tmp_path) as (_, clients):
        clients.upload("train.jsonl", dataset(30))
        clients.upload("val.jsonl", dataset(5))
        whole = clients.ended(clients.create(supervisedTuningSpec=spec)["name"])
        assert curve(clients, whole) == interrupted
        again = clients.raw("POST", f"/v1/{whole['tunedModel']['endpoint']}:generateContent", content)
        assert again[2].get("candidates") == said[2].get("candidates")


def test_everything_survives(tmp_path: Path) -> None:
    """Objects, jobs, models and endpoints are there after a kill, with their generations and names."""
    state = str(tmp_path / "state")

    def picture(clients: Clients) -> list[Any]:
        paths = (f"/v1/{PARENT}/tuningJobs", f"/v1/{PARENT}/models", f"/v1/{PARENT}/endpoints")
        found = [clients.raw("GET", path)[2] for path in paths]
        items = clients.raw("GET", "/storage/v1/b/bkt/o")[2]["items"]
        return [*found, [(item["name"], item["generation"], item["crc32c"]) for item in items]]

    with serving(tmp_path, "--state", state) as (process, clients):
        clients.upload("train.jsonl", dataset(4))
        clients.ended(clients.create(labels={"k": "v"})["name"])
        before = picture(clients)
        process.kill()
        process.wait()
    with serving(tmp_path, "--state", state) as (_, clients):
        assert picture(clients) == before
        assert clients.storage().bucket("bkt").blob("train.jsonl").download_as_bytes().decode() == dataset(4)


def test_resumable_upload_survives(tmp_path: Path) -> None:
    """An upload that a kill interrupted goes on where the emulator has it."""
    state = tmp_path / "state"
    with Emulator(state) as emulator:
        clients = Clients(emulator.url)
        status, headers, _ = clients.raw("POST", "/upload/storage/v1/b/b/o?uploadType=resumable", {"name": "x"})
        assert status == 200
        path = "/" + headers["location"].split("/", 3)[3]
        assert put(clients, path, b"abc", "bytes 0-2/6") == (308, "bytes=0-2")
    with Emulator(state) as emulator:
        clients = Clients(emulator.url)
        assert put(clients, path, b"", "bytes */6") == (308, "bytes=0-2")
        assert put(clients, path, b"def", "bytes 3-5/6")[0] == 200
        assert put(clients, path, b"", "bytes */6")[0] == 200
        assert clients.storage().bucket("b").blob("x").download_as_bytes() == b"abcdef"
        clients.close()


def put(clients: Clients, path: str, body: bytes, content_range: str) -> tuple[int, str]:
    import http.client

    connection = http.client.HTTPConnection(clients.url.removeprefix("http://"))
    connection.request("PUT", path, body, {"Content-Range": content_range})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("Range", "")


def test_one_owner(tmp_path: Path) -> None:
    """A second emulator on the same directory refuses: exit code 3 and the directory's name."""
    with Emulator(tmp_path / "state"):
        with pytest.raises(StateBusy, match="state"):
            Emulator(tmp_path / "state").start()
        second = spawn(tmp_path, "--state", str(tmp_path / "state"))
        assert second.wait(20) == 3
        assert "state" in second.communicate()[1]
    with Emulator(tmp_path / "state"):
        pass


def test_loopback_only(tmp_path: Path) -> None:
    """Any other address than loopback is refused."""
    for host in ("0.0.0.0", "192.168.1.1", ""):
        with pytest.raises(ValueError, match="loopback"):
            Emulator(host=host)
    process = spawn(tmp_path, "--host", "0.0.0.0")
    assert process.wait(20) == 2
    process.communicate()


def test_sigterm_and_idle_exit(tmp_path: Path) -> None:
    """SIGTERM ends it with 0 after it told how to connect; so does a time without requests and jobs."""
    with serving(tmp_path) as (process, clients):
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 0
        assert clients.url in out
        assert "STORAGE_EMULATOR_HOST" in out
    with serving(tmp_path, "--idle-exit", "0.5") as (process, clients):
        clients.raw("GET", f"/v1/{PARENT}/tuningJobs")
        assert process.wait(10) == 0
        process.communicate()


def test_package_import_is_light() -> None:
    """Importing the package loads neither numpy nor anything of Google's."""
    code = "import sys, gemini_tuning.emulator; print('numpy' in sys.modules or 'google.genai' in sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, capture_output=True)
    assert done.stdout.strip() == b"False"
