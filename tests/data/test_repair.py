import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data import from_records, to_gemini
from gemini_tuning.data.formats.rows import Columns
from gemini_tuning.data.mending.repair import fixable, mend, repair
from gemini_tuning.data.mending.report import RepairReport
from gemini_tuning.data.tokens import example_tokens
from gemini_tuning.errors import PlanError
from gemini_tuning.types import Broken, Completion, Dataset, Example, Location, Part, Turn, text_turn


def turn(role, text):
    return {"role": role, "parts": [{"text": text}]}


ROW = {"contents": [turn("user", "hi"), turn("model", "yo")]}
WITH_SYSTEM = {"systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]}, **ROW}
NO_ANSWER = {"contents": [turn("user", "hi"), turn("model", "yo"), turn("user", "and?")]}


def broken(row, *, code="data-shape", line=2, file="rows.jsonl", text=True):
    raw = row if isinstance(row, str) else json.dumps(row)
    return Broken(where=Location(file, line), code=code, message="as reading said", raw=raw, text=text)


def rows_of(dataset):
    return [to_gemini(example) for example in dataset]


def flat(given, wanted="yo"):
    return to_gemini(Example.of(given, wanted))


# --- rows that can mean one thing only -----------------------------------------------------------------------------


def call(args):
    part = {"functionCall": {"name": "f", "args": args}}
    return {"contents": [turn("user", "hi"), {"role": "model", "parts": [part]}]}


def openai(arguments):
    function = {"name": "f", "arguments": arguments}
    calls = [{"id": "c", "type": "function", "function": function}]
    return {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": calls}]}


SPELLINGS = [
    ("role", {"contents": [turn("user", "hi"), turn("assistant", "yo")]}, ROW),
    ("role", {"contents": [turn("human", "hi"), turn("gpt", "yo")]}, ROW),
    ("role", {"contents": [turn("User", "hi"), turn("bot", "yo")]}, ROW),
    ("role", {"contents": [{"from": "user", "parts": [{"text": "hi"}]}, turn("model", "yo")]}, ROW),
    ("parts", {"contents": [{"role": "user", "content": "hi"}, turn("model", "yo")]}, ROW),
    ("parts", {"contents": [{"role": "user", "text": "hi"}, turn("model", "yo")]}, ROW),
    ("parts", {"contents": [{"role": "user", "parts": "hi"}, turn("model", "yo")]}, ROW),
    ("parts", {"contents": [{"role": "user", "parts": {"text": "hi"}}, turn("model", "yo")]}, ROW),
    ("parts", {"contents": [{"role": "user", "parts": ["hi"]}, turn("model", "yo")]}, ROW),
    ("parts", {"contents": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, turn("model", "yo")]}, ROW),
    ("system", {"contents": [turn("system", "Be brief."), *ROW["contents"]]}, WITH_SYSTEM),
    ("system", {"systemInstruction": "Be brief.", **ROW}, WITH_SYSTEM),
    ("system", {"system_instruction": {"text": "Be brief."}, **ROW}, WITH_SYSTEM),
    ("system", {"systemInstruction": ["Be brief."], **ROW}, WITH_SYSTEM),
    ("system", {"systemInstruction": "", **ROW}, ROW),
    ("system", {"system_instruction": WITH_SYSTEM["systemInstruction"], **WITH_SYSTEM}, WITH_SYSTEM),
    ("null", {"contents": [turn("user", "hi"), {"role": "assistant", "content": None, **turn("model", "yo")}]}, ROW),
    ("encoded-json", {"contents": json.dumps(ROW["contents"])}, ROW),
    ("encoded-json", openai(json.dumps(json.dumps({"a": 1}))), call({"a": 1})),
    ("encoded-json", openai(json.dumps(json.dumps(json.dumps({"a": 1})))), call({"a": 1})),
    (
        "missing-role",
        {"contents": [turn("user", "a"), {"parts": [{"text": "b"}]}, turn("user", "hi"), turn("model", "yo")]},
        {"contents": [turn("user", "a"), turn("model", "b"), *ROW["contents"]]},
    ),
    ("bom", {"\ufeffinput": "hi", "output": "yo"}, flat("hi")),
]


@pytest.mark.parametrize(("code", "row", "meant"), SPELLINGS)
def test_habits_of_other_formats_are_put_right(code, row, meant):
    """A row that is only spelled otherwise becomes what it means, and the change is listed with its place."""
    repaired, report = repair(Dataset(broken=[broken(row)]))
    assert rows_of(repaired) == [meant]
    assert code in report.counts
    assert not repaired.broken
    assert not report.refused
    assert all(change.where.file == "rows.jsonl" and change.where.line == 2 for change in report.changes)
    assert all(change.what for change in report.changes)


A, B = json.dumps(ROW), json.dumps(flat("other"))
TEXTS = [
    ("several-rows", A + B, 2),
    ("several-rows", A + ", " + B, 2),
    ("several-rows", A + "\ufeff" + B, 2),
    ("array", f"[{A}, {B}]", 2),
    ("array", f"[{A}]", 1),
    ("bom", "\ufeff" + A, 1),
    ("trailing-comma", A + ",", 1),
    ("trailing-comma", A[:-1] + ",}", 1),
    ("trailing-comma", A[:-2] + " , ] }", 1),
    ("raw-control", A.replace("hi", "h\ti"), 1),
]


@pytest.mark.parametrize(("code", "text", "count"), TEXTS)
def test_text_that_holds_whole_rows_gives_them(code, text, count):
    """Marks and commas beside whole rows are passed over, and every row of a line becomes an example."""
    found = mend(broken(text, code="data-json"))
    assert found is not None
    assert len(found.examples) == count
    assert code in {change.code for change in found.changes}
    if code != "raw-control":
        assert rows_of(found.examples) == [ROW, flat("other")][:count]
    else:
        assert found.examples[0].input == "h\ti"


def test_commas_inside_texts_stay():
    """A comma before a bracket inside a text is text."""
    row = {"input": 'a,} ",] \\', "output": "b,]"}
    found = mend(broken(json.dumps(row)[:-1] + ",}", code="data-json"))
    assert (found.examples[0].input, found.examples[0].output) == (row["input"], row["output"])


def test_rows_of_another_known_format_are_read_by_themselves():
    """A chat row in a file of Gemini's lines becomes the same conversation."""
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}
    repaired, report = repair(Dataset(broken=[broken(chat, code="data-mixed")]))
    assert rows_of(repaired) == [ROW]
    assert report.counts == {"format": 1}


