"""One record to one example: which of the known shapes it has, and the reader of that shape.

A shape is recognised by the names of the columns. A row that fits two is refused with the evidence for each; it is read
when the caller says which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal, NoReturn, get_args

from ...types import Example, Json, Location
from .chat_rows import CHATML_START, LISTS, from_chat, from_chatml_text
from .flat_rows import Columns, from_flat
from .gemini_rows import from_gemini, to_gemini
from .pair_rows import from_ai_studio, from_alpaca, from_completion, from_query
from .preference_rows import from_openai_preference, from_preference
from .row_values import as_list, canonical, check_unicode, has, is_missing, plain_json, refuse

__all__ = [
    "SHAPES",
    "SHAPE_NAMES",
    "Columns",
    "Shape",
    "canonical",
    "check_unicode",
    "plain_json",
    "refuse",
    "shape_of",
    "to_example",
    "to_gemini",
]

Shape = Literal[
    "flat", "gemini", "ai-studio", "openai", "openai-completion", "sharegpt", "alpaca", "chatml", "preference"
]
SHAPES: tuple[Shape, ...] = get_args(Shape)

SHAPE_NAMES: dict[Shape, str] = {
    "flat": "two named columns",
    "gemini": "Gemini",
    "ai-studio": "Google's older shapes",
    "openai": "OpenAI chat",
    "openai-completion": "prompt and completion",
    "sharegpt": "ShareGPT",
    "alpaca": "Alpaca",
    "chatml": "ChatML, query and response",
    "preference": "preference pairs",
}
"""What each shape is called in messages."""

_USUAL = Columns()
_SPEAKING = frozenset(
    {"contents", *LISTS, "preferred_output", "non_preferred_output", "chosen", "rejected", "rejected_response",
     "prompt", "completion", "query", "response", "text", "text_input", "textInput", "instruction", "instances",
     "input", "output"}
)  # fmt: skip
_FLAT = frozenset({"input", "output"})


# --- which shape ---------------------------------------------------------------------------------------------------


def shape_of(row: Mapping[str, Json], columns: Columns, where: Location) -> Shape:
    """The shape of a row, from the names of its columns.

    Columns that the caller has named win: a row that has one of them is flat. A row that fits nothing is flat too, and
    its reader says which column is missing. Raises DataError (`data-ambiguous`) when two shapes fit.
    """
    if columns != _USUAL and (columns.input in row or columns.output in row):
        return "flat"
    present = _SPEAKING.intersection(row)
    if present == _FLAT:
        return "flat"
    messages = _shape_of_messages(row["messages"]) if "messages" in present else "openai"
    chatml = "text" in present and isinstance(row["text"], str) and row["text"].lstrip().startswith(CHATML_START)
    # Tables give a row every column of its neighbours, empty: what is empty speaks only when nothing else does.
    empty = [key for key in present if is_missing(row[key]) and key not in _FLAT]
    fits = _fits(present.difference(empty), messages, chatml) or _fits(present, messages, chatml)
    if len(fits) > 1:
        _refuse_two(fits, where)
    for shape in fits:
        return shape
    return "chatml" if "response" in row and row.keys() <= {"response", "system", "history"} else "flat"


@lru_cache(maxsize=1024)  # the rows of a file have the same few sets of columns
def _fits(keys: frozenset[str], messages: Shape, chatml: bool) -> Mapping[Shape, str]:
    """Each shape that the columns fit, with the columns that speak for it.

    `messages` is the shape that the list of that name has; `chatml` says whether `text` holds ChatML.
    """
    fits: dict[Shape, str] = {}

    def fit(shape: Shape, *names: str) -> None:
        if shape not in fits and keys.issuperset(names):
            fits[shape] = " and ".join(map(repr, names))

    fit("gemini", "contents")
    if "preferred_output" in keys or "non_preferred_output" in keys:
        fit("openai", "preferred_output")
        fit("openai", "non_preferred_output")
        return fits
    fit("preference", "chosen", "rejected")
    fit("preference", "rejected_response")
    if "preference" not in fits:  # else these columns are its prompt
        fit(messages, "messages")
        fit("sharegpt", "conversations")
        fit("sharegpt", "conversation")
        fit("openai-completion", "prompt", "completion")
        fit("chatml", "query", "response")
        fit("alpaca", "instruction", "output")
        fit("alpaca", "instruction", "instances")
    fit("ai-studio", "text_input", "output")
    fit("ai-studio", "textInput", "output")
    if chatml:
        fit("chatml", "text")
    if "alpaca" not in fits:  # whose input and output these are
        fit("flat", "input", "output")
    return fits


def _shape_of_messages(messages: Json) -> Shape:
    first: Json = next(iter(as_list(messages) or ()), None)
    if isinstance(first, Mapping) and "role" not in first:
        if "author" in first:
            return "ai-studio"
        if "from" in first or "human" in first:
            return "sharegpt"
    return "openai"


def _refuse_two(fits: Mapping[Shape, str], where: Location) -> NoReturn:
    seen = " and ".join(f"{names} ({SHAPE_NAMES[shape]})" for shape, names in fits.items())
    asked = [f"format={shape!r}" for shape in fits if shape != "flat"]
    if "flat" in fits:
        asked.append("format='jsonl', 'json' or 'csv' for the two columns")
    refuse(where, None, f"it fits two formats: it has {seen}", "data-ambiguous", f"say which: {', or '.join(asked)}.")


# --- reading -------------------------------------------------------------------------------------------------------


def _from_openai(row: Mapping[str, Json], where: Location) -> Example:
    preference = has(row, "preferred_output") or has(row, "non_preferred_output")
    return from_openai_preference(row, where) if preference else from_chat(row, where)


def _from_chatml(row: Mapping[str, Json], where: Location) -> Example:
    if any(has(row, name) for name in LISTS):
        return from_chat(row, where)
    text = isinstance(row.get("text"), str) and not has(row, "query")
    return from_chatml_text(row, where) if text else from_query(row, where)


_READERS: dict[Shape, Callable[[Mapping[str, Json], Location], Example]] = {
    "gemini": from_gemini,
    "ai-studio": from_ai_studio,
    "openai": _from_openai,
    "openai-completion": from_completion,
    "sharegpt": from_chat,
    "alpaca": from_alpaca,
    "chatml": _from_chatml,
    "preference": from_preference,
}


def to_example(row: Mapping[str, Json], shape: Shape, columns: Columns, where: Location) -> Example:
    """The example that a record says, or DataError with its place."""
    try:
        if shape == "flat":
            return from_flat(row, columns, where)
        if shape != "gemini":
            _refuse_unwanted(row, where)
        return _READERS[shape](row, where)
    except RecursionError:
        return refuse(where, None, "it is nested too deeply", "data-json")


def _refuse_unwanted(row: Mapping[str, Json], where: Location) -> None:
    """Unpaired preference data mark an answer as bad: trained on as it stands, the model would learn it."""
    for name in ("label", "kto_tag"):
        # A sheet and some exports write the mark as a text or a number; a class named 0 has no answer beside it.
        mark = row.get(name)
        if mark is False or mark == 0 or (isinstance(mark, str) and mark.strip().lower() in ("false", "0")):
            what = "the row marks its answer as not wanted (unpaired preference data)"
            hint = "keep the rows with true, bring pairs, or rename the column when it means something else."
            refuse(where, name, what, "data-format-unsupported", hint)
