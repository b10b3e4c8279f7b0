"""Preference pairs: one prompt, the answer that is preferred and the one that is not.

Sources: OpenAI's preference lines; the preference formats of TRL, LLaMA-Factory and ms-swift as in their repositories;
the transcripts of hh-rlhf; read 2026-11. Gemini takes exactly one pair a line, with the scores 1 and 0, after a turn of
the user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ...types import Completion, Example, Json, Location, Turn
from .chat_rows import LISTS
from .conversation import Conversation
from .gemini_rows import check_differ
from .media import Placeholders
from .pair_rows import asks_query, instruction_of
from .row_values import TO_ASK, as_list, has, kind, read_text, refuse, refuse_missing

_TEXTS = ("prompt", "query", "instruction", "question", "input")
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def from_preference(row: Mapping[str, Json], where: Location) -> Example:
    """The example of a row with a preferred and a rejected answer."""
    if has(row, "preferred_output") or has(row, "non_preferred_output"):
        return from_openai_preference(row, where)
    conversation = Conversation(where, Placeholders(row, where))
    conversation.system_column(row)
    used: set[str] = set()
    if has(row, "rejected_response"):
        return _swift(row, conversation, where)
    for column in ("chosen", "rejected"):
        if not has(row, column):
            refuse_missing(row, column, where)
    chosen, rejected = _answer(row["chosen"]), _answer(row["rejected"])
    prompts = [name for name in (*LISTS, *_TEXTS) if has(row, name)]
    if not prompts:
        chosen, rejected = _spoken(chosen), _spoken(rejected)
    if isinstance(chosen, list) and isinstance(rejected, list) and _are_transcripts(chosen, rejected):
        prefix = _shared(chosen, rejected, where)
        for name in prompts:
            _check_same_prompt(row[name], name, prefix, chosen, where)
        used.update(prompts)
        conversation.add_all(prefix, "chosen")
        chosen, rejected = chosen[len(prefix) :], rejected[len(prefix) :]
    else:
        used |= _ask(row, prompts, conversation, where)
    example = conversation.asked(prompts[0] if prompts else "chosen")
    first = _one_turn(chosen, "chosen", conversation, where)
    second = _one_turn(rejected, "rejected", conversation, where)
    example = conversation.with_columns(example, row, used | {"chosen", "rejected"})
    return _with_pair(example, first, second, "rejected", where)


def from_openai_preference(row: Mapping[str, Json], where: Location) -> Example:
    """OpenAI's preference line: `input`, `preferred_output`, `non_preferred_output`."""
    for column in ("input", "preferred_output", "non_preferred_output"):
        if not has(row, column):
            refuse_missing(row, column, where)
    asked = row["input"]
    if not isinstance(asked, Mapping) or "messages" not in asked:
        what = f"expected an object with messages, found {kind(asked)}"
        refuse(where, "input", what, "data-shape")
    conversation = Conversation(where)
    conversation.add_all(asked["messages"], "input.messages")
    example = conversation.asked("input.messages")
    first = _one_turn(_answer(row["preferred_output"]), "preferred_output", conversation, where)
    second = _one_turn(_answer(row["non_preferred_output"]), "non_preferred_output", conversation, where)
    columns = {**{name: value for name, value in asked.items() if name != "messages"}, **row}
    used = {"input", "preferred_output", "non_preferred_output"}
    example = conversation.with_columns(example, columns, used)
    return _with_pair(example, first, second, "non_preferred_output", where)


def _with_pair(example: Example, chosen: Turn, rejected: Turn, field: str, where: Location) -> Example:
    check_differ(chosen, rejected, field, where)
    return msgspec.structs.replace(example, completions=(Completion(1.0, chosen), Completion(0.0, rejected)))


# --- answers -------------------------------------------------------------------------------------------------------


def _answer(value: Json) -> Json:
    """A text, or a list of messages: one message counts as a list of one."""
    if isinstance(value, Mapping):
        return [value]
    messages = as_list(value)
    return value if messages is None else messages


def _spoken(value: Json) -> Json:
    """hh-rlhf's transcripts as one text (a blank line and `Human:` or `Assistant:` before each turn) as messages."""
    if not isinstance(value, str) or not value.startswith("\n\nHuman:"):
        return value
    _, *pieces = _SPEAKER.split(value)
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[speaker], "content": text.strip()}
        for speaker, text in zip(pieces[::2], pieces[1::2], strict=True)
    ]


