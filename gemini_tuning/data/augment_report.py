"""What augmentation asked, took, refused and paid for."""

from __future__ import annotations

from typing import Literal

import msgspec

from .. import display
from ..types import Finding, Json, Location

Reason = Literal[
    "unreadable", "empty", "number_changed", "label_changed", "copy", "duplicate_variant",
    "near_duplicate_of_validation", "near_duplicate_of_test",
]  # fmt: skip


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that the gate refused.

    `because` is the text, label or numbers that it collided with. For `unreadable` the text is the model's reply.
    """

    text: str
    reason: Reason
    parent: str
    parent_origin: str
    output: str
    because: str = ""
    where: Location = Location()


class CallFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A call that gave no answer; the example stays without variants and is asked again next time."""

    parent: str
    parent_origin: str
    error: str
    where: Location = Location()


class AugmentReport(msgspec.Struct, frozen=True, kw_only=True):
    """Variants asked for, accepted and rejected.

    Attributes:
        model: Who wrote the variants; `simulated` when it was the offline simulator.
        examples: Examples that variants were asked for.
        asked: Variants asked for.
        accepted: New examples in train.
        calls: Calls that were made (and paid for).
        reused: Replies that were read from the journal instead.
        rejected: Each refused variant with its reason.
        failures: Calls without an answer.
    """

    model: str
    simulated: bool = False
    examples: int = 0
    asked: int = 0
    accepted: int = 0
    calls: int = 0
    reused: int = 0
    rejected: tuple[Rejected, ...] = ()
    failures: tuple[CallFailure, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """Rejected variants by reason, most frequent first."""
        counts: dict[str, int] = {}
        for each in self.rejected:
            counts[each.reason] = counts.get(each.reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def to_records(self) -> list[dict[str, Json]]:
        """One row a rejected variant or failed call."""
        rejected: list[dict[str, Json]] = [
            {"reason": each.reason, "text": each.text, "parent": each.parent, "output": each.output,
             "because": each.because, "where": str(each.where)}
            for each in self.rejected
        ]  # fmt: skip
        failed: list[dict[str, Json]] = [
            {"reason": "failure", "text": "", "parent": each.parent, "output": "", "because": each.error,
             "where": str(each.where)}
            for each in self.failures
        ]  # fmt: skip
        return rejected + failed

    def _head(self) -> str:
        who = f"{self.model} (simulated)" if self.simulated else self.model
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items())
        return (
            f"AugmentReport: {self.accepted:,} of {self.asked:,} variants of {self.examples:,} examples accepted, "
            f"{len(self.rejected):,} rejected{f' ({reasons})' if reasons else ''}, {len(self.failures):,} calls failed"
            f"; {self.calls:,} calls to {who}, {self.reused:,} replies reused"
        )

    def _rows(self, n: int) -> list[tuple[str, str, str, str]]:
        return [(each.reason, each.text, each.parent, each.because) for each in self.rejected[:n]]

    _HEADER = ("reason", "variant", "of", "because of")

    def __repr__(self) -> str:
        rows = [display.table(self._HEADER, self._rows(5))] if self.rejected else []
        return "\n".join([self._head(), *rows, *map(str, self.findings)])

    def _repr_html_(self) -> str:
        rows = display.html_table(self._HEADER, self._rows(50), caption="Rejected variants") if self.rejected else ""
        return display.paragraph(self._head()) + rows + "".join(map(display.paragraph, self.findings))
