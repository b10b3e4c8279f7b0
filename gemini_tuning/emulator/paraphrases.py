"""Rewrites of a text by rules and word lists, English and Chinese. No model is behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from . import text as lexical
from .text import scatter

__all__ = ["paraphrases"]

_UNCHANGED, _CLIPPED = 20, 33  # one rewrite in so many repeats the text, or loses its second half


def paraphrases(text: str, count: int) -> list[str]:
    """`count` rewrites of `text`, depending on the text and their index alone.

    Numbers, quotations, addresses and {fields} stay as they are. All differ from the text and from each other, but
    for the planted weak ones: one in _UNCHANGED repeats the text and one in _CLIPPED loses its second half, so that
    a quality gate has something to reject. A blank text gives blank rewrites.
    """
    made: list[str] = []
    used = {text.strip().casefold()}
    for index in range(count):
        if not text.strip() or scatter(text, index, "unchanged") % _UNCHANGED == 0:
            made.append(text)
        elif scatter(text, index, "clipped") % _CLIPPED == 0 and _half(text).casefold() not in used:
            made.append(_half(text))
        else:
            made.append(_rewrite(text, index, used))
        used.add(made[-1].strip().casefold())
    return made


def _half(text: str) -> str:
    """The first half of the text's tokens, or all of a short text."""
    pieces = lexical.tokens(text)
    return lexical.decode(pieces[: len(pieces) // 2]).strip() if len(pieces) > 8 else text.strip()


# Quotations, {fields}, addresses and numbers.
_KEPT = re.compile(
    r"\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|《[^》\n]*》|(?<!\w)'[^'\n]+'(?!\w)|\{[^{}\n]*\}|https?://\S+"
    r"|[\w.+-]+@[\w.-]+|[$€£¥]?\d[\d.,:/-]*\d%?|\d%?"
)


def _rewrite(text: str, index: int, used: set[str]) -> str:
    chinese = any(lexical.is_cjk(word) for word in lexical.words(text))
    for attempt in range(24):
        kept: list[str] = []

        def hide(match: re.Match[str], kept: list[str] = kept) -> str:
            kept.append(match.group())
            return f"\ue000{chr(0xE100 + len(kept) - 1)}" if len(kept) <= 2048 else match.group()

        # Private-use characters stand for what is kept while the rest is rewritten; a text that has such characters
        # of its own is rewritten as a whole.
        marked = text if re.search("[\ue000-\uefff]", text) else _KEPT.sub(hide, text)
        seed = scatter(text, index, attempt)
        changed = _chinese(marked, seed) if chinese else _english(marked, seed)
        for number, original in enumerate(kept[:2048]):
            changed = changed.replace(f"\ue000{chr(0xE100 + number)}", original)
        if changed.strip().casefold() not in used:
            return changed
    # Nothing new was found: number the rewrites, so that they at least differ.
    return (f"换句话说（{index + 1}）：" if chinese else f"In other words ({index + 1}), ") + text


_FORMS: tuple[tuple[str, str], ...] = (
    (r"^how (?:do|can|could|would|should) i (.+?)\?*$", r"Could you tell me how to \1?"),
    (r"^how (?:do|can) i (.+?)\?*$", r"What is the way to \1?"),
    (r"^how (?:do|can) i (.+?)\?*$", r"I need to know how to \1."),
    (r"^can i (.+?)\?*$", r"Is it possible for me to \1?"),
    (r"^can i (.+?)\?*$", r"Am I able to \1?"),
    (r"^(?:can|could) you (.+?)\?*$", r"Would you please \1?"),
    (r"^(?:can|could) you (.+?)\?*$", r"Please \1."),
    (r"^what is (.+?)\?*$", r"Could you tell me what \1 is?"),
    (r"^why (?:is|was) (my \w+) (.+?)\?*$", r"What is the reason that \1 is \2?"),
    (r"^where (?:is|are) (.+?)\?*$", r"Could you tell me where to find \1?"),
    (r"^i (?:want|need|would like) to (.+?)[.!]*$", r"I'd like to \1."),
    (r"^i (?:want|need|would like) to (.+?)[.!]*$", r"Could you help me to \1?"),
    (r"^is there (.+?)\?*$", r"Could you tell me if there is \1?"),
    (r"^(?:do|does) (.+?)\?*$", r"I would like to know: do \1?"),
    (r"^(.+?),? because (.+?)[.!]*$", r"Because \2, \1."),
    (r"^if (.+?), (.+?)([.!?]*)$", r"\2 if \1\3"),
    (r"^when (.+?), (.+?)([.!?]*)$", r"\2 when \1\3"),
    (r"^(.+?[.!?]) ([A-Z].+?[.!?])$", r"\2 \1"),
    (r"^(.+?), but (.+?)([.!?]*)$", r"Although \1, \2\3"),
)
_CONTRACTIONS: tuple[tuple[str, str], ...] = (
    ("i am", "i'm"),
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("did not", "didn't"),
    ("is not", "isn't"),
    ("cannot", "can't"),
    ("can not", "can't"),
    ("i have", "i've"),
    ("i would", "i'd"),
    ("what is", "what's"),
    ("it is", "it's"),
    ("has not", "hasn't"),
    ("have not", "haven't"),
    ("was not", "wasn't"),
    ("that is", "that's"),
    ("you are", "you're"),
    ("there is", "there's"),
)
_SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("purchase", "buy"),
    ("assistance", "support"),
    ("get", "receive"),
    ("receive", "get"),
    ("show", "display"),
    ("begin", "start"),
    ("start", "begin"),
    ("fix", "resolve", "sort out"),
    ("problem", "issue", "trouble"),
    ("issue", "problem"),
    ("quickly", "fast"),
    ("fast", "quickly"),
    ("want to", "wish to"),
    ("need to", "have to"),
    ("use", "make use of"),
    ("wrong", "incorrect"),
    ("incorrect", "wrong"),
    ("big", "large"),
    ("large", "big"),
    ("great", "excellent"),
    ("good", "fine"),
    ("send", "dispatch"),
    ("sent", "dispatched"),
    ("lost", "misplaced"),
    ("soon", "shortly"),
    ("my card", "the card I have"),
    ("my account", "the account I have"),
    ("money", "funds"),
    ("phone", "mobile"),
    ("why", "for what reason"),
    ("many", "a lot of"),
    ("often", "frequently"),
    ("maybe", "perhaps"),
    ("think", "believe"),
    ("happened", "occurred"),
    ("seems", "appears"),
    ("works", "functions"),
    ("change", "modify"),
    ("find", "locate"),
    ("stop", "cease"),
    ("check", "verify"),
    ("delay", "hold-up"),
    ("cost", "price"),
    ("delivered", "brought"),
    ("arrive", "turn up"),
    ("arrived", "turned up"),
    ("tasty", "delicious"),
    ("delicious", "tasty"),
    ("terrible", "awful"),
    ("love", "adore"),
)
_ENGLISH_FRAMES: tuple[str, ...] = (
    "Hi, {}",
    "Hello, {}",
    "Quick question: {}",
    "Could you help me with this? {}",
    "{} Thanks in advance.",
    "{} Please help.",
    "Please advise: {}",
    "I wanted to ask: {}",
    "Sorry to bother you, {}",
    "{} Thank you.",
    "Could you look into this? {}",
    "Just to say it plainly: {}",
)
_CHINESE_SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("怎么", "如何", "怎样"),
    ("如何", "怎么"),
    ("为什么", "为何", "怎么会"),
    ("可以", "能"),
    ("能不能", "可不可以"),
    ("我想", "我希望", "我打算"),
    ("我要", "我需要"),
    ("帮我", "替我", "给我"),
    ("什么时候", "何时"),
    ("哪里", "什么地方"),
    ("多少", "几多"),
    ("现在", "目前", "眼下"),
    ("马上", "立刻", "尽快"),
    ("问题", "毛病", "状况"),
    ("告诉我", "跟我说"),
    ("查看", "看一下"),
    ("取消", "撤销"),
    ("删除", "去掉"),
    ("设置", "设定"),
    ("显示", "展示"),
    ("播放", "放"),
    ("添加", "加上"),
    ("好吃", "美味", "可口"),
    ("喜欢", "喜爱"),
    ("非常", "十分", "特别"),
    ("很", "挺"),
    ("因为", "由于"),
    ("但是", "不过", "可是"),
    ("所以", "因此"),
    ("已经", "早已"),
    ("没有", "没"),
    ("需要", "要"),
    ("提醒", "通知"),
    ("预订", "预定"),
    ("天气", "天气情况"),
    ("会下雨吗", "会不会下雨"),
    ("是不是", "是否"),
    ("怎么办", "该怎么处理"),
)
_CHINESE_FRAMES: tuple[str, ...] = (
    "请问，{}",
    "你好，{}",
    "您好，{}谢谢！",
    "麻烦问一下，{}",
    "想咨询一下：{}",
    "{}麻烦您了。",
    "打扰了，{}",
    "帮忙看看：{}",
    "我想了解一下，{}",
    "{}谢谢。",
)


