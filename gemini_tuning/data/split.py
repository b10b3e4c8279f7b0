"""Train, validation and test, without a leak between them.

What decides, in this order: examples of one origin and near-duplicates stay together; then every stratum (output) is
spread over the parts; then the ratios. The result depends on the seed and the *set* of examples only: groups are put in
order by a hash of the seed and their smallest origin.
"""

from __future__ import annotations

import heapq
import math
from typing import Literal, NamedTuple

import msgspec

from .. import display
from ..errors import PlanError
from ..ledger import digest
from ..models import VALIDATION_EXAMPLES, VALIDATION_FREE, VALIDATION_SHARE
from ..types import Dataset, Finding, Json
from .parts import Parts, label_like

_PLACES = 1000


class SplitReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows were divided, and what could not be met.

    Attributes:
        train, validation, test: Rows in each part.
        asked: The ratios asked for, of all rows.
        seed: The seed.
        strata: `output`, or `none` with the reason in the findings.
        labels: Output -> rows in train, validation and test; empty without strata.
        groups: Groups of two or more rows that had to stay together, and `largest` has so many rows.
        findings: What could not be met.
    """

    train: int
    validation: int
    test: int
    asked: dict[str, float]
    seed: int
    strata: Literal["output", "none"]
    labels: dict[str, tuple[int, int, int]] = {}
    groups: int = 0
    largest: int = 0
    findings: tuple[Finding, ...] = ()

    def to_records(self) -> list[dict[str, Json]]:
        """One row a part, with strata also one an output."""
        total = max(1, self.train + self.validation + self.test)
        return [
            {"part": name, "rows": rows, "share": rows / total}
            for name, rows in (("train", self.train), ("validation", self.validation), ("test", self.test))
        ] + [
            {"output": label, "train": counts[0], "validation": counts[1], "test": counts[2]}
            for label, counts in self.labels.items()
        ]

    def _head(self) -> str:
        together = f"; {self.groups:,} groups kept whole (largest {self.largest:,} rows)" if self.groups else ""
        strata = "by output" if self.strata == "output" else "without strata"
        return (
            f"SplitReport: train {self.train:,}, validation {self.validation:,}, test {self.test:,}, "
            f"{strata}, seed {self.seed}{together}"
        )

    def _rows(self, n: int) -> list[tuple[object, ...]]:
        return [(label, *counts) for label, counts in list(self.labels.items())[:n]]

    _HEADER = ("output", "train", "validation", "test")

    def __repr__(self) -> str:
        rows = [display.table(self._HEADER, self._rows(8))] if self.labels else []
        more = [f"... and {len(self.labels) - 8:,} more outputs"] if len(self.labels) > 8 else []
        return "\n".join([self._head(), *rows, *more, *map(str, self.findings)])

    def _repr_html_(self) -> str:
        table = display.html_table(self._HEADER, self._rows(100)) if self.labels else ""
        return display.paragraph(self._head()) + table + "".join(map(display.paragraph, self.findings))


class _Unit(NamedTuple):
    """Rows that stay together."""

    rows: tuple[int, ...]
    stratum: str


def _ratio(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise PlanError.bad_value(
            "split", name, value, "a share of the rows between 0 and 1", hint="0.1 is usual; 0 makes no such part."
        )
    return float(value)


def split(
    dataset: Dataset,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    stratify: bool = True,
    near: float | None = 0.8,
) -> tuple[Parts, SplitReport]:
    """The rows in three parts, and a report of how.

    Args:
        dataset: Examples in any order; inside each part they keep it.
        validation: Share of all rows; 0 makes none.
        test: Share of all rows; 0 makes none.
        seed: Another seed gives another split.
        stratify: Spread each output over the parts in proportion (largest remainders, so that totals are right).
            Used only when outputs are classes (`STRATUM_ROWS` rows each on average).
        near: Rows whose inputs are at least this similar stay in one part, whatever their outputs; None keeps only
            those together that are equal after folding. Rows of one origin always stay together.

    A part that is asked for gets at least one row when there are enough groups. Train gets at least one group of every
    output; with one group of an output it is all in train. Totals are within one row of the ratio where the sizes of
    the groups allow. What could not be met is a finding: `split-empty-part`, `split-ratio`, `split-large-group`,
    `split-rare-label`, `split-no-strata`, `split-validation-limit`.

    Raises:
        PlanError: a share outside [0, 1), shares that leave nothing for train or ask for nothing, a wrong `near`.
    """
    shares = {"validation": _ratio("validation", validation), "test": _ratio("test", test)}
    if sum(shares.values()) >= 1:
        raise PlanError.bad_value(
            "split", "validation + test", sum(shares.values()), "a sum below 1", hint="what is left is for training."
        )
    if not any(shares.values()):
        raise PlanError.bad_value("split", "validation + test", 0, "a share above 0", hint="leave split() out.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise PlanError.bad_value("split", "seed", seed, "a whole number")

    strata = stratify and label_like(dataset)
    units = _units(dataset, near, strata)
    units.sort(key=lambda unit: digest(str(seed), min(dataset[row].origin for row in unit.rows)))
    part_of = ["train"] * len(dataset)
    for name in ("test", "validation"):
        if shares[name]:
            wanted = max(1, _round(len(dataset) * shares[name]))
            for unit in _chosen(units, part_of, wanted, shares[name], f"{seed} {name}"):
                for row in unit.rows:
                    part_of[row] = name

    def part(name: str) -> Dataset:
        return dataset.replace(example for example, own in zip(dataset, part_of, strict=True) if own == name)

    parts = Parts(train=part("train"), validation=part("validation"), test=part("test"))
    return parts, _report(dataset, parts, units, shares, seed, stratify, strata)


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def _units(dataset: Dataset, near: float | None, strata: bool) -> list[_Unit]:
    """Rows joined by origin and by similarity, with the output that most of them have (ties: the smallest)."""
    # numpy is loaded only by the work that needs it.
    from .similar.dedup import check_threshold, input_groups

    if near is not None:
        check_threshold("split", "near", near)
    parent = list(range(len(dataset)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[str, int] = {}
    for row, group in enumerate(input_groups(dataset.examples, near).groups.tolist()):
        parent[root(row)] = root(group)
        parent[root(row)] = root(first.setdefault(dataset[row].origin, row))
    members: dict[int, list[int]] = {}
    for row in range(len(dataset)):
        members.setdefault(root(row), []).append(row)

    def stratum(rows: list[int]) -> str:
        if not strata:
            return ""
        outputs = [dataset[row].output for row in rows]
        return min(set(outputs), key=lambda output: (-outputs.count(output), output))

    return [_Unit(tuple(rows), stratum(rows)) for rows in members.values()]


def _chosen(units: list[_Unit], part_of: list[str], wanted: int, share: float, salt: str) -> list[_Unit]:
    """Groups for one part: each stratum gives its quota of rows and keeps at least one group for train."""
    strata: dict[str, list[_Unit]] = {}
    for unit in units:
        if part_of[unit.rows[0]] == "train":
            strata.setdefault(unit.stratum, []).append(unit)
    totals: dict[str, int] = {}
    for unit in units:
        totals[unit.stratum] = totals.get(unit.stratum, 0) + len(unit.rows)
    quotas = _quotas({name: totals[name] * share for name in strata}, wanted, salt)
    chosen: list[_Unit] = []
    left: dict[str, list[_Unit]] = {}
    for name, members in strata.items():
        room, free = quotas[name], len(members) - 1
        left[name] = []
        for unit in members:
            if free and len(unit.rows) <= room:
                chosen.append(unit)
                room -= len(unit.rows)
                free -= 1
            else:
                left[name].append(unit)
    # What the quotas could not place (rare outputs, large groups) comes from the strata with the most left.
    missing = wanted - sum(len(unit.rows) for unit in chosen)
    if missing > 0:
        chosen += _most_left_first(left, missing, salt)
    if not chosen:
        # Better a part that is too large than none: the smallest group that leaves its stratum one.
        spare = [unit for members in left.values() if len(members) > 1 for unit in members]
        spare = spare or ([unit for members in left.values() for unit in members] if len(strata) > 2 else [])
        if spare:
            chosen = [min(spare, key=lambda unit: len(unit.rows))]
    return chosen


def _most_left_first(left: dict[str, list[_Unit]], missing: int, salt: str) -> list[_Unit]:
    """Groups of together at most `missing` rows, each the first that fits of the stratum with the most rows left.

    What does not fit now never will, since `missing` only falls: so each group is looked at once, and a stratum
    without a fitting one is done.
    """
    heap = [
        (-sum(len(unit.rows) for unit in members), digest(salt, name), name, len(members))
        for name, members in left.items()
        if len(members) > 1
    ]
    heapq.heapify(heap)
    unseen = {name: iter(members) for name, members in left.items()}
    chosen: list[_Unit] = []
    while missing > 0 and heap:
        negative, tie, name, units = heapq.heappop(heap)
        fitting = next((unit for unit in unseen[name] if len(unit.rows) <= missing), None)
        if fitting is None:
            continue
        chosen.append(fitting)
        missing -= len(fitting.rows)
        if units > 2:  # its last one stays for train
            heapq.heappush(heap, (negative + len(fitting.rows), tie, name, units - 1))
    return chosen


def _quotas(exact: dict[str, float], total: int, salt: str) -> dict[str, int]:
    """Whole numbers near the exact ones that sum to the total: largest remainders, ties by hash."""
    quotas = {name: math.floor(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: (-round(exact[name] - quotas[name], 9), digest(salt, name)))
    for name in order[: max(0, total - sum(quotas.values()))]:
        quotas[name] += 1
    return quotas


def _report(
    dataset: Dataset,
    parts: Parts,
    units: list[_Unit],
    shares: dict[str, float],
    seed: int,
    stratify: bool,
    strata: bool,
) -> SplitReport:
    sizes = {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)}
    in_train, in_validation, in_test = parts.train.labels, parts.validation.labels, parts.test.labels
    labels = {
        label: (in_train.get(label, 0), in_validation.get(label, 0), in_test.get(label, 0))
        for label in (dataset.labels if strata else {})
    }
    together = [len(unit.rows) for unit in units if len(unit.rows) > 1]
    largest = max(units, key=lambda unit: len(unit.rows), default=None)
    findings: list[Finding] = []
    for name, share in shares.items():
        wanted = len(dataset) * share
        if share and not sizes[name]:
            findings.append(Finding(
                code="split-empty-part", severity="stop",
                message=f"{name} is empty: {len(dataset):,} rows in {len(units):,} groups are too few to divide.",
                hint="bring more examples, or say " + name + "=0.", count=len(dataset),
            ))  # fmt: skip
        elif share and abs(sizes[name] - wanted) > max(1.0, 0.02 * len(dataset)):
            findings.append(Finding(
                code="split-ratio", severity="warning", count=sizes[name],
                message=f"{name} has {sizes[name]:,} rows instead of {wanted:.0f}: groups that stay together are too "
                "large, or outputs too rare, for the ratio.",
                hint="remove duplicates first: .dedup(near=0.8).",
            ))  # fmt: skip
    if largest is not None and len(largest.rows) > 1 and len(largest.rows) > 0.2 * len(dataset):
        findings.append(Finding(
            code="split-large-group", severity="warning", count=len(largest.rows),
            message=f"{len(largest.rows):,} of {len(dataset):,} rows are near-duplicates of each other and stay in one "
            "part.",
            hint="remove duplicates first, or, if they share a long template, read only the column that differs.",
            where=tuple(dataset[row].where for row in largest.rows[:_PLACES]),
        ))  # fmt: skip
    missing = [label for label, counts in labels.items() if shares["test"] and not counts[2]]
    if missing:
        findings.append(Finding(
            code="split-rare-label", severity="note", count=len(missing),
            message=f"{len(missing):,} of {len(labels):,} outputs have no row in test (too few rows): "
            + ", ".join(repr(label) for label in missing[:5]),
            hint="a score on test says nothing about them.", details={"outputs": missing[:_PLACES]},
        ))  # fmt: skip
    if stratify and not strata and len(dataset):
        findings.append(Finding(
            code="split-no-strata", severity="note", count=len(dataset.labels),
            message=f"there are {len(dataset.labels):,} distinct outputs in {len(dataset):,} rows, so they are texts, "
            "not classes: the parts are random without strata.",
        ))  # fmt: skip
    over = sizes["validation"] > VALIDATION_EXAMPLES or (
        sizes["validation"] > VALIDATION_FREE and sizes["validation"] > VALIDATION_SHARE * sizes["train"]
    )
    if over:
        findings.append(Finding(
            code="split-validation-limit", severity="warning", count=sizes["validation"],
            message=f"{sizes['validation']:,} validation rows are more than Gemini takes ({VALIDATION_EXAMPLES:,}, "
            f"or {VALIDATION_SHARE:.0%} of the training rows where there are over {VALIDATION_FREE:,}).",
            hint="use a smaller validation=; 1,000 rows are plenty to watch a curve.",
        ))  # fmt: skip
    return SplitReport(
        **sizes, asked=shares, seed=seed, strata="output" if strata else "none", labels=labels,
        groups=len(together), largest=max(together, default=0), findings=tuple(findings),
    )  # fmt: skip
