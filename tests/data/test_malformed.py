"""Files that are broken as real ones are: each fault is found on its line, mended or refused with its row."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini_tuning.data import check_file, read, to_gemini
from gemini_tuning.data.mending.repair import fixable, repair
from gemini_tuning.errors import DataError

from .conftest import SHARED

FOLDER = SHARED / "malformed"
EXPECTED = (
    {row["file"]: row for row in map(json.loads, (FOLDER / "expected.jsonl").read_text("utf-8").strip().split("\n"))}
    if FOLDER.is_dir()
    else {}
)
FILES = [
    pytest.param(name, id=name) for name in EXPECTED
] or [pytest.param("", marks=pytest.mark.skip(reason="the sample data sets are not here"))]  # fmt: skip

# What the sample set calls a fault: the codes under which it is told here. `read` refuses the first kind, passes the
# second over with a note, and leaves the third to `check`.
READING = {
    "encoding": {"data-encoding"},
    "json_array": {"data-json-array"},
    "not_one_per_line": {"data-not-one-per-line"},
    "json": {"data-json"},
    "role": {"data-role"},
    "role_assistant": {"data-role"},
    "last_turn": {"data-last-turn"},
    "empty_target": {"data-empty"},
    "empty_input": {"data-empty"},
    "no_parts": {"data-empty"},
    "missing_parts": {"data-shape"},
    "wrong_format": {"data-mixed", "old-format"},
    "scores": {"data-completions"},
    "completions": {"data-completions"},
    "identical": {"data-completions"},
    "tool_arguments": {"data-tool-arguments"},
    "bom_char": {"data-json"},
    "bom": {"bom"},
    "blank_line": {"blank-lines"},
}
CHECKING = {
    "consecutive_roles": {"consecutive-turns"},
    "file_uri": {"file-uri"},
    "mime": {"mime-type"},
    "media_resolution": {"media-resolution"},
    "tool": {"tool-undeclared"},
    "conflict": {"label-conflict"},
    "duplicate": {"exact-duplicates"},
    "near_duplicate": {"exact-duplicates", "near-duplicates"},
    "label_typo": {"label-spelling"},
}
AMOUNT = {"few-examples", "single-label"}
"""Findings about the size of these samples, which have two rows or so."""

MENDED_THOUGH_INVALID = {
    "trailing_comma.jsonl": {2}, "role_assistant.jsonl": {1}, "content_instead_of_parts.jsonl": {1},
    "long_file_planted.jsonl": {44, 81, 98, 113},
}  # fmt: skip
"""Lines that the service would not take and that can mean one thing only."""


def codes_of(code):
    if code.startswith("duplicate_of_"):
        return {"exact-duplicates"}
    return READING.get(code) or CHECKING[code]


def planted(name):
    return {(problem["line"], problem["code"]) for problem in EXPECTED[name]["problems"]}


def kept(name):
    return read(FOLDER / name, bad_rows="keep")


def rows_of(dataset):
    return [to_gemini(example) for example in dataset]


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_reading_faults_are_kept_with_their_line(name):
    """Each planted fault of reading is a broken row or a note at its line, with the row; nothing else is broken."""
    dataset = kept(name)
    told = {(broken.where.line, broken.code) for broken in dataset.broken}
    told |= {(where.line, note.code) for note in dataset.notes for where in note.where}
    faults = {(line, code) for line, code in planted(name) if code in READING}
    for line, code in faults:
        assert told & {(line, each) for each in READING[code]}, (line, code)
    whole_file = {code for _, code in faults} & {"encoding", "json_array", "not_one_per_line"} - {"cp1252"}
    if not whole_file or name == "cp1252_bytes.jsonl":
        assert {broken.where.line for broken in dataset.broken} <= {line for line, _ in faults}
    assert all(broken.raw and broken.message for broken in dataset.broken)
    assert not {broken.where.line for broken in dataset.broken} & {each.where.line for each in dataset}


@pytest.mark.parametrize("name", FILES)
def test_files_with_a_broken_row_stop_at_the_first(name):
    """Without `bad_rows="keep"` the first broken row is raised with its line."""
    broken = kept(name).broken
    if not broken:
        assert read(FOLDER / name) == kept(name)
        return
    with pytest.raises(DataError) as caught:
        read(FOLDER / name)
    assert (caught.value.code, caught.value.line) in {(each.code, each.where.line) for each in broken}


# --- repairing -----------------------------------------------------------------------------------------------------


def values(text):
    """The JSON values of a text, one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def meant(name):
    """What a fixable file says, found without the library."""
    text = (FOLDER / name).read_bytes().decode("utf-16" if name.startswith("utf16") else "utf-8-sig")
    rows = values(text)
    if name == "json_array.jsonl":
        return rows[0]
    if name == "openai_rows_in_gemini_file.jsonl":
        question, answer = (message["content"] for message in rows[1]["messages"])
        return [rows[0], gemini(question, answer)]
    if name == "ai_studio_old_shape.jsonl":
        return [gemini(row["text_input"], row["output"]) for row in rows]
    if name == "system_role_in_contents.jsonl":
        first = {"systemInstruction": rows[0]["contents"][0], "contents": rows[0]["contents"][1:]}
        return [first, *rows[1:]]
    if name == "double_encoded_arguments.jsonl":
        call = {"functionCall": {"name": "land_drone", "args": {"location": "current"}}}
        return [{"contents": [gemini("land", "")["contents"][0], {"role": "model", "parts": [call]}]}]
    return rows


