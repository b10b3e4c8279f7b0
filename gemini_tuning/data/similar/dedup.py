"""Duplicates: which texts are the same, and which examples are therefore one too many.

Two examples are duplicates when what the user wrote is (instructions excluded) *and* their outputs agree. An output
of up to 40 characters is a label and compared exactly but for white space; a longer one must be as similar as the
text. A longer one that answers two different inputs (neither equal nor near-duplicates) is a label too, and must be
equal after folding: classes may have long names that differ in a word. Images, files, tools and function calls must
be equal. The same input with another output is a conflict: reported, kept.

A changed number is never a near-duplicate ("a refund of 100", "a refund of 1000"): both texts must hold the same
numbers in the same order (`fold.numbers`). This costs some true duplicates with garbled digits, on purpose.

Groups are connected components, so that a lower threshold never keeps more. What stays of a group is decided by
content, never by the order of the rows: the user's own before an augmented one, then the longest text, then the
smallest origin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, cast

import msgspec
import numpy as np

from ...display import counted
from ...errors import DataError, PlanError
from ...types import Dataset, Example, Finding, Json, Severity, Turn
from ..parts import SHORT_OUTPUT, Parts
from . import shingles
from .drops import DedupReport, Drop, PartName
from .fold import all_numbers, fold, key, white
from .near import Edges, Sketches, connected, find_edges
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
        complete: False when too many texts were alike to compare all pairs of them (`near.PAIRS_A_ROW`).
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
        for row in np.flatnonzero(np.bincount(self.groups)[self.groups] > 1).tolist():
            members.setdefault(int(self.groups[row]), []).append(row)
        return tuple(sorted(map(tuple, members.values()), key=lambda rows: (-len(rows), rows[0])))

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
        found = f"{counted(self.duplicates, 'duplicate')} in {counted(len(clusters), 'group')}"
        return f"Groups({len(self.groups):,} texts, {found}{largest}{cut})"


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
    known = _Texts(rows, threshold)
    return _near(known, [_NOTHING] * len(rows), None, threshold)


class _Texts:
    """Texts folded once, with their numbers and sketches, for all questions about them."""

    def __init__(self, texts: Sequence[str], threshold: float | None) -> None:
        self.texts = texts
        self.folded = [fold(text) for text in texts]
        self.keys = [folded or key(text) for folded, text in zip(self.folded, texts, strict=True)]
        first: dict[str, int] = {}
        place = np.fromiter((first.setdefault(each, row) for row, each in enumerate(self.keys)), np.int64, len(texts))
        self.repeated = np.flatnonzero(np.bincount(place)[place] > 1) if len(place) else place
        """The rows whose text is there more than once; only these need a closer look for equal ones."""
        self.numbers = all_numbers(texts) if threshold is not None else []
        self.sketches = Sketches(self.folded, threshold) if threshold is not None else None


_MustEqual: TypeAlias = tuple[str, ...]
_NOTHING: _MustEqual = ()


def _near(texts: _Texts, must_equal: Sequence[_MustEqual], longs: _Texts | None, threshold: float | None) -> Groups:
    """Groups of rows that are equal after folding, and with a threshold also those that are similar.

    Args:
        texts: A text a row; more texts than rows are left out.
        must_equal: What else must be equal, a row.
        longs: The long output of each row, `""` for none; None when no row has one.
        threshold: None for equal ones only.
    """
    n = len(must_equal)
    long_keys = longs.folded if longs else [""] * n
    first: dict[tuple[object, ...], int] = {}
    spelled: dict[int, int] = {}
    exact = np.arange(n)
    for row in texts.repeated[: np.searchsorted(texts.repeated, n)].tolist():
        place = first.setdefault((texts.keys[row], long_keys[row], must_equal[row]), row)
        if place != row:
            exact[row] = place
            # Of all spellings of a folded text the smallest gives the numbers, whatever the order of the rows.
            spelled[place] = min(spelled.get(place, place), row, key=texts.texts.__getitem__)
    result = _grouped(exact)
    if threshold is None:
        return result
    distinct = [row for row in np.flatnonzero(exact == np.arange(n)).tolist() if texts.folded[row]]

    def edges(rows: Sequence[int], labels: Container[str]) -> Edges:
        """Outputs that are labels must be equal, the other long ones similar."""
        names = [long_keys[row] if long_keys[row] in labels else "" for row in rows]
        found = find_edges(
            [texts.folded[row] for row in rows],
            [
                (texts.numbers[spelled.get(row, row)], longs.numbers[row] if longs else (), must_equal[row], name)
                for row, name in zip(rows, names, strict=True)
            ],
            threshold,
            seconds=["" if name else long_keys[row] for row, name in zip(rows, names, strict=True)],
            sketches=texts.sketches,
        )
        places = np.array(rows, np.int64)
        return found._replace(left=places[found.left], right=places[found.right])

    found = edges(distinct, _labels(distinct, long_keys, n, edges) if longs else ())
    pairs = np.concatenate([result.pairs, np.stack([found.left, found.right], axis=1)])
    groups = connected(n, pairs[:, 0], pairs[:, 1])
    return Groups(groups, pairs, np.concatenate([result.similarity, found.similarity]), found.complete)


def _labels(
    distinct: Sequence[int], outputs: Sequence[str], n: int, edges: Callable[[Sequence[int], Container[str]], Edges]
) -> set[str]:
    """The long outputs that answer two inputs which are no near-duplicates of each other.

    Near-duplicates are counted once, so that what is a label does not change when they are dropped.
    """
    counts: dict[str, int] = {}
    for row in distinct:
        counts[outputs[row]] = counts.get(outputs[row], 0) + 1
    often = {output for output, count in counts.items() if output and count > 1}
    rows = [row for row in distinct if outputs[row] in often]
    if not rows:
        return set()
    found = edges(rows, often)
    group = connected(n, found.left, found.right)
    answered: dict[str, set[int]] = {}
    for row in rows:
        answered.setdefault(outputs[row], set()).add(int(group[row]))
    return {output for output, groups in answered.items() if len(groups) > 1}


# --- examples ------------------------------------------------------------------------------------------------------


def _others(turns: Iterable[Turn]) -> list[str]:
    return [part.other for turn in turns for part in turn.parts if part.other is not None]


def context(example: Example) -> str:
    """What is not text in what the model is asked (images, files, function calls) and the tools."""
    others = _others(example.prompt.turns)
    if not others and example.tools is None:
        return ""
    return hashlib.sha256(msgspec.json.encode((others, example.tools))).hexdigest()


def _text_only(example: Example) -> bool:
    """Whether there is nothing to compare but texts, as in most rows."""
    if example.tools is not None or example.completions or example.references is not None:
        return False
    return all(part.other is None for turn in example.turns for part in turn.parts)


class _Rows:
    """Examples laid out for comparison: what is worked out here is worked out once for all questions."""

    def __init__(self, examples: Sequence[Example], near: float | None) -> None:
        self.examples = examples
        self.near = near
        self.texts = _Texts([example.text for example in examples], near)
        self.contexts: list[str] = []
        self._must_equal: list[_MustEqual] = []
        longs: list[str] = []
        for example in examples:
            output = example.output
            long = output if len(output) > SHORT_OUTPUT and fold(output) else ""
            longs.append(long)
            short = "" if long else white(output)
            if _text_only(example):
                self.contexts.append("")
                self._must_equal.append((short,))
                continue
            self.contexts.append(context(example))
            target = _others(example.turns[-1:]) if example.turns and example.turns[-1].role == "model" else []
            rest = msgspec.json.encode((target, example.completions, example.references)).decode()
            self._must_equal.append((short, self.contexts[-1], rest))
        self.longs = _Texts(longs, near) if any(longs) else None

    def duplicates(self, n: int, *, near: bool = True) -> Groups:
        """Same input and same output, among the first `n` rows."""
        return _near(self.texts, self._must_equal[:n], self.longs, self.near if near else None)

    def inputs(self, *, near: bool = True) -> Groups:
        """Same input, whatever the output."""
        return _near(self.texts, [(each,) for each in self.contexts], None, self.near if near else None)

    def conflicts(self, n: int) -> list[list[int]]:
        """Rows with the same input after folding, the same instructions and context, and different outputs."""
        groups: dict[tuple[str, str, str | None], list[int]] = {}
        for row in self.texts.repeated[: np.searchsorted(self.texts.repeated, n)].tolist():
            about = (self.texts.keys[row], self.contexts[row], self.examples[row].system)
            groups.setdefault(about, []).append(row)
        return [rows for rows in groups.values() if len(rows) > 1 and len(set(map(self._answer, rows))) > 1]

    def _answer(self, row: int) -> str:
        output = self.examples[row].output
        return white(output) if len(output) <= SHORT_OUTPUT else key(white(output))

    def same(self, one: int, other: int) -> bool:
        """Whether text and long output are equal after folding."""
        return self.texts.keys[one] == self.texts.keys[other] and (
            self.longs is None or self.longs.folded[one] == self.longs.folded[other]
        )

    def similarity(self, left: Sequence[int], right: Sequence[int]) -> Floats:
        """Of the texts, or of the long outputs where that is lower."""
        a, b = np.array(left, np.int64), np.array(right, np.int64)
        similarity = shingles.jaccard(self.texts.folded, a, b)
        if self.longs is not None:
            long = np.array([bool(self.longs.folded[row]) for row in left], bool)
            similarity[long] = np.minimum(similarity[long], shingles.jaccard(self.longs.folded, a[long], b[long]))
        return similarity


def input_groups(examples: Sequence[Example], near: float | None) -> Groups:
    """Examples that ask the same (or, with `near`, nearly the same), whatever their outputs: what may not be parted."""
    texts = _Texts([example.text for example in examples], near)
    return _near(texts, [("" if _text_only(each) else context(each),) for each in examples], None, near)


def label_conflicts(examples: Sequence[Example]) -> tuple[Finding, ...]:
    """Same input after folding, same instructions and context, different outputs: one finding, or none."""
    return _conflict_finding(examples, _Rows(examples, None).conflicts(len(examples)))


def _conflict_finding(examples: Sequence[Example], conflicts: Iterable[Sequence[int]]) -> tuple[Finding, ...]:
    found = [[examples[row] for row in rows] for rows in conflicts]
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
            message=f"{counted(len(found), 'input has', 'inputs have')} more than one output ({len(rows):,} rows): "
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
    examples = [example for _, example in tagged]
    if not exact and near is None:
        return tagged, (), label_conflicts(examples), True
    rows = _Rows(examples, near)
    findings = _conflict_finding(examples, rows.conflicts(len(examples)))
    gone, groups = _drops([part for part, _ in tagged], rows)
    dropped = {row for row, _ in gone}
    kept = [each for row, each in enumerate(tagged) if row not in dropped]
    return kept, tuple(drop for _, drop in gone), findings, groups.complete


def _drops(part_of: Sequence[PartName], rows: _Rows) -> tuple[list[tuple[int, Drop]], Groups]:
    """Each row that goes, in order, with the kept one that is most similar."""
    examples = rows.examples
    groups = rows.duplicates(len(part_of))
    same = rows.duplicates(len(part_of), near=False).groups if "test" in part_of else groups.groups
    # A row with what stays of its group, in order of preference.
    going: list[tuple[int, list[int]]] = []
    for members in groups.clusters():
        ordered = sorted(members, key=lambda row: (_RANK[part_of[row]], _preference(examples[row])))
        stays = [ordered[0]]
        if part_of[ordered[0]] == "test":
            seen = {int(same[ordered[0]])}
            for row in ordered[1:]:
                if part_of[row] == "test" and int(same[row]) not in seen:
                    seen.add(int(same[row]))
                    stays.append(row)
        going += [(row, stays) for row in ordered if row not in stays]
    going.sort()
    found = [_equal(rows, row, stays) for row, stays in going]
    # All similarities in one go: alone each would cost more than the comparison itself.
    near = [pair for pair, equal in zip(going, found, strict=True) if equal is None]
    similarity = iter(
        rows.similarity(
            [row for row, stays in near for _ in stays], [other for _, stays in near for other in stays]
        ).tolist()
    )
    gone = []
    for (row, stays), equal in zip(going, found, strict=True):
        values = [next(similarity) for _ in stays] if equal is None else []
        stay, kind = equal or (stays[values.index(max(values))], "near")
        gone.append((row, Drop(
            example=examples[row], because_of=examples[stay], similarity=max(values, default=1.0), kind=kind,
            part=part_of[row], because_of_part=part_of[stay],
        )))  # fmt: skip
    return gone, groups


def _equal(rows: _Rows, row: int, stays: Sequence[int]) -> tuple[int, Literal["exact", "normalized", "near"]] | None:
    """The first that is the same in characters, or else after folding; None when there is only a similar one."""
    own = rows.examples[row]
    for stay in stays:
        if rows.examples[stay].text == own.text and rows.examples[stay].output == own.output:
            return stay, "exact"
    return next(((stay, "normalized") for stay in stays if rows.same(row, stay)), None)


# --- all questions at once -----------------------------------------------------------------------------------------


class Survey(NamedTuple):
    """Duplicates, conflicts and leaks of a data set, found in one pass; nothing is dropped.

    Attributes:
        findings: `exact-duplicates`, `near-duplicates`, `label-conflict`, `leak-exact`, `leak-near`: those there are.
        dropped: What `dedup_parts(near=)` would drop, and why.
        duplicates: Rows that could go: `exact` (after folding) and `near`.
        leaks: Rows whose input is in a later part or in `leak_from`: `exact` and `near`.
        conflicts: Inputs that have more than one output.
        groups: Sizes of the groups of duplicates, largest first.
        complete: False when too many texts were alike to compare all pairs of them (`near.PAIRS_A_ROW`).
    """

    findings: tuple[Finding, ...]
    dropped: tuple[Drop, ...]
    duplicates: dict[str, int]
    leaks: dict[str, int]
    conflicts: int
    groups: tuple[int, ...]
    complete: bool


def survey(parts: Parts, near: float | None, *, leak_from: Dataset | None = None) -> Survey:
    """Looks for duplicates, conflicts and leaks at once: each text is folded and sketched one time.

    Args:
        parts: Data that is not split is all in `train`: then there are no leaks between parts.
        near: Similarity from which two inputs are near-duplicates; None looks for exact ones only.
        leak_from: Examples that none of the parts may hold (a test set kept elsewhere).
    """
    if near is not None:
        check_threshold("survey", "near", near)
    names: tuple[PartName, ...] = ("train", "validation", "test")
    part_of: list[PartName] = [name for name in names for _ in getattr(parts, name)]
    # Origins are not needed here: what they hash is compared as it stands.
    own = [*parts.train.given, *parts.validation.given, *parts.test.given]
    rows = _Rows([*own, *(leak_from.given if leak_from is not None else ())], near)
    conflicts = rows.conflicts(len(own))
    gone, groups = _drops(part_of, rows)
    findings = [*_duplicate_findings([drop for _, drop in gone], near), *_conflict_finding(own, conflicts)]
    level = [_LEVEL[name] for name in part_of] + [len(_LEVEL)] * len(leak_from or ())
    leaks = _leaks(rows, level) if len(set(level)) > 1 else {"exact": [], "near": []}
    findings += _leak_findings(rows.examples, leaks)
    exact = sum(drop.kind != "near" for _, drop in gone)
    return Survey(
        findings=tuple(findings),
        dropped=tuple(drop for _, drop in gone),
        duplicates={"exact": exact, "near": len(gone) - exact},
        leaks={kind: len(found) for kind, found in leaks.items()},
        conflicts=len(conflicts),
        groups=tuple(map(len, groups.clusters())),
        complete=groups.complete,
    )


_LEVEL: dict[PartName, int] = {"train": 0, "validation": 1, "test": 2}


def _leaks(rows: _Rows, level: Sequence[int]) -> dict[str, list[tuple[int, int]]]:
    """Each row whose input is also in what must stay clean (the highest level of its group), with the first there."""
    result: dict[str, list[tuple[int, int]]] = {"exact": [], "near": []}
    seen: set[int] = set()
    for kind in ("exact", "near") if rows.near is not None else ("exact",):
        for members in rows.inputs(near=kind == "near").clusters():
            last = max(level[row] for row in members)
            of = next(row for row in members if level[row] == last)
            result[kind] += [(row, of) for row in members if level[row] != last and row not in seen]
        seen.update(row for row, _ in result[kind])
        result[kind].sort()
    return result


def _leak_findings(examples: Sequence[Example], leaks: dict[str, list[tuple[int, int]]]) -> Iterator[Finding]:
    kinds: tuple[tuple[str, str, Severity, str], ...] = (
        ("leak-exact", "exact", "stop", "is equal to"), ("leak-near", "near", "warning", "is a near-duplicate of"),
    )  # fmt: skip
    for code, kind, severity, what in kinds:
        if found := leaks[kind]:
            shown: list[Json] = [
                {"row": str(examples[row].where), "of": str(examples[of].where)}
                for row, of in found[:_EXAMPLES_IN_DETAILS]
            ]
            yield Finding(
                code=code,
                severity=severity,
                message=f"{counted(len(found), 'row has', 'rows have')} an input that {what} one that must not be "
                "trained on",
                hint="the score on that part would be too good: .split() keeps them together, .dedup() removes them.",
                where=tuple(examples[row].where for row, _ in found[:_PLACES]),
                count=len(found),
                details={"pairs": shown},
            )


def _duplicate_findings(drops: Sequence[Drop], near: float | None) -> Iterator[Finding]:
    kinds: tuple[tuple[str, str, Severity, str, str], ...] = (
        ("exact-duplicates", "exact", "warning", "equal after folding", "training sees them twice: .dedup()"),
        ("near-duplicates", "near", "note", f"similarity {near} or more", f"read them, then .dedup(near={near})"),
    )
    for code, kind, severity, how, advice in kinds:
        if gone := [drop for drop in drops if (drop.kind == "near") == (kind == "near")]:
            shown: list[Json] = [
                {"row": str(drop.example.where), "of": str(drop.because_of.where), "similarity": drop.similarity}
                for drop in gone[:_EXAMPLES_IN_DETAILS]
            ]
            yield Finding(
                code=code,
                severity=severity,
                message=f"{counted(len(gone), 'row repeats', 'rows repeat')} another ({how}, same output)",
                hint=advice,
                where=tuple(drop.example.where for drop in gone[:_PLACES]),
                count=len(gone),
                details={"pairs": shown},
            )
