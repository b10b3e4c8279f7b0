"""What a data set weighs in tokens, without a network, and how far off that may be."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from ..types import Example, Turn

PROSE, OTHER = 0.25, 0.40
"""How far the heuristic may be off: words of the scripts that it knows; digits, marks, code and rare scripts (see
`data.tokens`). An error of a class is the same in every example, so it does not average out over many."""

_LOOKED_AT = 2_000
"""Examples from which the mix is taken: enough for a share to within 2 %."""

# What is none of the scripts with a rate of their own in `data.tokens`, and none of the spaces between words.
_HARD = re.compile(
    r"[^A-Za-z\u00c0-\u024f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u3040-\u30ff\uac00-\ud7a3\u0370-\u052f\s]+"
    r"|\s{2,}"
)


def training_tokens(examples: Sequence[Example]) -> list[float]:
    """Estimated tokens that each example is trained with in one epoch, in order.

    A supervised example counts once, input and output. A preference pair counts its prompt once for each of its
    answers: 2 x prompt + both answers (models/tuning/preference-tuning).
    """
    from ..data.tokens import dataset_tokens  # numpy is loaded only by the work that needs it

    tokens = [float(count) for count in dataset_tokens(examples)]
    pairs = [at for at, example in enumerate(examples) if len(example.completions) > 1]
    for at, prompt in zip(pairs, prompt_tokens([examples[at] for at in pairs]), strict=True):
        tokens[at] += (len(examples[at].completions) - 1) * prompt
    return tokens


def prompt_tokens(examples: Sequence[Example]) -> list[float]:
    """Estimated tokens of what a model is sent to answer each example, in order."""
    from ..data.tokens import dataset_tokens

    prompts = (Example(turns=each.prompt.turns, system=each.system, tools=each.tools) for each in examples)
    return [float(count) for count in dataset_tokens(prompts)]


def output_tokens(examples: Sequence[Example]) -> float:
    """Estimated tokens of all the references together."""
    from ..data.tokens import estimate_many

    return float(estimate_many([example.output for example in examples]).sum())


def error_band(examples: Sequence[Example]) -> float:
    """How far off the estimate of these examples may be, as a share: between `PROSE` and `OTHER`, by their mix.

    Depends on the set of examples, not on their order; 0.25 for none.
    """
    from ..data.tokens import estimate_many

    texts = [text for example in _few(examples) for text in (example.system, *_texts(example)) if text]
    hard = float(estimate_many([" ".join(_HARD.findall(text)) for text in texts]).sum())
    total = float(estimate_many(texts).sum())
    share = min(1.0, hard / total) if total else 0.0
    return PROSE + (OTHER - PROSE) * share


def count_files(examples: Sequence[Example]) -> int:
    """Files in these examples: their tokens are guessed without looking at them."""
    from ..data.tokens import media_tokens

    others = (part.other for example in examples for turn in _turns(example) for part in turn.parts)
    return sum(other is not None and media_tokens(other) is not None for other in others)


def _few(examples: Sequence[Example]) -> Sequence[Example]:
    """At most about `_LOOKED_AT` examples, chosen by what they say, so that their order does not matter."""
    if len(examples) <= 2 * _LOOKED_AT:
        return examples
    every = len(examples) // _LOOKED_AT

    def words(example: Example) -> bytes:
        return f"{example.text}\0{example.output}".encode("utf-8", "surrogatepass")

    chosen = [each for each in examples if zlib.crc32(words(each)) % every == 0]
    return chosen or [min(examples, key=words)]  # nearly all of them say the same


def _turns(example: Example) -> tuple[Turn, ...]:
    return (*example.turns, *(each.turn for each in example.completions))


def _texts(example: Example) -> list[str]:
    return [turn.text for turn in _turns(example)]
