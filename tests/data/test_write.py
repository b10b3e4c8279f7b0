"""Every format out: what is written reads back as the same examples, or is refused."""

import csv
import gzip
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data import read
from gemini_tuning.data.formats.openai_lines import to_openai
from gemini_tuning.data.formats.rows import Columns, to_example
from gemini_tuning.data.formats.writing import gemini_lines, to_dataframe, write
from gemini_tuning.errors import ConfigError, DataError, PlanError
from gemini_tuning.types import Completion, Dataset, Example, Location, Part, Turn, text_turn

WHERE = Location("f", 1)


def lines(path):
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in data.split(b"\n") if line]


def read_back(path):
    """The examples of a file whose format `read` finds out."""
    return list(read(path))


def content(example):
    return (example.turns, example.system, example.tools, example.completions, example.references)


def refused(call, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    return caught.value


def part(**other):
    return Part(other=json.dumps(other, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


# --- the laws ------------------------------------------------------------------------------------------------------

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ODD = st.sampled_from(
    ["\u2028", "\u0085\x0c", "a\r\nb", "\x00", "😀👩‍👩‍👧", "שלום", "\ufeffx", '"{\\', "<image>", "null"]
)
TEXT = (ANY | ODD).filter(str.strip)
NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(ANY, JSON, max_size=3)


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@st.composite
def conversations(draw):
    """Turns of texts, images, and calls with their results, that end with the model."""
    turns = []
    if draw(st.booleans()):
        turns.append(text_turn("model", draw(TEXT)))
    for _ in range(draw(st.integers(1, 3))):
        parts = [Part(text=text) for text in draw(st.lists(TEXT, min_size=1, max_size=2))]
        if draw(st.booleans()):
            parts.append(part(fileData={"fileUri": "gs://b/a.png", "mimeType": "image/png"}))
        turns.append(Turn("user", tuple(parts)))
        names = draw(st.lists(NAME, max_size=2))
        if names:
            calls = [part(functionCall={"name": name, "args": draw(OBJECT)}) for name in names]
            said = [Part(text=draw(TEXT))] if draw(st.booleans()) else []
            turns.append(Turn("model", (*said, *calls)))
            answers = [part(functionResponse={"name": name, "response": draw(OBJECT)}) for name in names]
            turns.append(Turn("", tuple(answers)))
        turns.append(text_turn("model", draw(TEXT)))
    return tuple(turns)


@st.composite
def examples(draw):
    """Supervised, preference and reinforcement examples."""
    turns = draw(conversations())
    asked = turns[: max(at for at, turn in enumerate(turns) if turn.role == "user") + 1]
    functions = [{"name": name, "parameters": draw(OBJECT)} for name in draw(st.lists(NAME, max_size=2))]
    common = {
        "system": draw(st.none() | TEXT),
        "tools": canonical([{"functionDeclarations": functions}]) if functions else None,
    }
    kind = draw(st.sampled_from(["supervised", "preference", "reinforcement"]))
    if kind == "supervised":
        return Example(turns=turns, **common)
    if kind == "reinforcement":
        references = draw(st.dictionaries(ANY, ANY, min_size=1, max_size=2))
        return Example(turns=asked, references=canonical(references), **common)
    good, bad = draw(st.lists(TEXT, min_size=2, max_size=2, unique=True))
    pair = (Completion(1.0, text_turn("model", good)), Completion(0.0, text_turn("model", bad)))
    return Example(turns=asked, completions=pair, **common)


@pytest.mark.parametrize("format", ["gemini", "openai"])
@settings(max_examples=150, deadline=None)
@given(rows=st.lists(examples(), min_size=1, max_size=4), ending=st.sampled_from(["", ".gz"]))
def test_writing_then_reading_is_the_identity(tmp_path_factory, format, rows, ending):
    """Any conversation in any Unicode text, with files, functions, pairs and references, comes back as it was."""
    path = write(Dataset(rows), tmp_path_factory.mktemp("law") / f"rows.jsonl{ending}", format=format)
    assert [content(row) for row in read_back(path)] == [content(row) for row in rows]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT, OBJECT), min_size=1, max_size=4))
