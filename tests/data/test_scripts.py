import gzip
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.data.scripts import language_of, languages, script_shares, scripts_of

TEXTS = st.lists(
    st.text(st.sampled_from([*"aZé 09_中文かカ한дΩ😀²", "\u3000", "\U00020000", "ｆ"]), max_size=12), max_size=8
)
SCRIPTS = {
    "a": "latin", "Z": "latin", "é": "latin", "中": "han", "文": "han", "か": "kana", "カ": "kana", "한": "hangul",
    "д": "cyrillic", "Ω": "greek", "\U00020000": "han", "ｆ": "latin",
}  # fmt: skip


@given(texts=TEXTS)
def test_scripts_are_counted_by_letter(texts):
    """Shares sum to one and are those of a count letter by letter; the script of a text is that of most letters."""
    counts = Counter(SCRIPTS[char] for text in texts for char in text if char in SCRIPTS)
    shares = script_shares(texts)
    assert shares == pytest.approx({name: count / counts.total() for name, count in counts.items()})
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    for text, script in zip(texts, scripts_of(texts), strict=True):
        own = Counter(SCRIPTS[char] for char in text if char in SCRIPTS)
        assert script == min(own, key=lambda name: (-own[name], name), default="")


# One question about a bank card in each language, written for this test.
SENTENCES = {
    "en": "How can I block my card?", "de": "Wie kann ich meine Karte sperren?", "fr": "Comment puis-je bloquer ma carte ?",
    "es": "¿Cómo puedo bloquear mi tarjeta?", "pt": "Como posso bloquear o meu cartão?",
    "it": "Come posso bloccare la mia carta?", "nl": "Hoe kan ik mijn kaart blokkeren?",
    "pl": "Jak mogę zablokować moją kartę?", "tr": "Kartımı nasıl bloke edebilirim?",
    "vi": "Làm thế nào để tôi khóa thẻ của mình?", "id": "Bagaimana saya bisa memblokir kartu saya?",
    "sv": "Hur kan jag spärra mitt kort?", "ro": "Cum pot să blochez cardul meu?",
    "cs": "Jak můžu zablokovat svou kartu, prosím?", "ru": "Почему моя карта не работает?",
    "uk": "Чому моя картка не працює?", "bg": "Защо картата ми не работи, какво да направя?",
    "zh": "我要怎么挂失我的卡？", "zh-Hant": "請問我要怎麼掛失我的卡，這個應該找誰問呢", "ja": "カードを止める方法を教えて",
    "ko": "카드를 어떻게 정지하나요", "ar": "كيف يمكنني إيقاف بطاقتي؟", "he": "איך אני חוסם את הכרטיס שלי?",
    "hi": "मैं अपना कार्ड कैसे ब्लॉक करूँ?", "th": "ฉันจะระงับบัตรได้อย่างไร", "el": "Πώς μπορώ να μπλοκάρω την κάρτα;",
}  # fmt: skip


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_has_its_language(language):
    """A plain question is told apart from its relatives."""
    assert language_of(SENTENCES[language]) == language


@pytest.mark.parametrize(
    "text", ["", "!", "42", "card_not_working", "x = foo(bar)", "Bob Klose", "ABC-123", "qwrtz plmk"]
)
def test_what_is_no_sentence_has_no_language(text):
    """Labels, code, names and noise are undecided, never guessed."""
    assert language_of(text) is None


def test_shares_of_languages():
    """Shares are of all texts, undecided ones included."""
    assert languages([SENTENCES["de"], SENTENCES["de"], SENTENCES["zh"], "42"]) == {
        "de": 0.5,
        "unknown": 0.25,
        "zh": 0.25,
    }
    assert languages([]) == {}
    assert language_of("What does 你好 mean in the text that I have sent to you?") == "en"
    assert language_of("请把 Hello World 这首歌放到我的列表里") == "zh"


def test_real_texts_get_their_language(shared):
    """On real texts of a known language few are wrong, and most are right."""

    def read(path, *columns):
        data = (shared / path).read_bytes()
        lines = (gzip.decompress(data) if path.endswith(".gz") else data).decode().split("\n")
        rows = [json.loads(line) for line in lines if line]
        return [[row[column] for row in rows] for column in columns]

    chinese, english = read("intent_zh_xsid/zh.jsonl", "text", "text_en")
    for texts, language, right, wrong in (
        (chinese, "zh", 0.85, 0.04), (english, "en", 0.9, 0.01),
        (*read("intent_banking77/test.jsonl", "text"), "en", 0.97, 0.001),
        (*read("sentiment_en_food_reviews/reviews.jsonl.gz", "text"), "en", 0.99, 0.001),
        (*read("instruct_alpaca_zh/alpaca_gpt4_zh_1000.jsonl.gz", "instruction"), "zh", 0.98, 0.005),
    ):  # fmt: skip
        shares = languages(texts)
        assert shares[language] > right
        assert 1 - shares[language] - shares.get("unknown", 0) < wrong
