"""An example as Gemini reads it: nothing hidden, nothing added without a mark."""

from __future__ import annotations

import json
import re
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.data import read
from gemini_tuning.data.transcript import FIRST, HEAD, LAST, TAIL, Preview, transcript, visible
from gemini_tuning.types import Completion, Example, Instructions, Location, Part, Turn, text_turn


def blocks(example, **more):
    return [(block.role, block.note, block.text) for block in transcript(example, **more).blocks]


# --- characters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb", "a⟦ZWSP⟧b"),
        ("a\x00b", "a⟦NUL⟧b"),
        ("a\u202eb\u200f", "a⟦RLO⟧b⟦RLM⟧"),
        ("a\tb\r\n", "a⟦tab⟧b⟦CR⟧\n"),
        ("a\u00a0b", "a⟦NBSP⟧b"),
        ("a\u3164b\u2800", "a⟦U+3164⟧b⟦U+2800⟧"),
        ("a\U000e0041\U000e0100", "a⟦U+E0041⟧⟦U+E0100⟧"),
        ("\ue000\ud800", "⟦U+E000⟧⟦U+D800⟧"),
        ("  a \nb   ", "⟦2 spaces⟧a⟦space⟧\nb⟦3 spaces⟧"),
        ("⟦ZWSP⟧ ⟪x⟫", "⟦U+27E6⟧ZWSP⟦U+27E7⟧ ⟦U+27EA⟧x⟦U+27EB⟧"),
        ("héllo 我的 привет\nמה", "héllo 我的 привет\nמה"),
        ("❤\ufe0f", "❤\ufe0f"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, shown):
    """Zero-width, control, direction and blank characters, spaces at the ends, and our own brackets."""
    assert visible(text) == shown


@given(st.text())
def test_nothing_that_is_shown_is_invisible(text):
    """After writing out, every character is printable, a space or a line break, and no line ends with a space."""
    shown = visible(text)
    assert all(char in "\n " or unicodedata.category(char)[0] not in "CZ" for char in shown)
    assert not re.search(r" (\n|\Z)|\A ", shown)


@given(st.text(), st.text())
def test_different_texts_look_different(one, other):
    """Two texts that are not equal are not shown alike."""
    assert (visible(one) == visible(other)) == (one == other)


# --- turns -------------------------------------------------------------------------------------------------------------


def test_roles_and_what_is_trained_on():
    """Every model turn is trained on, the last is the target; the user's turns are not."""
    example = Example(
        system="Be a pirate.",
        turns=(
            text_turn("user", "Hi"),
            text_turn("model", "Argh"),
            text_turn("user", "Name?"),
            text_turn("model", "Bo"),
        ),
        where=Location("pirates.jsonl", 7),
        meta={"id": 4},
    )
    assert blocks(example) == [
        ("system", "", "Be a pirate."),
        ("user", "", "Hi"),
        ("model", "trained on", "Argh"),
        ("user", "", "Name?"),
        ("model", "trained on: the target", "Bo"),
    ]
    text = str(transcript(example))
    assert text.startswith("pirates.jsonl, line 7: about ")
    assert text.endswith("not sent: id")
    assert repr(transcript(example)) == text


def test_the_instruction_is_told_from_the_users_own_words():
    """What the instance instruction added stands in brackets; the rest is the user's."""
    example = Example.of("where is my parcel", "shipping", meta={"lang": "en"})
    instructions = Instructions(system="Route.", each="Intent ({lang}): {input}\nAnswer:")
    applied = instructions.apply(example)
    expected = ("user", "", "⟪Intent (en): ⟫where is my parcel⟪\nAnswer:⟫")
    assert blocks(applied)[1] == expected
    assert blocks(applied, instructions=instructions)[1] == expected
    assert "the instruction around the user's own words" in str(transcript(applied))
    assert "⟪" not in str(transcript(example))


