"""The data verbs of a project: broken rows, repair, redaction, checks against other data, counting, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gemini_tuning import Plan, TuningProject, Vertex
from gemini_tuning.backend import loop
from gemini_tuning.data import DataReport
from gemini_tuning.emulator import Emulator
from gemini_tuning.errors import DataError, PlanError
from gemini_tuning.models import Price

from .conftest import tickets

NAMES: dict[str, Any] = {"name": "tickets", "model": "gemini-2.5-flash", "input": "text", "output": "label"}


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def gemini(user: str, answer: str, role: str = "model") -> dict[str, Any]:
    turns = [{"role": "user", "parts": [{"text": user}]}, {"role": role, "parts": [{"text": answer}]}]
    return {"contents": turns}


# --- broken rows -------------------------------------------------------------------------------------------------------


def test_rows_that_can_be_mended_wait_for_repair(tmp_path: Path) -> None:
    """The project starts, `check` lists them, run verbs refuse, `repair` mends; the result has every row in its place."""
    rows = [
        gemini(row["text"], row["label"], "assistant" if at == 3 else "model") for at, row in enumerate(tickets(60))
    ]
    path = written(tmp_path / "rows.jsonl", rows)
    project = TuningProject.from_file(path, workdir=tmp_path / "w", name="tickets", model="gemini-2.5-flash")
    assert len(project.data) == 59
    finding = next(each for each in project.check().findings if each.code == "data-role")
    assert (finding.severity, finding.where[0].line) == ("stop", 4)
    assert ".repair() mends it." in finding.hint
    with pytest.raises(DataError) as caught:
        project.curate()
    assert (caught.value.code, caught.value.line) == ("data-role", 4)
    assert "add .repair()" in caught.value.hint
    listed = project.repair(dry_run=True)
    assert [change.where.line for change in listed.changes] == [4]
    assert len(project.data.broken) == 1
    curation = project.repair().curate()
    assert [example.output for example in curation.train] == [row["label"] for row in tickets(60)]
    assert curation.reports[0].changes == listed.changes  # type: ignore[union-attr]
    assert project.repair().check().ok


def test_rows_beyond_repair_stop_at_once_unless_they_are_kept(tmp_path: Path) -> None:
    """The error names the row and what to do; kept aside, they are listed, refused and, when told so, dropped."""
    path = written(tmp_path / "rows.jsonl", [*tickets(60), "not json", {"text": "no label"}])
    with pytest.raises(DataError) as caught:
        TuningProject.from_file(path, **NAMES)
    assert (caught.value.line, caught.value.code) == (61, "data-json")
    assert "1 more row" in str(caught.value)
    kept = TuningProject.from_file(path, bad_rows="keep", workdir=tmp_path / "w", **NAMES)
    stops = {(each.code, each.where[0].line) for each in kept.check().findings if each.severity == "stop"}
    assert stops >= {("data-json", 61), ("data-column", 62)}
    with pytest.raises(DataError, match="unfixable='drop'"):
        kept.repair().curate()
    curation = kept.repair(unfixable="drop").curate()
    assert len(curation.train) == 60
    assert {each.where.line for each in curation.reports[0].dropped} == {61, 62}  # type: ignore[union-attr]
    with pytest.raises(PlanError, match="bad_rows"):
        TuningProject.from_file(path, bad_rows="skip", **NAMES)  # type: ignore[arg-type]


def test_broken_rows_are_part_of_the_key_and_come_back(tmp_path: Path) -> None:
    """Mended data have their own key, and `open` in another process still holds the broken rows."""
    rows = [gemini(row["text"], row["label"]) for row in tickets(60)]
    whole = TuningProject.from_records(rows, name="t", model="gemini-2.5-flash")
    rows[3] = gemini(tickets(60)[3]["text"], tickets(60)[3]["label"], "assistant")
    broken = TuningProject.from_records(rows, name="t", model="gemini-2.5-flash", workdir=tmp_path / "w").repair()
    assert broken.data.fingerprint != whole.data.fingerprint
    first = broken.curate()
    again = TuningProject.open(tmp_path / "w")
    assert again.data == broken.data
    assert again.plan == broken.plan == Plan.from_json(broken.plan.to_json())
    assert again.curate() == first


def test_repair_comes_first_wherever_it_is_written(tmp_path: Path) -> None:
    """A row that is mended late would be in no part: so the order of verbs does not matter."""
    rows = [
        gemini(row["text"], row["label"], "assistant" if at % 7 == 0 else "model") for at, row in enumerate(tickets(60))
    ]
    project = TuningProject.from_records(rows, name="t", model="gemini-2.5-flash", workdir=tmp_path / "w")
    late, early = project.dedup().split(test=0.2).repair(), project.repair().dedup().split(test=0.2)
    assert late.curate().parts == early.curate().parts
    assert len(late.curate().train) + len(late.curate().validation) + len(late.curate().test) == 60


# --- redaction, checks, curve -------------------------------------------------------------------------------------------


def test_redaction_is_a_step_and_nothing_personal_is_trained_on(tmp_path: Path) -> None:
    """All parts are redacted, the report holds no value, and the plan crosses JSON."""
    rows = [
        {"text": f"{row['text']} mail me: jane{at}@acme.org", "label": row["label"]}
        for at, row in enumerate(tickets(60))
    ]
    project = TuningProject.from_records(rows, workdir=tmp_path / "w", **NAMES).split(test=0.2).redact(kinds=["email"])
    assert "personal-data" in {each.code for each in TuningProject.from_records(rows, **NAMES).check().findings}
    curation = project.curate()
    for part in (curation.train, curation.validation, curation.test):
        assert all("<EMAIL_1>" in example.input and "acme" not in example.input for example in part)
    assert "acme" not in json.dumps([report.to_records() for report in curation.reports])
    assert Plan.from_json(project.plan.to_json()) == project.plan
    assert "personal-data" not in {each.code for each in project.check().findings}
    with pytest.raises(PlanError, match="kinds"):
        project.redact(kinds=["emial"])


def test_check_compares_with_files_of_the_user(tmp_path: Path) -> None:
    """A test set kept elsewhere and a sample of traffic are read from files."""
    project = TuningProject.from_records(tickets(120), **NAMES)
    other = written(tmp_path / "held.jsonl", [tickets(120)[5]])
    traffic = tmp_path / "traffic.txt"
    traffic.write_text(
        "\n".join(f"which film {word} tonight number {at}" for at in range(60) for word in "ab"), "utf-8"
    )
    codes = {each.code: each for each in project.check(leak_from=other, production=traffic).findings}
    assert codes["leak-exact"].where[0].line == 6
    assert "production-not-covered" in codes


def test_the_learning_curve_of_a_project() -> None:
    """The training part at growing shares, with intervals and a sentence."""
    curve = TuningProject.from_records(tickets(120), **NAMES).learning_curve()
    assert curve.to_records()
    assert repr(curve)


# --- counting ------------------------------------------------------------------------------------------------------------


def test_the_service_counts_once_and_prices_are_ones_own(emulator: Emulator, tmp_path: Path) -> None:
    """`count_tokens` asks for each distinct example once, keeps it on disk, and the estimate uses it."""
    backend = Vertex("my-project", location="us-central1", staging="gs://my-bucket", base_url=emulator.url)
    try:
        project = TuningProject.from_records(tickets(60), backend=backend, workdir=tmp_path / "w", **NAMES)
        counts = project.count_tokens()
        asked = [each for each in emulator.requests if each.path.endswith(":countTokens")]
        assert 0 < len(asked) <= 60
        assert project.count_tokens() == counts
        assert len([each for each in emulator.requests if each.path.endswith(":countTokens")]) == len(asked)
        estimate = project.estimate(counts=counts, prices=Price(training=8.0, source="our contract"))
        assert estimate.price_source.startswith("our contract")
    finally:
        loop.run(backend.close())


def test_preview_and_explain_show_what_gemini_reads() -> None:
    """Roles, system instruction, the injected instruction and the part that is trained."""
    project = TuningProject.from_records(tickets(60), **NAMES).instruct(system="You route.", each="Topic of: {input}")
    assert isinstance(project.preview(2), list)
    for shown in (project.explain(), repr(project.preview(1))):
        assert "You route." in shown
        assert "Topic of:" in shown
        assert tickets(60)[0]["label"] in shown


def test_preview_shows_rows_that_are_trained_on() -> None:
    """A row that a filter takes away is not shown."""
    project = TuningProject.from_records(tickets(60), **NAMES)
    first = tickets(60)[0]["label"]
    shown = project.filter(lambda example: example.output != first).preview(3)
    assert all(example.output != first for example in shown)


def test_system_instructions_of_the_rows_are_not_replaced_in_silence() -> None:
    """`check` names the rows whose own instruction goes, and says when only some rows have one."""
    rows: list[Any] = [gemini(row["text"], row["label"]) for row in tickets(60)]
    for row in rows[:20]:
        row["systemInstruction"] = {"parts": [{"text": "You answer for a shop."}]}
    project = TuningProject.from_records(rows, name="t", model="gemini-2.5-flsh")
    codes = {each.code: each for each in project.check().findings}
    assert codes["system-missing"].count == 40
    assert "gemini-2.5-flash" in codes["unknown-model"].hint
    replaced = {each.code: each for each in project.instruct(system="New.").check().findings}["system-replaced"]
    assert (replaced.severity, replaced.count) == ("warning", 20)
    assert "You answer for a shop." in replaced.message


def test_a_label_is_corrected_without_losing_the_rest() -> None:
    """`with_output` keeps system instruction, earlier turns and columns."""
    row = {**gemini("hi", "wrong"), "systemInstruction": {"parts": [{"text": "S"}]}, "id": 7}
    example = TuningProject.from_records([row], name="t", model="gemini-2.5-flash").data[0]
    right = example.with_output("right")
    assert (right.output, right.system, right.input, right.meta, right.origin) == ("right", "S", "hi", {"id": 7}, "")


def test_prices_are_checked() -> None:
    """A price that is none, negative or undated cannot make an estimate."""
    project = TuningProject.from_records(tickets(60), **NAMES)
    with pytest.raises(PlanError, match="prices"):
        project.estimate(prices={"training": 5})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="training"):
        Price(training=-1.0)
    with pytest.raises(ValueError, match="as_of"):
        Price(training=1.0, as_of="1 Nov")


def test_a_plan_that_drops_what_is_broken_serves_other_rows(tmp_path: Path) -> None:
    """The plan says what to do with broken rows, so `from_plan` does not stop at them."""
    plan = TuningProject.from_records(tickets(60), **NAMES).repair(unfixable="drop").plan
    rows = [*tickets(60), {"text": "no answer", "label": ""}]
    again = TuningProject.from_plan(Plan.from_json(plan.to_json()), rows, workdir=tmp_path / "w")
    assert len(again.curate().train) == 60
    other = TuningProject.from_records(tickets(60), **NAMES).plan
    with pytest.raises(DataError):
        TuningProject.from_plan(other, rows)


def test_what_reading_passed_over_comes_back(tmp_path: Path) -> None:
    """Notes of the file are still told after `open`."""
    path = written(tmp_path / "rows.jsonl", ["", *tickets(60)])
    project = TuningProject.from_file(path, workdir=tmp_path / "w", **NAMES)
    project.curate()
    again = TuningProject.open(tmp_path / "w")
    assert [each.code for each in again.data.notes] == ["blank-lines"]
    assert again.check() == project.check()


# --- the command ---------------------------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gemini_tuning", "check", *map(str, arguments)], capture_output=True, text=True, check=False,
        encoding="utf-8",
    )  # fmt: skip


def test_the_command_for_ci(tmp_path: Path) -> None:
    """0 when nothing stops, 1 when something does (or warns, when told), 2 when it cannot look; JSON is the whole report."""
    columns = ("--input", "text", "--output", "label")
    good = written(tmp_path / "good.jsonl", tickets(120))
    assert command(good, *columns).returncode == 0
    warned = written(tmp_path / "warned.jsonl", [*tickets(120), tickets(120)[0]])
    assert command(warned, *columns).returncode == 0
    assert command(warned, *columns, "--strict").returncode == 1
    bad = written(tmp_path / "bad.jsonl", [*tickets(120), "\x1b[31mnot json"])
    done = command(bad, *columns, "--json", "--model", "gemini-3.5-flash")
    assert done.returncode == 1
    report = DataReport.from_json(done.stdout)
    assert [place.line for each in report.findings if each.code == "data-json" for place in each.where] == [121]
    assert "\x1b" not in command(bad, *columns).stdout
    leaking = command(good, *columns, "--leak-from", warned)
    assert leaking.returncode == 1
    assert "leak-exact" in leaking.stdout
    chinese = written(tmp_path / "zh.jsonl", [{**row, "label": "账单 " + row["label"]} for row in tickets(120)])
    done = subprocess.run(
        [sys.executable, "-m", "gemini_tuning", "check", str(chinese), *columns], capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    missing = command(tmp_path / "none.jsonl")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no such file" in missing.stderr
    assert command().returncode == 2
