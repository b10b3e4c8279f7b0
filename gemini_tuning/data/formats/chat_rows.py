"""Rows that hold a conversation as a list of messages or as ChatML text.

Sources: OpenAI's reference of chat messages; the data formats of FastChat, LLaMA-Factory, axolotl and ms-swift as in
their repositories; read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ...types import Example, Json, Location
from .conversation import Conversation
from .gemini_rows import read_references
from .media import Placeholders
from .row_values import has, refuse, refuse_missing

LISTS = ("messages", "conversations", "conversation")
"""The columns that hold a list of messages."""


def from_chat(row: Mapping[str, Json], where: Location) -> Example:
    """The example of a row with a list of messages.

    One that ends with the user and has `references`, an object of texts, is a reinforcement example; with an answer of
    the model at the end `references` is a column like any other.
    """
    lists = [name for name in LISTS if has(row, name)]
    if not lists:
        refuse_missing(row, "messages", where)
    if len(lists) > 1:
        refuse(where, lists[1], f"it has messages in {lists[0]!r} and in {lists[1]!r}", "data-ambiguous")
    name = lists[0]
    conversation = Conversation(where, Placeholders(row, where))
    conversation.system_column(row)
    conversation.add_all(row[name], name)
    if conversation.last_role == "user" and isinstance(row.get("references"), Mapping):
        references = read_references(row["references"], where)
        example = conversation.with_columns(conversation.asked(name), row, {name, "references"})
        return msgspec.structs.replace(example, references=references)
    return conversation.with_columns(conversation.trained(name), row, {name})


# --- plain ChatML --------------------------------------------------------------------------------------------------

CHATML_START = "<|im_start|>"
_CHATML = re.compile(r"\s*<\|im_start\|>([^\n<]*)\n(.*?)<\|im_end\|>", re.DOTALL)


def from_chatml_text(row: Mapping[str, Json], where: Location) -> Example:
    """The example of a `text` column with `<|im_start|>role`, a line break, the message and `<|im_end|>`."""
    text = row.get("text")
    if not isinstance(text, str):
        refuse_missing(row, "text", where)
    messages, end = [], 0
    while match := _CHATML.match(text, end):
        messages.append({"role": match.group(1).strip(), "content": match.group(2)})
        end = match.end()
    if text[end:].strip():
        what = f"after character {end} there is no whole message {CHATML_START}role ... <|im_end|>"
        refuse(where, "text", what, "data-shape", "the text may have been cut.")
    conversation = Conversation(where)
    conversation.system_column(row)
    conversation.add_all(messages, "text")
    return conversation.with_columns(conversation.trained("text"), row, {"text"})
