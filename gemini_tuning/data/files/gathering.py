"""What is gathered while rows are read: examples, rows that cannot be used, and what was passed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec

from ...errors import DataError
from ...types import Broken, Dataset, Example, Finding, Json, Location, Severity
from ..formats.rows import SHAPE_NAMES, Columns, Shape, check_unicode, plain_json, refuse, shape_of, to_example

__all__ = ["Gathering", "text_of_bytes"]

PLACES = 1000
"""Places that a note holds; `count` says how many there are."""
_RAW = 1 << 20
"""Characters that are kept of bytes which are only for reading."""

NOT_UTF8 = "name its encoding: encoding='cp1252' (Excel, old editors) or 'gb18030'; or save it as UTF-8."
_AROUND = frozenset({"data", "rows", "examples", "records", "items"})
"""What the list of all rows is called in an object around it."""

_NOTES: dict[str, tuple[Severity, str, str]] = {
    "bom": ("note", "the file begins with a byte order mark; it was left out", "other tools may stumble over it."),
    "blank-lines": ("note", "{count:,} blank lines were passed over", ""),
    "old-format": (
        "warning", "{count:,} rows have an older shape of Google's, which tuning no longer takes",
        "they were read; write() gives today's shape.",
    ),
    "duplicate-keys": (
        "warning", "{count:,} rows have a key twice in one object; the last value was taken",
        "the other value is lost: look at those rows.",
    ),
}  # fmt: skip


class Gathering:
    """The rows of one file or of records in memory, as they come.

    Args:
        name: The file, or None for records in memory.
        columns: The two named columns of flat rows.
        shape: The shape of every row, or None: then that of the first row.
        keep: Whether a row that cannot be used is kept aside; else it is raised.
        unit: What the number of a row counts: physical lines, or records.
        fault: What is wrong with the file as a whole: then no row can be used as it stands, for this reason.
    """

    def __init__(
        self, name: str | None, columns: Columns, shape: Shape | None, *, keep: bool, unit: str = "line",
        fault: DataError | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.columns = columns
        self.keep = keep
        self.unit = unit
        self.examples: list[Example] = []
        self.broken: list[Broken] = []
        self._forced = shape
        self._first: tuple[Shape, int] | None = None
        self._fault = fault
        self._places: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}

    @property
    def shape(self) -> Shape | None:
        """The shape that rows must have, once it is known."""
        return self._forced or (self._first and self._first[0])

    @property
    def faulty(self) -> bool:
        """Whether no row can be used as it stands."""
        return self._fault is not None

    def row(self, value: Json, number: int, raw: Callable[[], str]) -> bool:
        """One row that was decoded, and whether it is an example. `raw` gives its text; it is called only if not."""
        where = Location(self.name, number)
        try:
            if self._fault is not None:
                raise self._fault
            if not isinstance(value, Mapping):
                found = json.dumps(plain_json(value), ensure_ascii=False)[:80]
                refuse(where, None, f"expected an object, found {found}", "data-shape")
            shape = self._shape(value, where)
            example = to_example(value, shape, self.columns, where)
        except DataError as error:
            name = _only_list(value) if error.code == "data-column" else None
            if name is not None and not error.hint.startswith("Did you mean"):
                error.hint = (
                    f"the rows seem to be in its list {name!r}: take that list out and pass it to from_records()."
                )
            self._refused(error, number, raw)
        except RecursionError:
            self.refuse("it is nested too deeply", number, code="data-json", raw=raw)
        else:
            self.examples.append(example)
            if shape == "ai-studio":
                self.note("old-format", number)
            return True
        return False

    def example(self, example: Example, number: int, raw: Callable[[], str]) -> None:
        """One example that is made already; its texts must have a UTF-8 form."""
        try:
            if self._fault is not None:
                raise self._fault
            for turn in example.turns:
                check_unicode(turn.text, "turns", example.where)
            check_unicode(example.system or "", "system", example.where)
        except DataError as error:
            self._refused(error, number, raw)
        else:
            self.examples.append(example)

    def refuse(
        self, what: str, number: int, *, code: str, hint: str = "", field: str | None = None,
        raw: Callable[[], str], text: bool = True,
    ) -> None:  # fmt: skip
        """A row that is no row: raised, or kept aside."""
        error = DataError.at(what, file=self.name, line=number, field=field, hint=hint, code=code)
        self._refused(error, number, raw, text=text)

    def refuse_file(self, what: str, line: int, hint: str) -> None:
        """Something that is wrong between the rows of a JSON file: there is nothing in it that could be mended."""
        error = DataError.at(what, file=self.name, line=line, hint=hint, code="data-json")
        if not self.keep:
            raise error
        self.broken.append(Broken(
            where=Location(self.name, line), code=error.code, message=what, hint=hint, text=False
        ))  # fmt: skip

    def not_utf8(self, data: bytes, number: int, error: UnicodeDecodeError) -> None:
        """A row whose bytes are not UTF-8; they are never replaced."""
        self.refuse(
            f"byte 0x{data[error.start]:02x} at byte {error.start + 1} of the line is not UTF-8", number,
            code="data-encoding", hint=NOT_UTF8,
            raw=lambda: text_of_bytes(data), text=False,
        )  # fmt: skip

    def note(self, code: str, number: int, count: int = 1) -> None:
        """Something that was passed over on `count` rows from this one on."""
        places = self._places.setdefault(code, [])
        places.extend(range(number, number + min(count, PLACES - len(places))))
        self._counts[code] = self._counts.get(code, 0) + count

    def dataset(self, source: str) -> Dataset:
        """All of it."""
        notes = []
        for code, (severity, message, hint) in _NOTES.items():
            if code in self._counts:
                count = self._counts[code]
                notes.append(Finding(
                    code=code, severity=severity, message=message.format(count=count), hint=hint, count=count,
                    where=tuple(Location(self.name, line) for line in sorted(self._places[code])),
                ))  # fmt: skip
        return Dataset(self.examples, source=source, broken=self.broken, notes=notes)

    def _shape(self, row: Mapping[str, Json], where: Location) -> Shape:
        """The row's shape: the one asked for, else its own, which must be that of the first row."""
        if self._forced is not None:
            if self._forced == "flat" and "contents" in row and self.columns.input not in row:
                what = f"no column {self.columns.input!r}, but 'contents': this is Gemini's own format"
                refuse(where, self.columns.input, what, "data-column", "say format='gemini', or leave format= out.")
            return self._forced
        own = shape_of(row, self.columns, where)
        if self._first is None:
            self._first = (own, where.line or 0)
        elif own != self._first[0]:
            first, line = self._first
            found = f"{SHAPE_NAMES[own]} ({_names(row)})"
            what = f"this row has {found}, while {self.unit} {line} has {SHAPE_NAMES[first]}"
            refuse(where, None, what, "data-mixed", "one file holds one format: divide it.")
        return own

    def _refused(self, error: DataError, number: int, raw: Callable[[], str], *, text: bool = True) -> None:
        what = without_place(error)
        if not self.keep:
            if self.unit == "record" and error.line is not None:
                # A line of a file can be gone to in an editor; a record of an array or of memory is counted.
                place = ", ".join(
                    [*([error.file] if error.file else []), f"record {error.line}",
                     *([f"field {error.field!r}"] if error.field else [])]
                )  # fmt: skip
                error.message = f"{place}: {what}"
                error.args = (error.message,)
            raise error
        self.broken.append(Broken(
            where=Location(self.name, number, error.field), code=error.code, message=what, hint=error.hint,
            raw=raw(), text=text,
        ))  # fmt: skip


