"""What `check` stands on: duplicates, tokens and scripts at several sizes, and whether the pairs are the right ones.

    PYTHONPATH=. python benchmarks/dedup_simple.py [rows ...]

Texts are made here (no data set is read): sentences from a pool, half English and half Chinese, a quarter of them
copies of an earlier one with a small edit. The reference compares every pair with Python sets. Times are processor
seconds; `json.loads` of the same texts beside them says how fast the machine was in that minute.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from gemini_tuning.data import Parts, exact_duplicates, near_duplicates
from gemini_tuning.data.scripts import script_shares
from gemini_tuning.data.similar.dedup import survey
from gemini_tuning.data.similar.fold import all_numbers, fold, key, numbers
from gemini_tuning.data.similar.near import Sketches
from gemini_tuning.data.similar.shingles import jaccard
from gemini_tuning.data.tokens import dataset_tokens
from gemini_tuning.types import Dataset, Example

T = TypeVar("T")
LABELS = ["card_arrival", "lost_card", "refund", "top_up"]

SYLLABLES = [
    "ta", "du", "fer", "mi", "so", "ck", "nt", "ing", "ed", "le", "ry", "ol", "re", "con", "pre", "sta", "mor", "lin",
    "ab", "ush", "ghe", "vy", "wo", "zan", "qui", "hel",
]  # fmt: skip
WORDS = ["".join(parts) for parts in itertools.product(SYLLABLES, repeat=3)]
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 900)]
THRESHOLD = 0.8


def corpus(n: int, seed: int = 0) -> list[str]:
    random_ = random.Random(seed)
    texts: list[str] = []
    for _ in range(n):
        if texts and random_.random() < 0.25:
            text = list(random_.choice(texts))
            for _ in range(random_.randint(1, 3)):
                text[random_.randrange(len(text))] = random_.choice("aeiou中文字 ")
            texts.append("".join(text))
        elif random_.random() < 0.5:
            texts.append(" ".join(random_.choice(WORDS) for _ in range(random_.randint(5, 80))))
        else:
            texts.append("".join(random_.choice(HAN) for _ in range(random_.randint(10, 200))))
    return texts


def shingles(text: str) -> frozenset[str]:
    """The definition in `shingles.py`, in plain Python."""

    def dense(char: str) -> bool:
        return "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3"

    return frozenset(text[at : at + (2 if dense(text[at]) else 4)] for at in range(len(text)))


def reference(texts: list[str]) -> set[frozenset[str]]:
    """Every pair, by Python sets: the groups, as sets of folded texts."""
    distinct = sorted({key(text): text for text in texts}.items())
    sets = [shingles(fold(text)) for _, text in distinct]
    figures = [numbers(text) for _, text in distinct]
    parent = list(range(len(sets)))

    def root(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    for a in range(len(sets)):
        for b in range(a):
            small, large = sorted((len(sets[a]), len(sets[b])))
            if small >= THRESHOLD * large and figures[a] == figures[b]:
                both = len(sets[a] & sets[b])
                if both >= THRESHOLD * (small + large - both):
                    parent[root(a)] = root(b)
    groups: dict[int, set[str]] = {}
    for at, (name, _) in enumerate(distinct):
        groups.setdefault(root(at), set()).add(name)
    return {frozenset(group) for group in groups.values()}


def main() -> None:
    texts = corpus(2000)
    start = time.perf_counter()
    wanted = reference(texts)
    slow = time.perf_counter() - start
    start = time.perf_counter()
    found = near_duplicates(texts, threshold=THRESHOLD)
    fast = time.perf_counter() - start
    groups: dict[int, set[str]] = {}
    for text, group in zip(texts, found.groups.tolist(), strict=True):
        groups.setdefault(group, set()).add(key(text))
    same = {frozenset(group) for group in groups.values()} == wanted
    print(f"2,000 rows: every pair in Python {slow:.2f} s, near_duplicates {fast:.2f} s, same groups: {same}")
    for n in [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000]:
        measure(n)


def timed(function: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def measure(n: int) -> None:
    texts = corpus(n)
    lines = [json.dumps({"input": text, "output": "a label"}) for text in texts]
    data = Dataset(Example.of(text, LABELS[row % len(LABELS)]) for row, text in enumerate(texts))
    data.examples  # noqa: B018  their origins are made now
    parts = Parts(train=data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    json_time, _ = timed(lambda: [json.loads(line) for line in lines])
    fold_time, folded = timed(lambda: [fold(text) for text in texts])
    numbers_time, _ = timed(lambda: all_numbers(texts))
    sketches = Sketches(folded, THRESHOLD)
    sketch_time, _ = timed(lambda: sketches.of([folded[0]]))
    exact_time, exact = timed(lambda: exact_duplicates(texts))
    near_time, near = timed(lambda: near_duplicates(texts, threshold=THRESHOLD))
    verify_time, _ = timed(lambda: jaccard(folded, near.pairs[:, 0], near.pairs[:, 1]))
    survey_time, found = timed(lambda: survey(parts, THRESHOLD))
    tokens_time, _ = timed(lambda: dataset_tokens(data))
    scripts_time, _ = timed(lambda: script_shares(texts))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{n:,} rows (mean {sum(map(len, texts)) / n:.0f} characters), json.loads {json_time:.2f} s:\n"
        f"  fold {fold_time:.2f}, numbers {numbers_time:.2f}, sketch {sketch_time:.2f}, "
        f"verify the {len(near.pairs):,} pairs found {verify_time:.2f}\n"
        f"  exact {exact_time:.2f} s ({exact.duplicates:,}), near {near_time:.2f} s ({near.duplicates:,}, "
        f"complete: {near.complete})\n"
        f"  survey {survey_time:.2f} s ({found.duplicates}), tokens {tokens_time:.2f} s, scripts {scripts_time:.2f} s, "
        f"+{grown:.0f} MB"
    )


if __name__ == "__main__":
    main()
