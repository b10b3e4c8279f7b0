"""Placeholders in the place of personal data, the report without it, and detectors over a real socket."""

import asyncio
import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.data.mending.repair import repair
from gemini_tuning.data.private.detectors import Presidio, presidio
from gemini_tuning.data.private.evidence import redacted_evidence
from gemini_tuning.data.private.finding import find_personal
from gemini_tuning.data.private.redact import check_kinds, redact
from gemini_tuning.data.private.report import PLACES, RedactReport
from gemini_tuning.data.private.spans import Span
from gemini_tuning.data.select import FilterReport
from gemini_tuning.errors import BackendError, DataError, PlanError
from gemini_tuning.plan.curation import Curation, curate
from gemini_tuning.plan.plan import Plan
from gemini_tuning.plan.steps import DedupStep, RedactStep, RepairStep, SplitStep
from gemini_tuning.types import Broken, Completion, Dataset, Example, Location, Part, Turn, text_turn


def one(*texts, **options):
    """The texts of one conversation after redaction, and the report."""
    turns = tuple(text_turn("user" if at % 2 == 0 else "model", text) for at, text in enumerate(texts))
    data, report = redact(Dataset([Example(turns=turns)]), **options)
    return [turn.text for turn in data[0].turns], report


# --- placeholders ----------------------------------------------------------------------------------------------------


def test_one_value_has_one_placeholder_in_its_example_however_it_is_spelled():
    """The case of an email, separators and calling code of a phone, the width of digits; others count up."""
    texts, report = one(
        "I am Jane.Roe@Mail.net, (415) 555-2671, card 4111-1111-1111-1111",
        "jane.roe@mail.net? And +1 415.555.2671?",
        "Also bob@mail.net, 4111 1111 1111 1111 and ４１１１１１１１１１１１１１１１",
        "ok",
    )
    assert texts == [
        "I am <EMAIL_1>, <PHONE_1>, card <CARD_1>", "<EMAIL_1>? And <PHONE_1>?", "Also <EMAIL_2>, <CARD_1> and <CARD_1>", "ok",
    ]  # fmt: skip
    assert report.kinds == {"card": 3, "email": 3, "phone": 2}
    assert report.counts["email"] == {"contents": 2, "input": 1}


def test_a_chinese_phone_is_one_with_and_without_its_calling_code():
    """+86 and separators are spelling."""
    texts, _ = one("手机13812345678", "+86 138 1234 5678，0086-138-1234-5678")
    assert texts == ["手机<PHONE_1>", "<PHONE_1>，<PHONE_1>"]


def test_numbers_start_again_in_each_example():
    """A placeholder is no name that is followed across the data."""
    data, _ = redact(Dataset([Example.of("a1@b.co", "x"), Example.of("c2@d.co", "x")]))
    assert [example.input for example in data] == ["<EMAIL_1>", "<EMAIL_1>"]


def test_placeholders_that_are_there_stay_and_their_numbers_are_not_used():
    """Text with <EMAIL_1> from elsewhere is another person."""
    texts, _ = one("<EMAIL_1> wrote to a1@b.co", "<EMAIL_3> and a1@b.co and c2@d.co")
    assert texts == ["<EMAIL_1> wrote to <EMAIL_4>", "<EMAIL_3> and <EMAIL_4> and <EMAIL_5>"]


def test_a_value_known_by_its_context_in_one_place_is_replaced_in_all():
    """The answer repeats the number without the word that told what it is; a longer number is another."""
    texts, report = one("My phone is 4155552671", "I noted 4155552671, not 41555526719.")
    assert texts == ["My phone is <PHONE_1>", "I noted <PHONE_1>, not 41555526719."]
    assert report.total == 2


