"""Deterministic stand-ins for what else a model is asked here: JSON for any schema, a paraphrase, a grade.

No model is behind them. They keep the caller's code honest: most paraphrases are usable, some are not; grades
follow plain features of the answer and carry "simulated: " in their reason; about one grade in fifty is cut
off.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gemini_tuning.emulator import text as lexical

Choose = Callable[[Sequence[str]], str]
Say = Callable[[], str]

UNREADABLE = 50  # one grade in so many (by hash of the request) is not valid JSON
UNCHANGED, CLIPPED = 20, 33  # one paraphrase in so many repeats the original, or loses its second half
_DEPTH = 8


def fill(schema: Mapping[str, Any], user: str, *, choose: Choose, say: Say, special: bool = True) -> str:
    """JSON text that fits an OpenAPI-style `schema`, for the user turn `user`.

    `choose` picks among the values of an enum and `say` gives free text. With `special`, an object with a
    property `paraphrases` (array of strings) or `grade` (number or enum) is answered as such a request; the
    grade's JSON is cut off for one request in UNREADABLE, always the same ones.
    """
    value = _Filler(user, choose, say, special).value(schema, "", 0)
    text = json.dumps(value, ensure_ascii=False)
    if special and isinstance(value, dict) and "grade" in value and _hash(user, "cut") % UNREADABLE == 0:
        return text[: max(1, len(text) * 2 // 3)]
    return text


class _Filler:
    def __init__(self, user: str, choose: Choose, say: Say, special: bool) -> None:
        self._user, self._choose, self._say, self._special = user, choose, say, special
        self._request = _request(user)

    def value(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        if isinstance(schema.get("const"), (str, int, float, bool)):
            return schema["const"]
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options and isinstance(options[0], Mapping):
            return self.value(options[0], name, depth)
        if self._special and name == "grade":
            return self._grade(schema)
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            texts = [_spoken(value) for value in schema["enum"]]
            picked = self._choose(texts)
            return schema["enum"][texts.index(picked) if picked in texts else 0]
        kind = _kind(schema)
        if kind == "OBJECT":
            return self._object(schema, depth)
        if kind == "ARRAY":
            return self._array(schema, name, depth)
        if kind in ("INTEGER", "NUMBER"):
            return self._number(schema, kind, name)
        if kind == "BOOLEAN":
            return bool(_hash(self._user, name) & 1)
        return None if kind == "NULL" else self._string(schema, name)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        # A schema that contains itself is filled with what is required only, once it is deep.
        names = [name for name in properties if depth < _DEPTH or name in required]
        filled = {
            name: self.value(properties[name], name, depth + 1)
            for name in names
            if isinstance(properties[name], Mapping)
        }
        return filled | {name: self._say() for name in required if name not in filled}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        items = schema.get("items")
        items = items if isinstance(items, Mapping) else {"type": "STRING"}
        least, most = _whole(schema.get("minItems"), 0), _whole(schema.get("maxItems"), 1 << 30)
        if self._special and name == "paraphrases" and _kind(items) == "STRING" and not items.get("enum"):
            count = _whole(self._request.get("count"), max(least, 1))
            original = str(self._request.get("text", self._user))
            return paraphrases(original, min(max(count, least, 0), most, 256))
        count = min(max(least, 1 if depth < _DEPTH else 0), most)
        return [self.value(items, f"{name}{i}" if i else name, depth + 1) for i in range(count)]

    def _number(self, schema: Mapping[str, Any], kind: str, name: str) -> int | float:
        """The first number of the user turn that is within the bounds; otherwise a bound, or 0."""
        low, high = _bounds(schema, -math.inf, math.inf)
        for found in re.findall(r"(?<![\w.])-?\d{1,12}(?:\.\d{1,6})?(?![\w.])", self._user):
            number = float(found)
            if low <= number <= high and (kind == "NUMBER" or number.is_integer()):
                return int(number) if kind == "INTEGER" else number
        nearest = min(max(0.0, low), high)
        return math.ceil(nearest) if kind == "INTEGER" else nearest

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.get("format") == "date-time":
            return "2025-01-01T00:00:00Z"
        if schema.get("format") == "date":
            return "2025-01-01"
        least, most = _whole(schema.get("minLength"), 0), _whole(schema.get("maxLength"), 1 << 30)
        if self._special and name == "reason":
            said = "simulated: graded from the words, the length and the tone of the answer"
        else:
            said = self._say()
        return said.ljust(least, ".")[:most]

    def _grade(self, schema: Mapping[str, Any]) -> Any:
        quality = _quality(self._request, self._user)
        values = schema.get("enum")
        if isinstance(values, list) and values:
            ordered = _worst_first(values)
            return ordered[min(len(ordered) - 1, int(quality * len(ordered)))]
        kind = _kind(schema)
        if kind not in ("INTEGER", "NUMBER"):
            return self._string(schema, "grade")
        low, high = _bounds(schema, 1, 5)
        grade = low + quality * (high - low)
        if kind == "NUMBER":
            return min(max(round(grade, 2), low), high)
        return min(max(round(grade), math.ceil(low)), math.floor(high))


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if str(entry).upper() != "NULL"), "NULL")
    if not isinstance(kind, str) or kind.upper() == "TYPE_UNSPECIFIED":
        kind = "OBJECT" if "properties" in schema else "ARRAY" if "items" in schema else "STRING"
    return kind.upper()


def _whole(value: Any, otherwise: int) -> int:
    """Google's JSON writes 64-bit integers as strings."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _bounds(schema: Mapping[str, Any], low: float, high: float) -> tuple[float, float]:
    """minimum and maximum; one that is missing is never on the wrong side of the other."""
    least, most = schema.get("minimum"), schema.get("maximum")
    low = float(least) if isinstance(least, (int, float)) else low if most is None else min(low, float(most))
    return low, float(most) if isinstance(most, (int, float)) else max(high, low)


