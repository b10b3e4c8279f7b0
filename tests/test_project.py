"""The façade: an immutable plan, keys, the whole road through real clients, and a second process that takes it up."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning import Dataset, Plan, TunedModel, TuningProject, Vertex
from gemini_tuning.data import paraphrase, rare_labels
from gemini_tuning.emulator import Emulator, Fault
from gemini_tuning.errors import ConfigError, DataError, LedgerError, PlanError
from gemini_tuning.eval import Accuracy, Judge, MacroF1
from gemini_tuning.types import Example

from .conftest import posts, tickets


def start(rows: list[dict[str, Any]] | None = None, **more: Any) -> TuningProject:
    return TuningProject.from_records(
        rows if rows is not None else tickets(), name="tickets", model="gemini-2.5-flash", input="text",
        output="label", **more,
    )  # fmt: skip


# --- the plan ----------------------------------------------------------------------------------------------------------

verbs = st.lists(
    st.one_of(
        st.builds(
            lambda near, exact: ("dedup", {"near": near, "exact": exact}),
            st.none() | st.floats(0.5, 1.0), st.booleans(),
        ),
        st.builds(
            lambda share, seed, even: ("split", {"validation": share, "test": share, "seed": seed, "stratify": even}),
            st.floats(0.05, 0.3), st.integers(0, 3), st.booleans(),
        ),
        st.builds(lambda n, seed: ("sample", {"n": n, "seed": seed}), st.integers(20, 60), st.integers(0, 3)),
        st.builds(lambda text: ("instruct", {"system": text}), st.text()),
        st.builds(lambda text: ("instruct", {"each": text + " {input}"}), st.sampled_from(["Topic:", "主题：", "{{x}}"])),
        st.builds(lambda n: ("recipe", {"epochs": n}), st.none() | st.integers(1, 9)),
        st.builds(lambda rate: ("recipe", {"learning_rate_multiplier": rate}), st.integers(1, 9) | st.floats(0.5, 9)),
        st.builds(lambda n: ("augment", {"n": n}), st.integers(1, 2)),
    ),
    max_size=6,
)  # fmt: skip


def chained(project: TuningProject, chain: list[tuple[str, dict[str, Any]]]) -> TuningProject:
    for verb, arguments in chain:
        if verb == "sample":
            project = project.sample(arguments["n"], seed=arguments["seed"])
        elif verb == "augment":
            project = project.augment(paraphrase(per_example=arguments["n"]), only=rare_labels(below=30))
        else:
            project = getattr(project, verb)(**arguments)
    return project


@given(verbs)
def test_a_plan_and_its_json_are_one_thing(chain: list[tuple[str, dict[str, Any]]]) -> None:
    """JSON round-trip is the identity and gives the same keys."""
    project = chained(start(), chain)
    again = Plan.from_json(project.plan.to_json())
    assert again == project.plan
    other = TuningProject.from_plan(again, tickets())
    assert other.manifest().data_key == project.manifest().data_key
    assert other.manifest().step_keys == project.manifest().step_keys


@given(verbs, st.randoms())
@settings(max_examples=30, deadline=None)
def test_no_order_of_verbs_leaks(chain: list[tuple[str, dict[str, Any]]], random: Any) -> None:
    """Whatever is written in whatever order: parts are disjoint by origin, and test rows are the user's own."""
    rows = tickets()
    random.shuffle(rows)
    project = chained(start(rows, backend=_Paraphraser()), chain)
    try:
        curation = project.using(workdir=_fresh()).curate()
    except PlanError:
        return  # too few rows are left for a part: said, not leaked
    parts = [curation.train, curation.validation, curation.test]
    origins = [{example.origin for example in part} for part in parts]
    assert sum(map(len, origins)) == len(set().union(*origins))
    for held_out in parts[1:]:
        assert all(example.augmented is None for example in held_out)
    own = {row["text"] for row in rows}
    assert all(example.input in own for part in parts for example in part if example.augmented is None)


