"""Answers from Gemini through google-genai's asynchronous client."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import ValidationError

from ..errors import BackendError
from ..models import find
from ..types import Json, Prompt, Reply, Turn
from . import loop
from .retry import call

if TYPE_CHECKING:
    from google import genai


@dataclass(frozen=True, kw_only=True)
class GeminiCaller:
    """Asks one model or endpoint at temperature 0, with the lowest thinking that is legal for it.

    Tuned models are trained without thoughts, so thinking costs tokens and gains nothing; a base model gets the
    same setting, or the comparison would be of settings. A model outside the table is left to its default.
    """

    model: str
    base_model: str
    simulated: bool
    client: Callable[[], Awaitable[genai.Client]] = field(repr=False, compare=False)

    async def generate(self, prompt: Prompt, *, schema: Mapping[str, Json] | None = None) -> Reply:
        """One answer; see `types.Caller`."""
        config = self._config(prompt, schema)
        contents: Any = [_content(turn) for turn in prompt.turns]
        sent = time.perf_counter()
        tries = 0

        async def ask() -> Any:
            nonlocal sent, tries
            tries += 1
            client = await self.client()
            sent = time.perf_counter()  # latency is of the try that worked; waiting for retries is not the model's
            return await client.aio.models.generate_content(model=self.model, contents=contents, config=config)

        answer = await self._sent("asking", ask)
        return _reply(answer, latency=time.perf_counter() - sent, attempts=tries)

    async def count_tokens(self, prompt: Prompt, *, media_resolution: str | None = None) -> int:
        """How many tokens the service reads in these turns; see `types.Caller`."""
        config: Any = {
            "system_instruction": prompt.system,
            "tools": msgspec.json.decode(prompt.tools) if prompt.tools else None,
            "generation_config": {"media_resolution": media_resolution} if media_resolution else None,
        }
        contents: Any = [_content(turn) for turn in prompt.turns]

        async def ask() -> Any:
            client = await self.client()
            return await client.aio.models.count_tokens(model=self.model, contents=contents, config=config)

        answer = await self._sent("counting tokens with", ask)
        if answer.total_tokens is None:
            msg = f"counting tokens with {self.model}: the answer holds no number."
            raise BackendError(msg, hint="the estimate without counts needs no service.", code="backend")
        return int(answer.total_tokens)

    def __call__(self, prompt: Prompt, *, schema: Mapping[str, Json] | None = None) -> Reply:
        """The same from ordinary code."""
        return loop.run(self.generate(prompt, schema=schema))

    async def _sent(self, what: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call(f"{what} {self.model}", ask)
        except ValidationError as error:
            # The client checks parts and tools against its own types before it sends anything.
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            msg = f"{what} {self.model}: google-genai does not take this example: {place}: {first['msg']}."
            raise BackendError(msg, hint="look at its tools and parts.", code="backend-400") from error

    def _config(self, prompt: Prompt, schema: Mapping[str, Json] | None) -> Any:
        known = find(self.base_model)
        thinking: dict[str, Any] | None = None
        if known is not None:
            lowest = known.thinking_off
            thinking = {"thinking_budget": lowest} if isinstance(lowest, int) else {"thinking_level": lowest}
        return {
            "temperature": 0.0,
            "system_instruction": prompt.system,
            "tools": msgspec.json.decode(prompt.tools) if prompt.tools else None,
            "thinking_config": thinking,
            "response_mime_type": "application/json" if schema else None,
            "response_schema": dict(schema) if schema else None,
        }


def _content(turn: Turn) -> dict[str, Any]:
    # A part may hold both: a text and, beside it, what belongs to it (`thoughtSignature`).
    parts = [
        {
            **({} if part.text is None else {"text": part.text}),
            **({} if part.other is None else msgspec.json.decode(part.other)),
        }
        for part in turn.parts
    ]
    return {"role": turn.role or None, "parts": parts}


def _reply(answer: Any, *, latency: float, attempts: int) -> Reply:
    usage = answer.usage_metadata
    candidate = answer.candidates[0] if answer.candidates else None
    if candidate is None:
        reason = answer.prompt_feedback.block_reason if answer.prompt_feedback else None
        finish = f"BLOCKED:{getattr(reason, 'value', reason) or 'NO_CANDIDATE'}"
    else:
        finish = getattr(candidate.finish_reason, "value", candidate.finish_reason) or "STOP"
    # Not `answer.text`: it warns about parts of other kinds and is None for an empty answer.
    parts = (candidate.content.parts or ()) if candidate is not None and candidate.content else ()
    return Reply(
        text="".join(part.text for part in parts if part.text and not part.thought),
        finish=str(finish),
        latency=latency,
        prompt_tokens=usage.prompt_token_count if usage else None,
        output_tokens=usage.candidates_token_count if usage else None,
        thought_tokens=usage.thoughts_token_count if usage else None,
        attempts=attempts,
    )
