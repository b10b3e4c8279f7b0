"""The documents run: Python blocks, printed output, the notebook; and what they name exists."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gemini_tuning import Dataset, Example, Plan, TuningProject, Vertex
from gemini_tuning.backend import loop, retry
from gemini_tuning.data import keep, presidio, read, redact
from gemini_tuning.data.private.spans import Span
from gemini_tuning.emulator import Emulator, Fault
from gemini_tuning.errors import ConfigError, GeminiTuningError
from gemini_tuning.eval import Accuracy, Baseline, EvalReport, EvalRow, Judge, MetricInfo, evaluate
from gemini_tuning.jobs import job as jobs
from gemini_tuning.ledger import Ledger
from gemini_tuning.models import models
from gemini_tuning.recipes import presets, recommend

from .conftest import tickets

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gemini_tuning"
README = ROOT / "README.md"
DOCS = ROOT / "docs"
NOTEBOOK = ROOT / "notebooks" / "01_first_run.ipynb"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
NOT_RUN = "<!-- not run: needs Google Cloud -->"
PRINTED = "<!-- printed -->"
LANGUAGES = {"python", "sh", "text", "json", "yaml"}


# --- reading ---------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A fenced block: `first` and `last` are the 0-based lines of its fences, `mark` is the line before."""

    language: str
    first: int
    last: int
    code: str
    mark: str


def blocks(page: Path) -> list[Block]:
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        if lines[at].lstrip().startswith("```"):
            end = next(row for row in range(at + 1, len(lines)) if lines[row].strip() == "```")
            mark = lines[at - 1].strip() if at else ""
            found.append(Block(lines[at].strip()[3:], at, end, "\n".join(lines[at + 1 : end]), mark))
            at = end
        at += 1
    return found


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runs(block: Block) -> bool:
    return block.language == "python" and block.mark != NOT_RUN


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}


# --- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_has_a_known_language_and_python_compiles(page: Path) -> None:
    """No block escapes by a misspelt language, and even what needs Google Cloud is valid Python."""
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{name_of(page)}:{block.first + 1}"
        if block.language == "python":
            compile(block.code, f"{name_of(page)}:{block.first + 1}", "exec")
        if block.language == "json":
            json.loads(block.code)


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(runs, blocks(page)))], ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """A page's blocks run in order, as one program in an empty directory with tickets.jsonl, and warn of nothing."""
    rows = tickets(240)
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    # Each line of the program stands on the line of the page, so that a traceback points into the page.
    program = [""] * (len(page.read_text(encoding="utf-8").splitlines()) + 1)
    executed = [block for block in blocks(page) if runs(block)]
    for block in executed:
        program[block.first + 1 : block.last] = block.code.splitlines()
        program[block.last] = "print(flush=True, end='\\0')"
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join(program) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment(), capture_output=True, text=True, encoding="utf-8",
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    outputs = dict(zip((block.last for block in executed), done.stdout.split("\0"), strict=False))
    for block in blocks(page):
        if block.mark == PRINTED:
            before = max(last for last in outputs if last < block.first)
            assert clean(block.code) in clean(outputs[before]), f"{name_of(page)}:{block.first + 1}"
    if page == README:
        assert "verdict: better" in done.stdout


