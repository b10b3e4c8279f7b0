"""Findings about data before any money is spent: what is wrong, where, and what to do.

Codes: `data-*` (the file cannot be read, as `read` would say), `no-examples`, `few-examples`, `exact-duplicates`,
`near-duplicates`, `label-conflict`, `label-spelling`, `leak-exact`, `leak-near`, `rare-labels`, `single-label`,
`empty-target`, `placeholder-target`, `too-long`, `too-many-examples`, `validation-limit`, `consecutive-turns`,
`mixed-scripts`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from ..errors import DataError, PlanError
from ..models import EXAMPLES, TOKENS_PER_EXAMPLE, VALIDATION_EXAMPLES, VALIDATION_FREE, VALIDATION_SHARE
from ..types import Dataset, Example, Finding, Json, Location, Severity
from .data_report import DataReport, Distribution
from .fold import key, white
from .parts import SHORT_OUTPUT, Parts, label_like
from .reading import read_with
from .tokens import example_tokens

__all__ = ["DataReport", "Distribution", "Limits", "check", "check_file"]

NEAR = 0.8
RARE = 10
"""Classes with fewer rows are named."""
FEW, SMALL = 20, 100
"""Fewer rows than this cannot teach (stop), and Google recommends at least 100 (note)."""

_PLACES = 1000
_PLACEHOLDER = re.compile(
    r"(?:n/?a|none|null|nan|nil|unknown|undefined|todo|tbd|fixme|xxx+|\?+|-+|\.+|_+|#n/a|#ref!|#value!"
    r"|lorem ipsum.*|placeholder|<[\w \-]+>|\[[\w \-]+\]|\{\{?[\w \-]+\}?\}|待定|待补充|无|暂无|未知)",
    re.IGNORECASE,
)
_SEVERITY = {"stop": 0, "warning": 1, "note": 2}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes: the strictest of today's models when nothing else is said (Google's pages, read 2026-11)."""

    tokens_per_example: int = TOKENS_PER_EXAMPLE
    examples: int = EXAMPLES
    validation_examples: int = VALIDATION_EXAMPLES


def check(data: Parts | Dataset, *, limits: Limits | None = None, near: float | None = NEAR) -> DataReport:
    """Looks at examples and reports; never changes or drops any.

    Args:
        data: A data set, or its parts: then leaks between them are looked for too.
        limits: Of the model; the strictest of today's when None.
        near: Similarity from which two inputs are near-duplicates; None looks for exact ones only.
    """
    if not isinstance(data, Parts | Dataset):
        raise PlanError.bad_value(
            "check", "data", type(data).__name__, "a Dataset or Parts", hint="for a file: check_file(path)."
        )
    parts = data if isinstance(data, Parts) else Parts(train=data)
    limits = limits or Limits()
    rows = [*parts.train, *parts.validation, *parts.test]
    duplicates, findings = _duplicates(parts, near)
    tokens = [example_tokens(example) for example in rows]
    labels = label_like(rows)
    findings += [
        *_amount(parts, limits),
        *_targets(rows, labels),
        *_lengths(rows, tokens, limits),
        *(_balance(parts) if labels else ()),
        *_spellings(rows),
        *_turns(rows),
    ]
    scripts = script_shares(example.input for example in rows)
    findings += _scripts(scripts)
    return DataReport(
        source=parts.train.source,
        rows={
            name: len(part)
            for name, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test))
            if len(part) or name == "train"
        },
        findings=tuple(sorted(findings, key=lambda finding: _SEVERITY[finding.severity])),
        labels=Dataset(rows).labels if labels else {},
        tokens=Distribution.of(tokens),
        input_characters=Distribution.of([float(len(example.input)) for example in rows]),
        output_characters=Distribution.of([float(len(example.output)) for example in rows]),
        scripts=scripts,
        duplicates=duplicates,
    )