def gemini(question, answer):
    return {
        "contents": [
            {"role": role, "parts": [{"text": text}]} for role, text in (("user", question), ("model", answer))
        ]
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, id=name) for name in EXPECTED if EXPECTED[name]["verdict"] == "fixable"] or FILES
)
def test_fixable_files_are_whole_after_repair(name):
    """Every row is there, in order, as the file means it; a second repair does nothing."""
    dataset = kept(name)
    assert all(map(fixable, dataset.broken))
    repaired, report = repair(dataset)
    assert rows_of(repaired) == meant(name)
    assert not repaired.broken
    assert {change.where.line for change in report.changes} == {broken.where.line for broken in dataset.broken}
    assert [example.where.line for example in repaired] == sorted(example.where.line for example in repaired)
    assert repair(repaired)[0] is repaired


@pytest.mark.parametrize("name", FILES)
def test_what_needs_a_guess_is_refused_with_its_row(name):
    """Broken rows of the other files stay broken as they were, but for those that can mean one thing only."""
    if EXPECTED[name]["verdict"] == "fixable":
        return
    dataset = kept(name)
    mends = MENDED_THOUGH_INVALID.get(name, set())
    repaired, report = repair(dataset)
    assert {broken.where.line for broken in dataset.broken if fixable(broken)} == mends
    assert [broken.raw for broken in repaired.broken] == [
        broken.raw for broken in dataset.broken if broken.where.line not in mends
    ]
    assert {example.where.line for example in repaired} == {example.where.line for example in dataset} | mends
    assert report.refused == repaired.broken
    dropped, report = repair(dataset, unfixable="drop")
    assert not dropped.broken
    assert {each.where.line for each in report.dropped} == {broken.where.line for broken in repaired.broken}
    # A row that was whole is not touched, except where two turns of one speaker are joined.
    if name != "consecutive_turns.jsonl":
        there = {example.where.line: example for example in repaired}
        assert all(there[example.where.line] is example for example in dataset.examples)


@pytest.mark.skipif(not EXPECTED, reason="the sample data sets are not here")
def test_consecutive_turns_are_joined_with_their_parts():
    """Two turns of one speaker become one of two parts."""
    repaired, report = repair(kept("consecutive_turns.jsonl"))
    assert report.counts == {"joined-turns": 2}
    assert [[len(turn.parts) for turn in example.turns] for example in repaired] == [[2, 1], [1, 2]]