def test_the_named_columns_are_followed():
    """Flat rows are mended with the columns that the data set was read with."""
    text = '{"question": "hi", "reply": "yo",}'
    assert not fixable(broken(text))
    assert fixable(broken(text), Columns("question", "reply"))
    repaired, _ = repair(Dataset(broken=[broken(text)]), input="question", output="reply")
    assert rows_of(repaired) == [flat("hi")]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("data-mixed", "format"),
        ("data-json-array", "array"),
        ("data-encoding", "encoding"),
        ("data-not-one-per-line", "many-lines"),
    ],
)
def test_whole_rows_in_a_file_of_another_kind_are_used(code, change):
    """A row of an array, of a UTF-16 file or over many lines is whole: what is wrong is how it stood there."""
    repaired, report = repair(Dataset(broken=[broken(json.dumps(ROW, indent=2), code=code)]))
    assert rows_of(repaired) == [ROW]
    assert report.counts == {change: 1}
    both, report = repair(Dataset(broken=[broken(content(ROW), code=code)]))
    assert rows_of(both) == [ROW]
    assert report.counts == {"parts": 2, change: 1}


# --- rows that would need a guess ----------------------------------------------------------------------------------

REFUSED = [
    '{"input": "a", "out',
    '{"input": "a", "output": "it"s"}',
    '{input: "a", "output": "b"}',
    "{'input': 'a', 'output': 'b'}",
    '{"input": "a", "output": "b"',
    '{"input": "a", "output": }',
    '{"input": "a",, "output": "b"}',
    '{"input": "a", "output": NaN}',
    '{"input": "a", "output": "b", "output": "c",}',
    '{"input": "a", "output": "b"} and more',
    '{"input": "\\ud800", "output": "b",}',
    "not JSON",
    "12",
    '"text"',
    "[1, 2]",
    f"[[{A}]]",
    "[" * 100_000,
    '{"a":' * 5_000 + "1" + "}" * 5_000,
    json.dumps(NO_ANSWER),
    json.dumps({"contents": [turn("user", "hi"), turn("model", " ")]}),
    json.dumps({"contents": [turn("user", "hi"), turn("teacher", "yo")]}),
    json.dumps({"contents": [turn("user", "hi"), turn("system", "x"), turn("model", "yo")]}),
    json.dumps({"systemInstruction": "Be brief.", "contents": [turn("system", "Or not."), *ROW["contents"]]}),
    json.dumps({"systemInstruction": "a", "system_instruction": "b", **ROW}),
    json.dumps({"contents": [{"parts": [{"text": "hi"}]}, turn("model", "yo")]}),
    json.dumps({"contents": [turn("user", "hi"), {"parts": [{"text": "yo"}]}]}),
    json.dumps({"contents": [turn("user", "hi"), {"role": "model", "content": "yo", "name": "x"}]}),
    json.dumps({"contents": [turn("user", "hi"), {"role": "model", "content": "yo", "text": "no"}]}),
    json.dumps(openai(json.dumps("not an object"))),
    json.dumps({"input": "hi"}),
    json.dumps({"input": "hi", "output": {"a": 1}}),
]


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_nothing_is_guessed(text):
    """What has no certain meaning stays as it was, with the reason; `unfixable="drop"` lists what it drops."""
    row = broken(text)
    assert not fixable(row)
    repaired, report = repair(Dataset(broken=[row]))
    assert not len(repaired)
    assert not report.changes
    assert [each.raw for each in repaired.broken] == [text]
    assert repaired.broken == report.refused
    assert repaired.broken[0].message
    without, report = repair(Dataset(broken=[row]), unfixable="drop")
    assert not without.broken
    assert not report.refused
    assert [each.where.line for each in report.dropped] == [2]
    assert report.dropped[0].before