def test_every_text_of_an_example_is_looked_at():
    """System, tools, calls, responses, completions, references, other columns with names and numbers; not bytes."""
    call = (
        '{"functionCall":{"args":{"phone":13812345678,"to":["a1@b.co"],"x":{"a1@b.co":1,"A1@b.co":2}},"name":"send"}}'
    )
    image = '{"inlineData":{"data":"a1@b.co","mimeType":"image/png"}}'
    example = Example(
        turns=(
            Turn("user", (Part(text="mail A1@B.co"), Part(other=image))),
            Turn("model", (Part(other=call),)),
            Turn("", (Part(other='{"functionResponse":{"name":"send","response":{"sent":"a1@b.co"}}}'),)),
            text_turn("model", "sent to a1@b.co"),
        ),
        system="You serve c2@d.co",
        tools='[{"functionDeclarations":[{"description":"ask c2@d.co","name":"send"}]}]',
        completions=(Completion(1.0, text_turn("model", "a1@b.co")),),
        references='{"answer":"a1@b.co"}',
        meta={"agent": "c2@d.co", "ids": [13812345678, 7, True, None, 1.5], "deep": {"k": "a1@b.co"}},
        where=Location("x.jsonl", 4),
    )
    data, report = redact(Dataset([example]))
    new = data[0]
    assert new.system == "You serve <EMAIL_1>"
    assert json.loads(new.tools)[0]["functionDeclarations"][0]["description"] == "ask <EMAIL_1>"
    assert new.turns[0].parts == (Part(text="mail <EMAIL_2>"), Part(other=image))
    args = json.loads(new.turns[1].parts[0].other)["functionCall"]["args"]
    assert args == {"phone": "<PHONE_1>", "to": ["<EMAIL_2>"], "x": {"<EMAIL_2>": 1, "<EMAIL_2>'": 2}}
    assert '"sent":"<EMAIL_2>"' in new.turns[2].parts[0].other
    assert new.output == "sent to <EMAIL_2>"
    assert new.completions[0].turn.text == "<EMAIL_2>"
    assert new.references == '{"answer":"<EMAIL_2>"}'
    assert new.meta == {"agent": "<EMAIL_1>", "ids": ["<PHONE_1>", 7, True, None, 1.5], "deep": {"k": "<EMAIL_2>"}}
    assert (new.origin, new.where) == (Dataset([example])[0].origin, example.where)
    assert report.counts == {
        "email": {"completions": 1, "contents": 4, "input": 1, "meta": 2, "output": 1, "references": 1, "system": 1, "tools": 1},
        "phone": {"contents": 1, "meta": 1},
    }  # fmt: skip
    assert {str(each.where) for each in report.replaced} >= {"x.jsonl, line 4, contents[1]", "x.jsonl, line 4, agent"}


def test_a_text_in_an_instance_instruction_stays_in_it():
    """Augmentation replaces the user's own text inside the instruction, so both must change alike."""
    example = Example.of("Route: my phone is 4155552671", "x")
    data, _ = redact(Dataset([msgspec.structs.replace(example, raw_input="my phone is 4155552671")]))
    assert data[0].raw_input == "my phone is <PHONE_1>"
    assert data[0].raw_input in data[0].turns[0].text


def test_broken_rows_are_redacted_too():
    """Or mending them would bring the values back: JSON stays JSON, other text is redacted as text."""
    broken = [
        Broken(where=Location("x", 1), code="data-role", message="m", raw='{"text": "a1@b.co", "n": 13812345678}'),
        Broken(where=Location("x", 2), code="data-json", message="m", raw='{"text": "a1@b.co", '),
        Broken(where=Location("x", 3), code="data-json", message="m", raw="{ok"),
    ]
    data, report = redact(Dataset([], broken=broken))
    assert json.loads(data.broken[0].raw) == {"text": "<EMAIL_1>", "n": "<PHONE_1>"}
    assert data.broken[1].raw == '{"text": "<EMAIL_1>", '
    assert data.broken[2] == broken[2]
    assert (report.rows, report.changed, report.counts["email"]) == (3, 2, {"broken": 2})


def test_rows_without_anything_are_the_same_objects():
    """Nothing is copied for nothing."""
    before = Dataset([Example.of("hello", "x"), Example.of("a1@b.co", "x")])
    after, report = redact(before)
    assert after[0] is before[0]
    assert (report.rows, report.changed, report.total) == (2, 1, 1)


