"""An example that reads, put in order without changing what it says: marks that are no text, turns, length.

Left alone on purpose: white space and case inside texts; zero-width characters, which join emoji and letters of many
scripts; control characters other than NUL, since a form feed parts words and an escape character begins a colour:
without them the text would say something else. `check` lists those.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import msgspec

from ...errors import DataError
from ...types import Example, Location, Part, Turn
from ..formats.row_values import canonical
from ..tokens import dataset_tokens, example_tokens
from .mend_row import Note, decoded
from .report import Change

_BOM = "\ufeff"
_NOT_TEXT = re.compile(r"\A\ufeff|\x00")
_ENCODED = '{"functionCall":{"args":"'
"""How the canonical JSON of a call begins whose arguments are a text, which the service does not take."""


class Tidied(NamedTuple):
    """The example and what was changed; `example` is None when nothing would be left of a turn."""

    example: Example | None
    changes: tuple[Change, ...]


def tidy(example: Example) -> Tidied:
    """The example without byte order marks and NUL characters, and with one turn for each change of speaker.

    Turns are joined with their parts in order, so that no text changes. Where an instance instruction is around the
    input (`raw_input`), turns stay as they are: the joined input could not be told from the instruction.
    """
    if not _untidy(example):
        return Tidied(example, ())
    changes: list[Change] = []
    where = example.where
    turns = [_clean_turn(turn, f"contents[{at}]", where, changes) for at, turn in enumerate(example.turns)]
    answers = [
        _clean_turn(each.turn, f"completions[{at}].completion", where, changes)
        for at, each in enumerate(example.completions)
    ]
    given = (*example.turns, *(each.turn for each in example.completions))
    if any(_empty(turn) and not _empty(before) for turn, before in zip((*turns, *answers), given, strict=True)):
        return Tidied(None, ())
    if example.raw_input is None:
        turns = _joined(turns, where, changes)
    tidied = msgspec.structs.replace(
        example,
        turns=tuple(turns),
        system=example.system and (_clean(example.system, "systemInstruction", where, changes) or None),
        completions=tuple(
            msgspec.structs.replace(each, turn=turn) for each, turn in zip(example.completions, answers, strict=True)
        ),
        raw_input=example.raw_input and _clean(example.raw_input, None, where, []),
    )
    return Tidied(tidied if changes else example, tuple(changes))


def _untidy(example: Example) -> bool:
    """A quick look first: of a million rows few need any work."""
    turns = example.turns
    if any(turns[at].role == turns[at - 1].role for at in range(1, len(turns))):
        return True
    if example.system and _NOT_TEXT.search(example.system):
        return True
    return any(
        _NOT_TEXT.search(part.text) if part.text else part.other is not None and part.other.startswith(_ENCODED)
        for turn in (*turns, *(each.turn for each in example.completions))
        for part in turn.parts
    )


def _empty(turn: Turn) -> bool:
    return not turn.text.strip() and all(part.other is None for part in turn.parts)


def _clean_turn(turn: Turn, field: str, where: Location, changes: list[Change]) -> Turn:
    """The turn with clean texts and decoded arguments; a text of which nothing is left is gone."""
    before = len(changes)
    parts = []
    for at, part in enumerate(turn.parts):
        place = f"{field}.parts[{at}]"
        text = part.text and _clean(part.text, f"{place}.text", where, changes)
        other = part.other
        if other is not None and other.startswith(_ENCODED):
            other = _decoded_call(other, f"{place}.functionCall.args", where, changes)
        if text or other is not None or text == part.text:
            parts.append(Part(text=text, other=other))
    return Turn(turn.role, tuple(parts)) if len(changes) > before else turn


def _decoded_call(other: str, field: str, where: Location, changes: list[Change]) -> str:
    """The call with its arguments as an object; as it is when their text is not the JSON of one."""
    part = json.loads(other)
    notes: list[Note] = []
    part["functionCall"]["args"] = decoded(part["functionCall"]["args"], dict, field, notes)
    try:
        mended = canonical(part, where, field)
    except DataError:  # half of a surrogate pair inside: `check` tells of the call
        return other
    changes += (note.change(where) for note in notes)
    return mended


def _clean(text: str, field: str | None, where: Location, changes: list[Change]) -> str:
    bare = text.replace("\0", "")
    if bare != text:
        what = f"{text.count(chr(0)):,} NUL characters were removed: they are no text"
        changes.append(Change.of("nul", what, where, field=field, before=text, after=bare))
    plain = bare.lstrip(_BOM)
    if plain != bare:
        what = "a byte order mark (U+FEFF) at the start of the text was removed"
        changes.append(Change.of("bom", what, where, field=field, before=bare, after=plain))
    return plain


def _joined(turns: list[Turn], where: Location, changes: list[Change]) -> list[Turn]:
    joined: list[Turn] = []
    at = 0
    while at < len(turns):
        end = at + 1
        while end < len(turns) and turns[end].role == turns[at].role:
            end += 1
        if end == at + 1:
            joined.append(turns[at])
        else:
            parts = tuple(part for turn in turns[at:end] for part in turn.parts)
            joined.append(Turn(turns[at].role, parts))
            what = f"{end - at} turns of one speaker in a row became one; their parts are kept in order"
            changes.append(Change.of(
                "joined-turns", what, where, field=f"contents[{at}]",
                before=[[part.text or part.other for part in turn.parts] for turn in turns[at:end]],
                after=[part.text or part.other for part in parts],
            ))  # fmt: skip
        at = end
    return joined


def cut(example: Example, limit: int) -> tuple[Example, Change] | None:
    """The example without its oldest exchanges, as few as make it fit; None when the last one alone is too long.

    An exchange is a user's turn with everything up to the user's next. System instruction, tools and the last exchange,
    which holds the target, stay whole.
    """
    turns = example.turns
    starts = [at for at in range(1, len(turns)) if turns[at].role == "user" and turns[at - 1].role != "user"]
    size = example_tokens(example)
    left = size
    exchanges = [Example(turns=turns[start:end]) for start, end in zip([0, *starts], starts, strict=False)]
    for start, gone in zip(starts, dataset_tokens(exchanges).tolist(), strict=True):
        left -= gone
        if left > limit:
            continue
        shorter = msgspec.structs.replace(example, turns=turns[start:])
        now = example_tokens(shorter)
        if now > limit:
            continue  # sums of fractions differ in their last digits: the count of the whole decides
        what = f"the oldest {start} of {len(turns)} turns were removed: {size:,.0f} tokens became {now:,.0f}"
        before = "\n".join(turn.text for turn in turns[:start])
        return shorter, Change.of("cut", what, example.where, field="contents", before=before)
    return None
