"""What is found as personal in texts, and what is not."""

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.data import read
from gemini_tuning.data.private.finding import find_personal, fold_ascii, personal_findings, resolve, scan
from gemini_tuning.data.private.spans import KINDS, Span
from gemini_tuning.types import Completion, Example, Location, Part, Turn, text_turn


def found(text, **options):
    return [(span.kind, text[span.start : span.end]) for span in find_personal(text, **options)]


# --- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("email", "Jane.Roe+x@mail.co.uk", "write to Jane.Roe+x@mail.co.uk."),
        ("email", "zhang_3@qq.com", "邮箱zhang_3@qq.com谢谢"),
        ("email", "josé@müller.de", "an josé@müller.de, bitte"),
        ("email", "ｊａｎｅ＠ｑｑ．ｃｏｍ", "ｊａｎｅ＠ｑｑ．ｃｏｍ"),
        ("phone", "+49 30 901820", "ring +49 30 901820 now"),
        ("phone", "+44 (0)20 7946 0958", "at +44 (0)20 7946 0958"),
        ("phone", "+1 415-563-0800", "at +1 415-563-0800."),
        ("phone", "(415) 555-2671", "call (415) 555-2671"),
        ("phone", "415.555.2671", "415.555.2671"),
        ("phone", "1-800-799-7233", "the hotline (1-800-799-7233)"),
        ("phone", "415–555–2671", "en dashes: 415–555–2671"),
        ("phone", "13812345678", "我的手机号13812345678，请联系"),
        ("phone", "138 1234 5678", "打138 1234 5678"),
        ("phone", "+86-138-1234-5678", "+86-138-1234-5678"),
        ("phone", "8613812345678", "8613812345678"),
        ("phone", "１３８１２３４５６７８", "全角１３８１２３４５６７８。"),
        ("phone", "010-85007428", "当然了，电话是010-85007428，这里"),
        ("phone", "4155552671", "my phone number is 4155552671"),
        ("phone", "4155552671", "{'phone': '4155552671'}"),
        ("card", "4111 1111 1111 1111", "card 4111 1111 1111 1111 12/25"),
        ("card", "378282246310005", "amex 378282246310005!"),
        ("card", "3782 822463 10005", "amex 3782 822463 10005"),
        ("card", "6200000000000000000", "卡号6200000000000000000。"),
        ("iban", "GB82 WEST 1234 5698 7654 32", "to GB82 WEST 1234 5698 7654 32 today"),
        ("iban", "de89370400440532013000", "iban:de89370400440532013000"),
        ("resident_id", "11010519491231002X", "身份证号11010519491231002X"),
        ("resident_id", "110105 19491231 002x", "id 110105 19491231 002x"),
        ("ssn", "219-09-9999", "my SSN is 219-09-9999"),
        ("ip", "93.184.216.34", "from http://93.184.216.34:8080/"),
        ("ip", "2001:4860:4860::8888", "[2001:4860:4860::8888]"),
        ("secret", "AKIAIOSFODNN7ABCDEFG", "key AKIAIOSFODNN7ABCDEFG"),
        ("secret", "AIza" + "a1B2c" * 7, "AIza" + "a1B2c" * 7),
        ("secret", "ghp_" + "a1B2" * 9, "token ghp_" + "a1B2" * 9 + "."),
        ("secret", "github_pat_" + "a1B2" * 9, "github_pat_" + "a1B2" * 9),
        ("secret", "sk-proj-" + "a1B2" * 6, "OPENAI=sk-proj-" + "a1B2" * 6),
        ("secret", "xoxb-123456789012-abcdefghijk4", "xoxb-123456789012-abcdefghijk4"),
        ("secret", "sk_live_" + "a1B2" * 5, "sk_live_" + "a1B2" * 5),
        ("secret", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-1", "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-1"),
        ("secret", "bob:s3cr9tpw", "git clone https://bob:s3cr9tpw@host.org/x"),
        ("secret", "aB3#fG7!kL9@", '{"password": "aB3#fG7!kL9@"}'),
        ("secret", "hunter2024x", "My password is hunter2024x."),
        ("secret", "abc12345x", "密码是abc12345x。"),
        ("secret", "q7Zk29xLm3Vt8Rw1", "API_KEY = q7Zk29xLm3Vt8Rw1"),
        ("secret", "q7Zk29xLm3Vt8Rw1", "Authorization: Bearer q7Zk29xLm3Vt8Rw1"),
    ],
)
def test_a_value_is_found_alone_and_whole(kind, value, text):
    """Exactly the value, with its kind, in its usual surroundings."""
    assert found(text) == [(kind, value)]
    assert found(text, kinds=[kind]) == [(kind, value)]
    assert found(text, kinds=[other for other in KINDS if other != kind and other not in ("email", "phone")]) == []