def test_flat_rows_come_back_with_their_columns(tmp_path_factory, rows):
    """Questions, answers and all other columns are the same after writing and reading flat rows."""
    dataset = Dataset([Example.of(a, b, meta={f"_{name}": value for name, value in c.items()}) for a, b, c in rows])
    path = write(dataset, tmp_path_factory.mktemp("law") / "rows.jsonl", format="jsonl")
    again = read_back(path)
    assert [(row.turns, row.meta) for row in again] == [(row.turns, row.meta) for row in dataset]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT, ANY), min_size=1, max_size=4), format=st.sampled_from(["csv", "tsv"]))
def test_tables_of_text_hold_the_same_texts(tmp_path_factory, rows, format):
    """Every cell comes back as it was, line breaks and quotes included, to `read` and to any strict CSV reader."""
    dataset = Dataset([Example.of(a, b, meta={"c": c}) for a, b, c in rows])
    path = write(dataset, tmp_path_factory.mktemp("law") / f"rows.{format}", format=format)
    with path.open(encoding="utf-8", newline="") as file:
        header, *cells = csv.reader(file, delimiter={"csv": ",", "tsv": "\t"}[format], strict=True)
    assert header == ["input", "output", "c"]
    assert [tuple(row) for row in cells] == rows
    assert [(row.input, row.output, row.meta["c"]) for row in read_back(path)] == rows


# --- OpenAI --------------------------------------------------------------------------------------------------------


def test_openai_lines_have_openais_form():
    """Calls have ids that results repeat, arguments are JSON text, functions are declared as functions."""
    function = {"name": "f", "parameters": {"type": "object"}}
    example = Example(
        turns=(
            text_turn("user", "hi"),
            Turn("model", (Part(text="wait"), part(functionCall={"name": "f", "args": {"x": 1}}), part(functionCall={"name": "f"}))),
            Turn("", (part(functionResponse={"name": "f", "response": {"ok": True}}), part(functionResponse={"name": "f", "response": {"output": "2"}}))),
            text_turn("model", "done"),
        ),
        system="s",
        tools=canonical([{"functionDeclarations": [function]}]),
        meta={"id": 3},
    )  # fmt: skip
    assert to_openai(example) == {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "wait",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": '{"ok":true}'},
            {"role": "tool", "tool_call_id": "call_2", "content": "2"},
            {"role": "assistant", "content": "done"},
        ],
        "tools": [{"type": "function", "function": function}],
    }


def test_openai_preference_lines_have_openais_form():
    """The answer with score 1 is the preferred output, wherever it stands."""
    pair = (Completion(0.0, text_turn("model", "no")), Completion(1.0, text_turn("model", "yo")))
    assert to_openai(Example(turns=(text_turn("user", "hi"),), completions=pair)) == {
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "preferred_output": [{"role": "assistant", "content": "yo"}],
        "non_preferred_output": [{"role": "assistant", "content": "no"}],
    }