def test_words_that_stand_twice_are_marked_only_by_the_template():
    """Without the template nothing is guessed, and the note says so."""
    instructions = Instructions(each="a {{b}}: {input} or {input}, a?")
    applied = instructions.apply(Example.of("a", "x"))
    assert blocks(applied)[0] == ("user", "with an instruction around it", "a {b}: a or a, a?")
    assert blocks(applied, instructions=instructions)[0] == ("user", "", "⟪a {b}: ⟫a⟪ or ⟫a⟪, a?⟫")


@given(
    st.text(min_size=1).filter(str.strip),
    st.sampled_from(["{input}", "Q: {input}", "{{{input}}} {x}", "{input}{input}"]),
)
def test_the_marks_change_no_word(text, each):
    """Without the brackets the marked turn is the turn itself."""
    instructions = Instructions(each=each)
    applied = instructions.apply(Example.of(text, "y", meta={"x": "⟪"}))
    for given_too in (None, instructions):
        pieces = transcript(applied, instructions=given_too, full=True).blocks[0].pieces
        plain = "".join(piece.text for piece in pieces)
        # Spaces are written out at the ends of the whole turn only.
        assert plain.replace("⟦space⟧", " ") == visible(applied.turns[0].text).replace("⟦space⟧", " ")


def test_a_template_that_did_not_make_this_turn_is_not_believed():
    """Instructions that do not fit are not used: the turn is shown as it is."""
    applied = Instructions(each="Q: {input}").apply(Example.of("why", "x"))
    assert blocks(applied, instructions=Instructions(each="A: {input}"))[0] == ("user", "", "⟪Q: ⟫why")


def test_preference_pairs():
    """The preferred answer comes first, whatever the order of the row; nothing claims to be a target."""
    pair = Example(
        turns=(text_turn("user", "Fruit?"),),
        completions=(Completion(0.0, text_turn("model", "apple.")), Completion(1.0, text_turn("model", "Apple!"))),
    )
    assert blocks(pair) == [
        ("user", "", "Fruit?"),
        ("model", "preferred (score 1)", "Apple!"),
        ("model", "the other answer (score 0)", "apple."),
    ]


def test_references_are_for_the_reward():
    """A reinforcement row has no target; its references are not read."""
    row = Example(turns=(text_turn("user", "17 * 23?"),), references='{"answer":"391"}')
    assert [block[:2] for block in blocks(row)] == [("user", ""), ("references", "for the reward, not read")]


def test_calls_results_and_tools():
    """Names of tools with their parameters, calls with arguments, results under their name."""
    tools = [{"functionDeclarations": [
        {"name": "sku", "parameters": {"type": "OBJECT", "properties": {"name": {}, "size": {}}}}, {"name": "now"},
    ]}, {"googleSearch": {}}]  # fmt: skip
    example = Example(
        turns=(
            text_turn("user", "in stock?"),
            Turn("model", (Part(other='{"functionCall":{"args":{"name":"x"},"name":"sku"}}'),)),
            Turn("", (Part(other='{"functionResponse":{"name":"sku","response":{"n":3}}}'),)),
            text_turn("model", "yes"),
        ),
        tools=json.dumps(tools),
    )
    assert blocks(example) == [
        ("tools", "names only", "sku(name, size)\nnow()\ngoogleSearch"),
        ("user", "", "in stock?"),
        ("model", "trained on", '[call sku({"name": "x"})]'),
        ("function", "", '[result of sku: {"n": 3}]'),
        ("model", "trained on: the target", "yes"),
    ]
    assert json.loads(transcript(example, full=True).blocks[0].text) == tools


def test_files_are_named_and_their_bytes_never_shown():
    """URI, MIME type and segment; of an inline file the size only, even in full."""
    parts = (
        Part(other=json.dumps({"fileData": {"fileUri": "gs://b/a\u202e.mp4", "mimeType": "video/mp4"},
                               "videoMetadata": {"startOffset": "5s"}})),
        Part(other=json.dumps({"inlineData": {"data": "QUJD" * 1000, "mimeType": "image/png"}})),
        Part(text="Which?"),
    )  # fmt: skip
    example = Example(turns=(Turn("user", parts), text_turn("model", "a")))
    assert blocks(example, full=True)[0][2] == (
        '[file video/mp4 gs://b/a⟦RLO⟧.mp4, startOffset "5s"]\n[inline file image/png, about 3,000 bytes]\nWhich?'
    )


