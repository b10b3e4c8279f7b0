"""Files of every kind, damaged in every way: read, kept aside or refused with a reason, in bounded memory."""

import bz2
import gzip
import importlib
import json
import lzma
import os
import socket
import sys
import tracemalloc
import zipfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gemini_tuning.data import from_records, read
from gemini_tuning.emulator import Fault
from gemini_tuning.errors import BackendError, ConfigError, DataError, PlanError
from gemini_tuning.types import Example, Location

ROW = {"input": "hello", "output": "greeting"}


def refused(call, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    return caught.value


def gemini(asked="hi", answer="yo", **more):
    turns = [{"role": "user", "parts": [{"text": asked}]}, {"role": "model", "parts": [{"text": answer}]}]
    return {**more, "contents": turns}


def places(dataset):
    return [(row.code, row.where.line) for row in dataset.broken]


def notes(dataset):
    return {note.code: ([place.line for place in note.where], note.count) for note in dataset.notes}


# --- rows that are kept aside --------------------------------------------------------------------------------------


def test_a_bad_row_is_kept_with_its_text_and_the_rest_is_read(file):
    """With bad_rows="keep" each row is an example or a broken row, in the order of the file."""
    path = file([ROW, '{"input": "a", "output": }', {"input": "b", "output": ""}, ROW])
    dataset = read(path, bad_rows="keep")
    assert [row.where.line for row in dataset] == [1, 4]
    assert places(dataset) == [("data-json", 2), ("data-empty", 3)]
    first, second = dataset.broken
    assert first.raw == '{"input": "a", "output": }'
    assert (second.where.field, second.message) == ("output", "it is empty: there is nothing to learn")
    assert json.loads(second.raw) == {"input": "b", "output": ""}
    assert refused(read, path).line == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_utf16_and_utf32_are_decoded_for_repair(file, encoding):
    """A file that a byte order mark says to be UTF-16 or UTF-32 is refused; kept, its rows have the right text."""
    text = "\n".join(json.dumps({"input": f"你好 {n} 😀", "output": "a"}, ensure_ascii=False) for n in range(3))
    mark = "\ufeff" if encoding.endswith("be") else ""
    path = file((mark + text).encode(encoding))
    error = refused(read, path)
    assert (error.code, error.line) == ("data-encoding", 1)
    dataset = read(path, bad_rows="keep")
    assert places(dataset) == [("data-encoding", line) for line in (1, 2, 3)]
    assert [row.raw for row in dataset.broken] == text.split("\n")
    assert all(row.text for row in dataset.broken)


def test_utf16_tables_are_decoded_for_repair(file):
    """A table as spreadsheets export it (UTF-16, tabs) has its rows kept as JSON."""
    dataset = read(file("input\toutput\r\na\tb\r\n".encode("utf-16"), "a.csv"), bad_rows="keep")
    assert places(dataset) == [("data-encoding", 2)]
    assert json.loads(dataset.broken[0].raw) == {"input": "a", "output": "b"}


def test_an_array_in_a_jsonl_file_is_kept_by_its_lines(file):
    """Each record of a JSON array in a .jsonl file is kept, with the physical line on which it starts."""
    path = file(b'[\n{"input": "a",\n "output": "b"},\n\n  {"input": "c", "output": "d"}]\n')
    assert refused(read, path).code == "data-json-array"
    dataset = read(path, bad_rows="keep")
    assert places(dataset) == [("data-json-array", 2), ("data-json-array", 5)]
    assert [json.loads(row.raw) for row in dataset.broken] == [
        {"input": "a", "output": "b"}, {"input": "c", "output": "d"},
    ]  # fmt: skip
    assert [row.output for row in read(path, format="json")] == ["b", "d"]


@pytest.mark.parametrize("width", [None, 0, 2])
def test_objects_over_many_lines_are_kept_whole(file, width):
    """An object that is spread over lines is one broken row with all its text; rows after it are read."""
    rows = [gemini(f'question {n} {{ \\" }}', "a") for n in range(5)]
    texts = [json.dumps(row, indent=width) for row in rows]
    path = file("\n".join([*texts, json.dumps(gemini()), ""]))
    dataset = read(path, bad_rows="keep")
    if width is None:
        assert not dataset.broken
        return
    length = texts[0].count("\n") + 1
    assert places(dataset) == [("data-not-one-per-line", 1 + at * length) for at in range(5)]
    assert [json.loads(row.raw) for row in dataset.broken] == rows
    assert [row.where.line for row in dataset] == [5 * length + 1]
    assert refused(read, path).code == "data-not-one-per-line"


def test_a_json_file_may_hold_objects_over_many_lines(file):
    """Objects one after the other in a .json file are rows, however they are laid out."""
    path = file("\n".join(json.dumps(row, indent=1) for row in (ROW, {**ROW, "input": "x"})), "a.json")
    assert [(row.input, row.where.line) for row in read(path)] == [("hello", 1), ("x", 5)]


@pytest.mark.parametrize("start", ['{"input": "cut off', '{"input": "a",', '{"input": [', "{"])
def test_a_line_that_is_cut_off_costs_itself_alone(file, start):
    """A line whose object does not end is broken; the rows after it are read, wherever it stands."""
    for rows in ([start, ROW, ROW, ROW], [ROW, start, ROW, ROW, ROW], [ROW, ROW, start]):
        dataset = read(file(rows), bad_rows="keep")
        assert places(dataset) == [("data-json", rows.index(start) + 1)]
        assert len(dataset) == sum(row == ROW for row in rows)


@pytest.mark.parametrize("line", ["{", '{"a":', "[", '{"a": ['])
def test_many_lines_that_are_cut_off_take_linear_time(file, line):
    """A file of lines that each begin an object is read to its end, each line a broken row."""
    dataset = read(file((line + "\n") * 30_000), bad_rows="keep")
    assert len(dataset.broken) == 30_000
    assert {row.where.line for row in dataset.broken} == set(range(1, 30_001))


def test_two_objects_on_one_line_are_kept_together(file):
    """Several objects on a line are one broken row that holds the whole line."""
    line = json.dumps(ROW) * 2
    dataset = read(file([ROW, line]), bad_rows="keep")
    assert places(dataset) == [("data-json", 2)]
    assert dataset.broken[0].raw == line
    assert "two values" in dataset.broken[0].hint


def test_bytes_that_are_not_utf8_are_kept_for_reading_only(file):
    """A row with wrong bytes is kept with \\xNN escapes and marked as no text; in CSV and arrays too."""
    rows = b'{"input":"a","output":"b"}\n{"input":"caf\xe9","output":"b"}\n{"input":"c","output":"d"}'
    table = b'input,output\na,b\n"caf\n\xe9",b\nc,d\n'
    array = b"[" + rows.replace(b"\n", b",\n") + b"]"
    for content, name, line in ((rows, "a.jsonl", 2), (table, "a.csv", 4), (array, "a.json", 2)):
        dataset = read(file(content, name), bad_rows="keep")
        assert [row.output for row in dataset] == ["b", "d"]
        assert places(dataset) == [("data-encoding", line)]
        assert not dataset.broken[0].text
        assert "\\xe9" in dataset.broken[0].raw


def test_rows_of_another_shape_are_kept_aside(file):
    """The first row decides the shape; rows of another one are data-mixed, each on its line."""
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    dataset = read(file([gemini(), chat, gemini(), {"input": "a", "output": "b"}]), bad_rows="keep")
    assert len(dataset) == 2
    assert places(dataset) == [("data-mixed", 2), ("data-mixed", 4)]
    assert json.loads(dataset.broken[0].raw) == chat


def test_a_record_of_an_array_that_is_no_json_costs_itself_alone(file):
    """In an array, reading goes on with the next record that begins as the others do."""
    rows = [json.dumps({"input": str(n), "output": "x", "list": [{"input": 1}]}) for n in range(4)]
    for gap in (",\n", ", "):
        broken = [rows[0], rows[1][:-1] + ",}", rows[2], rows[3]]
        dataset = read(file("[" + gap.join(broken) + "]", "a.json"), bad_rows="keep")
        assert [row.input for row in dataset] == ["0", "2", "3"]
        assert places(dataset) == [("data-json", 2)]
        assert dataset.broken[0].raw == broken[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[{"input":"a","output":"b"},{"input":"a","output":"b"}', "does not end"),
        (b'[{"input":"a","output":"b"},]', "comma after the last"),
        (b'[{"input":"a","output":"b"} {"input":"a","output":"b"}]', "no comma"),
        (b'[{"input":"a","output":"b"}][]', "more after the end"),
    ],
)
def test_faults_between_the_records_of_an_array_are_told(file, content, words):
    """What is wrong between records is an error; kept, the records are read and the fault is a broken row."""
    path = file(content, "a.json")
    error = refused(read, path)
    assert error.code == "data-json"
    assert words in str(error)
    dataset = read(path, bad_rows="keep")
    assert len(dataset) == content.count(b"input")
    (broken,) = dataset.broken
    assert not broken.text


@settings(max_examples=150, deadline=None)
@given(content=st.one_of(st.binary(max_size=300), st.text('{}[]",:\\ \n\r\tab1-.u0\x00\ufeff你', max_size=200)))
@example(content="[" * 2000)
@example(content='[{"a":' * 2000)
@example(content=b"\xef\xbb\xbf")
@example(content=b"\xff\xfe\x00")
def test_any_content_is_read_or_refused(tmp_path_factory, content):
    """Whatever a file holds, reading it gives a data set or a DataError, and keeping raises no more than stopping."""
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for format in ("jsonl", "json", "csv", "tsv", "gemini", "openai", "text", "parquet"):
        results = []
        for mode in ("keep", "raise"):
            try:
                results.append(read(path, format=format, bad_rows=mode))
            except (DataError, ConfigError) as error:  # Parquet is not read without a library for it
                results.append(error)
        kept, stopped = results
        if isinstance(kept, DataError | ConfigError):
            assert type(stopped) is type(kept)
        elif kept.broken:
            assert stopped.code in (kept.broken[0].code, "data-json-array", "data-encoding")
        else:
            assert stopped == kept


# --- what is passed over -------------------------------------------------------------------------------------------


def test_what_is_passed_over_is_noted(file):
    """A byte order mark, blank lines, older shapes and keys that stand twice are noted in both modes."""
    path = file(b'\xef\xbb\xbf{"input":"a","output":"b"}\r\n\r\n  \n{"input":"a","input":"c","output":"b"}\n')
    for mode in ("raise", "keep"):
        dataset = read(path, bad_rows=mode)
        assert [row.input for row in dataset] == ["a", "c"]
        assert notes(dataset) == {"bom": ([1], 1), "blank-lines": ([2, 3], 2), "duplicate-keys": ([4], 1)}
    old = read(file([{"text_input": "a", "output": "b"}] * 2))
    assert notes(old) == {"old-format": ([1, 2], 2)}
    assert old.notes[0].severity == "warning"


def test_very_many_blank_lines_are_counted_and_not_held(file):
    """The first 1,000 places of a note are kept, and the count is that of all."""
    path = file(json.dumps(ROW) + "\n" * 3_000_000 + json.dumps(ROW))
    dataset = read(path)
    assert [row.where.line for row in dataset] == [1, 3_000_001]
    lines, count = notes(dataset)["blank-lines"]
    assert (lines, count) == (list(range(2, 1002)), 2_999_999)


@pytest.mark.parametrize(
    ("line", "double"),
    [
        ('{"input":"a","output":"b","meta":{"k":1,"k":2}}', True),
        ('{"input":"\\\\","input":"\\\\\\"","output":"b"}', True),
        ('{"input":"a","output":"b","n":1,"n":2}', True),
        ('{"input":"\\"n\\":1,\\"n\\":2","output":"b\\\\"}', False),
        ('{"input":"a","output":"b","list":[{"k":1},{"k":2}]}', False),
        ('{"input":"\\u0022","output":"b"}', False),
    ],
)
def test_keys_that_stand_twice_are_noticed(file, line, double):
    """A key that one object has twice is noted, whatever quotes and escapes its texts have."""
    for content, name in ((line, "a.jsonl"), (f"[{line}]", "a.json")):
        assert ("duplicate-keys" in notes(read(file(content, name)))) is double


# --- the quick way is the general way ------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["", " ", "\\", '"', '\\"', "\u2028", "label", "你好", "😀" * 3])
)
PARTS = st.one_of(
    st.fixed_dictionaries({"text": TEXTS}),
    st.fixed_dictionaries({"text": TEXTS, "thought": st.booleans()}),
    st.just({"fileData": {"mimeType": "image/png", "fileUri": "gs://b/i"}}),
    st.just({"functionResponse": {"name": "f", "response": {}}}),
    st.just({"text": None}),
)
TURNS = st.one_of(
    st.fixed_dictionaries({
        "role": st.sampled_from(["user", "model", "user", "model", "assistant", "", None]),
        "parts": st.lists(PARTS, max_size=2),
    }),
    st.fixed_dictionaries({"parts": st.lists(PARTS, max_size=1)}),
)  # fmt: skip
SYSTEMS = st.one_of(
    st.none(),
    st.just("text"),
    st.fixed_dictionaries({"parts": st.lists(st.fixed_dictionaries({"text": TEXTS}), max_size=2)}),
    st.fixed_dictionaries({
        "role": st.sampled_from(["system", "", None, 1]),
        "parts": st.lists(st.fixed_dictionaries({"text": TEXTS}), max_size=2),
    }),
)  # fmt: skip
PLAIN = st.builds(gemini, TEXTS, TEXTS)
ROWS = st.one_of(
    PLAIN,
    st.fixed_dictionaries(
        {"contents": st.lists(TURNS, max_size=3)},
        optional={"systemInstruction": SYSTEMS, "system_instruction": SYSTEMS, "id": st.integers(), "tools": st.none()},
    ),
)


