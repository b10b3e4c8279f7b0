"""Findings about data before any money is spent: what is wrong, where, and what to do.

The checks themselves are in `checks/`, one concern a module; `docs/errors.md` lists every code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches

import msgspec

from ...display import counted
from ...errors import DataError, PlanError
from ...models import find, models
from ...types import Broken, Dataset, Finding, Json, Location
from ..files.reading import Format, read
from ..formats.rows import Columns
from ..parts import Parts
from ..private.finding import personal_findings
from ..tokens import dataset_tokens
from . import labels, structure, text
from .report import DataReport, Distribution, Suspect
from .table import PLACES, Limits, Table, finding

__all__ = ["DataReport", "Distribution", "Limits", "check", "check_file"]

NEAR = 0.8
LOOKED_AT = 10_000
"""Rows that are looked at for wrong labels; of more, so many chosen by content. All of a million rows would take longer
than everything else together, and `label_suspects` is there for who wants that, with a better model."""

_SEVERITY = {"stop": 0, "warning": 1, "note": 2}

Production = Dataset | Iterable[str]


def check(
    data: Parts | Dataset,
    *,
    limits: Limits | None = None,
    near: float | None = NEAR,
    leak_from: Dataset | None = None,
    production: Production | None = None,
    input: str = "input",
    output: str = "output",
) -> DataReport:
    """Looks at examples and reports; never changes or drops any.

    Args:
        data: A data set, or its parts: then leaks between them are looked for too.
        limits: Of the model; the strictest of today's when None.
        near: Similarity from which two inputs are near-duplicates; None looks for exact ones only.
        leak_from: Examples that training must not have seen (a test set kept elsewhere).
        production: A sample of what users really ask: a data set or texts. Training that is unlike it is a finding.
        input: The columns of flat rows; with them it is known which broken rows can be repaired.
        output: The same.
    """
    if not isinstance(data, Parts | Dataset):
        raise PlanError.bad_value(
            "check", "data", type(data).__name__, "a Dataset or Parts", hint="for a file: check_file(path)."
        )
    # numpy is loaded only by the work that needs it.
    from ..similar.dedup import survey
    from . import coverage

    for argument, value in (("leak_from", leak_from), ("production", production)):
        wrong = not isinstance(value, Dataset) if argument == "leak_from" else not isinstance(value, Iterable)
        if value is not None and (wrong or isinstance(value, str | bytes)):
            hint = "rows: from_records(rows); a file: read(path)."
            expected = "a Dataset" if argument == "leak_from" else "a Dataset or texts"
            raise PlanError.bad_value("check", argument, type(value).__name__, expected, hint=hint)
    parts = data if isinstance(data, Parts) else Parts(train=data)
    limits = limits or Limits()
    table = Table(parts)
    # Two threads: both work in numpy for much of their time, which holds nobody up.
    with ThreadPoolExecutor(1) as beside:
        comparing = beside.submit(survey, parts, near, leak_from=leak_from)
        tokens = dataset_tokens(table.rows)
        scripts, mixed = text.scripts(table)
        languages, answers = text.languages(table)
        variety, thin = coverage.diversity(table)
        suspects, suspected = _suspects(table)
        personal = personal_findings(table.rows)
        found = comparing.result()
    findings: list[Finding] = [
        *broken_findings(
            (broken for part in (parts.train, parts.validation, parts.test) for broken in part.broken),
            Columns(input, output),
        ),
        *(note for part in (parts.train, parts.validation, parts.test) for note in part.notes),
        *labels.amounts(table, limits),
        *structure.lengths(table, tokens, limits),
        *structure.turns(table),
        *structure.tools(table),
        *structure.media(table),
        *labels.targets(table),
        *labels.spellings(table),
        *labels.balance(table),
        *suspected,
        *found.findings,
        *text.characters(table),
        *personal,
        *text.instructions(table),
        *(coverage.unlike_production(table, coverage.texts_of(production)) if production is not None else ()),
        *thin,
        *mixed,
        *answers,
    ]
    return DataReport(
        source=parts.train.source,
        rows={
            name: len(part)
            for name, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test))
            if len(part) or name == "train"
        },
        broken=sum(len(part.broken) for part in (parts.train, parts.validation, parts.test)),
        findings=tuple(sorted(findings, key=lambda each: _SEVERITY[each.severity])),
        labels=labels.counts_of(table.outputs) if table.labels else {},
        tokens=Distribution.of(tokens),
        input_characters=Distribution.of([len(each) for each in table.inputs]),
        output_characters=Distribution.of([len(each) for each in table.outputs]),
        scripts=scripts,
        languages=languages,
        duplicates=found.duplicates,
        leaks=found.leaks,
        conflicts=found.conflicts,
        suspects=suspects,
        personal={str(each.details["kind"]): each.count for each in personal if "kind" in each.details},
        diversity=variety,
    )


def check_file(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    leak_from: str | os.PathLike[str] | Dataset | None = None,
    production: str | os.PathLike[str] | Production | None = None,
    format: Format | None = None,
    encoding: str | None = None,
    input: str = "input",
    output: str = "output",
) -> DataReport:
    """The same for a file. Whatever is in it gives a report: each row that `read` refuses is in a `stop` finding.

    Args:
        path: The file, as for `read`.
        model: Whose limits count; None takes the strictest of today's models.
        leak_from: A file or data set that training must not have seen.
        production: A file, data set or texts of what users ask. A file may have the input column only.
        format: As for `read`.
        encoding: As for `read`.
        input: As for `read`.
        output: As for `read`.

    Raises:
        DataError: only for a path that cannot be opened (`code` is `data-file`).
        PlanError: for an unknown `format`.
    """
    unknown = unknown_model(model) if model is not None else ()
    limits = Limits.of(find(model) if model is not None else None)
    try:
        dataset = read(path, format=format, input=input, output=output, encoding=encoding, bad_rows="keep")
    except DataError as error:
        if error.code == "data-file":
            raise
        broken = Broken(where=Location(error.file, error.line, error.field), code=error.code,
                        message=_what(error), hint=error.hint, text=False)  # fmt: skip
        return DataReport(
            source=os.fspath(path),
            rows={"train": 0},
            findings=(*broken_findings([broken], Columns()), *unknown),
            broken=1,
        )
    if isinstance(leak_from, str | os.PathLike):
        leak_from = read(leak_from, input=input, output=output, bad_rows="keep")
    if isinstance(production, str | os.PathLike):
        production = read_texts(production, input=input)
    report = check(dataset, limits=limits, leak_from=leak_from, production=production, input=input, output=output)
    if not len(dataset) and dataset.broken:  # "there is no example" beside "every row is broken" says nothing
        kept = tuple(each for each in report.findings if each.code != "no-examples")
        report = msgspec.structs.replace(report, findings=kept)
    return msgspec.structs.replace(report, findings=(*report.findings, *unknown))


def unknown_model(model: str) -> tuple[Finding, ...]:
    """A note when the model is not in the table."""
    if find(model) is not None:
        return ()
    near = get_close_matches(model, [each.name for each in models()], n=1)
    what = f"{model!r} is not in the model table: the strictest limits of today's models are used"
    return (finding(
        "unknown-model", "note", what,
        hint=f"did you mean {near[0]!r}?" if near else "",
    ),)  # fmt: skip


def read_texts(path: str | os.PathLike[str], *, input: str = "input") -> list[str]:
    """What users asked, from a file with or without answers: a text a line (`.txt`), or rows as `read` takes them.

    Raises:
        DataError: the file cannot be opened, or holds no text.
    """
    name = os.fspath(path)
    plain = name.lower().endswith(".txt")
    dataset = read(path, format="text", bad_rows="keep") if plain else _asked_in(path, input)
    texts = [example.input for example in dataset if example.input.strip()]
    texts += [asked for broken in dataset.broken if (asked := _asked(broken, input))]
    if not texts:
        msg = f"no text in the column {input!r} and no user turn was found"
        raise DataError.at(msg, file=name, code="data-empty-file", hint="name the column with input=.")
    return texts


_ASKED = ("text", "query", "question", "prompt", "message", "content", "input")
"""Columns of traffic that is not named as the training data are."""


def _asked_in(path: str | os.PathLike[str], input: str) -> Dataset:
    # Production has no answers: the input column stands for both, so that no row is refused for the lack of one.
    try:
        return read(path, input=input, output=input, bad_rows="keep")
    except DataError as error:
        if error.code != "data-column":
            raise
        for name in _ASKED:
            try:
                return read(path, input=name, output=name, bad_rows="keep")
            except DataError:
                continue
        raise


def _asked(broken: Broken, input: str) -> str:
    """The last user text of a row that has no answer."""
    try:
        row: Json = json.loads(broken.raw)
    except ValueError:
        return ""
    if not isinstance(row, Mapping):
        return ""
    if isinstance(row.get(input), str):
        return str(row[input])
    turns = row.get("contents") or row.get("messages") or row.get("conversations")
    for turn in reversed(turns) if isinstance(turns, list) else ():
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in ("user", "human"):
            parts = turn.get("parts")
            found = [part.get("text") for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
            return "".join(each for each in (*found, turn.get("content"), turn.get("value")) if isinstance(each, str))
    return ""


def broken_findings(rows: Iterable[Broken], columns: Columns) -> tuple[Finding, ...]:
    """One finding a kind of broken row, with all its places; the message is that of the first."""
    from ..mending.repair import fixable

    kinds: dict[tuple[str, str], list[Broken]] = {}
    for row in rows:
        kinds.setdefault((row.code, row.hint), []).append(row)
    found = []
    for (code, hint), same in kinds.items():
        mends = sum(fixable(row, columns) for row in same[:PLACES])
        advice = (
            f".repair() mends {'it' if len(same) == 1 else 'all' if mends == len(same) else counted(mends, 'row')}."
        )
        found.append(Finding(
            code=code, severity="stop", message=same[0].message, count=len(same),
            hint=f"{hint} {advice}".strip() if mends else hint, where=tuple(row.where for row in same[:PLACES]),
            details={"fixable": mends},
        ))  # fmt: skip
    return tuple(found)


def _what(error: DataError) -> str:
    """The error without its place, which the finding has in `where`."""
    place, _, what = error.message.partition(": ")
    return what if error.file is not None and place.startswith(error.file) else error.message


def _suspects(table: Table) -> tuple[tuple[Suspect, ...], list[Finding]]:
    """Rows whose label a small model that has not seen them would not give."""
    from ..learning.label_errors import label_suspects

    if not table.labels:
        return (), []
    chosen = table.sample(LOOKED_AT)
    found = label_suspects([table.inputs[row] for row in chosen], [table.outputs[row] for row in chosen], quick=True)
    if not found.usable or not found.suspects:
        return (), []
    rows = [table.rows[chosen[each.row]] for each in found.suspects]
    suspects = tuple(
        Suspect(
            where=row.where, input=row.input[:200], given=each.given, predicted=each.predicted,
            confidence=round(each.confidence, 4),
        )
        for row, each in zip(rows[:PLACES], found.suspects, strict=False)
    )  # fmt: skip
    first = suspects[0]
    looked = f" ({found.scored:,} rows were looked at)" if found.scored < len(table.rows) else ""
    message = (
        f"{counted(len(rows), 'label looks', 'labels look')} wrong, for example {first.given[:40]!r} where a small "
        f"model that has not seen the row says {first.predicted[:40]!r} ({first.confidence:.0%}); it gives "
        f"{found.accuracy or 0:.0%} of all rows their label{looked}"
    )
    return suspects, [finding(
        "label-suspects", "warning", message, rows, field="output",
        hint="read them in report.suspects, surest first, and correct what is wrong; label_suspects(texts, labels) "
        "looks at all rows with a better model.",
        details={"accuracy": round(found.accuracy or 0, 4), "suspects": [
            msgspec.to_builtins(each) for each in suspects[:50]
        ]},
    )]  # fmt: skip


def merged(report: DataReport, more: Sequence[Finding]) -> DataReport:
    """The report with more findings, worst first; a code that it has already is not added again."""
    known = {each.code for each in report.findings}
    both = [*report.findings, *(each for each in more if each.code not in known)]
    return msgspec.structs.replace(report, findings=tuple(sorted(both, key=lambda each: _SEVERITY[each.severity])))
