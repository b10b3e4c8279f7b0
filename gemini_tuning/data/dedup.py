"""Duplicates: which texts are the same, and which examples are therefore one too many.

Two examples are duplicates when what the user wrote is (instructions excluded) *and* their outputs agree. An output
of up to 40 characters is compared exactly but for white space; a longer one must be as similar as the text. Images,
files, tools and function calls must be equal. The same input with another output is a conflict: reported, kept.

A changed number is never a near-duplicate ("a refund of 100", "a refund of 1000"): both texts must hold the same
numbers in the same order (`fold.numbers`). This costs some true duplicates with garbled digits, on purpose.

Groups are connected components, so that a lower threshold never keeps more. What stays of a group is decided by
content, never by the order of the rows: the user's own before an augmented one, then the longest text, then the
smallest origin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import msgspec
import numpy as np

from ..errors import DataError, PlanError
from ..types import Dataset, Example, Finding, Turn
from . import shingles
from .drops import DedupReport, Drop, PartName
from .fold import fold, key, numbers, white
from .near import connected, find_edges
from .parts import SHORT_OUTPUT, Parts
from .shingles import Floats, Ints

__all__ = ["DedupReport", "Drop", "Groups", "dedup", "dedup_parts", "exact_duplicates", "near_duplicates"]

_EXAMPLES_IN_DETAILS = 20
_PLACES = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Groups:
    """Which texts belong together.

    Attributes:
        groups: n ints: for each text the smallest row of its group; a text without duplicates is alone in its own.
        pairs: m x 2 ints, rows of verified pairs: enough to connect every group, not every pair of a large one.
        similarity: m floats, the exact Jaccard similarity of each pair; 1 for texts that are equal after folding.
        complete: False when a bucket was too large to compare all of its pairs (`near.BUCKET`).
    """

    groups: Ints
    pairs: Ints
    similarity: Floats
    complete: bool = True

    @property
    def duplicates(self) -> int:
        """How many texts could go: n less the number of groups."""
        return len(self.groups) - len(np.unique(self.groups))

    def clusters(self) -> tuple[tuple[int, ...], ...]:
        """The rows of each group of two or more, largest group first, then by smallest row."""
        members: dict[int, list[int]] = {}
        for row, group in enumerate(self.groups.tolist()):
            members.setdefault(group, []).append(row)
        many = [tuple(rows) for rows in members.values() if len(rows) > 1]
        return tuple(sorted(many, key=lambda rows: (-len(rows), rows[0])))

    def to_records(self) -> list[dict[str, float]]:
        """One row a pair: `left`, `right`, `similarity`."""
        return [
            {"left": left, "right": right, "similarity": similarity}
            for (left, right), similarity in zip(self.pairs.tolist(), self.similarity.tolist(), strict=True)
        ]

    def __repr__(self) -> str:
        clusters = self.clusters()
        largest = f", largest {len(clusters[0])}" if clusters else ""
        cut = "" if self.complete else ", not every pair compared"
        found = f"{_counted(self.duplicates, 'duplicate')} in {_counted(len(clusters), 'group')}"
        return f"Groups({len(self.groups):,} texts, {found}{largest}{cut})"


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _texts(texts: Iterable[str], verb: str) -> list[str]:
    if isinstance(texts, str):
        raise PlanError.bad_value(verb, "texts", texts, "several texts", hint="put the one text in a list.")
    rows: list[object] = list(texts)
    for at, text in enumerate(rows, 1):
        if not isinstance(text, str):
            msg = f"expected a text, found {type(text).__name__}"
            raise DataError.at(msg, line=at, code="data-type")
    return cast(list[str], rows)


def exact_duplicates(texts: Iterable[str], *, normalized: bool = True) -> Groups:
    """Texts that are equal, after folding (see `fold`) unless `normalized=False`.

    Texts that fold to nothing ("!!", "", white space) are equal only when they are the same characters. Python's
    own dictionary groups them: equal hashes are confirmed character by character.
    """
    rows = _texts(texts, "exact_duplicates")
    first: dict[str, int] = {}
    groups = np.fromiter(
        (first.setdefault(key(text) if normalized else text, row) for row, text in enumerate(rows)), np.int64, len(rows)
    )
    return _grouped(groups)


def _grouped(groups: Ints) -> Groups:
    later = np.flatnonzero(groups != np.arange(len(groups)))
    pairs = np.stack([groups[later], later], axis=1).astype(np.int64)
    return Groups(groups, pairs, np.ones(len(pairs)))


def check_threshold(verb: str, argument: str, threshold: float) -> float:
    """The threshold, or PlanError when it is no number in (0, 1]."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise PlanError.bad_value(verb, argument, threshold, "a similarity above 0 and up to 1", hint="0.8 is usual.")
    return float(threshold)