def check_file(
    path: str | os.PathLike[str],
    *,
    format: Literal["jsonl", "json", "csv", "gemini"] | None = None,
    input: str = "input",
    output: str = "output",
    limits: Limits | None = None,
) -> DataReport:
    """The same for a file. Whatever is in it gives a report: each row that `read` refuses is in a `stop` finding.

    Raises:
        DataError: only for a path that cannot be opened (`code` is `data-file`).
    """
    refused: list[DataError] = []
    try:
        dataset = read_with(path, refused.append, format=format, input=input, output=output)
    except DataError as error:
        if error.code == "data-file":
            raise
        return DataReport(source=os.fspath(path), rows={"train": 0}, findings=_refusals([*refused, error]))
    report = check(dataset, limits=limits)
    return msgspec.structs.replace(report, findings=(*_refusals(refused), *report.findings))


def _refusals(errors: Sequence[DataError]) -> tuple[Finding, ...]:
    """One finding a kind of error, with all its lines; the message is that of the first."""
    kinds: dict[tuple[str, str], list[DataError]] = {}
    for error in errors:
        kinds.setdefault((error.code, error.hint), []).append(error)
    return tuple(
        Finding(
            code=code, severity="stop", message=_what(same[0]), hint=hint, count=len(same),
            where=tuple(Location(error.file, error.line, error.field) for error in same[:_PLACES]),
        )
        for (code, hint), same in kinds.items()
    )  # fmt: skip


def _what(error: DataError) -> str:
    """The error without its place, which the finding has in `where`."""
    place, _, what = error.message.partition(": ")
    return what if error.file is not None and place.startswith(error.file) else error.message


def _finding(
    code: str,
    severity: Severity,
    message: str,
    rows: Sequence[Example] = (),
    *,
    hint: str = "",
    field: str | None = None,
    details: dict[str, Json] | None = None,
) -> Finding:
    return Finding(
        code=code, severity=severity, message=message, hint=hint, count=len(rows), details=details or {},
        where=tuple(Location(each.where.file, each.where.line, field or each.where.field) for each in rows[:_PLACES]),
    )  # fmt: skip


def _duplicates(parts: Parts, near: float | None) -> tuple[dict[str, int], list[Finding]]:
    # numpy is loaded only by the work that needs it.
    from .dedup import dedup_parts, input_groups, label_conflicts

    rows = [*parts.train, *parts.validation, *parts.test]
    names = ["train"] * len(parts.train) + ["validation"] * len(parts.validation) + ["test"] * len(parts.test)
    _, report = dedup_parts(parts, near=near)
    findings: list[Finding] = []
    counts = {"exact": 0, "near": 0}
    for kind, kinds, code in (
        ("exact", ("exact", "normalized"), "exact-duplicates"),
        ("near", ("near",), "near-duplicates"),
    ):
        gone = [drop for drop in report.dropped if drop.kind in kinds]
        counts[kind] = len(gone)
        if gone:
            shown = [
                {"row": str(drop.example.where), "of": str(drop.because_of.where), "similarity": drop.similarity}
                for drop in gone[:20]
            ]
            how, advice = (
                ("equal after folding", "training sees them twice: .dedup()") if kind == "exact"
                else (f"similarity {near} or more", f"read them, then .dedup(near={near})")
            )  # fmt: skip
            findings.append(_finding(
                code, "warning" if kind == "exact" else "note",
                f"{len(gone):,} rows repeat another ({how}, same output)", [drop.example for drop in gone],
                hint=advice,
                details={"pairs": shown},
            ))  # fmt: skip
    findings += label_conflicts(rows)
    seen: set[int] = set()
    for code, threshold, what in (("leak-exact", None, "is equal to"), ("leak-near", near, "is a near-duplicate of")):
        if code == "leak-near" and near is None:
            continue
        leaks = []
        for members in input_groups(rows, threshold).clusters():
            held = [names[row] for row in members]
            if len(set(held)) > 1:
                # The later part is what must stay clean: its partners in earlier parts are the leak.
                last = "test" if "test" in held else "validation"
                leaks += [row for row in members if names[row] != last and row not in seen]
        seen.update(leaks)
        if leaks:
            findings.append(_finding(
                code, "stop" if code == "leak-exact" else "warning",
                f"{len(leaks):,} rows of train or validation have an input that {what} one of a later part",
                [rows[row] for row in sorted(leaks)],
                hint="the score on that part would be too good: .split() keeps them together, .dedup() removes them.",
            ))  # fmt: skip
    return counts, findings