# --- arguments -------------------------------------------------------------------------------------------------------


def test_only_the_kinds_asked_for():
    """The others stay."""
    texts, _ = one("a1@b.co 13812345678", "x", kinds=["phone"])
    assert texts[0] == "a1@b.co <PHONE_1>"


def test_values_to_keep_stay_in_any_spelling():
    """A value, or every address of a domain."""
    texts, _ = one("help@acme.com, Bob@ACME.com, +86 138-1234-5678, x1@b.co", "x", keep=["@acme.com", "13812345678"])
    assert texts[0] == "help@acme.com, Bob@ACME.com, +86 138-1234-5678, <EMAIL_1>"


@pytest.mark.parametrize(
    ("options", "named"),
    [({"kinds": ["emails"]}, "'emails'"), ({"kinds": "email"}, "a list"), ({"kinds": []}, "kinds=[]"),
     ({"kinds": ["person"]}, "detector="), ({"keep": "a@b.co"}, "keep=['a@b.co']")],
)  # fmt: skip
def test_arguments_that_cannot_work_are_refused(options, named):
    """With what is possible."""
    with pytest.raises(PlanError) as caught:
        redact(Dataset([]), **options)
    assert named in str(caught.value)


def test_kinds_can_be_checked_before_any_data_is_there():
    """For plans."""
    assert check_kinds(None) is None
    assert check_kinds(["email", "person"], presidio()) == {"email", "person"}
    with pytest.raises(PlanError):
        check_kinds(["Person!"], presidio())


# --- the report ------------------------------------------------------------------------------------------------------


def test_a_changed_class_is_reported():
    """A label with an address in it is no class any more."""
    rows = [Example.of(f"q{at}", "team@b.co" if at % 2 else "sales", where=Location("x", at)) for at in range(8)]
    _, report = redact(Dataset(rows))
    (finding,) = report.findings
    assert (finding.code, finding.severity, finding.count) == ("redact-label", "warning", 4)
    assert str(finding.where[0]) == "x, line 1, output"
    assert "team" not in repr(report) + report._repr_html_()
    free = [Example.of(f"q{at}", f"write to a{at}@b.co, please, and wait for what they answer") for at in range(8)]
    assert redact(Dataset(free))[1].findings == ()


def test_reports_of_parts_become_one():
    """Counts add up, places follow each other, findings of one code are one."""
    rows = [Example.of(f"q{at} 13812345678", "team@b.co") for at in range(4)]
    parts = [redact(Dataset(rows))[1] for _ in range(2)]
    merged = RedactReport.merged(parts)
    assert (merged.rows, merged.changed, merged.total) == (8, 8, 16)
    assert merged.counts == {"email": {"output": 8}, "phone": {"input": 8}}
    assert len(merged.replaced) == 16
    assert [finding.count for finding in merged.findings] == [8]
    assert RedactReport.merged([]) == RedactReport(rows=0, changed=0)


def test_the_report_is_bounded_and_can_be_written_and_read():
    """10,000 places; the counts are of all."""
    text = " ".join(f"a{at}@b.co" for at in range(PLACES + 5))
    _, report = redact(Dataset([Example.of(text, "x")]))
    assert (len(report.replaced), report.total) == (PLACES, PLACES + 5)
    assert msgspec.json.decode(msgspec.json.encode(report), type=RedactReport) == report
    assert report.to_records()[0] == {"kind": "email", "placeholder": "<EMAIL_1>", "where": "input", "field": "input", "length": 7}  # fmt: skip
    assert "replaced 10,005 values in 1 of 1 rows" in repr(report)
    assert "<table>" in report._repr_html_()


# --- laws ------------------------------------------------------------------------------------------------------------

VALUES = ["jane.roe@mail.net", "JANE.ROE@mail.net", "13812345678", "415-555-2671", "4111 1111 1111 1111", "93.184.216.34",
          "GB82WEST12345698765432", "11010519491231002X", "AKIAIOSFODNN7ABCDEFG", "password: q7Zk29xL"]  # fmt: skip