def near_duplicates(texts: Iterable[str], *, threshold: float = 0.8) -> Groups:
    """Texts whose sets of character windows have at least this Jaccard similarity, and the same numbers.

    A window is 4 characters of the folded text, 2 in Chinese, Japanese and Korean (see `shingles`); short and Chinese
    texts need no other setting. Every pair is verified by its exact similarity. Up to 256 distinct texts every pair is
    compared; above, a pair at the threshold is missed with a probability below 1e-9. Equal after folding is similarity
    1. The groups depend on the set of texts, not on their order.
    """
    rows = _texts(texts, "near_duplicates")
    check_threshold("near_duplicates", "threshold", threshold)
    return _near([_Row(text, "", "") for text in rows], threshold)


class _Row(NamedTuple):
    """What decides whether an example equals another: its text, what must be equal, a long output."""

    text: str
    must_equal: str
    long_output: str


def _near(rows: Sequence[_Row], threshold: float | None) -> Groups:
    """Groups of rows that are equal after folding, and with a threshold also those that are similar."""
    first: dict[tuple[str, str, str], int] = {}
    spelled: dict[int, str] = {}
    exact = np.zeros(len(rows), np.int64)
    for at, row in enumerate(rows):
        place = first.setdefault((key(row.text), row.must_equal, key(row.long_output) if row.long_output else ""), at)
        exact[at] = place
        # Of all spellings of a folded text the smallest gives the numbers, whatever the order of the rows.
        spelled[place] = min(spelled.get(place, row.text), row.text)
    result = _grouped(exact)
    if threshold is None:
        return result
    distinct = list(first.values())
    edges = find_edges(
        [fold(rows[at].text) for at in distinct],
        [f"{numbers(spelled[at])}{numbers(rows[at].long_output)}{rows[at].must_equal}" for at in distinct],
        threshold,
        seconds=[fold(rows[at].long_output) for at in distinct],
    )
    place_of = np.array(distinct, np.int64)
    left, right = place_of[edges.left], place_of[edges.right]
    pairs = np.concatenate([result.pairs, np.stack([left, right], axis=1)])
    groups = connected(len(rows), pairs[:, 0], pairs[:, 1])
    return Groups(groups, pairs, np.concatenate([result.similarity, edges.similarity]), edges.complete)


# --- examples ------------------------------------------------------------------------------------------------------


def _others(turns: Iterable[Turn]) -> list[str]:
    return [part.other for turn in turns for part in turn.parts if part.other is not None]


def context(example: Example) -> str:
    """What is not text in what the model is asked (images, files, function calls) and the tools."""
    others = _others(example.prompt.turns)
    if not others and example.tools is None:
        return ""
    return hashlib.sha256(msgspec.json.encode((others, example.tools))).hexdigest()


def _row(example: Example) -> _Row:
    output = example.output
    long = output if len(output) > SHORT_OUTPUT and fold(output) else ""
    target = _others(example.turns[-1:]) if example.turns and example.turns[-1].role == "model" else []
    rest = ("" if long else white(output), target, example.completions, example.references)
    return _Row(example.text, context(example) + msgspec.json.encode(rest).decode(), long)


def input_groups(examples: Sequence[Example], near: float | None) -> Groups:
    """Examples that ask the same (or, with `near`, nearly the same), whatever their outputs: what may not be parted."""
    return _near([_Row(example.text, context(example), "") for example in examples], near)


def label_conflicts(examples: Sequence[Example]) -> tuple[Finding, ...]:
    """Same input after folding, same instructions and context, different outputs: one finding, or none."""
    groups: dict[tuple[str, str, str | None], list[Example]] = {}
    for example in examples:
        groups.setdefault((key(example.text), context(example), example.system), []).append(example)
    found = []
    for members in groups.values():
        outputs: dict[str, int] = {}
        for example in members:
            short = white(example.output)
            name = short if len(example.output) <= SHORT_OUTPUT else key(short)
            outputs[name] = outputs.get(name, 0) + 1
        if len(outputs) > 1:
            found.append(members)
    if not found:
        return ()
    found.sort(key=lambda members: min((example.origin, example.input) for example in members))
    rows = [example for members in found for example in members]
    shown = [
        {"input": members[0].input[:200], "outputs": sorted({example.output[:200] for example in members})}
        for members in found[:_EXAMPLES_IN_DETAILS]
    ]
    return (
        Finding(
            code="label-conflict",
            severity="warning",
            message=f"{len(found):,} inputs have more than one output ({len(rows):,} rows): "
            f"for example {shown[0]['input']!r} has {shown[0]['outputs']}",
            hint="decide which output is right and correct the others; they are kept, because guessing would teach it.",
            where=tuple(example.where for example in rows[:_PLACES]),
            count=len(rows),
            details={"inputs": len(found), "examples": shown},
        ),
    )