def test_weights_go_out_again():
    """What was read with weight 0 is written with weight 0."""
    row = {
        "messages": [
            {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0},
            {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"},
        ]
    }  # fmt: skip
    assert to_openai(to_example(row, "openai", Columns(), WHERE)) == row


def turned(*parts):
    return Example(turns=(Turn("user", (Part(text="hi"), *parts)), text_turn("model", "yo")), where=WHERE)


NO_OPENAI = {
    "video": turned(part(fileData={"fileUri": "gs://b/a.mp4", "mimeType": "video/mp4"})),
    "another type than the ending says": turned(part(fileData={"fileUri": "gs://b/a.png", "mimeType": "image/jpeg"})),
    "resolution of a part": turned(
        part(fileData={"fileUri": "gs://b/a.png", "mimeType": "image/png"}, mediaResolution={"level": "MEDIA_RESOLUTION_LOW"})
    ),
    "search": msgspec.structs.replace(turned(), tools='[{"googleSearch":{}}]'),
    "result without a call": Example(
        turns=(text_turn("user", "hi"), Turn("", (part(functionResponse={"name": "f", "response": {}}),)), text_turn("model", "yo")),
        where=WHERE,
    ),
    "no answer": Example(turns=(text_turn("user", "hi"),), where=WHERE),
    "signature": Example(
        turns=(text_turn("user", "hi"), Turn("model", (Part(text="yo", other='{"thoughtSignature":"x"}'),))), where=WHERE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_OPENAI)
def test_what_has_no_openai_line_is_refused(tmp_path, name):
    """An example that OpenAI's form cannot hold is refused with its place; no file is left behind."""
    error = refused(write, Dataset([turned(), NO_OPENAI[name]]), tmp_path / "x.jsonl", format="openai")
    assert (error.file, error.line) == ("f", 1)
    assert not list(tmp_path.iterdir())


def test_declarations_of_several_tools_are_one_list():
    """Two tools that declare a function each say the same as one that declares both."""
    tools = [{"functionDeclarations": [{"name": "f"}]}, {"functionDeclarations": [{"name": "g"}]}]
    line = to_openai(msgspec.structs.replace(turned(), tools=canonical(tools)))
    assert [each["function"]["name"] for each in line["tools"]] == ["f", "g"]


# --- flat ----------------------------------------------------------------------------------------------------------

PAIR = (text_turn("user", "hi"), text_turn("model", "yo"))
NO_FLAT = {
    "conversation": Example(turns=PAIR * 2),
    "system": Example(turns=PAIR, system="s"),
    "tools": Example(turns=PAIR, tools="[{}]"),
    "file": turned(part(fileData={"fileUri": "gs://b/a.png"})),
    "pair": Example(turns=PAIR[:1], completions=(Completion(1.0, PAIR[1]), Completion(0.0, PAIR[0]))),
    "references": Example(turns=PAIR[:1], references='{"a":"b"}'),
    "no answer": Example(turns=PAIR[:1]),
    "a column named input": Example(turns=PAIR, meta={"input": 1}),
    "a column that makes it Alpaca": Example(turns=PAIR, meta={"instruction": "x"}),
    "a column that makes it Gemini's": Example(turns=PAIR, meta={"contents": "x"}),
}


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv"])
@pytest.mark.parametrize("name", NO_FLAT)
def test_what_has_no_flat_row_is_refused(tmp_path, name, format):
    """Nothing is left out silently, and no column may make the row read as something else."""
    error = refused(write, Dataset([NO_FLAT[name]]), tmp_path / "x", format=format)
    assert error.code in ("data-shape", "data-column", "data-ambiguous")
    assert not list(tmp_path.iterdir())


def test_flat_rows_hold_the_users_own_text(tmp_path):
    """The instance instruction is left out: it is put around the input again when the plan is carried out."""
    example = msgspec.structs.replace(Example.of("Topic of: hi", "yo"), raw_input="hi")
    (row,) = lines(write(Dataset([example]), tmp_path / "x.jsonl", format="jsonl"))
    assert row == {"input": "hi", "output": "yo"}


def test_tables_have_the_columns_of_all_rows(tmp_path):
    """A column that some rows lack is empty there; what is no text is its JSON."""
    dataset = Dataset([Example.of("a", "b", meta={"n": 1.5}), Example.of("c", "d", meta={"m": ["x", None], "n": None})])
    assert write(dataset, tmp_path / "x.csv", format="csv").read_bytes() == (
        b'input,output,n,m\r\na,b,1.5,\r\nc,d,,"[""x"", null]"\r\n'
    )


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["gemini", "openai", "jsonl", "csv", "tsv"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_equal_examples_give_equal_bytes(tmp_path, format, ending):
    """The same examples give the same file, whatever it is called, and replace what was there."""
    rows = [Example.of(f"question {n} 你好", "yo", meta={"b": 1, "a": [n]}) for n in range(50)]
    first = write(Dataset(rows), tmp_path / f"a{ending}", format=format)
    second = tmp_path / f"b{ending}"
    second.write_bytes(b"old")
    assert write(Dataset(rows), second, format=format) == second
    assert first.read_bytes() == second.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == [first.name, second.name]
    if format == "gemini" and not ending:
        assert first.read_bytes() == gemini_lines(rows)


def test_a_file_that_cannot_be_written_whole_is_left_as_it_was(tmp_path):
    """A row that is refused in the middle leaves the old file, and no other."""
    path = tmp_path / "x.out"
    path.write_text("old")
    bad = Example(turns=(text_turn("user", "\ud800"), text_turn("model", "b")), where=Location("f", 3), origin="0#0")
    for format in ("gemini", "openai", "jsonl", "csv"):
        error = refused(
            write, Dataset([turned(), bad] if format in ("gemini", "openai") else [bad]), path, format=format
        )
        assert (error.code, error.line) == ("data-encoding", 3)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["x.out"]
    with pytest.raises(PlanError, match="tsv"):
        write(Dataset(), path, format="xml")


# --- data frames ---------------------------------------------------------------------------------------------------


def test_a_data_frame_has_a_row_for_each_example():
    """Flat rows with their columns; a system instruction has a column of its own where there is any."""
    pytest.importorskip("pandas")
    dataset = Dataset([Example.of("a", "b", meta={"n": 1}), Example.of("c", "d", meta={"n": 2})])
    frame = to_dataframe(dataset)
    assert frame.to_dict("records") == [{"input": "a", "output": "b", "n": 1}, {"input": "c", "output": "d", "n": 2}]
    assert list(to_dataframe(Dataset()).columns) == ["input", "output"]
    long = Example(turns=PAIR * 2, system="s")
    assert to_dataframe(Dataset([long])).to_dict("records") == [{"input": "hi", "output": "yo", "system": "s"}]
    assert refused(to_dataframe, Dataset([Example.of("a", "b", meta={"output": 1})])).code == "data-column"


def test_without_pandas_the_install_line_is_named(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install") as caught:
        to_dataframe(Dataset([Example.of("a", "b")]))
    assert caught.value.code == "config-extra"


def test_real_conversations_survive_openai_and_back(shared, tmp_path):
    """The function-calling dialogues are the same after a way through OpenAI's form."""
    rows = lines(shared / "dialog_toolcall_glaive" / "dialogues.jsonl.gz")
    dataset = []
    for number, row in enumerate(rows, 1):
        if number not in (498, 594):  # their calls are written as text
            dataset.append(to_example(row, "sharegpt", Columns(), WHERE))
    again = read_back(write(Dataset(dataset), tmp_path / "x.jsonl", format="openai"))
    assert [content(row) for row in again] == [content(row) for row in dataset]


def test_broken_rows_are_not_left_out_in_silence(tmp_path):
    """A file with fewer rows than came in says so before it is written."""
    (tmp_path / "a.jsonl").write_text('{"input": "a", "output": "b"}\nnot json\n')
    dataset = read(tmp_path / "a.jsonl", bad_rows="keep")
    error = refused(write, dataset, tmp_path / "b.jsonl")
    assert (error.code, error.line) == ("data-json", 2)
    assert "1 broken rows would be left out" in str(error)
    assert not (tmp_path / "b.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "format"), [("a.csv", "gemini"), ("a.csv.gz", "jsonl"), ("a.xlsx", "gemini"), ("a.jsonl", "csv")]
)
def test_a_name_that_says_another_format_is_refused(tmp_path, name, format):
    """JSON Lines in a .csv file would be read wrongly by whoever gets it."""
    with pytest.raises(PlanError, match="format"):
        write(Dataset([turned()]), tmp_path / name, format=format)
