"""What deduplication did: every dropped example with the one that stands for it, and the conflicts it left alone."""

from __future__ import annotations

from typing import Literal

import msgspec

from ... import display
from ...types import Example, Finding, Json

PartName = Literal["train", "validation", "test", ""]


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """One dropped example.

    Attributes:
        example: What was dropped.
        because_of: The kept example that it duplicates.
        similarity: Exact Jaccard similarity of the two (of their long outputs where that is lower). It is below the
            threshold when they are connected through a third one only.
        kind: `exact` (the same characters), `normalized` (the same after folding) or `near`.
        part: Where it was dropped from; `""` when the data is not split.
        because_of_part: Where the kept one is.
    """

    example: Example
    because_of: Example
    similarity: float
    kind: Literal["exact", "normalized", "near"]
    part: PartName = ""
    because_of_part: PartName = ""


class DedupReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many examples were kept, which were dropped and why, and which same inputs have different outputs."""

    kept: int
    dropped: tuple[Drop, ...] = ()
    findings: tuple[Finding, ...] = ()
    exact: bool = True
    near: float | None = None
    complete: bool = True

    @property
    def ratio(self) -> float:
        """The dropped share of all rows, 0 to 1; 0 for no rows."""
        return len(self.dropped) / (self.kept + len(self.dropped)) if self.dropped else 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Dropped examples by kind."""
        kinds = [drop.kind for drop in self.dropped]
        return {kind: kinds.count(kind) for kind in ("exact", "normalized", "near")}

    def closest_calls(self, n: int = 10) -> tuple[Drop, ...]:
        """The drops with the lowest similarity, lowest first: read these to judge the threshold."""
        return tuple(sorted(self.dropped, key=lambda drop: (drop.similarity, drop.example.origin))[:n])

    def to_records(self) -> list[dict[str, Json]]:
        """One row a drop."""
        return [
            {
                "kind": drop.kind,
                "similarity": drop.similarity,
                "input": drop.example.input,
                "output": drop.example.output,
                "where": str(drop.example.where),
                "because_of": drop.because_of.input,
                "because_of_where": str(drop.because_of.where),
                "part": drop.part,
                "because_of_part": drop.because_of_part,
            }
            for drop in self.dropped
        ]

    def _rows(self, n: int) -> list[tuple[object, ...]]:
        return [
            (f"{drop.similarity:.3f}", drop.kind, drop.part or "–", drop.example.input, drop.because_of.input)
            for drop in self.closest_calls(n)
        ]

    _HEADER = ("similarity", "kind", "part", "dropped", "kept")

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items() if count)
        parts = [f"DedupReport: kept {self.kept:,}, dropped {len(self.dropped):,} ({self.ratio:.1%})"]
        parts[0] += f": {counts}" if counts else ""
        if self.dropped:
            parts += ["closest calls:", display.table(self._HEADER, self._rows(5))]
        return "\n".join([*parts, *map(str, self.findings)])

    def _repr_html_(self) -> str:
        head = display.paragraph(
            f"Kept {self.kept:,}, dropped {len(self.dropped):,} ({self.ratio:.1%}): "
            + ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        )
        body = display.html_table(self._HEADER, self._rows(20), caption="Closest calls") if self.dropped else ""
        return head + body + "".join(display.paragraph(finding) for finding in self.findings)