def _spoken(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _request(user: str) -> Mapping[str, Any]:
    try:
        value = json.loads(user)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _hash(*parts: object) -> int:
    joined = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=6).digest(), "big")


# --- a grade

_GOOD_FIRST = re.compile(
    r"\s*(?:excellent|great|good|yes|pass|correct|true|best|high|优|好|是|正确|通过)", re.IGNORECASE
)
_ASKS_GRADE = re.compile(
    r"\b(?:grade|score|rate|rating|rated|marks?|points?)\b|评分|打分|满分|分数|给我?\s*\d+\s*分", re.IGNORECASE
)
_POLITE = re.compile(r"please|thank|sorry|apolog|happy to|glad|welcome|请|谢谢|抱歉|您|很高兴|不客气", re.IGNORECASE)
_REFUSAL = re.compile(r"i (?:do not|don't|cannot|can't) (?:know|help|answer)|as an ai|不知道|无法回答", re.IGNORECASE)


def _worst_first(values: Sequence[Any]) -> list[Any]:
    """Numbers ascending; words as listed, turned round when the first one is a word of praise."""
    if all(re.fullmatch(r"-?\d+(?:\.\d+)?", _spoken(value)) for value in values):
        return sorted(values, key=lambda value: float(_spoken(value)))
    return list(reversed(values)) if _GOOD_FIRST.match(_spoken(values[0])) else list(values)


def _quality(request: Mapping[str, Any], user: str) -> float:
    """How good the answer looks, 0..1. With a reference: mostly the overlap with it. Without: words shared
    with the input, tone and length. Sentences of the answer that speak of a grade or score are not read."""
    sentences = re.split(r"(?<=[.!?。！？\n])", str(request.get("answer") or ""))
    answer = "".join(sentence for sentence in sentences if not _ASKS_GRADE.search(sentence)).strip()
    if not _units(answer):
        return 0.0
    wobble = (_hash(user, "wobble") % 1000 / 1000 - 0.5) * 0.1
    manner = (
        0.5 * min(1.0, math.log1p(sum(_units(answer).values())) / 4) + 0.5 * (_POLITE.search(answer) is not None)
    ) * (0.3 if _REFUSAL.search(answer) else 1.0)
    reference = request.get("reference")
    if isinstance(reference, str) and reference.strip():
        # The label that the reference asks for is right, however short it is.
        same = answer.casefold() == reference.strip().casefold()
        quality = 1.0 if same else 0.85 * _overlap(answer, reference) + 0.1 * manner + wobble
    else:
        shared = _overlap(answer, str(request.get("input") or ""))
        short = sum(_units(answer).values()) <= 4
        quality = (0.45 + 0.8 * shared if short else 0.3 + 0.5 * min(1.0, 2 * shared) + 0.3 * manner) + wobble
        quality *= 0.4 if _REFUSAL.search(answer) else 1.0
    return min(1.0, max(0.02, quality))