def test_rows_that_only_look_like_json_are_left_alone():
    """A line of CSV and bytes without a decoding are refused whatever stands in them; so is what nobody can explain."""
    assert fixable(broken(A + ",", code="data-json"))
    assert not fixable(broken(A + ",", code="data-csv"))
    assert repair(Dataset(broken=[broken(";; ;", code="data-csv")]))[1].dropped_counts == {"blank": 1}
    assert not fixable(broken(A + ",", text=False))
    assert not fixable(broken(A, code="of-a-later-version"))


def test_one_part_of_a_line_may_be_refused():
    """Of two rows on one line the whole one is used, and the other is refused by itself."""
    repaired, report = repair(Dataset(broken=[broken(A + json.dumps(NO_ANSWER), code="data-json")]))
    assert rows_of(repaired) == [ROW]
    assert [json.loads(each.raw) for each in repaired.broken] == [NO_ANSWER]
    assert repaired.broken[0].code == "data-last-turn"
    assert "user" in repaired.broken[0].message
    assert report.rows_in == 1
    assert report.rows_out == 1


@pytest.mark.parametrize("text", ["", "  ", "\ufeff", "{}", "[]", '{"input": "", "output": null}', "[{}, {}]"])
def test_rows_that_say_nothing_are_dropped_and_listed(text):
    """A blank row is no loss, but it is listed."""
    repaired, report = repair(Dataset(broken=[broken(text)]))
    assert not len(repaired)
    assert not repaired.broken
    assert report.dropped_counts == {"blank": 2 if text == "[{}, {}]" else 1}


# --- examples ------------------------------------------------------------------------------------------------------


def test_turns_of_one_speaker_are_joined():
    """The parts are kept in order and no text changes."""
    example = Example(
        turns=(text_turn("user", "a"), text_turn("user", "ps"), text_turn("model", "b"), text_turn("model", "c"))
    )
    repaired, report = repair(Dataset([example]))
    assert repaired[0].turns == (
        Turn("user", (Part(text="a"), Part(text="ps"))), Turn("model", (Part(text="b"), Part(text="c"))),
    )  # fmt: skip
    assert report.counts == {"joined-turns": 2}
    assert report.changes[1].where.field == "contents[2]"
    assert repaired[0].origin == Dataset([example])[0].origin


def test_marks_that_are_no_text_are_removed():
    """A byte order mark at the start of a text and NUL go; every other character stays."""
    odd = "a\u200b\u200d\ufeffb\x0c\x1b[1m \u00a0\t\r\n"
    example = Example(
        turns=(text_turn("user", "\ufeff\0" + odd), text_turn("model", "\0\ufeffyo")),
        system="\ufeffBe brief.",
        completions=(Completion(1.0, text_turn("model", "y\0o")),),
    )
    repaired, report = repair(Dataset([example]))
    assert (repaired[0].turns[0].text, repaired[0].turns[1].text) == (odd, "yo")
    assert (repaired[0].system, repaired[0].completions[0].turn.text) == ("Be brief.", "yo")
    assert report.counts == {"bom": 3, "nul": 3}


