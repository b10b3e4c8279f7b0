"""Fixtures: an emulator over real sockets, a backend that points at it, a small labelled data set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The emulator of most tests trains in this process: BLAS threads of its own would fight over two cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from gemini_tuning import Vertex
from gemini_tuning.backend import loop
from gemini_tuning.emulator import Emulator

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with Emulator(state=tmp_path / "emulator") as server:
        yield server


@pytest.fixture
def vertex(emulator: Emulator) -> Iterator[Vertex]:
    """The real backend over the real clients, at the emulator's address."""
    backend = Vertex("my-project", location="us-central1", staging="gs://bucket", base_url=emulator.url, reconcile=1.0)
    yield backend
    loop.run(backend.close())


def tickets(n: int = 60) -> list[dict[str, Any]]:
    """Rows of three learnable labels, all texts different."""
    asks = {
        "shipping": ("where is my parcel", "the delivery is late", "track the shipment"),
        "billing": ("refund my invoice", "the charge is wrong", "send the bill again"),
        "login": ("my password fails", "cannot sign in", "reset the account"),
    }
    # Letters, not numbers: a changed number alone is a reason to keep two rows apart.
    words = ("today", "please", "urgently", "again", "now", "sir", "team", "hello", "help", "kindly")
    rows = []
    for at in range(n):
        label = list(asks)[at % 3]
        ask = asks[label][(at // 3) % 3]
        first, second = words[at % 10], words[(at // 10 + 3) % 10]
        rows.append({"text": f"{first} {ask} {second} {'abcdefghij'[at % 10] * 4} {at}", "label": label})
    return rows


@pytest.fixture
def ticket_file(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in tickets()), encoding="utf-8")
    return path


def posts(emulator: Emulator, path: str = "/tuningJobs") -> list[Any]:
    """The create calls that came over the wire."""
    return [each for each in emulator.requests if each.method == "POST" and each.path.split("?")[0].endswith(path)]
