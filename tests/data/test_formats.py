"""Every row format in: which shape a row has, what it says, and why it is refused."""

import csv
import gzip
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data import from_records, read
from gemini_tuning.data.formats.openai_lines import to_openai
from gemini_tuning.data.formats.rows import SHAPES, Columns, shape_of, to_example, to_gemini
from gemini_tuning.errors import DataError
from gemini_tuning.types import Completion, Example, Location, Part, Turn, text_turn

WHERE = Location("rows.jsonl", 7)
USER, MODEL = {"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "yo"}]}
CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
SHARE = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]
PAIR = {"prompt": "hi", "chosen": "yo", "rejected": "no"}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}
DECLARED = [{"functionDeclarations": [FUNCTION]}]


def read_row(row, columns=None, shape=None):
    columns = columns or Columns()
    return to_example(row, shape or shape_of(row, columns, WHERE), columns, WHERE)


def refused(row, columns=None, shape=None):
    with pytest.raises(DataError) as caught:
        read_row(row, columns, shape)
    assert (caught.value.file, caught.value.line) == ("rows.jsonl", 7)
    return caught.value


def said(example):
    """System and turns as (who, text), files and calls as their JSON."""
    turns = [
        (turn.role, *(part.text if part.other is None else json.loads(part.other) for part in turn.parts))
        for turn in example.turns
    ]
    return [("system", example.system), *turns] if example.system is not None else turns


HI = [("user", "hi"), ("model", "yo")]
SYSTEM_HI = [("system", "s"), *HI]
LONG_HI = [("user", "a"), ("model", "b"), *HI]

