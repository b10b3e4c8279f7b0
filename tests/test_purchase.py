"""A job is bought at most once: over real clients and sockets, with replies lost and processes killed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gemini_tuning import TuningProject, Vertex
from gemini_tuning.backend import loop
from gemini_tuning.emulator import Emulator, Fault
from gemini_tuning.errors import BackendError, ConfigError, JobFailed, JobTimeout, JobUnknown, PlanError
from gemini_tuning.jobs.purchase import LABEL

from .conftest import posts, tickets

CREATE = r"/tuningJobs$"


def make(vertex: Vertex, workdir: Path) -> TuningProject:
    return (
        TuningProject.from_records(
            tickets(), name="tickets", model="gemini-2.5-flash", input="text", output="label",
            backend=vertex, workdir=workdir,
        )
        .split(validation=0.2, test=0.2, seed=1)
        .instruct(system="You route tickets.", each="Topic of: {input}")
        .recipe(epochs=2, learning_rate_multiplier=10, adapter_size=4)
    )  # fmt: skip


def test_what_is_bought_is_what_the_plan_says(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """The request on the wire holds the model, the files, the settings and the label, and nothing else."""
    project = make(vertex, tmp_path / "w")
    job = project.tune()
    [post] = posts(emulator)
    body = post.json
    assert body["baseModel"] == "gemini-2.5-flash"
    spec = body["supervisedTuningSpec"]
    assert spec["hyperParameters"] == {
        "epochCount": 2, "learningRateMultiplier": 10.0, "adapterSize": "ADAPTER_SIZE_FOUR",
    }  # fmt: skip
    assert spec["trainingDatasetUri"].startswith("gs://bucket/gemini-tuning/")
    assert spec["validationDatasetUri"].startswith("gs://bucket/gemini-tuning/")
    assert body["labels"] == {LABEL: job.key[:40]}
    assert set(body) == {"baseModel", "supervisedTuningSpec", "tunedModelDisplayName", "labels"}
    assert "x-goog-api-client" in {name.lower() for name in post.headers}  # it came from the real client
    uploads = [each for each in emulator.requests if each.path.startswith("/upload/")]
    assert len(uploads) == 2
    assert all("ifGenerationMatch=0" in each.path for each in uploads)


def test_a_setting_of_none_is_not_sent(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """The service's defaults are asked for by absence."""
    make(vertex, tmp_path / "w").recipe(epochs=None, learning_rate_multiplier=None, adapter_size=None).tune()
    assert "hyperParameters" not in posts(emulator)[0].json["supervisedTuningSpec"]