# --- checking ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_each_planted_fault_is_a_finding_at_its_line(name):
    """Whatever is wrong with a file, its report names the line; a valid file has no `stop`."""
    report = check_file(FOLDER / name)
    told = {(where.line, finding.code) for finding in report.findings for where in finding.where}
    for finding in report.findings:
        # Which of two copies stays does not depend on their order: both are told.
        told |= {(int(pair["of"].rpartition("line ")[2]), finding.code) for pair in finding.details.get("pairs", ())}
    missed = [
        (line, code) for line, code in planted(name) if not told & {(line, each) for each in codes_of(code)}
    ]  # fmt: skip
    assert not missed
    stops = {finding.code for finding in report.findings if finding.severity == "stop"} - AMOUNT
    assert bool(stops) == (
        EXPECTED[name]["verdict"] in ("invalid", "fixable", "mixed") and name not in READ_AS_THEY_ARE
    )


READ_AS_THEY_ARE = {"utf8_bom.jsonl", "ai_studio_old_shape.jsonl"}
"""Fixable files that reading takes as they are, with a note."""

# --- any damage ----------------------------------------------------------------------------------------------------

LINES = [
    json.dumps(row, ensure_ascii=False).encode()
    for row in (
        gemini("where is my parcel", "shipping"),
        gemini("wo ist 我的包裹 🙂", 'a "quoted"\\answer\n'),
        {"systemInstruction": {"parts": [{"text": "Be brief."}]}, **gemini("x", "y")},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]},
        {"input": "a", "output": "b", "id": 7},
    )
]
BOMS = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\0\0\xfe\xff"]
ENDS = [b"\n", b"\r\n", b"\r", b"\n\n", b"\n \n"]


@st.composite
def damaged(draw):
    """A file of whole lines with some damage; and the lines that are whole in it."""
    lines = draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=5))
    data = b"".join(line + draw(st.sampled_from(ENDS)) for line in lines)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "flip", "insert", "double", "bom", "nothing", "drop", "encode"])):
            case "cut":
                data = data[:at]
            case "flip" if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
            case "insert":
                data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at:]
            case "double":
                data = data[:at] + data
            case "bom":
                data = draw(st.sampled_from(BOMS)) + data
            case "drop":
                data = data[:at] + data[at + 1 :]
            case "encode":
                data = data.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-16-le"])))
    return data


def attempt(call, *args, **kwargs):
    """What a call gives, or its DataError; any other error is a fault of the library."""
    try:
        return call(*args, **kwargs)
    except DataError as error:
        return error


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), st.sampled_from(["rows.jsonl", "rows.json", "rows.csv", "rows.jsonl.gz"]))
def test_no_damage_is_more_than_an_error_with_a_place(data, name):
    """`read` gives rows or DataError; keeping bad rows, checking and repairing never stumble and touch no whole row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        strict = attempt(read, path)
        dataset = attempt(read, path, bad_rows="keep")
        report = attempt(check_file, path)
    assert not isinstance(report, DataError) or report.code == "data-file"
    if isinstance(dataset, DataError):  # it concerns the whole file
        assert isinstance(strict, DataError)
        assert dataset.code not in ("data-json", "data-shape", "data-role", "data-empty")
        return
    assert isinstance(strict, DataError) == bool(dataset.broken)
    repaired, report = repair(dataset)
    whole = {json.dumps(json.loads(line), sort_keys=True) for line in LINES}
    there = {example.origin: example for example in repaired}
    for example in dataset:
        if json.dumps(to_gemini(example), sort_keys=True) in whole:
            assert there[example.origin] is example
    assert {each.where.line for each in dataset.broken} >= {each.where.line for each in report.refused}
    assert repair(repaired)[0] is repaired