def test_a_private_key_is_found_from_its_first_line_to_its_last():
    """Also when its last line was cut off."""
    body = "MIIEowIBAAKCAQEA7bq9\nQ2hSk3VtR8w1Lm\n"
    block = f"-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----"
    assert found(f"see:\n{block}\nbye") == [("secret", block)]
    assert found(f"see:\n{block[:60]}") == [("secret", block[:60])]
    assert found(block.replace("PRIVATE", "PUBLIC")) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2019-01-02 12:30:45, 2015.10.17, 05/12/2021, 1901-2000, 700-1000",
        "3.14159265358979, 22.388059701492537, 0.4111111111111111, 1,234,567,890",
        "订单号20190102123045678，票房757930663",
        "version 10.12.11.14, v93.184.216.34, Chrome/91.0.44.124, section 3.1.2.4",
        "127.0.0.1 0.0.0.0 192.168.1.10 10.0.0.1 203.0.113.9 8.8.8.8",
        "::1 fe80::1 2001:db8::1 std::vector 12:30:45",
        "timestamp 1609459200 and 1609459200123",
        "550e8400-e29b-41d4-a716-446655440000",
        "219-09-9999 is not said to be one",
        "icon@2x.png, lodash@4.17.21, @realDonaldTrump, user@localhost, me@example.com, x@y.test",
        "git@github.com:owner/name.git",
        "4111 1111 1111 1112, 11010519491231002X1, 110105194912310021, GB83WEST12345698765432",
        "sk-learn-is-a-long-name-of-a-library-2, my key: bert-base-uncased",
        "password: password1234, api_key=YOUR_API_KEY_12345678, password = os.environ['PASS1234']",
        "password=hash_function2(x), token: transformers",
        "ISBN 978-3-16-148410-0, room 12-34-56",
    ],
)
def test_what_is_no_ones_is_not_found(text):
    """Dates, amounts, versions, documents' addresses, private networks, samples of passwords, wrong checksums."""
    assert found(text) == []


def test_the_longer_find_stands():
    """A card with a phone inside, a login with an email inside: one span each."""
    assert found("https://a:p1x@b.co/ and tel 4111111111111111") == [("secret", "a:p1x"), ("card", "4111111111111111")]
    # Both an id of Gansu and a number with the prefix of a card.
    assert resolve([Span(0, 18, "card"), Span(0, 18, "resident_id"), Span(3, 9, "phone")]) == [
        Span(0, 18, "resident_id")
    ]


# --- laws ------------------------------------------------------------------------------------------------------------

around = st.text(st.sampled_from("的一是，。、：（）！ \t\n,;:!?()[]{}<>'\"|~*=#abcXYZé🙂"), max_size=12)


def luhn(prefix, length, random_):
    body = prefix + "".join(random_.choices(string.digits, k=length - len(prefix) - 1))
    return next(body + digit for digit in string.digits if _luhn_sum(body + digit) % 10 == 0)


def _luhn_sum(number):
    """The textbook way: from the right, every second digit doubled, digits of the products added."""
    total = 0
    for at, char in enumerate(reversed(number)):
        value = int(char) * (2 if at % 2 else 1)
        total += value // 10 + value % 10
    return total


