"""What the texts themselves show: broken characters, languages, instructions that only training has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...display import counted
from ...types import Example, Finding, Instructions, Severity
from ..scripts import language_of, script_shares, scripts_of
from .table import Table, find_in, finding

LANGUAGE_ROWS = 1000
"""Rows whose language is guessed: a share of 1,000 is known to three points."""
SURE = 30
"""Characters from which a guess is good enough to compare a question with its answer."""
FEW_SHARE = 0.05
"""A script or language with less than this share of the rows is the odd one."""

_KINDS: tuple[tuple[str, Severity, str, str], ...] = (
    ("replacement-character", "warning", "hold U+FFFD, which stands for a character that was lost",
     "decode the source again; the lost characters cannot be restored."),
    ("mojibake", "warning", "look like UTF-8 that was read as Windows-1252 ('Ã©' for 'é')",
     "decode the source as UTF-8."),
    ("invisible-characters", "note", "hold control or direction characters that nobody sees",
     "the model reads them; .repair() removes a byte order mark at the start of a text and NUL."),
)  # fmt: skip
# One group a kind, in their order, so that one scan finds all. Mojibake is a lead byte of UTF-8 (as a letter) with its
# continuation bytes (as marks); line breaks and tabs are no hidden characters.
_ODD = re.compile(
    "(\ufffd)"
    "|([\u00c2\u00c3][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
    "|\u00e2[\u0080-\u009f\u20ac][\u0080-\u00bf\u0152\u0153\u0160\u0161\u02dc\u2013-\u203a\u20ac\u2122]"
    "|\u00ef\u00bf\u00bd|\u951f\u65a4\u62f7)"
    "|([\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f])"
)
_FIRST = re.compile(
    "[\ufffd\u00c2\u00c3\u00e2\u00ef\u951f"
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)


def characters(table: Table) -> Iterable[Finding]:
    """Text that was decoded wrongly somewhere before, and characters that nobody sees."""
    found: tuple[dict[int, tuple[str, str]], ...] = ({}, {}, {})
    for field, texts in (("input", table.inputs), ("output", table.outputs)):
        for row, match in find_in(texts, _ODD, _FIRST):
            assert match.lastindex is not None
            found[match.lastindex - 1].setdefault(row, (field, match.group()))
    for (code, severity, words, hint), rows in zip(_KINDS, found, strict=True):
        if rows:
            shown = ", ".join(sorted({f"U+{ord(text[0]):04X}" for _, text in rows.values()})[:6])
            yield finding(
                code, severity, f"{counted(len(rows), 'row')} {words} ({shown})",
                [table.rows[row] for row in sorted(rows)], hint=hint, fields=[rows[row][0] for row in sorted(rows)],
            )  # fmt: skip


def scripts(table: Table) -> tuple[dict[str, float], list[Finding]]:
    """Script -> share of the letters of all inputs, and the rows that are mostly of a rare one."""
    shares = script_shares(table.inputs)
    main = next(iter(shares), "")
    # A Latin word in Chinese text is everyday; a row of Cyrillic among English ones is a find.
    rare = {script for script, share in shares.items() if share < FEW_SHARE and script not in ("latin", main)}
    if not rare:
        return shares, []
    of = scripts_of(table.inputs)
    rows = [row for row, script in enumerate(of) if script in rare]
    if not rows:  # single foreign letters, as in names and kaomoji, are no other language
        return shares, []
    shown = ", ".join(dict.fromkeys(of[row] for row in rows))
    return shares, [finding(
        "mixed-scripts", "note",
        f"{counted(len(rows), 'row is', 'rows are')} mostly of another script than {main}: {shown}",
        [table.rows[row] for row in rows], hint="a wrong decoding or another language; look at those rows.",
        field="input",
    )]  # fmt: skip


def languages(table: Table) -> tuple[dict[str, float], list[Finding]]:
    """Language -> share of a sample of the inputs (a guess), and answers in another language than their question."""
    chosen = table.sample(LANGUAGE_ROWS)
    asked = [language_of(table.inputs[row]) for row in chosen]
    counts: dict[str, int] = {}
    for language in asked:
        counts[language or "unknown"] = counts.get(language or "unknown", 0) + 1
    shares = {name: count / len(chosen) for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))}
    if table.labels:
        return shares, []
    both = [
        (row, question, answer)
        for row, question in zip(chosen, asked, strict=True)
        if question
        and min(len(table.inputs[row]), len(table.outputs[row])) >= SURE
        and (answer := language_of(table.outputs[row]))
    ]
    other = [(row, question, answer) for row, question, answer in both if question != answer]
    if not other or len(other) >= FEW_SHARE * len(both):  # where many do, translating is the task
        return shares, []
    _, question, answer = other[0]
    return shares, [finding(
        "answer-language", "note",
        f"{counted(len(other), 'answer is', 'answers are')} in another language than the question (of {len(both):,} "
        f"looked at), for example {answer} for {question}", [table.rows[row] for row, _, _ in other],
        hint="a guess by script and frequent words: look at those rows.", field="output",
    )]  # fmt: skip


PREFIX = 12
"""Characters from which a shared beginning counts as an instruction."""


def instructions(table: Table) -> Iterable[Finding]:
    """Instructions that training rows have and test rows do not, or the other way round.

    A model that was trained with an instruction is asked differently when the instruction is missing, so its score is
    that of another task. Looked at: system instructions, and beginnings that half of the rows of a part share.
    """
    parts = table.parts
    without = [row for row in parts.train if not row.system]
    if without and len(without) < len(parts.train):
        yield finding(
            "system-missing", "note",
            f"{counted(len(without), 'training row has', 'training rows have')} no system instruction, the others have "
            "one", without, hint="is it meant? .instruct(system=...) gives all rows the same.", field="system",
        )  # fmt: skip
    held = [*parts.validation, *parts.test]
    if not len(parts.train) or not held:
        return
    for name, ours, theirs in (
        ("system instruction", _systems(parts.train), _systems(held)),
        ("beginning", _beginnings(parts.train), _beginnings(held)),
    ):
        for have, lack, where, missing in (
            (ours, theirs, "training", "validation and test"), (theirs, ours, "validation and test", "training"),
        ):  # fmt: skip
            only = {text for text, share in have.items() if text and share >= 0.05 and text not in lack}
            if name == "beginning":
                only = {text for text in only if not any(_agree(text, other) for other in lack)}
            if not only:
                continue
            shown = min(only)
            rows = [
                row
                for row in (parts.train if where == "training" else held)
                if (row.system == shown if name == "system instruction" else _asked(row).startswith(shown))
            ]
            yield finding(
                "instructions-differ", "warning",
                f"a {name} of {where} rows never occurs in {missing} rows: {shown[:60]!r}", rows,
                hint="ask all parts in the same way: .instruct(system=..., each=...) acts on every part.",
            )  # fmt: skip


def replaced_system(rows: Iterable[Example], instructions: Instructions) -> tuple[Finding, ...]:
    """A warning when `instruct(system=)` stands in the place of system instructions that the rows have of their own."""
    if instructions.system is None:
        return ()
    own = [row for row in rows if row.system and row.system != instructions.system]
    if not own:
        return ()
    return (finding(
        "system-replaced", "warning",
        f"{counted(len(own), 'row has', 'rows have')} a system instruction of their own, for example "
        f"{(own[0].system or '')[:60]!r}; instruct(system=) puts another in its place", own,
        hint="leave system= out to keep them, or put what they say into it.", field="system",
    ),)  # fmt: skip


def _systems(rows: Iterable[Example]) -> dict[str, float]:
    counts: dict[str, int] = {}
    n = 0
    for row in rows:
        n += 1
        counts[row.system or ""] = counts.get(row.system or "", 0) + 1
    return {text: count / n for text, count in counts.items()}


def _asked(row: Example) -> str:
    """The last user turn as the model reads it, instance instruction included."""
    return next((turn.text for turn in reversed(row.turns) if turn.role == "user"), "")


def _agree(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _beginnings(rows: Sequence[Example]) -> dict[str, float]:
    """The longest text that at least half of the rows begin with, if it is as long as an instruction."""
    texts = sorted(_asked(row) for row in rows)
    n, best = len(texts), ""
    if n < 4:
        return {}
    # Sorted, rows with one beginning stand together, so a run of n / 2 rows shares what its first and last share.
    half = (n + 1) // 2
    for start in range(n - half + 1):
        first, last = texts[start], texts[start + half - 1]
        if len(best) < len(first) and first[: len(best) + 1] == last[: len(best) + 1]:
            size = len(best)
            while size < min(len(first), len(last)) and first[size] == last[size]:
                size += 1
            best = first[:size]
    distinct = len(set(texts))
    return {best: 0.5} if len(best) >= PREFIX and distinct > n / 4 else {}