pieces = st.one_of(
    st.sampled_from(VALUES), st.sampled_from(["<EMAIL_1>", "<PHONE_2>", "@", "://", ":", "phone is ", "4155552671", "a"]),
    st.text(st.sampled_from("1230. -+@:aZ<>一，：/()\n_é"), max_size=8),
)  # fmt: skip
texts = st.lists(pieces, max_size=6).map("".join)


@given(st.lists(texts, min_size=2, max_size=5), st.dictionaries(st.sampled_from("abc"), texts))
def test_doing_it_again_changes_nothing_and_nothing_stays_to_be_found(turns, meta):
    """Also where taking out one value brings its neighbours together."""
    example = Example(
        turns=tuple(text_turn("user" if at % 2 else "model", text) for at, text in enumerate(turns)), meta=meta
    )
    once, report = redact(Dataset([example]))
    twice, again = redact(once)
    assert twice.examples == once.examples
    assert again.total == 0
    assert report.changed == (once.examples != Dataset([example]).examples)
    for text in [turn.text for turn in once[0].turns] + list(once[0].meta.values()):
        left = find_personal(text)
        assert all("<" in text[max(0, span.start - 1) : span.end + 1] for span in left)


@given(texts, texts)
def test_text_outside_the_values_is_unchanged(first, second):
    """What stands between the placeholders is what stood between the values, in order."""
    changed, _ = one(first, second)
    for old, new in zip((first, second), changed, strict=True):
        at = 0
        for piece in re.split(r"<[A-Z_]+_[0-9]+>", new):
            at = old.index(piece, at) + len(piece)
    assert changed[0] == first or "<" in changed[0]


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=4), st.sampled_from(["，", " ", "\n", "。"]))
def test_no_value_is_left_in_the_data_or_in_the_report(values, between):
    """Not in any field, any finding or any spelling of the report."""
    text = between.join(values)
    rows = [Example.of(text, values[0], meta={"col": text}, where=Location("x", at)) for at in range(4)]
    data, report = redact(Dataset(rows, broken=[Broken(where=Location("x", 9), code="c", message="m", raw=text)]))
    shown = "".join([
        msgspec.json.encode((data.examples, data.broken)).decode(), msgspec.json.encode(report).decode(), repr(report),
        report._repr_html_(), repr(report.to_records()),
    ])  # fmt: skip
    for value in values:
        assert value.removeprefix("password: ").casefold() not in shown.casefold()


@given(st.permutations(range(6)))
def test_the_order_of_the_rows_does_not_matter(order):
    """Each row by itself."""
    rows = [Example.of(f"{VALUES[at]} and {VALUES[-1 - at]}", "x") for at in range(6)]
    plain, report = redact(Dataset(rows))
    mixed, other = redact(Dataset([rows[at] for at in order]))
    assert [mixed[order.index(at)].input for at in range(6)] == [example.input for example in plain]
    assert other.counts == report.counts


# --- detectors -------------------------------------------------------------------------------------------------------


class Names:
    """A detector of the user's own."""

    name, version = "names", "3"

    def __init__(self, *names, shift=0, kind="person", drop=0):
        self.names, self.shift, self.kind, self.drop, self.asked = names, shift, kind, drop, []

    def detect(self, texts):
        self.asked += texts
        rows = [
            [
                Span(text.index(name) + self.shift, text.index(name) + len(name) + self.shift, self.kind)
                for name in self.names if name in text
            ]
            for text in texts
        ]  # fmt: skip
        return rows[: len(rows) - self.drop]