def _amount(parts: Parts, limits: Limits) -> Iterable[Finding]:
    n = len(parts.train)
    if not n:
        yield _finding("no-examples", "stop", "there is no training example")
    elif n < FEW:
        yield _finding(
            "few-examples", "stop", f"{n} training examples cannot teach a task", parts.train.examples,
            hint=f"bring at least {SMALL}; augment what is there.",
        )  # fmt: skip
    elif n < SMALL:
        yield _finding(
            "few-examples", "note", f"{n} training examples; Google recommends to start with {SMALL}",
            parts.train.examples,
        )  # fmt: skip
    if n > limits.examples:
        yield _finding(
            "too-many-examples", "stop", f"{n:,} training examples; the model takes {limits.examples:,}",
            hint="choose: .sample(n) or .dedup(near=0.8).",
        )  # fmt: skip
    held = len(parts.validation)
    if held > limits.validation_examples or (held > VALIDATION_FREE and held > VALIDATION_SHARE * n):
        yield _finding(
            "validation-limit", "stop",
            f"{held:,} validation rows; Gemini takes {limits.validation_examples:,}, and at most "
            f"{VALIDATION_SHARE:.0%} of the training rows where there are over {VALIDATION_FREE:,}",
            parts.validation.examples, hint="use a smaller validation=.",
        )  # fmt: skip


def _targets(rows: Sequence[Example], labels: bool) -> Iterable[Finding]:
    empty = [example for example in rows if not example.output.strip() and not _has_other_target(example)]
    if empty:
        yield _finding(
            "empty-target", "stop", f"{len(empty):,} rows have nothing to learn", empty, hint="remove or fill them.",
            field="output",
        )  # fmt: skip
    matches = [example for example in rows if _PLACEHOLDER.fullmatch(white(example.output))]
    # "unknown" with its share of a classification is a class; a handful among many rows is a hole in the data.
    if labels:
        counts: dict[str, int] = {}
        for example in rows:
            counts[example.output] = counts.get(example.output, 0) + 1
        average = len(rows) / max(1, len(counts))
        matches = [example for example in matches if counts[example.output] < average / 2]
    if matches:
        yield _finding(
            "placeholder-target", "warning",
            f"{len(matches):,} targets look like placeholders, for example {matches[0].output[:40]!r}", matches,
            hint="fill in the answer or remove the row; a class of this name can stay.", field="output",
        )  # fmt: skip


def _has_other_target(example: Example) -> bool:
    return bool(example.turns) and any(part.other is not None for part in example.turns[-1].parts)


def _lengths(rows: Sequence[Example], tokens: Sequence[float], limits: Limits) -> Iterable[Finding]:
    over = [example for example, count in zip(rows, tokens, strict=True) if count > limits.tokens_per_example]
    if over:
        yield _finding(
            "too-long", "stop",
            f"{len(over):,} examples have more than {limits.tokens_per_example:,} tokens (estimated; the largest has "
            f"{max(tokens):,.0f})", over, hint="shorten or remove them: the service cuts or refuses them.",
        )  # fmt: skip


