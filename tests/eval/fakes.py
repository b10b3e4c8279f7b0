"""A caller that answers from a function: the wire is tested elsewhere, with real clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from gemini_tuning.backend import loop
from gemini_tuning.types import Dataset, Example, Json, Location, Prompt, Reply, text_turn


class FakeCaller:
    """Answers prompts with `answer(text)`; a str becomes a Reply, an exception is raised. Counts what is under way."""

    def __init__(
        self,
        answer: Callable[[str], str | Reply | Exception],
        *,
        model: str = "gemini-2.5-flash",
        simulated: bool = False,
        wait: float = 0.0,
    ) -> None:
        self.answer, self.model, self.simulated, self.wait = answer, model, simulated, wait
        self.sent: list[str] = []
        self.prompts: list[Prompt] = []
        self.schemas: list[Mapping[str, Json] | None] = []
        self.under_way = self.most = self.cancelled = 0

    async def generate(self, prompt: Prompt, *, schema: Mapping[str, Json] | None = None) -> Reply:
        self.sent.append(prompt.text)
        self.prompts.append(prompt)
        self.schemas.append(schema)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.wait)
            result = self.answer(prompt.text)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        if isinstance(result, Exception):
            raise result
        return Reply(text=result, latency=0.1, prompt_tokens=3, output_tokens=1) if isinstance(result, str) else result

    def __call__(self, prompt: Prompt, *, schema: Mapping[str, Json] | None = None) -> Reply:
        return loop.run(self.generate(prompt, schema=schema))


def labelled(pairs: list[tuple[str, str]]) -> Dataset:
    """A data set of single questions with their places."""
    return Dataset(
        [Example.of(text, label, where=Location("rows.jsonl", at + 1)) for at, (text, label) in enumerate(pairs)]
    )


def numbered(n: int, labels: tuple[str, ...] = ("a", "b", "c")) -> Dataset:
    """`row 0` wants a, `row 1` wants b, ..."""
    return labelled([(f"row {at}", labels[at % len(labels)]) for at in range(n)])


def unanswered(n: int) -> Dataset:
    """Real scenes: questions without a reference."""
    return Dataset([Example(turns=(text_turn("user", f"row {at}"),)) for at in range(n)])


def right(text: str, labels: tuple[str, ...] = ("a", "b", "c")) -> str:
    """The reference of a numbered row."""
    return labels[int(text.split()[-1]) % len(labels)]