def test_what_a_detector_finds_is_replaced_with_what_is_found_here():
    """A name and its repetition, the longer of two finds, a placeholder never; each text is asked about once."""
    detector = Names("Jane Roe", "jane.roe", "王芳", "EMAIL")
    texts, report = one(
        "I am Jane Roe (jane.roe@mail.net), 王芳的朋友, <EMAIL_7>", "Hi Jane Roe", "Jane Roe's and Jane Roes", "Hi Jane Roe", detector=detector
    )  # fmt: skip
    assert texts == [
        "I am <PERSON_1> (<EMAIL_8>), <PERSON_2>的朋友, <EMAIL_7>", "Hi <PERSON_1>", "<PERSON_1>'s and Jane Roes", "Hi <PERSON_1>",
    ]  # fmt: skip
    assert report.detector == "names 3"
    assert len(detector.asked) == len(set(detector.asked)) == 3
    assert one("Jane Roe a1@b.co", "x", detector=detector, kinds=["person"])[0][0] == "<PERSON_1> a1@b.co"


@pytest.mark.parametrize("detector", [Names("abc", shift=90), Names("abc", kind="Per son"), Names("abc", drop=1)])
def test_a_detector_whose_answer_does_not_fit_is_refused(detector):
    """Wrong offsets would cut other words out."""
    with pytest.raises(DataError) as caught:
        one("abc secretword", "abc", detector=detector)
    assert caught.value.code == "data-detector"
    assert "secretword" not in str(caught.value)


# --- Presidio over a real socket -------------------------------------------------------------------------------------


@contextmanager
def analyzer(answer):
    """A stand-in for presidio-analyzer: `answer(request, number of the call)` gives (status, body)."""
    calls, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        busy = most = 0

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                calls.append((self.path, body))
                number = len(calls)
                Handler.busy += 1
                Handler.most = max(Handler.most, Handler.busy)
            try:
                try:
                    status, content = answer(body, number)
                finally:
                    with lock:  # before the reply: the client may send the next request as soon as it has it
                        Handler.busy -= 1
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client gave up

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.calls, server.handler = calls, Handler
    server.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def names(body, _=0):
    """What presidio-analyzer answers: finds in code points, with more fields than are needed, overlapping."""
    found = []
    for name, entity, score in (("Jane Roe", "PERSON", 0.85), ("Jane", "PERSON", 0.6), ("a1@b.co", "EMAIL_ADDRESS", 1.0),
                                ("b.co", "URL", 0.5), ("Roe", "LOCATION", 0.2)):  # fmt: skip
        at = body["text"].find(name)
        if at >= 0:
            found.append(
                {
                    "entity_type": entity,
                    "start": at,
                    "end": at + len(name),
                    "score": score,
                    "analysis_explanation": None,
                }
            )
    return 200, found


def test_presidio_is_asked_as_it_wants_and_its_finds_are_used():
    """One request a distinct text, with language, entities and threshold; offsets are code points."""
    with analyzer(names) as server:
        detector = presidio(server.url + "/", language="en", entities=["PERSON", "EMAIL_ADDRESS"], score=0.4)
        texts, report = one("🙂é Jane Roe, a1@b.co", "Dear Jane Roe", "Jane Roe", "   ", detector=detector)
    assert texts == ["🙂é <PERSON_1>, <EMAIL_1>", "Dear <PERSON_1>", "<PERSON_1>", "   "]
    assert report.detector == "presidio 1"
    assert {path for path, _ in server.calls} == {"/analyze"}
    assert sorted(body["text"] for _, body in server.calls) == ["Dear Jane Roe", "Jane Roe", "🙂é Jane Roe, a1@b.co"]
    assert server.calls[0][1] | {"text": ""} == {
        "text": "", "language": "en", "entities": ["PERSON", "EMAIL_ADDRESS"], "score_threshold": 0.4,
    }  # fmt: skip


def test_finds_below_the_score_are_left_out_and_all_entities_are_asked_for_by_default():
    """Even where a server does not look at the threshold."""
    with analyzer(names) as server:
        (spans,) = presidio(server.url).detect(["Jane Roe"])
    assert set(spans) == {Span(0, 8, "person"), Span(0, 4, "person")}
    assert "entities" not in server.calls[0][1]