def _english(text: str, seed: int) -> str:
    changed = text.strip()
    if seed % 3 != 0 and len(text) <= 2000:  # some forms take quadratic time
        forms = [form for form in _FORMS if re.match(form[0], changed, re.IGNORECASE | re.DOTALL)]
        if forms:
            pattern, form = forms[seed // 3 % len(forms)]
            changed = _capital(re.sub(pattern, form, changed, count=1, flags=re.IGNORECASE | re.DOTALL))
            changed = re.sub(r"\s+([?.!,])", r"\1", changed)
            changed = re.sub(r"(?<=, )[A-Z][a-z]+", lambda match: _lower(match.group()), changed)
    changed = _swap(changed, _CONTRACTIONS, seed // 7, 1.0, both=True)
    changed = _swap(changed, _SYNONYMS, seed // 11, 0.7, both=False)
    changed = re.sub(r"\b([Aa])(?= (?:excellent|awful|issue|easy)\b)", r"\1n", changed)
    if seed // 13 % 2 or changed.casefold() == text.strip().casefold():
        frame = _ENGLISH_FRAMES[seed // 17 % len(_ENGLISH_FRAMES)]
        closed = changed if changed[-1:] in ".?!。？！" or not frame.startswith("{}") else changed + "."
        changed = frame.format(_lower(closed) if frame[-4:] == ", {}" else closed)
    return changed


def _swap(text: str, table: Sequence[tuple[str, ...]], seed: int, share: float, *, both: bool) -> str:
    """The text with whole words replaced by an alternative from the table, each with probability `share`, keeping
    capitals; `both`: the table is read from right to left too."""
    pairs = [*table, *(tuple(reversed(words)) for words in table)] if both else table
    options = {words[0]: words[1:] for words in pairs}
    longest_first = "|".join(map(re.escape, sorted(options, key=len, reverse=True)))
    pattern = rf"(?<![\w'])(?:{longest_first})(?![\w'])"

    def change(match: re.Match[str]) -> str:
        word = match.group()
        if scatter(seed, word) % 100 >= 100 * share:
            return word
        others = options[word.lower()]
        return _as(word, others[scatter(seed, word, "which") % len(others)])

    return re.sub(pattern, change, text, flags=re.IGNORECASE)


def _as(model: str, word: str) -> str:
    word = re.sub(r"\bi\b", "I", word)
    return _capital(word) if model[:1].isupper() else word


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    """First letter small, unless the word is "I" or has other capitals."""
    first = re.match(r"[^\W\d_]+", text)
    plain = first is not None and first.group() != "I" and first.group()[1:].islower()
    return text[:1].lower() + text[1:] if plain and not text.startswith("I'") else text


def _chinese(text: str, seed: int) -> str:
    changed = text.strip()
    clauses = re.fullmatch(r"([^，。？！]+)，([^，。？！]+)([。？！]?)", changed)
    if clauses and seed % 5 == 0 and not re.match("但|不过|所以|因此|然后|就", clauses.group(2)):
        changed = f"{clauses.group(2)}，{clauses.group(1)}{clauses.group(3)}"
    used = 0
    for words in _CHINESE_SYNONYMS:
        if words[0] in changed and used < 3 and scatter(seed, words[0]) % 100 < 70:
            other = words[1 + scatter(seed, words[0], "which") % (len(words) - 1)]
            changed = changed.replace(words[0], other, 1)
            used += 1
    if seed // 13 % 2 or changed == text.strip():
        frame = _CHINESE_FRAMES[seed // 17 % len(_CHINESE_FRAMES)]
        loose = changed[-1:] not in "。？！?!" and frame.startswith(("{}", "您好"))
        changed = frame.format(changed + "。" if loose else changed)
    return changed
