"""Personal data: the time to look through many texts, to redact them, and to pass through hostile ones.

    PYTHONPATH=. python benchmarks/redact.py [rows]

Texts are made here, with a fixed seed: about 0.5 kB each, English and Chinese, a third with a figure in them, one in a
hundred with something personal.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from gemini_tuning.data.private.finding import find_personal, personal_findings, scan
from gemini_tuning.data.private.redact import redact
from gemini_tuning.types import Dataset, Example

WORDS = [
    "the", "order", "came", "late", "and", "box", "was", "open", "again", "so", "I", "called", "support", "they",
    "said", "wait", "another", "week", "because", "weather", "is", "bad", "but", "nothing", "happened", "please",
    "tell", "me", "when", "refund", "arrives", "thank", "you", "very", "much", "for", "your", "help", "key",
    "question",
]  # fmt: skip
HAN = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能"
PERSONAL = (
    "write to jane.roe{}@mail-host.net", "call 415-555-{:04d}", "手机13800{:06d}", "card 4111 1111 1111 1111",
    "password: hunter{}x9", "from 93.184.216.{:d}",
)  # fmt: skip


def corpus(n: int, seed: int = 0) -> list[str]:
    random_ = random.Random(seed)
    texts = []
    for _ in range(n):
        if random_.random() < 0.7:
            words = random_.choices(WORDS, k=95)
            if random_.random() < 0.33:
                words[50] = random_.choice(["2019", "$12.50", "order 88231", "3", "12:30", "2021-03-04"])
        else:
            words = ["".join(random_.choices(HAN, k=17)) for _ in range(10)]
        if random_.random() < 0.01:
            words.append(random_.choice(PERSONAL).format(random_.randrange(200)))
        texts.append(" ".join(words))
    return texts


def timed(what: str, function: Callable[[], object], texts: list[str]) -> None:
    start = time.process_time()
    result = function()
    seconds = time.process_time() - start
    size = sum(map(len, texts))
    print(
        f"{what}: {seconds:.2f} s of CPU for {size / 1e6:.1f} M characters ({seconds / size * 1e9:.1f} ns each), "
        f"{result}"
    )


HOSTILE = {
    "digits": "1",
    "digits and spaces": "1 ",
    "digits and dashes": "12-",
    "dots": "1.",
    "at signs": "a@",
    "at signs and dots": "a@b.",
    "brackets": "(",
    "plus": "+1",
    "colons": "2001:",
    "letters": "a",
    "keys": "eyJ",
    "key frames": "sk-a1",
    "passwords": "password:",
    "logins": "x://a1:",
    "private keys": "-----BEGIN PRIVATE KEY-----1",
    "bearer": "bearer ",
    "IBAN": "GB82 ",
    "emails": "a1@b.co ",
    "phones": "415-555-2671 ",
    "placeholders": "<EMAIL_1> a@b.co ",
}


def main() -> None:
    n = int(sys.argv[1]) if sys.argv[1:] else 100_000
    texts = corpus(n)
    timed(f"scan, {n:,} texts", lambda: f"{len(scan(texts)):,} finds", texts)
    rows = [Example.of(text, "refund") for text in texts]
    timed("personal_findings", lambda: f"{len(personal_findings(rows))} findings", texts)
    dataset = Dataset(rows)
    _ = dataset.examples
    timed("redact", lambda: f"{redact(dataset)[1].total:,} replaced", texts)
    for name, piece in HOSTILE.items():
        text = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
        timed(f"hostile, {name}", lambda text=text: f"{len(find_personal(text)):,} finds", [text])
    text = "".join(f"a{at}@b.co 41555{at:05d} password: x{at}yz99 " for at in range(20_000))
    timed("redact one text of many values", lambda: redact(Dataset([Example.of(text, "x")]))[1].total, [text])


if __name__ == "__main__":
    main()
