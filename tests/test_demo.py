"""`python -m gemini_tuning demo`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def demo(workdir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-m", "gemini_tuning", "demo", "--workdir", str(workdir)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=workdir.parent, timeout=300,
        check=False,
    )  # fmt: skip


def test_the_demo_ends_with_an_honest_verdict_and_is_read_the_second_time(tmp_path: Path) -> None:
    """Exit 0, simulated everywhere, `verdict: better` last; the second run buys and asks nothing."""
    first = demo(tmp_path / "w")
    assert first.returncode == 0, first.stderr
    last = first.stdout.rstrip().splitlines()[-1]
    assert last.startswith("verdict: better (accuracy +0."), last
    assert "[0." in last
    assert "n = " in last
    assert first.stdout.count("simulated") >= 6
    assert "Traceback" not in first.stderr
    report = (tmp_path / "w" / "report.html").read_text(encoding="utf-8")
    assert "simulated" in report
    assert "<svg" in report
    jobs = sorted(each.name for each in (tmp_path / "w" / "runs" / "tune").glob("*.json"))
    second = demo(tmp_path / "w")
    assert second.returncode == 0, second.stderr
    assert "ran here before" in second.stdout
    assert second.stdout.rstrip().splitlines()[-1] == last
    assert sorted(each.name for each in (tmp_path / "w" / "runs" / "tune").glob("*.json")) == jobs


def test_a_wrong_command_is_told() -> None:
    """Exit 2 with the usage."""
    done = subprocess.run(
        [sys.executable, "-m", "gemini_tuning", "dmo"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "demo" in done.stderr