def _preference(example: Example) -> tuple[object, ...]:
    """Sorts what is kept first: own rows, long texts, long outputs; then ties by content."""
    return (
        example.augmented is not None,
        -len(example.text),
        -len(example.output),
        # Copies are numbered in the order of their rows (`#0`, `#1`), which must not decide: what differs does.
        example.origin.partition("#")[0],
        example.augmented or "",
        example.content_hash(),
        msgspec.json.encode(example.meta, order="sorted"),
        example.origin,
    )


def _drop(example: Example, kept: Sequence[Example]) -> tuple[int, float, Literal["exact", "normalized", "near"]]:
    """The kept example that is most similar, how similar, and in which sense; `kept` is in order of preference."""
    rows = [_row(example), *map(_row, kept)]
    zero, rest = np.zeros(len(kept), np.int64), np.arange(1, len(rows))
    similarity = shingles.jaccard([fold(row.text) for row in rows], zero, rest)
    if rows[0].long_output:
        similarity = np.minimum(similarity, shingles.jaccard([fold(row.long_output) for row in rows], zero, rest))
    for at, other in enumerate(kept):
        if other.text == example.text and other.output == example.output:
            return at, 1.0, "exact"
    for at, row in enumerate(rows[1:]):
        if key(row.text) == key(rows[0].text) and key(row.long_output) == key(rows[0].long_output):
            return at, 1.0, "normalized"
    best = int(np.argmax(similarity))
    return best, float(similarity[best]), "near"


def dedup(dataset: Dataset, *, exact: bool = True, near: float | None = None) -> tuple[Dataset, DedupReport]:
    """The examples without duplicates, and each dropped one with the one that stands for it.

    Args:
        dataset: Examples, in any order; what is kept keeps its place.
        exact: Drop what is equal as it stands or after folding.
        near: Also drop what is at least this similar (0.8 is usual); includes `exact`.

    Kept and dropped together are the input. Running it twice changes nothing. With `exact=False` and no `near` nothing
    is dropped and conflicts are still reported.
    """
    kept, dropped, findings, complete = _dedup([("", example) for example in dataset], exact, near)
    report = DedupReport(kept=len(kept), dropped=dropped, findings=findings, exact=exact, near=near, complete=complete)
    return dataset.replace(example for _, example in kept), report


def dedup_parts(parts: Parts, *, exact: bool = True, near: float | None = None) -> tuple[Parts, DedupReport]:
    """The same inside and across the parts: what leaks goes from train, never from test.

    A train row that duplicates a validation or test row goes, and so does a validation row that duplicates a test
    row. Inside train and validation it works as `dedup` does. Test loses only its own exact duplicates (equal as they
    stand or after folding), down to one: near-duplicates inside test are cases of their own.
    """
    tagged: list[tuple[PartName, Example]] = [
        (name, example) for name in ("train", "validation", "test") for example in cast(Dataset, getattr(parts, name))
    ]
    kept, dropped, findings, complete = _dedup(tagged, exact, near)

    def part(name: PartName, dataset: Dataset) -> Dataset:
        return dataset.replace(example for where, example in kept if where == name)

    report = DedupReport(kept=len(kept), dropped=dropped, findings=findings, exact=exact, near=near, complete=complete)
    return Parts(
        train=part("train", parts.train), validation=part("validation", parts.validation), test=part("test", parts.test)
    ), report


_RANK = {"test": 0, "validation": 1, "train": 2, "": 2}


def _dedup(
    tagged: list[tuple[PartName, Example]], exact: bool, near: float | None
) -> tuple[list[tuple[PartName, Example]], tuple[Drop, ...], tuple[Finding, ...], bool]:
    if near is not None:
        check_threshold("dedup", "near", near)
    findings = label_conflicts([example for _, example in tagged])
    if not exact and near is None:
        return tagged, (), findings, True
    rows = [_row(example) for _, example in tagged]
    groups = _near(rows, near)
    same = _near(rows, None).groups
    gone: dict[int, Drop] = {}
    for members in groups.clusters():
        ordered = sorted(members, key=lambda row: (_RANK[tagged[row][0]], _preference(tagged[row][1])))
        stays = [ordered[0]]
        if tagged[ordered[0]][0] == "test":
            seen = {int(same[ordered[0]])}
            for row in ordered[1:]:
                if tagged[row][0] == "test" and int(same[row]) not in seen:
                    seen.add(int(same[row]))
                    stays.append(row)
        standing = [tagged[row][1] for row in stays]
        for row in ordered:
            if row in stays:
                continue
            part, example = tagged[row]
            at, similarity, kind = _drop(example, standing)
            gone[row] = Drop(
                example=example, because_of=standing[at], similarity=similarity, kind=kind,
                part=part, because_of_part=tagged[stays[at]][0],
            )  # fmt: skip
    kept = [each for row, each in enumerate(tagged) if row not in gone]
    return kept, tuple(gone[row] for row in sorted(gone)), findings, groups.complete
