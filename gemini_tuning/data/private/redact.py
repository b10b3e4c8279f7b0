"""Personal data out of the examples: each value becomes a placeholder that is the same throughout its example.

`<EMAIL_1>` in the question and `<EMAIL_1>` in the answer are one address, so the model still learns to refer to it. The
numbers start again in each example: a placeholder must not become a name that is followed across the data.
"""

from __future__ import annotations

import bisect
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from ...errors import DataError, PlanError
from ...types import Broken, Dataset, Example, Finding, Location
from ..parts import SHORT_OUTPUT, label_like
from .broken import broken_texts, escaped_texts, with_broken, without_cut_values
from .detectors import Detector
from .finding import fold_ascii, resolve, scan
from .report import Redaction, RedactReport, Tally, label_finding
from .spans import KINDS, Span
from .texts import example_texts, with_texts

__all__ = ["RedactReport", "Redaction", "check_kinds", "redact"]

_ROUNDS = 8
"""Taking a value out can bring two others together: so often is looked again."""
_FEW = 8
"""So many beginnings of values are looked for one by one."""
_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*)_([0-9]{1,9})>")
_CALLING_CODE = re.compile(r"\A(?:(?:\+|00)?86(?=[ \-]?[0-9]{3}[ \-]?[0-9]{4}[ \-]?[0-9]{4}\Z)|\+1|1(?=[ .\-(]))")
"""Those that numbers are written with and without: 86 before a mobile number, +1."""
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")


# --- placeholders --------------------------------------------------------------------------------------------------


def identity(kind: str, value: str) -> str:
    """What the spellings of one value share: the case of an email, the separators of a number, the width of digits."""
    if kind == "email":
        return unicodedata.normalize("NFKC", value).casefold()
    if kind == "phone":
        folded = fold_ascii(value)
        # A bare 13812345678 is Chinese: its first digit is no calling code.
        folded = _CALLING_CODE.sub("", folded)
        digits = re.sub(r"[^0-9]", "", folded)
        return digits or value
    if kind in ("card", "iban", "resident_id", "ssn"):
        return re.sub(r"[^0-9A-Za-z]", "", fold_ascii(value)).upper() or value
    if kind == "ip":
        try:
            return str(ipaddress.ip_address(fold_ascii(value)))
        except ValueError:  # a detector's idea of an address
            return value
    return value if kind == "secret" else " ".join(value.casefold().split())