READ = {
    "columns": ("flat", {"input": "hi", "output": "yo"}, HI),
    "Gemini": ("gemini", {"contents": [USER, MODEL], "systemInstruction": {"parts": [{"text": "s"}]}}, SYSTEM_HI),
    "Gemini, the model greets": ("gemini", {"contents": [MODEL, USER, MODEL]}, [("model", "yo"), *HI]),
    "OpenAI": ("openai", {"messages": CHAT}, HI),
    "OpenAI, system": ("openai", {"messages": [{"role": "system", "content": "s"}, *CHAT]}, SYSTEM_HI),
    "OpenAI, developer": ("openai", {"messages": [{"role": "developer", "content": "s"}, *CHAT]}, SYSTEM_HI),
    "OpenAI, two systems": (
        "openai",
        {"messages": [{"role": "system", "content": "s"}, {"role": "developer", "content": "t"}, *CHAT]},
        [("system", "s\n\nt"), *HI],
    ),
    "OpenAI, content parts": (
        "openai",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, CHAT[1]]},
        [("user", "a", "b"), ("model", "yo")],
    ),
    "OpenAI, refusal": ("openai", {"messages": [CHAT[0], {"role": "assistant", "content": None, "refusal": "yo"}]}, HI),
    "OpenAI, columns of a table": (
        "openai",
        {"messages": [{**each, "tool_calls": None, "name": None} for each in CHAT], "tools": None, "system": None},
        HI,
    ),
    "Vertex before contents": ("openai", {"messages": [CHAT[0], {"role": "model", "content": "yo"}]}, HI),
    "system in a column": ("openai", {"messages": CHAT, "system": "s"}, SYSTEM_HI),
    "an empty system": ("openai", {"messages": [{"role": "system", "content": ""}, *CHAT]}, HI),
    "ShareGPT": ("sharegpt", {"conversations": SHARE, "system": "s"}, SYSTEM_HI),
    "ShareGPT, system turn": ("sharegpt", {"conversations": [{"from": "system", "value": "s"}, *SHARE]}, SYSTEM_HI),
    "ShareGPT, other names": (
        "sharegpt", {"conversations": [{"from": "user", "value": "hi"}, {"from": "chatgpt", "value": "yo"}]}, HI,
    ),
    "ShareGPT, role and content": ("sharegpt", {"conversations": CHAT}, HI),
    "ShareGPT in messages": ("sharegpt", {"messages": SHARE}, HI),
    "ms-swift": ("sharegpt", {"conversation": [{"human": "a", "assistant": "b"}, {"human": "hi", "assistant": "yo"}]}, LONG_HI),
    "Alpaca": ("alpaca", {"instruction": "hi", "output": "yo"}, HI),
    "Alpaca, empty input": ("alpaca", {"instruction": "hi", "input": "", "output": "yo"}, HI),
    "Alpaca, missing input": ("alpaca", {"instruction": "hi", "input": None, "output": "yo"}, HI),
    "Alpaca, input": ("alpaca", {"instruction": "hi", "input": "you", "output": "yo"}, [("user", "hi\nyou"), ("model", "yo")]),
    "Alpaca, history": ("alpaca", {"instruction": "hi", "output": "yo", "history": [["a", "b"]], "system": "s"}, [("system", "s"), *LONG_HI]),
    "self-instruct": ("alpaca", {"instruction": "hi", "instances": [{"input": "", "output": "yo"}]}, HI),
    "query": ("chatml", {"query": "hi", "response": "yo", "system": "s"}, SYSTEM_HI),
    "query, history": ("chatml", {"query": "hi", "response": "yo", "history": [("a", "b")]}, LONG_HI),
    "ChatML text": (
        "chatml",
        {"text": "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"},
        SYSTEM_HI,
    ),
    "completion": ("openai-completion", {"prompt": "hi", "completion": "yo"}, HI),
    "completion, spaces": ("openai-completion", {"prompt": "hi", "completion": " yo\n"}, [("user", "hi"), ("model", " yo\n")]),
    "completion, messages": ("openai-completion", {"prompt": CHAT[:1], "completion": CHAT[1:]}, HI),
    "completion, a number": ("openai-completion", {"prompt": "hi", "completion": 1}, [("user", "hi"), ("model", "1")]),
    "AI Studio": ("ai-studio", {"text_input": "hi", "output": "yo"}, HI),
    "AI Studio, camelCase": ("ai-studio", {"textInput": "hi", "output": "yo"}, HI),
    "PaLM chat": (
        "ai-studio",
        {"context": "s", "messages": [{"author": "user", "content": "hi"}, {"author": "bot", "content": "yo"}]},
        SYSTEM_HI,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_each_shape_is_recognised_and_says_the_same(name):
    """The same conversation in every format gives the same turns and system instruction."""
    shape, row, wanted = READ[name]
    assert shape_of(row, Columns(), WHERE) == shape
    example = read_row(row)
    assert said(example) == wanted
    assert (example.where, example.meta, example.tools, example.completions) == (WHERE, {}, None, ())
    assert said(read_row(row, shape=shape)) == wanted


def test_there_is_a_reader_for_every_shape():
    """No name of a shape is without an example of it here."""
    assert {shape for shape, *_ in READ.values()} | {"preference"} == set(SHAPES)


@pytest.mark.parametrize("name", READ)
def test_other_columns_are_kept_and_not_sent(name):
    """A further column is in `meta`, whatever the format, and not in the line that is uploaded."""
    _, row, wanted = READ[name]
    example = read_row({**row, "id": 3, "tags": ["a", {"b": None}]})
    assert example.meta == {"id": 3, "tags": ["a", {"b": None}]}
    assert said(example) == wanted
    assert not {"id", "tags"} & set(to_gemini(example))


@pytest.mark.parametrize("name", READ)
def test_half_surrogates_are_refused_wherever_they_are(name):
    """A text without a UTF-8 form is refused in every text, name and column of every format, at any depth."""
    _, row, _ = READ[name]
    places = list(_places(row, "hi")) + list(_places(row, "yo")) + list(_places(row, "s"))
    assert places
    for broken in places:
        assert refused(broken).code == "data-encoding"
    for meta in ({"x": "\ud800"}, {"x": [{"y": "\udfff"}]}, {"x": {"\ud800": 1}}, {"\ud800": 1}):
        error = refused({**row, **meta})
        assert error.code == "data-encoding"
        str(error.field).encode()


def _places(value, text):
    """The value with half a surrogate pair in place of each such text, one at a time."""
    if value == text:
        yield "\ud800"
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("role", "from", "author", "type"):
                for changed in _places(inner, text):
                    yield {**value, name: changed}
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            for changed in _places(inner, text):
                yield [*value[:at], changed, *value[at + 1 :]]
    elif isinstance(value, str) and "<|im_start|>" in value:
        yield value.replace(f"\n{text}<", "\n\ud800<")


# --- preference and reinforcement ----------------------------------------------------------------------------------

PROMPT = [("user", "hi")]
PREFERENCES = {
    "texts": (PAIR, PROMPT),
    "messages": ({"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": [{"role": "assistant", "content": "no"}]}, PROMPT),
    "transcripts": ({"chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "no"}]}, PROMPT),
    "transcripts and prompt": (
        {"prompt": "hi", "messages": CHAT, "chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "no"}]}, PROMPT,
    ),
    "transcripts of text": (
        {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: hi\n\nAssistant: yo", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: hi\n\nAssistant: no"},
        [("user", "a"), ("model", "b"), ("user", "hi")],
    ),
    "LLaMA-Factory": (
        {"conversations": [{"from": "system", "value": "s"}, SHARE[0]], "chosen": SHARE[1], "rejected": {"from": "gpt", "value": "no"}},
        [("system", "s"), *PROMPT],
    ),
    "Alpaca": ({"instruction": "hi", "input": "you", "chosen": "yo", "rejected": "no"}, [("user", "hi\nyou")]),
    "ms-swift, messages": ({"messages": CHAT, "rejected_response": "no"}, PROMPT),
    "ms-swift, query": ({"query": "hi", "response": "yo", "rejected_response": "no", "history": [["a", "b"]]}, LONG_HI[:3]),
    "OpenAI": (
        {"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:], "non_preferred_output": [{"role": "assistant", "content": "no"}]}, PROMPT,
    ),
    "Gemini": (
        {"contents": [USER], "completions": [{"score": 1, "completion": MODEL}, {"score": 0.0, "completion": {"role": "model", "parts": [{"text": "no"}]}}]},
        PROMPT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PREFERENCES)
def test_preference_pairs_are_a_prompt_and_two_scored_answers(name):
    """Every form of a preference pair gives the prompt's turns, and its answers with the scores 1 and 0."""
    row, prompt = PREFERENCES[name]
    example = read_row({**row, "source": "x"})
    assert said(example) == prompt
    assert [(each.score, each.turn.role, each.turn.text) for each in example.completions] == [
        (1.0, "model", "yo"), (0.0, "model", "no"),
    ]  # fmt: skip
    assert example.meta == {"source": "x"}
    again = read_row(to_gemini(example))
    assert (again.turns, again.system, again.completions) == (example.turns, example.system, example.completions)


def test_completions_keep_their_order_and_tools():
    """Gemini's pair may have the rejected answer first; OpenAI's declarations belong to its input."""
    first, second = PREFERENCES["Gemini"][0]["completions"]
    example = read_row({"contents": [USER], "completions": [second, first]})
    assert [each.score for each in example.completions] == [0.0, 1.0]
    assert example.output == "yo"
    row = PREFERENCES["OpenAI"][0]
    asked = {**row["input"], "tools": [{"type": "function", "function": FUNCTION}], "parallel_tool_calls": True}
    example = read_row({**row, "input": asked})
    assert json.loads(example.tools) == DECLARED
    assert example.meta == {"parallel_tool_calls": True}


def test_references_make_a_reinforcement_example():
    """Named reference answers after a user's turn are read from Gemini's and OpenAI's lines, and written."""
    for row in ({"contents": [USER]}, {"messages": CHAT[:1]}):
        example = read_row({**row, "references": {"answer": "391"}})
        assert (said(example), json.loads(example.references)) == (PROMPT, {"answer": "391"})
        assert to_gemini(example)["references"] == {"answer": "391"}
    cited = read_row({"messages": CHAT, "references": {"page": "3"}})
    assert (cited.references, cited.meta) == (None, {"references": {"page": "3"}})


def answers(first, second):
    return {"contents": [USER], "completions": [first, second]}


def scored(score, text="yo"):
    return {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}}


BAD_PREFERENCES = {
    "two preferred": (answers(scored(1), scored(1.0, "no")), "data-completions", "completions[1].score"),
    "no whole score": (answers(scored(0.7), scored(0, "no")), "data-completions", "completions[0].score"),
    "a text as score": (answers(scored("1"), scored(0, "no")), "data-completions", "completions[0].score"),
    "true as score": (answers(scored(True), scored(0, "no")), "data-completions", "completions[0].score"),
    "one": ({"contents": [USER], "completions": [scored(1)]}, "data-completions", "completions"),
    "no list": ({"contents": [USER], "completions": {}}, "data-completions", "completions"),
    "no score": (answers({"completion": MODEL}, scored(0)), "data-completions", "completions[0]"),
    "equal": (answers(scored(1), scored(0)), "data-completions", "completions"),
    "empty": (answers(scored(1), scored(0, " ")), "data-completions", "completions[1].completion"),
    "of the user": (answers({"score": 1, "completion": USER}, scored(0)), "data-completions", "completions[0].completion"),
    "ends with the model": ({**answers(scored(1), scored(0, "no")), "contents": [USER, MODEL]}, "data-last-turn", "contents[1].role"),
    "references too": ({**answers(scored(1), scored(0, "no")), "references": {"a": "b"}}, "data-ambiguous", None),
    "references, model": ({"contents": [USER, MODEL], "references": {"a": "b"}}, "data-last-turn", "contents[1].role"),
    "no references": ({"contents": [USER], "references": {}}, "data-shape", "references"),
    "references, number": ({"contents": [USER], "references": {"a": 1}}, "data-type", "references.a"),
    "equal texts": ({**PAIR, "rejected": "yo"}, "data-completions", "rejected"),
    "empty text": ({**PAIR, "rejected": " "}, "data-completions", "rejected"),
    "no rejected": ({**PAIR, "rejected": None}, "data-column", "rejected"),
    "no prompt": ({"chosen": "yo", "rejected": "no"}, "data-column", "prompt"),
    "two prompts": ({**PAIR, "query": "other"}, "data-ambiguous", "query"),
    "another prompt": ({"prompt": "other", "chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "no"}]}, "data-ambiguous", "prompt"),
    "no common prompt": ({"chosen": CHAT, "rejected": [{"role": "user", "content": "x"}, CHAT[1]]}, "data-completions", "rejected"),
    "equal transcripts": ({"chosen": CHAT, "rejected": CHAT}, "data-completions", "rejected"),
    "many answers": ({"prompt": "hi", "chosen": ["a", "b"], "rejected": ["c"]}, "data-completions", "chosen"),
    "prompt of the model": ({**PAIR, "prompt": CHAT}, "data-last-turn", "prompt[1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_PREFERENCES)
def test_bad_preference_rows_are_refused(name):
    """Exactly one pair, the scores 1 and 0, two answers that differ, after a turn of the user: or it is refused."""
    row, code, field = BAD_PREFERENCES[name]
    error = refused(row)
    assert (error.code, error.field) == (code, field)


# --- which shape ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"contents": [USER, MODEL], "messages": CHAT}, ("'contents' (Gemini)", "'messages' (OpenAI chat)", "'openai'")),
        ({"contents": [USER, MODEL], "input": "a", "output": "b"}, ("'contents'", "'input' and 'output'", "'jsonl'")),
        ({"messages": CHAT, "conversations": SHARE}, ("'messages'", "'conversations' (ShareGPT)")),
        ({"messages": CHAT, "prompt": "a", "completion": "b"}, ("'prompt' and 'completion'", "'messages'")),
        ({"conversations": SHARE, "conversation": SHARE}, ("'conversations'", "'conversation'")),
        ({"instruction": "a", "output": "b", "query": "c", "response": "d"}, ("Alpaca", "'query' and 'response'")),
        ({"input": "a", "output": "b", "text_input": "c"}, ("'text_input' and 'output'", "'input' and 'output'")),
        ({**PAIR, "contents": [USER, MODEL]}, ("'contents'", "'chosen' and 'rejected'")),
        ({"text": "<|im_start|>user\nhi<|im_end|>", "messages": CHAT}, ("'text'", "'messages'")),
    ],
)  # fmt: skip
def test_a_row_that_fits_two_formats_is_refused_with_the_evidence(row, words):
    """The error names the columns that speak for each format, and how to say which it is."""
    error = refused(row)
    assert error.code == "data-ambiguous"
    for word in words:
        assert word in str(error)


def test_named_columns_win():
    """Columns that the caller names make a row flat, whatever other columns it has."""
    row = {"question": "hi", "answer": "yo", "messages": CHAT, "instruction": "x", "output": "y"}
    example = read_row(row, Columns("question", "answer"))
    assert said(example) == HI
    assert set(example.meta) == {"messages", "instruction", "output"}
    assert said(read_row({"instruction": "hi", "output": "yo", "input": "x"}, Columns("instruction", "output"))) == HI
    assert said(read_row({"messages": CHAT}, Columns("question", "answer"))) == HI
    assert refused({"question": "hi", "messages": CHAT}, Columns("question", "answer")).field == "answer"


@pytest.mark.parametrize(
    "pair", [("prompt", "response"), ("question", "answer"), ("input_text", "output_text"), ("text", "label")]
)
def test_usual_pairs_of_names_are_suggested(pair):
    """Names that only look like question and answer are not guessed: the error says how to name them."""
    error = refused(dict(zip(pair, ("hi", "yo"), strict=True)))
    assert (error.code, error.field) == ("data-column", "input")
    assert f"input={pair[0]!r}, output={pair[1]!r}" in str(error)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "flat"])
def test_a_format_that_is_asked_for_must_be_there(shape):
    """A row without the columns of the format that the caller names is refused, and says what it has."""
    error = refused({"nothing": 1}, shape=shape)
    assert error.code == "data-column"
    assert "'nothing'" in str(error)


# --- rows that are refused -----------------------------------------------------------------------------------------


def chat(*messages, **columns):
    return {"messages": list(messages), **columns}


RESULT = {"role": "tool", "tool_call_id": "a", "content": "ok"}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def calling(arguments):
    return {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": arguments}}]}


BAD = {
    "no messages": (chat(), "data-shape", "messages"),
    "messages, text": ({"messages": "hi"}, "data-shape", "messages"),
    "message, text": (chat("hi"), "data-shape", "messages[0]"),
    "unknown role": (chat({"role": "wizard", "content": "a"}), "data-role", "messages[0].role"),
    "no role": (chat({"content": "a"}), "data-role", "messages[0].role"),
    "unknown speaker": ({"conversations": [{"from": "x", "value": "a"}]}, "data-role", "conversations[0].from"),
    "late system": (chat(*CHAT, {"role": "system", "content": "s"}, *CHAT), "data-role", "messages[2].role"),
    "two systems": (chat({"role": "system", "content": "s"}, *CHAT, system="t"), "data-ambiguous", "messages[0]"),
    "system, number": (chat(*CHAT, system=3), "data-type", "system"),
    "ends with the user": (chat(*CHAT, CHAT[0]), "data-last-turn", "messages[2]"),
    "ends with a result": (chat(CHAT[0], CALLED, RESULT), "data-last-turn", "messages[2]"),
    "nobody asks": (chat(CHAT[1]), "data-shape", "messages"),
    "only a system": (chat({"role": "system", "content": "s"}), "data-shape", "messages"),
    "empty answer": (chat(CHAT[0], {"role": "assistant", "content": " "}), "data-empty", "messages[1].content"),
    "no content": (chat(CHAT[0], {"role": "assistant"}), "data-empty", "messages[1].content"),
    "empty question": (chat({"role": "user", "content": ""}, CHAT[1]), "data-empty", "messages[0].content"),
    "content, number": (chat({"role": "user", "content": 3}, CHAT[1]), "data-type", "messages[0].content"),
    "unknown part": (
        chat({"role": "user", "content": [{"type": "tool_use", "id": 1}]}, CHAT[1]), "data-shape", "messages[0].content[0].type",
    ),
    "local image": (
        chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a/b.png"}}]}, CHAT[1]),
        "data-file-uri", "messages[0].content[0].image_url",
    ),
    "local image in a column": (chat({"role": "user", "content": "<image>?"}, CHAT[1], images=["a.png"]), "data-file-uri", "images[0]"),
    "image without a place": (chat(*CHAT, images=["gs://b/a.png"]), "data-shape", "images"),
    "place without an image": (
        chat({"role": "user", "content": "<image><image>?"}, CHAT[1], images=["gs://b/a.png"]), "data-shape", "images",
    ),
    "encoded twice": (chat(CHAT[0], calling('"{\\"x\\": 1}"')), "data-tool-arguments", "messages[1].tool_calls[0].function.arguments"),
    "no JSON": (chat(CHAT[0], calling("{x: 1}")), "data-tool-arguments", "messages[1].tool_calls[0].function.arguments"),
    "a list": (chat(CHAT[0], calling("[1]")), "data-tool-arguments", "messages[1].tool_calls[0].function.arguments"),
    "NaN": (chat(CHAT[0], calling('{"x": NaN}')), "data-tool-arguments", "messages[1].tool_calls[0].function.arguments"),
    "too large": (chat(CHAT[0], calling('{"x": 1e999}')), "data-type", "messages[1].tool_calls[0].function.arguments"),
    "no name": (chat(CHAT[0], {"role": "assistant", "tool_calls": [{"id": "a"}]}), "data-shape", "messages[1].tool_calls[0].name"),
    "result of nothing": (chat(CHAT[0], RESULT, CHAT[1]), "data-tool-response", "messages[1].tool_call_id"),
    "result of another": (chat(CHAT[0], CALLED, {**RESULT, "tool_call_id": "b"}, CHAT[1]), "data-tool-response", "messages[2].tool_call_id"),
    "two results": (chat(CHAT[0], CALLED, RESULT, RESULT, CHAT[1]), "data-tool-response", "messages[3].tool_call_id"),
    "ShareGPT, result of nothing": (
        {"conversations": [*SHARE, {"from": "observation", "value": "1"}, SHARE[1]]}, "data-tool-response", "conversations[2]",
    ),
    "ShareGPT, call as text": (
        {"conversations": [SHARE[0], {"from": "function_call", "value": "f(1)"}]}, "data-tool-arguments", "conversations[1].value",
    ),
    "tools, text": (chat(*CHAT, tools="f"), "data-shape", "tools"),
    "tools, search": (chat(*CHAT, tools=[{"type": "web_search"}]), "data-shape", "tools[0]"),
    "tools twice": (chat(*CHAT, tools=[FUNCTION], functions=[FUNCTION]), "data-ambiguous", "functions"),
    "weight, text": (chat(CHAT[0], {**CHAT[1], "weight": "0"}), "data-type", "messages[1].weight"),
    "weights twice": (chat(CHAT[0], {**CHAT[1], "weight": 0}, weights=[1]), "data-column", "weights"),
    "not wanted": ({"prompt": "a", "completion": "b", "label": False}, "data-format-unsupported", "label"),
    "only a response": ({"response": "a"}, "data-column", "query"),
    "several instances": ({"instruction": "a", "instances": [{"output": "b"}, {"output": "c"}]}, "data-shape", "instances"),
    "empty instruction": ({"instruction": " ", "output": "b"}, "data-empty", "instruction"),
    "empty output": ({"instruction": "a", "input": "", "output": ""}, "data-empty", "output"),
    "history, text": ({"query": "a", "response": "b", "history": "c"}, "data-type", "history"),
    "history, three": ({"query": "a", "response": "b", "history": [["c"]]}, "data-shape", "history[0]"),
    "text and messages": ({"prompt": "a", "completion": CHAT[1:]}, "data-type", "completion"),
    "torn ChatML": ({"text": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo"}, "data-shape", "text"),
    "Gemini, infinite": (
        {"contents": [USER, {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"x": float("inf")}}}]}]},
        "data-type", "contents[1].parts[0]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_with_their_place(name):
    """What cannot be trained on as it stands is refused with a stable code and the field at fault."""
    row, code, field = BAD[name]
    error = refused(row)
    assert (error.code, error.field) == (code, field)


def test_deep_nesting_is_refused():
    """A value nested thousands deep is a DataError, not the end of the interpreter's stack."""
    deep = "x"
    for _ in range(20_000):
        deep = [deep]
    for row in ({"input": "a", "output": "b", "m": deep}, {"messages": CHAT, "m": deep}):
        assert refused(row).code == "data-json"
    assert refused(chat(CHAT[0], calling("[" * 100_000))).code == "data-tool-arguments"


KEYS = st.sampled_from(
    ["contents", "messages", "conversations", "conversation", "prompt", "completion", "chosen", "rejected", "query",
     "rejected_response", "preferred_output", "non_preferred_output", "response", "text", "text_input", "textInput",
     "instruction", "instances", "input", "output", "completions", "references", "system", "systemInstruction", "tools",
     "functions", "images", "history", "label", "context", "role", "from", "content", "value", "parts", "human",
     "assistant", "functionCall", "functionResponse", "function", "fileData", "tool_calls", "function_call", "name",
     "tool_call_id", "arguments", "type", "image_url", "input_audio", "url", "weight", "score", "completion", "refusal"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["user", "assistant", "model", "system", "tool", "function_call", "observation", "text", "image_url", "", " ", "{}",
     '{"name": "f"}', "<image>", "gs://b/a.png", "<|im_start|>user\nhi<|im_end|>", "\n\nHuman: a\n\nAssistant: b", "\ud800"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@st.composite
def near_rows(draw):
    """A row of a known format with one value, at any depth, exchanged for another."""
    known = [row for _, row, _ in READ.values()]
    known += [row for row, *_ in (*PREFERENCES.values(), *BAD_PREFERENCES.values(), *BAD.values())]
    row = json.loads(json.dumps(draw(st.sampled_from(known))))
    inner = row
    while True:
        key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not isinstance(inner[key], dict | list) or not inner[key] or draw(st.booleans()):
            inner[key] = draw(ANYTHING)
            return row
        inner = inner[key]


@settings(max_examples=600, deadline=None)
@given(row=st.dictionaries(KEYS, ANYTHING, max_size=5) | near_rows(), shape=st.none() | st.sampled_from(SHAPES))
def test_any_row_gives_an_example_or_a_data_error(row, shape):
    """Whatever JSON is in a row, reading never fails in another way; what it gives is the same as a line of Gemini's."""
    try:
        example = read_row(row, shape=shape)
    except DataError as error:
        str(error).encode()
        return
    again = read_row(msgspec.json.decode(msgspec.json.encode(to_gemini(example))), shape="gemini")
    for field in ("turns", "system", "tools", "completions", "references"):
        assert getattr(again, field) == getattr(example, field)


# --- functions -----------------------------------------------------------------------------------------------------

CALLED_F = {"functionCall": {"name": "f", "args": {"x": 1}}}
CALLED_G = {"functionCall": {"name": "g", "args": {}}}


def result(name, response):
    return {"functionResponse": {"name": name, "response": response}}


def test_openai_calls_and_results_become_geminis():
    """Calls of one message are parts of one turn; results find their function by the id; a JSON object stays one."""
    second = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    row = chat(
        CHAT[0],
        {"role": "assistant", "content": "wait", "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "b", "content": '{"ok": true}'},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "[1]"}]},
        CHAT[1],
        tools=[{"type": "function", "function": {**FUNCTION, "strict": True}}],
    )
    example = read_row(row)
    assert said(example) == [
        ("user", "hi"),
        ("model", "wait", CALLED_F, CALLED_G),
        ("", result("g", {"ok": True}), result("f", {"output": "[1]"})),
        ("model", "yo"),
    ]
    assert json.loads(example.tools) == DECLARED


def test_equal_ids_in_later_turns_are_told_apart_by_order():
    """Some sets give every call one id: each result is of the first such call that has none."""
    other = {**CALL, "function": {"name": "g", "arguments": {}}}
    row = chat(CHAT[0], CALLED, RESULT, {"role": "assistant", "tool_calls": [other]}, RESULT, CHAT[1])
    assert [turn[1] for turn in said(read_row(row)) if turn[0] == ""] == [
        result("f", {"output": "ok"}), result("g", {"output": "ok"}),
    ]  # fmt: skip


def test_legacy_functions_are_read():
    """`function_call`, `functions` and the role `function` are OpenAI's older names for the same."""
    row = chat(
        CHAT[0],
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"role": "function", "name": "f", "content": "3"},
        CHAT[1],
        functions=[FUNCTION],
    )
    example = read_row(row)
    assert said(example)[1:3] == [("model", CALLED_F), ("", result("f", {"output": "3"}))]
    assert json.loads(example.tools) == DECLARED


def test_sharegpt_calls_are_read_in_order():
    """Calls and observations of ShareGPT pair by their order; calls that follow each other are one turn."""
    row = {
        "conversations": [
            SHARE[0],
            {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
            {"from": "function_call", "value": '[{"name": "g", "arguments": "{}"}]'},
            {"from": "observation", "value": "1"},
            {"from": "observation", "value": "2"},
            SHARE[1],
        ],
        "tools": json.dumps([FUNCTION]),
    }
    example = read_row(row)
    assert said(example)[1:3] == [
        ("model", CALLED_F, CALLED_G), ("", result("f", {"output": "1"}), result("g", {"output": "2"})),
    ]  # fmt: skip
    assert json.loads(example.tools) == DECLARED
    assert read_row({"conversations": SHARE, "tools": "[]"}).tools is None


@pytest.mark.parametrize("role", [None, "user", "function", "tool"])
def test_gemini_responses_may_have_any_of_the_documented_roles(role):
    """A turn of function responses has no role of its own, several may be in it."""
    parts = [result("f", {"a": 1}), result("g", {"b": 2})]
    turn = {"parts": parts} if role is None else {"role": role, "parts": parts}
    example = read_row({"contents": [USER, {"role": "model", "parts": [CALLED_F, CALLED_G]}, turn, MODEL]})
    assert said(example)[2] == ("", *parts)
    assert to_gemini(example)["contents"][2] == {"parts": parts}


# --- files ---------------------------------------------------------------------------------------------------------


def test_images_of_content_parts_become_files():
    """An address becomes fileData with the type of its ending, bytes become inlineData."""
    pieces = [
        {"type": "image_url", "image_url": {"url": "gs://b/a.PNG", "detail": "low"}},
        {"type": "input_image", "image_url": "https://h/a.jpeg?size=3"},
        {"type": "image_url", "image_url": {"url": "https://h/picture"}},
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
        {"type": "text", "text": "?"},
    ]
    (turn, _) = said(read_row(chat({"role": "user", "content": pieces}, CHAT[1])))
    assert turn[1:] == (
        {"fileData": {"fileUri": "gs://b/a.PNG", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://h/a.jpeg?size=3", "mimeType": "image/jpeg"}},
        {"fileData": {"fileUri": "https://h/picture"}},
        {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/mpeg", "data": "BBBB"}},
        "?",
    )


def test_placeholders_take_the_files_of_their_columns_in_order():
    """`<image>` stands for the next image where there are images, and for itself elsewhere."""
    row = chat(
        {"role": "user", "content": "<image>who?<video>"}, CHAT[1], {"role": "user", "content": "and <image>"}, CHAT[1],
        images=["gs://b/1.jpg", "gs://b/2.png"], videos=["gs://b/3.mp4"],
    )  # fmt: skip
    turns = said(read_row(row))
    assert [part if isinstance(part, str) else part["fileData"]["fileUri"] for turn in turns for part in turn[1:]] == [
        "gs://b/1.jpg", "who?", "gs://b/3.mp4", "yo", "and ", "gs://b/2.png", "yo",
    ]  # fmt: skip
    plain = chat({"role": "user", "content": "what is <image> in HTML?"}, CHAT[1], images=[])
    assert said(read_row(plain))[0] == ("user", "what is <image> in HTML?")


# --- what Gemini has no place for ----------------------------------------------------------------------------------


def test_weights_and_names_leave_a_trace():
    """A message that OpenAI would not train on is not silently trained on: `meta` says so, and so of names."""
    row = chat(
        {**CHAT[0], "name": "Ann"}, {**CHAT[1], "weight": 0}, CHAT[0], {**CHAT[1], "weight": 1}, id=3
    )  # fmt: skip
    example = read_row(row)
    assert example.meta == {"id": 3, "weights": [None, 0, None, 1], "message_fields": {"messages[0]": {"name": "Ann"}}}
    assert "weights" not in read_row(chat(CHAT[0], {**CHAT[1], "weight": 1})).meta
    masked = read_row({"conversations": [SHARE[0], {**SHARE[1], "loss": False}]})
    assert masked.meta["weights"] == [None, 0]


def test_rows_of_tables_are_read():
    """Arrays instead of lists, and NaN where a column has no value, are what data frames give."""
    numpy = pytest.importorskip("numpy")
    messages = numpy.array([{**each, "tool_calls": None} for each in CHAT], dtype=object)
    example = read_row({"messages": messages, "tools": float("nan"), "n": numpy.int64(3)})
    assert (said(example), example.tools, example.meta) == (HI, None, {"n": 3})
    contents = numpy.array(
        [
            {"role": each["role"], "parts": numpy.array([{**each["parts"][0], "fileData": None}])}
            for each in (USER, MODEL)
        ]
    )
    assert said(read_row({"contents": contents, "messages": None})) == HI


# --- real data -----------------------------------------------------------------------------------------------------

REFUSED = {
    ("dialog_abcd_support_en/sample.jsonl", None): "data-column",  # `turns` with a third speaker: no known format
    ("dialog_kdconv_zh/dialogues.jsonl.gz", 39): "data-last-turn",
    ("dialog_kdconv_zh/dialogues.jsonl.gz", 41): "data-last-turn",
    ("dialog_kdconv_zh/dialogues.jsonl.gz", 399): "data-last-turn",
    ("dialog_toolcall_glaive/dialogues.jsonl.gz", 498): "data-tool-response",  # the call was written as text
    ("dialog_toolcall_glaive/dialogues.jsonl.gz", 594): "data-tool-response",
    ("format_samples/ms_swift/swift_pre.csv", None): "data-column",  # pre-training: there is no question
    ("format_samples/ms_swift/swift_pre.jsonl", None): "data-column",
    ("format_samples/multimodal/llamafactory_mllm_demo.json", None): "data-file-uri",  # files on somebody's disk
    ("format_samples/openai_chat/tool_calls_drone_excerpt.jsonl", 3): "data-tool-arguments",  # encoded twice
    ("format_samples/openai_chat/toy_chat_fine_tuning.jsonl", 4): "data-shape",  # no user turn
    ("instruct_alpaca_en/alpaca_0_3251.jsonl.gz", 285): "data-empty",
    ("instruct_alpaca_en/alpaca_0_3251.jsonl.gz", 1224): "data-empty",
    ("instruct_alpaca_en/alpaca_0_3251.jsonl.gz", 1348): "data-empty",
    ("instruct_alpaca_en/alpaca_0_3251.jsonl.gz", 1737): "data-empty",
}
SETS = ("format_samples", "dialog_*", "instruct_*")


def rows_of(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = data.decode()
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    if path.suffix == ".json":
        rows = json.loads(text)
        return rows if isinstance(rows, list) else [rows]
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def test_every_real_sample_reads_or_is_refused_for_a_known_reason(shared):
    """Each row of the real sets gives an example in one shape a file; those that do not are listed with the reason."""
    paths = [path for name in SETS for folder in shared.glob(name) for path in folder.rglob("*.*")]
    read = 0
    for path in sorted(paths):
        name = str(path.relative_to(shared))
        if path.suffix == ".txt" or path.name == "index.jsonl":
            continue  # blocks of Google's pages that are no JSON, and the list of the samples
        shapes = set()
        for number, row in enumerate(rows_of(path), 1):
            shapes.add(shape_of(row, Columns(), WHERE))
            wanted = REFUSED.get((name, number)) or REFUSED.get((name, None))
            if wanted:
                assert refused(row).code == wanted, (name, number)
            else:
                example = read_row(row)
                assert example.input
                assert example.completions or example.references or example.turns[-1].role == "model"
                read += 1
        assert len(shapes) == 1, name
    assert read > 6_000


def test_nothing_of_a_real_conversation_is_lost(shared):
    """Every text of the dialogues is in the example, in order; every call and result of the function calls too."""
    for name, who, what in (
        ("dialog_sgd_en", "role", "content"),
        ("dialog_kdconv_zh", "role", "content"),
        ("dialog_toolcall_glaive", "from", "value"),
    ):
        for number, row in enumerate(rows_of(shared / name / "dialogues.jsonl.gz"), 1):
            if (f"{name}/dialogues.jsonl.gz", number) in REFUSED:
                continue
            messages = row.get("messages") or row["conversations"]
            turns = said(read_row(row))
            assert len(turns) == len(messages)
            for turn, message in zip(turns, messages, strict=True):
                (part,) = turn[1:]
                value = message[what]
                if message[who] == "function_call":
                    value = json.loads(value)
                    assert part["functionCall"] == {"name": value["name"], "args": value["arguments"]}
                elif message[who] == "observation":
                    assert part["functionResponse"]["response"] == json.loads(value)
                else:
                    assert part == value


# --- tables of chat, empty arguments, system columns ---------------------------------------------------------------


@pytest.mark.parametrize("empty", ["", " ", "\n", None])
def test_empty_arguments_of_a_call_are_none(empty):
    """Some servers write a call without arguments with an empty text."""
    call = {"id": "a", "function": {"name": "f", "arguments": empty}}
    row = {"messages": [CHAT[0], {"role": "assistant", "tool_calls": [call]}]}
    assert said(read_row(row))[-1] == ("model", {"functionCall": {"name": "f", "args": {}}})


@pytest.mark.parametrize(("column", "messages"), [("messages", CHAT), ("conversations", SHARE)])
def test_messages_may_be_the_json_text_of_a_list(file, column, messages):
    """So a table holds them, in JSONL and in the cells of CSV."""
    text = json.dumps(messages)
    assert said(read_row({column: text})) == HI
    cell = text.replace('"', '""')
    assert said(read(file(f'{column},id\n"{cell}",7\n', "a.csv"))[0]) == HI


@pytest.mark.parametrize(
    ("text", "hint"), [(str(CHAT), "json.dumps"), ('{"a": 1}', ""), ("[", ""), ("hello", ""), ("", "")]
)
def test_messages_that_are_another_text_are_refused(text, hint):
    """Python's own writing of a list is no JSON: the hint says what to write."""
    error = refused({"messages": text})
    assert (error.code, error.field) == ("data-shape", "messages")
    assert hint in error.hint
    assert bool(hint) == ("str()" in error.hint)


def test_a_system_column_of_flat_rows_is_the_system_instruction():
    """A text is; an empty one is none; anything else stays a column, and so does a column that is asked for."""
    for value, system in (("Be kind.", "Be kind."), ("", None), (" ", None), (None, None), (float("nan"), None)):
        example = read_row({"input": "hi", "output": "yo", "system": value, "id": 1})
        assert (example.system, example.meta) == (system, {"id": 1})
    example = read_row({"input": "hi", "output": "yo", "system": 7})
    assert (example.system, example.meta) == (None, {"system": 7})
    example = read_row({"system": "hi", "output": "yo"}, Columns("system", "output"))
    assert (example.system, example.input) == (None, "hi")
    assert refused({"input": "hi", "output": "yo", "system": "\ud800"}).code == "data-encoding"


# --- many calls, and what OpenAI's form has no place for -----------------------------------------------------------


@pytest.mark.parametrize("key", ["tool_call_id", "name"])
def test_the_results_of_very_many_calls_find_their_functions(key):
    """In any order, and back again: each result is of the oldest call with its id or name."""
    count = 3_000
    calls = [{"id": f"c{at}", "function": {"name": f"f{at}", "arguments": "{}"}} for at in range(count)]
    results = [
        {"role": "tool", key: f"{'c' if key == 'tool_call_id' else 'f'}{at}", "content": str(at)}
        for at in reversed(range(count))
    ]
    row = {"messages": [CHAT[0], {"role": "assistant", "tool_calls": calls}, *results, CHAT[1]]}
    example = read_row(row)
    names = [json.loads(part.other)["functionResponse"]["name"] for part in example.turns[2].parts]
    assert names == [f"f{at}" for at in reversed(range(count))]
    assert read_row(to_openai(example)).turns == example.turns


def test_ids_of_calls_may_be_anything():
    """An id that is no text is compared as it stands, and no id is not the text of nothing."""
    for identity in (["a"], {"a": 1}, 1, 1.5):
        call = {**CALL, "id": identity}
        result = {"role": "tool", "tool_call_id": identity, "content": "r"}
        row = {"messages": [CHAT[0], {"role": "assistant", "tool_calls": [call]}, result, CHAT[1]]}
        assert len(read_row(row).turns) == 4
    call = {**CALL, "id": None}
    result = {"role": "tool", "tool_call_id": "None", "content": "r"}
    row = {"messages": [CHAT[0], {"role": "assistant", "tool_calls": [call]}, result, CHAT[1]]}
    assert refused(row).code == "data-tool-response"


def test_a_generation_config_has_no_openai_line():
    """It would be lost: it is refused like other things that OpenAI has no place for."""
    row = {"contents": [USER, MODEL], "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}
    with pytest.raises(DataError, match="generationConfig"):
        to_openai(from_records([row])[0])


ODD_JSON = st.sampled_from(
    ["[1]", "1", "null", '"a"', "{", "", "{}", '{"fileData": "a"}', '{"fileData": {"mimeType": "image/png"}}',
     '{"inlineData": 1}', '{"inlineData": {"mimeType": "audio/wav"}}', '{"functionCall": 1}', '{"functionCall": {}}',
     '{"functionCall": {"name": [1], "args": 3}}', '{"functionResponse": {"name": [1]}}', '{"functionResponse": []}',
     '{"functionResponse": {"name": "f", "response": 1}}', '[{"functionDeclarations": 1}]', '[{"functionDeclarations": [1]}]']
)  # fmt: skip
ODD_PART = st.builds(Part, text=st.sampled_from([None, "", "x"]), other=st.none() | ODD_JSON)
ODD_TURN = st.builds(
    Turn, role=st.sampled_from(["user", "model", "", "system"]), parts=st.lists(ODD_PART, max_size=2).map(tuple)
)


@settings(max_examples=300)
@given(
    turns=st.lists(ODD_TURN, max_size=3),
    tools=st.none() | ODD_JSON,
    references=st.none() | ODD_JSON,
    completions=st.none() | ODD_TURN,
    weights=st.sampled_from([None, [0, "x"], [None, True], {}]),
)
def test_odd_parts_are_refused_or_written_for_openai(turns, tools, references, completions, weights):
    """Whatever an example holds, it has a line that is read again, or it is refused."""
    pair = (Completion(1.0, completions), Completion(0.0, text_turn("model", "n"))) if completions else ()
    example = Example(
        turns=(*turns, text_turn("user", "q"), text_turn("model", "a")), tools=tools, references=references,
        completions=pair, meta={"weights": weights},
    )  # fmt: skip
    try:
        line = to_openai(example)
    except DataError:
        return
    assert json.loads(json.dumps(line)) == line
