"""Data in three parts, and whether their outputs are classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..types import Dataset, Example

SHORT_OUTPUT = 40
"""Outputs of up to so many characters are labels: compared exactly, but for white space."""

STRATUM_ROWS = 2
"""Outputs are strata when they have at least so many rows on average; else they are texts, and there are no strata."""


@dataclass(frozen=True)
class Parts:
    """A data set in parts. Data that is not split has it all in `train`."""

    train: Dataset = field(default_factory=Dataset)
    validation: Dataset = field(default_factory=Dataset)
    test: Dataset = field(default_factory=Dataset)

    def __repr__(self) -> str:
        return f"Parts(train={len(self.train):,}, validation={len(self.validation):,}, test={len(self.test):,})"


def label_like(dataset: Sequence[Example]) -> bool:
    """Whether the outputs are classes: few distinct ones for the number of rows (`STRATUM_ROWS` rows each or more)."""
    distinct = len({example.output for example in dataset})
    return bool(distinct) and len(dataset) >= STRATUM_ROWS * distinct