def test_requests_are_bounded_and_in_order():
    """Never more at once than asked for; the answers belong to their texts."""

    def slow(body, _):
        time.sleep(0.002)
        return 200, [{"entity_type": "N", "start": 0, "end": len(body["text"]), "score": 1}]

    with analyzer(slow) as server:
        sent = ["x" * (1 + at) for at in range(40)]
        spans = presidio(server.url, concurrency=3).detect(sent)
    assert [row[0].end for row in spans] == [len(text) for text in sent]
    assert 1 < server.handler.most <= 3


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_analyzer_is_asked_again(status):
    """One refusal that may pass."""
    with analyzer(lambda body, n: (status, b"busy") if n == 1 else names(body)) as server:
        assert presidio(server.url).detect(["Jane Roe"])[0]
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error": "No matching recognizers for Jane Roe"}),
        (400, b"Jane Roe"),
        (302, b""),
        (200, b"<html>Jane Roe"),
        (200, {"error": "Jane Roe"}),
        (200, [{"entity_type": "PERSON", "start": 0}]),
        (200, [{"entity_type": "PERSON", "start": 0, "end": 99, "score": 1}]),
        (200, [{"entity_type": "PERSON", "start": -1, "end": 2, "score": 1}]),
        (200, [{"entity_type": "PERSON", "start": 3, "end": 3, "score": 1}]),
        (200, [{"entity_type": "PERSON", "start": True, "end": 2, "score": 1}]),
        (200, ["Jane Roe"]),
        (200, b"[" * 100_000),
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_used_is_an_error_at_once_without_the_text(answer):
    """Not asked again, nothing guessed, and nothing of the text in the message."""
    with analyzer(lambda body, n: answer) as server, pytest.raises(BackendError) as caught:
        presidio(server.url).detect(["Jane Roe"])
    assert caught.value.code == "backend-presidio"
    assert "Jane" not in str(caught.value)
    assert len(server.calls) == 1


def test_an_analyzer_that_hangs_or_is_not_there_is_an_error(monkeypatch):
    """After its timeout, and after the attempts."""
    from gemini_tuning.backend import presidio as room
    from gemini_tuning.backend.retry import Policy

    monkeypatch.setattr(room, "_POLICY", Policy(attempts=2, total=5.0, first=0.01))
    release = threading.Event()

    def hang(body, n):
        release.wait(20)
        return 200, []

    with analyzer(hang) as server:
        with pytest.raises(BackendError, match="no answer in time"):
            presidio(server.url, timeout=0.2).detect(["Jane Roe"])
        assert len(server.calls) == 2
        release.set()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(BackendError, match="cannot be reached") as caught:
            presidio(f"http://127.0.0.1:{free.getsockname()[1]}").detect(["Jane Roe"])
    assert "docker run" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "named"),
    [({"url": "http://presidio.internal:5002"}, "https"), ({"url": "ftp://localhost"}, "address"),
     ({"url": "localhost:5002"}, "address"), ({"url": "https://a:b@host"}, "login"), ({"url": "http://[::1"}, "address"),
     ({"score": 2}, "score=2"), ({"entities": []}, "entities"), ({"concurrency": 0}, "concurrency=0"),
     ({"timeout": 0}, "timeout=0"), ({"language": ""}, "language=''")],
    ids=str,
)  # fmt: skip
def test_a_presidio_that_cannot_work_is_refused(options, named):
    """Texts go to this machine or over https, unless told."""
    with pytest.raises(PlanError) as caught:
        presidio(**options)
    assert named in str(caught.value)
    with pytest.raises(pydantic.ValidationError):
        Presidio(**options)
    assert presidio("http://presidio.internal:5002", allow_http=True).url == "http://presidio.internal:5002"


def test_presidio_is_a_value_of_a_plan():
    """Frozen, equal by content, its JSON read back is itself."""
    detector = presidio("https://presidio.internal", entities=["PERSON"])
    assert Presidio.model_validate_json(detector.model_dump_json()) == detector
    assert hash(detector) == hash(presidio("https://presidio.internal", entities=["PERSON"]))
    assert json.loads(detector.model_dump_json())["kind"] == "presidio"
    with pytest.raises(pydantic.ValidationError):
        detector.url = "https://other"