def test_tuning_twice_attaches(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """The same plan and data, also as another project value, lead to the same job."""
    first = make(vertex, tmp_path / "w").tune()
    second = make(vertex, tmp_path / "w").tune()
    shuffled = TuningProject.from_plan(
        make(vertex, tmp_path / "w").plan, list(reversed(tickets())), backend=vertex, workdir=tmp_path / "w"
    ).tune()
    assert first.name == second.name == shuffled.name
    assert len(posts(emulator)) == 1


def test_other_settings_data_or_attempt_are_other_jobs(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """What differs is bought anew, and an equal training file is not uploaded again."""
    project = make(vertex, tmp_path / "w")
    names = {project.tune().name, project.tune(attempt=2).name, project.recipe(epochs=3).tune().name}
    assert len(names) == len(posts(emulator)) == 3
    assert len([each for each in emulator.requests if each.path.startswith("/upload/")]) == 2


def test_a_fresh_working_directory_finds_the_job_by_its_label(
    emulator: Emulator, vertex: Vertex, tmp_path: Path
) -> None:
    """A lost ledger does not buy again what the service still knows."""
    first = make(vertex, tmp_path / "a").tune()
    second = make(vertex, tmp_path / "b").tune()
    assert first.name == second.name
    assert len(posts(emulator)) == 1


@pytest.mark.parametrize("action", ["reset_after", "truncate"])
def test_a_lost_reply_is_one_job(emulator: Emulator, vertex: Vertex, tmp_path: Path, action: Any) -> None:
    """The service created the job and the reply is lost: the job is found, and nothing is posted again."""
    emulator.fault(Fault(action=action, method="POST", path=CREATE))
    job = make(vertex, tmp_path / "w").tune()
    assert job.wait(timeout=60).endpoint
    assert len(posts(emulator)) == 1


def test_a_hanging_create_is_one_job(emulator: Emulator, tmp_path: Path) -> None:
    """A create call that never answers ends at its time limit, and the job is found."""
    impatient = Vertex(
        "p", location="us-central1", staging="gs://bucket", base_url=emulator.url, timeout=2, reconcile=1
    )
    emulator.fault(Fault(action="hang_after", method="POST", path=CREATE))
    assert make(impatient, tmp_path / "w").tune().name
    assert len(posts(emulator)) == 1
    loop.run(impatient.close())


def test_a_list_that_lags_is_outlasted(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """The job shows up in the list only later, within the time that the backend looks for it."""
    emulator.fault(Fault(action="list_lag", seconds=0.6))
    emulator.fault(Fault(action="reset_after", method="POST", path=CREATE))
    assert make(vertex, tmp_path / "w").tune().name
    assert len(posts(emulator)) == 1


def test_when_nobody_can_know_nothing_is_posted_again(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """No reply and no such job in the list: JobUnknown, again on the next call, until the job appears."""
    emulator.fault(Fault(action="list_lag", seconds=9))
    emulator.fault(Fault(action="reset_after", method="POST", path=CREATE))
    project = make(vertex, tmp_path / "w")
    with pytest.raises(JobUnknown, match="perhaps bought") as caught:
        project.tune()
    assert "attempt=2" in str(caught.value)
    with pytest.raises(JobUnknown):
        project.tune()
    assert len(posts(emulator)) == 1
    deadline = time.monotonic() + 60
    while True:  # the list catches up
        try:
            job = project.tune()
            break
        except JobUnknown:
            assert time.monotonic() < deadline
            time.sleep(0.3)
    assert job.name
    assert len(posts(emulator)) == 1


def test_looking_that_fails_is_unknown_too(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """A lost reply and a list that is forbidden: nobody can know."""
    emulator.fault(Fault(action="reset_after", method="POST", path=CREATE))
    emulator.fault(Fault(action="status", status=403, method="GET", path=r"/tuningJobs\?", skip=2, times=50))
    with pytest.raises(JobUnknown, match="looking for the job failed"):
        make(vertex, tmp_path / "w").tune()
    assert len(posts(emulator)) == 1


def test_a_refusal_is_told_and_can_be_tried_again(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """A definite no buys nothing and blocks nothing."""
    emulator.fault(Fault(action="status", status=403, message="no permission", method="POST", path=CREATE))
    project = make(vertex, tmp_path / "w")
    with pytest.raises(BackendError, match="no permission") as caught:
        project.tune()
    assert (caught.value.status_code, caught.value.retryable, caught.value.ambiguous) == (403, False, False)
    assert caught.value.__cause__ is not None
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.status_code, str(again)) == (403, str(caught.value))
    assert project.tune().name
    assert len(posts(emulator)) == 2


def test_a_503_is_not_repeated_blindly(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """An unavailable service is looked at for the job, then the error is the caller's."""
    emulator.fault(Fault(action="status", status=503, method="POST", path=CREATE))
    project = make(vertex, tmp_path / "w")
    with pytest.raises(BackendError, match="503"):
        project.tune()
    assert len(posts(emulator)) == 1
    assert project.tune().name


def test_a_lost_upload_reply_is_not_a_conflict(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """The object is there although the reply was lost: its checksum says that it is ours."""
    emulator.fault(Fault(action="reset_after", method="POST", path="^/upload/"))
    assert make(vertex, tmp_path / "w").tune().name


def test_reads_are_retried_and_retry_after_is_honoured(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """429 with Retry-After on a poll: waited for, then it works."""
    job = make(vertex, tmp_path / "w").tune()
    job.wait(timeout=60)
    emulator.fault(
        Fault(action="status", status=429, retry_after=1, method="GET", path=job.name.rsplit("/", 1)[-1], times=1)
    )
    started = time.monotonic()
    assert job.refresh().state == "succeeded"
    assert time.monotonic() - started >= 1.0


def test_ten_threads_and_two_processes_buy_one_job(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """Everyone gets the same job, whoever was first."""
    workdir = tmp_path / "w"
    children = [_child(emulator.url, workdir) for _ in range(2)]
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(make(vertex, workdir).tune().name)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in children:
        out, _ = child.communicate(timeout=60)
        names.append(out.decode().strip())
    assert len(names) == 12
    assert len(set(names)) == 1
    assert len(posts(emulator)) == 1


CHILD = """
import sys
from pathlib import Path
from gemini_tuning import Vertex
from tests.test_purchase import make
vertex = Vertex("my-project", location="us-central1", staging="gs://bucket", base_url=sys.argv[1], reconcile=1.0)
print(make(vertex, Path(sys.argv[2])).tune().name)
"""


def _child(url: str, workdir: Path) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(workdir)], stdout=subprocess.PIPE, cwd=root, env=environment
    )


@pytest.mark.skipif(not hasattr(__import__("signal"), "SIGSTOP"), reason="needs SIGSTOP")
def test_a_process_that_slept_through_its_claim_buys_nothing(
    emulator: Emulator, vertex: Vertex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suspended during its upload and taken for dead, it finds the other's job when it wakes."""
    import signal

    from gemini_tuning.ledger import Ledger

    emulator.fault(Fault(action="delay", seconds=2.0, method="POST", path="^/upload/"))
    child = _child(emulator.url, tmp_path / "w")
    while not [each for each in emulator.requests if each.path.startswith("/upload/")]:
        time.sleep(0.02)
    child.send_signal(signal.SIGSTOP)
    original = Ledger.__init__
    monkeypatch.setattr(Ledger, "__init__", lambda self, path, name: original(self, path, name, claim_timeout=0.5))
    job = make(vertex, tmp_path / "w").tune()
    child.send_signal(signal.SIGCONT)
    out, _ = child.communicate(timeout=60)
    assert out.decode().strip() == job.name
    assert len(posts(emulator)) == 1


def test_a_full_disk_after_the_purchase_buys_nothing_again(
    emulator: Emulator, vertex: Vertex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal knows the job although its record could not be written, and the list does not show it yet."""
    from gemini_tuning.errors import LedgerError
    from gemini_tuning.ledger import Ledger

    emulator.fault(Fault(action="list_lag", seconds=30))
    original = Ledger.write_bytes

    def full(self: Ledger, kind: str, key: str, data: bytes) -> None:
        if kind == "tune":
            message = "No space left on device"
            raise LedgerError(message)
        original(self, kind, key, data)

    monkeypatch.setattr(Ledger, "write_bytes", full)
    with pytest.raises(LedgerError):
        make(vertex, tmp_path / "w").tune()
    monkeypatch.undo()
    assert make(vertex, tmp_path / "w").tune().name
    assert len(posts(emulator)) == 1


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_in_the_middle_of_a_purchase_finishes_it(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """The plain script ends with KeyboardInterrupt alone, and the next run attaches at once."""
    import signal

    emulator.fault(Fault(action="delay", seconds=1.0, method="POST", path=CREATE))
    root = str(Path(__file__).resolve().parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, emulator.url, str(tmp_path / "w")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    while not posts(emulator):
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    text = errors.decode()
    assert "KeyboardInterrupt" in text
    assert "never retrieved" not in text
    assert "RuntimeError" not in text
    assert not [each for each in (tmp_path / "w" / "claims").rglob("*") if each.is_file()]
    assert make(vertex, tmp_path / "w").tune().name
    assert len(posts(emulator)) == 1


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes to be killed are made by forking")


def killed_everywhere(emulator: Emulator, tmp_path: Path, how: str, *, first: int = 1, every: int = 1) -> list[Any]:
    """Runs tests/kill_points.py: one entry for each moment at which a process was killed in tune()."""
    root = Path(__file__).resolve().parents[1]
    command = [
        sys.executable,
        "-m",
        "tests.kill_points",
        how,
        emulator.url,
        str(tmp_path / how),
        str(first),
        str(every),
    ]
    done = subprocess.run(
        command, capture_output=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    report: list[Any] = json.loads(done.stdout.splitlines()[-1])
    for entry in report:
        assert entry["second_run"] == 0, entry
        assert entry["jobs"] == 1, entry
        assert entry["claims_left"] == [], entry
    return report


@forks
@pytest.mark.parametrize("first", [1, 5])
def test_a_kill_at_a_file_or_connection_leads_to_one_job(emulator: Emulator, tmp_path: Path, first: int) -> None:
    """kill -9 at file operations and connections of tune(), then once more: one job."""
    report = killed_everywhere(emulator, tmp_path, "local", first=first, every=8)
    assert sum(entry["died"] for entry in report) >= 5
    assert {entry["jobs_after_kill"] for entry in report} == {0, 1}  # both sides of the purchase were hit


@forks
@pytest.mark.soak
def test_a_kill_at_every_file_and_connection_leads_to_one_job(emulator: Emulator, tmp_path: Path) -> None:
    """The same for each single one of them."""
    assert sum(entry["died"] for entry in killed_everywhere(emulator, tmp_path, "local")) >= 30


@forks
@pytest.mark.parametrize("moment", ["hang_before", "hang_after"])
def test_a_kill_during_any_request_leads_to_one_job(emulator: Emulator, tmp_path: Path, moment: str) -> None:
    """kill -9 before or after the service acts on each request of tune(), then once more: one job."""
    report = killed_everywhere(emulator, tmp_path, moment)
    assert sum(entry["died"] for entry in report) >= 6
    assert {entry["jobs_after_kill"] for entry in report} == {0, 1}


def test_a_failed_job_names_its_cause(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """The service's own text is kept, the cause is named, and attempt=2 buys again."""
    emulator.fault(Fault(action="job_fails", code=8, message="Quota exceeded for tuning jobs."))
    project = make(vertex, tmp_path / "w")
    job = project.tune()
    with pytest.raises(JobFailed, match="Quota exceeded") as caught:
        job.wait(timeout=60)
    assert (caught.value.cause, caught.value.raw) == ("quota", "Quota exceeded for tuning jobs.")  # type: ignore[attr-defined]
    assert caught.value.job is job
    assert project.tune().name == job.name
    assert project.tune(attempt=2).wait(timeout=60).endpoint


def test_a_timeout_carries_the_live_job(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """wait(timeout=) ends, the job goes on, and waiting again gives the model."""
    emulator.fault(Fault(action="job_stays", state="JOB_STATE_QUEUED", seconds=1.5))
    job = make(vertex, tmp_path / "w").tune()
    with pytest.raises(JobTimeout) as caught:
        job.wait(timeout=0.3)
    assert caught.value.job.state == "queued"
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.job.wait(timeout=60).endpoint


def test_a_timeout_is_kept_when_nothing_answers(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """Reads that hang, with all their retries, take no longer than the caller said, give or take the last look."""
    job = make(vertex, tmp_path / "w").tune()
    emulator.fault(Fault(action="hang_before", method="GET", path="/tuningJobs/", times=50))
    started = time.monotonic()
    with pytest.raises(JobTimeout) as caught:
        job.wait(timeout=1)
    assert time.monotonic() - started < 5
    assert caught.value.job is job


def test_a_lost_network_does_not_end_a_wait(
    emulator: Emulator, vertex: Vertex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Errors that pass are logged and outlasted, up to an hour of nothing else; a refusal is raised at once."""
    job = make(vertex, tmp_path / "w").tune()
    read = Vertex.get_job
    errors: list[BackendError] = []

    async def flaky(self: Vertex, name: str) -> Any:
        if errors:
            raise errors.pop()
        return await read(self, name)

    monkeypatch.setattr(Vertex, "get_job", flaky)
    msg = "no answer came"
    errors += [BackendError(msg, retryable=True)] * 3
    assert job.wait().endpoint
    assert caplog.text.count("is tried again: no answer came") == 3
    errors += [BackendError(msg, retryable=False)]
    with pytest.raises(BackendError, match=msg):
        job.wait()
    monkeypatch.setattr("gemini_tuning.jobs.job._PATIENCE", 0.3)
    errors += [BackendError(msg, retryable=True)] * 100
    with pytest.raises(BackendError, match=msg):
        job.wait()


def test_no_backend_and_no_bucket_are_said_before_anything_is_written(emulator: Emulator, tmp_path: Path) -> None:
    """Both choices are named; the working directory stays as it was."""
    rows = tickets()
    bare = TuningProject.from_records(
        rows, name="t", model="gemini-2.5-flash", input="text", output="label", workdir=tmp_path / "w"
    )
    with pytest.raises(ConfigError, match="no backend") as caught:
        bare.tune()
    assert "offline" in str(caught.value)
    assert "Vertex(" in str(caught.value)
    assert not (tmp_path / "w").exists()
    homeless = Vertex("p", location="us-central1", base_url=emulator.url)
    with pytest.raises(ConfigError, match="no staging bucket"):
        bare.using(backend=homeless).tune()
    assert not (tmp_path / "w").exists()
    assert not posts(emulator)


def test_what_the_service_would_refuse_is_refused_here(vertex: Vertex, tmp_path: Path) -> None:
    """An adapter size that the model does not take never reaches the wire."""
    project = make(vertex, tmp_path / "w").using(model="gemini-2.5-pro")
    with pytest.raises(PlanError, match="1, 2, 4, 8"):
        project.recipe(adapter_size=16).tune()
