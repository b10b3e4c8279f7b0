import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.data import check_file, from_records, gemini_lines, read, to_gemini, write
from gemini_tuning.errors import DataError, PlanError
from gemini_tuning.types import Completion, Dataset, Example, Location, text_turn

ROW = {"input": "hello", "output": "greeting"}
TURNS = [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "yo"}]}]


def refused(call, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"input":"q","output":"a","n":1}\n'),
        ("a.jsonl", b'\xef\xbb\xbf{"input":"q","output":"a","n":1}\r\n\r\n'),
        ("a.json", b'\n[{"input":"q","output":"a","n":1}]'),
        ("a.json", b'{"input":"q","output":"a","n":1}\n'),
        ("a.jsonl.gz", gzip.compress(b'{"input":"q","output":"a","n":1}', mtime=0)),
        ("a.ndjson", b'{"input":"q","output":"a","n":1}'),
    ],
)
def test_flat_files_give_the_same_example(file, name, content):
    """JSONL, JSON arrays and their compressed forms, with or without a byte order mark, give the same rows."""
    path = file(content, name)
    (example,) = read(path)
    assert (example.input, example.output, example.meta) == ("q", "a", {"n": 1})
    assert (example.where.file, example.where.line) == (str(path), 1)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_lines_are_physical_lines(file, mark):
    """A CSV record's line is the physical line on which it starts, also after a quoted line break."""
    text = f'text{mark}label{mark}id\n"two\nlines"{mark}a{mark}1\nplain{mark}b{mark}2\n'
    rows = read(file(text, "a.csv"), input="text", output="label")
    assert [(row.input, row.output, row.where.line) for row in rows] == [("two\nlines", "a", 2), ("plain", "b", 4)]
    assert rows[0].meta == {"id": "1"}


def test_line_separators_inside_texts_do_not_cut_lines(file):
    """U+2028, U+0085 and form feeds are text; only a line feed ends a line."""
    text = "a\u2028b\u0085c\x0cd"
    assert read(file([{"input": text, "output": "x"}, ROW]))[0].input == text


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1"), (True, "true"), (False, "false"), (1.5, "1.5"), (0, "0"), ("007", "007")]
)
def test_scalar_targets_become_their_json_text(file, value, text):
    """A number or a boolean as output is its JSON text."""
    assert read(file([{"input": "q", "output": value}]))[0].output == text