# --- broken rows, and mending them -----------------------------------------------------------------------------------


def broken_row(raw, message="m", **more):
    return Broken(
        where=Location("x.jsonl", 1, more.pop("field", None)), code="data-json", message=message, raw=raw, **more
    )


def everything(*values):
    """All that is stored or shown of these."""
    return "".join(msgspec.json.encode(value).decode() + repr(value) for value in values)


FORMS = {
    "two rows": '{"input":"x bob@corp.com","output":"a"}{"input":"y amy\\u0040corp.com","output":"b"}',
    "comma inside": '{"input":"x bob@corp.com","output":"amy\\u0040corp.com",}',
    "comma beside": '{"input":"x bob@corp.com","output":"amy\\u0040corp.com"},',
    "array": '[{"input":"x bob@corp.com","output":"a"},{"input":"amy\\u0040corp.com","output":"b"}]',
    "array of one": '[{"input":"x bob@corp.com","output":"amy\\u0040corp.com"},]',
    "control": '{"input":"x\tbob@corp.com","output":"amy\\u0040corp.com"}',
    "mark": '\ufeff{"input":"x bob@corp.com","output":"amy\\u0040corp.com"}',
}


@pytest.mark.parametrize("raw", FORMS.values(), ids=FORMS)
def test_mending_brings_no_value_back_and_mends_as_many_rows_as_before(raw):
    """The raw text is read as mending reads it: escapes decoded, row by row."""
    before, _ = repair(Dataset([], broken=[broken_row(raw)]))
    data, report = redact(Dataset([], broken=[broken_row(raw)]))
    after, mended = repair(data)
    assert report.kinds == {"email": 2}
    assert len(after) == len(before) > 0
    assert not after.broken
    shown = everything(data.broken, report, after.examples, mended)
    assert "corp.com" not in shown
    assert "<EMAIL_1>" in everything(after.examples)
    assert redact(data)[0].broken == data.broken


@given(
    st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["", ",", "\n"]),
)
def test_what_mending_reads_out_of_a_redacted_row_holds_nothing_to_be_found(rows, ascii_only, between):
    """Whatever the rows say, however they are escaped and stand together."""
    written = [json.dumps({"input": asked, "output": answer}, ensure_ascii=ascii_only) for asked, answer in rows]
    escaped = between.join(written).replace("@", "\\u0040") + ","
    data, _ = redact(Dataset([], broken=[broken_row(escaped)]))
    mended, _ = repair(data)
    assert redact(mended)[1].total == 0
    assert len(mended) == len(repair(Dataset([], broken=[broken_row(escaped)]))[0])


@pytest.mark.parametrize(
    "raw",
    ['{"input":"amy\\u0040corp.com","output":"b"', '{"a":"amy\\u0040corp.com","a":1}', '{"input":"x\\n13812345678',
     '{"args":"{\\"to\\":\\"amy\\\\u0040corp.com\\"}"}'],
    ids=["cut", "key twice", "line break", "JSON in JSON"],
)  # fmt: skip
def test_a_raw_text_in_which_escapes_hide_a_value_is_not_kept(raw):
    """Where no row can be read, or a text has JSON in it: whoever decodes it would have the value."""
    data, report = redact(Dataset([], broken=[broken_row(raw)]))
    (row,) = data.broken
    assert (row.raw, row.text, row.message) == ("", False, "m")
    assert (report.changed, report.total, report.replaced[0].placeholder) == (1, 1, "")


def test_both_values_of_a_key_that_is_twice_are_redacted():
    """The first is not in the value that a parser gives."""
    data, _ = redact(Dataset([], broken=[broken_row('{"a": "bob@corp.com", "a": 1}')]))
    assert data.broken[0].raw == '{"a": "<EMAIL_1>", "a": 1}'


