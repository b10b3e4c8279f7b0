import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.data import estimate_tokens, example_tokens, from_records, tokens
from gemini_tuning.data.tokens import dataset_tokens, estimate_many
from gemini_tuning.types import Completion, Example, text_turn

CHARACTERS = st.sampled_from([*"aZé  \n\t09_-.,!中か한дΩ😀☀²ª", "\u3000", "\x00", "\U00020000", "\ud800", "٣"])
TEXTS = st.one_of(st.text(max_size=20), st.text(CHARACTERS, max_size=30), st.text("ab  .-1\n", max_size=90))


def textbook(text):
    """The documented prices, run by run, in plain Python."""

    def kind(char):
        code = ord(char)
        for first, last, name in (
            ("A", "Z", "latin"), ("a", "z", "latin"), ("\u00c0", "\u024f", "latin"), ("0", "9", "digit"),
            ("\u0370", "\u052f", "cyrillic"), ("\u2600", "\u27bf", "emoji"), ("\u3040", "\u30ff", "kana"),
            ("\u3400", "\u9fff", "han"), ("\uac00", "\ud7a3", "hangul"), ("\uf900", "\ufaff", "han"),
            ("\U0001f000", "\U0001ffff", "emoji"), ("\U00020000", "\U0003ffff", "han"),
        ):  # fmt: skip
            if ord(first) <= code <= ord(last):
                return name
        if char.isspace():
            return "space"
        return "letter" if char.isalnum() and not char.isdecimal() else f"mark {char}"

    rates = {"digit": 1, "cyrillic": 0.38, "emoji": 1.5, "kana": 0.65, "han": 0.7, "hangul": 0.75, "letter": 0.5}
    total = 0.0
    for name, group in itertools.groupby(text, kind):
        run = "".join(group)
        if name == "latin":
            total += max(1, len(run) / 6)
        elif name == "space":
            total += run != " "
        else:
            total += rates[name] * len(run) if name in rates else max(1, len(run) / 8)
    return total


@given(texts=st.lists(TEXTS, max_size=8), block=st.sampled_from([1, 16, 1 << 16]))
def test_many_texts_count_as_each_alone(texts, block):
    """Neighbours and the size of a block change nothing, and each count is that of a textbook version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_BLOCK", block)
        counted = estimate_many(texts)
    assert counted.shape == (len(texts),)
    assert counted.tolist() == pytest.approx([textbook(text) for text in texts], abs=1e-9)
    assert [estimate_tokens(text) for text in texts] == pytest.approx(counted.tolist(), abs=1e-9)


def test_token_estimates_are_of_the_right_size():
    """English prose has about four characters a token, digits one each, Chinese less than one a character."""
    english = "The quick brown fox jumps over the lazy dog while the old farmer watches from his wooden porch. " * 5
    assert 3 <= len(english) / estimate_tokens(english) <= 5.5
    assert estimate_tokens("1234567890") == 10
    assert 0.5 <= estimate_tokens("我想查询信用卡余额") / 9 <= 1
    assert estimate_tokens("") == 0


@given(left=st.text(), right=st.text())
def test_token_estimates_grow_with_the_text(left, right):
    """More text is never fewer tokens, up to the piece where the two meet."""
    assert estimate_tokens(left + " " + right) >= max(estimate_tokens(left), estimate_tokens(right)) - 1.5


def test_an_example_counts_all_that_is_sent():
    """System instruction, tools, completions and files count beside the turns."""
    plain = Example.of("hello there", "hi")
    with_all = msgspec.structs.replace(plain, system="Be brief.", tools='[{"a":1}]')
    assert example_tokens(with_all) > example_tokens(plain) > 2
    scored = msgspec.structs.replace(plain, completions=(Completion(1.0, text_turn("model", "ja")),))
    assert example_tokens(scored) > example_tokens(plain)
    image = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/1"}}
    (seen,) = from_records(
        [{"contents": [{"role": "user", "parts": [image, {"text": "hello there"}]},
                       {"role": "model", "parts": [{"text": "hi"}]}]}]
    )  # fmt: skip
    assert example_tokens(seen) == pytest.approx(example_tokens(plain) + tokens.MEDIA)


@given(texts=st.lists(st.tuples(TEXTS, TEXTS, st.none() | st.sampled_from(["Be brief.", "Answer."])), max_size=6))
def test_a_data_set_counts_as_its_examples(texts):
    """What rows share is added to each of them."""
    examples = [msgspec.structs.replace(Example.of(a, b), system=system) for a, b, system in texts]
    assert dataset_tokens(examples).tolist() == pytest.approx([example_tokens(each) for each in examples])
    assert dataset_tokens(examples).tolist() == pytest.approx(
        [8 + sum(map(estimate_tokens, (a, b, system or ""))) for a, b, system in texts]
    )