def _one_turn(value: Json, field: str, conversation: Conversation, where: Location) -> Turn:
    if isinstance(value, list):
        if len(value) != 1:
            what = f"expected one answer, found {len(value)} messages"
            hint = "Gemini compares two single answers to one prompt."
            refuse(where, field, what, "data-completions", hint)
        return conversation.answer(value[0], field)
    if not isinstance(value, str):
        refuse(where, field, f"expected an answer, found {kind(value)}", "data-completions")
    return conversation.answer(value, field)


def _speaks(message: Json) -> str:
    found = message.get("role") or message.get("from") if isinstance(message, Mapping) else None
    return found if isinstance(found, str) else ""


def _are_transcripts(chosen: list[Json], rejected: list[Json]) -> bool:
    """Whether the answers repeat the conversation before them."""
    return any(
        len(messages) > 1 and _speaks(messages[0]) in ("user", "human", "system", "developer")
        for messages in (chosen, rejected)
    )


def _shared(chosen: list[Json], rejected: list[Json], where: Location) -> list[Json]:
    """What both transcripts begin with: the prompt."""
    if chosen == rejected:
        refuse(where, "rejected", "both answers are equal: there is nothing to prefer", "data-completions")
    count = 0
    for first, second in zip(chosen, rejected, strict=False):
        if first != second:
            break
        count += 1
    if not count:
        what = "the two transcripts begin differently: there is no common prompt"
        refuse(where, "rejected", what, "data-completions", "both must answer the same conversation.")
    return chosen[:count]


def _check_same_prompt(value: Json, name: str, prefix: list[Json], chosen: list[Json], where: Location) -> None:
    """A prompt that is given beside transcripts must be theirs."""
    messages = as_list(value)
    if messages is not None:
        same = messages in (prefix, chosen)
    else:
        texts = [message.get("content", message.get("value")) for message in prefix if isinstance(message, Mapping)]
        same = value in texts
    if not same:
        what = f"{name!r} is not the prompt that 'chosen' and 'rejected' begin with"
        refuse(where, name, what, "data-ambiguous", "remove one of the two prompts.")


# --- prompts -------------------------------------------------------------------------------------------------------


def _ask(row: Mapping[str, Json], prompts: list[str], conversation: Conversation, where: Location) -> set[str]:
    """Reads the prompt of a row whose answers stand alone; gives the columns that it used."""
    if "instruction" in prompts:
        if set(prompts) - {"instruction", "input"}:
            _refuse_prompts(prompts, where)
        conversation.say("user", instruction_of(row, row, where), "instruction")
        return {"instruction", *({"input"} & set(row))}
    if len(prompts) > 1:
        _refuse_prompts(prompts, where)
    if not prompts:
        hint = "name it 'prompt', or write whole transcripts."
        refuse_missing(row, "prompt", where, hint)
    name = prompts[0]
    if name == "query":
        return asks_query(row, conversation, where)
    if as_list(row[name]) is not None:
        conversation.add_all(row[name], name)
    else:
        conversation.say("user", read_text(row[name], name, where, TO_ASK), name)
    return {name}


def _refuse_prompts(prompts: list[str], where: Location) -> None:
    what = f"several columns could be the prompt: {', '.join(map(repr, prompts))}"
    refuse(where, prompts[1], what, "data-ambiguous", "keep one of them.")


def _swift(row: Mapping[str, Json], conversation: Conversation, where: Location) -> Example:
    """ms-swift's `rejected_response` beside the preferred answer: `response`, or the last of the `messages`."""
    rejected = row["rejected_response"]
    lists = [name for name in LISTS if has(row, name)]
    if lists:
        messages = as_list(row[lists[0]]) or []
        if len(messages) < 2:
            refuse(where, lists[0], "expected a prompt and the preferred answer", "data-shape")
        conversation.add_all(messages[:-1], lists[0])
        chosen, used = [messages[-1]], {lists[0]}
    else:
        for column in ("query", "response"):
            if not has(row, column):
                refuse_missing(row, column, where)
        used = asks_query(row, conversation, where) | {"response"}
        chosen = row["response"]
    example = conversation.asked(lists[0] if lists else "query")
    first = _one_turn(chosen, lists[0] if lists else "response", conversation, where)
    second = _one_turn(_answer(rejected), "rejected_response", conversation, where)
    example = conversation.with_columns(example, row, used | {"rejected_response"})
    return _with_pair(example, first, second, "rejected_response", where)
