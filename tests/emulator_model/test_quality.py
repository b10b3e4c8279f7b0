"""Accuracy on real data sets, small enough to run in seconds; skipped where the data are not at hand."""

import gzip
import json
import random
from pathlib import Path

import pytest

from gemini_tuning.emulator.base_model import generate
from gemini_tuning.emulator.values import Prompt, Row

from .helpers import accuracy, fit

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BANKING = SHARED / "intent_banking77" / "train.jsonl.gz"
XSID = SHARED / "intent_zh_xsid" / "zh.jsonl"


@pytest.mark.skipif(not BANKING.exists(), reason="the shared data are not here")
def test_banking77() -> None:
    """With 800 rows of 77 intents tuning beats the untrained model that is shown all labels."""
    with gzip.open(BANKING, "rt", encoding="utf-8") as file:
        data = [json.loads(line) for line in file]
    random.Random(0).shuffle(data)
    made = [
        Row(Prompt("You route support tickets.", (("user", f"Intent of: {row['text']}"),)), row["intent"])
        for row in data[:1100]
    ]
    train, test = made[:800], made[800:]
    labels = "Answer with exactly one of: " + ", ".join(sorted({row["intent"] for row in data}))
    base = sum(
        generate(Prompt(labels, row.prompt.turns), base_model="gemini-2.5-flash", weights=None, config={}).text
        == row.target
        for row in test
    ) / len(test)
    tuned = accuracy(fit(train, epochs=10, multiplier=10).weights, test)
    assert 0.2 < base < 0.55
    assert tuned > 0.62


@pytest.mark.skipif(not XSID.exists(), reason="the shared data are not here")
def test_chinese() -> None:
    """Six hundred Chinese requests are enough for a clearly useful model."""
    with XSID.open(encoding="utf-8") as file:
        data = [json.loads(line) for line in file]
    random.Random(0).shuffle(data)
    made = [Row(Prompt("判断用户意图。", (("user", row["text"]),)), row["intent"]) for row in data]
    assert accuracy(fit(made[:600], epochs=8, multiplier=5).weights, made[600:]) > 0.8