@st.composite
def json_lines(draw):
    """A row as JSON: any layout, escaped or not, perhaps with a field that stands twice."""
    row = draw(ROWS)
    line = json.dumps(
        row,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")])),
    )
    double = draw(st.sampled_from(["", "", "", '"text"', '"role"', '"parts"', '"contents"']))
    if double:
        value = draw(st.sampled_from(["null", "1", '""', "[]"]))
        twice = line.replace(double, f"{double}: {value}, {double}", 1)
        try:
            json.loads(twice)
            line = twice
        except ValueError:  # it stood there as a value
            pass
    return line


FLAT = st.fixed_dictionaries(
    {},
    optional={
        "input": st.one_of(TEXTS, st.none(), st.integers()),
        "output": st.one_of(TEXTS, st.just([])),
        "id": TEXTS,
    },
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.one_of(
        st.tuples(st.just(json.dumps(gemini())), st.lists(json_lines(), min_size=1, max_size=6)),
        st.tuples(st.just(json.dumps(ROW)), st.lists(st.builds(json.dumps, FLAT), min_size=1, max_size=6)),
    )
)
@example(rows=(json.dumps(ROW), ['{"input":"a","input":"b","output":"c"}', '{"input":"\\"\\\\","output":"b"}']))
@example(
    rows=(json.dumps(gemini()), [json.dumps({"contents": gemini()["contents"][1:]}), json.dumps(gemini(thought=1))])
)
@example(
    rows=(json.dumps(gemini()), [json.dumps({"contents": gemini()["contents"][:1]}), json.dumps(gemini("a", "\u3000"))])
)
def test_the_quick_way_gives_what_the_general_way_gives(tmp_path_factory, rows):
    """Plain rows read alike line by line and, by the general way, as an array."""
    folder = tmp_path_factory.mktemp("ways")
    first, lines = rows
    (folder / "quick.jsonl").write_text("\n".join([first, *lines]), encoding="utf-8")
    (folder / "general.json").write_text("[" + ",\n".join([first, *lines]) + "]", encoding="utf-8")
    quick = read(folder / "quick.jsonl", bad_rows="keep")
    general = read(folder / "general.json", bad_rows="keep")

    def told(dataset):
        return (
            [(row.turns, row.system, row.tools, row.meta, row.origin, row.where.line) for row in dataset],
            [(row.code, row.message, row.hint, row.raw, row.where.line, row.where.field) for row in dataset.broken],
            notes(dataset),
        )

    assert told(quick) == told(general)