def iban(country, body):
    for check in range(2, 99):
        number = f"{country}{check:02d}{body}"
        digits = "".join(str(string.digits.find(c)) if c.isdigit() else str(ord(c) - 55) for c in body + number[:4])
        if int(digits) % 97 == 1:
            return number
    raise AssertionError


def resident(random_):
    date = f"{random_.randint(1920, 2015)}{random_.randint(1, 12):02d}{random_.randint(1, 28):02d}"
    body = f"{random_.choice([11, 31, 44, 51])}{random_.randint(0, 9999):04d}{date}{random_.randint(0, 999):03d}"
    # ISO 7064 MOD 11-2, by its recursive definition.
    product = 0
    for char in body:
        product = (product + int(char)) * 2 % 11
    check = (12 - product) % 11
    return body + ("X" if check == 10 else str(check))


@st.composite
def numbers(draw):
    """(kind, a valid number in one of its spellings, the same with one digit changed)."""
    random_ = random.Random(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["card", "iban", "resident_id"]))
    if kind == "card":
        prefix, length = draw(
            st.sampled_from([("4", 16), ("51", 16), ("34", 15), ("62", 16), ("62", 19), ("3530", 16)])
        )
        number = luhn(prefix, length, random_)
        group = lambda text: [text[at : at + 4] for at in range(0, len(text), 4)]  # noqa: E731
        parts = [number[:4], number[4:10], number[10:]] if length == 15 else group(number)
        separators = ["", " ", "-"]
    elif kind == "iban":
        country, body = draw(st.sampled_from([("DE", "d" * 18), ("GB", "WEST" + "d" * 14), ("FR", "d" * 10 + "A" + "d" * 12), ("NO", "d" * 11), ("MT", "MALT" + "d" * 5 + "d" * 12 + "MTLCAS")]))  # fmt: skip
        number = iban(country, re.sub("d", lambda _: random_.choice(string.digits), body))
        parts = [number[at : at + 4] for at in range(0, len(number), 4)]
        separators = ["", " "]
    else:
        number = resident(random_)
        parts = [number[:6], number[6:14], number[14:]]
        separators = ["", " ", "-"]
    separator = draw(st.sampled_from(separators))
    at = random_.choice(
        [at for at, char in enumerate(number) if char.isdigit() and (at > 5 if kind != "iban" else at > 3)]
    )
    wrong = number[:at] + str((int(number[at]) + random_.randint(1, 9)) % 10) + number[at + 1 :]
    pieces = iter(wrong)
    spelled = separator.join(parts)
    return kind, spelled, "".join(char if char == separator else next(pieces) for char in spelled)


@given(numbers(), around, around, st.booleans())
def test_a_number_with_a_right_checksum_is_found_anywhere_and_a_wrong_one_nowhere(planted, before, after, wide):
    """Among Chinese, punctuation, or nothing; only ASCII letters and digits next to it make it part of a word."""
    kind, spelled, wrong = planted
    before = before.rstrip(string.ascii_letters)
    after = after.lstrip(string.ascii_letters)
    if wide:
        spelled = "".join(chr(ord(char) + 0xFEE0) if char.isdigit() else char for char in spelled)
    text = before + spelled + after
    assert (kind, spelled) in found(text)
    # A card's first sixteen digits may be another card: with a fifth group nobody can tell.
    for value in (value for name, value in found(before + wrong + after) if name == kind):
        assert value != wrong
        assert kind == "card"
        assert _luhn_sum(re.sub("[ -]", "", value)) % 10 == 0


@given(st.lists(st.text(st.sampled_from("1230. -+@:aZ<>一，：/()xsk_\n")) | around | st.text(max_size=40), max_size=8))
def test_spans_are_in_order_do_not_overlap_and_are_those_of_each_text_alone(texts):
    """Looking at many texts at once finds what looking at each does: no find reaches across texts."""
    together = scan(texts)
    assert together == [(at, span) for at, text in enumerate(texts) for span in find_personal(text)]
    for text in texts:
        last = 0
        for start, end, kind in find_personal(text):
            assert last <= start < end <= len(text)
            assert kind in KINDS
            last = end


