"""What users may rely on: names, keywords, the cost of the import."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import gemini_tuning
from gemini_tuning import TuningProject

PACKAGES = ("gemini_tuning", "gemini_tuning.data", "gemini_tuning.recipes", "gemini_tuning.jobs", "gemini_tuning.eval",
            "gemini_tuning.plan", "gemini_tuning.backend", "gemini_tuning.emulator")  # fmt: skip


@pytest.mark.parametrize("name", PACKAGES)
def test_every_exported_name_resolves(name: str) -> None:
    """`__all__` is sorted, each name in it exists, and `dir()` shows it."""
    package = importlib.import_module(name)
    assert list(package.__all__) == sorted(package.__all__)
    for each in package.__all__:
        assert getattr(package, each) is not None
        assert each in dir(package)
        # Importing every module of the package must not replace a function by the module of its name.
        assert not inspect.ismodule(getattr(package, each))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A wrong name fails as on any module."""
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = gemini_tuning.nope  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("verb", "keywords"),
    [
        ("from_records", ["name", "model", "input", "output", "backend", "workdir"]),
        ("from_file", ["name", "model", "input", "output", "format", "backend", "workdir"]),
        ("from_plan", ["backend", "workdir"]),
        ("dedup", ["exact", "near"]),
        ("split", ["validation", "test", "seed", "stratify"]),
        ("augment", ["only", "seed"]),
        ("instruct", ["system", "each"]),
        ("recipe", ["epochs", "learning_rate_multiplier", "adapter_size"]),
        ("using", ["model", "backend", "workdir"]),
        ("baseline", ["models", "on"]),
        ("tune", ["attempt"]),
        ("evaluate", ["model", "on", "limit", "concurrency"]),
    ],
)
def test_verbs_keep_their_keywords(verb: str, keywords: list[str]) -> None:
    """The keywords of the design are there, and keyword-only."""
    parameters = inspect.signature(getattr(TuningProject, verb)).parameters
    for keyword in keywords:
        assert parameters[keyword].kind is inspect.Parameter.KEYWORD_ONLY


def test_the_async_project_mirrors_the_run_verbs() -> None:
    """Each run verb has an awaitable twin with the same parameters."""
    for verb in ("curate", "baseline", "tune", "evaluate"):
        sync = inspect.signature(getattr(TuningProject, verb))
        twin = inspect.signature(getattr(gemini_tuning.AsyncTuningProject, verb))
        assert list(sync.parameters) == list(twin.parameters)
        assert inspect.iscoroutinefunction(getattr(gemini_tuning.AsyncTuningProject, verb))


HEAVY = ("google.genai", "google.auth", "google.cloud.storage", "google.cloud.aiplatform", "google.api_core", "numpy",
         "matplotlib", "pandas", "aiohttp", "httpx", "tqdm")  # fmt: skip


@pytest.mark.parametrize("statement", ["import gemini_tuning", "from gemini_tuning import TuningProject, Vertex",
                                       "from gemini_tuning.data import paraphrase, rare_labels"])  # fmt: skip
def test_importing_loads_nothing_heavy(statement: str) -> None:
    """Neither Google's clients nor numpy nor matplotlib are loaded by an import."""
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
