"""Answers: a tuned adapter's, or those of an untrained base model that has only the prompt to go by.

The base model is honest and weak. When the prompt offers candidates it picks the one that shares most words
and word fragments with the last user turn; without candidates it repeats a key phrase. It never sees a reference.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from . import standins
from . import text as lexical
from .arrays import Floats
from .values import Prompt
from .weights import Weights

__all__ = ["NOTHING", "Reply", "candidates", "embed", "generate"]

NOTHING = "There is no question to answer."
_DEFAULT_LIMIT = 1024  # tokens of an answer when the request sets no maxOutputTokens
_MATCH_BUCKETS = 4096


@dataclass(frozen=True)
class Reply:
    """A generated text; `finish_reason` is "STOP" or, when cut at maxOutputTokens, "MAX_TOKENS"."""

    text: str
    finish_reason: str = "STOP"


def generate(prompt: Prompt, *, base_model: str, weights: Weights | None, config: Mapping[str, Any]) -> Reply:
    """Answer `prompt` under a generationConfig in camelCase; temperature and seed are ignored.

    With a responseSchema the base model's answer is a stand-in that fits it (`standins`); an adapter's answer is
    kept when it is JSON and otherwise put into the schema's strings.
    """
    limit = _limit(config)
    complete = True
    if weights is not None:
        text, complete = weights.answer(prompt, limit)
        text = _shaped(text, prompt, base_model, config)
    else:
        text = _zero_shot(prompt, base_model, config)
    stops = config.get("stopSequences")
    for stop in stops if isinstance(stops, Sequence) and not isinstance(stops, str) else ():
        if isinstance(stop, str) and stop and stop in text:
            text, complete = text[: text.index(stop)], True
    pieces = lexical.tokens(text)
    if len(pieces) > limit:
        return Reply(lexical.decode(pieces[:limit]), "MAX_TOKENS")
    return Reply(text, "STOP" if complete else "MAX_TOKENS")


def embed(text: str, dimensions: int) -> list[float]:
    """A unit vector of signed, hashed words, word pairs and character n-grams (Chinese included).

    Lexical, not semantic: texts are near when they share words or parts of words. A text without any word
    character gives a fixed direction of its own, so that the norm is always 1.
    """
    hashes, weights = lexical.features(text)
    if not hashes:
        hashes, weights = [lexical.digest("e" + text)], [1.0]
    vector = _hashed(hashes, weights, dimensions)
    if not vector.any():  # two features may cancel in few dimensions
        vector[lexical.digest(text) % dimensions] = 1.0
    return [float(value) for value in vector / np.sqrt(vector @ vector)]


def _hashed(hashes: Sequence[int], weights: Sequence[float], dimensions: int) -> Floats:
    found = np.array(hashes, np.uint32)
    signed = np.where(found >> np.uint32(31), -1.0, 1.0) * np.array(weights)
    return np.bincount(found % np.uint32(dimensions), signed, minlength=dimensions).astype(np.float64)


def _limit(config: Mapping[str, Any]) -> int:
    asked = config.get("maxOutputTokens")
    if isinstance(asked, (int, float)) and not isinstance(asked, bool) and 0 < asked < 1 << 20:
        return int(asked)
    return _DEFAULT_LIMIT


# --- without an adapter -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """An answer the prompt offers, and the words it is matched by: the label, and its description if there is one."""

    label: str
    words: str


def _zero_shot(prompt: Prompt, base_model: str, config: Mapping[str, Any]) -> str:
    schema, kind = config.get("responseSchema"), config.get("responseMimeType")
    user = prompt.user
    if isinstance(schema, Mapping):
        if kind == "text/x.enum" and schema.get("enum"):
            return choose([str(value) for value in schema["enum"]], user, base_model)
        if kind == "application/json":
            return standins.fill(
                schema,
                user,
                choose=lambda values: choose(values, user, base_model),
                say=lambda: _plain(prompt, base_model),
            )
    answer = _plain(prompt, base_model)
    return json.dumps({"answer": answer}, ensure_ascii=False) if kind == "application/json" else answer


def _shaped(text: str, prompt: Prompt, base_model: str, config: Mapping[str, Any]) -> str:
    """An adapter's answer under the response format asked for."""
    schema, kind = config.get("responseSchema"), config.get("responseMimeType")
    schema = schema if isinstance(schema, Mapping) else {}
    if kind == "text/x.enum" and schema.get("enum"):
        return choose([str(value) for value in schema["enum"]], text, base_model)
    if kind != "application/json":
        return text
    try:
        json.loads(text)
    except ValueError:
        return standins.fill(
            schema or {"type": "STRING"},
            prompt.user,
            say=lambda: text,
            choose=lambda values: choose(values, text, base_model),
            special=False,
        )
    return text