@given(st.text())
def test_folding_keeps_every_position(text):
    """One character for one, ASCII as it was."""
    folded = fold_ascii(text)
    assert len(folded) == len(text)
    assert all(new == old for old, new in zip(text, folded, strict=True) if old.isascii())


def test_many_texts_are_looked_at_in_blocks():
    """A value is found wherever the borders of the blocks are, and with its own text's number."""
    texts = ["x" * 40_000, "13812345678", "y" * 70_000 + " a1@b.co", "", "z" * 10, "4111111111111111"] * 3
    assert [(at, span.kind) for at, span in scan(texts)] == [
        (at + 6 * lap, kind) for lap in range(3) for at, kind in ((1, "phone"), (2, "email"), (5, "card"))
    ]


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "12-", "1.", "a@", "a@b.", "(1", "+1", "2001:", "a1", "eyJa1", "sk-a1", "password:a1", "x://a1:", "GB82 ",
     "-----BEGIN PRIVATE KEY-----a1", "bearer a1", "1)(", "0" * 17 + " ", "é@", "一1", "key=", "A1B2 "],
)  # fmt: skip
def test_hostile_texts_end(piece):
    """A million characters made to send patterns back and forth: the test would not end if one did."""
    find_personal((piece * (1_000_000 // len(piece) + 1))[:1_000_000])


# --- the finding -----------------------------------------------------------------------------------------------------


def test_the_finding_names_rows_and_fields_and_never_a_value():
    """One finding a kind, in the order of KINDS; `count` is the number of rows."""
    rows = [
        Example.of("mail a1@b.co or c2@d.co", "13812345678", where=Location("x.jsonl", 1)),
        Example.of("hello", "there", where=Location("x.jsonl", 2), meta={"who": {"mail": ["q9@w.co"]}}),
        Example(
            turns=(text_turn("user", "x"), Turn("model", (Part(other='{"functionCall":{"args":{"to":"z8@w.co"},"name":"f"}}'),))),
            system="ask e5@f.co", where=Location("x.jsonl", 3),
            completions=(Completion(1.0, text_turn("model", "r7@w.co")),),
        ),
    ]  # fmt: skip
    email, phone = personal_findings(rows)
    assert (email.code, email.severity, email.count) == ("personal-data", "warning", 3)
    assert [str(place) for place in email.where] == [
        "x.jsonl, line 1, input",
        "x.jsonl, line 2, who",
        "x.jsonl, line 3, system",
    ]
    assert email.details == {
        "kind": "email", "values": 6, "fields": {"completions": 1, "input": 2, "meta": 1, "output": 1, "system": 1},
    }  # fmt: skip
    assert (phone.count, phone.where[0].field) == (1, "output")
    for value in ("a1@b", "c2@d", "13812345678", "q9@w", "z8@w", "e5@f", "r7@w"):
        assert value not in repr((email, phone)) + str(email.details)
    assert personal_findings([]) == personal_findings([Example.of("a", "b")]) == ()


def test_real_sets_have_the_kinds_that_they_are_known_for(shared):
    """Counted by hand once: questions without any, travel dialogues with phones; no other kind is imagined."""
    for name, file, columns, wanted in (
        ("intent_banking77", "test.jsonl", ("text", "intent"), {}),
        ("sentiment_en_food_reviews", "reviews.jsonl.gz", ("text", "label"), {}),
        ("sentiment_zh_asap", "reviews.jsonl", ("text", "label"), {}),
        ("instruct_alpaca_en", "alpaca_0_3251.jsonl.gz", ("instruction", "output"), {"phone"}),
    ):
        options = {"format": "jsonl", "input": columns[0], "output": columns[1]}
        try:
            rows = read(shared / name / file, **options)
        except ValueError:  # a row that is refused as empty: this test is about finding
            continue
        assert {finding.details["kind"] for finding in personal_findings(rows)} == set(wanted), name
