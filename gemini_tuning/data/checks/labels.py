"""Amounts, targets and classes: is there enough, is it an answer, is each label written in one way, is it right?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from ... import models
from ...display import counted
from ...types import Example, Finding
from ..parts import SHORT_OUTPUT
from ..similar.fold import key, white
from .table import PLACES, Limits, Table, finding

RARE = 10
"""Classes with fewer rows are named."""
FEW, SMALL = 20, 100
"""Fewer rows than this can hardly teach, and Google recommends to start with 100 (supervised-tuning/prepare-data)."""
_PUNCTUATION = re.compile(r"[^\w]+")
# `<EMAIL_1>` is what `redact` writes: an answer.
_PLACEHOLDER = re.compile(
    r"(?:n/?a|none|null|nan|nil|unknown|undefined|todo|tbd|fixme|xxx+|\?+|-+|\.+|_+|#n/a|#ref!|#value!"
    r"|lorem ipsum.*|placeholder|<(?![A-Z_]+_\d+>)[\w \-]+>|\[[\w \-]+\]|\{\{?[\w \-]+\}?\}|待定|待补充|无|暂无|未知)",
    re.IGNORECASE,
)


def counts_of(outputs: Iterable[str]) -> dict[str, int]:
    """Outputs with their counts, most frequent first, then by name."""
    return dict(sorted(Counter(outputs).items(), key=lambda pair: (-pair[1], pair[0])))


def amounts(table: Table, limits: Limits) -> Iterable[Finding]:
    """Too few to learn from, more than the model takes."""
    parts = table.parts
    n = len(parts.train)
    if not n:
        yield finding("no-examples", "stop", "there is no training example")
    elif n < FEW:
        yield finding(
            "few-examples", "warning", f"{counted(n, 'training example')} can hardly teach a task",
            hint=f"bring at least {SMALL}, or augment what is there.",
        )  # fmt: skip
    elif n < SMALL:
        yield finding("few-examples", "note", f"{n} training examples; Google recommends to start with {SMALL}")
    if n > limits.examples:
        yield finding(
            "too-many-examples", "stop", f"{n:,} training examples; the model takes {limits.examples:,}",
            hint="choose: .sample(n) or .dedup(near=0.8).",
        )  # fmt: skip
    held = len(parts.validation)
    share = models.VALIDATION_SHARE
    if held > limits.validation_examples or (held > models.VALIDATION_FREE and held > share * n):
        yield finding(
            "validation-limit", "stop",
            f"{held:,} validation rows; Gemini takes {limits.validation_examples:,}, and at most {share:.0%} of the "
            f"training rows where there are over {models.VALIDATION_FREE:,}", hint="use a smaller validation=.",
        )  # fmt: skip


def targets(table: Table) -> Iterable[Finding]:
    """Targets that teach nothing: empty, a placeholder, the input again."""
    empty = [
        example
        for example, output in zip(table.rows, table.outputs, strict=True)
        if not output.strip() and not _has_other_target(example)
    ]
    if empty:
        yield finding(
            "empty-target", "stop", f"{counted(len(empty), 'row')} with nothing to learn", empty,
            hint="remove or fill them.", field="output",
        )  # fmt: skip
    # "unknown" with its share of a classification is a class; a handful among many rows is a hole in the data.
    counts = Counter(table.outputs)
    average = len(table.rows) / max(1, len(counts)) if table.labels else float("inf")
    holes = {
        output
        for output, count in counts.items()
        if len(output) <= 200 and count < average / 2 and _PLACEHOLDER.fullmatch(white(output))
    }
    rows = [example for example, output in zip(table.rows, table.outputs, strict=True) if output in holes]
    if rows:
        yield finding(
            "placeholder-target", "warning",
            f"{counted(len(rows), 'target looks', 'targets look')} like a placeholder, for example "
            f"{rows[0].output[:40]!r}", rows,
            hint="fill in the answer or remove the row; a class of this name can stay.", field="output",
        )  # fmt: skip
    echoes = [
        example
        for example, asked, output in zip(table.rows, table.inputs, table.outputs, strict=True)
        if len(output) == len(asked) and output == asked and output
    ]
    if echoes and len(echoes) < len(table.rows) / 2:  # where most do, copying is the task
        yield finding(
            "echo-target", "warning",
            f"{counted(len(echoes), 'target repeats', 'targets repeat')} the input word for word", echoes,
            hint="is it the right column? Such a row teaches to repeat the question.", field="output",
        )  # fmt: skip


def _has_other_target(example: Example) -> bool:
    if example.references is not None or example.completions:  # rewarded or compared, not copied
        return True
    return bool(example.turns) and any(part.other is not None for part in example.turns[-1].parts)


def balance(table: Table) -> Iterable[Finding]:
    """Classes with too few rows; only one class."""
    if not table.labels:
        return
    train = table.parts.train
    counts = Counter(table.outputs[: len(train)])
    if len(counts) == 1 and len(train) >= FEW:  # a handful of rows may agree by chance
        yield finding(
            "single-label", "stop", f"every training row has the output {next(iter(counts))[:60]!r}",
            hint="is output= the right column?",
        )  # fmt: skip
    rare = dict(sorted((pair for pair in counts.items() if pair[1] < RARE), key=lambda pair: (pair[1], pair[0])))
    if rare:
        shown = ", ".join(f"{label[:40]!r} {count}" for label, count in list(rare.items())[:5])
        yield finding(
            "rare-labels", "warning",
            f"{len(rare):,} of {counted(len(counts), 'output')} have fewer than {RARE} training rows: {shown}",
            [example for example, output in zip(train, table.outputs, strict=False) if output in rare],
            hint=f".augment(paraphrase(), only=rare_labels(below={RARE})), or bring more of them.", field="output",
            details={"labels": dict(list(rare.items())[:PLACES])},
        )  # fmt: skip


def spellings(table: Table) -> Iterable[Finding]:
    """Short outputs that differ in case, spaces, `_` or punctuation only.

    The most frequent spelling is taken as meant; when none is, the rows of all of them are named.
    """
    counts = Counter(output for output in table.outputs if len(output) <= SHORT_OUTPUT)
    spelled: dict[str, dict[str, int]] = {}
    for output, count in counts.items():
        spelled.setdefault(key(output.replace("_", " ")), {})[output] = count
    odd: dict[str, list[str]] = {}
    for same in spelled.values():
        if not table.labels and len({_PUNCTUATION.sub("", name) for name in same}) == 1:
            continue  # "Thanks." beside "Thanks!" is talk, not a label
        most = max(same.values())
        common = [name for name, count in same.items() if count == most]
        for name in same:
            if len(same) > 1 and common != [name]:
                odd[name] = sorted(
                    (other for other in same if other != name), key=lambda other: (-counts[other], other)
                )
    wrong = [example for example, output in zip(table.rows, table.outputs, strict=True) if output in odd]
    if wrong:
        first = wrong[0].output
        yield finding(
            "label-spelling", "warning",
            f"{counted(len(wrong), 'target is', 'targets are')} one of several spellings, for example {first!r} beside "
            f"{odd[first][0]!r}", wrong, hint="the model would learn both: write each label in one way.",
            field="output", details={"spellings": dict(list(odd.items())[:PLACES])},
        )  # fmt: skip