def test_what_a_key_depends_on() -> None:
    """Any argument changes the key; the order of arguments, of rows, and a recipe do not."""
    base = start().dedup(near=0.8).split(validation=0.2, test=0.2, seed=1)
    key = base.manifest().data_key
    assert start().dedup(near=0.8).split(seed=1, test=0.2, validation=0.2).manifest().data_key == key
    assert base.recipe(epochs=3).manifest().data_key == key
    assert TuningProject.from_plan(base.plan, tickets()[::-1]).manifest().data_key == key
    assert start().dedup(near=0.8).split(validation=0.2, test=0.2, seed=2).manifest().data_key != key
    assert start().dedup(near=0.81).split(validation=0.2, test=0.2, seed=1).manifest().data_key != key
    assert base.instruct(system="x").manifest().data_key != key
    assert start(tickets()[:-1]).dedup(near=0.8).split(validation=0.2, test=0.2, seed=1).manifest().data_key != key


def test_a_project_is_a_value() -> None:
    """Verbs return new projects; nothing changes in place, neither the plan nor the user's rows."""
    rows = tickets()
    before = json.dumps(rows)
    project = start(rows)
    other = project.dedup().instruct(system="x")
    assert project.plan.steps == ()
    assert len(other.plan.steps) == 2
    assert json.dumps(rows) == before
    with pytest.raises(FrozenInstanceError):
        project.workdir = Path("x")  # type: ignore[misc]
    with pytest.raises(Exception, match="frozen"):
        project.plan.name = "x"
    assert project == start(rows)


def test_plan_verbs_touch_nothing(tmp_path: Path) -> None:
    """No verb but a run verb writes to the disk."""
    project = start(workdir=tmp_path / "w").dedup(near=0.8).split().instruct(system="s").recipe(epochs=1)
    for look in (project.preview, project.explain, project.estimate, project.manifest, project.check):
        look()
    assert project._repr_html_()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: p.dedup(near=1.5), r"dedup\(near=1.5\)"),
        (lambda p: p.dedup(near=0), r"dedup\(near=0\)"),
        (lambda p: p.split(validation=0.6, test=0.6), "less than 1"),
        (lambda p: p.split(test=-0.1), r"split\(test=-0.1\)"),
        (lambda p: p.sample(0), r"sample\(n=0\)"),
        (lambda p: p.recipe(epochs=0), "above 0"),
        (lambda p: p.recipe(epochs=1.5), "whole number"),
        (lambda p: p.recipe("artcle"), "recipe"),
        (lambda p: p.instruct(), "system instruction"),
        (lambda p: p.instruct(each="Topic of: {inputs}"), r"\{input\}"),
        (lambda p: p.instruct(each="Topic of: {text}"), r"column 'text' is written \{input\}"),
        (lambda p: p.instruct(each="Topic of: {"), "brace"),
        (lambda p: p.augment(), "at least one method"),
        (lambda p: p.augment(paraphrase(per_example=0)), "per_example"),
        (lambda p: p.filter("x"), "function"),
        (lambda p: p.preview(0), "1 or more"),
    ],
)
def test_a_value_that_can_never_work_is_refused_at_once(call: Any, says: str) -> None:
    """The error names the verb and the value, on the user's line."""
    with pytest.raises(PlanError, match=says) as caught:
        call(start())
    assert isinstance(caught.value, ValueError)


def test_no_attribute_of_a_value_can_be_reached_by_a_template() -> None:
    """Templates are filled in literally: nothing is evaluated."""
    with pytest.raises(PlanError):
        start().instruct(each="{input.__class__}")


# --- bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "line", "says"),
    [
        ("", "", None, "empty"),
        ('{"text": "a", "label": "b"}\nnot json\n', "", 2, "line 2"),
        ('{"text": "a", "lable": "b"}\n', "data-column", 1, "label"),
    ],
)
def test_bad_files_name_the_place(tmp_path: Path, content: str, code: str, line: int | None, says: str) -> None:
    """File, line and what to do; nothing is written."""
    path = tmp_path / "t.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        TuningProject.from_file(path, name="t", model="m", input="text", output="label", workdir=tmp_path / "w")
    assert caught.value.file == str(path)
    assert caught.value.line == line
    if code:
        assert caught.value.code == code
    assert not (tmp_path / "w").exists()


def test_a_missing_column_lists_the_columns() -> None:
    """The nearest name is guessed."""
    with pytest.raises(DataError, match="'text', 'label'") as caught:
        TuningProject.from_records(tickets(), name="t", model="m", input="text", output="labels")
    assert "label" in caught.value.hint


