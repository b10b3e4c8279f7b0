"""What a check found: findings, labels, lengths, languages."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ... import display
from ...types import Finding, Json, Location


class Distribution(msgspec.Struct, frozen=True):
    """A number a row: smallest, middle, 95th percentile (nearest rank), largest, and the sum. All 0 without rows."""

    min: float = 0.0
    median: float = 0.0
    p95: float = 0.0
    max: float = 0.0
    total: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Distribution:
        """Of any numbers; the median of an even count is the mean of the middle two."""
        ordered = sorted(map(float, values))
        if not ordered:
            return cls()
        n = len(ordered)
        middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
        return cls(ordered[0], middle, ordered[max(0, -(-95 * n // 100) - 1)], ordered[-1], sum(ordered))


class Cluster(msgspec.Struct, frozen=True):
    """Rows that resemble each other: how many of those looked at, and the one nearest to their middle."""

    rows: int
    share: float
    example: str


class Diversity(msgspec.Struct, frozen=True, kw_only=True):
    """How varied the training inputs are (lexically: words and character windows, no meaning).

    Attributes:
        looked_at: Rows that were grouped; 0 when there were too few.
        clusters: Largest first.
        effective: How many equally large clusters would be as varied (exponential of the entropy).
        edge_share: Share of rows that are far from the middle of their cluster: edge cases.
        thin: Clusters with fewer than a fifth of the average number of rows.
    """

    looked_at: int = 0
    clusters: tuple[Cluster, ...] = ()
    effective: float = 0.0
    edge_share: float = 0.0
    thin: tuple[Cluster, ...] = ()


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A label that looks wrong: the one given, the one that a small model predicts, and how sure it is (0 to 1)."""

    where: Location
    input: str
    given: str
    predicted: str
    confidence: float


