"""What a job will be and cost: ranges, exact counts over the wire, and words for what is unknown."""

from __future__ import annotations

import asyncio
import datetime
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning import Dataset, Example, Instructions, Vertex
from gemini_tuning.backend import run
from gemini_tuning.data import from_records, gemini_lines, instruct
from gemini_tuning.emulator import Emulator, Fault
from gemini_tuning.emulator.dataset import read_dataset
from gemini_tuning.errors import BackendError, PlanError
from gemini_tuning.ledger import Ledger
from gemini_tuning.models import Price
from gemini_tuning.plan.counting import Counts, count
from gemini_tuning.plan.estimate import Estimate
from gemini_tuning.plan.tokens import OTHER, PROSE, error_band, prompt_tokens, training_tokens
from gemini_tuning.recipes import recommend
from gemini_tuning.recipes.presets import Recipe
from gemini_tuning.types import Completion, Part, Prompt, Turn, text_turn

from .conftest import tickets

MODEL = "gemini-2.5-flash"


def rows(n: int = 60) -> Dataset:
    return instruct(
        from_records(tickets(n), input="text", output="label"), system="You route tickets.", each="Topic of: {input}"
    )


def recipe(epochs: int | None = 4, model: str = MODEL) -> Recipe:
    return Recipe(model=model, epochs=epochs, why="a test", source="here")


def pair(question: str = "What fruit?", good: str = "Apple! Apple!", bad: str = "It is an apple.") -> Example:
    answers = (Completion(1.0, text_turn("model", good)), Completion(0.0, text_turn("model", bad)))
    return Example(turns=(text_turn("user", question),), completions=answers)


def counted(emulator: Emulator) -> list[Any]:
    """The countTokens requests that came over the wire."""
    return [each for each in emulator.requests if each.path.split("?")[0].endswith(":countTokens")]


class Counter:
    """Counts by a function of the text; the wire is tested with the real client."""

    def __init__(self, tokens: Callable[[str], float], *, model: str = MODEL, simulated: bool = False) -> None:
        self.tokens, self.model, self.simulated = tokens, model, simulated
        self.asked: list[str] = []
        self.busy = self.most = 0

    async def count_tokens(self, prompt: Prompt, *, media_resolution: str | None = None) -> int:
        text = "\n".join(turn.text for turn in prompt.turns)
        self.asked.append(text)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        return round(self.tokens(text))

    async def generate(self, prompt: Prompt, *, schema: Any = None) -> Any:
        raise AssertionError

    __call__ = generate


# --- the client --------------------------------------------------------------------------------------------------------


def test_count_tokens_on_the_wire(emulator: Emulator, vertex: Vertex) -> None:
    """Turns (the model's answer too), system instruction, tools and resolution are sent; nothing is generated."""
    tools = '[{"functionDeclarations":[{"name":"look_up"}]}]'
    prompt = Prompt((text_turn("user", "hi there"), text_turn("model", "hello")), "Be kind.", tools)
    tokens = run(vertex.caller(MODEL).count_tokens(prompt, media_resolution="MEDIA_RESOLUTION_LOW"))
    (request,) = emulator.requests
    assert request.method == "POST"
    assert request.path.endswith(f"/publishers/google/models/{MODEL}:countTokens")
    assert [(turn["role"], turn["parts"]) for turn in request.json["contents"]] == [
        ("user", [{"text": "hi there"}]), ("model", [{"text": "hello"}]),
    ]  # fmt: skip
    assert request.json["systemInstruction"]["parts"] == [{"text": "Be kind."}]
    assert request.json["tools"] == json.loads(tools)
    assert request.json["generationConfig"] == {"mediaResolution": "MEDIA_RESOLUTION_LOW"}
    assert tokens > 0


def test_a_text_and_what_stands_beside_it_are_both_sent(emulator: Emulator, vertex: Vertex) -> None:
    """A part with a text and another field loses neither."""
    part = Part(text="hello", other='{"thoughtSignature":"QUJD"}')
    run(vertex.caller(MODEL).count_tokens(Prompt((text_turn("user", "hi"), Turn("model", (part,))))))
    sent = emulator.requests[-1].json["contents"][1]["parts"][0]
    assert sent == {"text": "hello", "thoughtSignature": "QUJD"}