def test_an_unknown_model_needs_explicit_settings(vertex: Vertex, tmp_path: Path) -> None:
    """Without them the known models are listed; with them the settings go out as they are, with a warning."""
    project = start(backend=vertex, workdir=tmp_path / "w").using(model="gemini-9-flash").split()
    with pytest.raises(ConfigError, match=r"gemini-2\.5-flash.*") as caught:
        project.estimate()
    assert "recipe(" in str(caught.value)
    explicit = project.recipe(epochs=2, learning_rate_multiplier=None, adapter_size=None)
    with pytest.warns(UserWarning, match="unknown model"):
        assert explicit.estimate().recipe.epochs == 2


def test_a_retired_model_names_its_successor() -> None:
    """A model that is gone is refused with one that can be tuned."""
    with pytest.raises(ConfigError, match=r"gemini-2\.0-flash is retired") as caught:
        start().using(model="gemini-2.0-flash").estimate()
    assert "gemini-3.5-flash" in str(caught.value)


def test_an_unknown_backend_names_the_choices() -> None:
    """A wrong backend is refused at once."""
    with pytest.raises(ConfigError, match="offline"):
        start(backend="offlin")


# --- the road --------------------------------------------------------------------------------------------------------------


def road(vertex: Vertex, workdir: Path, rows: list[dict[str, Any]] | None = None) -> TuningProject:
    return (
        start(rows, backend=vertex, workdir=workdir)
        .dedup(near=0.9)
        .split(validation=0.2, test=0.3, seed=3)
        .augment(paraphrase(per_example=1), only=rare_labels(below=10))
        .instruct(system="Answer with one of: shipping, billing, login.", each="Topic of: {input}")
        .recipe(epochs=8, learning_rate_multiplier=10, adapter_size=4)
    )