class DataReport(msgspec.Struct, frozen=True, kw_only=True):
    """A data set, looked at before money is spent.

    Attributes:
        source: The file or object.
        rows: Rows in each part; only `train` when the data is not split.
        findings: Worst first. A `stop` means that money spent now is wasted.
        labels: Output -> rows, most frequent first; empty when outputs are texts.
        tokens: Estimated tokens an example, input and output (see `tokens`).
        input_characters, output_characters: Lengths.
        scripts: Script -> share of the letters of all inputs (`latin`, `han`, ...), largest first.
        languages: Language -> share of a sample of the inputs, guessed; largest first.
        duplicates: Rows that could go: `exact` (after folding) and `near`, inside and across parts.
        leaks: Rows of train or validation whose input is in a later part: `exact`, `near`.
        conflicts: Inputs that have more than one output.
        suspects: Labels that look wrong, surest first (the first 1,000).
        personal: Kind of personal data -> rows that hold some.
        diversity: What the training inputs cover.
        broken: Rows that could not be read.
    """

    source: str = ""
    rows: dict[str, int] = {}
    findings: tuple[Finding, ...] = ()
    labels: dict[str, int] = {}
    tokens: Distribution = Distribution()
    input_characters: Distribution = Distribution()
    output_characters: Distribution = Distribution()
    scripts: dict[str, float] = {}
    languages: dict[str, float] = {}
    duplicates: dict[str, int] = {}
    leaks: dict[str, int] = {}
    conflicts: int = 0
    suspects: tuple[Suspect, ...] = ()
    personal: dict[str, int] = {}
    diversity: Diversity = Diversity()
    broken: int = 0

    def to_json(self) -> bytes:
        """As JSON, for other programs; `ok` is in it."""
        return msgspec.json.encode({"ok": self.ok, **msgspec.structs.asdict(self)})

    @classmethod
    def from_json(cls, data: bytes | str) -> DataReport:
        """From `to_json`."""
        return msgspec.json.decode(data, type=cls)

    @property
    def ok(self) -> bool:
        """No finding says stop."""
        return all(finding.severity != "stop" for finding in self.findings)

    def to_records(self) -> list[dict[str, Json]]:
        """One row a finding."""
        return [
            {"code": each.code, "severity": each.severity, "count": each.count, "message": each.message,
             "hint": each.hint, "where": str(each.where[0]) if each.where else ""}
            for each in self.findings
        ]  # fmt: skip

    def _head(self) -> str:
        rows = ", ".join(f"{name} {count:,}" for name, count in self.rows.items()) or "no rows"
        broken = f", {self.broken:,} broken" if self.broken else ""
        kinds = [(name, sum(each.severity == name for each in self.findings)) for name in ("stop", "warning", "note")]
        found = ", ".join(
            f"{count} {name}{'' if count == 1 or name == 'stop' else 's'}" for name, count in kinds if count
        )
        return f"DataReport: {self.source or 'records'}: {rows}{broken}; {found or 'no findings'}"

    def _sizes(self) -> list[tuple[object, ...]]:
        return [
            (name, *(f"{value:,.0f}" for value in (each.min, each.median, each.p95, each.max)))
            for name, each in (
                ("tokens (estimated)", self.tokens),
                ("input characters", self.input_characters),
                ("output characters", self.output_characters),
            )
        ]

    def _notes(self) -> list[str]:
        # A space at an end of a label is a mistake that nobody sees.
        named = {
            (label if label == label.strip() and label.isprintable() else repr(label))[:60]: count
            for label, count in list(self.labels.items())[:8]
        }
        labels = ", ".join(f"{label} {count:,}" for label, count in named.items())
        more = f", and {len(self.labels) - 8:,} more" if len(self.labels) > 8 else ""
        variety = self.diversity
        thin = f", {len(variety.thin)} of them thin" if variety.thin else ""
        return [
            *([f"scripts: {_shares(self.scripts)}"] if self.scripts else []),
            *([f"languages (guessed): {_shares(self.languages)}"] if self.languages else []),
            *([f"{len(self.labels):,} labels: {labels}{more}"] if self.labels else []),
            *([
                f"variety: {len(variety.clusters)} clusters of input{thin}, as varied as {variety.effective:g} even "
                f"ones; {variety.edge_share:.1%} edge cases"
            ] if variety.clusters else []),
        ]  # fmt: skip

    _HEADER = ("a row", "min", "median", "p95", "max")

    def __repr__(self) -> str:
        table = [display.table(self._HEADER, self._sizes())] if any(self.rows.values()) else []
        return "\n".join([self._head(), *table, *self._notes(), *map(str, self.findings)])

    def _repr_html_(self) -> str:
        findings = display.html_table(
            ("severity", "code", "count", "message", "what to do", "where"),
            [
                (each.severity, each.code, each.count or "–", each.message, each.hint,
                 "; ".join(map(self._place, each.where[:3])) + ("; ..." if each.count > 3 and each.where else ""))
                for each in self.findings
            ],
            caption="Findings",
        )  # fmt: skip
        suspects = display.html_table(
            ("where", "input", "given", "predicted", "confidence"),
            [
                (each.where, each.input, each.given, each.predicted, f"{each.confidence:.0%}")
                for each in self.suspects[:50]
            ],
        )  # fmt: skip
        clusters = display.html_table(
            ("rows", "share", "nearest to the middle"),
            [(each.rows, f"{each.share:.1%}", each.example) for each in self.diversity.clusters],
        )
        return (
            display.paragraph(self._head())
            + (findings if self.findings else "")
            + display.html_table(self._HEADER, self._sizes())
            + "".join(map(display.paragraph, self._notes()))
            + (display.details(self._suspects_title(), suspects) if self.suspects else "")
            + (display.details("Clusters of input", clusters) if self.diversity.clusters else "")
        )

    def _suspects_title(self) -> str:
        shown = f"{min(50, len(self.suspects))} of {len(self.suspects):,}"
        return f"Labels that look wrong: {shown}, surest first; all in report.suspects"

    def _place(self, where: Location) -> str:
        """The place without the file that the whole report is about."""
        return str(where).removeprefix(f"{self.source}, ") if where.file == self.source else str(where)


def _shares(shares: dict[str, float]) -> str:
    """`latin 98%, han 2%`: those of half a percent and more."""
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.005)