def test_escapes_that_hide_nothing_stay():
    """A path, a line break, a value that is to be kept."""
    rows = [broken_row('{"a": "C:\\\\users\\n\\u0041"'), broken_row('{"a": "amy\\u0040corp.com"')]
    assert redact(Dataset([], broken=rows), keep=["@corp.com"])[0].broken == tuple(rows)


def test_the_reason_of_a_broken_row_is_redacted():
    """It may quote a value, whole or its beginning, and a field may be named by one."""
    message = "expected an object, found [\"secret bob@corp.com\", 1] and 'card 4111 1111 1111 11'"
    row = broken_row(
        '["bob@corp.com", "card 4111 1111 1111 1111"]', message, hint="not bob@corp.com", field="bob@corp.com"
    )
    (new,) = redact(Dataset([], broken=[row]))[0].broken
    assert new.message == "expected an object, found [\"secret <EMAIL_1>\", 1] and 'card <CARD_1>'"
    assert (new.hint, new.where) == ("not <EMAIL_1>", Location("x.jsonl", 1, "<EMAIL_1>"))


# --- the evidence of earlier steps -----------------------------------------------------------------------------------


def curated(plan, data):
    return asyncio.run(curate(plan, data, key="k", caller=None))


def planted():
    """Rows whose repair, deduplication and division all report values."""
    rows = [
        Example.of(f"q{at} bob@corp.com", "team@corp.com" if at % 2 else "sales", where=Location("x", at))
        for at in range(40)
    ]
    rows += [Example.of("card 4111 1111 1111 1111", "sales", where=Location("x", 50 + at)) for at in range(3)]
    broken = [
        broken_row(FORMS["two rows"]),
        broken_row('{"input":"amy\\u0040corp.com","output":"b"', "found 'bob@corp.com'"),
        broken_row('{"input":"' + "long " * 30 + 'amy\\u0040corp.com","output":"b",}'),
        broken_row('{"messages":[{"role":"user","content":"bob@corp.com"},{"role":"assistant","content":"a"}]}'),
    ]
    return Dataset(rows, broken=broken)


@pytest.mark.parametrize("unfixable", ["refuse", "drop"])
def test_no_report_of_an_earlier_step_keeps_what_is_redacted(unfixable):
    """Repairs tell what stood before, duplicates are whole rows, labels name classes: all of it is stored."""
    steps = (RepairStep(unfixable=unfixable), DedupStep(), SplitStep(), RedactStep())
    found = curated(Plan(name="p", model="gemini-2.5-flash", steps=steps), planted())
    stored = found.to_json()
    shown = stored.decode() + everything(found.broken, *found.reports) + repr(found) + found._repr_html_()
    for value in ("corp.com", "4111"):
        assert value not in shown
    repaired, deduplicated, divided, _ = found.reports
    assert (len(repaired.changes) > 0, len(deduplicated.dropped)) == (True, 2)
    assert deduplicated.dropped[0].example.input == "card <CARD_1>"
    assert set(divided.labels) >= {"sales", "<EMAIL_1>"}
    assert Curation.from_json(stored).stages == found.stages
    plain = curated(Plan(name="p", model="gemini-2.5-flash", steps=steps[:-1]), planted())
    assert "corp.com" in everything(*plain.reports)
    assert [type(report) for report in plain.reports] == [type(report) for report in found.reports[:-1]]
    assert [len(report.to_records()) for report in plain.reports] == [
        len(each.to_records()) for each in found.reports[:-1]
    ]


def test_evidence_keeps_digests_places_and_what_is_to_be_kept():
    """Only texts change."""
    example = Example.of("bob@corp.com", "x", where=Location("bob@corp.com.csv", 3), meta={"n": 13812345678})
    report = FilterReport(kept=1, dropped=(example,))
    (new,) = redacted_evidence([report], kinds=["email", "person"])[0].dropped
    assert (new.input, new.where, new.meta) == ("<EMAIL_1>", example.where, example.meta)
    assert redacted_evidence(report, keep=["@corp.com"], kinds=["email"]).dropped[0].input == "bob@corp.com"
    assert redacted_evidence(report, kinds=["person"]) is report
