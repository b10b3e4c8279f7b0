"""Generation, streaming, token counts and embeddings, for base models and for what was tuned.

`gemini-2.5-flash`, `projects/P/locations/L/endpoints/E`, `.../models/M[@V]` and, as google-genai spells a bare
`endpoints/E`, `publishers/endpoints/models/E` all answer.
"""

from __future__ import annotations

import base64
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .catalog import check_thinking, embedding_dimensions, is_gemini
from .dataset import DatasetError, content_text
from .registry import Registry, Served
from .state import State
from .text import count_tokens, tokens
from .wire import ApiError, Request, Response, Route, json_response, route, sse, timestamp

if TYPE_CHECKING:
    from .base_model import Reply
    from .values import Prompt
    from .weights import Weights

__all__ = ["Inference"]

_LOADED = 8
_CANDIDATES = 8
_EVENTS = 8


class Inference:
    """Answers with the models of one state directory; the weights used last stay loaded."""

    def __init__(self, state: State, registry: Registry) -> None:
        self._state = state
        self._registry = registry
        self._weights: OrderedDict[Path, Weights] = OrderedDict()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """Every method on every way to name a model."""
        methods = {
            "generateContent": self._generate,
            "streamGenerateContent": self._stream,
            "countTokens": self._count,
            "computeTokens": self._compute,
            "predict": self._predict,
            "embedContent": self._embed,
            "batchEmbedContents": self._embed_batch,
        }
        publisher = "/(?P<version>v1|v1beta1|ui)/(?:projects/[^/]+/locations/(?P<location>[^/]+)/)?publishers"
        places = (
            publisher + "/google/models/{model}",
            publisher + "/endpoints/models/{endpoint}",
            "{vertex}/endpoints/{endpoint}",
            "{vertex}/models/{tuned}",
        )
        return [route("POST", f"{place}:{method}", handler) for method, handler in methods.items() for place in places]

    # --- generation ----------------------------------------------------------------------------------------------

    def _generate(self, request: Request, found: Mapping[str, str]) -> Response:
        served, prompt, config = self._asked(request, found)
        count = int(config.get("candidateCount") or 1)
        if not 1 <= count <= _CANDIDATES:
            raise ApiError(400, f"candidateCount must be between 1 and {_CANDIDATES}, got {count}.")
        reply = self._reply(served, prompt, config)
        # The model is deterministic, so all the candidates are the same one.
        candidates = [
            {
                **({"index": index} if index else {}),
                "content": {"role": "model", **({"parts": [{"text": reply.text}]} if reply.text else {})},
                "finishReason": reply.finish_reason,
            }
            for index in range(count)
        ]
        made = count * count_tokens(reply.text)
        return json_response({"candidates": candidates, **_trailer(served, prompt, made)})

    def _stream(self, request: Request, found: Mapping[str, str]) -> Response:
        served, prompt, config = self._asked(request, found)
        reply = self._reply(served, prompt, config)
        pieces = tokens(reply.text)
        size = max(1, -(-len(pieces) // _EVENTS))
        texts = ["".join(pieces[start : start + size]) for start in range(0, len(pieces), size)] or [""]
        trailer = _trailer(served, prompt, len(pieces))
        chunks = []
        for number, text in enumerate(texts, start=1):
            last = number == len(texts)
            candidate = {
                "content": {"role": "model", **({"parts": [{"text": text}]} if text else {})},
                **({"finishReason": reply.finish_reason} if last else {}),
            }
            usage = trailer["usageMetadata"] if last else {"trafficType": "ON_DEMAND"}
            chunks.append({"candidates": [candidate], **trailer, "usageMetadata": usage})
        if request.one("alt") != "sse":
            return json_response(chunks)  # without alt=sse the service streams one JSON array
        return Response(200, b"", {"Content-Type": "text/event-stream"}, tuple(sse(chunks)))

    def _asked(self, request: Request, found: Mapping[str, str]) -> tuple[Served, Prompt, Mapping[str, Any]]:
        served = self._served(found)
        body = request.json()
        config = body.get("generationConfig") or {}
        if not isinstance(config, dict):
            raise ApiError(400, "Invalid value at 'generation_config': expected an object.")
        check_thinking(served.base_model, config.get("thinkingConfig") or {})
        limit = config.get("maxOutputTokens")
        if limit is not None and (not isinstance(limit, int | float) or limit < 1):
            raise ApiError(400, f"maxOutputTokens must be positive, got {limit!r}.")
        return served, _prompt(body, must_end_with_user=True), config

    def _reply(self, served: Served, prompt: Prompt, config: Mapping[str, Any]) -> Reply:
        from .base_model import generate

        weights = None if served.weights is None else self._loaded(served.weights)
        return generate(prompt, base_model=served.base_model, weights=weights, config=config)

    def _served(self, found: Mapping[str, str]) -> Served:
        location = found.get("location", "")
        if endpoint := found.get("endpoint"):
            return self._registry.served_by_endpoint(endpoint, location)
        if tuned := found.get("tuned"):
            return self._registry.served_by_model(tuned, location)
        model = found["model"].partition("@")[0]
        if not is_gemini(model):
            raise ApiError(
                404,
                f"Publisher Model `publishers/google/models/{model}` was not found or does not generate content. "
                "Please ensure you are using a valid model version.",
            )
        return Served(model, None)

    def _loaded(self, path: Path) -> Weights:
        from .weights import Weights

        with self._lock:
            if path in self._weights:
                self._weights.move_to_end(path)
                return self._weights[path]
        try:
            weights = Weights.load(path)
        except FileNotFoundError:
            raise ApiError(404, "The weights behind this endpoint were deleted with their model.") from None
        with self._lock:
            self._weights[path] = weights
            while len(self._weights) > _LOADED:
                self._weights.popitem(last=False)
        return weights

    # --- tokens ------------------------------------------------------------------------------------------------

    def _count(self, request: Request, found: Mapping[str, str]) -> Response:
        self._served(found)
        body = request.json()
        if "instances" in body and not body.get("contents"):
            texts = [str(item.get("content") or item.get("prompt") or "") for item in body["instances"]]
        else:
            prompt = _prompt(body, must_end_with_user=False)
            texts = [prompt.system, *(text for _, text in prompt.turns)]
        total = sum(map(count_tokens, texts))
        characters = sum(len("".join(text.split())) for text in texts)  # white space is not billed
        return json_response(
            {
                "totalTokens": total,
                "totalBillableCharacters": characters,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}],
            }
        )

    def _compute(self, request: Request, found: Mapping[str, str]) -> Response:
        from .text import digest

        self._served(found)
        infos = []
        for content in _contents(request.json()):
            pieces = tokens(_text(content))
            infos.append(
                {
                    "tokenIds": [str(digest(piece)) for piece in pieces],
                    "tokens": [base64.b64encode(piece.encode()).decode() for piece in pieces],
                    "role": content.get("role", "user"),
                }
            )
        return json_response({"tokensInfo": infos})

    # --- embeddings ----------------------------------------------------------------------------------------------

    def _predict(self, request: Request, found: Mapping[str, str]) -> Response:
        body = request.json()
        instances = body.get("instances")
        if not isinstance(instances, list) or not instances:
            raise ApiError(400, "Empty instances.")
        asked = (body.get("parameters") or {}).get("outputDimensionality")
        predictions, billed = [], 0
        for instance in instances:
            text = instance.get("content") if isinstance(instance, dict) else None
            if not isinstance(text, str) or not text:
                raise ApiError(400, "The text content is empty.")
            billed += len("".join(text.split()))
            statistics = {"token_count": count_tokens(text), "truncated": False}
            predictions.append({"embeddings": {"values": self._vector(found, text, asked), "statistics": statistics}})
        return json_response({"predictions": predictions, "metadata": {"billableCharacterCount": billed}})

    def _embed(self, request: Request, found: Mapping[str, str]) -> Response:
        """One vector for the whole content, however many parts it has (python-genai#2523)."""
        embedding, count = self._embedding(request.json(), found)
        return json_response({"embedding": embedding, "usageMetadata": {"promptTokenCount": count}, "truncated": False})

    def _embed_batch(self, request: Request, found: Mapping[str, str]) -> Response:
        requests = request.json().get("requests")
        if not isinstance(requests, list) or not requests:
            raise ApiError(400, "At least one request is required.")
        made = [self._embedding(item, found) for item in requests]
        usage = {"promptTokenCount": sum(count for _, count in made)}
        return json_response({"embeddings": [embedding for embedding, _ in made], "usageMetadata": usage})

    def _embedding(self, body: Mapping[str, Any], found: Mapping[str, str]) -> tuple[dict[str, Any], int]:
        config = {**body, **(body.get("embedContentConfig") or {})}
        text = _text(body.get("content") or {})
        if not text:
            raise ApiError(400, "The content is empty.")
        return {"values": self._vector(found, text, config.get("outputDimensionality"))}, count_tokens(text)

    def _vector(self, found: Mapping[str, str], text: str, asked: object) -> list[float]:
        from .base_model import embed

        if asked is not None and not isinstance(asked, int):
            raise ApiError(400, f"outputDimensionality must be an integer, got {asked!r}.")
        return embed(text, embedding_dimensions(found.get("model", "tuned model"), asked))