def test_the_whole_road(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """From rows to a verdict, through the real clients; a second walk asks and buys nothing."""
    project = road(vertex, tmp_path / "w", tickets(240))
    baseline = project.baseline(Accuracy(), models=("gemini-2.5-flash", "gemini-2.5-pro"))
    assert set(baseline.reports) == {"gemini-2.5-flash", "gemini-2.5-pro"}
    before = project.evaluate(Accuracy(), MacroF1())
    tuned = project.tune().wait(timeout=120)
    assert isinstance(tuned, TunedModel)
    assert tuned.simulated
    assert tuned("where is my parcel today") == "shipping"
    after = project.evaluate(Accuracy(), MacroF1(), model=tuned)
    comparison = after.compare(before)
    assert comparison.verdict == "better"
    assert "simulated" in repr(comparison)
    assert repr(comparison).splitlines()[-1].startswith("verdict: better (accuracy +")
    judged = project.evaluate(Judge("correct and polite"), model=tuned)
    score = judged.scores["judge"]
    assert 1 <= score.low <= score.value <= score.high <= 5
    asked = len(emulator.requests)
    assert project.evaluate(Accuracy(), MacroF1(), model=tuned) == after
    assert project.tune().name == tuned.job
    # One look at the job; no generation, no upload, no create.
    assert [each.method for each in emulator.requests[asked:]] == ["GET"]
    # Scoring in another way generates nothing again.
    asked = len(emulator.requests)
    project.evaluate(MacroF1(), model=tuned)
    assert len(emulator.requests) == asked


def test_what_is_asked_is_what_was_trained(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """Preview, the uploaded line and the prompt of the tuned model hold the same instructions."""
    project = road(vertex, tmp_path / "w")
    shown = project.preview(1)[0]
    tuned = project.tune().wait(timeout=60)
    tuned("where is my parcel")
    [call] = [each for each in emulator.requests if each.path.endswith(":generateContent") and "endpoints" in each.path]
    assert call.json["systemInstruction"]["parts"][0]["text"] == shown.system
    assert call.json["contents"][0]["parts"][0]["text"] == "Topic of: where is my parcel"
    assert call.json["generationConfig"]["thinkingConfig"] in ({"thinking_budget": 0}, {"thinkingBudget": 0})
    uri = posts(emulator)[0].json["supervisedTuningSpec"]["trainingDatasetUri"]
    import urllib.parse
    import urllib.request

    bucket, name = uri.removeprefix("gs://").split("/", 1)
    address = f"{emulator.url}/download/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
    with urllib.request.urlopen(address) as answer:
        line = json.loads(answer.readline())
    assert line["systemInstruction"]["parts"][0]["text"] == shown.system
    assert line["contents"][0]["parts"][0]["text"].startswith("Topic of: ")


def test_another_process_opens_the_project_and_attaches(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """open(workdir) gives plan, rows and backend back, and the job that runs."""
    emulator.fault(Fault(action="job_stays", state="JOB_STATE_QUEUED", seconds=1))
    project = road(vertex, tmp_path / "w")
    job = project.tune()
    code = """
import sys
from gemini_tuning import TuningProject
project = TuningProject.open(sys.argv[1])
job = project.tune()
print(job.name, job.wait(timeout=60).endpoint, len(project.curate().test))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "w")], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr
    name, endpoint, rows = done.stdout.split()
    assert name == job.name
    assert endpoint == job.wait(timeout=60).endpoint
    assert int(rows) == len(project.curate().test)
    assert len(posts(emulator)) == 1


def test_opening_nothing_says_so(tmp_path: Path) -> None:
    """A directory without a project is not made into one."""
    with pytest.raises(LedgerError, match="holds no project"):
        TuningProject.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_working_directory_keeps_its_name(vertex: Vertex, tmp_path: Path) -> None:
    """A project of another name is refused before it does anything."""
    start(backend=vertex, workdir=tmp_path / "w").curate()
    other = TuningProject.from_records(
        tickets(), name="other", model="gemini-2.5-flash", input="text", output="label",
        backend=vertex, workdir=tmp_path / "w",
    )  # fmt: skip
    with pytest.raises(LedgerError, match="'tickets'"):
        other.curate()


async def _aio(project: TuningProject) -> str:
    job = await project.aio.tune()
    tuned = await job.aio.wait(timeout=60)
    report = await project.aio.evaluate(Accuracy(), model=tuned)
    if importlib.util.find_spec("google.cloud.aiplatform_v1"):
        assert len((await job.aio.curves()).points) > 3
    else:  # google-genai 3.x beside which aiplatform cannot be installed
        with pytest.raises(ConfigError, match=r"gemini-tuning\[vertex\]"):
            await job.aio.curves()
    return f"{report.scores['accuracy'].n}"


@pytest.mark.parametrize("runner", ["asyncio", "uvloop", "twice", "threads"])
def test_aio_works_from_any_loop(vertex: Vertex, tmp_path: Path, runner: str) -> None:
    """The same clients serve asyncio, uvloop, loops one after another, and loops in threads."""
    project = road(vertex, tmp_path / "w")
    if runner == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as own:
            results = [own.run(_aio(project))]
    elif runner == "threads":
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(3) as pool:
            results = list(pool.map(lambda _: asyncio.run(_aio(project)), range(3)))
    else:
        results = [asyncio.run(_aio(project)) for _ in range(2 if runner == "twice" else 1)]
    assert len(set(results)) == 1


def test_sync_verbs_work_inside_a_running_loop(vertex: Vertex, tmp_path: Path) -> None:
    """As in a notebook, whose kernel runs a loop."""

    async def cell() -> int:
        return len(start(backend=vertex, workdir=tmp_path / "w").split().curate().train)

    assert asyncio.run(cell()) > 0


def test_lost_rows_are_failures_and_are_asked_again(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """A row whose call fails for good is outside n; the next call asks that row only."""
    project = start(backend=vertex, workdir=tmp_path / "w").split(test=0.4)
    emulator.fault(Fault(action="status", status=400, message="bad row", path=":generateContent", skip=3, times=2))
    report = project.evaluate(Accuracy())
    asked = len([each for each in emulator.requests if ":generateContent" in each.path])
    assert len(report.failures) == 2
    assert report.scores["accuracy"].n == asked - 2
    again = project.evaluate(Accuracy())
    assert not again.failures
    assert len([each for each in emulator.requests if ":generateContent" in each.path]) == asked + 2


def test_concurrency_is_bounded_and_temporary_errors_are_waited_out(
    emulator: Emulator, vertex: Vertex, tmp_path: Path
) -> None:
    """503 and resets in the middle lose nothing."""
    project = start(backend=vertex, workdir=tmp_path / "w").split(test=0.4)
    for skip, action in ((2, "status"), (5, "reset_before"), (8, "reset_after"), (11, "truncate")):
        emulator.fault(Fault(action=action, path=":generateContent", skip=skip))  # type: ignore[arg-type]
    report = project.evaluate(Accuracy(), concurrency=4)
    assert not report.failures


def test_going_on_from_a_tuned_model(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """Continuous tuning sends the tuned model and the checkpoint, and not the base model."""
    project = road(vertex, tmp_path / "w")
    tuned = project.tune().wait(timeout=60)
    checkpoint = tuned.checkpoints[1]
    more = project.using(model=tuned.at(checkpoint.id)).recipe(epochs=1)
    job = more.tune()
    body = posts(emulator)[-1].json
    assert "baseModel" not in body
    assert set(body["preTunedModel"].values()) == {tuned.model, checkpoint.id}
    again = job.wait(timeout=60)
    assert again.base_model == "gemini-2.5-flash"
    assert again.endpoint != tuned.endpoint


def test_data_sets_of_ones_own_get_the_instructions(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """evaluate(on=Dataset) asks with the project's instructions, once."""
    project = start(backend=vertex, workdir=tmp_path / "w").instruct(each="Topic of: {input}")
    scenes = Dataset([Example.of("my parcel is lost", "shipping")], source="production")
    report = project.evaluate(Accuracy(), on=scenes)
    assert report.scores["accuracy"].n == 1
    [call] = [each for each in emulator.requests if ":generateContent" in each.path]
    assert call.json["contents"][0]["parts"][0]["text"] == "Topic of: my parcel is lost"


def test_no_credential_reaches_the_disk_or_a_repr(emulator: Emulator, tmp_path: Path) -> None:
    """A token is in no ledger, log or repr."""
    from google.oauth2.credentials import Credentials

    from gemini_tuning.backend import loop

    secret = "ya29.very-secret-token"
    backend = Vertex(
        "p", location="us-central1", staging="gs://bucket", base_url=emulator.url, credentials=Credentials(token=secret)
    )
    project = road(backend, tmp_path / "w")
    project.tune().wait(timeout=60)
    assert secret not in repr(project) + repr(backend) + project.manifest().to_json() + project.explain()
    for file in (tmp_path / "w").rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes()
    loop.run(backend.close())


def test_a_model_that_serves_elsewhere_is_called_there(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """Tuned 3.x models train in one location and serve in another: the endpoint's own is called, thinking at MINIMAL."""
    tuned = road(vertex, tmp_path / "w").using(model="gemini-3.5-flash").tune().wait(timeout=60)
    assert tuned("where is my parcel") in ("shipping", "billing", "login")
    [call] = [each for each in emulator.requests if ":generateContent" in each.path and "/endpoints/" in each.path]
    location = call.path.split("/locations/")[1].split("/")[0]
    assert location in ("us", "eu")
    assert location == tuned.endpoint.split("/")[3]
    assert set(call.json["generationConfig"]["thinkingConfig"].values()) == {"MINIMAL"}


def test_failed_augmentation_calls_are_asked_again(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """A reply that did not come is a failure in the report; the next curate() asks for it only."""
    project = start(backend=vertex, workdir=tmp_path / "w").split().augment(paraphrase(), only=rare_labels(below=99))
    emulator.fault(Fault(action="status", status=400, path=":generateContent", skip=2, times=1))
    [_, report] = project.curate().reports
    assert len(report.failures) == 1  # type: ignore[union-attr]
    asked = len([each for each in emulator.requests if ":generateContent" in each.path])
    [_, again] = project.curate().reports
    assert not again.failures  # type: ignore[union-attr]
    assert len([each for each in emulator.requests if ":generateContent" in each.path]) == asked + 1
    project.curate()
    assert len([each for each in emulator.requests if ":generateContent" in each.path]) == asked + 1


def test_a_foreign_working_directory_does_not_choose_where_credentials_go(
    emulator: Emulator, vertex: Vertex, tmp_path: Path
) -> None:
    """open() restores Google's own address or this machine's, and no other."""
    start(backend=vertex, workdir=tmp_path / "w").curate()
    opened = TuningProject.open(tmp_path / "w").backend
    assert isinstance(opened, Vertex)
    assert opened.base_url == emulator.url
    for file in (tmp_path / "w" / "runs" / "project").iterdir():
        file.write_text(file.read_text().replace(emulator.url, "https://evil.example"))
    assert TuningProject.open(tmp_path / "w").backend is None


def test_a_tuned_model_survives_pickling(vertex: Vertex, tmp_path: Path) -> None:
    """It can be sent to a worker process and called there."""
    import pickle

    tuned = road(vertex, tmp_path / "w").tune().wait(timeout=60)
    assert pickle.loads(pickle.dumps(tuned))("where is my parcel") == tuned("where is my parcel")


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_child_makes_its_own_connections(vertex: Vertex, tmp_path: Path) -> None:
    """After a fork the parent's clients are not used in the child."""
    import os

    project = start(backend=vertex, workdir=tmp_path / "w").split(test=0.4)
    project.evaluate(Accuracy(), limit=3)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if project.evaluate(Accuracy(), limit=6).scores["accuracy"].n == 6 else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert project.evaluate(Accuracy(), limit=8).scores["accuracy"].n == 8


def test_rows_that_a_model_was_trained_on_prove_nothing(vertex: Vertex, tmp_path: Path) -> None:
    """Another split after the tuning puts trained rows into test: said, and never a "better"."""
    project = road(vertex, tmp_path / "w", tickets(150))
    tuned = project.tune().wait(timeout=60)
    assert not [each for each in project.evaluate(Accuracy(), model=tuned).findings if each.severity == "stop"]
    other = project.split(validation=0.2, test=0.3, seed=4)
    report = other.evaluate(Accuracy(), model=tuned)
    assert report.findings[0].code == "eval-trained-on"
    assert report.findings[0].count > 5
    comparison = report.compare(other.evaluate(Accuracy()))
    assert comparison.verdict == "inconclusive"
    assert comparison.findings[0].code == "eval-trained-on"
    going_on = other.using(model=tuned)
    assert "eval-trained-on" in {each.code for each in going_on.check().findings}


def test_open_prefers_what_was_bought(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """Looking at a variant afterwards does not make open() buy it."""
    project = road(vertex, tmp_path / "w")
    job = project.tune()
    project.sample(20).curate()
    assert TuningProject.open(tmp_path / "w").tune().name == job.name
    assert len(posts(emulator)) == 1


def test_extending_keeps_children_with_their_parents() -> None:
    """What was written from a row keeps that row's origin."""
    parent = Dataset([Example.of("a question", "x")])[0]
    import msgspec

    child = msgspec.structs.replace(parent.with_input("another question"), augmented="paraphrase")
    project = start().extend([{"text": "new", "label": "y"}])
    assert len({example.origin for example in project.data}) == len(project.data)
    both = TuningProject.from_records([parent, child], name="t", model="m").extend([])
    assert len({example.origin for example in both.data}) == 1


def test_bad_directories_and_metrics_are_errors_of_the_library(vertex: Vertex, tmp_path: Path) -> None:
    """A file where the working directory should be; a class where a metric should be."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match=r"working directory|cannot be written"):
        start(backend=vertex, workdir=tmp_path / "file").curate()
    with pytest.raises(PlanError, match="calling it"):
        start(backend=vertex, workdir=tmp_path / "w").split().evaluate(Accuracy)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="attempt"):
        start(backend=vertex, workdir=tmp_path / "w").tune(attempt=True)


def test_missing_credentials_are_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented error with the login command, not six tries of a network problem."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    backend = Vertex("p", location="us-central1", staging="gs://bucket")
    with pytest.raises(ConfigError, match="credentials") as caught:
        start(backend=backend, workdir=tmp_path / "w").tune()
    assert caught.value.code == "config-credentials"


def test_equal_work_at_once_is_paid_for_once(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """Two evaluations of one thing at the same time ask each row once."""
    project = start(backend=vertex, workdir=tmp_path / "w").split(test=0.4)

    async def twice() -> list[Any]:
        return await asyncio.gather(project.aio.evaluate(Accuracy()), project.aio.evaluate(Accuracy()))

    first, second = asyncio.run(twice())
    assert first == second
    assert len([each for each in emulator.requests if ":generateContent" in each.path]) == first.asked


def test_addresses_and_sizes_that_can_never_work_are_refused() -> None:
    """A password in an address would stand in the ledger; an adapter size outside the service's list is no size."""
    with pytest.raises(ConfigError, match="password"):
        Vertex("p", location="us-central1", base_url="https://user:secret@proxy.example")
    with pytest.raises(PlanError, match="adapter_size=64"):
        start().recipe(adapter_size=64)


# --- functions in plans -----------------------------------------------------------------------------------------------------


def long_enough(example: Example) -> bool:
    return len(example.input) > 20


def test_functions_are_named_and_asked_back(vertex: Vertex, tmp_path: Path) -> None:
    """An importable function is found by its name; a local one must be given back; a changed one is refused."""
    project = start(backend=vertex, workdir=tmp_path / "w").filter(long_enough)
    assert project.manifest().opaque == (f"{__name__}:long_enough",)
    kept = len(project.curate().train)
    assert (
        TuningProject.from_plan(project.plan, tickets(), workdir=tmp_path / "x").curate().train
        == project.curate().train
    )

    local = start(workdir=tmp_path / "y").filter(lambda example: "parcel" in example.input)
    assert 0 < len(local.curate().train) < kept
    with pytest.raises(PlanError, match="give it back"):
        TuningProject.from_plan(local.plan, tickets(), workdir=tmp_path / "z").curate()
    again = TuningProject.from_plan(local.plan, tickets(), workdir=tmp_path / "z", functions=local.functions)
    assert again.curate().train == local.curate().train

    changed = Plan.from_json(project.plan.to_json().replace(project.plan.steps[0].source_hash, "0" * 16))  # type: ignore[union-attr]
    with pytest.raises(PlanError, match="source has changed"):
        TuningProject.from_plan(changed, tickets(), workdir=tmp_path / "v").curate()


def longer(n: int) -> Any:
    return lambda example: len(example.input) > n


def test_functions_are_told_apart_by_what_they_do_and_hold(tmp_path: Path) -> None:
    """Two lambdas are two filters; two closures of one factory are two plans; a wrong function is not taken."""
    rows = tickets()
    project = start(rows, workdir=tmp_path / "w")
    both = project.filter(lambda each: each.output != "login").filter(lambda each: len(each.input) > 0)
    assert set(both.curate().train.labels) == {"shipping", "billing"}
    few, many = project.filter(longer(45)), project.filter(longer(10))
    assert few.manifest().data_key != many.manifest().data_key
    assert len(few.curate().train) < len(many.curate().train)
    assert project.filter(longer(10)).manifest().data_key == many.manifest().data_key
    named = project.filter(long_enough, name="keep")
    wrong = TuningProject.from_plan(named.plan, rows, workdir=tmp_path / "x", functions={"keep": longer(1)})
    with pytest.raises(PlanError, match="source has changed"):
        wrong.curate()


def test_a_partial_is_the_same_in_every_process(tmp_path: Path) -> None:
    """No memory address is part of a key."""
    import functools

    def n_long(example: Example, n: int) -> bool:
        return len(example.input) > n

    keys = {start().filter(functools.partial(n_long, n=n)).manifest().data_key for n in (3, 3, 4)}
    assert len(keys) == 2
    assert "0x" not in start().filter(functools.partial(n_long, n=3)).plan.to_json()


class Is:
    """A metric with state."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted

    def __call__(self, prediction: str, reference: str) -> bool:
        return reference == self.wanted


def test_metrics_with_state_are_told_apart(vertex: Vertex, tmp_path: Path) -> None:
    """The record of one is not read for the other."""
    project = start(backend=vertex, workdir=tmp_path / "w").split(test=0.4)
    scores = [next(iter(project.evaluate(Is(word)).scores.values())).value for word in ("login", "nothing")]
    assert scores[0] > 0
    assert scores[1] == 0


# --- helpers -----------------------------------------------------------------------------------------------------------------


class _Paraphraser:
    """A backend for the leak law: it answers augmentation requests at once, without a server."""

    simulated = True

    def describe(self) -> dict[str, str]:
        return {"kind": "test"}

    def bind(self, workdir: str) -> _Paraphraser:
        return self

    def create_job(self, request: Any) -> Any:
        raise AssertionError

    def caller(self, model: str, *, base_model: str | None = None) -> Any:
        return _Writer()


class _Writer:
    model = "writer"
    simulated = True

    async def generate(self, prompt: Any, *, schema: Any = None) -> Any:
        from gemini_tuning.types import Reply

        asked = json.loads(prompt.text)
        texts = [f"{asked['text']} {['indeed', 'really'][at % 2]} so it is" for at in range(asked["count"])]
        return Reply(text=json.dumps({"paraphrases": texts}))


def _fresh() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="gemini-tuning-test-"))
