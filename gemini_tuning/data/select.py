"""Fewer rows: a random sample, or those for which a function says yes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .. import display
from ..errors import DataError, PlanError
from ..ledger import digest
from ..types import Dataset, Example, Json


def identity(example: Example) -> str:
    """What an example is, apart from its place and its number among copies: equal for copies only."""
    meta = msgspec.json.encode(example.meta, order="sorted")
    return digest(example.origin.partition("#")[0], example.augmented or "", example.content_hash(), meta)


def sample(dataset: Dataset, n: int, *, seed: int = 0) -> Dataset:
    """`n` examples at random, in the order of the input; all of them when there are no more than `n`.

    Which ones depends on the seed and the set of examples, not on their order, and a larger sample holds the smaller
    one with the same seed.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise PlanError.bad_value("sample", "n", n, "a whole number of rows, 1 or more")
    ranked = sorted(range(len(dataset)), key=lambda row: digest(str(seed), identity(dataset[row])))
    return dataset.replace(dataset[row] for row in sorted(ranked[:n]))


class FilterReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a filter kept and dropped."""

    kept: int
    dropped: tuple[Example, ...] = ()
    name: str = "filter"

    @property
    def ratio(self) -> float:
        """The dropped share of all rows, 0 to 1; 0 for no rows."""
        return len(self.dropped) / (self.kept + len(self.dropped)) if self.dropped else 0.0

    def to_records(self) -> list[dict[str, Json]]:
        """One row a dropped example."""
        return [{**example.to_record(), "where": str(example.where)} for example in self.dropped]

    def _rows(self, n: int) -> list[tuple[str, str, str]]:
        return [(example.input, example.output, str(example.where)) for example in self.dropped[:n]]

    def __repr__(self) -> str:
        head = f"FilterReport({self.name}): kept {self.kept:,}, dropped {len(self.dropped):,} ({self.ratio:.1%})"
        rows = [display.table(("dropped", "output", "where"), self._rows(5))] if self.dropped else []
        return "\n".join([head, *rows])

    def _repr_html_(self) -> str:
        head = display.paragraph(f"{self.name}: kept {self.kept:,}, dropped {len(self.dropped):,} ({self.ratio:.1%})")
        return head + (display.html_table(("dropped", "output", "where"), self._rows(20)) if self.dropped else "")


def keep(
    dataset: Dataset, predicate: Callable[[Example], object], *, name: str | None = None
) -> tuple[Dataset, FilterReport]:
    """The examples for which the function gives something true, and a report with those that went.

    Raises:
        DataError: the function raised; it names the row, and the function's own error is the cause.
    """
    label = name or str(getattr(predicate, "__qualname__", type(predicate).__name__))
    stay: list[Example] = []
    gone: list[Example] = []
    for example in dataset:
        try:
            held = bool(predicate(example))
        except Exception as error:
            msg = f"the filter {label} raised {type(error).__name__}: {error}"
            raise DataError.at(
                msg, file=example.where.file, line=example.where.line, code="data-filter",
                hint="columns other than input and output are in example.meta.",
            ) from error  # fmt: skip
        (stay if held else gone).append(example)
    return dataset.replace(stay), FilterReport(kept=len(stay), dropped=tuple(gone), name=label)
