"""Making broken rows whole where that needs no guess, and saying what was done to which row.

A change is safe when the row can mean one thing only. Everything else is refused with the row and the reason, or
dropped when that is asked for. Nothing is lost in silence: a row that goes in comes out, is refused or is dropped, and
is in the report. Repairing twice is repairing once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Literal

import msgspec

from ...errors import PlanError
from ...models import TOKENS_PER_EXAMPLE
from ...types import Broken, Dataset, Example, Location
from ..files.gathering import text_of_value
from ..formats.rows import Columns, to_gemini
from ..tokens import dataset_tokens
from . import tidy
from .mend import NOTHING_LEFT, TOO_LONG, Piece, fixable, mend, outcome
from .report import Change, RepairReport

__all__ = ["fixable", "mend", "repair"]

TooLong = Literal["keep", "drop", "cut"]
Unfixable = Literal["refuse", "drop"]


def repair(
    dataset: Dataset,
    *,
    too_long: TooLong = "keep",
    unfixable: Unfixable = "refuse",
    limit: int = TOKENS_PER_EXAMPLE,
    input: str = "input",
    output: str = "output",
    dry_run: bool = False,
) -> tuple[Dataset, RepairReport]:
    """The data set with everything put right that can be without a guess, and the list of all changes.

    Broken rows (`dataset.broken`) are mended: rows of another known format, `assistant` for `model`, `content` for
    `parts`, several rows on one line, one row on many, and so on (`docs/repair.md` has the table). They go to their
    place among the examples, by line. Of the examples, byte order marks and NUL characters are removed, turns of one
    speaker in a row are joined, and arguments that were encoded as a text are decoded. No label, answer, case or white
    space inside a text is ever changed, no missing quote, turn or end of a line is invented, and bytes are never
    replaced.

    Args:
        dataset: What was read, with the rows that reading kept aside (`read(path, bad_rows="keep")`).
        too_long: What becomes of examples with more tokens than `limit`. `"cut"` removes the oldest exchanges of a
            conversation, never of the last one with the target; what is too long even so is unfixable.
        unfixable: `"refuse"` leaves such rows in the `broken` of the result, whose training is refused; `"drop"`
            removes them. The report lists them in either case.
        limit: Tokens of one example, as estimated by `example_tokens`.
        input: The column with what the model is asked, of flat rows.
        output: The column with the answer, of flat rows.
        dry_run: Gives the data set back as it is, with the report of what would be done.

    Raises:
        PlanError: for a value that none of the arguments can have.
    """
    _check_arguments(dataset, too_long, unfixable, limit)
    work = _Repair(Columns(input, output), too_long, unfixable, limit)
    repaired = work.run(dataset)
    report = RepairReport(
        rows_in=len(dataset) + len(dataset.broken), rows_out=len(repaired), changes=tuple(work.changes),
        refused=tuple(work.refused), dropped=tuple(work.dropped), dry_run=dry_run,
    )  # fmt: skip
    return dataset if dry_run else repaired, report


def _check_arguments(dataset: object, too_long: str, unfixable: str, limit: int) -> None:
    if not isinstance(dataset, Dataset):
        hint = "for a file: repair(read(path, bad_rows='keep'))."
        raise PlanError.bad_value("repair", "dataset", type(dataset).__name__, "a Dataset", hint=hint)
    if too_long not in ("keep", "drop", "cut"):
        raise PlanError.bad_value("repair", "too_long", too_long, "'keep', 'drop' or 'cut'")
    if unfixable not in ("refuse", "drop"):
        raise PlanError.bad_value("repair", "unfixable", unfixable, "'refuse' or 'drop'")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise PlanError.bad_value("repair", "limit", limit, "a whole number of tokens, 1 or more")


class _Repair:
    """One repair: what was changed, refused and dropped so far."""

    def __init__(self, columns: Columns, too_long: TooLong, unfixable: Unfixable, limit: int) -> None:
        self._columns = columns
        self._too_long = too_long
        self._unfixable = unfixable
        self._limit = limit
        self.changes: list[Change] = []
        self.refused: list[Broken] = []
        self.dropped: list[Change] = []

    def run(self, dataset: Dataset) -> Dataset:
        """The repaired data set; the one given when there was nothing to do."""
        groups = [(broken.where, self._broken(broken)) for broken in dataset.broken]
        pieces = [piece for _, found in groups for piece in found]
        examples = [*(piece.example for piece in pieces), *dataset.examples]
        finished = self._finished(examples, [*pieces, *(None for _ in dataset.examples)])
        mended, kept = finished[: len(pieces)], finished[len(pieces) :]
        for places in (self.changes, self.refused, self.dropped):
            places.sort(key=_place)
        same = all(found is example for found, example in zip(kept, dataset.examples, strict=True))
        if same and self.refused == sorted(dataset.broken, key=_place):
            return dataset
        rest = iter(mended)
        new = [(where, [each for _ in found if (each := next(rest)) is not None]) for where, found in groups]
        merged = _in_place([each for each in kept if each is not None], _with_origins(dataset.examples, new))
        return Dataset(merged, source=dataset.source, broken=self.refused, notes=dataset.notes)

    # --- broken rows ---

    def _broken(self, broken: Broken) -> Sequence[Piece]:
        """What is whole of one broken row."""
        found = outcome(broken, self._columns)
        self.changes += found.changes
        self.dropped += found.blank
        for refused in found.refused:
            self._refuse(refused)
        return found.whole

    def _refuse(self, broken: Broken) -> None:
        if self._unfixable == "refuse":
            self.refused.append(broken)
        else:
            where = broken.where
            self.dropped.append(Change.of(broken.code, broken.message, where, field=where.field, before=broken.raw))

    # --- examples ---

    def _finished(self, examples: Sequence[Example], pieces: Sequence[Piece | None]) -> list[Example | None]:
        """Each example in order and of a length that fits; None for one that is refused or dropped.

        `pieces` has what each came from when that was a broken row. A row that is refused in the end is kept as it was,
        so its changes are not told: they did not happen.
        """
        tidied = [tidy.tidy(example) for example in examples]
        sizes: Iterable[float] = repeat(0.0)
        if self._too_long != "keep":
            sizes = dataset_tokens(each.example or given for each, given in zip(tidied, examples, strict=True)).tolist()
        return [
            self._fitting(given, piece, each, size)
            for given, piece, each, size in zip(examples, pieces, tidied, sizes, strict=False)
        ]

    def _fitting(self, given: Example, piece: Piece | None, tidied: tidy.Tidied, size: float) -> Example | None:
        example, changes = tidied
        if example is None:
            what = "without its NUL characters and byte order marks a turn is empty"
            self._set_aside(given, piece, NOTHING_LEFT, what, "remove the row, or fill it in.")
            return None
        if size > self._limit:
            what = f"it has {size:,.0f} tokens (estimated), more than {self._limit:,}"
            if self._too_long == "drop":
                self.dropped.append(Change.of(TOO_LONG, what, given.where, before=given.text))
                return None
            shorter = tidy.cut(example, self._limit)
            if shorter is None:
                what += ", and so has its last exchange alone"
                self._set_aside(given, piece, TOO_LONG, what, "shorten it by hand, or remove the row.")
                return None
            example, change = shorter
            changes = (*changes, change)
        self.changes += (*(piece.changes if piece else ()), *changes)
        return example

    def _set_aside(self, given: Example, piece: Piece | None, code: str, what: str, hint: str) -> None:
        raw = "" if piece else text_of_value({**given.meta, **to_gemini(given)})
        broken = piece.broken if piece else Broken(
            where=given.where, code=code, message=what, raw=raw, text=bool(raw)
        )  # fmt: skip
        self._refuse(msgspec.structs.replace(broken, where=given.where, code=code, message=what, hint=hint))


def _place(row: Broken | Change) -> tuple[str, int]:
    return row.where.file or "", row.where.line or 0


# --- back into the order of the rows -------------------------------------------------------------------------------


def _with_origins(
    there: Sequence[Example], mended: Sequence[tuple[Location, Sequence[Example]]]
) -> list[tuple[Location, list[Example]]]:
    """The new examples with origins of their own: copies of rows that are there count on from these."""
    seen: dict[str, int] = {}
    for example in there:
        content = example.origin.partition("#")[0]
        seen[content] = seen.get(content, 0) + 1
    named = []
    for where, examples in mended:
        group = []
        for example in examples:
            content = example.content_hash()
            group.append(msgspec.structs.replace(example, origin=f"{content}#{seen.get(content, 0)}"))
            seen[content] = seen.get(content, 0) + 1
        named.append((where, group))
    return named


def _in_place(kept: Sequence[Example], mended: Iterable[tuple[Location, Sequence[Example]]]) -> list[Example]:
    """New examples after the one with the nearest earlier line of their file, and the others in the order they had."""
    lines: dict[str | None, list[tuple[int, int]]] = {}
    for at, example in enumerate(kept):
        if example.where.line is not None:
            lines.setdefault(example.where.file, []).append((example.where.line, at))
    for places in lines.values():
        places.sort()
    after: dict[int, list[Example]] = {}
    for where, examples in sorted(mended, key=lambda each: (each[0].file or "", each[0].line or 0)):
        places = lines.get(where.file, [])
        at = len(kept) - 1
        if where.line is not None and places:
            earlier = bisect_left(places, (where.line, -1))
            at = places[earlier - 1][1] if earlier else places[0][1] - 1
        after.setdefault(at, []).extend(examples)
    merged = list(after.get(-1, ()))
    for at, example in enumerate(kept):
        merged += (example, *after.get(at, ()))
    return merged