def clean(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


# --- the notebook ----------------------------------------------------------------------------------------------------


def test_the_notebook_is_stored_clean() -> None:
    """No outputs, no counts, no name of the machine's kernel or Python."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["metadata"].get("language_info", {}) in ({}, {"name": "python"})
    assert notebook["metadata"].get("kernelspec", {}).get("name", "python3") == "python3"


def test_the_notebook_runs_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty directory it ends with a verdict, and no cell prints a warning."""
    import nbformat
    from nbclient import NotebookClient

    # A kernel named `python3` may belong to another interpreter: this one is ours.
    spec = tmp_path / "jupyter" / "kernels" / "this"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "this", "language": "python", "env": {"PYTHONPATH": str(ROOT)}}
    (spec / "kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="this", resources={"metadata": {"path": str(work)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error"
            if output.output_type == "stream":
                assert "warning" not in output.text.lower(), output.text
    shown = [output.data for cell in code for output in cell.outputs if output.output_type == "execute_result"]
    last = shown[-1]["text/plain"]
    assert "verdict: better" in last
    assert "simulated" in last
    # The ranges in the text are the numbers to expect: of the base model on validation, of the tuned one on test.
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    base, tuned = ([*map(float, ends)] for ends in re.findall(r"accuracy of about ([\d.]+) to ([\d.]+)", text))
    table = next(data["text/plain"] for data in shown if "median s" in data["text/plain"])
    assert base[0] <= float(re.findall(r"gemini-2\.5-flash +([\d.]+)", table)[0]) <= base[1]
    assert tuned[0] <= float(re.findall(r"accuracy +[\d.]+ +([\d.]+)", last)[0]) <= tuned[1]


# --- codes -----------------------------------------------------------------------------------------------------------


def codes() -> tuple[set[str], set[str]]:
    """The codes of errors and of findings, read from the source."""
    errors = {f"backend-{status}" for status in retry._HINTS}  # the one code that is put together
    findings: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if "emulator" in path.relative_to(PACKAGE).parts:
            continue  # it answers in Google's words and raises nothing of ours
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if path.name == "errors.py":
                errors |= set(defaults(node))
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                if called == "refuse" and len(node.args) >= 4:
                    given.append(node.args[3])
                if called in ("_finding", "finding") and node.args:
                    given.append(node.args[0])
                found = {text for value in given for text in constants(value) if text != "backend-"}
                if called in ("Finding", "_finding", "finding"):
                    findings |= found
                else:
                    errors |= found
        if path.is_relative_to(PACKAGE / "data"):
            errors |= {text for text in constants(tree) if re.fullmatch(r"data-[a-z]+(-[a-z]+)*", text)}
        # Where a loop over a table gives the code: `kinds = (("leak-exact", ...), ...)`.
        tables = [
            node.value for node in ast.walk(tree)
            if getattr(getattr(node, "target", None), "id", "") in ("_KINDS", "kinds")
        ]  # fmt: skip
        findings |= {row.elts[0].value for each in tables for row in getattr(each, "elts", ())}
        notes = [node.value for node in tree.body if getattr(getattr(node, "target", None), "id", "") == "_NOTES"]
        findings |= {key.value for each in notes for key in getattr(each, "keys", ())}
    return errors, findings


def defaults(node: ast.AST) -> Iterator[str]:
    """`code = "..."` of a class, and `code: str = "..."` of a function."""
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code":
        yield from constants(node.value)
    if isinstance(node, ast.FunctionDef):
        for argument, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if argument.arg == "code" and value is not None:
                yield from constants(value)


def constants(node: ast.AST) -> Iterator[str]:
    """The texts in an expression."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def test_every_error_code_has_its_anchor_and_no_anchor_is_dead() -> None:
    """The headings of docs/errors.md that look like codes are exactly the codes of the package."""
    errors, findings = codes()
    headings = re.findall(r"^#+ ([a-z][a-z0-9-]*)$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(errors)
    assert len(errors) > 40
    assert len(findings) > 40


def test_every_finding_code_is_in_the_table_and_no_row_is_dead() -> None:
    """The rows of the tables of findings in docs/errors.md are exactly the codes of the package's findings."""
    _, findings = codes()
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    tables = page[page.index("## Findings") :]
    rows = re.findall(r"^\| `([a-z][a-z0-9_-]*)` \|", tables, re.MULTILINE)
    assert sorted(rows) == sorted(findings)


def test_the_causes_of_failed_jobs_are_in_the_table() -> None:
    """docs/jobs.md lists exactly the causes that a JobFailed can name."""
    page = (DOCS / "jobs.md").read_text(encoding="utf-8")
    table = page[page.index("## Failures") :].split("\n## ")[0]
    causes = {failure.cause for _, failure in jobs._CAUSES} | {jobs._INTERNAL.cause}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == causes


# --- examples of errors ----------------------------------------------------------------------------------------------


def start(**more: Any) -> TuningProject:
    names = {"name": "tickets", "model": "gemini-2.5-flash", "input": "text", "output": "label", **more}
    return TuningProject.from_records(tickets(60), **names)


def read_text(name: str, content: str | bytes, **more: Any) -> Dataset:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(name, input="text", output="label", **more)


def gemini(*turns: dict[str, Any], **more: Any) -> str:
    return json.dumps({"contents": list(turns), **more}) + "\n"


USER = {"role": "user", "parts": [{"text": "a"}]}
BEST = {"score": 1, "completion": {"role": "model", "parts": [{"text": "b"}]}}


def openai(*messages: dict[str, Any]) -> str:
    asked = {"role": "user", "content": "land the drone"}
    return json.dumps({"messages": [asked, *({"role": "assistant", **each} for each in messages)]}) + "\n"


class Blind:
    """A detector that answers for no text."""

    name, version = "blind", "1"

    def detect(self, texts: Sequence[str]) -> Sequence[Sequence[Span]]:
        return []


def report(*, metric: str = "accuracy", model: str = "gemini-2.5-flash", simulated: bool = True, n: int = 2,
           scored: bool = True) -> EvalReport:  # fmt: skip
    info = MetricInfo(name=metric, kind="row", spec={"kind": metric}, bounds=(0.0, 1.0))
    rows = [EvalRow(origin=f"{at}#0", input="a", prediction="b", reference="b",
                    values={metric: 1.0} if scored else {}) for at in range(n)]  # fmt: skip
    return EvalReport.of(model=model, simulated=simulated, on="test", metrics=[info], rows=rows, failures=[])


class Silent:
    """A caller that is never called."""

    model = "gemini-2.5-flash"
    simulated = True


def claimed_twice() -> None:
    ledger = Ledger(Path("support"), "tickets")
    first = ledger.claim("tune", "5f" * 32, wait=0.0)
    assert first is not None
    with first:
        ledger.claim("tune", "5f" * 32, wait=0.0)


def header(folder: str, text: str) -> None:
    Path(folder).mkdir()
    (Path(folder) / "project.json").write_text(text)
    TuningProject.open(folder)


def two_names() -> None:
    start(workdir="team").curate()
    start(workdir="team", name="reviews").curate()


def is_english(example: Example) -> bool:
    return bool(example.meta["lang"] == "en")


def lost_function() -> None:
    def is_short(example: Example) -> bool:
        return len(example.input) < 80

    plan = start().filter(is_short, name="app.rules:is_short").plan
    TuningProject.from_plan(plan, tickets(60), workdir="opaque").curate()


def misspelt() -> None:
    folder = Path("inbox")
    folder.mkdir()
    (folder / "tickets.jsonl").write_text("")
    read(folder / "ticket.jsonl")


def missing_extra() -> None:
    raise ConfigError.missing_extra("Curves.plot", "matplotlib", "viz")


def answer(status: int, text: str, name: str) -> None:
    from google.genai import errors

    cause = errors.APIError(status, {"error": {"code": status, "message": text, "status": name}})
    raise retry.to_backend_error("asking gemini-2.5-flash", cause, 6 if status in (429, 503) else 1)


PLAIN: dict[str, Callable[[], object]] = {
    "plan-value": lambda: start().split(validation=0.6, test=0.6),
    "plan-empty": lambda: start(backend="offline", workdir="empty").evaluate(Accuracy()),
    "plan-function": lost_function,
    "plan-method": lambda: TuningProject.from_records(
        [{"prompt": f"question {at}", "chosen": "yes", "rejected": "no"} for at in range(30)],
        name="pairs",
        model="gemini-2.5-flash",
        backend="offline",
        workdir="pairs",
    ).tune(),
    "plan-json": lambda: Plan.from_json('{"name": "tickets"}'),
    "data-file": misspelt,
    "data-empty-file": lambda: read_text("empty.jsonl", ""),
    "data-format-unknown": lambda: read_text("tickets.txt", '{"text": "a", "label": "b"}\n'),
    "data-format-unsupported": lambda: read_text("book.xlsx", b"PK\x03\x04"),
    "data-ambiguous": lambda: read("two.jsonl") if Path("two.jsonl").write_text(gemini(messages=[])) else None,
    "data-json-array": lambda: read_text("array.jsonl", '[{"text": "a", "label": "b"}]'),
    "data-not-one-per-line": lambda: read_text("many.jsonl", '{"text": "a",\n "label": "b"}\n'),
    "data-too-large": lambda: read_text("large.jsonl", '{"text": "' + "a" * (65 << 20) + '"}\n'),
    "data-completions": lambda: read_text("pairs.jsonl", gemini(USER, completions=[BEST, BEST])),
    "data-tool-arguments": lambda: read_text(
        "calls.jsonl", openai({"tool_calls": [{"id": "c", "function": {"name": "land", "arguments": '"{}"'}}]})
    ),
    "data-tool-response": lambda: read_text(
        "results.jsonl", openai({"role": "tool", "tool_call_id": "c7", "content": "landed"}, {"content": "done"})
    ),
    "data-file-uri": lambda: read_text(
        "image.jsonl", openai({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "cat.jpg"}}]})
    ),
    "data-detector": lambda: redact(start().data, detector=Blind()),
    "backend-presidio": lambda: redact(start().data, detector=presidio("http://127.0.0.1:9")),
    "data-mixed": lambda: read_text(
        "mixed.jsonl", '{"text": "a", "label": "b"}\n' + gemini({"role": "user", "parts": [{"text": "a"}]})
    ),
    "data-encoding": lambda: read_text("latin.csv", "text,label\nGrüße,a\n".encode("latin-1")),
    "data-json": lambda: read_text("broken.jsonl", '{"text": "a", "label": "b"}\n{"text": "a", "label": "b"\n'),
    "data-csv": lambda: read_text("broken.csv", "text,label\nhello, world,greeting\n"),
    "data-column": lambda: read_text("columns.jsonl", '{"text": "a", "lable": "b"}\n'),
    "data-shape": lambda: read_text("shape.jsonl", "[1, 2]\n", format="jsonl"),
    "data-type": lambda: read_text("type.jsonl", '{"text": "a", "label": {"name": "b"}}\n'),
    "data-empty": lambda: read_text("hole.jsonl", '{"text": "a", "label": ""}\n'),
    "data-role": lambda: read_text("role.jsonl", gemini({"role": "assistant", "parts": [{"text": "a"}]})),
    "data-last-turn": lambda: read_text("turn.jsonl", gemini({"role": "user", "parts": [{"text": "a"}]})),
    "data-filter": lambda: keep(read_text("rows.jsonl", '{"text": "a", "label": "b"}\n'), is_english),
    "config-backend": lambda: start().tune(),
    "config-extra": missing_extra,
    "config-model": lambda: start(model="gemini-3.5-flsh").estimate(),
    "config-method": lambda: recommend("gemini-2.5-pro", 500, method="preference"),
    "config-recipe": lambda: recommend("gemini-3.5-flash", 500, preset="article"),
    "config-staging": lambda: Vertex("my-project", location="us-central1", staging="my-bucket"),
    "config-judge": lambda: evaluate(start().data, [Judge("polite")], Silent()),  # type: ignore[arg-type]
    "config-price": lambda: Baseline.of([report()]).recommend("cost"),
    "ledger-name": two_names,
    "ledger-empty": lambda: TuningProject.open("nothing"),
    "ledger-corrupt": lambda: header("torn", '{"schema": 1, "na'),
    "ledger-schema": lambda: header("newer", '{"schema": 9, "name": "tickets"}'),
    "ledger-claim": claimed_twice,
    "ledger-key": lambda: Ledger(Path("keys"), "tickets").read_bytes("tune", "../secret"),
    "compare-simulated": lambda: report().compare(report(simulated=False)),
    "compare-rows": lambda: report().compare(report(n=3)),
    "compare-metrics": lambda: report().compare(report(metric="politeness")),
    "baseline-unscored": lambda: Baseline.of([report(scored=False)]).recommend(),
    "backend": lambda: answer(503, "The service is currently unavailable.", "UNAVAILABLE"),
    "backend-400": lambda: answer(400, "Invalid value at 'generation_config'.", "INVALID_ARGUMENT"),
    "backend-401": lambda: answer(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED"),
    "backend-403": lambda: answer(
        403, "Permission 'aiplatform.endpoints.predict' denied on resource.", "PERMISSION_DENIED"
    ),
    "backend-404": lambda: answer(404, "Publisher Model `gemini-2.5-flash` was not found.", "NOT_FOUND"),
    "backend-429": lambda: answer(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED"),
}
"""What raises each error, in an empty directory and without a service."""


def failed(server: Emulator, project: TuningProject) -> None:
    server.fault(Fault(action="job_fails", message="Row: 17. Missing required `contents` field"))
    project.tune().wait(timeout=60)


def cancelled(server: Emulator, project: TuningProject) -> None:
    server.fault(Fault(action="job_stays", seconds=60))
    job = project.recipe(epochs=2).tune()
    job.cancel()
    job.wait(timeout=60)


def too_late(server: Emulator, project: TuningProject) -> None:
    server.fault(Fault(action="job_stays", seconds=60))
    project.recipe(epochs=3).tune().wait(timeout=0.2)


def unknown(server: Emulator, project: TuningProject) -> None:
    server.fault(Fault(action="reset_before", method="POST", path="/tuningJobs"))
    project.recipe(epochs=4).tune()


JOBS: dict[str, Callable[[Emulator, TuningProject], None]] = {
    "job-failed": failed,
    "job-cancelled": cancelled,
    "job-timeout": too_late,
    "job-unknown": unknown,
}


def example(code: str) -> str:
    """The first text block under a code's heading in docs/errors.md."""
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    section = re.split(rf"^## {code}$", page, flags=re.MULTILINE)[1].split("\n## ")[0]
    return re.findall(r"^```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]


def shape(text: str) -> str:
    """A message without what differs from run to run: numbers of jobs, keys, versions, ports."""
    text = re.sub(r"errors\.pydantic\.dev/[\d.]+/", "errors.pydantic.dev/", text)
    return clean(re.sub(r"\b[0-9a-f]{12,}\b|\b\d{6,}\b|:\d{4,5}\b", "#", text))


@pytest.mark.parametrize("code", PLAIN)
def test_the_example_of_an_error_is_what_the_library_says(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message in docs/errors.md is the one that the error prints, hint and anchor included."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GeminiTuningError) as caught:
        PLAIN[code]()
    assert caught.value.code == code
    assert shape(str(caught.value).replace(str(tmp_path), "...")) == shape(example(code))


def test_the_examples_of_job_errors_are_what_the_library_says(emulator: Emulator, tmp_path: Path) -> None:
    """The same for a job that fails, is cancelled, takes too long, or may have been bought."""
    backend = Vertex(
        "my-project", location="us-central1", staging="gs://my-bucket", base_url=emulator.url, reconcile=0.2
    )
    project = start(backend=backend, workdir=tmp_path / "w")
    try:
        for code, act in JOBS.items():
            with pytest.raises(GeminiTuningError) as caught:
                act(emulator, project)
            emulator.clear_faults()
            assert caught.value.code == code
            assert shape(str(caught.value)) == shape(example(code))
    finally:
        loop.run(backend.close())


# --- what the documents name -----------------------------------------------------------------------------------------


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that exists and, after `#`, a heading in it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in slugs(found), f"{name_of(page)}: {target}"


def test_every_page_is_in_the_navigation() -> None:
    """mkdocs.yml names each page of docs/ and no other."""
    named = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_reference_names_what_exists() -> None:
    """Each `::: name` of docs/api.md can be imported, and each public name of each listed package is there."""
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert names
    for name in names:
        module, _, last = name.rpartition(".")
        assert resolve(name) is not None or getattr(importlib.import_module(module), last)
    for package in ("gemini_tuning", "gemini_tuning.data", "gemini_tuning.eval", "gemini_tuning.jobs"):
        for public in importlib.import_module(package).__all__:
            assert re.search(rf"\b{public}\b", page), f"{package}.{public}"


def resolve(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def test_the_readme_names_the_two_commands() -> None:
    """`make demo` and `make test` come first, and both are targets."""
    shell = [block for block in blocks(README) if block.language == "sh"]
    assert re.findall(r"^make (\w+)", shell[0].code, re.MULTILINE) == ["demo", "test"]
    targets = re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)


def test_the_tables_of_presets_and_models_are_those_of_the_code() -> None:
    """docs/recipes.md repeats each row of the package: settings, limits, source and caveat."""
    page = (DOCS / "recipes.md").read_text(encoding="utf-8")
    flat = " ".join(page.replace(">", " ").split())

    def cell(value: float | None) -> str:
        return "service default" if value is None else f"{value:g}"

    for row in presets():
        settings = (row.epochs, row.learning_rate_multiplier, row.adapter_size)
        assert f"| `{row.model}` | {row.size} | {' | '.join(map(cell, settings))} |" in page
        assert row.source in flat
        assert row.caveat in flat
        assert row.as_of in page
    for model in models():
        price = "not published" if model.price.training is None else f"{model.price.training:g}"
        start = f"| `{model.name}` | {', '.join(model.methods)} | {', '.join(map(str, model.adapters))} | {price} |"
        assert start in page, start
        assert model.retirement is not None
        assert model.retirement in page