def test_equal_labels_and_instructions_are_held_once(file):
    """Of answers and instructions that repeat, one copy is in memory."""
    system = {"systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]}}
    dataset = read(file([gemini(f"q{n}", "label", **system) for n in range(4)]))
    assert dataset[1].turns[-1] is dataset[3].turns[-1]
    assert dataset[1].system is dataset[3].system


# --- containers ----------------------------------------------------------------------------------------------------


def test_tables_of_tabs(file):
    """TSV is read by its name or when format= says so, quoted line breaks included; a comma is text."""
    text = 'input\toutput\n"a, b\nc"\td\n'
    for name, format in (("a.tsv", None), ("a.txt", "tsv"), ("a.tsv", "tsv")):
        (row,) = read(file(text, name), format=format)
        assert (row.input, row.output, row.where.line) == ("a, b\nc", "d", 2)


def test_tables_in_other_shapes(file):
    """A table with the columns of a known shape is read as that shape."""
    path = file("instruction,input,output\nAdd.,1 2,3\n", "a.csv")
    assert read(path)[0].input == "Add.\n1 2"
    assert read(path, format="csv")[0].input == "1 2"
    assert read(path, format="alpaca")[0].output == "3"


def test_a_bad_record_of_a_table_costs_itself_alone(file):
    """A cell too many, a stray quote or NUL bytes make one broken row; an open quote does not swallow the file."""
    text = 'input,output\na,b\na,b,c\n"a"x,b\nc,d\n'
    dataset = read(file(text, "a.csv"), bad_rows="keep")
    assert [row.input for row in dataset] == ["a", "c"]
    assert places(dataset) == [("data-csv", 3), ("data-csv", 4)]
    assert [row.raw for row in dataset.broken] == ["a,b,c", '"a"x,b']
    text = 'input,output\n"never closed,b\n' + "a,b\n" * 100_000
    dataset = read(file(text, "a.csv"), bad_rows="keep")
    assert dataset.broken[0].where.line == 2
    assert "quote" in dataset.broken[0].hint
    assert len(dataset) > 60_000


def test_tables_with_very_many_columns(file):
    """10,000 columns are read; a missing one is told without listing all the others."""
    names = [f"c{n}" for n in range(10_000)]
    path = file(",".join(names) + "\n" + ",".join("x" * 10_000) + "\n", "a.csv")
    assert len(read(path, input="c1", output="c9999")[0].meta) == 9_998
    error = refused(read, path, input="c1", output="c10001")
    assert error.code == "data-column"
    assert len(str(error)) < 1000


def test_packed_files_of_each_container(file):
    """Every text container is read as .gz too."""
    for content, name in (
        (b'{"input":"a","output":"b"}', "a.jsonl"),
        (b'[{"input":"a","output":"b"}]', "a.json"),
        (b"input,output\na,b\n", "a.csv"),
        (b"input\toutput\na\tb\n", "a.tsv"),
    ):
        assert read(file(gzip.compress(content, mtime=0), f"{name}.gz"))[0].output == "b"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.bz2", bz2.compress(b"{}")),
        ("a.jsonl.xz", lzma.compress(b"{}")),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd"),
        ("a.xlsx", b"PK\x03\x04"),
        ("a.zip", b"PK\x03\x04"),
        ("a.jsonl", b"PK\x03\x04"),
        ("a.csv", lzma.compress(b"{}")),
        ("a.zst", b"text"),
        ("a.pkl", b"\x80\x04\x95abc"),
        ("a.arrow", b"ARROW1\0\0"),
    ],
)
def test_what_is_not_read_is_refused_by_name(file, name, content):
    """Archives, sheets and other formats are recognised by content or name, and the message says what to do."""
    error = refused(read, file(content, name))
    assert error.code == "data-format-unsupported"
    assert error.hint


