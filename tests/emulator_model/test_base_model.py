"""Answers of the untrained base model, the response format, and embeddings."""

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.emulator.base_model import NOTHING, candidates, embed, generate
from gemini_tuning.emulator.values import Prompt

from .helpers import fit, rows

FLASH = "gemini-2.5-flash"
ANY = st.text(alphabet=st.characters())


def ask(user: str, system: str = "", **config: Any) -> str:
    return generate(Prompt(system, (("user", user),)), base_model=FLASH, weights=None, config=config).text


@pytest.mark.parametrize(
    "system",
    [
        "Answer with exactly one of: card_arrival, lost_card, refund.",
        "Classify. Labels: card_arrival; lost_card; refund",
        "Pick a label:\n- card_arrival\n- lost_card\n- refund\n",
        "Pick a label:\n1. card_arrival: the card has not come\n2. lost_card: it is gone\n3. refund: money back",
        "Choose one of the labels:\ncard_arrival\nlost_card\nrefund",
        'Allowed labels: ["card_arrival", "lost_card", "refund"]',
        "Classify as card_arrival, lost_card or refund.",
        "从以下选项中选择：card_arrival、lost_card、refund。",
        "分为card_arrival、lost_card和refund",
    ],
)
def test_candidates(system: str) -> None:
    """Lists of answers are found however they are written, and the best lexical match is picked."""
    found, _ = candidates(system, cued=False)
    assert [candidate.label for candidate in found] == ["card_arrival", "lost_card", "refund"]
    assert ask("I have lost my card!", system) == "lost_card"
    assert ask("When will my new card be arriving?", system) == "card_arrival"


def test_candidates_in_the_user_turn() -> None:
    """A list in the user's own turn is used, and an input with a colon and commas is not taken for one."""
    assert ask("Which of the labels: cancel_order, track_parcel\nwhere is the parcel") == "track_parcel"
    assert "," not in ask("Intent of: hello, my card, your card, our card")


def test_opened_labels() -> None:
    """camelCase labels and descriptions are read as words."""
    assert ask("cancel it", "one of: TrackParcel, CancelOrder") == "CancelOrder"
    assert ask("it is gone", "- a1: the card is lost or gone\n- a2: asks for a refund") == "a1"


def test_sees_only_the_prompt() -> None:
    """Without candidates the answer is made of words of the input."""
    assert ask("Intent of: I am still waiting on my new credit card") in "waiting new credit card"
    assert ask("今天会下雨吗？") == "今天会下雨吗"


def test_empty() -> None:
    """An empty prompt has an answer too."""
    assert ask("") == ask("  \n", "one of: a, b") == NOTHING
    assert generate(Prompt("", ()), base_model=FLASH, weights=None, config={}).text == NOTHING


def test_limits() -> None:
    """maxOutputTokens cuts and says so; a stop sequence ends the answer before it."""
    prompt = Prompt("one of: alpha beta gamma, delta epsilon zeta", (("user", "alpha"),))
    reply = generate(prompt, base_model=FLASH, weights=None, config={"maxOutputTokens": 2})
    assert (reply.text, reply.finish_reason) == ("alpha beta", "MAX_TOKENS")
    reply = generate(prompt, base_model=FLASH, weights=None, config={"stopSequences": [" beta"]})
    assert (reply.text, reply.finish_reason) == ("alpha", "STOP")
    tuned = fit(rows(100, seed=1), epochs=10, multiplier=5).weights
    prompt = rows(1, seed=3)[0].prompt
    reply = generate(prompt, base_model=FLASH, weights=tuned, config={"maxOutputTokens": 1})
    assert reply.finish_reason == "MAX_TOKENS"


def test_enum_response() -> None:
    """An enum in the response schema is obeyed, tuned or not."""
    schema = {"type": "STRING", "enum": ["billing", "shipping"]}
    assert ask("shipping is late", responseMimeType="text/x.enum", responseSchema=schema) == "shipping"
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    assert ask("shipping is late", **config) == '"shipping"'
    row = rows(1, seed=3)[0]
    tuned = fit(rows(100, seed=1), epochs=10, multiplier=5).weights
    reply = generate(row.prompt, base_model=FLASH, weights=tuned, config=config)
    assert json.loads(reply.text) in ("billing", "shipping")


@given(ANY, ANY, st.sampled_from([{}, {"responseMimeType": "application/json"}, {"maxOutputTokens": 1}]))
@settings(max_examples=60, deadline=None)
def test_never_raises(system: str, user: str, config: dict[str, Any]) -> None:
    """Any prompt has an answer, the same each time."""
    assert ask(user, system, **config) == ask(user, system, **config)


@pytest.mark.parametrize(
    "odd",
    [
        {"maxOutputTokens": None},
        {"maxOutputTokens": "x"},
        {"maxOutputTokens": -1},
        {"stopSequences": None},
        {"stopSequences": "a"},
        {"stopSequences": [""]},
        {"responseSchema": None},
        {"temperature": 2},
    ],
)
def test_odd_config(odd: dict[str, Any]) -> None:
    """Values that a generationConfig should not have are ignored."""
    assert ask("hello world", **odd) == ask("hello world")


@given(ANY, st.sampled_from([1, 16, 768]))
@settings(deadline=None)
def test_embedding(text: str, dimensions: int) -> None:
    """An embedding has the size asked for and unit norm, for any text."""
    vector = embed(text, dimensions)
    assert len(vector) == dimensions
    assert math.fsum(value * value for value in vector) == pytest.approx(1)


@pytest.mark.parametrize(
    "trio",
    [("where is my card", "where are my cards?", "play some music"), ("今天会下雨吗", "今天下雨吗？", "播放一首歌曲")],
)
def test_embedding_is_lexical(trio: tuple[str, str, str]) -> None:
    """Texts that share words are nearer than texts that do not."""
    a, b, c = (embed(text, 256) for text in trio)
    assert sum(x * y for x, y in zip(a, b, strict=True)) > 0.2 + sum(x * y for x, y in zip(a, c, strict=True))


def test_speed() -> None:
    """A call takes a few milliseconds, tuned or not, also with a long instruction."""
    labels = [f"label_{i}_{word}" for i in range(40) for word in ("card", "app")]
    system = "Answer with one of: " + ", ".join(labels)
    data = rows(60, seed=1, system=system)
    tuned = fit(data, epochs=3).weights
    for weights in (None, tuned):
        spent = []
        for row in data:
            begin = time.process_time()
            generate(row.prompt, base_model=FLASH, weights=weights, config={})
            spent.append(time.process_time() - begin)
        assert sorted(spent)[len(spent) // 2] < 0.010