def _plain(prompt: Prompt, base_model: str) -> str:
    user = prompt.user
    if not user.strip():
        return NOTHING
    offered, rest = candidates(prompt.system, cued=False)
    if offered:
        return _pick(offered, user, base_model)
    offered, rest = candidates(user, cued=True)
    if offered:
        return _pick(offered, rest, base_model)
    return _key_phrase(user)


def choose(values: Sequence[str], user: str, base_model: str) -> str:
    """The value with the best lexical match to `user`; the first of the best on a tie; "" without values."""
    return _pick(tuple(Candidate(value, value) for value in values), user, base_model) if values else ""


_CUE = (
    r"one of|options?|choices?|labels?|categor\w+|class(?:es)?|intents?|choose|select|pick|answer with"
    r"|allowed|topics?|选项|类别|标签|之一|选择|意图|分类|分为|可选|候选"
)
_COLON_LIST = re.compile(
    rf"(?P<cue>(?:{_CUE})[^:：\n]{{0,60}})?[:：]\s*"
    r"(?P<items>[^\n。]+(?:\n(?![ \t]*\n)[^\n:：]+)*)",
    re.IGNORECASE,
)
_ITEM = r"[^\s,，、.。:：]{1,30}"
_INLINE = re.compile(
    r"(?:\bas|\beither|\bof|\bfrom|\bwith|\bbetween|\bis|分为|属于|判断为|回答)[ \t]*"
    rf"((?:{_ITEM}(?:, ?|，|、))*{_ITEM}(?:,? or |,? and |或者|或|和|还是){_ITEM})",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)、])[ \t]*(\S[^\n]*)$", re.MULTILINE)
_SEPARATOR = re.compile(r"[,，;；、|\n]|\s+(?:or|and)\s+|或者|(?<=\S)\s*/\s+(?=\S)", re.IGNORECASE)
_TRIM = " \t\r\n\"'`“”‘’「」[](){}.。"


@lru_cache(maxsize=512)
def candidates(text: str, *, cued: bool) -> tuple[tuple[Candidate, ...], str]:
    """Answers that `text` offers, and what is left of `text` without them.

    Looked for in this order: bullet lists; lists after a colon (the longest; with `cued` only behind words
    such as "one of" or "类别", so that an input with a colon in it is not read as a list); "as a, b or c".
    """
    bullets = list(_BULLET.finditer(text))
    if len(bullets) >= 2:
        found = tuple(_described(match.group(1)) for match in bullets)
        return found, _without(text, bullets[0].start(), bullets[-1].end())
    best: tuple[Candidate, ...] = ()
    span = (0, 0)
    for match in _COLON_LIST.finditer(text):
        listed = match.group("items")
        if match.group("cue") is None and cued:
            continue
        first = listed.split("\n", 1)[0]
        if len(_items(first)) > 1 and not _SEPARATOR.fullmatch(first.rstrip()[-1:]):
            listed = first  # a list on one line ends with the line
        if (stop := re.search(r"\.(?:\s|$)", listed)) is not None:
            listed = listed[: stop.start()]
        items = _items(listed)
        plain = all(len(item) <= 60 and len(item.split()) <= 6 for item in items)
        if plain and len(items) >= (2 if match.group("cue") else 3) and len(items) > len(best):
            best = tuple(Candidate(item, item) for item in items)
            span = (match.start("items"), match.start("items") + len(listed))
    if not best and not cued and (inline := _INLINE.search(text)) is not None:
        listed = re.sub(r"和|或|还是|, or |, and ", ",", inline.group(1))
        best = tuple(Candidate(item, item) for item in _items(listed))
        span = inline.span(1)
    return (best, _without(text, *span)) if len(best) >= 2 else ((), text)


def _items(listed: str) -> list[str]:
    parts = (re.sub(r"^(?:or|and)\s+", "", part.strip(_TRIM)) for part in _SEPARATOR.split(listed))
    return list(dict.fromkeys(part for part in parts if part))


def _described(item: str) -> Candidate:
    parts = re.split(r"\s*[:：]\s+|：|\s+[-–—]+\s+", item.strip(), maxsplit=1)
    label = parts[0].strip(_TRIM) or item.strip()
    return Candidate(label, f"{label} {parts[1]}" if len(parts) > 1 else label)


def _without(text: str, start: int, end: int) -> str:
    return text[:start] + "\n" + text[end:]


def _pick(offered: tuple[Candidate, ...], user: str, base_model: str) -> str:
    fragments = "lite" not in base_model
    related = 0.8 if "pro" in base_model else 0.4 if fragments else 0.0
    matrix, idf = _matched(offered, fragments)
    query = _match_vector(user, fragments, related) * idf
    return offered[int((matrix @ query).argmax())].label


