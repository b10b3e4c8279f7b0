"""What `check` finds in conversations, tools, files, texts and variety; each finding names its rows."""

import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.data import DataReport, Parts, check, check_file, from_records
from gemini_tuning.data.checks.table import find_in
from gemini_tuning.errors import DataError, PlanError
from gemini_tuning.types import Dataset, Example, text_turn

WORDS = [
    "card", "loan", "fees", "travel", "limit", "phone", "branch", "interest", "pin", "cheque", "transfer", "refund",
    "statement", "account", "deposit", "mortgage", "insurance", "exchange", "balance", "address",
]  # fmt: skip


def text(n, seed=0):
    chance = random.Random(f"{seed} {n}")
    return "how about " + " ".join(chance.sample(WORDS, 6)) + f" case {'x' * (n % 7 + 1)}"


def found(data, **arguments):
    return {finding.code: finding for finding in check(data, **arguments).findings}


def lines(finding):
    return [place.line for place in finding.where]


def gemini(*contents, tools=None, **more):
    row = {"contents": [{"role": role, "parts": parts} for role, parts in contents], **more}
    if tools is not None:
        row["tools"] = [{"functionDeclarations": tools}]
    return row


def call(name, /, **args):
    return ("model", [{"functionCall": {"name": name, "args": args}}])


USER = ("user", [{"text": "is it in stock?"}])
SKU = {
    "name": "sku",
    "parameters": {
        "type": "OBJECT",
        "properties": {"name": {"type": "STRING", "enum": ["a", "b"]}, "count": {"type": "INTEGER"}},
        "required": ["name"],
    },
}


def test_calls_are_compared_with_the_declarations():
    """A function that is not declared stops; wrong arguments and answers without a call warn, each with its field."""
    response = ("user", [{"functionResponse": {"name": "sku", "response": {"ok": 1}}}])
    rows = [
        gemini(USER, call("sku", name="a", count=2), tools=[SKU]),
        gemini(USER, call("price", name="a"), tools=[SKU]),
        gemini(USER, call("sku", name="a")),
        gemini(USER, call("sku", count=1), tools=[SKU]),
        gemini(USER, call("sku", name="c"), tools=[SKU]),
        gemini(USER, call("sku", name="a", count="2"), tools=[SKU]),
        gemini(USER, call("sku", name="a", colour="red"), tools=[SKU]),
        gemini(USER, call("sku", name="a"), response, ("model", [{"text": "yes"}]), tools=[SKU]),
        gemini(USER, ("model", [{"text": "wait"}]), response, ("model", [{"text": "yes"}]), tools=[SKU]),
    ]
    findings = found(from_records(rows))
    assert (findings["tool-undeclared"].severity, lines(findings["tool-undeclared"])) == ("stop", [2, 3])
    assert findings["tool-undeclared"].where[0].field == "contents[1].parts[0].functionCall.name"
    assert lines(findings["tool-arguments"]) == [4, 5, 6, 7]
    assert lines(findings["tool-response"]) == [9]


def file(uri="gs://b/a.jpg", mime="image/jpeg"):
    data = {"fileUri": uri, **({"mimeType": mime} if mime else {})}
    return {"fileData": data}


def asked(*files, level=None):
    more = {"generationConfig": {"mediaResolution": level}} if level else {}
    return gemini(("user", [*files, {"text": "what is it?"}]), ("model", [{"text": "a dog"}]), **more)


