from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.errors import PlanError
from gemini_tuning.eval.judge import Judge, family
from gemini_tuning.types import Example, Reply, Turn, text_turn

JUDGE = Judge("correct and polite")


class TestPrompt:
    @given(st.text(), st.text())
    def test_foreign_text_stays_data(self, question, answer):
        """Whatever the texts hold, the request is one JSON object in one user turn that holds them whole."""
        prompt = JUDGE.prompt(Example.of(question, "secret"), answer)
        assert [turn.role for turn in prompt.turns] == ["user"]
        content = json.loads(prompt.text)
        assert list(content) == ["criteria", "input", "answer", "nonce"]
        assert (content["criteria"], content["input"], content["answer"]) == ("correct and polite", question, answer)
        assert answer not in (prompt.system or "") or len(answer) < 40

    def test_reference_only_when_asked(self):
        """The reference answer is shown to a judge that asks for it, and to no other."""
        example = Example.of("q", "the reference")
        assert "the reference" not in JUDGE.prompt(example, "a").text
        assert json.loads(Judge("c", reference=True).prompt(example, "a").text)["reference"] == "the reference"

    def test_conversation(self):
        """A judge of a later turn sees the earlier ones."""
        turns = (
            text_turn("user", "hi"),
            text_turn("model", "hello"),
            text_turn("user", "refund"),
            text_turn("model", "x"),
        )
        content = json.loads(JUDGE.prompt(Example(turns=turns), "a").text)
        assert [turn["text"] for turn in content["input"]] == ["hi", "hello", "refund"]

    def test_same_question_same_key(self):
        """The nonce depends on the content alone, so that a stored grade is found again."""
        example = Example.of("q", "r")
        assert JUDGE.prompt(example, "a") == JUDGE.prompt(example, "a")
        assert (
            json.loads(JUDGE.prompt(example, "a").text)["nonce"] != json.loads(JUDGE.prompt(example, "b").text)["nonce"]
        )

    def test_schema(self):
        """Reasons come before the grade, and the grade is on the scale."""
        schema = Judge("c", scale=(0, 3)).schema
        assert schema["propertyOrdering"] == ["reason", "grade"]
        assert (schema["properties"]["grade"]["minimum"], schema["properties"]["grade"]["maximum"]) == (0, 3)

    @pytest.mark.parametrize(
        "arguments", [{"criteria": " "}, {"criteria": "c", "scale": (5, 1)}, {"criteria": "c", "scale": (0, 1.5)}]
    )
    def test_impossible(self, arguments):
        """No criteria and no scale are refused at once."""
        with pytest.raises(PlanError):
            Judge(**arguments)


class TestRead:
    @pytest.mark.parametrize(
        ("text", "finish", "value", "unscored"),
        [
            ('{"reason": "good", "grade": 4}', "STOP", 4, None),
            ('{"grade": 4.0}', "STOP", 4, None),
            ('```json\n{"reason": "a {brace}", "grade": 2}\n```', "STOP", 2, None),
            ('Here: {"note": 1} then {"grade": 3} ok', "STOP", 3, None),
            ('{"reason": "whole", "grade": 5}', "MAX_TOKENS", 5, None),
            ('{"reason": "quoted {"grade": 5}", "grade": 1}', "STOP", None, "unreadable"),
            ('{"grade": 5} {"grade": 1}', "STOP", None, "unreadable"),
            ('{"reason": "cut off', "MAX_TOKENS", None, "truncated"),
            ("", "MAX_TOKENS", None, "truncated"),
            ("", "SAFETY", None, "empty"),
            (" \n", "STOP", None, "empty"),
            ("five", "STOP", None, "unreadable"),
            ("[5]", "STOP", None, "unreadable"),
            ('{"grade": "4"}', "STOP", None, "unreadable"),
            ('{"grade": true}', "STOP", None, "unreadable"),
            ('{"grade": 4.5}', "STOP", None, "unreadable"),
            ('{"grade": NaN}', "STOP", None, "unreadable"),
            ('{"grade": null}', "STOP", None, "unreadable"),
            ('{"grade": 6}', "STOP", None, "off the scale"),
            ('{"grade": 0}', "STOP", None, "off the scale"),
            ('{"grade": 1e400}', "STOP", None, "unreadable"),
        ],
    )
    def test_ladder(self, text, finish, value, unscored):
        """Whole JSON, else the one grade inside the text, else no grade and why: never a 0, never a guess."""
        grade = JUDGE.read(Reply(text=text, finish=finish))
        assert (grade.value, grade.unscored) == (value, unscored)

    @given(st.text())
    def test_any_text(self, text):
        """No text crashes the reader; a grade is on the scale or there is a reason."""
        grade = JUDGE.read(Reply(text=text))
        assert (grade.value is None) == (grade.unscored is not None)
        assert grade.value is None or 1 <= grade.value <= 5

    def test_deep_nesting(self):
        """A text made to exhaust the parser is unreadable."""
        assert JUDGE.read(Reply(text='{"a":' * 2_000)).unscored == "unreadable"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-flash", "gemini"), ("projects/p/locations/l/publishers/google/models/gemini-3.5-pro", "gemini"),
        ("projects/p/locations/l/endpoints/123", "gemini"), ("claude-x", "claude"),
    ],
)  # fmt: skip
def test_family(model, expected):
    """A tuned endpoint of this library is a Gemini."""
    assert family(model) == expected


def test_turn_without_role():
    """A function response has no role and still can be judged."""
    turns = (text_turn("user", "hi"), Turn("", ()), text_turn("model", "x"))
    assert json.loads(JUDGE.prompt(Example(turns=turns), "a").text)["input"][1]["role"] == "function"