@lru_cache(maxsize=64)
def _matched(offered: tuple[Candidate, ...], fragments: bool) -> tuple[Floats, Floats]:
    """(candidates, buckets) unit rows and the idf of the buckets among the candidates."""
    matrix = np.stack([_match_vector(candidate.words, fragments, 1.0) for candidate in offered])
    idf = np.log(1 + len(offered) / (1 + (matrix > 0).sum(axis=0)))
    matrix *= idf
    norms = np.sqrt((matrix * matrix).sum(axis=1, keepdims=True))
    return matrix / np.maximum(norms, 1e-9), idf


def _match_vector(text: str, fragments: bool, related: float) -> Floats:
    vector = np.zeros(_MATCH_BUCKETS)
    for word in lexical.words(_apart(text)):
        if word in _STOP:
            continue
        for feature, weight in _match_features(word, fragments, related):
            vector[feature] = max(vector[feature], weight)
    return vector


@lru_cache(maxsize=1 << 12)
def _match_features(word: str, fragments: bool, related: float) -> tuple[tuple[int, float], ...]:
    if lexical.is_cjk(word):
        found = [
            (lexical.digest(word[i : i + n]), 1.0 if n == 2 else 0.4) for n in (1, 2) for i in range(len(word) - n + 1)
        ]
    else:
        stem = _stem(word)
        found = [(lexical.digest(stem), 1.0)]
        if fragments:
            padded = f"<{stem}>"
            found += [(lexical.digest(padded[i : i + 4]), 0.25) for i in range(len(padded) - 3)]
    if related:
        found += [(lexical.digest(f"={group}"), related) for group in _groups(word)]
    return tuple((feature % _MATCH_BUCKETS, weight) for feature, weight in found)


def _apart(text: str) -> str:
    """Labels opened up: cardArrival, card_arrival, card-arrival and card/arrival read "card arrival"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_/-]", " ", text)


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ed", "es", "er", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


_STOP = frozenset(
    re.findall(
        r"\w+",
        """
    a an the i my me we our you your it its is am are was be been do does did have has had of to in on at for
    from with and or but if so this that these those there can could would should will what why how when where
    who which not no please need want get got just still about intent as by up any""",
    )
)

# What the base model "knows" beyond spelling: a few groups of words that go together. Kept small on purpose.
_RELATED: tuple[str, ...] = (
    "positive good great excellent love loved delicious best perfect amazing happy wonderful tasty",
    "negative bad terrible awful worst hate disappointed disappointing poor stale waste refund horrible",
    "neutral okay ok average mixed decent alright",
    "正面 积极 好吃 喜欢 不错 推荐 满意 很好 棒",
    "负面 消极 难吃 差 失望 不好 糟糕 退款 垃圾",
    "cash atm withdraw withdrawal withdrawn",
    "fee charge charged cost price",
    "lost stolen missing stole",
    "arrive arrival arrived delivery deliver delivered come waiting",
    "decline declined rejected refused",
    "currency currencies exchange euros dollars pounds",
    "identity id verify verification",
    "weather rain sunny forecast temperature hot cold 天气 下雨 温度 预报 晴",
    "alarm wake 闹钟 叫醒",
    "reminder remind 提醒",
    "music song play playlist 播放 音乐 歌曲 歌",
    "movie film cinema 电影 影院",
    "delete cancel remove 取消 删除",
    "bill invoice payment 账单 发票 扣款",
    "password login account 密码 登录 账号",
)


@lru_cache(maxsize=1)
def _group_index() -> tuple[dict[str, list[int]], list[tuple[str, int]]]:
    latin: dict[str, list[int]] = {}
    chinese: list[tuple[str, int]] = []
    for number, line in enumerate(_RELATED):
        for word in line.split():
            if lexical.is_cjk(word):
                chinese.append((word, number))
            else:
                latin.setdefault(_stem(word), []).append(number)
    return latin, chinese


def _groups(word: str) -> list[int]:
    latin, chinese = _group_index()
    if lexical.is_cjk(word):
        return sorted({number for known, number in chinese if known in word})
    return latin.get(_stem(word), [])


def _key_phrase(user: str) -> str:
    """The longest run of words between function words in the part after the last colon, six words at most."""
    body = re.split(r"[:：]\s", user)[-1].strip() or user.strip()
    runs: list[list[str]] = [[]]
    for word in lexical.words(body):
        if lexical.is_cjk(word):
            runs.extend(([word[:12]], []))
        elif word in _STOP:
            runs.append([])
        else:
            runs[-1].append(word)
    best = max(runs, key=lambda run: (min(len(run), 6), sum(map(len, run))))
    return " ".join(best[:6]) or body[: max(1, math.ceil(len(body) / 2))]
