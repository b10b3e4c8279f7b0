import asyncio
import json
from pathlib import Path

import pytest

from gemini_tuning.errors import BackendError
from gemini_tuning.types import Reply

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def shared():
    """The real sample sets beside the repository; tests that need them are skipped elsewhere."""
    if not SHARED.is_dir():
        pytest.skip("the sample data sets are not here")
    return SHARED


@pytest.fixture
def file(tmp_path):
    """Writes a file: lines of JSON, text or bytes."""

    def make(content, name="rows.jsonl"):
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(
                (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in content
            )
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


class FakeCaller:
    """Answers every request with what a function of the text and the count gives; None is a failed call."""

    model = "fake-model"
    simulated = True

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.busy = self.most_busy = 0

    async def generate(self, prompt, *, schema=None):
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        self.asked.append((prompt, schema))
        await asyncio.sleep(0)
        request = json.loads(prompt.turns[-1].text)
        answer = self.answer(request["text"], request["count"])
        self.busy -= 1
        if answer is None:
            msg = "no answer"
            raise BackendError(msg)
        return Reply(text=answer if isinstance(answer, str) else json.dumps({"paraphrases": answer}))

    def __call__(self, prompt, *, schema=None):
        return asyncio.run(self.generate(prompt, schema=schema))


@pytest.fixture
def caller():
    return FakeCaller