BAD = {
    "not JSON": ([ROW, ROW, '{"input": "a" "output": "b"}'], "data-json", 3, None, "Expecting ',' delimiter at column 15"),
    "two on a line": (['{"input":"a","output":"b"} {}'], "data-json", 1, None, "two values"),
    "spread": (["{", '"input": "a"}'], "data-not-one-per-line", 1, None, "spread over many lines"),
    "NaN": (['{"input": "a", "output": NaN}'], "data-json", 1, None, "NaN"),
    "missing column": ([{"inputs": "a", "output": "b"}], "data-column", 1, "input", "input='inputs'"),
    "usual pair": ([{"question": "a", "answer": "b"}], "data-column", 1, "input", "input='question', output='answer'"),
    "null": ([ROW, {"input": "a", "output": None}], "data-empty", 2, "output", "null"),
    "blank": ([{"input": "a", "output": " \n"}], "data-empty", 1, "output", "nothing to learn"),
    "blank input": ([{"input": "", "output": "b"}], "data-empty", 1, "input", "nothing to answer"),
    "object": ([{"input": "a", "output": {"k": 1}}], "data-type", 1, "output", "json.dumps"),
    "list": ([{"input": ["a"], "output": "b"}], "data-type", 1, "input", "a list"),
    "no object": ([ROW, "[1, 2]"], "data-shape", 2, None, "expected an object"),
    "surrogate": (['{"input": "\\ud800", "output": "b"}'], "data-encoding", 1, "input", "surrogate"),
    "mixed": ([ROW, {"contents": TURNS}], "data-mixed", 2, None, "line 1"),
    "both": ([{**ROW, "contents": TURNS}], "data-ambiguous", 1, None, "format='gemini'"),
    "last turn": ([{"contents": TURNS[:1]}], "data-last-turn", 1, "contents[0].role", "model's answer"),
    "assistant": ([{"contents": [TURNS[0], {**TURNS[1], "role": "assistant"}]}], "data-role", 1, "contents[1].role", "'model'"),
    "system turn": ([{"contents": [{**TURNS[0], "role": "system"}]}], "data-role", 1, "contents[0].role", "systemInstruction"),
    "content": ([{"contents": [{"role": "user", "content": "a"}]}], "data-shape", 1, "contents[0].parts", "OpenAI's"),
    "no parts": ([{"contents": [{"role": "user", "parts": []}]}], "data-empty", 1, "contents[0].parts", "empty list"),
    "empty target": (
        [{"contents": [TURNS[0], {"role": "model", "parts": [{"text": " "}]}]}],
        "data-empty", 1, "contents[1].parts", "nothing to learn",
    ),
    "part kind": ([{"contents": [{"role": "user", "parts": [{"txt": "a"}]}]}], "data-shape", 1, "contents[0].parts[0]", "txt"),
    "system form": ([{"contents": TURNS, "systemInstruction": "a"}], "data-shape", 1, "systemInstruction", "parts"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_with_their_place(file, name):
    """A row that cannot be used is refused with a stable code, its line, its field and what to do."""
    rows, code, line, field, words = BAD[name]
    path = file(rows)
    error = refused(read, path)
    assert (error.code, error.line, error.field, error.file) == (code, line, field, str(path))
    assert words in str(error)
    (broken,) = read(path, bad_rows="keep").broken
    assert (broken.code, broken.where, broken.hint) == (code, Location(str(path), line, field), error.hint)
    assert error.message.endswith(f": {broken.message}")
    assert broken.raw == "\n".join(path.read_text("utf-8").split("\n")[line - 1 :]).strip()


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_findings(file, name):
    """check_file reports each row that read refuses, with the same code and place."""
    rows, code, line, field, _ = BAD[name]
    report = check_file(file(rows))
    finding = next(finding for finding in report.findings if finding.code == code)
    assert (finding.severity, finding.where[0].line, finding.where[0].field) == ("stop", line, field)
    assert not report.ok


@pytest.mark.parametrize(
    ("name", "content", "code", "line", "words"),
    [
        ("a.jsonl", b"", "data-empty-file", None, "empty"),
        ("a.jsonl", b" \n\n", "data-empty-file", None, "empty"),
        ("a.json", b"[]", "data-empty-file", None, "no rows"),
        ("a.csv", b"input,output\n", "data-empty-file", None, "no rows"),
        ("a.jsonl", b'[{"input":"a","output":"b"}]', "data-json-array", 1, "JSON array"),
        ("a.csv", b'{"input":"a"}', "data-ambiguous", 1, "JSON"),
        ("a.txt", b'{"input":"a","output":"b"}', "data-format-unknown", None, "format='jsonl'"),
        ("a.jsonl", b'{"input":"a","output":"b"}\n{"input":"caf\x92","output":"b"}', "data-encoding", 2, "0x92"),
        ("a.json", b'[\n{"input":"caf\x92"}]', "data-encoding", 1, "0x92 on line 2"),
        ("a.csv", b"input,output\na,caf\x92\n", "data-encoding", 2, "0x92"),
        ("a.jsonl", '{"input":"a"}'.encode("utf-16"), "data-encoding", 1, "UTF-16"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "data-file", None, ".gz"),
        ("a.jsonl.gz", gzip.compress(b'{"input":"a","output":"b"}', mtime=0)[:-9], "data-file", None, "gzip"),
        ("a.jsonl.gz", b"{}", "data-file", None, "gzip"),
        ("a.json", b'{\n"data": [{}]}', "data-column", 1, "list 'data'"),
        ("a.csv", b"text,output\na,b\n", "data-column", 1, "input"),
        ("a.csv", b"input,output,input\na,b,c\n", "data-column", 1, "twice"),
        ("a.csv", b"input,output\na,b\na,b,c\n", "data-csv", 3, "3 cells"),
        ("a.csv", b'input,output\na,"b\n', "data-csv", 2, "end of data"),
    ],
)
def test_bad_files_are_refused(file, name, content, code, line, words):
    """A file that cannot be read as what it says it is is refused with evidence, never half read."""
    error = refused(read, file(content, name))
    assert (error.code, error.line) == (code, line)
    assert words in str(error)


def test_paths_that_cannot_be_opened(tmp_path, file):
    """A missing file, a directory and an address name the path, and say what there is instead."""
    file([ROW], "there.jsonl")
    for path, words in ((tmp_path / "no.jsonl", "there.jsonl"), (tmp_path, "directory"), ("s3://b/x.jsonl", "copy")):
        for function in (read, check_file):
            error = refused(function, path)
            assert error.code == "data-file"
            assert error.file == str(path)
            assert words in str(error)
    with pytest.raises(PlanError, match="jsonl"):
        read(tmp_path, format="xml")


def test_an_explicit_format_settles_what_is_ambiguous(file):
    """With format= a row that could be read in two ways is read as asked."""
    both = file([{**ROW, "contents": TURNS}])
    assert read(both, format="jsonl")[0].input == "hello"
    assert read(both, format="gemini")[0].input == "hi"
    assert read(file([{"instruction": "a", **ROW}]), format="jsonl")[0].meta == {"instruction": "a"}
    assert read(file([{"instruction": "a", **ROW}]), format="alpaca")[0].input == "a\nhello"
    assert read(file([{**ROW}], "x.txt"), format="jsonl")[0].output == "greeting"
    assert "contents" in str(refused(read, file([ROW], "y.jsonl"), format="gemini"))
    assert "gemini" in str(refused(read, file([{"contents": TURNS}], "z.jsonl"), format="jsonl"))


def test_check_file_reports_every_bad_row(file):
    """One bad row does not hide the next: all their lines are in the findings."""
    rows = [*[{"input": f"text {n} {n * n}", "output": "ab"[n % 2]} for n in range(120)], "{", ROW, {"input": "x"}, "}"]
    findings = {finding.code: finding for finding in check_file(file(rows)).findings}
    assert {place.line for code in findings if code == "data-json" for place in findings[code].where} <= {121, 124}
    assert findings["data-column"].where[0].line == 123


# --- Gemini's shape ------------------------------------------------------------------------------------------------


def test_gemini_lines_keep_every_part_kind(file):
    """System instruction in both spellings, tools, files and function calls survive, written in camelCase."""
    call = {"functionCall": {"name": "f", "args": {"file_uri": 1}}}
    response = {"parts": [{"function_response": {"name": "f", "response": {"ok": True}}}]}
    row = {
        "system_instruction": {"role": "system", "parts": [{"text": "be "}, {"text": "brief"}]},
        "contents": [
            {"role": "user", "parts": [{"file_data": {"mime_type": "image/png", "file_uri": "gs://b/i"}}, {"text": "?"}]},
            {"role": "model", "parts": [call]}, response, TURNS[1],
        ],
        "tools": [{"function_declarations": [{"name": "f", "parameters": {"properties": {"file_uri": {}}}}]}],
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"},
        "id": 7,
    }  # fmt: skip
    (example,) = read(file([row]))
    assert (example.system, example.input, example.output, example.meta["id"]) == ("be brief", "?", "yo", 7)
    line = to_gemini(example)
    assert line["contents"][0]["parts"][0] == {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/i"}}
    assert line["contents"][1]["parts"] == [call]
    assert line["contents"][2] == {"parts": [{"functionResponse": {"name": "f", "response": {"ok": True}}}]}
    assert line["tools"] == [{"functionDeclarations": row["tools"][0]["function_declarations"]}]
    assert line["generationConfig"] == row["generationConfig"]
    assert "id" not in line


def test_a_target_may_be_a_function_call(file):
    """A last turn without text but with a function call is something to learn."""
    turns = [TURNS[0], {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}]
    assert to_gemini(read(file([{"contents": turns}]))[0])["contents"] == turns


def test_preference_examples_are_written_with_their_completions():
    """An example made in memory with completions becomes Google's preference line."""
    best, worst = Completion(1.0, text_turn("model", "a")), Completion(0.0, text_turn("model", "b"))
    line = to_gemini(Example(turns=(text_turn("user", "q"),), completions=(best, worst)))
    assert [each["score"] for each in line["completions"]] == [1.0, 0.0]
    assert line["contents"][-1]["role"] == "user"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5), ending=st.sampled_from(["", ".gz"]))
def test_writing_then_reading_is_the_identity(tmp_path_factory, rows, ending):
    """Any Unicode text comes back as it was, in both formats."""
    folder = tmp_path_factory.mktemp("identity")
    dataset = from_records([{"input": a, "output": b, "column": c} for a, b, c in rows])
    flat = read(write(dataset, folder / f"flat.jsonl{ending}", format="jsonl"))
    gemini = read(write(dataset, folder / f"gemini.jsonl{ending}"))
    assert [(row.turns, row.meta) for row in flat] == [(row.turns, row.meta) for row in dataset]
    assert [row.turns for row in gemini] == [row.turns for row in dataset]
    assert [row.origin for row in gemini] == [row.origin for row in dataset]


def test_uploaded_bytes_are_utf8_lines():
    """The file is UTF-8 without escapes, one object a line, each ended with a line feed."""
    data = gemini_lines(from_records([{"input": "你好\u2028\n", "output": "😀"}, ROW]))
    assert data.count(b"\n") == 2
    assert data.endswith(b"\n")
    assert "你好\u2028" in data.decode()
    assert json.loads(data.split(b"\n")[0])["contents"][1]["parts"] == [{"text": "😀"}]


def test_texts_without_utf8_form_are_refused(tmp_path):
    """Half a surrogate pair is refused with its row when records come in and when a file goes out."""
    assert refused(from_records, [ROW, {"input": "a\udc00", "output": "b"}]).line == 2
    assert refused(from_records, [Example.of("a\udc00", "b")]).code == "data-encoding"
    turns = (text_turn("user", "\ud800"), text_turn("model", "b"))
    broken = Dataset([Example(turns=turns, where=Location("f", 3), origin="0#0")])
    assert refused(write, broken, tmp_path / "x.jsonl").line == 3
    assert not list(tmp_path.iterdir())


def test_what_has_no_flat_row_is_refused(tmp_path):
    """Conversations and clashing columns cannot be written flat."""
    long = Example(turns=tuple(text_turn(role, "x") for role in ("user", "model", "user", "model")))
    assert "gemini" in str(refused(write, Dataset([long]), tmp_path / "x.jsonl", format="jsonl"))
    clash = Dataset([Example.of("a", "b", meta={"input": 1})])
    assert refused(write, clash, tmp_path / "x.jsonl", format="jsonl").field == "input"
    with pytest.raises(PlanError):
        write(clash, tmp_path / "x", format="xml")


# --- records -------------------------------------------------------------------------------------------------------


def test_records_of_many_kinds_give_the_same_dataset():
    """Mappings, generators, examples, data frames and tables by duck typing give the same rows."""
    pandas = pytest.importorskip("pandas")
    rows = [{"text": f"t{n}", "label": n, "extra": None} for n in range(3)]

    class Polars:
        def to_dicts(self):
            return rows

    class Arrow:
        def to_pylist(self):
            return rows

    class HuggingFace:
        column_names = ("text", "label", "extra")

        def __iter__(self):
            return iter(rows)

    wanted = from_records(rows, input="text", output="label")
    assert [row.output for row in wanted] == ["0", "1", "2"]
    assert [row.where.line for row in wanted] == [1, 2, 3]
    for records in (
        (row for row in rows),
        pandas.DataFrame(rows),
        Polars(),
        Arrow(),
        HuggingFace(),
        wanted,
        list(wanted),
    ):
        assert from_records(records, input="text", output="label") == wanted
    assert from_records([{"contents": TURNS}])[0].output == "yo"
    assert from_records(wanted) is wanted


def test_missing_values_of_data_frames_are_missing():
    """NaN, NaT and None in a data frame are missing values: refused as targets, None in other columns."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"input": ["a", "b"], "output": ["x", None], "when": [pandas.Timestamp("2026-01-02"), pandas.NaT]}
    )
    assert refused(from_records, frame).line == 2
    meta = [row.meta for row in from_records(frame.assign(output="x"))]
    assert meta == [{"when": "2026-01-02 00:00:00"}, {"when": None}]


@pytest.mark.parametrize("records", ["a.jsonl", b"x", {"input": ["a"], "output": ["b"]}, 3, None])
def test_what_is_no_records_is_refused(records):
    """A path, a dictionary of columns or a number is refused, and the message says what to call instead."""
    with pytest.raises(PlanError, match="Hint"):
        from_records(records)


def test_examples_and_rows_are_not_mixed():
    """A list holds either examples or rows."""
    assert refused(from_records, [Example.of("a", "b"), ROW]).code == "data-mixed"


def test_googles_own_samples_survive_a_round_trip(shared, tmp_path):
    """Every supervised sample of Google's pages reads, and is written as the same JSON in camelCase."""
    for path in sorted((shared / "format_samples" / "gemini_docs").glob("*.jsonl")):
        if path.stem in ("index", "preference", "reinforcement_references"):
            continue
        dataset = read(path)
        again = read(write(dataset, tmp_path / path.name))
        assert [row.turns for row in again] == [row.turns for row in dataset]
        assert [to_gemini(row)["contents"] for row in dataset] == [
            json.loads(line)["contents"] for line in path.read_text("utf-8").split("\n") if line
        ]


def test_planted_faults_are_found_on_their_lines(shared):
    """In the file of 200 rows every planted fault that this version looks for is reported on its line."""
    expected = [
        json.loads(line) for line in (shared / "malformed" / "expected.jsonl").read_text("utf-8").split("\n") if line
    ]
    planted = next(each for each in expected if each["file"] == "long_file_planted.jsonl")["problems"]
    report = check_file(shared / "malformed" / "long_file_planted.jsonl")
    found = {place.line for finding in report.findings for place in finding.where if finding.code != "rare-labels"}
    assert {problem["line"] for problem in planted} <= found


def test_an_encoding_that_is_named_is_used_and_never_guessed(file):
    """Windows-1252 and GB 18030 are read when told; what the encoding does not have is refused."""
    text = "input;output\nGrüße;a\n"
    path = file(text.encode("cp1252"), "a.csv")
    with pytest.raises(DataError, match="not UTF-8"):
        read(path)
    assert read(path, encoding="cp1252")[0].input == "Grüße"
    assert (
        read(file("input,output\n请问我的卡,a\n".encode("gb18030"), "b.csv"), encoding="gb18030")[0].input
        == "请问我的卡"
    )
    with pytest.raises(DataError, match="ascii"):
        read(path, encoding="ascii")
    for wrong in ("no-such", "base64", 7):
        with pytest.raises(PlanError, match="encoding"):
            read(path, encoding=wrong)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_separator_is_found_without_the_right_column_names(file, delimiter):
    """So the error names the columns that are there, and the one that was meant."""
    path = file(delimiter.join(["Id", "Kundentext", "Kategorie"]) + "\n" + delimiter.join("1ab") + "\n", "a.csv")
    with pytest.raises(DataError) as caught:
        read(path, input="kundentext", output="Kategorie")
    assert "'Id', 'Kundentext', 'Kategorie'" in str(caught.value)
    assert "Did you mean input='Kundentext'?" in caught.value.hint