def test_files_are_compared_with_what_tuning_takes():
    """Addresses, MIME types, numbers of files and resolutions, each at its row."""
    rows = [
        asked(file()),
        asked(file("https://example.com/a.png", "image/png")),
        asked(file("C:\\a.jpg")),
        asked(file("file:///a.jpg")),
        asked(file(mime=None)),
        asked(file(mime="image/gif")),
        asked(*[file()] * 31),
        asked(file(), level="HIGH"),
        asked({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
    ]
    findings = found(from_records(rows))
    assert lines(findings["file-uri"]) == [3, 4, 9]
    assert lines(findings["mime-type"]) == [5, 6]
    assert lines(findings["media-limit"]) == [7]
    assert lines(findings["media-resolution"]) == [8]
    assert all(findings[code].severity == "stop" for code in ("file-uri", "mime-type", "media-limit"))


def test_a_set_of_videos_has_one_resolution():
    """The rows that differ from most are named; images may differ."""
    video = file("gs://b/1.mp4", "video/mp4")
    levels = ["MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_HIGH", None]
    assert lines(found(from_records([asked(video, level=each) for each in levels]))["media-resolution"]) == [3, 4]
    assert "media-resolution" not in found(from_records([asked(file(), level=each) for each in levels]))


def test_instructions_that_only_one_part_has():
    """A system instruction or a beginning that training has and test has not changes the task."""
    rows = [{"input": text(n), "output": "ab"[n % 2]} for n in range(80)]
    plain = from_records(rows)

    def put(dataset, system=None, before=""):
        return Dataset(
            Example(turns=(text_turn("user", before + each.input), text_turn("model", each.output)), system=system)
            for each in dataset
        )

    same = Parts(train=put(plain[:60], "Answer."), test=put(plain[60:], "Answer."))
    assert "instructions-differ" not in found(same)
    apart = found(Parts(train=put(plain[:60], "Answer with a topic."), test=plain[60:]))["instructions-differ"]
    assert "Answer with a topic." in apart.message
    assert apart.count == 60
    begun = Parts(train=put(plain[:60], before="Name the topic of: "), test=put(plain[60:]))
    assert "Name the topic of: " in found(begun)["instructions-differ"].message


def test_characters_that_were_lost_or_that_nobody_sees():
    """U+FFFD, wrongly decoded UTF-8 and hidden characters are named with their rows; usual text is not."""
    inputs = [
        "naïve café à la carte",
        "caf\ufffd",
        "don\u00e2\u20ac\u2122t",
        "caf\u00c3\u00a9",
        "a\u202eb",
        "a\x00b",
        "中文 emoji 👩‍👩‍👧 ok",
    ]
    findings = found(from_records([{"input": each, "output": f"answer {n}"} for n, each in enumerate(inputs)]))
    assert lines(findings["replacement-character"]) == [2]
    assert lines(findings["mojibake"]) == [3, 4]
    assert lines(findings["invisible-characters"]) == [5, 6]


def test_targets_that_repeat_the_input():
    """A few copies are a slip; where most rows copy, it is the task."""
    rows = [{"input": text(n), "output": f"answer {n}"} for n in range(40)]
    rows[4]["output"] = rows[4]["input"]
    assert lines(found(from_records(rows))["echo-target"]) == [5]
    copying = [{"input": text(n), "output": text(n)} for n in range(40)]
    assert "echo-target" not in found(from_records(copying))


def test_variety_is_described_and_a_giant_is_named():
    """Many kinds are counted; one kind that is nearly everything is a finding."""
    varied = [{"input": text(n), "output": f"answer {n}"} for n in range(300)]
    report = check(from_records(varied))
    assert report.diversity.looked_at == 300
    assert sum(cluster.rows for cluster in report.diversity.clusters) == 300
    assert 1 <= report.diversity.effective <= len(report.diversity.clusters)
    assert "low-diversity" not in {finding.code for finding in report.findings}
    same = [
        {"input": f"please reset my password now, ticket {'abcdefghij'[n % 10] * 3}", "output": f"answer {n}"}
        for n in range(270)
    ]
    findings = found(from_records([*same, *varied[:30]]), near=None)
    assert "password" in findings["low-diversity"].message


def test_the_order_of_rows_does_not_matter():
    """Sampling is by content, so a shuffled data set gives the same codes and counts."""
    rows = [{"input": text(n % 250), "output": "abc"[n % 3]} for n in range(300)]
    first = check(from_records(rows))
    random.Random(1).shuffle(rows)
    second = check(from_records(rows))
    assert {(each.code, each.count) for each in first.findings} == {(each.code, each.count) for each in second.findings}
    assert first.languages == second.languages


def test_production_that_training_does_not_cover(shared):
    """The same kind of traffic is no finding; another kind is one, in both directions, with the rows."""
    lines_of = (shared / "intent_banking77" / "test.jsonl").read_bytes().splitlines()
    banking = [json.loads(line)["text"] for line in lines_of]
    chance = random.Random(3)
    chance.shuffle(banking)
    train = from_records([{"input": each, "output": "x"} for each in banking[:1500]])
    assert not {"unlike-production", "production-not-covered"} & set(found(train, production=banking[1500:]))
    movies = [f"which {word} film with {other} shall I watch tonight" for word in WORDS for other in WORDS]
    findings = found(train, production=[*banking[1500:1700], *movies])
    assert findings["production-not-covered"].severity == "warning"
    mixed = from_records([{"input": each, "output": "x"} for each in [*banking[:500], *movies]])
    odd = found(mixed, production=banking[1500:])["unlike-production"]
    assert sum(line > 500 for line in lines(odd)) > 0.8 * len(lines(odd))
    assert "production-too-few" in found(train, production=banking[:10])


def test_leaks_from_another_file(file):
    """Rows of the file that are in another one, exactly or nearly."""
    train = [{"input": text(n), "output": "ab"[n % 2]} for n in range(60)]
    long = "I would like to know why my card was declined in the shop this morning"
    train += [{"input": long, "output": "a"}]
    other = [{"input": train[4]["input"].upper(), "output": "b"}, {"input": long + " please", "output": "a"}]
    report = check_file(file(train), leak_from=file(other, "test.jsonl"))
    findings = {finding.code: finding for finding in report.findings}
    assert lines(findings["leak-exact"]) == [5]
    assert lines(findings["leak-near"]) == [61]
    assert report.leaks == {"exact": 1, "near": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sample.txt", "how do I pay\n\nwhere is my card\n"),
        ("sample.csv", "input,when\nhow do I pay,1\nwhere is my card,2\n"),
        ("sample.jsonl", [{"input": "how do I pay"}, {"input": "where is my card"}]),
        ("openai.jsonl", [
            {"messages": [{"role": "user", "content": "how do I pay"}]},
            {"messages": [{"role": "user", "content": "where is my card"}]},
        ]),
        ("gemini.jsonl", [
            {"contents": [{"role": "user", "parts": [{"text": "how do I pay"}]}]},
            {"contents": [{"role": "user", "parts": [{"text": "where is my card"}]}]},
        ]),
    ],
)  # fmt: skip
def test_production_files_need_no_answers(file, name, content):
    """Texts, rows without an answer and conversations that end with the user are all traffic."""
    from gemini_tuning.data.checks.check import read_texts

    assert read_texts(file(content, name)) == ["how do I pay", "where is my card"]
    with pytest.raises(DataError, match="no text"):
        read_texts(file([{"other": 1}], "none.jsonl"))


def test_a_report_is_json(file):
    """The whole report crosses a process, and says whether it is fine."""
    report = check_file(file([{"input": text(n), "output": "ab"[n % 2]} for n in range(60)] + ["not json"]))
    data = json.loads(report.to_json())
    assert data["ok"] is False
    assert data["broken"] == 1
    assert DataReport.from_json(report.to_json()) == report


@given(st.lists(st.text("ab \x00\x01\u0100\u4e2d\ufeff", max_size=12), max_size=20))
def test_a_joined_scan_finds_what_each_text_holds(texts):
    """One scan over all texts gives the matches of every single one."""
    pattern, first = re.compile("[\x00-\x08\u0100-\uffff]{2}|\ufeff"), re.compile("[\x00-\x08\u0100-\uffff]")
    alone = [(row, match.group()) for row, each in enumerate(texts) for match in pattern.finditer(each)]
    assert [(row, match.group()) for row, match in find_in(texts, pattern, first)] == alone


def test_the_published_samples_of_google_are_not_refused(shared):
    """Each sample of Google's documentation passes without a stop."""
    for path in sorted((shared / "format_samples" / "gemini_docs").glob("*.jsonl")):
        if path.name != "index.jsonl":
            stops = [each for each in check_file(path).findings if each.severity == "stop"]
            # Placeholders such as gs://<path to the file> are the page's own.
            assert [each.code for each in stops] in ([], ["file-uri"]), path.name


@pytest.mark.parametrize(
    "part",
    [{"fileData": "x"}, {"inlineData": 5}, {"functionCall": "x"}, {"functionCall": {"name": 5}},
     {"functionCall": {"name": "f", "args": []}}],
)  # fmt: skip
def test_parts_that_are_no_objects_are_refused(part):
    """Such a row would crash whoever reads it next."""
    with pytest.raises(DataError):
        from_records([gemini(("user", [{"text": "a"}]), ("model", [part]))])


@pytest.mark.parametrize("tools", [-1, ["f"], [{"name": 5}], [{"name": "f", "parameters": "x"}]])
def test_tools_that_are_no_declarations_are_refused(tools):
    """The same for tools."""
    with pytest.raises(DataError):
        from_records([gemini(USER, ("model", [{"text": "a"}]), tools=tools)])


@pytest.mark.parametrize("mark", [False, 0, "False", "0"])
def test_answers_marked_as_not_wanted_are_not_trained_on(mark):
    """Unpaired preference rows, however the mark is written."""
    with pytest.raises(DataError, match="not wanted"):
        from_records([{"prompt": "q", "completion": "bad", "label": mark}])


def test_the_last_words_of_conversations_are_no_classes():
    """Goodbyes repeat; that does not make a classification of it."""
    talk = [
        gemini(("user", [{"text": text(n)}]), ("model", [{"text": "which one"}]), ("user", [{"text": "that"}]),
               ("model", [{"text": ["bye", "goodbye", "see you"][n % 3]}]))
        for n in range(60)
    ]  # fmt: skip
    assert not {"rare-labels", "label-suspects", "single-label"} & set(found(from_records(talk)))


@pytest.mark.parametrize(
    "arguments", [{"leak_from": [{"input": "a"}]}, {"production": 5}, {"production": [1]}, {"production": "a"}]
)
def test_other_data_of_a_wrong_type_are_refused(arguments):
    """With what was expected, before any work."""
    with pytest.raises(PlanError):
        check(from_records([{"input": text(n), "output": "a"} for n in range(60)]), **arguments)


def test_reports_cannot_move_the_cursor_of_a_terminal():
    """Escapes in labels, file names and messages are written out."""
    rows = [{"input": text(n), "output": "a\x1b[31mX"} for n in range(30)]
    dataset = from_records(rows)
    assert "\x1b" not in repr(check(dataset)) + dataset._repr_html_()
    with pytest.raises(DataError) as caught:
        from_records(["\ud800 \x1b[31m"])
    assert "\x1b" not in str(caught.value)
    str(caught.value).encode()