def _contents(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    contents = body.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise ApiError(400, "Unable to submit request because at least one contents field is required.")
    for content in contents:
        if not isinstance(content, dict) or content.get("role", "user") not in ("user", "model", "function", "tool"):
            raise ApiError(400, "Please use a valid role: user, model.")
        if not content.get("parts"):
            raise ApiError(400, "Unable to submit request because it must include at least one parts field.")
    return contents


def _prompt(body: Mapping[str, Any], *, must_end_with_user: bool) -> Prompt:
    """The request as the model reads it; turns of one role in a row become one."""
    from .values import Prompt

    turns: list[tuple[str, str]] = []
    for content in _contents(body):
        role = "model" if content.get("role") == "model" else "user"
        text = _text(content)
        if turns and turns[-1][0] == role:
            turns[-1] = (role, f"{turns[-1][1]}\n{text}")
        else:
            turns.append((role, text))
    if must_end_with_user and turns[-1][0] != "user":
        raise ApiError(400, "Please ensure that multiturn requests end with a user role or a function response.")
    return Prompt(_text(body.get("systemInstruction") or {}), tuple(turns))


def _text(content: object) -> str:
    try:
        return content_text(content)
    except DatasetError as error:
        raise ApiError(400, str(error)) from None


def _trailer(served: Served, prompt: Prompt, made: int) -> dict[str, Any]:
    asked = count_tokens(prompt.system) + sum(count_tokens(text) for _, text in prompt.turns)
    usage: dict[str, Any] = {
        "promptTokenCount": asked,
        **({"candidatesTokenCount": made} if made else {}),
        "totalTokenCount": asked + made,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": asked}],
        **({"candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": made}]} if made else {}),
        "trafficType": "ON_DEMAND",
    }
    return {
        "usageMetadata": usage,
        "modelVersion": served.base_model,
        "createTime": timestamp(),
        "responseId": uuid.uuid4().hex[:24],
    }