def without_place(error: DataError) -> str:
    """The message of an error without the file, line and field that it begins with."""
    place = DataError.at("", file=error.file, line=error.line, field=error.field).message
    return error.message.removeprefix(place)


def text_of_bytes(data: bytes) -> str:
    """Bytes for reading, those that are not UTF-8 as `\\xNN`; cut where they are very many."""
    return data[:_RAW].decode("utf-8", "backslashreplace")


def text_of_value(value: Json) -> str:
    """A row in memory as JSON."""
    try:
        return msgspec.json.encode(plain_json(value)).decode()
    except UnicodeEncodeError:
        return json.dumps(plain_json(value))
    except RecursionError:
        return ""


def _only_list(row: Json) -> str | None:
    """The name of the one list of objects in an object that is no row itself: `{"data": [{...}, ...]}`.

    A row too may have a list of objects in a column of its own, among others.
    """
    lists = [
        str(name) for name, value in row.items() if isinstance(value, list) and value and isinstance(value[0], Mapping)
    ] if isinstance(row, Mapping) else []  # fmt: skip
    alone = len(lists) == 1 and (len(row) == 1 or lists[0] in _AROUND)
    return lists[0] if alone and "contents" not in row else None


def _names(row: Mapping[str, Json]) -> str:
    names = [repr(name) for name in row]
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