def _balance(parts: Parts) -> Iterable[Finding]:
    counts = parts.train.labels
    if len(counts) == 1 and len(parts.train) > 1:
        yield _finding(
            "single-label", "stop", f"every training row has the output {next(iter(counts))[:60]!r}",
            hint="is output= the right column?",
        )  # fmt: skip
    rare = {label: count for label, count in counts.items() if count < RARE}
    if rare:
        shown = ", ".join(f"{label[:40]!r} {count}" for label, count in list(rare.items())[-5:])
        yield _finding(
            "rare-labels", "warning",
            f"{len(rare):,} of {len(counts):,} outputs have fewer than {RARE} training rows: {shown}",
            [example for example in parts.train if example.output in rare],
            hint=f".augment(paraphrase(), only=rare_labels(below={RARE})), or bring more of them.", field="output",
            details={"labels": dict(list(rare.items())[-_PLACES:])},
        )  # fmt: skip


def _spellings(rows: Sequence[Example]) -> Iterable[Finding]:
    """Short outputs that differ in case, spaces, `_` or punctuation only.

    The most frequent spelling is taken as meant; when none is, the rows of all of them are named.
    """
    spelled: dict[str, dict[str, int]] = {}
    for example in rows:
        if len(example.output) > SHORT_OUTPUT:
            continue
        counts = spelled.setdefault(key(example.output.replace("_", " ")), {})
        counts[example.output] = counts.get(example.output, 0) + 1
    odd: dict[str, list[str]] = {}
    for counts in spelled.values():
        most = max(counts.values())
        common = [name for name, count in counts.items() if count == most]
        for name in counts:
            if len(counts) > 1 and common != [name]:
                odd[name] = sorted((other for other in counts if other != name), key=lambda other: -counts[other])
    wrong = [example for example in rows if example.output in odd]
    if wrong:
        first = wrong[0].output
        yield _finding(
            "label-spelling", "warning",
            f"{len(wrong):,} targets are one of several spellings, for example {first!r} beside {odd[first][0]!r}",
            wrong, hint="the model would learn both: write each label in one way.", field="output",
            details={"spellings": dict(list(odd.items())[:_PLACES])},
        )  # fmt: skip


def _turns(rows: Sequence[Example]) -> Iterable[Finding]:
    double = [
        example for example in rows
        if any(a.role == b.role for a, b in zip(example.turns, example.turns[1:], strict=False))
    ]  # fmt: skip
    if double:
        yield _finding(
            "consecutive-turns", "warning", f"{len(double):,} conversations have two turns of one speaker in a row",
            double, hint="join them into one turn with several parts.", field="contents",
        )  # fmt: skip


def _script(char: str) -> str:
    code = ord(char)
    if code < 0x250:
        return "latin"
    if 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF or 0xF900 <= code <= 0xFAFF:
        return "han"
    name = unicodedata.name(char, "other").split()[0].lower()
    return {"hiragana": "kana", "katakana": "kana", "cjk": "han", "fullwidth": "latin"}.get(name, name)


def script_shares(texts: Iterable[str]) -> dict[str, float]:
    """Script -> share of all letters, largest first. Scripts, not languages: English and French are both `latin`."""
    counts: dict[str, int] = {}
    characters: dict[str, int] = {}
    for text in texts:
        for char in text:
            characters[char] = characters.get(char, 0) + 1
    for char, count in characters.items():
        if char.isalpha():
            script = _script(char)
            counts[script] = counts.get(script, 0) + count
    total = sum(counts.values())
    return {script: count / total for script, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}


def _scripts(scripts: dict[str, float]) -> list[Finding]:
    small = {script: share for script, share in scripts.items() if 0 < share < 0.05}
    main = next(iter(scripts), "")
    rare = [script for script in small if script != "latin"]
    if not rare or not main:
        return []
    shown = ", ".join(f"{script} {small[script]:.2%}" for script in rare)
    return [_finding("mixed-scripts", "note", f"a few letters are of other scripts than {main}: {shown}",
                     hint="a wrong decoding or another language; look at those rows.")]  # fmt: skip
