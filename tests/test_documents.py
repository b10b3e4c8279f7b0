"""The documents run: Python blocks, printed output, the notebook; and what they name exists."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gemini_tuning.backend import retry
from gemini_tuning.models import models
from gemini_tuning.recipes import presets

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
    comparisons = [data["text/plain"] for data in shown if "verdict: " in data["text/plain"]]
    assert comparisons
    assert "verdict: better" in comparisons[-1]
    assert "simulated" in comparisons[-1]


# --- codes -----------------------------------------------------------------------------------------------------------


def codes() -> tuple[set[str], set[str]]:
    """The codes of errors and of findings, read from the source."""
    errors = {f"backend-{status}" for status in retry._HINTS}
    findings = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if "emulator" in path.relative_to(PACKAGE).parts:
            continue  # it answers in Google's words and raises nothing of ours
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and path.name == "errors.py":
                errors |= {value for each in node.body if (value := class_code(each))}
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            if called == "refuse" and len(node.args) >= 4:
                given.append(node.args[3])
            if called == "_finding":
                given.append(node.args[0])
            texts = {
                each.value for value in given for each in ast.walk(value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value != "backend-"
            }  # fmt: skip
            if called in ("Finding", "_finding"):
                findings |= texts
            else:
                errors |= texts
    errors |= {"data-record"}  # the default of DataError.at
    return errors, findings


def class_code(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code":
        assert isinstance(node.value, ast.Constant)
        return str(node.value.value)
    return None


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
        price = "not published" if model.training_price is None else f"{model.training_price:g}"
        start = f"| `{model.name}` | {', '.join(model.methods)} | {', '.join(map(str, model.adapters))} | {price} |"
        assert start in page, start
        assert model.retirement is not None
        assert model.retirement in page
