"""What a repair did: every change with its place, before and after; every row that stayed broken; every row dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ... import display
from ...types import Broken, Json, Location

_WIDTH = 160
"""Characters of `before` and `after` that are kept: enough to find the spot, not a copy of the data."""


class Change(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One change to one row, or one row that was dropped.

    Attributes:
        where: The row, and the field in it where there is one.
        code: The kind: one of the table in `docs/repair.md`; of a dropped row the code of what was wrong with it.
        what: What was done, in words.
        before: What stood there, at most 160 characters of it.
        after: What stands there now, likewise; `""` where something was removed.
    """

    where: Location
    code: str
    what: str
    before: str = ""
    after: str = ""

    @classmethod
    def of(
        cls, code: str, what: str, where: Location, *, field: str | None = None, before: Json = "", after: Json = ""
    ) -> Change:
        """A change to a row, or to one field of it; what stood and stands there is shortened."""
        place = Location(where.file, where.line, field)
        return cls(where=place, code=code, what=what, before=shown(before), after=shown(after))


def shown(value: Json) -> str:
    """A text as it is, anything else as JSON: one that a report can hold and write, cut at 160 characters."""
    text = value if isinstance(value, str) else _json(value)
    # Half of a surrogate pair has no UTF-8 form, and a report is written as JSON.
    text = text[: _WIDTH + 1].encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _json(value: Json) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        return repr(value)


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was changed, what stayed broken and what was dropped.

    Attributes:
        rows_in: Examples and broken rows before.
        rows_out: Examples after.
        changes: Every change to a row that is whole now, in the order of the rows.
        refused: Rows that could not be made whole without guessing; they are the `broken` of the data set now.
        dropped: Rows that are gone: blank ones, and what `too_long="drop"` and `unfixable="drop"` asked for.
        dry_run: Nothing was done: this is what would be.
    """

    rows_in: int
    rows_out: int
    changes: tuple[Change, ...] = ()
    refused: tuple[Broken, ...] = ()
    dropped: tuple[Change, ...] = ()
    dry_run: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Changes by code, most frequent first, then by name."""
        return _counted(change.code for change in self.changes)

    @property
    def refused_counts(self) -> dict[str, int]:
        """Rows that stayed broken by code, most frequent first, then by name."""
        return _counted(broken.code for broken in self.refused)

    @property
    def dropped_counts(self) -> dict[str, int]:
        """Dropped rows by code, most frequent first, then by name."""
        return _counted(change.code for change in self.dropped)

    def to_records(self) -> list[dict[str, Json]]:
        """One row a change, a refused row or a dropped row; `outcome` says which."""
        return [
            *(_record("changed", each) for each in self.changes),
            *(
                {"outcome": "refused", "where": str(each.where), "code": each.code, "what": each.message,
                 "before": shown(each.raw), "after": ""}
                for each in self.refused
            ),
            *(_record("dropped", each) for each in self.dropped),
        ]  # fmt: skip

    def _head(self) -> str:
        counts = ", ".join(f"{count:,} {code}" for code, count in self.counts.items())
        would = "a dry run, nothing was done: " if self.dry_run else ""
        return (
            f"{would}{self.rows_in:,} rows in, {self.rows_out:,} out, {len(self.refused):,} refused, "
            f"{len(self.dropped):,} dropped; {len(self.changes):,} changes{f': {counts}' if counts else ''}"
        )

    def _tables(self, n: int) -> list[tuple[str, Sequence[str], list[tuple[object, ...]]]]:
        """Caption, header and the first `n` rows of each table that has any."""
        tables: list[tuple[str, Sequence[str], list[tuple[object, ...]]]] = [
            ("changes", ("code", "where", "what", "before", "after"),
             [(each.code, each.where, each.what, each.before, each.after) for each in self.changes[:n]]),
            ("refused", ("code", "where", "what", "row"),
             [(each.code, each.where, each.message, shown(each.raw)) for each in self.refused[:n]]),
            ("dropped", ("code", "where", "what", "row"),
             [(each.code, each.where, each.what, each.before) for each in self.dropped[:n]]),
        ]  # fmt: skip
        sizes = (len(self.changes), len(self.refused), len(self.dropped))
        return [
            (f"{name} ({min(n, size):,} of {size:,})", header, rows)
            for (name, header, rows), size in zip(tables, sizes, strict=True)
            if size
        ]

    def __repr__(self) -> str:
        lines = [f"RepairReport: {self._head()}"]
        for caption, header, rows in self._tables(5):
            lines += [f"{caption}:", display.table(header, rows, max_width=40)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        tables = (display.html_table(header, rows, caption=caption) for caption, header, rows in self._tables(20))
        return display.paragraph(self._head()) + "".join(tables)


def _record(outcome: str, change: Change) -> dict[str, Json]:
    return {
        "outcome": outcome, "where": str(change.where), "code": change.code, "what": change.what,
        "before": change.before, "after": change.after,
    }  # fmt: skip


def _counted(codes: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code in codes:
        counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
