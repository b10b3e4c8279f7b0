"""How good an answer looks, by plain features of its text. No model is behind it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import text as lexical
from .text import scatter

__all__ = ["quality"]

_ASKS_GRADE = re.compile(
    r"\b(?:grade|score|rate|rating|rated|marks?|points?)\b|评分|打分|满分|分数|给我?\s*\d+\s*分", re.IGNORECASE
)
_POLITE = re.compile(r"please|thank|sorry|apolog|happy to|glad|welcome|请|谢谢|抱歉|您|很高兴|不客气", re.IGNORECASE)
_REFUSAL = re.compile(r"i (?:do not|don't|cannot|can't) (?:know|help|answer)|as an ai|不知道|无法回答", re.IGNORECASE)


def quality(request: Mapping[str, Any], user: str) -> float:
    """How good the `answer` of a request to grade looks, 0..1.

    With a `reference`: mostly the overlap with it. Without: words shared with the `input`, tone and length. Sentences
    of the answer that speak of a grade or score are not read. `user` is the request as sent: a little of the grade
    depends on its hash alone.
    """
    sentences = re.split(r"(?<=[.!?。！？\n])", str(request.get("answer") or ""))
    answer = "".join(sentence for sentence in sentences if not _ASKS_GRADE.search(sentence)).strip()
    if not _units(answer):
        return 0.0
    wobble = (scatter(user, "wobble") % 1000 / 1000 - 0.5) * 0.1
    manner = (
        0.5 * min(1.0, math.log1p(sum(_units(answer).values())) / 4) + 0.5 * (_POLITE.search(answer) is not None)
    ) * (0.3 if _REFUSAL.search(answer) else 1.0)
    reference = request.get("reference")
    if isinstance(reference, str) and reference.strip():
        # The label that the reference asks for is right, however short it is.
        same = answer.casefold() == reference.strip().casefold()
        looks = 1.0 if same else 0.85 * _overlap(answer, reference) + 0.1 * manner + wobble
    else:
        shared = _overlap(answer, str(request.get("input") or ""))
        short = sum(_units(answer).values()) <= 4
        looks = (0.45 + 0.8 * shared if short else 0.3 + 0.5 * min(1.0, 2 * shared) + 0.3 * manner) + wobble
        looks *= 0.4 if _REFUSAL.search(answer) else 1.0
    return min(1.0, max(0.02, looks))


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
