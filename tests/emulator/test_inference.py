"""Generation, streams, counts and embeddings with google-genai."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import PARENT, Tuned

pytestmark = pytest.mark.filterwarnings("ignore")
QUESTION = "My invoice number 7 does not work"


def config(**more: Any) -> Any:
    from google.genai import types

    return types.GenerateContentConfig(system_instruction="Route the ticket.", **more)


def test_tuned_model_answers_by_every_name(tuned: Tuned) -> None:
    """The endpoint's full name, its short one and the model's give the tuned answer."""
    client = tuned.clients.genai()
    endpoint, model = tuned.job["tunedModel"]["endpoint"], tuned.job["tunedModel"]["model"]
    for name in (endpoint, "endpoints/" + endpoint.rsplit("/", 1)[1], model, model.partition("@")[0]):
        reply = client.models.generate_content(model=name, contents=QUESTION, config=config(temperature=0))
        assert reply.text == "BILLING", name
    assert reply.model_version == "gemini-2.5-flash"
    assert reply.response_id
    assert str(reply.candidates[0].finish_reason.value) == "STOP"
    usage = reply.usage_metadata
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
    assert reply.sdk_http_response.headers["x-gemini-tuning-simulated"] == "true"


def test_tuned_model_answers_anything(tuned: Tuned) -> None:
    """A tuned model answers without the system instruction of its training, in a conversation, and to odd text."""
    from google.genai import types

    client, model = tuned.clients.genai(), tuned.job["tunedModel"]["endpoint"]
    turns = [types.Content(role=role, parts=[types.Part(text=text)]) for role, text in
             (("user", "Hello"), ("model", "Hi"), ("user", QUESTION))]  # fmt: skip
    for contents in (QUESTION, turns, "?", " ", "你好", "\U0001f4e6" * 3, "word " * 5000):
        assert client.models.generate_content(model=model, contents=contents).candidates[0].finish_reason
        assert list(client.models.generate_content_stream(model=model, contents=contents))


def test_stream_is_the_same_answer(tuned: Tuned) -> None:
    """A stream's pieces join to the whole answer; the last one carries the reason and the usage."""
    client = tuned.clients.genai()
    name = "gemini-2.5-flash"
    text = "Tell me a long story about a parcel that was lost."
    whole = client.models.generate_content(model=name, contents=text).text
    chunks = list(client.models.generate_content_stream(model=name, contents=text))
    assert "".join(chunk.text or "" for chunk in chunks) == whole
    assert [chunk.candidates[0].finish_reason is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage_metadata.total_token_count > 0


def test_async_calls_side_by_side(tuned: Tuned) -> None:
    """Many concurrent async calls and an async stream all answer."""

    async def go() -> None:
        client = tuned.clients.genai().aio
        model = tuned.job["tunedModel"]["endpoint"]
        calls = [client.models.generate_content(model=model, contents=QUESTION, config=config()) for _ in range(64)]
        assert {reply.text for reply in await asyncio.gather(*calls)} == {"BILLING"}
        stream = await client.models.generate_content_stream(model=model, contents=QUESTION, config=config())
        assert "".join([chunk.text or "" async for chunk in stream]) == "BILLING"
        await client.aclose()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("model", "thinking", "fine"),
    [
        ("gemini-2.5-flash", {"thinking_budget": 0}, True),
        ("gemini-2.5-flash", {"thinking_budget": 24577}, False),
        ("gemini-2.5-flash", {"thinking_level": "LOW"}, False),
        ("gemini-2.5-flash", {"thinking_budget": 0, "thinking_level": "LOW"}, False),
        ("gemini-2.5-flash-lite", {"thinking_budget": 511}, False),
        ("gemini-2.5-pro", {"thinking_budget": 0}, False),
        ("gemini-2.5-pro", {"thinking_budget": 128}, True),
        ("gemini-3.5-flash", {"thinking_level": "MINIMAL"}, True),
        ("gemini-3.5-flash", {"thinking_level": "LOW", "thinking_budget": 1}, False),
    ],
)
def test_thinking_rules(tuned: Tuned, model: str, thinking: dict[str, Any], fine: bool) -> None:
    """Each model family takes its own thinking settings and refuses the others with a 400."""
    from google.genai import errors, types

    def call() -> Any:
        settings = config(thinking_config=types.ThinkingConfig(**thinking))
        return tuned.clients.genai().models.generate_content(model=model, contents="hi", config=settings)

    if fine:
        assert call().text
    else:
        with pytest.raises(errors.ClientError) as caught:
            call()
        assert caught.value.code == 400


def test_output_limit(tuned: Tuned) -> None:
    """maxOutputTokens cuts the answer and says MAX_TOKENS."""
    client = tuned.clients.genai()
    reply = client.models.generate_content(
        model="gemini-2.5-flash", contents="Tell me about lost parcels, please", config=config(max_output_tokens=1)
    )
    assert reply.usage_metadata.candidates_token_count == 1
    assert str(reply.candidates[0].finish_reason.value) == "MAX_TOKENS"


