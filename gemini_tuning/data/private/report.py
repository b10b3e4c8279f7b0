"""What a redaction did: how many values of which kind were replaced, and where. Never the values."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ... import display
from ...types import Finding, Json, Location
from .texts import field_group

__all__ = ["RedactReport", "Redaction", "Tally", "label_finding"]

PLACES = 10_000
"""So many single replacements are kept in a report; the counts are of all."""
_FINDING_PLACES = 1000


class Redaction(msgspec.Struct, frozen=True, kw_only=True):
    """One value that was replaced. The value itself is not here, and nothing that it could be guessed from.

    Attributes:
        kind: `email`, `phone`, ..., or a detector's own.
        placeholder: What stands there now; `""` where the raw text of a broken row was removed as a whole.
        where: Row and field: `input`, `output`, `system`, `contents[2]`, `tools`, `completions[0]`, `references`,
            `broken`, or the name of another column.
        length: Characters that the value had.
    """

    kind: str
    placeholder: str
    where: Location
    length: int


class RedactReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was replaced, by kind and place. It never holds a value that was replaced.

    Attributes:
        rows: Rows looked at, broken ones included.
        changed: Rows in which something was replaced.
        counts: Kind -> field -> replacements; other columns are counted together as `meta`, further turns as
            `contents`.
        replaced: The first 10,000 replacements, in the order of the rows.
        findings: What is worth knowing, for example that labels were changed.
        detector: Name and version of the detector that helped, or `""`.
    """

    rows: int
    changed: int
    counts: dict[str, dict[str, int]] = {}
    replaced: tuple[Redaction, ...] = ()
    findings: tuple[Finding, ...] = ()
    detector: str = ""

    @classmethod
    def merged(cls, reports: Iterable[RedactReport]) -> RedactReport:
        """One report of several parts of the data, in their order; findings of one code become one."""
        every = list(reports)
        counts: dict[str, dict[str, int]] = {}
        findings: dict[str, Finding] = {}
        for report in every:
            for kind, fields in report.counts.items():
                for field, n in fields.items():
                    of_kind = counts.setdefault(kind, {})
                    of_kind[field] = of_kind.get(field, 0) + n
            for finding in report.findings:
                findings[finding.code] = (
                    _joined(findings[finding.code], finding) if finding.code in findings else finding
                )
        return cls(
            rows=sum(report.rows for report in every),
            changed=sum(report.changed for report in every),
            counts={kind: dict(sorted(counts[kind].items())) for kind in sorted(counts)},
            replaced=tuple(each for report in every for each in report.replaced)[:PLACES],
            findings=tuple(findings.values()),
            detector=next((report.detector for report in every if report.detector), ""),
        )

    @property
    def total(self) -> int:
        """All replacements."""
        return sum(sum(fields.values()) for fields in self.counts.values())

    @property
    def kinds(self) -> dict[str, int]:
        """Replacements by kind, most first."""
        sums = {kind: sum(fields.values()) for kind, fields in self.counts.items()}
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))

    def to_records(self) -> list[dict[str, Json]]:
        """One row a replacement (the first 10,000)."""
        return [
            {
                "kind": each.kind,
                "placeholder": each.placeholder,
                "where": str(each.where),
                "field": each.where.field,
                "length": each.length,
            }
            for each in self.replaced
        ]

    _HEADER = ("kind", "replaced", "where")

    def _rows(self) -> list[tuple[object, ...]]:
        return [
            (kind, f"{count:,}", ", ".join(f"{field} {n:,}" for field, n in self.counts[kind].items()))
            for kind, count in self.kinds.items()
        ]

    def _head(self) -> str:
        helped = f", with {self.detector}" if self.detector else ""
        return f"replaced {self.total:,} values in {self.changed:,} of {self.rows:,} rows{helped}"

    def __repr__(self) -> str:
        table = [display.table(self._HEADER, self._rows())] if self.counts else []
        return "\n".join([f"RedactReport: {self._head()}", *table, *map(str, self.findings)])

    def _repr_html_(self) -> str:
        table = display.html_table(self._HEADER, self._rows()) if self.counts else ""
        return display.paragraph(self._head()) + table + "".join(map(display.paragraph, self.findings))


def label_finding(where: tuple[Location, ...], count: int) -> Finding:
    """Classes whose name changed: `<EMAIL_1>` is no class, and two classes may now have one name."""
    return Finding(
        code="redact-label", severity="warning", count=count, where=where[:_FINDING_PLACES],
        message=f"{count:,} targets that look like classes were changed",
        hint="a class with personal data in its name is no class any more: is output= the right column? "
        "Name what must stay with keep=.",
    )  # fmt: skip


def _joined(first: Finding, second: Finding) -> Finding:
    return label_finding((*first.where, *second.where), first.count + second.count)


class Tally:
    """Counts by kind and field, and the first places."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self.first: list[Redaction] = []

    def add(self, kind: str, placeholder: str, where: Location, field: str, length: int) -> None:
        """One replacement more."""
        group = field_group(field)
        fields = self.counts.setdefault(kind, {})
        fields[group] = fields.get(group, 0) + 1
        if len(self.first) < PLACES:
            place = Location(where.file, where.line, field)
            self.first.append(Redaction(kind=kind, placeholder=placeholder, where=place, length=length))

    def ordered(self) -> dict[str, dict[str, int]]:
        """The counts by name: the same whatever the order of the rows."""
        return {kind: dict(sorted(self.counts[kind].items())) for kind in sorted(self.counts)}