def test_lines_of_text_are_prompts(file):
    """format="text" reads one text a line, without answers."""
    dataset = read(file("first\n\n  second\u2028x \r\n", "a.txt"), format="text")
    assert [(row.input, row.output, row.where.line) for row in dataset] == [("first", "", 1), ("second\u2028x", "", 3)]


def test_parquet_without_a_library(file, monkeypatch):
    """Without a library that reads Parquet the message says which to install; a damaged name is refused."""
    for name in ("pyarrow", "pyarrow.parquet", "polars", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="pyarrow") as caught:
        read(file(b"PAR1....PAR1", "a.parquet"))
    assert caught.value.code == "config-extra"
    assert refused(read, file(b"nothing", "a.parquet")).code == "data-format-unknown"
    assert "gzip" in str(refused(read, file(gzip.compress(b"PAR1...."), "a.parquet.gz")))


def test_parquet_through_a_library(file, tmp_path, monkeypatch):
    """Rows come from the library that is there; its errors are DataErrors with the file."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "polars.py").write_text(
        "import json\n"
        "class Frame:\n"
        "    def __init__(self, rows): self.rows = rows\n"
        "    def iter_rows(self, named): return iter(self.rows)\n"
        "def read_parquet(file):\n"
        "    content = file.read()\n"
        "    if b'damaged' in content: raise RuntimeError('thrift')\n"
        "    return Frame(json.loads(content[4:]))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "polars", raising=False)
    path = file(b"PAR1" + json.dumps([ROW, {**ROW, "output": None}]).encode(), "a.parquet")
    dataset = read(path, bad_rows="keep")
    assert [row.where.line for row in dataset] == [1]
    assert places(dataset) == [("data-empty", 2)]
    assert "record 2" in str(refused(read, path))
    assert refused(read, path, output="label").code == "data-column"
    error = refused(read, file(b"PAR1damaged", "b.parquet"))
    assert error.code == "data-file"
    assert "thrift" in str(error)
    sys.modules.pop("polars", None)


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_parquet_with_the_real_libraries(tmp_path, library):
    """Where a real library is installed, its own file is read."""
    table = importlib.import_module(library) if importlib.util.find_spec(library) else pytest.skip("not installed")
    path = tmp_path / "a.parquet"
    if library == "pyarrow":
        importlib.import_module("pyarrow.parquet").write_table(table.Table.from_pylist([ROW] * 3), path)
    else:
        table.DataFrame([ROW] * 3).write_parquet(path)
    assert [row.output for row in read(path)] == ["greeting"] * 3
    path.write_bytes(path.read_bytes()[:-6])
    assert refused(read, path).code == "data-file"


# --- paths ---------------------------------------------------------------------------------------------------------


def test_what_is_no_regular_file_is_refused(tmp_path):
    """Pipes, sockets, devices, directories, loops and impossible names are refused at once, never waited for."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.jsonl"))
        for path, word in (
            (tmp_path / "pipe.jsonl", "pipe"), (tmp_path / "loop.jsonl", "ymbolic"), (tmp_path / "socket.jsonl", "socket"),
            (tmp_path / "folder.jsonl", "directory"), ("/dev/zero", "device"), (tmp_path / ("x" * 300), "too long"),
            ("a\0b.jsonl", "null"), (tmp_path / "no" / "file.jsonl", "no folder"),
            (tmp_path / "loop.jsonl" / "x.jsonl", "ymbolic"), ("http://host/a.jsonl", "copy"),
        ):  # fmt: skip
            error = refused(read, path)
            assert error.code == "data-file"
            assert word in str(error)
    for path in (3, None, [ROW]):
        with pytest.raises(PlanError, match="from_records"):
            read(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission(file):
    """A file that may not be read is refused with the system's reason."""
    path = file([ROW])
    path.chmod(0)
    assert "ermission" in str(refused(read, path))


def test_a_file_that_changes_while_it_is_read(file):
    """A file that is appended to, cut or touched while it is read is refused; one that is only deleted is read."""
    from gemini_tuning.data.files.opening import Source

    for change, fine in (
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), False),
        (lambda path: os.truncate(path, 10), False),
        (lambda path: os.utime(path, (1, 1)), False),
        (lambda path: path.unlink(), True),
    ):
        path = file([ROW] * 100_000)
        with Source(path) as source:
            blocks = source.blocks()
            next(blocks)
            change(path)
            if fine:
                assert b"".join(blocks)
            else:
                assert "changed" in str(refused(list, blocks))