def test_counting_is_a_read_that_is_tried_again(emulator: Emulator, vertex: Vertex) -> None:
    """A 503 is repeated; a 400 is not, and says which call failed."""
    caller = vertex.caller(MODEL)
    emulator.fault(Fault(action="status", status=503, path=":countTokens", retry_after=0.0))
    assert run(caller.count_tokens(Prompt((text_turn("user", "hi"),)))) > 0
    assert len(counted(emulator)) == 2
    emulator.fault(Fault(action="status", status=400, message="bad part", path=":countTokens"))
    with pytest.raises(BackendError, match=r"counting tokens with gemini-2\.5-flash.*bad part") as caught:
        run(caller.count_tokens(Prompt((text_turn("user", "hi"),))))
    assert caught.value.attempts == 1
    assert len(counted(emulator)) == 3


def test_what_the_client_refuses_is_an_error_of_the_library(emulator: Emulator, vertex: Vertex) -> None:
    """Tools that google-genai does not take are named; nothing is sent and no type of the client comes out."""
    tools = '[{"functionDeclarations":[{"name":"f","parameters":{"unheard":1}}]}]'
    with pytest.raises(BackendError, match=r"parameters\.unheard") as caught:
        run(vertex.caller(MODEL).count_tokens(Prompt((text_turn("user", "hi"),), None, tools)))
    assert caught.value.code == "backend-400"
    assert not emulator.requests


# --- counting a data set -----------------------------------------------------------------------------------------------