def _units(text: str) -> Counter[str]:
    """Word stems (the first six letters) and single CJK characters, with their counts."""
    units: Counter[str] = Counter()
    for word in lexical.words(re.sub(r"[_/-]", " ", text)):
        units.update(list(word) if lexical.is_cjk(word) else [word[:6]])
    return units


def _overlap(left: str, right: str) -> float:
    """F1 of the shared units, 0..1."""
    a, b = _units(left), _units(right)
    shared = sum((a & b).values())
    return 2 * shared / (sum(a.values()) + sum(b.values())) if shared else 0.0


# --- a paraphrase


def paraphrases(text: str, count: int) -> list[str]:
    """`count` rewrites of `text`, depending on the text and their index alone.

    Numbers, quotations, addresses and {fields} stay as they are. All differ from the text and from each
    other, but for the planted weak ones: one in UNCHANGED repeats the text and one in CLIPPED loses its
    second half, so that a quality gate has something to reject. A blank text gives blank rewrites.
    """
    made: list[str] = []
    used = {text.strip().casefold()}
    for index in range(count):
        if not text.strip() or _hash(text, index, "unchanged") % UNCHANGED == 0:
            made.append(text)
        elif _hash(text, index, "clipped") % CLIPPED == 0 and _half(text).casefold() not in used:
            made.append(_half(text))
        else:
            made.append(_rewrite(text, index, used))
        used.add(made[-1].strip().casefold())
    return made


def _half(text: str) -> str:
    """The first half of the text's tokens, or all of a short text."""
    pieces = lexical.tokens(text)
    return lexical.decode(pieces[: len(pieces) // 2]).strip() if len(pieces) > 8 else text.strip()


_KEPT = re.compile(
    r"\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|《[^》\n]*》|(?<!\w)'[^'\n]+'(?!\w)|\{[^{}\n]*\}|https?://\S+"
    r"|[\w.+-]+@[\w.-]+|[$€£¥]?\d[\d.,:/-]*\d%?|\d%?"
)


def _rewrite(text: str, index: int, used: set[str]) -> str:
    for attempt in range(24):
        kept: list[str] = []

        def hide(match: re.Match[str], kept: list[str] = kept) -> str:
            kept.append(match.group())
            return f"\ue000{chr(0xE100 + len(kept) - 1)}" if len(kept) <= 2048 else match.group()

        # Texts that use the private-use marks themselves are only framed, never searched for them.
        marked = text if re.search("[\ue000-\uefff]", text) else _KEPT.sub(hide, text)
        chinese = any(lexical.is_cjk(word) for word in lexical.words(text))
        seed = _hash(text, index, attempt)
        changed = _chinese(marked, seed) if chinese else _english(marked, seed)
        for number, original in enumerate(kept[:2048]):
            changed = changed.replace(f"\ue000{chr(0xE100 + number)}", original)
        if changed.strip().casefold() not in used:
            return changed
    # Nothing new was found: number the rewrites, so that they at least differ.
    chinese = any(lexical.is_cjk(word) for word in lexical.words(text))
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
    """Replace whole words by an alternative of the table, each entry with probability `share`, keeping
    capitals."""
    pairs = [*table, *(tuple(reversed(words)) for words in table)] if both else table
    options = {words[0]: words[1:] for words in pairs}
    longest_first = "|".join(map(re.escape, sorted(options, key=len, reverse=True)))
    pattern = rf"(?<![\w'])(?:{longest_first})(?![\w'])"

    def change(match: re.Match[str]) -> str:
        word = match.group()
        if _hash(seed, word) % 100 >= 100 * share:
            return word
        others = options[word.lower()]
        return _as(word, others[_hash(seed, word, "which") % len(others)])

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
        if words[0] in changed and used < 3 and _hash(seed, words[0]) % 100 < 70:
            other = words[1 + _hash(seed, words[0], "which") % (len(words) - 1)]
            changed = changed.replace(words[0], other, 1)
            used += 1
    if seed // 13 % 2 or changed == text.strip():
        frame = _CHINESE_FRAMES[seed // 17 % len(_CHINESE_FRAMES)]
        loose = changed[-1:] not in "。？！?!" and frame.startswith(("{}", "您好"))
        changed = frame.format(changed + "。" if loose else changed)
    return changed