# --- bounded memory ------------------------------------------------------------------------------------------------


def peak(call, *args, **kwargs):
    """What a call gives (or raises), and the most bytes that Python held meanwhile."""
    tracemalloc.start()
    try:
        try:
            result = call(*args, **kwargs)
        except DataError as error:
            result = error
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json", "a.txt"])
def test_a_line_of_two_gigabytes_is_refused_in_bounded_memory(tmp_path, name):
    """A row has a limit of 64 MB: above it the file is refused without holding the row."""
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b'[{"input": "' if name == "a.json" else b'{"input": "' if name == "a.jsonl" else b"input,output\n")
        file.truncate(2 << 30)
    error, held = peak(read, path, format="text" if name == "a.txt" else None)
    assert error.code in ("data-too-large", "data-json")
    assert held < 300 << 20


def test_reading_goes_on_behind_a_line_that_is_too_long(tmp_path):
    """With "keep" a line above the limit is passed over, and the rows around it are read."""
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(ROW).encode() + b"\n" + b'{"input": "')
        file.truncate(100 << 20)
        file.seek(0, 2)
        file.write(b"\n" + json.dumps(ROW).encode() + b"\n")
    dataset, held = peak(read, path, bad_rows="keep")
    assert [row.where.line for row in dataset] == [1, 3]
    assert places(dataset) == [("data-too-large", 2)]
    assert not dataset.broken[0].text
    assert held < 300 << 20