def test_a_small_data_set_is_counted_whole_and_once(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """One request an example, the service's own bill to the token, and nothing at all the second time."""
    data = rows()
    cache = Ledger(tmp_path / "work", "tickets").journal("counts", "a" * 64)
    counts = run(count(data, vertex.caller(MODEL), cache))
    assert len(counted(emulator)) == len(data) == counts.counted
    bill = int(read_dataset(gemini_lines(data), "gs://b/train.jsonl").stats(1)["totalBillableTokenCount"])
    assert counts.tokens == (bill, bill)
    assert counts.exact
    assert counts.simulated
    sent = {request.json["contents"][0]["parts"][0]["text"] for request in counted(emulator)}
    assert sent == {example.turns[0].text for example in data}
    assert all(request.json["systemInstruction"]["parts"] for request in counted(emulator))
    again = run(count(data, vertex.caller(MODEL), cache))
    assert again == counts
    assert len(counted(emulator)) == len(data)


def test_a_large_data_set_is_sampled(emulator: Emulator, vertex: Vertex, tmp_path: Path) -> None:
    """So many requests as were asked for; a larger sample only sends what is new, whatever the order of the rows."""
    data = rows(150)
    cache = Ledger(tmp_path / "work", "tickets").journal("counts", "a" * 64)
    first = run(count(data, vertex.caller(MODEL), cache, sample=40))
    assert len(counted(emulator)) == first.counted == 40
    assert not first.exact
    whole = run(count(data, vertex.caller(MODEL), cache, sample=150))
    assert len(counted(emulator)) == 150
    assert first.tokens[0] < whole.tokens[0] == whole.tokens[1] < first.tokens[1]
    shuffled = list(data)
    random.Random(3).shuffle(shuffled)
    assert run(count(shuffled, vertex.caller(MODEL), cache, sample=40)) == first
    assert len(counted(emulator)) == 150


def test_a_pair_is_counted_with_each_of_its_answers() -> None:
    """2 x prompt + both answers; equal rows are asked once and counted as often as they stand there."""
    counter = Counter(len)
    data = [pair(), pair(), pair(question="Which?")]
    counts = run(count(data, counter))
    assert sorted(counter.asked) == sorted(
        f"{question}\n{answer}"
        for question in ("What fruit?", "Which?")
        for answer in ("Apple! Apple!", "It is an apple.")
    )
    per_pair = sum(len(f"What fruit?\n{answer}") for answer in ("Apple! Apple!", "It is an apple."))
    assert counts.tokens[0] == 3 * per_pair - 2 * (len("What fruit?") - len("Which?"))
    assert (counts.examples, counts.distinct) == (3, 2)


def test_counts_of_the_simulator_and_of_the_service_are_kept_apart(tmp_path: Path) -> None:
    """One journal serves both, and neither believes the other; other models count for themselves."""
    cache = Ledger(tmp_path, "x").journal("counts", "b" * 64)
    data = rows(40)
    assert run(count(data, Counter(lambda _: 1, simulated=True), cache)).tokens == (40, 40)
    assert run(count(data, Counter(lambda _: 2), cache)).tokens == (80, 80)
    assert run(count(data, Counter(lambda _: 3, model="gemini-3.5-flash"), cache)).tokens == (120, 120)
    assert run(count(data, Counter(lambda _: 9), cache)).tokens == (80, 80)


def test_what_is_in_the_cache_and_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """Rows of another shape do not count."""
    cache = Ledger(tmp_path, "x").journal("counts", "b" * 64)
    cache.append({"key": 3, "tokens": "many"})
    cache.append({"other": True})
    assert run(count(rows(40), Counter(lambda _: 1), cache)).tokens == (40, 40)


def test_a_failure_is_counted_and_not_guessed_away() -> None:
    """What could not be counted is said and widens the range; nothing counted at all is an error."""

    def tokens(text: str) -> float:
        if "parcel" in text:
            msg = "a bad part"
            raise BackendError(msg)
        return len(text)

    data = rows(60)
    counts = run(count(data, Counter(tokens)))
    assert counts.failed == sum("parcel" in example.text for example in data) > 0
    assert counts.failed + counts.counted == counts.distinct
    assert not counts.exact
    assert counts.error == "a bad part"
    whole = run(count(data, Counter(len))).tokens[0]
    assert counts.tokens[0] <= whole <= counts.tokens[1]
    assert f"{counts.failed} failed" in repr(counts)


def test_no_permission_is_said_at_once(emulator: Emulator, vertex: Vertex) -> None:
    """When nothing works and nothing will, not every example is tried."""
    emulator.fault(Fault(action="status", status=403, message="no right", path=":countTokens", times=1000))
    with pytest.raises(BackendError, match="no right"):
        run(count(rows(150), vertex.caller(MODEL), concurrency=4))
    assert len(counted(emulator)) < 20


def test_requests_under_way_are_bounded_and_told() -> None:
    """Never more than `concurrency`; progress ends with all done."""
    counter, told = Counter(len), []
    run(count(rows(60), counter, concurrency=3, progress=told.append))
    assert counter.most == 3
    assert told[-1][1:] == (60, 60)


@pytest.mark.parametrize("arguments", [{"sample": 39}, {"concurrency": 0}])
def test_arguments_that_cannot_work(arguments: dict[str, int]) -> None:
    """A sample that carries no interval and no workers are refused by name."""
    with pytest.raises(PlanError, match=next(iter(arguments))):
        run(count(rows(), Counter(len), **arguments))
    with pytest.raises(PlanError, match="at least one example"):
        run(count([], Counter(len)))


def test_the_interval_holds_what_it_says() -> None:
    """Of many data sets with a few very long texts nearly all (nominal: 95 %) have their true total in the interval."""
    words = ["parcel ", "退款 ", "a1b2-99; ", "{'x': 3} ", "where is it ", "ඇයි "]
    inside, width = 0, 0.0
    for seed in range(60):
        source = random.Random(seed)
        lengths = [min(200, 1 + int(source.paretovariate(1.3))) for _ in range(400)]
        data = [Example.of("".join(source.choices(words, k=size)) + str(at), "x") for at, size in enumerate(lengths)]
        # A tokenizer of its own: bytes, not our classes of script.
        truth = {f"{each.text}\nx": 2 + len(each.text.encode()) / 3 for each in data}
        counts = run(count(data, Counter(truth.__getitem__), sample=80))
        total = sum(map(round, truth.values()))
        inside += counts.tokens[0] <= total <= counts.tokens[1]
        width += (counts.tokens[1] - counts.tokens[0]) / total / 60
    assert inside >= 52
    assert width < 0.15


# --- what a data set weighs --------------------------------------------------------------------------------------------


def test_a_pair_weighs_its_prompt_twice() -> None:
    """Preference: 2 x prompt + both answers; supervised: input and output once."""
    long, short = pair(question="word " * 100), pair(question="word")
    (grown,) = (training_tokens([long])[0] - training_tokens([short])[0],)
    assert grown == pytest.approx(2 * (prompt_tokens([long])[0] - prompt_tokens([short])[0]))
    one = Example.of("word " * 100, "x")
    other = Example.of("word", "x")
    assert training_tokens([one])[0] - training_tokens([other])[0] == pytest.approx(
        prompt_tokens([one])[0] - prompt_tokens([other])[0]
    )


def test_the_error_band_is_that_of_the_mix() -> None:
    """Prose of known scripts 25 %, numbers and marks 40 %, a mixture between."""
    prose = [Example.of("where is my parcel", "shipping")]
    chinese = [Example.of("我的包裹在哪里", "物流")]
    code = [Example.of("{}[]();:=+-*/<>!&|^%1234567890", "0")]
    assert error_band(prose) == error_band(chinese) == PROSE
    assert error_band(code) == pytest.approx(OTHER)
    assert PROSE < error_band([*prose * 8, *code]) < OTHER
    assert error_band([]) == PROSE


@given(st.lists(st.tuples(st.text(), st.text()), max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_band_depends_on_the_set(texts: list[tuple[str, str]], shuffle: random.Random) -> None:
    """Any order gives the same band, within its bounds."""
    data = [Example.of(*both) for both in texts]
    band = error_band(data)
    shuffle.shuffle(data)
    assert error_band(data) == pytest.approx(band)
    assert PROSE <= band <= OTHER + 1e-9


def test_the_band_of_many_is_that_of_a_few() -> None:
    """From 100,000 examples some are looked at, by their content; equal questions are no trouble."""
    data = [Example.of(f"ticket {at} is late", "x") for at in range(9_000)]
    band = error_band(data)
    assert error_band(data[::-1]) == band
    assert band == pytest.approx(error_band(data[:2_000]), abs=0.01)
    assert error_band([Example.of("hello", "x")] * 9_000) == PROSE


# --- the estimate ------------------------------------------------------------------------------------------------------


def test_the_cost_is_tokens_times_epochs_times_price() -> None:
    """Both ends, with the table's price; the range is the band around the count."""
    data = rows(60)
    plain = Estimate.of(data[:50], data[50:], recipe=recipe(4))
    total, band = sum(training_tokens(data[:50])), error_band(data[:50])
    assert plain.tokens == (round(total * (1 - band)), round(total * (1 + band)))
    assert plain.error == band
    assert plain.trained_tokens == tuple(4 * end for end in plain.tokens)
    assert plain.price == 5.0
    assert plain.cost == pytest.approx(tuple(end * 5.0 / 1e6 for end in plain.trained_tokens))
    assert (plain.examples, plain.validation_examples) == (50, 10)
    text = repr(plain)
    assert f"{plain.tokens[0]:,} to {plain.tokens[1]:,}" in text
    assert "±" in text
    assert "as of 2026-11-22" in text


def test_exact_counts_take_the_place_of_the_range() -> None:
    """One number where all was counted, and how it came about."""
    data = rows(60)
    counts = run(count(data, Counter(len)))
    found = Estimate.of(data, recipe=recipe(2), counts=counts, prices=Price(training=100.0))
    assert found.tokens == counts.tokens
    assert found.error is None
    assert found.cost is not None
    assert found.cost[0] == found.cost[1] == pytest.approx(counts.tokens[0] * 2 * 100 / 1e6)
    assert f"{counts.tokens[0]:,} (count_tokens of {MODEL}: every example)" in repr(found)


def test_counts_of_other_data_are_refused() -> None:
    """And those of the simulator for a job that costs money."""
    data = rows(60)
    counts = run(count(data, Counter(len, simulated=True)))
    assert Estimate.of(data, recipe=recipe(), counts=counts, simulated=True).tokens == counts.tokens
    with pytest.raises(PlanError, match="59 examples"):
        Estimate.of(data[:59], recipe=recipe(), counts=counts)
    with pytest.raises(PlanError, match="simulator"):
        Estimate.of(data, recipe=recipe(), counts=counts, simulated=False)


def test_what_is_unknown_is_said_and_is_never_zero() -> None:
    """Epochs, steps, price, validation, method: None and words."""
    data = rows(60)
    found = Estimate.of(data[:50], data[50:], recipe=recipe(None, "gemini-3.5-flash"))
    assert (found.cost, found.epoch_cost, found.trained_tokens, found.price) == (None, None, None, None)
    for word in ("epochs:", "steps:", "price: none is published", "validation tokens:"):
        assert any(note.startswith(word) for note in found.unknown), word
    assert "cost             unknown" in repr(found)
    known = Estimate.of(data[:50], recipe=recipe(3))
    assert not any(note.startswith(("epochs:", "price:", "validation")) for note in known.unknown)
    assert any("at most 150" in note for note in known.unknown if note.startswith("steps:"))


def test_without_epochs_the_cost_is_of_one() -> None:
    """The service chooses them: the price of an epoch is known, that of the job is not."""
    found = Estimate.of(rows(), recipe=recipe(None))
    assert found.cost is None
    assert found.epoch_cost == pytest.approx(tuple(end * 5.0 / 1e6 for end in found.tokens))
    assert " an epoch at USD 5 " in repr(found)


@pytest.mark.parametrize("method", ["reinforcement", "distillation"])
def test_methods_without_a_formula(method: Any) -> None:
    """Tokens of the file are known; what they are trained with is not."""
    found = Estimate.of(rows(), recipe=recipe(3), method=method)
    assert found.tokens[0] > 0
    assert (found.trained_tokens, found.cost, found.epoch_cost) == (None, None, None)
    assert any("no formula" in note for note in found.unknown)


def test_preference_costs_both_answers() -> None:
    """2 x prompt + both answers, times the epochs."""
    data = [pair(question=f"question number {at}") for at in range(40)]
    found = Estimate.of(data, recipe=recipe(2), method="preference")
    middle = 2 * sum(training_tokens(data))
    assert found.trained_tokens is not None
    assert sum(found.trained_tokens) / 2 == pytest.approx(middle, rel=0.01)
    assert sum(training_tokens(data)) > 1.5 * sum(prompt_tokens(data))


def test_a_caller_has_prices_of_their_own() -> None:
    """Theirs go first; what they do not name is from the table, and both sources are said."""
    data = rows()
    found = Estimate.of(
        data, recipe=recipe(1, "gemini-3.5-flash"), test=data,
        prices=Price(training=8.0, source="our contract", as_of="2026-11-01"), today=datetime.date(2026, 11, 22),
    )  # fmt: skip
    assert found.price == 8.0
    assert found.cost == pytest.approx(tuple(end * 8.0 / 1e6 for end in found.tokens))
    assert found.price_source.startswith("our contract; input and output from the table: ")
    assert "days old" not in found.price_source
    assert found.price_as_of == "2026-11-01"
    assert found.evaluation is not None
    assert found.tuned_evaluation == pytest.approx(tuple(1.5 * end for end in found.evaluation))
    assert any("pages disagree" in note for note in found.unknown)


def test_an_old_price_says_so() -> None:
    """After half a year; not the day before."""
    old = [
        Estimate.of(rows(), recipe=recipe(), prices=Price(training=1.0, as_of="2026-01-01"), today=day).price_source
        for day in (datetime.date(2026, 6, 30), datetime.date(2026, 7, 1))
    ]
    assert ["days old" in words for words in old] == [False, True]


def test_one_evaluation() -> None:
    """The test part when there is one, else validation: input and output prices, base and tuned."""
    data = rows(60)
    prices = Price(training=1.0, input=10.0, output=1000.0, tuned_factor=2.0)
    found = Estimate.of(data[:40], data[40:50], test=data[50:], recipe=recipe(), prices=prices)
    assert found.evaluated == 10
    assert found.evaluation is not None
    read = sum(prompt_tokens(data[50:]))
    low, high = found.evaluation
    assert read * 10 / 1e6 < (low + high) / 2 < read * 10 / 1e6 + 10 * 3 * 1000 / 1e6
    assert found.tuned_evaluation == (2 * low, 2 * high)
    assert "with the tuned one (10 questions)" in " ".join(repr(found).split())
    assert not any("disagree" in note for note in found.unknown)
    assert Estimate.of(data[:40], data[40:50], recipe=recipe(), prices=prices).evaluated == 10
    assert Estimate.of(data[:40], recipe=recipe(), prices=prices).evaluation is None
    unknown = Estimate.of(data, test=data, recipe=recipe(1, "gemini-9-flash"), prices=Price(training=1.0))
    assert unknown.evaluation is None
    assert any("asking gemini-9-flash" in note for note in unknown.unknown)


def test_the_simulator_costs_nothing() -> None:
    """It says so, and shows no money."""
    text = repr(Estimate.of(rows(), rows(), recipe=recipe(), simulated=True))
    assert "nothing: the offline simulator" in text
    assert "USD" not in text
    assert "evaluating" not in text


def test_files_are_not_in_the_range() -> None:
    """Files are said where nobody looked at them, and where the service's own count is an estimate."""
    file = Part(other='{"fileData":{"fileUri":"gs://b/a.png","mimeType":"image/png"}}')
    data = [Example(turns=(Turn("user", (file, Part(text=f"{at}?"))), text_turn("model", "x"))) for at in range(30)]
    found = Estimate.of(data, recipe=recipe())
    assert any(note.startswith("files: 30, whose tokens are guessed") for note in found.unknown)
    counts = run(count(data, Counter(len)))
    found = Estimate.of(data, recipe=recipe(), counts=counts)
    assert any("the service's own count is an estimate too" in note for note in found.unknown)
    talk = [Example.of('what is "fileData"?', "a field")]
    assert not any(note.startswith("files") for note in Estimate.of(talk, recipe=recipe()).unknown)


@given(
    st.lists(st.tuples(st.text(max_size=50), st.text(max_size=20)), max_size=20),
    st.none() | st.integers(1, 30),
    st.none() | st.floats(0.01, 100),
)
@settings(max_examples=60, deadline=None)
def test_ranges_are_ranges(texts: list[tuple[str, str]], epochs: int | None, price: float | None) -> None:
    """Low is never above high, nothing is negative, and money is known exactly when price and epochs are."""
    data = [Example.of(*both) for both in texts]
    found = Estimate.of(data, recipe=recipe(epochs, "gemini-3.5-flash"), prices=Price(training=price), test=data)
    for ends in (found.tokens, found.trained_tokens, found.cost, found.epoch_cost, found.evaluation):
        assert ends is None or 0 <= ends[0] <= ends[1]
    assert (found.cost is not None) == (epochs is not None and price is not None)
    (row,) = found.to_records()
    assert json.loads(json.dumps(row)) == row
    assert "Estimate" in repr(found)


def test_html_is_escaped() -> None:
    """Sources are the caller's texts."""
    markup = Estimate.of(rows(), recipe=recipe(), prices=Price(training=1.0, source="<script>"))._repr_html_()
    assert "<script>" not in markup
    assert "&lt;script&gt;" in markup


def test_a_recommended_recipe_is_explained() -> None:
    """The recipe, its reason and its caveat are part of the estimate."""
    chosen = recommend("gemini-2.5-pro", 60)
    text = repr(Estimate.of(rows(), recipe=chosen, scope="after curation"))
    assert chosen.describe().split(",")[0] in text
    assert "60 (after curation)" in text
    assert "caveat" in text


def test_counts_are_values() -> None:
    """A record that JSON can hold."""
    counts = run(count([Instructions(system="s").apply(Example.of("a", "b"))], Counter(len)))
    assert isinstance(counts, Counts)
    (row,) = counts.to_records()
    assert json.loads(json.dumps(row)) == row
    assert row["exact"] is True