def test_a_turn_of_which_nothing_would_be_left_is_refused():
    """A text of NUL characters only is nothing to learn from; the row stays as it was."""
    dataset = Dataset([Example.of("hi", "\0\0", where=Location("rows.jsonl", 3))])
    repaired, report = repair(dataset)
    assert not len(repaired)
    assert not report.changes
    assert repaired.broken[0].code == "nothing-left"
    assert repaired.broken[0].where.line == 3
    assert json.loads(repaired.broken[0].raw) == to_gemini(dataset[0])
    assert repair(repaired)[0] is repaired


def test_arguments_that_are_a_text_are_decoded():
    """The service takes an object only; a text that is no object's JSON is left for the check."""
    odd = ["seven", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": "\\ud800"}', "[1]"]
    repaired, report = repair(from_records([call(json.dumps({"a": [1]})), *map(call, odd)]))
    assert rows_of(repaired) == [call({"a": [1]}), *map(call, odd)]
    assert report.counts == {"encoded-json": 1}


def long_talk(pairs, words=50):
    turns = [
        each for at in range(pairs) for each in (text_turn("user", f"{at} " + "w " * words), text_turn("model", "ok"))
    ]
    return Example(turns=tuple(turns), system="s", where=Location("rows.jsonl", 1))


def test_too_long_examples_are_kept_dropped_or_cut():
    """Cutting removes the oldest exchanges, as few as needed, and never the last one."""
    dataset = Dataset([long_talk(4), Example.of("a", "b", where=Location("rows.jsonl", 2))])
    limit = int(example_tokens(long_talk(2))) + 1
    assert repair(dataset, limit=limit)[0] is dataset
    dropped, report = repair(dataset, too_long="drop", limit=limit)
    assert [example.input for example in dropped] == ["a"]
    assert report.dropped_counts == {"too-long": 1}
    cut, report = repair(dataset, too_long="cut", limit=limit)
    assert cut[0].turns == dataset[0].turns[4:]
    assert cut[0].system == "s"
    assert report.counts == {"cut": 1}
    assert cut[1] == dataset[1]
    refused, report = repair(dataset, too_long="cut", limit=20)
    assert [each.code for each in refused.broken] == ["too-long"]
    assert len(refused) == 1
    gone, report = repair(dataset, too_long="cut", unfixable="drop", limit=20)
    assert not gone.broken
    assert report.dropped_counts == {"too-long": 1}


def test_a_refused_long_row_comes_back_with_another_limit():
    """What was set aside as too long is whole: it returns as it was, other columns included."""
    example = msgspec.structs.replace(long_talk(1), meta={"id": 7, "input": "x", "output": "y"})
    refused, _ = repair(Dataset([example]), too_long="cut", limit=5)
    assert repair(refused, too_long="cut", limit=5)[0] is refused
    back, report = repair(refused)
    assert (back[0].turns, back[0].system, back[0].meta) == (example.turns, "s", example.meta)
    assert not report.changes
    assert not back.broken


# --- the data set --------------------------------------------------------------------------------------------------


def test_mended_rows_go_to_their_place():
    """By line among the examples, whatever order the broken rows have."""
    there = [Example.of(str(line), "x", where=Location("rows.jsonl", line)) for line in (2, 4, 9)]
    rows = [broken({"input": str(line), "output": "x"}, code="data-mixed", line=line) for line in (10, 3, 1, 5)]
    repaired, _ = repair(Dataset(there, broken=rows))
    assert [example.where.line for example in repaired] == [1, 2, 3, 4, 5, 9, 10]


def test_mended_copies_have_origins_of_their_own():
    """A mended row that equals one that is there is its next occurrence, as if both had been read."""
    there = [Example.of("hi", "yo", where=Location("rows.jsonl", line)) for line in (1, 2)]
    rows = [broken('{"input": "hi", "output": "yo",}' * 2, line=3)]
    repaired, _ = repair(Dataset(there, broken=rows))
    assert len({example.origin for example in repaired}) == 4
    assert len({example.origin.partition("#")[0] for example in repaired}) == 1


def test_a_dry_run_changes_nothing_and_tells_everything():
    """The report is that of the real run; the data set is the one given."""
    dataset = Dataset([Example.of("\0hi", "yo")], broken=[broken(A + ","), broken(NO_ANSWER, line=3)])
    same, plan = repair(dataset, dry_run=True)
    _, done = repair(dataset)
    assert same is dataset
    assert plan.dry_run
    assert not done.dry_run
    assert msgspec.structs.replace(plan, dry_run=False) == done
    assert "dry run" in repr(plan)
    assert "dry run" not in repr(done)


def test_reports_can_be_kept_shown_and_listed():
    """Through JSON they are the same; what came from data is escaped; every change is a record."""
    nasty = "<script>\ud800\x07" + "x" * 500
    dataset = Dataset(
        [Example.of("\0hi", "yo")],
        broken=[
            broken(json.dumps({"contents": [turn("user", "hi"), turn(nasty, "yo")]})),
            broken(A + ",", line=3),
            broken("{}", line=4),
        ],
    )
    _, report = repair(dataset)
    assert msgspec.json.decode(msgspec.json.encode(report), type=RepairReport) == report
    assert "<script>" not in report._repr_html_()
    assert "RepairReport" in repr(report)
    records = report.to_records()
    assert [record["outcome"] for record in records] == ["changed"] * len(report.changes) + ["refused", "dropped"]
    assert json.dumps(records)
    assert report.refused_counts == {"data-role": 1}
    assert all(len(str(record["before"])) <= 160 for record in records)


def test_a_data_set_without_faults_is_given_back():
    """The same object, and an empty report."""
    dataset = from_records([ROW, WITH_SYSTEM])
    same, report = repair(dataset, too_long="cut")
    assert same is dataset
    assert (report.rows_in, report.rows_out, report.changes, report.refused, report.dropped) == (2, 2, (), (), ())


@pytest.mark.parametrize(
    "arguments", [{"too_long": "truncate"}, {"unfixable": "skip"}, {"limit": 0}, {"limit": True}, {"limit": "9"}]
)
def test_wrong_arguments_are_refused(arguments):
    """At once, with what is possible."""
    with pytest.raises(PlanError):
        repair(Dataset([]), **arguments)
    with pytest.raises(PlanError):
        repair([])


# --- laws ----------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: text.strip())
plain = texts.map(lambda text: text.replace("\0", "").lstrip("\ufeff")).filter(lambda text: text.strip())


@st.composite
def rows(draw):
    """A whole row in Gemini's shape."""
    pairs = draw(st.lists(st.tuples(plain, plain), min_size=1, max_size=3))
    row = {"contents": [turn(role, text) for pair in pairs for role, text in zip(("user", "model"), pair, strict=True)]}
    return (
        {"systemInstruction": {"role": "system", "parts": [{"text": draw(plain)}]}, **row}
        if draw(st.booleans())
        else row
    )


def assistant(row):
    return {
        **row,
        "contents": [
            {**each, "role": {"model": "assistant"}.get(each["role"], each["role"])} for each in row["contents"]
        ],
    }


def content(row):
    return {
        **row,
        "contents": [{"role": each["role"], "content": each["parts"][0]["text"]} for each in row["contents"]],
    }


SPOIL = {
    "comma": lambda group: ",".join(map(json.dumps, group)) + ",",
    "array": lambda group: json.dumps(group),
    "together": lambda group: "".join(map(json.dumps, group)) + ("," if len(group) == 1 else ""),
    "bom": lambda group: "".join("\ufeff" + json.dumps(row) for row in group),
    "roles": lambda group: json.dumps([assistant(row) for row in group]),
    "content": lambda group: " ".join(json.dumps(content(row), ensure_ascii=False) for row in group),
}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_mended_is_what_was_meant(data):
    """However whole rows are spoiled, they come back as they were, in order, and repairing twice is repairing once."""
    groups = data.draw(st.lists(st.lists(rows(), min_size=1, max_size=3), max_size=4))
    there, kept_aside = [], []
    for line, group in enumerate(groups, 1):
        if len(group) == 1 and data.draw(st.booleans()):
            there += from_records(group)
            there[-1] = msgspec.structs.replace(there[-1], where=Location("rows.jsonl", line), origin="")
        else:
            kept_aside.append(
                broken(SPOIL[data.draw(st.sampled_from(sorted(SPOIL)))](group), line=line, code="data-json")
            )
    dataset = Dataset(there, broken=kept_aside)
    repaired, report = repair(dataset)
    assert rows_of(repaired) == [row for group in groups for row in group]
    assert not repaired.broken
    assert {change.where.line for change in report.changes} == {row.where.line for row in kept_aside}
    assert len({example.origin for example in repaired}) == len(repaired)
    assert repair(repaired)[0] is repaired
    assert not repair(repaired)[1].changes


@settings(max_examples=150, deadline=None)
@given(
    st.lists(rows(), max_size=3),
    st.lists(st.text(st.sampled_from('{}[]":,\\ \n\tab1e\ufeffu\0'), max_size=25) | rows().map(json.dumps), max_size=5),
    st.sampled_from(["keep", "drop", "cut"]),
    st.sampled_from(["refuse", "drop"]),
    st.integers(1, 60),
)
def test_no_row_is_lost(good, bad, too_long, unfixable, limit):
    """Every line is an example, refused or dropped in the end, and is said to be so; twice is once."""
    examples = [
        msgspec.structs.replace(example, where=Location("rows.jsonl", at))
        for at, example in enumerate(from_records(good), 1)
    ]
    lines = [broken(text, line=len(good) + at, code="data-json") for at, text in enumerate(bad, 1)]
    dataset = Dataset(examples, broken=lines)
    repaired, report = repair(dataset, too_long=too_long, unfixable=unfixable, limit=limit)
    assert report.rows_out == len(repaired)
    assert report.refused == repaired.broken
    places = {each.where.line for each in (*repaired, *report.refused, *report.dropped)}
    assert places == set(range(1, len(good) + len(bad) + 1))
    again, second = repair(repaired, too_long=too_long, unfixable=unfixable, limit=limit)
    assert again is repaired
    assert not second.changes
    assert not second.dropped
    if unfixable == "drop":
        assert not repaired.broken
    if too_long != "keep":
        assert all(example_tokens(example) <= limit for example in repaired)


names = st.sampled_from(
    ["contents", "role", "parts", "text", "content", "systemInstruction", "messages", "from", "value", "tool_calls", "type",
     "functionCall", "args", "arguments", "function", "name", "tools", "completions", "completion", "score", "input", "output"]
)  # fmt: skip
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["user", "model", "system", "hi", "", "{}", '"{}"', "[]"])
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=20
)
turns = st.fixed_dictionaries(
    {}, optional={"role": anything, "parts": st.lists(anything, max_size=3) | anything, "content": anything}
)


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries(
    {}, optional={"contents": st.lists(turns, max_size=4) | anything, "messages": st.lists(turns, max_size=4) | anything,
                  "systemInstruction": anything, "tools": anything, "completions": anything, "input": anything,
                  "output": anything}
))  # fmt: skip
def test_rows_of_any_form_are_mended_or_refused(row):
    """Whatever types stand where, there is a result, and what was mended can be written."""
    dataset = Dataset(broken=[broken(row)])
    repaired, report = repair(dataset)
    assert len(repaired) + len(report.refused) + len(report.dropped) == 1
    assert msgspec.json.encode(rows_of(repaired))
    assert repair(repaired)[0] is repaired


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["user", "model"]), st.lists(texts, min_size=1, max_size=2)),
            min_size=1,
            max_size=5,
        ),
        max_size=4,
    )
)
def test_texts_are_never_changed_beyond_the_marks(conversations):
    """Whatever the turns, the texts of an example come out in order, without NUL and leading marks only."""
    examples = [
        Example(turns=tuple(Turn(role, tuple(Part(text=text) for text in parts)) for role, parts in turns))
        for turns in conversations
    ]
    repaired, report = repair(Dataset(examples), unfixable="drop")

    def cleaned(example):
        bare = [part.text.replace("\0", "").lstrip("\ufeff") for turn in example.turns for part in turn.parts]
        return [text for text in bare if text]

    kept = [
        example
        for example in examples
        if all(
            any(part.text.replace("\0", "").lstrip("\ufeff").strip() for part in turn.parts) for turn in example.turns
        )
    ]
    assert [[part.text for turn in example.turns for part in turn.parts] for example in repaired] == list(
        map(cleaned, kept)
    )
    assert len(repaired) + len(report.dropped) == len(examples)
    assert all(a.role != b.role for example in repaired for a, b in zip(example.turns, example.turns[1:], strict=False))