@pytest.mark.parametrize("filler", [b"\n", b"\0", b"a", b'{"input":"%s","output":"b"}\n' % (b"text " * 400)])
def test_a_gzip_bomb_is_refused(tmp_path, filler):
    """A small file that unpacks without end is refused early, in bounded memory."""
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(80):
            file.write(filler * ((1 << 20) // len(filler)))
    error, held = peak(read, path)
    assert error.code in ("data-file", "data-too-large", "data-encoding")
    assert held < 300 << 20


def test_deep_nesting_is_refused(file):
    """100,000 brackets are refused, not recursed into, in every container."""
    for content, name in (
        ("[" * 100_000, "a.json"),
        ("[[" + "[" * 100_000, "a.jsonl"),
        ('{"a":' * 100_000, "a.jsonl"),
        ('{"input": "a", "output": "b", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "a.jsonl"),
        ('[{"input": "a", "output": "b", "x": ' + '{"x":' * 100_000 + "1" + "}" * 100_000 + "}]", "a.json"),
    ):
        assert "deep" in str(refused(read, file(content, name)))
        assert read(file(content, name), bad_rows="keep").broken


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1e400", "too large"), ("-1e400", "too large"), ("9" * 5000, "4,300 digits"), ("NaN", "NaN"),
        ("Infinity", "Infinity"), ("-Infinity", "Infinity"), ("01", "delimiter"), ("+1", "value"), (".5", "value"),
    ],
)  # fmt: skip
def test_numbers_that_json_does_not_have_are_refused(file, value, words):
    """NaN, infinite numbers and numbers of thousands of digits are refused in lines and arrays."""
    line = f'{{"input": "a", "output": "b", "n": {value}}}'
    for content, name in ((line, "a.jsonl"), (f"[{line}]", "a.json")):
        error = refused(read, file(content, name))
        assert error.code == "data-json"
        assert words in str(error)


def test_large_numbers_keep_every_digit(file):
    """An integer above 64 bits is kept exactly."""
    line = '{"input": "a", "output": 123456789012345678901234567890, "id": 98765432109876543210987}'
    for content, name in ((line, "a.jsonl"), (f"[{line}]", "a.json")):
        (row,) = read(file(content, name))
        assert (row.output, row.meta["id"]) == ("123456789012345678901234567890", 98765432109876543210987)


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("a.jsonl", b'{"input":"a","output":"b"}\r{"input":"a","output":"b"}\r', "data-json", "carriage return"),
        ("a.csv", b"input,output\ra,b\rc,d\r", "data-csv", "carriage return"),
        ("a.jsonl", b'{"input":"a\0","output":"b"}', "data-json", "NUL"),
        ("a.jsonl", b"\0" * 5000, "data-encoding", "NUL"),
        ("a.jsonl", b'{"input":"a","output":"b"}\n' + b"\0" * 100, "data-json", "NUL"),
        ("a.jsonl", b'{"input":"\\ud800","output":"b"}', "data-encoding", "surrogate"),
        ("a.jsonl", b'{"input":"\\udc00x","output":"b"}', "data-encoding", "surrogate"),
        ("a.jsonl", b'{"input":"\xed\xa0\x80","output":"b"}', "data-encoding", "0xed"),
        ("a.jsonl", b"\xef\xbb\xbf", "data-empty-file", "empty"),
        ("a.jsonl", b"\xff\xfe", "data-empty-file", "empty"),
        ("a.jsonl", b" \r\n\t \n", "data-empty-file", "empty"),
        ("a.jsonl", b"\xff\xfe{\0\n", "data-encoding", "UTF-16"),
        ("a.jsonl", b"{\0\"\0a\0", "data-encoding", "UTF-16"),
        ("a.jsonl", b'{"input":"a","output":"b"}\n\xef\xbb\xbf{"input":"a","output":"b"}\n', "data-json", "joined"),
        ("a.jsonl.gz", gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "data-file", "gzip inside gzip"),
    ],
)  # fmt: skip
def test_damaged_text_is_refused_with_its_reason(file, name, content, code, words):
    """Each way in which a text can be damaged has a message of its own."""
    error = refused(read, file(content, name))
    assert error.code == code
    assert words in str(error)


# --- memory --------------------------------------------------------------------------------------------------------


def test_rows_in_memory_are_records():
    """Messages for rows in memory count records; kept rows have their number and their JSON."""
    rows = [ROW, {"input": "a", "output": ""}, 7, ROW]
    error = refused(from_records, rows)
    assert error.line == 2
    assert str(error).startswith("record 2, field 'output': it is empty")
    dataset = from_records(rows, bad_rows="keep")
    assert len(dataset) == 2
    assert [row.where for row in dataset.broken] == [Location(None, 2, "output"), Location(None, 3)]
    assert json.loads(dataset.broken[0].raw) == rows[1]
    kept = from_records([Example.of("a\ud800", "b"), Example.of("a", "b")], bad_rows="keep")
    assert (len(kept), kept.broken[0].code) == (1, "data-encoding")
    with pytest.raises(PlanError, match="bad_rows"):
        from_records(rows, bad_rows="skip")


def test_no_records_are_an_empty_data_set():
    """An empty list is legal in memory, where a query may find nothing."""
    assert len(from_records([])) == 0


def test_data_frames_with_odd_values():
    """Nullable integers, numpy scalars, timestamps and missing values of pandas become JSON; twin columns are refused."""
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    frame = pandas.DataFrame({
        "input": ["a", "b"], "output": pandas.array([1, None], dtype="Int64"), "n": numpy.array([1, 2], dtype="int8"),
        "f": [0.5, float("nan")], "when": [pandas.Timestamp("2026-01-02"), pandas.NaT], "list": [numpy.array([1, 2]), None],
        "text": pandas.array(["x", None], dtype="string"),
    })  # fmt: skip
    dataset = from_records(frame, bad_rows="keep")
    (row,) = dataset
    assert (row.output, row.meta) == (
        "1", {"n": 1, "f": 0.5, "when": "2026-01-02 00:00:00", "list": [1, 2], "text": "x"},
    )  # fmt: skip
    assert places(dataset) == [("data-empty", 2)]
    twins = pandas.DataFrame([["a", "b", "c"]], columns=["input", "output", "output"])
    assert refused(from_records, twins).code == "data-column"
    with pytest.raises(PlanError, match="to_frame"):
        from_records(frame["input"])
    with pytest.raises(PlanError, match="DataFrame"):
        from_records(numpy.array([1, 2]))