def test_json_answers(tuned: Tuned) -> None:
    """A response schema gives JSON of that shape."""
    from google.genai import types

    schema = {"type": "OBJECT", "properties": {"label": {"type": "STRING", "enum": ["A", "B"]}}, "required": ["label"]}
    settings = types.GenerateContentConfig(response_mime_type="application/json", response_schema=schema)
    reply = tuned.clients.genai().models.generate_content(model="gemini-2.5-flash", contents="A", config=settings)
    assert reply.parsed["label"] in {"A", "B"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{PARENT}/publishers/google/models/gemini-9-nano", None, 404),
        (f"{PARENT}/publishers/google/models/text-embedding-005", None, 404),
        (f"{PARENT}/endpoints/123", None, 404),
        (f"{PARENT}/models/123", None, 404),
        (f"{PARENT}/publishers/google/models/gemini-2.5-flash", {}, 400),
        (f"{PARENT}/publishers/google/models/gemini-2.5-flash", {"contents": []}, 400),
        (f"{PARENT}/publishers/google/models/gemini-2.5-flash", {"contents": [{"role": "user", "parts": []}]}, 400),
        (f"{PARENT}/publishers/google/models/gemini-2.5-flash", b"{not json", 400),
    ],
)
def test_refused_calls(tuned: Tuned, path: str, body: Any, status: int) -> None:
    """Unknown models are a 404, empty or broken requests a 400, in Google's error shape."""
    asked = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]} if body is None else body
    found, _, answer = tuned.clients.raw("POST", f"/v1/{path}:generateContent", asked)
    assert found == status
    assert answer["error"]["code"] == status


def test_counts(tuned: Tuned) -> None:
    """Token counts agree between countTokens, computeTokens and a generation's usage, with snake_case bodies too."""
    client = tuned.clients.genai()
    text = "Where is my parcel? 我的包裹在哪里"
    total = client.models.count_tokens(model="gemini-2.5-flash", contents=text).total_tokens
    infos = client.models.compute_tokens(model="gemini-2.5-flash", contents=text).tokens_info
    assert total == sum(len(info.token_ids) for info in infos) > 0
    assert b"".join(infos[0].tokens).decode() == text
    usage = client.models.generate_content(model="gemini-2.5-flash", contents=text).usage_metadata
    assert usage.prompt_token_count == total
    body = {"contents": {"parts": [{"text": text}]}, "system_instruction": {"parts": [{"text": text}]}}
    path = f"/v1/{PARENT}/publishers/google/models/gemini-2.5-flash:countTokens"
    assert tuned.clients.raw("POST", path, body)[2]["totalTokens"] == 2 * total


def test_embeddings(tuned: Tuned) -> None:
    """Texts give vectors of the length asked for; gemini-embedding-2 gives one for a whole list."""
    client = tuned.clients.genai()
    for model, dimensions in (("text-embedding-005", 768), ("gemini-embedding-001", 3072)):
        found = client.models.embed_content(model=model, contents=["a parcel", "an invoice"]).embeddings
        assert [len(item.values) for item in found] == [dimensions] * 2
        assert found[0].values != found[1].values
    asked = {"output_dimensionality": 64, "task_type": "SEMANTIC_SIMILARITY"}
    short = client.models.embed_content(model="text-embedding-005", contents="a", config=asked).embeddings
    assert len(short[0].values) == 64
    assert len(client.models.embed_content(model="gemini-embedding-2", contents=["a", "b"]).embeddings) == 1
    short_one = {"outputDimensionality": 8}
    requests = [{"content": {"parts": [{"text": text}]}, "embedContentConfig": short_one} for text in "ab"]
    path = f"/v1beta1/{PARENT}/publishers/google/models/gemini-embedding-001:batchEmbedContents"
    answer = tuned.clients.raw("POST", path, {"requests": requests})[2]
    assert [len(item["values"]) for item in answer["embeddings"]] == [8, 8]


def test_answers_while_training(tuned: Tuned) -> None:
    """A small request is answered quickly while a job trains."""
    import statistics
    import time

    from .conftest import dataset, wait

    clients = tuned.clients
    clients.upload("busy.jsonl", dataset(150))
    name = clients.create("gs://bkt/busy.jsonl", epochs=300)["name"]
    wait(lambda: clients.job(name).get("tuningJobMetadata", {}).get("completedStepCount", "0") != "0")
    times = []
    for _ in range(30):
        start = time.perf_counter()
        clients.job(name)
        times.append(time.perf_counter() - start)
    clients.raw("POST", f"/v1/{name}:cancel")
    clients.ended(name)
    assert statistics.median(times) < 0.05