def test_files_stay_in_sight_around_an_instruction():
    """A turn with a file and an injected instruction shows both."""
    parts = (Part(other='{"fileData":{"fileUri":"gs://b/a.png","mimeType":"image/png"}}'), Part(text="what is it"))
    example = Example(turns=(Turn("user", parts), text_turn("model", "a cat")))
    text = blocks(Instructions(each="Look: {input}").apply(example))[0][2]
    assert text == "[file image/png gs://b/a.png]\n⟪Look: ⟫what is it"


# --- size --------------------------------------------------------------------------------------------------------------


def test_the_middle_of_long_texts_and_conversations_is_left_out_with_its_size():
    """The number of characters or turns left out is exact; `full` leaves out nothing."""
    text = "".join(chr(97 + at % 26) for at in range(HEAD + TAIL + 5_000))
    shown = blocks(Example.of(text, "x"))[0][2]
    assert shown == f"{text[:HEAD]}⟦5,000 characters left out⟧{text[-TAIL:]}"
    assert blocks(Example.of(text, "x"), full=True)[0][2] == text
    turns = tuple(text_turn("model" if at % 2 else "user", f"turn {at}") for at in range(200))
    long = blocks(Example(turns=turns))
    assert len(long) == FIRST + LAST + 1
    assert long[FIRST][2] == f"⟦{200 - FIRST - LAST} turns left out⟧"
    assert len(blocks(Example(turns=turns), full=True)) == 200


@given(st.lists(st.text(min_size=1, max_size=4_000), min_size=1, max_size=40))
def test_a_transcript_is_bounded(texts):
    """Whatever the example, what is shown of it is."""
    turns = tuple(text_turn("user", text) for text in texts)
    shown = transcript(Example(turns=turns))
    most = (HEAD + 2 * TAIL + 100) * len("⟦U+10FFFF⟧")
    assert len(shown.blocks) <= FIRST + LAST + 1
    assert all(len(block.text) <= most for block in shown.blocks)


# --- showing -----------------------------------------------------------------------------------------------------------


def test_html_is_escaped_and_has_no_script_or_colour():
    """Text from data stays text."""
    evil = "<script>alert(1)</script>&\"'"
    example = Instructions(each="<b>{input}</b>").apply(
        msgspec.structs.replace(Example.of(evil, evil, meta={evil: 1}), system=evil, augmented=evil)
    )
    markup = transcript(example)._repr_html_()
    assert "<script" not in markup
    assert markup.count("&lt;script&gt;") == 5
    assert "⟪&lt;b&gt;⟫" in markup
    assert "color" not in markup
    assert "http" not in markup


def test_a_preview_is_a_list_that_shows_itself():
    """Equal to the plain list, shown as transcripts."""
    rows = [Example.of("a", "b"), Example.of("c", "d")]
    preview = Preview(rows)
    assert preview == rows
    assert repr(preview) == f"{transcript(rows[0])}\n\n{transcript(rows[1])}"
    assert preview._repr_html_().count("<table>") == 2
    assert repr(Preview()) == "no examples"


def test_records_hold_each_block():
    """One flat row a block, JSON can hold it."""
    rows = transcript(Example.of("a", "b")).to_records()
    assert [row["role"] for row in rows] == ["user", "model"]
    assert json.loads(json.dumps(rows)) == rows


def test_the_published_samples_are_shown_whole(shared):
    """Every text of Google's own samples can be read in its transcript."""
    folder = shared / "format_samples" / "gemini_docs"
    seen = 0
    for name in (
        "text_multiturn",
        "image",
        "audio",
        "document_pdf",
        "function_calling_chat",
        "video_part_media_resolution",
    ):
        for example in read(folder / f"{name}.jsonl"):
            shown = str(transcript(example)).replace("\n  ", "\n")
            for turn in example.turns:
                assert visible(turn.text) in shown
                seen += 1
            assert (example.system or "") in shown
    assert seen > 12