def test_tables_are_taken_in_parts():
    """A large table is never turned into objects as a whole."""
    taken = []

    class Table:
        num_rows = 2500

        def __init__(self, rows=range(2500)):
            self.rows = rows

        def slice(self, at, count):
            return Table(self.rows[at : at + count])

        def to_pylist(self):
            taken.append(len(self.rows))
            return [{"input": str(n), "output": "x"} for n in self.rows]

    assert [row.input for row in from_records(Table())] == [str(n) for n in range(2500)]
    assert max(taken) <= 1024


def test_lazy_and_divided_data_have_a_hint():
    """A lazy frame, a dictionary of splits and an async iterator are refused with what to do."""

    class Lazy:
        def collect(self):
            return []

    class Split:
        column_names = ("input",)

    async def stream():
        yield ROW

    for records, words in ((Lazy(), "collect"), ({"train": Split()}, "records\\['train'\\]"), (stream(), "async for")):
        with pytest.raises(PlanError, match=words):
            from_records(records)


# --- Cloud Storage -------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(emulator):
    """A bucket of the emulator, through the real client."""
    storage = pytest.importorskip("google.cloud.storage")
    from google.auth.credentials import AnonymousCredentials

    client = storage.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": emulator.url}
    )
    yield client.bucket("bkt")
    client.close()


LINES = b"".join(json.dumps({"input": f"question {n} 你好", "output": "a"}).encode() + b"\n" for n in range(2000))


def test_objects_are_read(bucket, vertex, emulator, monkeypatch):
    """gs:// is read with a backend, or with STORAGE_EMULATOR_HOST alone; packed ones too; a 503 is tried again."""
    bucket.blob("d/ü a.jsonl").upload_from_string(LINES)
    bucket.blob("d/b.jsonl.gz").upload_from_string(gzip.compress(LINES))
    served = bucket.blob("d/c.jsonl")
    served.content_encoding = "gzip"
    served.upload_from_string(gzip.compress(LINES))
    emulator.fault(Fault(action="status", path="^/download/", status=503))
    dataset = read("gs://bkt/d/ü a.jsonl", backend=vertex)
    assert len(dataset) == 2000
    assert dataset[7].where == Location("gs://bkt/d/ü a.jsonl", 8)
    for name in ("b.jsonl.gz", "c.jsonl"):
        assert read(f"gs://bkt/d/{name}", backend=vertex)[1999].input == "question 1999 你好"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    assert len(read("gs://bkt/d/ü a.jsonl")) == 2000
    downloads = [each for each in emulator.requests if each.path.startswith("/download/")]
    assert all("generation=" in each.path for each in downloads)


def test_objects_that_cannot_be_read(bucket, vertex, emulator):
    """What is missing or forbidden is a DataError with the address; a service that stays away is a BackendError."""
    bucket.blob("a.jsonl").upload_from_string(LINES)
    for path, words in (
        ("gs://bkt/no.jsonl", "no such object"),
        ("gs://bkt", "gs://bucket/object"),
        ("gs://", "object"),
    ):
        error = refused(read, path, backend=vertex)
        assert (error.code, error.file) == ("data-file", path)
        assert words in str(error)
    emulator.fault(Fault(action="status", path="/o/", status=403, message="denied"))
    assert "storage.objects.get" in str(refused(read, "gs://bkt/a.jsonl", backend=vertex))
    emulator.fault(Fault(action="status", path="/o/", status=400, message="bad"))
    with pytest.raises(BackendError):
        read("gs://bkt/a.jsonl", backend=vertex)


def test_an_object_that_is_replaced_or_damaged_on_the_way(bucket, vertex, emulator, monkeypatch):
    """Half of one generation and half of another is never read, nor bytes that the checksum does not fit."""
    from gemini_tuning.backend import files

    monkeypatch.setattr(files, "_CHUNK", 16_384)
    blob = bucket.blob("a.jsonl")
    blob.upload_from_string(LINES)
    with files.open_object("gs://bkt/a.jsonl", vertex) as file:
        assert file.read(10) == LINES[:10]
        blob.upload_from_string(LINES[::-1])
        assert "replaced" in str(refused(file.read))
    blob.upload_from_string(b"input,output\n" + b"a,b\n" * 1000)
    emulator.fault(Fault(action="corrupt", path="^/download/"))
    assert "checksum" in str(refused(read, "gs://bkt/a.jsonl", backend=vertex, format="text"))


def test_zip_files_are_not_opened(tmp_path):
    """A real archive is named as one."""
    with zipfile.ZipFile(tmp_path / "a.jsonl", "w") as archive:
        archive.writestr("x", "y")
    assert "zip" in str(refused(read, tmp_path / "a.jsonl"))


# --- tables as spreadsheets write them -----------------------------------------------------------------------------


def test_empty_columns_without_a_name_are_left_out(file):
    """Excel writes columns that were once filled: without a name and a value they are nothing."""
    path = file("input,output,,\na,b,,\nc,d, ,\n", "a.csv")
    assert [(row.input, row.output, row.meta) for row in read(path)] == [("a", "b", {}), ("c", "d", {})]
    path = file("input,output,,\na,b,,\nc,d,x,\n", "a.csv")
    error = refused(read, path)
    assert (error.code, error.line) == ("data-csv", 3)
    assert "cell 3 is not empty" in error.message
    assert places(read(path, bad_rows="keep")) == [("data-csv", 3)]


def test_one_column_without_a_name_is_kept_where_it_is_filled(file):
    """pandas writes its index into a column without a name."""
    dataset = read(file(",input,output\n7,a,b\n,c,d\n", "a.csv"))
    assert [row.meta for row in dataset] == [{"": "7"}, {}]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;\r", '"sep=;"', "\ufeffsep=;"])