class _Numbers:
    """The placeholders of one example: above those that its texts have already."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.placeholders: dict[tuple[str, str], str] = {}
        self.spellings: dict[str, tuple[str, str]] = {}
        self.last: dict[str, int] = {}
        for text in texts:
            if "<" in text:
                for name, number in _PLACEHOLDER.findall(text):
                    self.last[name] = max(self.last.get(name, 0), int(number))

    def shown(self) -> dict[str, str]:
        """Every spelling that was found -> its placeholder."""
        return {value: self.placeholders[named] for value, named in self.spellings.items()}

    def of(self, kind: str, value: str) -> str:
        named = (kind, identity(kind, value))
        if named not in self.placeholders:
            name = kind.upper()
            self.last[name] = self.last.get(name, 0) + 1
            self.placeholders[named] = f"<{name}_{self.last[name]}>"
        self.spellings.setdefault(value, named)
        return self.placeholders[named]


class _Repeats:
    """Where values that were found somewhere in an example stand again in another text of it.

    A number may be known for a phone by the word before it, in one place only; it must not stay in the others. Latin
    words and numbers are found as whole ones; other scripts have no spaces to tell. Names of one letter are not.
    """

    def __init__(self, spellings: Mapping[str, tuple[str, str]]) -> None:
        self.spellings = spellings
        self.lengths: dict[str, set[int]] = {}
        for value in spellings:
            if len(value) >= (3 if value.isascii() else 2):
                self.lengths.setdefault(value[:2], set()).add(len(value))
        # Not one search a value: a text may be a list of thousands.
        first = "".join({re.escape(head[0]) for head in self.lengths})
        self.first = re.compile(f"[{first}]") if len(self.lengths) > _FEW else None

    def added_to(self, spans: Sequence[Span], text: str) -> list[Span]:
        """The spans of a text, and those of the values that stand in it again."""
        more = [
            Span(at, at + length, self.spellings[value][0])
            for at in self._places(text)
            for length in self.lengths[text[at : at + 2]]
            if (value := text[at : at + length]) in self.spellings
            and not _joined(text, at) and not _joined(text, at + length)
        ]  # fmt: skip
        return resolve([*spans, *more]) if more else list(spans)

    def _places(self, text: str) -> Iterator[int]:
        """Where the first two characters of any value stand."""
        if self.first is not None:
            for match in self.first.finditer(text):
                if text[match.start() : match.start() + 2] in self.lengths:
                    yield match.start()
            return
        for head in self.lengths:
            at = text.find(head)
            while at >= 0:
                yield at
                at = text.find(head, at + 1)


def _joined(text: str, at: int) -> bool:
    """Whether an ASCII word goes on across this position."""
    pair = text[max(0, at - 1) : at + 1]
    return 0 < at < len(text) and pair.isascii() and all(char.isalnum() or char == "_" for char in pair)


def _put(text: str, spans: Sequence[Span], numbers: _Numbers) -> str:
    pieces, last = [], 0
    for start, end, kind in spans:
        pieces += [text[last:start], numbers.of(kind, text[start:end])]
        last = end
    return "".join([*pieces, text[last:]])


# --- the verb ------------------------------------------------------------------------------------------------------


class _Keep:
    """Values that stay: as they are given, in any spelling, or all addresses of a domain (`@acme.com`)."""

    def __init__(self, values: Collection[str]) -> None:
        self.domains = tuple(value.casefold() for value in values if value.startswith("@"))
        self.values = frozenset(value for value in values if not value.startswith("@"))

    def __call__(self, kind: str, value: str) -> bool:
        if kind == "email" and self.domains and value.casefold().endswith(self.domains):
            return True
        if not self.values:
            return False
        named = identity(kind, value)
        return any(named == identity(kind, kept) for kept in self.values)


def redact(
    dataset: Dataset,
    *,
    kinds: Collection[str] | None = None,
    detector: Detector | None = None,
    keep: Collection[str] | None = None,
) -> tuple[Dataset, RedactReport]:
    """The examples with personal data replaced by placeholders, and a report that holds none of it.

    Args:
        dataset: The examples; rows held aside as broken are redacted as well, so that `repair` brings nothing back.
        kinds: Which kinds (`KINDS`, and the detector's own); all when None.
        detector: Finds more (names, addresses): see `detectors`. What is found here is found with it as well.
        keep: Values that stay, in any spelling; `"@acme.com"` keeps every address of that domain.

    Looked at are all turns (function calls and responses included), the system instruction, tools, completions,
    references and the other columns. One value has one placeholder in its example, however it is spelled: the case of
    an email and the separators of a phone do not matter. Placeholders that are there already stay and their numbers
    are not used again. A JSON number that is personal becomes a text. Bytes and addresses of files are not looked at.

    Doing it again changes nothing (a detector may find more in the changed texts). `origin` stays, so that parts stay
    whole.

    Raises:
        PlanError: an unknown kind.
        DataError: a detector's answer does not fit the texts (`data-detector`).
        BackendError: the detector's service failed.
    """
    wanted = check_kinds(kinds, detector)
    if isinstance(keep, str):
        raise PlanError.bad_value("redact", "keep", keep, "a list of values", hint=f"keep=[{keep!r}]")
    kept = _Keep(tuple(keep or ()))
    rows: list[Example | Broken] = [*dataset, *dataset.broken]
    texts: list[tuple[int, str, str]] = [
        (row, field, text)
        for row, each in enumerate(rows)
        for field, text in (
            example_texts(each) if isinstance(each, Example) else [("broken", text) for text in broken_texts(each)]
        )
    ]
    found = _found([text for *_, text in texts], wanted, detector, kept)

    hit_rows = {texts[at][0] for at in found}
    of_row: dict[int, list[int]] = {}
    for at, (row, *_) in enumerate(texts):
        if row in hit_rows:
            of_row.setdefault(row, []).append(at)
    work = {
        row: _Row([texts[at][1:] for at in places], [found.get(at, []) for at in places])
        for row, places in of_row.items()
    }
    _replace(list(work.values()), wanted, kept)
    new_rows = list(rows)
    for row, done in work.items():
        each = rows[row]
        new_rows[row] = (
            with_texts(each, done.change) if isinstance(each, Example)
            else without_cut_values(with_broken(each, done.change), done.numbers.shown())
        )  # fmt: skip
    hidden = _without_hidden(new_rows, len(dataset), wanted, detector, kept)

    tally = Tally()
    for row in sorted({*work, *hidden}):
        for kind, placeholder, field, length in (*(work[row].done if row in work else ()), *hidden.get(row, ())):
            tally.add(kind, placeholder, new_rows[row].where, field, length)
    examples = [each for each in new_rows if isinstance(each, Example)]
    report = RedactReport(
        rows=len(rows), changed=len({*work, *hidden}), counts=tally.ordered(), replaced=tuple(tally.first),
        findings=_label_finding(dataset, examples),
        detector=f"{detector.name} {detector.version}" if detector is not None else "",
    )  # fmt: skip
    return dataset.replace(examples, broken=[each for each in new_rows if isinstance(each, Broken)]), report


def check_kinds(kinds: Collection[str] | None, detector: Detector | None = None) -> frozenset[str] | None:
    """The kinds as a set, or None for all; PlanError for a name that nothing can find."""
    if kinds is None:
        return None
    known = ", ".join(map(repr, KINDS))
    if isinstance(kinds, str) or not kinds or not all(isinstance(kind, str) for kind in kinds):
        raise PlanError.bad_value("redact", "kinds", kinds, f"some of {known}", hint="a list: kinds=['email'].")
    for kind in kinds:
        if (kind not in KINDS and detector is None) or not _KIND.fullmatch(kind):
            hint = "other kinds, such as 'person', need a detector=." if detector is None else ""
            raise PlanError.bad_value("redact", "kinds", kind, f"one of {known}", hint=hint)
    return frozenset(kinds)


def _found(
    texts: Sequence[str], wanted: frozenset[str] | None, detector: Detector | None, keep: _Keep
) -> dict[int, list[Span]]:
    """Index of a text -> its spans, for the texts that have any."""
    found: dict[int, list[Span]] = {}
    for at, span in scan(texts, kinds=wanted):
        found.setdefault(at, []).append(span)
    if detector is not None:
        for at, more in enumerate(_detected(detector, texts)):
            more = [span for span in more if wanted is None or span.kind in wanted]
            if more:
                found[at] = resolve([*found.get(at, ()), *more])
    return {at: left for at, spans in found.items() if (left := _left(texts[at], spans, keep))}


def _left(text: str, spans: Sequence[Span], keep: _Keep) -> list[Span]:
    """Without what is to be kept, and without what lies in a placeholder."""
    taken = [match.span() for match in _PLACEHOLDER.finditer(text)] if "<" in text else []
    return [
        span for span in spans if not _overlaps(span, taken) and not keep(span.kind, text[span.start : span.end])
    ]  # fmt: skip


def _overlaps(span: Span, taken: Sequence[tuple[int, int]]) -> bool:
    """Whether it overlaps one of these, which are in order and do not overlap each other."""
    at = bisect.bisect_left(taken, (span.end, 0))
    return at > 0 and taken[at - 1][1] > span.start


def _detected(detector: Detector, texts: Sequence[str]) -> Iterator[list[Span]]:
    """The detector's spans for each text, checked; a text that occurs often is asked about once."""
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    answers = detector.detect(distinct)
    if len(answers) != len(distinct):
        msg = f"the detector {detector.name!r} gave {len(answers)} answers for {len(distinct)} texts"
        raise DataError.at(msg, code="data-detector", hint="detect(texts) gives one list of spans for each text.")
    known: dict[str, list[Span]] = {}
    for text, spans in zip(distinct, answers, strict=True):
        for start, end, kind in spans:
            if not 0 <= start < end <= len(text) or not _KIND.fullmatch(kind):
                msg = f"the detector {detector.name!r} gave the span {start}:{end} ({kind!r}) of {len(text)} characters"
                hint = "spans count characters (code points) from 0, and kinds are lower-case names."
                raise DataError.at(msg, code="data-detector", hint=hint)
        known[text] = resolve(Span(*span) for span in spans)
    for text in texts:
        yield known.get(text, [])


class _Row:
    """One row at work: its texts, what stands there now, and what is found there and not yet replaced."""

    def __init__(self, texts: Sequence[tuple[str, str]], found: Sequence[Sequence[Span]]) -> None:
        self.texts = texts
        self.now = [text for _, text in texts]
        self.found = list(found)
        self.numbers = _Numbers(self.now)
        self.done: list[_Done] = []

    def replace(self, keep: _Keep) -> list[int]:
        """Replaces what is found, and gives the indices of the texts that are others now."""
        # All values get their numbers first, in the order of reading, and only then are looked for everywhere.
        for text, held in zip(self.now, self.found, strict=True):
            for span in held:
                self.numbers.of(span.kind, text[span.start : span.end])
        repeats = _Repeats(self.numbers.spellings)
        changed_texts = []
        for at, text in enumerate(self.now):
            held = repeats.added_to(self.found[at], text)
            if held and (held := _left(text, held, keep)):
                for span in held:
                    value = text[span.start : span.end]
                    placeholder = self.numbers.of(span.kind, value)
                    self.done.append(_Done(span.kind, placeholder, self.texts[at][0], len(value)))
                self.now[at] = _put(text, held, self.numbers)
                changed_texts.append(at)
        self.found = [()] * len(self.now)
        return changed_texts

    @cached_property
    def change(self) -> Callable[[str], str]:
        """Old text -> new text, when all is done."""
        new = {old: now for (_, old), now in zip(self.texts, self.now, strict=True) if old != now}
        return lambda text: new.get(text, text)


class _Done(NamedTuple):
    kind: str
    placeholder: str
    field: str
    length: int


def _replace(rows: Sequence[_Row], wanted: frozenset[str] | None, keep: _Keep) -> None:
    """Replaces all that is found in the rows, until nothing more is."""
    for _ in range(_ROUNDS):
        places = [(row, at) for row in rows for at in row.replace(keep)]
        # Without a value its neighbours may come together to another one. Other texts are as they were.
        found = _found([row.now[at] for row, at in places], wanted, None, keep)
        for at, spans in found.items():
            row, place = places[at]
            row.found[place] = spans
        rows = list(dict.fromkeys(places[at][0] for at in found))
        if not rows:
            break


def _without_hidden(
    rows: list[Example | Broken], first: int, wanted: frozenset[str] | None, detector: Detector | None, keep: _Keep
) -> dict[int, list[_Done]]:
    """Takes the raw text out of those broken rows (from `first` on) in which escapes hide a value, and says which.

    Where it begins and ends in the text cannot be said, and whoever decodes the text has it back.
    """
    texts = [
        (at, text) for at, row in enumerate(rows[first:], first) if isinstance(row, Broken)
        for text in escaped_texts(row)
    ]  # fmt: skip
    hidden: dict[int, list[_Done]] = {}
    for place, spans in _found([text for _, text in texts], wanted, detector, keep).items():
        at = texts[place][0]
        if at not in hidden:  # of one row the same values may be found at several depths
            hidden[at] = [_Done(span.kind, "", "broken", span.end - span.start) for span in spans]
            rows[at] = msgspec.structs.replace(rows[at], raw="", text=False)
    return hidden


def _label_finding(before: Dataset, after: Sequence[Example]) -> tuple[Finding, ...]:
    """Rows of a classification whose label is another one now."""
    if not label_like(before):
        return ()
    changed_rows = [
        old for old, new in zip(before, after, strict=True)
        if old.output != new.output and len(old.output) <= SHORT_OUTPUT
    ]  # fmt: skip
    if not changed_rows:
        return ()
    return (
        label_finding(
            tuple(Location(each.where.file, each.where.line, "output") for each in changed_rows), len(changed_rows)
        ),
    )