def test_the_line_that_tells_excel_the_separator_is_obeyed(file, first):
    """The first line sep=; separates, even where a comma would cut the header into more cells."""
    dataset = read(file(f"{first}\ninput;output;a,b,c,d\nx,y;z;1\n", "a.csv"))
    assert [(row.input, row.output, row.where.line) for row in dataset] == [("x,y", "z", 3)]


def test_records_of_empty_cells_are_blank_lines(file):
    """Above the header, between the rows and below them."""
    dataset = read(file(";;\ninput;output;x\na;b;\n;;\n;; ;;\nc;d;e\n", "a.csv"))
    assert [(row.input, row.where.line) for row in dataset] == [("a", 3), ("c", 6)]
    assert notes(dataset) == {"blank-lines": ([1, 4, 5], 3)}


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ('input\toutput\n"Hello" he said\tgreet\n"all of it"\tx\n', ['"Hello" he said', '"all of it"']),
        ('input\toutput\n"quoted"\tx\n', ['"quoted"']),
        ('\ninput\toutput\n\n"quoted"\tx\r\n\r\n', ['"quoted"']),
        ('input\toutput\nplain\tx\n"open\tx\n', ["plain", '"open']),
        ('input\toutput\n"a ""b"" c"\tx\n"a\tb"\tx\n"a\nb"\tx\n', ['a "b" c', "a\tb", "a\nb"]),
        ('"input"\t"output"\n"quoted"\t"x"\n', ["quoted"]),
        ('input\toutput\n"a, b"\tx\n', ["a, b"]),
        ('sep=\t\ninput\toutput\n"quoted"\tx\n', ['"quoted"']),
    ],
)
def test_quotation_marks_of_a_tsv_belong_to_the_text_where_nothing_is_quoted(file, text, inputs):
    """Google Sheets quotes no cell; Excel those that need it; others all cells with the header."""
    assert [row.input for row in read(file(text, "a.tsv"))] == inputs


def test_a_row_of_a_quoted_tsv_that_is_not_well_quoted_is_refused(file):
    """Where the header is quoted the marks are the format's, and one bad cell is one bad row."""
    path = file('"input"\t"output"\n"a" b\tx\n"c"\t"d"\n', "a.tsv")
    dataset = read(path, bad_rows="keep")
    assert [row.input for row in dataset] == ["c"]
    assert places(dataset) == [("data-csv", 2)]


@pytest.mark.parametrize("bad", ['"cut off', '"a" b\tx'])
def test_a_bad_cell_does_not_change_how_the_rest_of_a_tsv_is_read(file, bad):
    """Doubled marks, tabs and line breaks inside cells can only come from quoting."""
    for good, said in (('"a ""b"" c"', 'a "b" c'), ('"a\tb"', "a\tb"), ('"a\nb"', "a\nb")):
        dataset = read(file(f"input\toutput\n{good}\tx\n{bad}\n", "a.tsv"), bad_rows="keep")
        assert [row.input for row in dataset] == [said]
        assert [row.code for row in dataset.broken] == ["data-csv"]


# --- encodings that are told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-32", "UTF_16LE"])
def test_a_file_with_a_byte_order_mark_is_read_when_its_encoding_is_told(file, name):
    """The mark is not part of the text, and nothing is wrong with the file."""
    base = "utf-32" if "32" in name else "utf-16"
    dataset = read(file(json.dumps(ROW).encode(base)), encoding=name)
    assert [row.input for row in dataset] == ["hello"]
    assert not dataset.notes


def test_an_encoding_that_the_byte_order_mark_contradicts_is_refused(file):
    """A file that says of itself what it is is not read as something else."""
    path = file(json.dumps(ROW).encode("utf-16"))
    assert refused(read, path, encoding="cp1252").code == "data-encoding"


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
def test_a_file_without_the_byte_order_mark_that_it_needs_is_refused(file, name):
    """The codec raises a bare UnicodeError there."""
    path = file(json.dumps(ROW).encode(f"{name}-be"))
    error = refused(read, path, encoding=name)
    assert error.code == "data-encoding"
    assert ("utf-16-le" in error.hint) == (name == "utf-16")
    assert read(path, encoding=f"{name}-be")[0].input == "hello"


# --- hints and large arrays ----------------------------------------------------------------------------------------


def test_the_list_in_an_object_is_told_only_where_it_holds_the_rows():
    """A row may have a list of objects in a column of its own: then the names of columns help."""
    inner = [{"input": "a", "output": "b"}]
    for around in ({"all": inner}, {"data": inner, "version": "1", "name": "n"}):
        assert "take that list out" in refused(from_records, [around]).hint
    for row in ({"inputs": "a", "outputs": "b", "data": inner}, {"question": "a", "answer": "b", "spans": inner}):
        hint = refused(from_records, [row]).hint
        assert "Did you mean input=" in hint
        assert "take that list out" not in hint
    assert "take that list out" not in refused(from_records, [{"a": "x", "spans": inner}]).hint


def test_every_broken_record_of_a_large_array_is_found(file):
    """Records are passed over one by one, across the pieces in which the file is taken."""
    broken = '{"input":"a","output":}'
    path = file("[" + ",\n".join([json.dumps(ROW, separators=(",", ":")), *[broken] * 9_000]) + "]", "a.json")
    dataset = read(path, bad_rows="keep")
    assert [row.where.line for row in dataset.broken] == list(range(2, 9_002))
    assert {row.raw for row in dataset.broken} == {broken}
    assert len(dataset) == 1
